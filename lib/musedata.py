"""MuseData encodings in the source archive of `music21` -> MIDI files.

They are (c) Center for Computer Assisted Research in the Humanities (CCARH): to fetch and learn
from, not to publish again.
"""

import re
import zipfile
from fractions import Fraction
from io import BytesIO
from pathlib import Path

from lib.archive import CCARH, members, write_whole
from lib.score import STEPS, Note, Score


def read_musedata(parts: list[str]) -> Score:
    """The parts (voices) of a MuseData piece -> Score. A line is a note (pitch in columns 1-4, or
    2-5 in a chord; duration in 6-8; `-` in 9 for a tie), a rest, `back`, or attributes."""
    notes, metres = [], {}
    for part in parts:
        now, onset, divisions, comment, tied = Fraction(0), Fraction(0), 1, False, {}
        lines = part.splitlines()
        first = next((i for i, line in enumerate(lines) if line.startswith('$')), len(lines))
        for line in lines[first:]:
            note = re.match(r'( ?)([A-G])([#f]*)(\d) +\d{1,3}\b', line[:8])
            if line.startswith('&'):
                comment = not comment
            elif comment:
                continue
            elif line.startswith('/END'):
                break
            elif line.startswith('$'):
                divisions = int((re.search(r'Q:(\d+)', line) or [0, divisions])[1])
                for beats, unit in re.findall(r'T:(\d+)/(\d+)', line):   # 1/1 is C, 0/0 cut C
                    metre = {'1/1': (4, 4), '0/0': (2, 2)}.get(f'{beats}/{unit}')
                    metres[round(now)] = metre or (int(beats), int(unit))
            elif note or re.match('rest|irest|back', line):
                length = Fraction(int(line[5:8]) * STEPS, divisions)
                if line.startswith('back'):
                    now -= length
                    continue
                if not (note and note[1]):                       # a chord tone starts with the last
                    onset, now = now, now + length
                if note:
                    pitch = 12 * (int(note[4]) + 1) + 'C D EF G A B'.index(note[2])
                    pitch += note[3].count('#') - note[3].count('f')
                    begun = tied.pop((pitch, onset), onset)
                    if line[8:9] == '-':
                        tied[pitch, onset + length] = begun
                    else:
                        notes.append((begun, pitch, onset + length))
        notes += [(begun, pitch, end) for (pitch, end), begun in tied.items()]
    strokes = {(round(start), pitch): round(end) for start, pitch, end in sorted(notes)}
    return Score([Note(start, pitch, max(1, end - start))        # two voices in unison: once
                  for (start, pitch), end in sorted(strokes.items())], [(0, 80.0)],
                 [(step, *metre) for step, metre in sorted(metres.items())])


def modern(part: str) -> str:
    """A part in the older MuseData -> in the form that `read_musedata` knows.

    The older form has a head of about 8 lines, the last two of which say `bars key units divisions`
    and `beats unit ...`. Durations stand one column further left: `A4   12-` -> `A4    12-`.
    """
    lines = part.splitlines()
    last = next(number for number, line in enumerate(lines)
                if re.fullmatch(r'\d+ +-?\d+ +\d+ +\d+ *', line))
    divisions = lines[last].split()[3]
    beats, unit = lines[last + 1].split()[:2]
    rows = [f'$ Q:{divisions} T:{beats}/{unit}']
    duration = ''
    for line in lines[last + 2:]:
        found = re.match(r'( ?[A-G][#f]*\d|rest) *(\d*)(-?)', line)
        if found:                                       # else a bar line, or `deleted`
            name, given, tie = found.groups()
            duration = given or duration                # a chord tone has none of its own
            rows.append(f'{name:5}{duration:>3}{tie}')
    return '\n'.join(rows)


def encodings(folder: Path, count: int, pattern: str):
    """Yield (match, parts) of every piece of the archive whose path ends like the pattern: a piece
    is a .zip, a part a file in it named by a number. None if the folder has `count` pieces."""
    for found, data in members(folder, count, pattern, CCARH):
        yield found, zipped_parts(data)


def zipped_parts(data: bytes) -> list[str]:
    """The parts of a .zip file, in the order of their numbers."""
    with zipfile.ZipFile(BytesIO(data)) as inner:
        return [inner.read(name).decode('latin-1') for name in sorted(inner.namelist())
                if re.search(r'(^|/)\d+$', name) and '__MACOSX' not in name]


def parts_in_one(text: str) -> list[str]:
    """The parts of a .md file: each has a head of its own and ends with `/END`."""
    return re.split('^/END.*', text, flags=re.MULTILINE)[:-1]


def write_piece(parts: list[str], path: Path):
    """Write the parts to a MIDI file, which is there whole or not at all."""
    write_whole(read_musedata(parts), path)
