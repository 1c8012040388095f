"""What holds for the whole of a piece, besides its key: how many voices it has, and on which grid
of time its notes begin."""

import numpy as np

from data.score import STEPS

TEXTURES = [half / 2 for half in range(2, 13)]   # keys that are down on average: 1, 1.5 ... 6
GRIDS = (24, 12, 6, 8, 4, 3, 2, 1)               # steps: quarters, eighths, 16ths, triplets ...
ON_GRID = 0.95           # of the notes begin on it; the others are ornaments and exceptions


def texture_of(notes) -> float:
    """How many keys are down on average while any is, as one of TEXTURES; 1 without a note. notes:
    those of a Score, of (start, pitch, duration, ...)."""
    sounding = sum(note[2] for note in notes)
    covered, end = 0, 0
    for start, _, duration, *_ in sorted(notes):
        covered += max(0, start + duration - max(start, end))
        end = max(end, start + duration)
    texture = round(2 * sounding / max(1, covered)) / 2
    return min(max(texture, TEXTURES[0]), TEXTURES[-1])


def grid_of(notes) -> int:
    """The coarsest of GRIDS on which nearly all notes begin, counted from the quarters."""
    starts = np.array([note[0] for note in notes] or [0]) % STEPS
    for grid in GRIDS:
        if np.mean(starts % grid == 0) >= ON_GRID:
            return grid
    return GRIDS[-1]
