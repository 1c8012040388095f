"""The Art of Fugue, BWV 1080: 21 numbers in the order of the old complete edition, 23 pieces.

Numbers 12 and 13 hold a fugue and, in the second half of the parts, its mirror; 19 and 20 are 13
and its mirror for two harpsichords; 14 is an early form of 10. These stay on one side of a split.
"""

import re
from pathlib import Path

from data.musedata import encodings, write_piece

MIRRORED = (12, 13)
NAMES = {14: 'contrapunctus-10a', 15: 'canon-augmentation', 16: 'canon-octave',
         17: 'canon-tenth', 18: 'canon-twelfth', 19: 'two-harpsichords-1',
         20: 'two-harpsichords-2', 21: 'unfinished'}


def modern(part: str) -> str:
    """A part in the older MuseData -> in the form that `read_musedata` knows.

    The older form has a head of 8 lines, the last two of which say `bars key units divisions` and
    `beats unit ...`. Durations stand one column further left: `A4   12-` -> `A4    12-`.
    """
    lines = part.splitlines()
    divisions = lines[6].split()[3]
    beats, unit = lines[7].split()[:2]
    rows = [f'$ Q:{divisions} T:{beats}/{unit}']
    duration = ''
    for line in lines[8:]:
        found = re.match(r'( ?[A-G][#f]*\d|rest) *(\d*)(-?)', line)
        if found:                                       # else a bar line, or `deleted`
            name, given, tie = found.groups()
            duration = given or duration                # a chord tone has none of its own
            rows.append(f'{name:5}{duration:>3}{tie}')
    return '\n'.join(rows)


def collect(folder: Path):
    """Write the 23 pieces as data/fugue/contrapunctus-NN.mid and so on, once."""
    for found, parts in encodings(folder, 23, r'artOfFugue_bwv1080/(\d\d)\.zip'):
        number = int(found[1])
        name = NAMES.get(number, f'contrapunctus-{number:02}')
        parts = [modern(part) for part in parts]
        if number in MIRRORED:
            half = len(parts) // 2
            write_piece(parts[:half], folder / f'{name}-1.mid')
            write_piece(parts[half:], folder / f'{name}-2.mid')
        else:
            write_piece(parts, folder / f'{name}.mid')
