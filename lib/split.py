"""Which pieces are held out. Twins, the same piece twice or nearly so, stay on one side.

Nearly the same are another edition, a repeat played out, a few ornaments more.

Of each piece all runs of RUN intervals between one note and the next are looked at, whatever the
key. Two pieces that share ALIKE of them or more (of the shorter one's) are near twins. In the
Goldberg, the WTC and the Art of Fugue any two others share 3 % at most; contrapunctus 10 and its
early form share 86 %, and a tenth of the notes ornamented leaves a quarter. Not found: another
performance, since the notes of a chord come in another order then.
"""

import re
from collections import Counter
from itertools import combinations

import numpy as np

RUN = 10                 # intervals in a row
ALIKE = 0.2              # of the runs of the shorter piece
COMMON = 20              # a run that so many pieces have is a scale or a trill: it says nothing


def runs(pitches: np.ndarray) -> np.ndarray:
    """Pitches (N) in the order of time -> a number for each different run of intervals."""
    intervals = np.diff(pitches).astype(np.uint64)
    found = np.zeros(max(0, len(intervals) - RUN + 1), np.uint64)
    for i in range(RUN):                                 # a polynomial, modulo 2 ** 64
        found = found * np.uint64(1_000_003) + intervals[i:i + len(found)]
    mixed = found * np.uint64(0x9E3779B97F4A7C15)        # the upper half depends on all of it
    return np.unique((mixed >> np.uint64(32)).astype(np.uint32))


def near_twins(pieces: list[np.ndarray]) -> list[int]:
    """The runs of each piece -> for each, the number of the first piece that it is nearly the same
    as, be it by way of others; its own number if there is none."""
    owners = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    all_runs = np.concatenate(pieces)
    order = np.argsort(all_runs, kind='stable')
    all_runs, owners = all_runs[order], owners[order]
    begins = np.flatnonzero(np.append(True, all_runs[1:] != all_runs[:-1]))
    shared = Counter()
    for begin, end in zip(begins, np.append(begins[1:], len(all_runs))):
        if 1 < end - begin <= COMMON:
            shared.update(combinations(owners[begin:end].tolist(), 2))
    first = list(range(len(pieces)))
    for (one, other), count in sorted(shared.items()):
        if count >= max(RUN, ALIKE * min(len(pieces[one]), len(pieces[other]))):
            old, new = sorted((first[one], first[other]), reverse=True)
            first = [new if number == old else number for number in first]
    return first


def hold_out(pieces: list[dict], share: float, pattern: str = ''):
    """Set piece['split']. With a pattern, all pieces whose names match it are held out. Without
    one, they are drawn by their fingerprints, which are the same whatever the files are called, as
    long as that comes nearer to the share of the units. Twins, which have one fingerprint or are of
    one `family`, stay together."""
    sizes = Counter()
    for piece in pieces:
        piece['family'] = piece.get('family', piece['fingerprint'])
        sizes[piece['family']] += piece['units']
    if len(sizes) < 2:
        raise ValueError('only one piece, or copies of one: add another, so that one can be held '
                         'out')
    if pattern:
        held = {piece['family'] for piece in pieces if re.search(pattern, piece['name'])}
    else:
        held = set()
        missing = share * sizes.total()
        for family in sorted(sizes):
            if sizes[family] / 2 < missing:
                held.add(family)
                missing -= sizes[family]
        held = held or {min(sizes, key=sizes.get)}
    if not 0 < len(held) < len(sizes):
        found = 'all of them' if held else 'no piece'
        hint = f'--hold_out={pattern}' if pattern else f'--val={share}'
        raise ValueError(f'{hint} holds out {found}; a name is {pieces[0]["name"]}')
    for piece in pieces:
        piece['split'] = 'val' if piece['family'] in held else 'train'
