"""String quartets (and a few flute and oboe quartets) by Haydn and Mozart: 331 movements.

Not Bach, but four voices as he wrote them, and four times as many notes: a model that learns from
them first knows more of harmony and voice leading than Bach's few notes can teach it.

Most are MuseData, older (.zip) or newer (.md). 19 are MusicXML (.mxl), whose encoders are unknown.
What the archive calls opus 74 no. 2 is opus 1 no. 1 again: it is left out.
"""

from pathlib import Path

from lib.archive import CCARH, members, write_whole
from lib.musedata import modern, parts_in_one, read_musedata, zipped_parts
from lib.musicxml import read_musicxml
from lib.score import Score

KIND = 'music'
HELD_OUT = r'^(haydn-opus(20no5|33no6|64no5|76no3)|mozart-k(172|465))-'


def collect(folder: Path):
    """Write the 331 movements as data/quartets/{haydn-opusNNnoN,mozart-kNNN}-N.mid, once."""
    pattern = r'(haydn|mozart)/(?!opus74no2/)(opus\w+|k\d+)/movement(\d+)\.(zip|md|mxl)'
    for found, data in members(folder, 331, pattern, f'{CCARH}, and others'):
        composer, work, movement, form = found.groups()
        write_whole(READERS[form](data), folder / f'{composer}-{work}-{movement}.mid')


def read_older(data: bytes) -> Score:
    """A .zip of parts in the older MuseData."""
    return read_musedata([modern(part) for part in zipped_parts(data)])


def read_newer(data: bytes) -> Score:
    """All parts in one file of MuseData."""
    return read_musedata(parts_in_one(data.decode('latin-1')))


READERS = {'zip': read_older, 'md': read_newer, 'mxl': read_musicxml}
