"""The quiz "Bach or machine?": pairs of excerpts, of which one is by Bach."""

from itertools import islice
from pathlib import Path

import numpy as np

from lib import synth
from lib.page import Excerpt, Pair, write_quiz
from lib.score import Note, Score, bars_of, find_bars

PAIRS = 10               # of excerpts
BARS = 8                 # bars in an excerpt
NOTES = 24               # notes that it has at least
TEMPO = 80               # quarters a minute, for both sides
SEED = 1                 # of what is drawn


def cut_bars(score: Score, first: int, bars: int) -> Score:
    """So many bars from the bar `first` (0 is the first of all) on, as an excerpt from step 0 whose
    tempo and loudness tell nothing. A note that goes on at the last bar line ends there."""
    lines = [bar.start for bar in islice(bars_of(score.metres), first + bars + 1)]
    begin, end = round(lines[first]), round(lines[-1])
    notes = [Note(note.start - begin, note.pitch, min(note.duration, end - note.start))
             for note in score.notes if begin <= note.start < end]
    metres = [(max(0, step - begin), beats, unit) for step, beats, unit in score.metres
              if step < end]
    before = [metre for metre in metres if metre[0] == 0][-1:]
    return Score(notes, [(0, TEMPO)], before + [metre for metre in metres if metre[0] > 0])


def find_excerpts(named: list[tuple[str, Score]], generator) -> list[tuple[str, Score]]:
    """(source, excerpt) of all pieces, in random order: BARS bars each, which do not overlap,
    with NOTES notes at least."""
    found = []
    for name, score in named:
        whole = len(find_bars(score)) - BARS
        for first in range(0, whole + 1, BARS):
            excerpt = cut_bars(score, first, BARS)
            if len(excerpt.notes) >= NOTES:
                source = f'{Path(name).stem}, bars {first + 1} to {first + BARS}'
                found.append((source, excerpt))
    return [found[number] for number in generator.permutation(len(found))]


def make_quiz(samples: list, held_out: list, folder: Path):
    """quiz.html in the folder, and its sounds. Raises ValueError if there is too little music."""
    generator = np.random.default_rng(SEED)
    sides = {'Bach': find_excerpts(held_out, generator),
             'the model': find_excerpts(samples, generator)}
    for side, excerpts in sides.items():
        if len(excerpts) < PAIRS:
            raise ValueError(f'{len(excerpts)} excerpts of {BARS} bars by {side}, '
                             f'{PAIRS} are needed: run sample.py with --num_samples=10')
    pairs = []
    for number in range(PAIRS):
        order = ['Bach', 'the model'] if generator.random() < 0.5 else ['the model', 'Bach']
        both = []
        for letter, side in zip('ab', order):
            source, score = sides[side][number]
            sound = f'quiz-{number + 1}{letter}.wav'
            synth.write_wav(folder / sound, synth.render(synth.seconds(score)))
            both.append(Excerpt(sound, score, f'{side}: {source}'))
        pairs.append(Pair(*both, bach='ab'[order.index('Bach')]))
    write_quiz(folder / 'quiz.html', pairs)
    print(f'open {folder / "quiz.html"}')
