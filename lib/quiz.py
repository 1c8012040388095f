"""The quiz "Bach or machine?": pairs of excerpts, of which one is by Bach."""

import math
from collections import Counter
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from lib import synth
from lib.judge import count_pieces, right_answers
from lib.page import Excerpt, Pair, write_quiz
from lib.score import Note, Score, cut_bars, find_bars, first_metre

BARS = 8                 # bars in an excerpt
NOTES = 24               # notes that it has at least
TEMPO = 80               # quarters a minute, for both sides
SEED = 1                 # of what is drawn


def make_excerpt(score: Score, first: int) -> Score:
    """BARS bars from number `first` (1 is the first of all) on, whose tempo and loudness tell
    nothing."""
    cut = cut_bars(score, first, first + BARS - 1)
    notes = [Note(note.start, note.pitch, note.duration) for note in cut.notes]
    return Score(notes, [(0, TEMPO)], cut.metres)


@dataclass
class Found:
    """An excerpt of a piece."""
    score: Score
    piece: str               # its file's name
    bars: str                # where it stands there

    @property
    def source(self) -> str:
        return f'{Path(self.piece).stem}, {self.bars}'


def find_excerpts(named: list[tuple[str, Score]], generator) -> list[Found]:
    """Excerpts of all pieces, BARS bars each, which do not overlap, with NOTES notes at least: one
    of each piece in random order, then a second one of each, and so on."""
    of_pieces = []                                   # the excerpts of each piece, in random order
    for name, score in named:
        bars = len(find_bars(score))
        mine = []
        for first in range(1, bars - BARS + 2, BARS):
            excerpt = make_excerpt(score, first)
            if len(excerpt.notes) >= NOTES:
                mine.append(Found(excerpt, name, f'bars {first} to {first + BARS - 1}'))
        of_pieces.append([mine[number] for number in generator.permutation(len(mine))])
    of_pieces = [of_pieces[number] for number in generator.permutation(len(of_pieces))]
    return [found for turn in zip_longest(*of_pieces) for found in turn if found]


def unlike(one: Found, other: Found) -> tuple:
    """How much gives a pair away before one has listened: another metre, then more notes."""
    same_metre = first_metre(one.score) == first_metre(other.score)
    return not same_metre, abs(math.log(len(one.score.notes) / len(other.score.notes)))


def most_alike(by_bach: list[Found], by_model: list[Found]) -> list[tuple[Found, Found]]:
    """To each of the model's excerpts, in turn, the one by Bach that is left and most like it: (by
    Bach, by the model). There have to be enough by Bach."""
    left = list(by_bach)
    chosen = []
    for excerpt in by_model:
        best = min(left, key=lambda other: unlike(excerpt, other))
        left.remove(best)
        chosen.append((best, excerpt))
    return chosen


def ask_the_judge(chosen: list[tuple[Found, Found]], training: list[Found],
                  by_model: list[Found]) -> str:
    """How the judge does who only counts (lib/judge.py): he has heard excerpts of Bach's training
    pieces and of the model's other samples. '' if there is too little to learn from."""
    def counted(found: list[Found]):
        return count_pieces([(excerpt.piece, excerpt.score) for excerpt in found])
    pairs = [(counted([one]), counted([other])) for one, other in chosen]
    if len({excerpt.piece for excerpt in by_model}) < 2 or not all(map(all, pairs)):
        return ''
    right = right_answers(counted(training), counted(by_model),
                          [(one, other) for [one], [other] in pairs])
    return f'The judge of evaluate.py, who only counts, was right in {right} of {len(pairs)}.'


def make_quiz(samples: list, held_out: list, training: list, folder: Path, count: int):
    """quiz.html of so many pairs in the folder, and its sounds. Raises ValueError if there is too
    little music."""
    generator = np.random.default_rng(SEED)
    sides = {'Bach': find_excerpts(held_out, generator),
             'the model': find_excerpts(samples, generator)}
    for side, excerpts in sides.items():
        if len(excerpts) < count:
            advice = 'lower --pairs' if side == 'Bach' else 'run sample.py with more --num_samples'
            raise ValueError(f'{len(excerpts)} excerpts of {BARS} bars by {side}, {count} are '
                             f'needed: {advice}')
    chosen = most_alike(sides['Bach'], sides['the model'][:count])
    often = max(Counter(excerpt.piece for _, excerpt in chosen).values())
    if often > 1:
        print(f'a sample is heard {often} times: {count} samples or more would be heard once each')
    pairs = []
    for number, (by_bach, by_model) in enumerate(chosen, 1):
        in_order = [('Bach', by_bach), ('the model', by_model)]
        if generator.random() < 0.5:
            in_order.reverse()
        excerpts = []
        for letter, (side, found) in zip('ab', in_order):
            sound = f'quiz-{number}{letter}.wav'
            synth.write_wav(folder / sound, synth.sound_of(found.score))
            excerpts.append(Excerpt(sound, found.score, f'{side}: {found.source}'))
        pairs.append(Pair(*excerpts, bach='a' if in_order[0][0] == 'Bach' else 'b'))
    judged = ask_the_judge(chosen, find_excerpts(training, generator), sides['the model'])
    write_quiz(folder / 'quiz.html', pairs, judged)
    print(f'open {folder / "quiz.html"}')
