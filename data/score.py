"""MIDI files <-> notes on a grid: what a musician would write down.

    read_midi     a file -> a Score: notes, tempos and time signatures in steps, 24 to the quarter
    write_midi    a Score -> a file
    find_bars     where the bars of a Score begin

What the words of the tokenizer can't say (a tempo of 400, a time signature of 24/16) is put into
what they can, so that time stays true; a Score counts what was changed or left out.
"""

import functools
import math
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from itertools import count, islice, takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.midifile import Midi, apply_pedal, is_strike, pair_notes, parse

STEPS = 24               # grid steps to the quarter note
WHOLE = 4 * STEPS        # ... to a whole note
MAX_BYTES = 1 << 22      # a larger MIDI file is refused: hours of performed piano fit in
MAX_QUARTERS = 20_000    # so is a longer piece: about three hours
MAX_LEAPS = 1000         # ... or one that leaps so often to tempos that no word can say
SLOWEST, TEMPOS = 20, 97                          # tempos: 20 * 2 ** (i / 24), 3 % apart, up to 320
METRES = [(beats, unit) for unit in (2, 4, 8, 16) for beats in range(1, 17)]

# what a Score counts of its file: what was left out or said otherwise
DAMAGED = 'files cut short or damaged, read as far as they go'
UNENDED = 'notes that nothing ends, left out'
LATE = 'tempos and time signatures after the last note, left out'
FOLDED = f'tempos under {SLOWEST} or over 320 a minute, said by other note values'
SAME_BARS = 'time signatures replaced by one of the same length'
OTHER_BARS = 'time signatures replaced by a longer one'


class Note(NamedTuple):
    start: int           # in steps
    pitch: int           # 0..127, 60 is middle C (C4)
    duration: int        # in steps, at least 1
    velocity: int = 80   # 1..127


@dataclass
class Score:
    """What a MIDI file says, on the grid. Where it says nothing: 4/4, 120 quarters a minute."""
    notes: list[Note] = field(default_factory=list)
    tempos: list[tuple[int, float]] = field(default_factory=list)       # (step, quarters a minute)
    metres: list[tuple[int, int, int]] = field(default_factory=list)    # (step, beats, beat unit)
    moved: list[float] = field(default_factory=list)    # starts off the grid: by how many steps
    drums: int = 0                                      # percussion notes left out (channel 10)
    changes: Counter = field(default_factory=Counter)   # what else: see DAMAGED and so on


# ---------------------------------------------------------------------------- a file -> a Score

class Stretch(NamedTuple):
    """A part of a piece within which all tempos are divided by the same number."""
    tick: int            # where it begins
    step: float          # ... on the grid
    fold: float          # 1: the tempos are as they were; 2: half of that, and the note values too


def tempo_number(tempo: float) -> int:
    """Quarters a minute -> the number of the nearest tempo word, if it is one of range(TEMPOS)."""
    return round(24 * math.log2(tempo / SLOWEST))


def fold_of(tempo: float) -> float:
    """The power of two by which a tempo has to be divided so that a word can say it: 400 -> 2."""
    fold = 1.0
    while tempo_number(tempo / fold) >= TEMPOS:
        fold *= 2
    while tempo_number(tempo / fold) < 0:
        fold /= 2
    return fold


def lay_grid(tempos: list[tuple[int, int]], division: float, changes: Counter):
    """The grid under a piece. A tempo that no word can say is halved or doubled until one can, and
    the note values with it: quarters at 400 a minute are eighths at 200, the same music.

    tempos: [(tick, microseconds a quarter)]; division: ticks a quarter. Returns the stretches and
    the tempos on the grid, [(step, quarters a minute)], and counts what it changed.
    """
    stretches = [Stretch(0, 0.0, 1.0)]
    on_grid = []
    for tick, microseconds in sorted(tempos, key=lambda tempo: tempo[0]):
        tempo = 60e6 / microseconds
        fold = fold_of(tempo)
        last = stretches[-1]
        step = last.step + (tick - last.tick) * STEPS / (division * last.fold)
        if fold != last.fold:
            stretches.append(Stretch(tick, step, fold))
        if len(stretches) > MAX_LEAPS:
            raise ValueError(f'over {MAX_LEAPS:,} leaps to tempos that nobody can follow')
        on_grid.append((round(step), tempo / fold))
        changes[FOLDED] += fold != 1
    return stretches, on_grid


def to_steps(ticks: np.ndarray, stretches: list[Stretch], division: float) -> np.ndarray:
    """(N) ticks -> (N) steps, with their fractions."""
    first, begin, fold = np.array(stretches).T           # each of as many numbers as stretches
    mine = np.searchsorted(first, ticks, 'right') - 1
    return begin[mine] + (ticks - first[mine]) * STEPS / (division * fold[mine])


@functools.lru_cache(1 << 16)
def fit_metre(beats: float, unit: float) -> tuple[int, int]:
    """A time signature that a word can say. One of the same length, if there is any: 24/16 -> 12/8.
    Else the shortest that is longer, 41/8 -> 11/2: often only one bar is meant, a cadenza written
    out, and the next time signature begins a bar wherever it stands."""
    if (beats, unit) in METRES:
        return int(beats), int(unit)
    enough = [metre for metre in METRES if metre[0] / metre[1] >= beats / unit]
    return min(enough, key=lambda metre: (metre[0] / metre[1], -metre[0]), default=(16, 2))


def lay_bars(metres: list, stretches: list[Stretch], division: float, changes: Counter):
    """Time signatures [(tick, beats, beat unit)] -> [(step, beats, beat unit)], as words can say
    them. Where a stretch begins, the one that holds is said anew, in its note values. Counts what
    it changed."""
    metres = sorted(metres, key=lambda metre: metre[0])
    steps = to_steps(np.array([tick for tick, *_ in metres]), stretches, division)
    begins = deque(stretches[1:])
    holds, fold = (4, 4), 1.0
    on_grid = []

    def say(step, beats, unit):
        fitting = fit_metre(beats, unit)
        if fitting != (beats, unit):
            alike = fitting[0] / fitting[1] == beats / unit
            changes[SAME_BARS if alike else OTHER_BARS] += 1
        on_grid.append((round(step), *fitting))

    for (tick, *metre), step in zip([*metres, (math.inf, 0, 0)], [*steps.tolist(), 0]):
        while begins and begins[0].tick <= tick:
            begin = begins.popleft()
            fold = begin.fold
            if begin.tick < tick:
                say(begin.step, holds[0], holds[1] * fold)
        if tick < math.inf:
            holds = metre
            say(step, metre[0], metre[1] * fold)
    return on_grid


def read_midi(path: str) -> Score:
    """Read a MIDI file of any format and division. What words can't say is put into words that
    can, and counted in `changes`. Raises ValueError, in one line, for what can't be read."""
    if Path(path).stat().st_size > MAX_BYTES:
        raise ValueError(f'{path}: over {MAX_BYTES:,} bytes: split the piece')
    try:
        return to_score(parse(Path(path).read_bytes()))
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None


def to_score(midi: Midi) -> Score:
    """What stands in a file -> on the grid. Raises ValueError if that is no piece of music."""
    score = Score()
    division = ticks_a_quarter(midi.division)
    notes, unended, score.drums = sounding_notes(midi)
    if not len(notes):
        reason = 'no note that ends' if unended else 'no notes but drums' if score.drums else ''
        raise ValueError(reason or 'no notes')
    last = int(notes[:, 1].max())
    metres = [metre for metre in midi.metres if metre[0] < last]
    tempos = [tempo for tempo in midi.tempos if tempo[0] < last]
    late = len(midi.tempos) + len(midi.metres) - len(tempos) - len(metres)
    if midi.division < 0:
        tempos = []                               # such a file counts seconds: they say nothing

    stretches, score.tempos = lay_grid(tempos, division, score.changes)
    score.metres = lay_bars(metres, stretches, division, score.changes)
    if to_steps(np.array([last]), stretches, division)[0] > MAX_QUARTERS * STEPS:
        raise ValueError(f'over {MAX_QUARTERS:,} quarters: split the piece')
    score.moved = off_grid(notes, stretches, division)
    score.notes = to_grid(notes, stretches, division)
    score.changes.update({UNENDED: unended, LATE: late, DAMAGED: int(midi.damaged)})
    score.changes = +score.changes                # only what there was
    return score


def ticks_a_quarter(division: int) -> float:
    """What a file says of its ticks -> how many are a quarter. If they are parts of a second (its
    frames in the upper byte, the ticks of each in the lower), let a quarter be half a second."""
    frames, ticks = -(division >> 8), division & 255
    if division < 0:
        frames_a_second = 29.97 if frames == 29 else frames
        division = frames_a_second * ticks / 2
    if not division:
        raise ValueError('it does not say how long a quarter is')
    return division


def sounding_notes(midi: Midi) -> tuple[np.ndarray, int, int]:
    """The notes (N, 4) of start, end, pitch, velocity, as long as they sound; how many nothing
    ends; and how many are drums, which are left out."""
    events = midi.events()
    midi.table = None                             # it takes much room in a large file
    percussion = events['status'] & 15 == 9
    drums = int((percussion & is_strike(events)).sum())
    events = events[~percussion]
    if not len(events):
        return np.empty((0, 4)), 0, drums
    return *pair_notes(apply_pedal(events, midi.end)), drums


def off_grid(notes: np.ndarray, stretches: list[Stretch], division: float) -> list[float]:
    """By how many steps the starts are off the grid, those that are."""
    exact = to_steps(notes[:, 0], stretches, division)
    errors = np.abs(exact - np.rint(exact))
    return errors[errors > 0].tolist()


def to_grid(notes: np.ndarray, stretches: list[Stretch], division: float) -> list[Note]:
    """Notes (N, 4) of start, end, pitch, velocity, in ticks -> on the grid, in order."""
    starts, ends = (np.rint(to_steps(notes[:, i], stretches, division)) for i in (0, 1))
    columns = starts, notes[:, 2], np.maximum(1, ends - starts), notes[:, 3]
    order = np.lexsort(columns[::-1])
    rows = np.stack([column[order].astype(np.int32) for column in columns])
    return [Note(*row) for row in zip(*map(memoryview, rows))]


# ----------------------------------------------------------------------------------------- bars

class Bar(NamedTuple):
    start: float         # in steps
    beat: float          # how long one of its beats is, in steps


def bars_of(metres: list[tuple[int, int, int]]):
    """Yield the bars of a piece without end: metres are [(step, beats, beat unit)]. A time
    signature begins a bar wherever it stands; before the first, bars are of 4/4."""
    changes = deque(sorted(metres))
    start, beats, unit = 0, 4, 4
    while True:
        while changes and changes[0][0] <= start:
            _, beats, unit = changes.popleft()
        beat = WHOLE / unit
        yield Bar(start, beat)
        start += beats * beat
        if changes:
            start = min(start, changes[0][0])


def find_bars(score: Score) -> list[Bar]:
    """The bars of a piece, up to the end of its last note."""
    end = max((note.start + note.duration for note in score.notes), default=0)
    return list(takewhile(lambda bar: bar.start < end, bars_of(score.metres)))


def opening(score: Score, bars: int) -> tuple[Score, int]:
    """What begins in the first bars of a piece, and the step at which they are over."""
    bars = min(bars, len(find_bars(score)))
    until = round(next(islice(bars_of(score.metres), bars, None)).start)
    return Score([note for note in score.notes if note.start < until],
                 [tempo for tempo in score.tempos if tempo[0] < until],
                 [metre for metre in score.metres if metre[0] < until]), until


def write_midi(score: Score, path: str):
    """Write a file for the harpsichord; a pitch that sounds twice goes to a second track."""
    import mido          # here, as only writing needs it: who listens or reads need not wait for it

    tracks, busy = defaultdict(list), {}          # busy: (track, pitch) -> end
    tracks[0] = [(step, 0, mido.MetaMessage('set_tempo', tempo=round(60e6 / bpm)))
                 for step, bpm in score.tempos]
    tracks[0] += [(step, 0, mido.MetaMessage('time_signature', numerator=beats, denominator=unit))
                  for step, beats, unit in score.metres]
    for start, pitch, duration, velocity in score.notes:
        number = next(n for n in count(1) if busy.get((n, pitch), 0) <= start)
        busy[number, pitch] = start + duration
        on = mido.Message('note_on', note=pitch, velocity=velocity, channel=number % 9)
        tracks[number] += [(start, 2, on), (start + duration, 1, on.copy(velocity=0))]
    file = mido.MidiFile(ticks_per_beat=480)
    for number, events in tracks.items():
        track, now = file.add_track(), 0
        track += [mido.Message('program_change', program=6, channel=number % 9)] if number else []
        for step, _, message in sorted(events, key=lambda event: event[:2]):
            track.append(message.copy(time=20 * (step - now)))
            now = step
    file.save(path)
