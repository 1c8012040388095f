"""String quartets (and a few flute and oboe quartets) by Haydn and Mozart: 280 movements.

Not Bach, but four voices as he wrote them, and four times as many notes: a model that learns from
them first knows more of harmony and voice leading than Bach's few notes can teach it.
"""

from pathlib import Path

from data.musedata import encodings, modern, write_piece


def collect(folder: Path):
    """Write the 280 movements as data/quartets/{haydn-opusNNnoN,mozart-kNNN}-N.mid, once."""
    pattern = r'(haydn|mozart)/(opus\w+|k\d+)/movement(\d+)\.zip'
    for found, parts in encodings(folder, 280, pattern):
        composer, work, movement = found.groups()
        name = f'{composer}-{work}-{movement}.mid'
        write_piece([modern(part) for part in parts], folder / name)
