"""The Well-Tempered Clavier, both books: 48 preludes and 48 fugues."""

from pathlib import Path

from lib.musedata import encodings, write_piece

KIND = 'music'
HELD_OUT = r'^\d-(06|12|18|24)-'


def collect(folder: Path):
    """Write the 96 pieces as data/wtc/BOOK-NUMBER-bwvNNN-{prelude,fugue}.mid, once."""
    for found, parts in encodings(folder, 96, r'bach/bwv(8[4-9]\d)/0([12])\.zip'):
        bwv = int(found[1])
        if 846 <= bwv <= 893:
            book, number = divmod(bwv - 846, 24)
            kind = ('prelude', 'fugue')[int(found[2]) - 1]
            write_piece(parts, folder / f'{book + 1}-{number + 1:02}-bwv{bwv}-{kind}.mid')
