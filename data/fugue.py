"""The Art of Fugue, BWV 1080: 21 numbers in the order of the old complete edition, 23 pieces.

Numbers 12 and 13 hold a fugue and, in the second half of the parts, its mirror; 19 and 20 are 13
and its mirror for two harpsichords; 14 is an early form of 10. These stay on one side of a split.
"""

from pathlib import Path

from lib.musedata import encodings, modern, write_piece

KIND = 'music'
HELD_OUT = r'^contrapunctus-09\.'       # it has no mirror and no other form
MIRRORED = (12, 13)
NAMES = {14: 'contrapunctus-10a', 15: 'canon-augmentation', 16: 'canon-octave',
         17: 'canon-tenth', 18: 'canon-twelfth', 19: 'two-harpsichords-1',
         20: 'two-harpsichords-2', 21: 'unfinished'}


def collect(folder: Path):
    """Write the 23 pieces as data/fugue/contrapunctus-NN.mid and so on, once."""
    for found, parts in encodings(folder, 23, r'bach/artOfFugue_bwv1080/(\d\d)\.zip'):
        number = int(found[1])
        name = NAMES.get(number, f'contrapunctus-{number:02}')
        parts = [modern(part) for part in parts]
        if number in MIRRORED:
            half = len(parts) // 2
            write_piece(parts[:half], folder / f'{name}-1.mid')
            write_piece(parts[half:], folder / f'{name}-2.mid')
        else:
            write_piece(parts, folder / f'{name}.mid')
