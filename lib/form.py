"""The form of whole pieces, and what else is heard at once: does a piece come back to its themes,
and home? Is it in tune? What a window of eight bars (`lib/judge.py`) cannot tell.

    describe(scores)      the figures of one side, means over its pieces
    lag_curve(scores)     how like a bar is to the one 1, 2 ... 24 bars before
"""

from collections import defaultdict

import numpy as np

from data.score import STEPS, WHOLE, Score
from lib.counts import (FEWEST, bar_of, figures_of, highest, keys_down, likeness, lines_of, lowest,
                        parallels, share, share_in_key, struck_lines, table_of, texture_of)
from lib.tonality import find_key

AGO = 4                  # bars; a figure that was heard so long ago, or longer, has come back
LAGS = 24                # bars that the lag curve looks back
LONG = 3 * WHOLE // 2    # steps; a note that lasts longer was probably forgotten


# ---- themes that come back

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


def lag_curve(scores: list[Score]) -> list[float]:
    """(LAGS,) how like a bar is to the one 1, 2, 3 ... before, transposed as it fits best: the mean
    over all bars of all pieces (`likeness`). nan where no piece is as long."""
    rows = [likeness(table_of(score), lines_of(score), LAGS) for score in heard(scores)]
    alike = np.concatenate(rows) if rows else np.empty((0, LAGS))
    there = ~np.isnan(alike)
    return [share(alike[there[:, lag], lag]) if there[:, lag].any() else np.nan
            for lag in range(LAGS)]


# ---- home

def comes_home(notes: np.ndarray) -> bool:
    """Whether the first and the last quarter of a piece's notes (N, 3) are in the same key."""
    quarter = len(notes) // 4
    keys = [find_key(part[:, 1], part[:, 2]) for part in (notes[:quarter], notes[-quarter:])]
    return keys[0] == keys[1]


# ---- all figures

def heard(scores: list[Score]) -> list[Score]:
    """The pieces that have enough notes to say anything of them."""
    return [score for score in scores if len(score.notes) >= FEWEST]


def describe(scores: list[Score]) -> dict[str, float]:
    """Name -> a figure of one side, the mean over its pieces; nan where nothing is known."""
    scores = heard(scores)
    rows = defaultdict(list)
    rows['return'] = returns(scores)
    wrong, moves = 0, 0
    for score in scores:
        notes = table_of(score)
        starts, _, durations = notes.T
        keys, lasts = texture_of(notes)
        rows['home'].append(comes_home(notes))
        rows['in the key of their bar'].append(share_in_key(notes, bar_of(starts, lines_of(score))))
        rows['time with one key down'].append(lasts[keys == 1].sum() / lasts.sum())
        rows['time with three'].append(lasts[keys == 3].sum() / lasts.sum())
        rows['notes a quarter'].append(len(notes) * STEPS / lasts.sum())
        rows['off 16ths and triplets'].append(share((starts % (STEPS // 4) > 0)
                                                    & (starts % (STEPS // 3) > 0)))
        rows['longer than six quarters'].append(share(durations > LONG))
        onsets = np.unique(starts)
        down = keys_down(notes, onsets)
        mine, both = parallels(highest(down), lowest(down))
        wrong, moves = wrong + mine, moves + both
    rows['parallels, of the moves of both outer voices'] = [wrong / moves] if moves else []
    found = {}
    for name, values in rows.items():
        known = [value for value in values if not np.isnan(value)]
        found[name] = float(np.mean(known)) if known else np.nan
    return found
