"""What is made of the lesson: python lesson/make.py lecture, or python lesson/make.py ladder

`lecture` runs the code in README.md from top to bottom, writes below each block what that printed,
and draws the pictures from the same numbers. (A test asks whether they are still the same.)
`ladder` climbs all rungs, which takes a quarter of an hour or more, and writes index.html and its
sounds, which the program ffmpeg makes small.
"""

import contextlib
import io
import math
import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import torch                                                            # noqa: E402

from assets.make import compress                                        # noqa: E402
from lesson import ladder                                               # noqa: E402
from lib import synth                                                   # noqa: E402
from lib.corpus import load_corpora                                     # noqa: E402
from lib.page import write_page                                         # noqa: E402
from train import orthogonalize                                         # noqa: E402

LARGEST = 100_000        # bytes of the sound of a rung

STYLE = """:root { --ground: #fdfcf9; --ink: #57524b; --line: #ddd6c9;
        --one: #2f6a96; --other: #d9611e }
@media (prefers-color-scheme: dark) {
  :root { --ground: #1d1c1a; --ink: #c8c0b4; --line: #383530;
          --one: #74b4de; --other: #f58b4c } }
text { fill: var(--ink); font: 13px system-ui, sans-serif; text-anchor: middle }
.line { stroke: var(--line); fill: none }
.one { stroke: var(--one); stroke-width: 2.5; fill: none }
.other { stroke: var(--other); stroke-width: 2.5; fill: none }"""


def picture(name: str, width: int, height: int, label: str, parts: list[str]):
    """Write name.svg; it has its own ground, light or dark as the reader's screen is."""
    (HERE / f'{name}.svg').write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{label}"><style>{STYLE}</style>'
        f'<rect width="100%" height="100%" rx="6" fill="var(--ground)"/>{"".join(parts)}</svg>\n',
        'utf-8')


def words(x: float, y: float, said: str, anchor: str = 'middle') -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" style="text-anchor: {anchor}">{said}</text>'


def path(points: list[tuple[float, float]], kind: str, width: float = 2.5) -> str:
    joined = ' '.join(f'{x:.1f},{y:.1f}' for x, y in points)
    return f'<polyline class="{kind}" style="stroke-width: {width:.1f}" points="{joined}"/>'


def arrow(x: float, y: float, angle: float, length: float, kind: str) -> str:
    """From (x, y); the angle counts from the right, against the clock."""
    def towards(angle, length, x, y):
        return x + length * math.cos(angle), y - length * math.sin(angle)
    tip = towards(angle, length, x, y)
    left, right = towards(angle + 2.7, 10, *tip), towards(angle - 2.7, 10, *tip)
    return path([(x, y), tip], kind) + path([left, tip, right], kind)


def by_heart(bits: list[tuple[float, float]]):
    """Two curves: the bits of counted and of held-out pieces, for 0, 1, 2 ... words."""
    def place(length, value):
        return 60 + 140 * length, 250 - 11 * value
    parts = []
    for value in range(0, 21, 5):
        x, y = place(0, value)
        parts.append(path([(x, y), (place(3.2, 0)[0], y)], 'line', 1))
        parts.append(words(x - 14, y + 4, str(value)))
    parts += [words(place(length, 0)[0], 270, str(length)) for length in range(len(bits))]
    parts += [words(270, 292, 'words that it looks at'), words(60, 18, 'bits a note', 'start')]
    counted = [place(length, one) for length, (one, _) in enumerate(bits)]
    held_out = [place(length, other) for length, (_, other) in enumerate(bits)]
    parts += [path(counted, 'one'), path(held_out, 'other'),
              words(counted[-1][0], counted[-1][1] + 22, 'pieces that it counted', 'end'),
              words(held_out[-1][0], held_out[-1][1] - 10, 'held-out pieces', 'end')]
    picture('by-heart', 540, 305, 'Bits a note for 0 to 3 words of the past', parts)


def attention(shares: torch.Tensor):
    """An arc from each word to each that it looks at, as thick as its share."""
    parts = []
    xs = [70 + 130 * number for number in range(4)]
    for row in range(4):
        parts.append(words(xs[row], 200, f'word {row}'))
        for column in range(row):
            share = shares[row, column].item()
            top = 130 - 34 * (row - column)
            middle = (xs[row] + xs[column]) / 2
            parts.append(f'<path class="one" style="stroke-width: {12 * share:.1f}" '
                         f'd="M{xs[row]} 124 Q{middle} {2 * top - 124} {xs[column]} 124"/>')
            parts.append(path([(xs[column] - 5, 115), (xs[column], 124), (xs[column] + 5, 115)],
                              'one'))            # an arrow's head
            parts.append(words(middle, top - 4, f'{share:.2f}'))
        share = shares[row, row].item()
        parts.append(f'<circle class="other" style="stroke-width: {12 * share:.1f}" '
                     f'cx="{xs[row]}" cy="146" r="14"/>')
        parts.append(words(xs[row], 181, f'{share:.2f}'))
    parts.append(words(265, 224, 'blue: to earlier words; the rings: to itself'))
    picture('attention', 530, 235, 'Arcs between four words, as thick as the shares', parts)


def rotary():
    """A query and a key at two pairs of places, two apart each."""
    parts = []
    for x, query_at, key_at in ((110, 5, 3), (330, 9, 7)):
        parts.append(f'<circle class="line" cx="{x}" cy="110" r="80"/>')
        for place, kind, name in ((query_at, 'one', 'query'), (key_at, 'other', 'key')):
            angle = 2 * math.pi * place / 20
            parts.append(arrow(x, 110, angle, 76, kind))
            parts.append(words(x + 98 * math.cos(angle), 114 - 94 * math.sin(angle), name))
        parts.append(words(x, 222, f'query at {query_at}, key at {key_at}'))
    picture('rotary', 440, 236, 'Two arrows on a circle, turned together', parts)


def muon(gradient: torch.Tensor):
    """What two matrices make of a circle."""
    parts = []
    angles = torch.linspace(0, 2 * math.pi, 121)
    circle = torch.stack((angles.cos(), angles.sin()))                   # (2, 121)
    step = orthogonalize(gradient[None])[0]
    for x, matrix, kind, name in ((130, gradient, 'other', 'the gradient'),
                                  (360, step, 'one', 'the step of Muon')):
        size = 90 / torch.linalg.matrix_norm(matrix, 2).item()
        points = [(x + size * a, 100 - size * b) for a, b in (matrix @ circle).T.tolist()]
        parts += [f'<circle class="line" cx="{x}" cy="100" r="90"/>', path(points, kind),
                  words(x, 214, name)]
    picture('muon', 490, 228, 'A circle becomes a needle, or something round', parts)


# a block of code, and what it prints, if it prints anything
BLOCK = re.compile(r'```python\n(.*?)```\n(?:```text\n(.*?)```\n)?', re.DOTALL)


def run_blocks(lecture: str) -> tuple[str, dict]:
    """The lecture with what its blocks print now, and the names that they leave behind."""
    names = {}

    def run(block: re.Match) -> str:
        code = block[1]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, 'lesson/README.md', 'exec'), names)
        shown = f'```text\n{printed.getvalue()}```\n' if printed.getvalue() else ''
        return f'```python\n{code}```\n{shown}'
    return BLOCK.sub(run, lecture), names


def make_lecture():
    os.chdir(HERE.parent)                        # where the lecture says that its code runs
    lecture = HERE / 'README.md'
    text, names = run_blocks(lecture.read_text('utf-8'))
    lecture.write_text(text, 'utf-8')
    bits = []
    for length in range(4):
        after = names['count'](length)
        bits.append((names['bits_of'](after, length, names['to_learn_from']),
                     names['bits_of'](after, length, names['held_out'])))
    by_heart(bits)
    attention(names['attention_shares'])
    rotary()
    muon(names['gradient'])


def make_ladder():
    corpus = load_corpora('goldberg')[0]
    pieces = ladder.climb_all(range(ladder.LAST + 1), corpus, 1, HERE)
    for piece in pieces:
        length = max(start + duration for start, duration, *_ in synth.seconds(piece.score))
        wav = HERE / f'{piece.name}.wav'
        compress(wav, wav.with_suffix('.mp3'), length, largest=LARGEST)
        piece.sound = 'mp3'
    write_page(HERE / 'index.html', 'The ladder, rung by rung', {}, pieces)


if __name__ == '__main__':
    {'lecture': make_lecture, 'ladder': make_ladder}[sys.argv[1]]()
