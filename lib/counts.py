"""What can be counted in eight bars of music: plain figures that need no taste.

    cut(score)       a piece -> its windows, of eight bars each
    count(window)    a window -> {'notes on the beat': 0.41, 'contrary motion': 0.53, ...}

Most are shares: of the notes, of the time, of the onsets (the moments at which a note is struck).
None of them knows how high a piece lies or how fast it is marked: transposed, or at another tempo,
it has the same figures. Times are in steps, pitches in semitones. Legend: N notes, T onsets.
"""

from typing import NamedTuple

import numpy as np

from lib.score import STEPS, Score, find_bars
from lib.tonality import ALL_PROFILES, find_key, in_key, keys_apart, time_in_scale

BARS = 8                 # in a window
FEWEST = 24              # notes in a window; one with fewer says too little


# ---- windows

class Window(NamedTuple):
    """Eight bars of a piece. Each note is a row of start, pitch, duration."""
    struck: np.ndarray           # (N, 3) the notes that begin here
    sounding: np.ndarray         # (M, 3) all that sound here, cut off at both ends of the window
    lines: np.ndarray            # (BARS + 1,) where the bars begin, and where the last one ends
    beats: np.ndarray            # (BARS,) how long a beat is
    home: tuple[int, str]        # the key of the whole piece


def table_of(score: Score) -> np.ndarray:
    """The notes of a piece (N, 3), start, pitch and duration, in the order of time."""
    rows = sorted(note[:3] for note in score.notes)
    return np.array(rows, dtype=int).reshape(-1, 3)


def lines_of(score: Score) -> np.ndarray:
    """(bars + 1,) where the bars of a piece begin, and where its last note ends."""
    end = max((note.start + note.duration for note in score.notes), default=0)
    return np.array([bar.start for bar in find_bars(score)] + [end])


def bar_of(starts: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """The number of the bar in which each start lies, from 0."""
    return np.searchsorted(lines, starts, 'right') - 1


def cut(score: Score) -> list[Window]:
    """The windows of a piece, one after the other. What is left at its end, less than eight bars,
    is not looked at, nor is a window of fewer than FEWEST notes."""
    notes, lines = table_of(score), lines_of(score)
    starts, pitches, durations = notes.T
    ends = starts + durations
    beats = np.array([bar.beat for bar in find_bars(score)])
    windows = []
    for first in range(0, len(beats) - BARS + 1, BARS):
        begin, end = lines[first], lines[first + BARS]
        struck = (starts >= begin) & (starts < end)
        if struck.sum() < FEWEST:
            continue
        sounds = (starts < end) & (ends > begin)
        since = np.maximum(starts[sounds], begin)
        until = np.minimum(ends[sounds], end)
        sounding = np.stack([since, pitches[sounds], until - since], axis=1).astype(int)
        windows.append(Window(notes[struck], sounding, lines[first:first + BARS + 1],
                              beats[first:first + BARS], find_key(pitches, durations)))
    return windows


def count(window: Window) -> dict[str, float]:
    """All counts of a window, always in the same order."""
    onsets = np.unique(window.struck[:, 0])
    down = keys_down(window.sounding, onsets)
    top, bass = highest(down), lowest(down)
    found = count_places(window, onsets) | count_texture(window)
    found |= count_line('top', newly_struck(top, window, onsets))
    found |= count_line('bass', newly_struck(bass, window, onsets))
    found |= count_moves(top, bass) | count_intervals(window, onsets, down)
    found |= count_keys(window) | count_bars(window)
    return {name: float(value) for name, value in found.items()}


def share(flags) -> float:
    """The mean of some flags or numbers; 0 if there are none."""
    flags = np.asarray(flags)
    total = np.count_nonzero(flags) if flags.dtype == bool else flags.sum()
    return total / max(1, flags.size)


# ---- time

def on_beat(moments: np.ndarray, window: Window) -> np.ndarray:
    """True for the moments that are on a beat."""
    bars = bar_of(moments, window.lines)
    return (moments - window.lines[bars]) % window.beats[bars] == 0


def count_places(window: Window, onsets: np.ndarray) -> dict:
    """Where in the beat and in the bar notes are struck, and what is held over a line."""
    starts, _, durations = window.struck.T
    ends = starts + durations
    bars = bar_of(starts, window.lines)
    in_bar = starts - window.lines[bars]
    in_beat = in_bar % window.beats[bars]
    place = in_beat / window.beats[bars]
    next_beat = starts - in_beat + window.beats[bars]
    all_beats = ((window.lines[1:] - window.lines[:-1]) / window.beats).sum()
    return {
        'notes on the beat': share(place == 0),
        'notes on half the beat': share(place == 0.5),
        'notes on the first beat of a bar': share(in_bar == 0),
        'beats with a note struck': np.count_nonzero(on_beat(onsets, window)) / all_beats,
        'notes held over the next beat': share((place > 0) & (ends > next_beat)),
        'notes held over the bar line': share(ends > window.lines[bars + 1]),
    }


# ---- texture

def keys_down(notes: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Notes (N, 3), moments (T,) in order -> (T, 128), True where a key is down. One that is let go
    at a moment is no longer down."""
    starts, pitches, durations = notes.T
    changes = np.zeros((len(moments) + 1, 128), np.int16)
    np.add.at(changes, (np.searchsorted(moments, starts), pitches), 1)
    np.add.at(changes, (np.searchsorted(moments, starts + durations), pitches), -1)
    return changes[:-1].cumsum(axis=0, dtype=np.int16) > 0


def lowest(down: np.ndarray) -> np.ndarray:
    """(T, 128) -> (T,) the lowest key that is down; -1 where none is."""
    return np.where(down.any(axis=1), down.argmax(axis=1), -1)


def highest(down: np.ndarray) -> np.ndarray:
    """(T, 128) -> (T,) the highest key that is down; -1 where none is."""
    return np.where(down.any(axis=1), 127 - down[:, ::-1].argmax(axis=1), -1)


def texture_of(notes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Notes (N, 3) -> how many keys are down, (S,), and for how long, stretch by stretch."""
    moments = np.unique(np.concatenate([notes[:, 0], notes[:, 0] + notes[:, 2]]))
    return keys_down(notes, moments)[:-1].sum(axis=1), np.diff(moments)


def count_texture(window: Window) -> dict:
    """How many keys are down, as shares of the time, and how many are struck at once."""
    keys, lasts = texture_of(window.sounding)
    whole = lasts.sum()
    _, at_once = np.unique(window.struck[:, 0], return_counts=True)
    found = {}
    for number in range(4):
        found[f'time with {number} keys down'] = lasts[keys == number].sum() / whole
    found |= {
        'time with 4 or more keys down': lasts[keys > 3].sum() / whole,
        'one note struck at once': share(at_once == 1),
        'notes a quarter': len(window.struck) * STEPS / whole,
    }
    return found


# ---- the outer voices: the highest and the lowest key that is down

def newly_struck(voice: np.ndarray, window: Window, onsets: np.ndarray) -> np.ndarray:
    """A voice (T,) without the onsets at which its key was only held: the notes that it sings."""
    starts, pitches, _ = window.struck.T
    when = np.searchsorted(onsets, starts)
    sung = np.zeros(len(onsets), bool)
    sung[when[voice[when] == pitches]] = True
    return voice[sung]


def count_line(name: str, pitches: np.ndarray) -> dict:
    """Steps and leaps of a voice: pitches (N,) of its notes, one after the other."""
    intervals = np.diff(pitches)
    size = abs(intervals)
    first, second = intervals[:-1], intervals[1:]
    is_step = (size == 1) | (size == 2)
    turns = first * second < 0
    return {
        f'{name}: repeated': share(size == 0),
        f'{name}: semitones': share(size == 1),
        f'{name}: whole tones': share(size == 2),
        f'{name}: thirds': share((size == 3) | (size == 4)),
        f'{name}: fourths and fifths': share((size == 5) | (size == 7)),
        f'{name}: tritones': share(size == 6),
        f'{name}: sixths': share((size == 8) | (size == 9)),
        f'{name}: sevenths': share((size == 10) | (size == 11)),
        f'{name}: octaves': share(size == 12),
        f'{name}: wider': share(size > 12),
        f'{name}: turns': share(turns[(first != 0) & (second != 0)]),
        f'{name}: two steps on': share(is_step[:-1] & is_step[1:] & (first * second > 0)),
        f'{name}: leaps with a step back': share((turns & is_step[1:])[abs(first) > 4]),
        f'{name}: back where it was': share(first == -second),
    }


def parallels(top: np.ndarray, bass: np.ndarray) -> tuple[int, int]:
    """Two voices (T,), -1 where nothing sounds -> how often both go on in fifths or in octaves, in
    the same direction, and how often both move at all."""
    apart = top - bass
    two = (bass >= 0) & (apart > 0)
    up, bass_up = np.sign(np.diff(top)), np.sign(np.diff(bass))
    both = two[1:] & two[:-1] & (up != 0) & (bass_up != 0)
    folded = apart % 12
    perfect = (folded == 0) | (folded == 7)
    wrong = both & (up == bass_up) & perfect[1:] & (folded[1:] == folded[:-1])
    return np.count_nonzero(wrong), np.count_nonzero(both)


def count_moves(top: np.ndarray, bass: np.ndarray) -> dict:
    """How the outer voices (T,) move against each other."""
    apart = top - bass
    two = (apart[1:] > 0) & (apart[:-1] > 0)
    up, bass_up = np.sign(np.diff(top)), np.sign(np.diff(bass))
    some = two & ((up != 0) | (bass_up != 0))
    both = two & (up != 0) & (bass_up != 0)
    folded = apart % 12
    thirds = (folded == 3) | (folded == 4) | (folded == 8) | (folded == 9)
    perfect = (folded == 0) | (folded == 7)
    wrong, moves = parallels(top, bass)
    clash = two & np.isin(folded[:-1], (1, 2, 6, 10, 11))
    top_step, bass_step = abs(np.diff(top)) < 3, abs(np.diff(bass)) < 3
    return {
        'outer dissonances that the top leaves by a step': share(top_step[clash & (up != 0)]),
        'outer dissonances that the bass leaves by a step':
            share(bass_step[clash & (bass_up != 0)]),
        'both outer voices move, of all moves': share(both[some]),
        'contrary motion': share((up != bass_up)[both]),
        'thirds and sixths in the same direction': share(thirds[1:][both & (up == bass_up)]),
        'parallel fifths and octaves': wrong / max(1, moves),
        'fifths and octaves reached in the same direction':
            share((perfect[1:] & (up == bass_up))[both]),
        'distance of the outer voices': share(apart[apart > 0]),
    }


# ---- harmony

def count_intervals(window: Window, onsets: np.ndarray, down: np.ndarray) -> dict:
    """Each note, when it is struck, over the lowest key that is down, octaves folded; and against
    every key that is down (T, 128)."""
    starts, pitches, _ = window.struck.T
    when = np.searchsorted(onsets, starts)
    above = pitches - lowest(down)[when]
    degrees = np.bincount(above[above > 0] % 12, minlength=12) / max(1, (above > 0).sum())
    found = {f'{number} semitones over the bass': degrees[number] for number in range(12)}

    note, key = np.nonzero(down[when])
    apart = abs(pitches[note] - key)
    apart = apart[apart > 0]
    pairs = np.bincount(apart % 12, minlength=12) / max(1, len(apart))
    outer = highest(down) - lowest(down)
    dissonant = np.isin(outer % 12, (1, 2, 5, 6, 10, 11))
    strong = on_beat(onsets, window)
    found |= {
        'semitones and major sevenths, of all pairs': pairs[1] + pairs[11],
        'semitones side by side, of all pairs': share(apart == 1),
        'tritones, of all pairs': pairs[6],
        'octaves, of all pairs': pairs[0],
        'dissonant outer voices on the beat': share(dissonant[strong & (outer > 0)]),
        'dissonant outer voices off the beat': share(dissonant[~strong & (outer > 0)]),
    }
    return found


def count_keys(window: Window) -> dict:
    """Notes in and out of the key of their bar, of these bars and of the piece."""
    starts, pitches, durations = window.struck.T
    bars = bar_of(starts, window.lines)
    keys = []
    for number in np.unique(bars):
        here = bars == number
        keys.append(find_key(pitches[here], durations[here]))
    whole = find_key(pitches, durations)
    heard = np.bincount(pitches % 12, weights=durations, minlength=12)
    quarters = (starts - window.lines[0]).astype(int) // STEPS
    return {
        'three semitones side by side, in a bar': chromatic(pitches, bars),
        'three semitones side by side, in a quarter': chromatic(pitches, quarters),
        'in the key of their bar': share_in_key(window.struck, bars),
        'in the key of eight bars': share(in_key(pitches, whole)),
        'in the key of the piece': share(in_key(pitches, window.home)),
        'how clear the key is': (ALL_PROFILES @ heard).max() / (12 * heard.std() + 1e-9),
        'fifths from a bar\'s key to the next':
            share([keys_apart(one, other) for one, other in zip(keys, keys[1:])]),
        'fifths from the key of the piece': keys_apart(whole, window.home),
    }


def chromatic(pitches: np.ndarray, parts: np.ndarray) -> float:
    """Pitches (N,), each with the number of the part that it is struck in -> how often a part has
    three pitch classes that are neighbours, which no scale has."""
    heard = np.zeros((parts.max() + 1, 12), bool)
    heard[parts, pitches % 12] = True
    three = heard & np.roll(heard, 1, axis=1) & np.roll(heard, 2, axis=1)
    return three.sum() / len(np.unique(parts))


def share_in_key(notes: np.ndarray, bars: np.ndarray) -> float:
    """Notes (N, 3), each with the number of its bar (N,) -> how much of their time is spent on the
    scale that fits best, bar by bar."""
    _, pitches, durations = notes.T
    first = bars.min()
    heard = np.zeros((bars.max() - first + 1, 12))
    np.add.at(heard, (bars - first, pitches % 12), durations)
    return time_in_scale(heard).sum() / durations.sum()


# ---- what comes again

def pairs_apart(moments: np.ndarray, ago: float) -> tuple[np.ndarray, np.ndarray]:
    """Moments (N,) in order -> the numbers of all pairs (P,), (P,), of which the second stands
    exactly so long before the first: ([0, 4, 4, 8], 4) -> [1, 2, 3, 3], [0, 0, 1, 2]."""
    first = np.searchsorted(moments, moments - ago, 'left')
    past = np.searchsorted(moments, moments - ago, 'right')
    partners = past - first
    later = np.repeat(np.arange(len(moments)), partners)
    number = np.arange(len(later)) - np.repeat(partners.cumsum() - partners, partners)
    return later, first[later] + number


def likeness(notes: np.ndarray, lines: np.ndarray, furthest: int) -> np.ndarray:
    """(bars, furthest): how like each bar is to the one 1, 2, 3 ... before: of the notes of both,
    the share that has its like in the other bar, at the same place and, transposed as it fits
    best, of the same pitch. nan where there is no such bar, or no note in one of the two."""
    starts, pitches = np.unique(notes[:, :2], axis=0).T
    bars = bar_of(starts, lines)
    places = starts - lines[bars]
    longest = places.max() + 1
    moments = bars * longest + places                      # as if all bars were of one length
    count = len(lines) - 1
    sizes = np.bincount(bars, minlength=count)
    found = np.full((count, furthest), np.nan)
    for lag in range(1, min(furthest, count - 1) + 1):
        # each pair of notes at the same place of two bars is a vote for one transposition
        later, earlier = pairs_apart(moments, lag * longest)
        votes = bars[later] * 256 + 128 + pitches[later] - pitches[earlier]
        votes, times = np.unique(votes, return_counts=True)
        shared = np.zeros(count, int)
        np.maximum.at(shared, votes // 256, times)
        both = sizes[lag:] + sizes[:-lag]
        some = (sizes[lag:] > 0) & (sizes[:-lag] > 0)
        found[lag:, lag - 1] = np.where(some, 2 * shared[lag:] / np.maximum(1, both), np.nan)
    return found


def count_bars(window: Window) -> dict:
    """How like the bars are to those before them, in rhythm alone and in pitch, too."""
    starts = window.struck[:, 0]
    bars = bar_of(starts, window.lines)
    places = starts - window.lines[bars]
    rhythms = [frozenset(places[bars == number].tolist()) for number in range(BARS)]
    shared = []
    for before, rhythm in zip(rhythms, rhythms[1:]):
        shared.append(2 * len(before & rhythm) / max(1, len(before) + len(rhythm)))
    alike = likeness(window.struck, window.lines, BARS - 1)
    return {
        'rhythm as in the bar before': share(shared),
        'bar rhythms that differ': len(set(rhythms)) / BARS,
        'bar like the one before': share(alike[~np.isnan(alike[:, 0]), 0]),
        'bar like the one two before': share(alike[~np.isnan(alike[:, 1]), 1]),
        'bar like the likest before': share(np.nan_to_num(alike[1:]).max(axis=1)),
    }
