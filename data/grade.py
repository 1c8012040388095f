"""How near pieces lie to other pieces: the grade, which compares habits.

Pieces are cut into windows of 250 notes, and in each it is counted how long notes are, how many
keys are down, how far apart and so on: eight histograms. The distance of two sides is that of their
mean histograms p and q, the total variation distance sum |p - q| / 2: 0 if they are the same, 1 if
they have nothing in common. Then

    grade = mean over the histograms of distance(samples, training) / distance(held-out, training)

divided by the same mean for held-out pieces with their pitches shuffled. So 1.0 is what shuffled
pieces have, and about 0.5 what held-out ones have.
"""

import numpy as np

from data.score import STEPS, WHOLE, Score
from lib.tonality import find_key

WINDOW = 250             # notes in a window
SHORTEST = 100           # notes that a piece must have to be a (shorter) window by itself
COMPARED = 6             # windows compared at a time, at most: three samples have as many
SEED = 1                 # of all that is drawn here: same pieces, same figures
DRAWS = 15               # draws of that many windows; the median of their distances counts
LONG = 3 * WHOLE // 2    # steps; a note that lasts longer was probably forgotten

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
    tonic, _ = find_key(pitches, durations)

    # octaves are folded: a tenth is as consonant as a third
    return {
        'time between onsets': histogram(np.diff(onsets), 1, WHOLE + 1),
        'duration': histogram(durations, 1, LONG + 1),
        'place in the quarter': histogram(onsets % STEPS, 0, STEPS - 1),
        'keys down': histogram(down.sum(axis=1), 1, 10),
        'intervals': histogram(apart[apart > 0] % 12, 0, 11),
        'intervals above the bass': histogram(above[above > 0] % 12, 0, 11),
        'step of the top voice': histogram(np.diff(melody), -12, 12),
        'scale degree': histogram((pitches - tonic) % 12, 0, 11),
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


def grade(samples: list[Score], train: list[Score], val: list[Score],
          ngram: list[Score] | None = None) -> dict:
    """How near samples lie to the training pieces. `grade` is 1.0 for held-out pieces with their
    pitches shuffled, about 0.5 for the held-out pieces themselves; `grades` has all
    sides (an n-gram's pieces only if they are given), `distances` what they come from. Raises
    ValueError if a side has no piece that is long enough.
    """
    training = measure('training', train)
    sides = {'held-out': measure('held-out', val),
             'shuffled': measure('shuffled', shuffle_pitches(val)),
             'n-gram': measure('n-gram', ngram) if ngram else None,
             'samples': measure('samples', samples)}
    sides = {side: measured for side, measured in sides.items() if measured}
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
