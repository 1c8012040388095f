"""The plan of a piece: which of its bars are like an earlier one, so many semitones higher.

    bar          0    1    2    3    4
    bars back    -    -    2    2    4
    higher                 0    0    7

Where a theme or a whole section comes again, bars are like earlier ones.
"""

from collections import Counter, defaultdict
from itertools import pairwise

from data.score import Score, find_bars

ALIKE = 0.5              # the share of the notes of the fuller bar that the two must have in common
FEWEST = 3               # notes in a bar that can be like another
FURTHEST = 64            # bars back that are looked at


def find_plan(score: Score) -> list[tuple[int, int, int]]:
    """(bar, bars back, semitones higher) for each bar of a piece that is like an earlier one: the
    one that it is most like, the nearest of several. Bars are counted from 0."""
    bars = cut_in_bars(score)
    plan = []
    for number, bar in enumerate(bars):
        best, back, higher = 0.0, 0, 0
        for earlier in range(number - 1, max(-1, number - 1 - FURTHEST), -1):
            like, semitones = likeness(bar, bars[earlier])
            if like > best:
                best, back, higher = like, number - earlier, semitones
        if best >= ALIKE:
            plan.append((number, back, higher))
    return plan


def cut_in_bars(score: Score) -> list[dict]:
    """Of each bar: place in it -> the pitches that are struck there."""
    lines = [bar.start for bar in find_bars(score)] + [float('inf')]
    notes = sorted(score.notes)
    first = 0
    bars = []
    for begin, end in pairwise(lines):
        places = defaultdict(list)
        while first < len(notes) and notes[first].start < end:
            places[notes[first].start - begin].append(notes[first].pitch)
            first += 1
        bars.append(places)
    return bars


def likeness(bar: dict, earlier: dict) -> tuple[float, int]:
    """How like a bar is to an earlier one, when that is transposed as it fits best: the share of
    the notes of the fuller bar that both have, and the semitones. Bars are place -> pitches."""
    size = max(count_notes(bar), count_notes(earlier))
    if size < FEWEST:
        return 0.0, 0
    intervals = Counter()
    for place, pitches in bar.items():
        for pitch in pitches:
            intervals.update(pitch - before for before in earlier.get(place, ()))
    if not intervals:
        return 0.0, 0
    semitones, count = max(intervals.items(), key=lambda item: (item[1], -abs(item[0])))
    return count / size, semitones


def count_notes(bar: dict) -> int:
    return sum(len(pitches) for pitches in bar.values())
