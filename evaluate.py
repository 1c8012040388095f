"""How good is a model, how near are its pieces to Bach: python evaluate.py --out_dir=out-goldberg

The model is judged by the bits a note that held-out pieces cost it, and by what they are spent on.
Its samples are judged by the *grade*, which compares habits: in windows of 250 notes it counts how
long notes are, how many keys are down, how far apart and so on (eight histograms), and measures
how far the samples' mean lies from that of the training pieces. Two yardsticks stand beside them:

    held-out    pieces that the model never saw: as near as music of this style comes
    shuffled    the same pieces, their pitches shuffled among the notes: the grade 1.0

A grade says nothing of form, nor of copying: a piece learned by heart has an excellent grade.
"""

import glob
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from config import run
from model import load
from prepare import files
from tokenizer_midi import STEPS, WHOLE, MidiTokenizer, Score, read_midi
from train import check, load_corpus, validation_losses

WINDOW = 250             # notes in a window
SHORTEST = 100           # notes that a piece must have to be a (shorter) window by itself
COMPARED = 6             # windows compared at a time, at most: three samples have as many
DRAWS = 15               # draws of that many windows; the median of their distances counts
SEED = 1                 # of the draws and of the shuffling: same pieces, same grade
LONG = 3 * WHOLE // 2    # steps; a note that lasts longer was probably forgotten

# How often the 12 degrees of a major and a minor key occur, from the tonic upwards (Albrecht and
# Shanahan 2013). The profiles have mean 0 and spread 1: the largest product correlates best.
DEGREES = np.array([[.238, .006, .111, .006, .137, .094, .016, .214, .009, .080, .008, .081],
                    [.220, .006, .104, .123, .019, .103, .012, .214, .062, .022, .061, .052]])
PROFILES = (DEGREES - DEGREES.mean(axis=1, keepdims=True)) / DEGREES.std(axis=1, keepdims=True)


@dataclass
class Config:
    out_dir: str = 'out'            # folder of the checkpoint; evaluate.json goes there, too
    samples: str = ''               # folder or pattern of MIDI files, else out_dir/sample-*.mid
    dataset: str = ''               # corpora to compare with, else those of the checkpoint; with
                                    # `samples` and `dataset` both given, no checkpoint is read
    checkpoint: str = 'ckpt.pt'     # or last.pt


# ---- the model: bits a note on what is held out

def bits_by_kind(model, corpus: dict, tokenizer) -> dict[str, float]:
    """Held-out bits a note of music, by what they are spent on: `what` (which key is pressed),
    `how long` (which key is let go) and `when` (how long to wait, and the few words between); their
    sum is train.py's figure. `corpus` is what load_corpus returns."""
    questions = {'on': 'what', 'off': 'how long'}
    nats = {'what': 0.0, 'when': 0.0, 'how long': 0.0}
    for targets, losses in validation_losses(model, corpus, model.config.context):
        for id, loss in zip(targets.tolist(), losses.tolist()):
            kind, _ = tokenizer.words[id]
            nats[questions.get(kind, 'when')] += loss
    notes = corpus['units']['val']
    return {question: total / math.log(2) / notes for question, total in nats.items()}


# ---- windows and their histograms

def cut(scores: list[Score]) -> list[np.ndarray]:
    """Windows (WINDOW, 3) of start, pitch and duration that follow one another; the rest of a piece
    is left out. A piece too short for one is a shorter window (N, 3), if it has SHORTEST notes."""
    windows = []
    for score in scores:
        notes = np.array([note[:3] for note in sorted(score.notes)])
        if SHORTEST <= len(notes) < WINDOW:
            windows.append(notes)
        for start in range(0, len(notes) - WINDOW + 1, WINDOW):
            windows.append(notes[start:start + WINDOW])
    return windows


def shuffle_pitches(scores: list[Score]) -> list[Score]:
    """Each piece with its own pitches and its own rhythm, but other pitches on other notes."""
    generator = np.random.default_rng(SEED)
    shuffled = []
    for score in scores:
        pitches = generator.permutation([note.pitch for note in score.notes])
        pairs = zip(score.notes, pitches.tolist())
        shuffled.append(Score([note._replace(pitch=pitch) for note, pitch in pairs]))
    return shuffled


def keys_down(window: np.ndarray, onsets: np.ndarray) -> np.ndarray:
    """(onsets, 128), True where a key is down. One let go at an onset is no longer down."""
    starts, pitches, durations = window.T
    first = np.searchsorted(onsets, starts)
    past = np.searchsorted(onsets, starts + durations)
    down = np.zeros((len(onsets), 128), bool)
    for note, pitch in enumerate(pitches):
        down[first[note]:past[note], pitch] = True
    return down


def find_tonic(pitches: np.ndarray, durations: np.ndarray) -> int:
    """The tonic, 0 (C) to 11, of the key whose profile correlates best with how long each of the 12
    pitch classes sounds (the method of Krumhansl and Schmuckler)."""
    heard = np.bincount(pitches % 12, weights=durations, minlength=12)
    fits = []
    for tonic in range(12):
        degrees = np.roll(heard, -tonic)                        # of a key on this tonic
        fits.append(max(PROFILES @ degrees))                    # as major or as minor
    return int(np.argmax(fits))


def histogram(values: np.ndarray, low: int, high: int) -> np.ndarray:
    """Shares (high - low + 2,) of low..high, what lies beyond counted as the nearest of them. The
    last bin is for a window that has nothing to count: no intervals, when no two keys meet."""
    counts = np.bincount(np.clip(values, low, high) - low, minlength=high - low + 2)
    if len(values) == 0:
        counts[-1] = 1
    return counts / counts.sum()


def histograms(window: np.ndarray) -> dict[str, np.ndarray]:
    """The eight histograms of a window (N, 3). Times are in steps, pitches in semitones."""
    starts, pitches, durations = window.T
    onsets, onset = np.unique(starts, return_inverse=True)      # onset: the index of each note's
    down = keys_down(window, onsets)                            # (onsets, 128)
    bass = down.argmax(axis=1)                                  # the lowest key, (onsets,)
    top = 127 - down[:, ::-1].argmax(axis=1)                    # the highest

    # each note, when it starts, against every key that is down; itself, 0 apart, doesn't count
    note, key = np.nonzero(down[onset])
    apart = abs(pitches[note] - key)
    above = pitches - bass[onset]
    melody = pitches[pitches == top[onset]]                     # the notes that start on top

    # octaves are folded: a tenth is as consonant as a third
    return {
        'time between onsets': histogram(np.diff(onsets), 1, WHOLE + 1),
        'duration': histogram(durations, 1, LONG + 1),
        'place in the quarter': histogram(onsets % STEPS, 0, STEPS - 1),
        'keys down': histogram(down.sum(axis=1), 1, 10),
        'intervals': histogram(apart[apart > 0] % 12, 0, 11),
        'intervals above the bass': histogram(above[above > 0] % 12, 0, 11),
        'step of the top voice': histogram(np.diff(melody), -12, 12),
        'scale degree': histogram((pitches - find_tonic(pitches, durations)) % 12, 0, 11),
    }


# ---- the grade and the plain figures

def measure(side: str, scores: list[Score]) -> dict[str, np.ndarray]:
    """Name -> (windows, bins) of each histogram. Raises ValueError if there is no window."""
    windows = [histograms(window) for window in cut(scores)]
    if not windows:
        raise ValueError(f'{side}: no piece out of {len(scores)} has {SHORTEST} notes, the fewest '
                         'that can be graded: use longer pieces')
    return {name: np.stack([window[name] for window in windows]) for name in windows[0]}


def distance(shares: np.ndarray, goal: np.ndarray, count: int) -> float:
    """Total variation distance, 0 to 1, from the mean of `count` windows of `shares` (windows,
    bins) to the mean histogram `goal` (bins,): the median of DRAWS draws."""
    generator = np.random.default_rng(SEED)
    distances = []
    for _ in range(DRAWS):
        drawn = generator.choice(len(shares), count, replace=False)
        distances.append(abs(shares[drawn].mean(axis=0) - goal).sum() / 2)
    return float(np.median(distances))


def grade(samples: list[Score], train: list[Score], val: list[Score]) -> dict:
    """How near samples lie to the training pieces. `grade` is 1.0 for held-out pieces with their
    pitches shuffled, about 0.5 for the held-out pieces themselves; `grades` has all three,
    `distances` what they come from. Raises ValueError if a side has no piece that is long enough.
    """
    training = measure('training', train)
    sides = {'held-out': measure('held-out', val),
             'shuffled': measure('shuffled', shuffle_pitches(val)),
             'samples': measure('samples', samples)}
    sizes = {side: len(measured['duration']) for side, measured in sides.items()}
    # the fewer windows, the further their mean lies from any other, by chance alone: so as many
    # are drawn from each side, and no more from thirty samples than from three
    count = min(COMPARED, *sizes.values())
    distances = {}
    ratios = {side: [] for side in sides}
    for name, shares in training.items():
        goal = shares.mean(axis=0)
        row = {side: distance(measured[name], goal, count) for side, measured in sides.items()}
        # less than one note of a window is no difference, and nothing to divide by
        unit = max(row['held-out'], 1 / WINDOW)
        for side in sides:
            ratios[side].append(row[side] / unit)
        distances[name] = row
    scale = np.mean(ratios['shuffled'])
    grades = {side: float(np.mean(ratios[side]) / scale) for side in sides}
    return {'grade': grades['samples'], 'grades': grades, 'distances': distances,
            'windows': sizes, 'compared': count,
            'too_short': sum(len(score.notes) < SHORTEST for score in samples)}


def describe(scores: list[Score]) -> dict:
    """Plain figures of all notes, those of short pieces, too."""
    starts, _, durations, _ = np.concatenate([score.notes for score in scores]).T
    quarters = 0
    for score in scores:
        quarters += max(note.start + note.duration for note in score.notes) / STEPS
    off_grid = (starts % (STEPS // 4) > 0) & (starts % (STEPS // 3) > 0)
    return {'pieces': len(scores), 'notes': len(starts), 'notes a quarter': len(starts) / quarters,
            f'longer than {LONG} steps, %': 100 * float(np.mean(durations > LONG)),
            'off 16ths and triplets, %': 100 * float(np.mean(off_grid))}


# ---- what to compare, with what, and the tables

def load_scores(dataset: str) -> tuple[list[Score], list[Score]]:
    """The training and the held-out pieces of prepared corpora, such as goldberg,wtc."""
    scores = {'train': [], 'val': []}
    for name in dataset.replace(' ', '').split(','):
        corpus = load_corpus(name)
        if corpus['tokenizer'].get('kind') != 'midi':
            raise ValueError(f'data/{name} is text: only music is graded, give another --dataset')
        tokenizer = MidiTokenizer.from_dict(corpus['tokenizer'])
        for split, pieces in scores.items():
            ids = np.array(corpus[split])
            begins = np.flatnonzero(ids == tokenizer.ids['begin', 0])
            for piece in np.split(ids, begins)[1:]:             # nothing is before the first
                pieces.append(tokenizer.decode(piece.tolist()))
    return scores['train'], scores['val']


def read_samples(config: Config) -> list[Score]:
    """The MIDI files to grade. Says which can't be read; raises ValueError if that is all."""
    if not config.samples:
        paths = sorted(Path(config.out_dir).glob('sample-*.mid'))
    elif Path(config.samples).is_dir():
        paths = files(Path(config.samples), ('.mid', '.midi'))
    else:
        paths = sorted(glob.glob(config.samples))
    scores = []
    for path in paths:
        try:
            scores.append(read_midi(path))
        except (ValueError, OSError) as error:
            print(f'left out: {error}')
    if not scores:
        raise ValueError(f'{config.samples or config.out_dir}: none of {len(paths)} samples could '
                         'be read: run sample.py first, or give --samples=FOLDER')
    return scores


def print_row(name: str, values):
    """A row of words or numbers; those that are not whole with three digits after the point."""
    line = f'{name:28}'
    for value in values:
        form = '.3f' if isinstance(value, float) else ''
        line += f'{value:>10{form}}'
    print(line)


def print_tables(result: dict):
    """The distances with the grades in their last row, then the plain figures."""
    found = result['grade']
    print_row('distance to training pieces', found['grades'])
    for name, row in found['distances'].items():
        print_row(name, row.values())
    print_row('grade', found['grades'].values())
    print('{} windows at a time; there are {held-out} held-out ones and {samples} of the samples'
          .format(found['compared'], **found['windows']))
    if found['compared'] < COMPARED:
        print(f'fewer than {COMPARED}: compare this grade only with others of as few')
    if found['too_short']:
        print(f'{found["too_short"]} samples of under {SHORTEST} notes are not in the grade')
    print()
    print_row('all notes', result['figures'])
    for name in result['figures']['samples']:
        print_row(name, [figures[name] for figures in result['figures'].values()])


def print_bits(bits: dict):
    """The bits a note of each corpus, and what they are spent on."""
    questions = list(next(iter(bits.values())))
    print_row('held-out bits/note', ['all', *questions])
    for name, spent in bits.items():
        print_row(name, [sum(spent.values()), *spent.values()])
    print()


def judge_model(config: Config) -> tuple[str, dict]:
    """The corpora to compare with, and the bits that a checkpoint spends on each. Raises ValueError
    if it writes text."""
    path = f'{config.out_dir}/{config.checkpoint}'
    model, checkpoint = load(path)
    if checkpoint['tokenizer'].get('kind') != 'midi':
        raise ValueError(f'{path} writes text: only music is graded, give another --out_dir')
    dataset = config.dataset or checkpoint['train_config']['dataset']
    bits = {}
    for name in dataset.replace(' ', '').split(','):
        corpus = load_corpus(name)
        check([corpus], model.config.context)
        if corpus['tokenizer'] != checkpoint['tokenizer']:
            raise ValueError(f'data/{name} has another tokenizer than {path}: give another '
                             '--dataset')
        bits[name] = bits_by_kind(model, corpus, MidiTokenizer.from_dict(corpus['tokenizer']))
    return dataset, bits


def main(config: Config):
    path = Path(config.out_dir) / 'evaluate.json'
    if config.samples and config.dataset:                       # then no model is asked for
        result = {'dataset': config.dataset}
        path.parent.mkdir(parents=True, exist_ok=True)
    else:
        dataset, bits = judge_model(config)
        result = {'dataset': dataset, 'bits': bits}
        print_bits(bits)
    samples = read_samples(config)
    train, val = load_scores(result['dataset'])
    result['grade'] = grade(samples, train, val)
    result['figures'] = {'training': describe(train), 'held-out': describe(val),
                         'samples': describe(samples)}
    print_tables(result)
    path.write_text(json.dumps(result, indent=2) + '\n', encoding='utf-8')
    print(f'all of this: {path}')


if __name__ == '__main__':
    run(main, Config)
