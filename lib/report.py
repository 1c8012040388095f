"""What is said of samples: while they are drawn, beside each, and on their page."""

import json
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np

from lib.page import Passage, sound_times
from lib.score import MIDI_TEMPO, Score, bars_of, count_voices, find_bars, first_metre
from lib.tonality import name_of


class ProgressLine:
    """A line on the terminal that says how far the pieces are; silent if there is no terminal."""

    def __init__(self, listeners: list, bars: int):
        self.listeners, self.bars = listeners, bars
        self.shown_at = 0.0
        self.is_terminal = sys.stdout.isatty()

    def show(self):
        if self.is_terminal and time.monotonic() > self.shown_at + 0.2:
            self.shown_at = time.monotonic()
            bar = int(min(listener.now // listener.bar for listener in self.listeners)) + 1
            of = f' of about {self.bars}' if self.bars else ''
            print(f'\rbar {bar}{of} ', end='', flush=True)

    def close(self):
        if self.is_terminal:
            print('\r' + ' ' * 40 + '\r', end='', flush=True)


def describe(score: Score, bits: list[float]) -> dict[str, str]:
    """What a musician asks first, and then how likely it is. bits: the surprise of each note."""
    tempo = score.tempos[0][1] if score.tempos and score.tempos[0][0] == 0 else MIDI_TEMPO
    return {'bars': str(len(find_bars(score))), 'notes': str(len(score.notes)),
            'metre': '{}/{}'.format(*first_metre(score)),
            'tempo': f'{tempo:.0f} quarters a minute',
            'key': name_of(*score.home) if score.home else 'none',
            'voices': str(count_voices(score.notes)),
            'surprise': f'{np.mean(bits):.2f} bits a note' if bits else 'none'}


def describe_drawing(origin, recites_from: int, ended: bool, forbidden: float) -> dict[str, str]:
    """How original a piece is that was drawn, and how it was drawn. origin: what `originality`
    found, None if it was not asked; forbidden: how likely words were that the guard took away."""
    facts = {}
    if origin:
        facts['longest run in the training pieces'] = say_run(origin, recites_from)
    facts['ends'] = 'by itself' if ended else 'cut off'
    facts['the guard took away'] = f'{forbidden:.1%}'
    if forbidden > 0.05:
        facts['the guard took away'] += ' (it has learned too little: train longer)'
    return facts


def say_run(origin, recites_from: int) -> str:
    """The longest run that a piece shares with the training pieces, in words."""
    if not origin.longest:
        return 'none'
    words = f'{origin.longest} notes, of {Path(origin.source).stem}, bar {origin.source_bar}'
    return f'{words}: it recites' if origin.longest >= recites_from else words


def say_bars(first: int, last: int) -> str:
    """(7, 8) -> 'bars 7 to 8'"""
    return f'bar {first}' if first == last else f'bars {first} to {last}'


def shared_passage(score: Score, origin) -> Passage:
    """The longest run that a piece shares with a training piece, as whole bars."""
    lines = [bar.start for bar in islice(bars_of(score.metres), origin.last_bar + 1)]
    start, end = sound_times(score, [lines[origin.bar - 1], lines[origin.last_bar]])
    there = say_bars(origin.source_bar, origin.source_last_bar)
    return Passage(start, end, say_bars(origin.bar, origin.last_bar),
                   f'{Path(origin.source).stem}, {there}')


def facts_of_model(out_dir: str, checkpoint: dict, unit: str) -> dict[str, str]:
    """What the page says of the model."""
    trained = checkpoint['train_config']
    shape = checkpoint['model_config']
    facts = {'trained on': trained['dataset'],
             'model': f'{shape["n_layer"]} layers of {shape["n_embd"]} channels',
             'held out': f'{checkpoint["progress"]["best"]:.3f} bits/{unit} at its best'}
    judged = Path(out_dir) / 'evaluate.json'
    try:
        prefers = json.loads(judged.read_text('utf-8'))['judge']['prefers']['samples']
        facts['when last judged'] = (f'the judge preferred Bach in {prefers:.0f} of 100 pairs '
                                     '(50: it could not tell)')
    except (OSError, ValueError, LookupError, TypeError):
        pass                                                     # not judged, or text
    return facts
