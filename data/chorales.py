"""Chorales by Bach, most of them four voices that move together: 402 pieces, as MusicXML.

Short and all in one manner, they show harmony and cadences most plainly. Some tunes come several
times, each time with other harmonies; some pieces in two versions, in another key or with
instruments.
"""

from pathlib import Path

from lib.archive import members, write_whole
from lib.musicxml import read_musicxml

KIND = 'music'
# their tunes come in no other piece
HELD_OUT = (r'^bwv(60\.5|140\.7|29[679]|321|337|34[245]|351|357|36[68]|37[34]|384|396|403|413|438)'
            r'\.')
OWNERS = '(c) Margaret Greentree, jsbchorales.net'


def collect(folder: Path):
    """Write the 402 pieces as data/chorales/bwvNNN.mid (bwv1.6.mid is number 6 of cantata 1)."""
    for found, data in members(folder, 402, r'bach/(bwv[\w.-]+)\.(mxl|xml)', OWNERS):
        write_whole(read_musicxml(data), folder / f'{found[1]}.mid')
