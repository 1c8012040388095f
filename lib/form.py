"""The form of whole pieces, and what else is heard at once: does a piece come back to its themes,
and home? Is it in tune? What a window of eight bars (`lib/judge.py`) cannot tell.

    describe(scores)      the figures of one side, means over its pieces
    lag_curve(scores)     how like a bar is to the one 1, 2 ... 24 bars before
"""

from collections import defaultdict

import numpy as np

from lib.counts import (FEWEST, bar_of, highest, keys_down, likeness, lines_of, lowest, parallels,
                        share, share_in_key, table_of, texture_of)
from lib.score import STEPS, WHOLE, Score
from lib.tonality import find_key

FIGURE = 4               # steps in a figure
AGO = 4                  # bars; a figure that was heard so long ago, or longer, has come back
LAGS = 24                # bars that the lag curve looks back
LONG = 3 * WHOLE // 2    # steps; a note that lasts longer was probably forgotten
FIGURES = ('home', 'in the key of their bar', 'parallel fifths and octaves',
           'time with one key down', 'time with three', 'notes a quarter',
           'off 16ths and triplets', 'longer than six quarters')


# ---- themes that come back

def struck_lines(notes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Notes (N, 3) -> the onsets, and the highest and the lowest note struck at each, (T,) each.
    """
    onsets, when = np.unique(notes[:, 0], return_inverse=True)
    top = np.zeros(len(onsets), int)
    bottom = np.full(len(onsets), 127)
    np.maximum.at(top, when, notes[:, 1])
    np.minimum.at(bottom, when, notes[:, 1])
    return onsets, top, bottom


def figures_of(onsets: np.ndarray, line: np.ndarray) -> list[tuple | None]:
    """The figures of a line (T,), one from each onset on: four intervals and their waits. None
    where fewer than three of the intervals differ: a scale or a trill is nobody's."""
    intervals, waits = np.diff(line).tolist(), np.diff(onsets).tolist()
    figures = []
    for first in range(len(intervals) - FIGURE + 1):
        steps = tuple(intervals[first:first + FIGURE])
        figure = steps + tuple(waits[first:first + FIGURE])
        figures.append(figure if len(set(steps)) > 2 else None)
    return figures


def figures_at(score: Score) -> list[tuple[int, tuple]]:
    """(bar, figure) of all figures of both lines, the highest and the lowest note struck at each
    onset; bars are counted from 0. Where both have the same figure, it counts once."""
    onsets, top, bottom = struck_lines(table_of(score))
    bars = bar_of(onsets, lines_of(score)).tolist()
    found = []
    for bar, above, below in zip(bars, figures_of(onsets, top), figures_of(onsets, bottom)):
        if above:
            found.append((bar, above))
        if below and below != above:
            found.append((bar, below))
    return found


def returns(scores: list[Score]) -> list[float]:
    """How much each piece comes back to what is its own: of its figures from bar AGO on, the share
    that stood in it AGO bars before or earlier, less the share that stood so early in another
    piece, in the mean over all the others. So what everybody says does not count. nan for a piece
    that has no such figures, or is the only one."""
    pieces = [figures_at(score) for score in scores]
    firsts = defaultdict(dict)           # figure -> {number of a piece: the first bar that has it}
    for number, figures in enumerate(pieces):
        for bar, figure in figures:
            firsts[figure].setdefault(number, bar)
    found = []
    for number, figures in enumerate(pieces):
        late = [(bar, figure) for bar, figure in figures if bar >= AGO]
        own, others = 0, 0
        for bar, figure in late:
            for piece, first in firsts[figure].items():
                if first <= bar - AGO:
                    own += piece == number
                    others += piece != number
        if late and len(pieces) > 1:
            found.append((own - others / (len(pieces) - 1)) / len(late))
        else:
            found.append(np.nan)
    return found


def lag_curve(scores: list[Score]) -> list[float | None]:
    """(LAGS,) how like a bar is to the one 1, 2, 3 ... before, transposed as it fits best: the mean
    over all bars of all pieces (`likeness`). None where no piece is as long."""
    pieces = [likeness(table_of(score), lines_of(score), LAGS) for score in heard(scores)]
    return [mean_of(np.concatenate([piece[:, lag] for piece in pieces] or [[]]))
            for lag in range(LAGS)]


def mean_of(values) -> float | None:
    """The mean of those that are not nan; None if there are none."""
    known = np.array(values, dtype=float)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else None


# ---- home

def comes_home(notes: np.ndarray) -> bool:
    """Whether the first and the last quarter of a piece's notes (N, 3) are in the same key."""
    quarter = len(notes) // 4
    keys = [find_key(part[:, 1], part[:, 2]) for part in (notes[:quarter], notes[-quarter:])]
    return keys[0] == keys[1]


def is_at_home(score: Score) -> bool:
    """Whether a piece, if it has enough notes to say, ends in the key in which it began."""
    return len(score.notes) >= FEWEST and comes_home(table_of(score))


# ---- all figures

def heard(scores: list[Score]) -> list[Score]:
    """The pieces that have enough notes to say anything of them."""
    return [score for score in scores if len(score.notes) >= FEWEST]


def time_with(count: int, notes: np.ndarray) -> float:
    """The share of the time in which so many keys are down, of notes (N, 3)."""
    keys, lasts = texture_of(notes)
    return lasts[keys == count].sum() / lasts.sum()


def merits(scores: list[Score]) -> list[float]:
    """To choose between drafts: how much each comes back to what is its own, less the share of time
    in which it holds one key only (those that come back most tend to be thin). A piece of few notes
    has -1."""
    backs = iter(returns(heard(scores)))
    found = []
    for score in scores:
        if len(score.notes) < FEWEST:
            found.append(-1.0)
            continue
        found.append(float(np.nan_to_num(next(backs)) - time_with(1, table_of(score))))
    return found


def describe_piece(score: Score) -> dict[str, float]:
    """The figures of one piece that need no other piece beside it. Parallels: of the moves of both
    outer voices, those in parallel fifths or octaves; nan if there are none."""
    notes = table_of(score)
    starts, _, durations = notes.T
    _, lasts = texture_of(notes)
    onsets = np.unique(starts)
    down = keys_down(notes, onsets)
    wrong, moves = parallels(highest(down), lowest(down))
    off_grid = (starts % (STEPS // 4) > 0) & (starts % (STEPS // 3) > 0)
    return {
        'home': comes_home(notes),
        'in the key of their bar': share_in_key(notes, bar_of(starts, lines_of(score))),
        'parallel fifths and octaves': wrong / moves if moves else np.nan,
        'time with one key down': time_with(1, notes),
        'time with three': time_with(3, notes),
        'notes a quarter': len(notes) * STEPS / lasts.sum(),
        'off 16ths and triplets': share(off_grid),
        'longer than six quarters': share(durations > LONG),
    }


def describe(scores: list[Score]) -> dict[str, float | None]:
    """Name -> a figure of one side, the mean over its pieces of FEWEST notes or more; None where
    nothing is known."""
    scores = heard(scores)
    rows = {'return': returns(scores)}
    for name in FIGURES:
        rows[name] = []
    for score in scores:
        for name, value in describe_piece(score).items():
            rows[name].append(value)
    return {name: mean_of(values) for name, values in rows.items()}
