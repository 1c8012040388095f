"""MIDI files <-> notes on a grid: what a musician would write down.

    read_midi     a file -> a Score: notes, tempos and time signatures in steps, 24 to the quarter
    write_midi    a Score -> a file
    find_bars     where the bars of a Score begin

What the words of the tokenizer can't say (a tempo of 400, a time signature of 24/16) is put into
what they can, so that time stays true; a Score counts what was changed or left out.
"""

import functools
import math
from collections import Counter, deque
from dataclasses import dataclass, field
from io import BytesIO
from itertools import islice, takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib.hands import RIGHT, find_hands
from lib.midifile import Midi, apply_pedal, is_strike, pair_notes, parse
from lib.tonality import midi_key

STEPS = 24               # grid steps to the quarter note
WHOLE = 4 * STEPS        # ... to a whole note
TICKS = 480              # to the quarter note in the files that we write, as most programs do
HARPSICHORD = 6          # its number in General MIDI, counted from 0
LAST_PEDAL = 8           # quarters that a pedal which nothing lifts holds the last notes
MAX_BYTES = 1 << 22      # a larger MIDI file is refused: hours of performed piano fit in
MAX_QUARTERS = 20_000    # so is a longer piece: about three hours
MAX_LEAPS = 1000         # ... or one that leaps so often to tempos that no word can say
MIDI_TEMPO = 120.0       # quarters a minute, if a file sets no tempo
CHANGE = 16              # so many quarters in other note values are as bad as a change of them
SLOWEST = 20             # quarters a minute; tempo word i is 20 * 2 ** (i / 24), 3 % apart
TEMPOS = 97              # ... and there are so many, up to 320
MOST_VOICES = 6          # that a word can say
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
    home: tuple[int, str] | None = None                 # where it begins and ends: (7, 'major')
    voices: int = 0                                     # how many, in the mean; 0: not known
    moved: list[float] = field(default_factory=list)    # starts off the grid: by how many steps
    drums: int = 0                                      # percussion notes left out (channel 10)
    changes: Counter = field(default_factory=Counter)   # what else: see DAMAGED and so on


def count_voices(notes: list[Note]) -> int:
    """How many notes sound at once, on average, rests left out; rounded, 1 to MOST_VOICES."""
    time = 0                                     # in which any note sounds
    until = 0
    for start, _, duration, _ in sorted(notes):
        end = start + duration
        time += max(0, end - max(start, until))
        until = max(until, end)
    mean = sum(note.duration for note in notes) / max(1, time)
    return min(MOST_VOICES, max(1, round(mean)))


# ---------------------------------------------------------------------------- a file -> a Score

class Stretch(NamedTuple):
    """A part of a piece within which all tempos are divided by the same number."""
    tick: int            # where it begins
    step: float          # ... on the grid
    fold: float          # 1: the tempos are as they were; 2: half of that, and the note values too


def tempo_number(tempo: float) -> int:
    """Quarters a minute -> the number of the nearest tempo word, if it is one of range(TEMPOS)."""
    return round(24 * math.log2(tempo / SLOWEST))


def can_be_said(tempo: float) -> bool:
    return 0 <= tempo_number(tempo) < TEMPOS


def choose_folds(tempos: list[float], quarters: list[float]) -> list[float]:
    """The power of two by which each tempo is divided, so that a word can say it: 2 for 400 a
    minute. There may be several, as 1 and 2 for 300. A tempo that goes to and fro over 320 is not
    to change the note values with every bar. So the cheapest row of powers is taken (Viterbi 1967):
    each change costs CHANGE, and each quarter costs 1 if its note values are halved or doubled, 2
    if twice, and so on. `quarters`: how many each tempo lasts."""
    if all(map(can_be_said, tempos)):
        return [1.0] * len(tempos)
    costs = {}           # exponent of a power -> what the cheapest row costs that ends with it
    rows = []            # for each tempo: exponent -> the one before it in that row
    leaps = 0
    for tempo, lasts in zip(tempos, quarters):
        best = min(costs, key=costs.get, default=None)
        new_costs, before = {}, {}
        highest = math.floor(math.log2(tempo / SLOWEST)) + 1
        for exponent in range(highest - 6, highest + 1):         # no others can be said
            if can_be_said(tempo / 2 ** exponent):
                stay = costs.get(exponent, math.inf)
                change = costs[best] + CHANGE if costs else 0
                before[exponent] = exponent if stay <= change else best
                new_costs[exponent] = min(stay, change) + lasts * abs(exponent)
        leaps += not any(before[exponent] == exponent for exponent in before)
        if leaps > MAX_LEAPS:
            raise ValueError(f'over {MAX_LEAPS:,} leaps to tempos that nobody can follow')
        costs = new_costs
        rows.append(before)

    exponent = min(costs, key=costs.get)
    folds = []
    for before in reversed(rows):
        folds.append(2.0 ** exponent)
        exponent = before[exponent]
    return folds[::-1]


def lay_grid(tempos: list[tuple[int, int]], division: float, last: int, changes: Counter):
    """The grid under a piece. Where no word can say a tempo it is halved or doubled, and the note
    values with it: quarters at 400 a minute are eighths at 200, the same music.

    tempos: [(tick, microseconds a quarter)]; division: ticks a quarter; last: the tick at which the
    piece ends. Returns the stretches and the tempos on the grid, [(step, quarters a minute)], and
    counts what it changed.
    """
    stretches = [Stretch(0, 0.0, 1.0)]
    on_grid = []
    tempos = sorted(tempos, key=lambda tempo: tempo[0])
    edges = [tick for tick, _ in tempos] + [last]
    quarters = [(end - begin) / division for begin, end in zip(edges, edges[1:])]
    folds = choose_folds([60e6 / microseconds for _, microseconds in tempos], quarters)
    for (tick, microseconds), fold in zip(tempos, folds):
        tempo = 60e6 / microseconds
        stretch = stretches[-1]
        step = stretch.step + (tick - stretch.tick) * STEPS / (division * stretch.fold)
        if fold != stretch.fold:
            stretches.append(Stretch(tick, step, fold))
        on_grid.append((round(step), tempo / fold))
        if not can_be_said(tempo):
            changes[FOLDED] += 1
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


def metre_of_length(steps: float) -> tuple[int, int] | None:
    """The time signature of a bar of so many steps: 96 -> 2/2; None if no word can say one."""
    for beats, unit in METRES:
        if beats * WHOLE == steps * unit:
            return beats, unit
    return None


def lay_bars(metres: list[tuple[int, int, int]], stretches: list[Stretch], division: float,
             last: int, changes: Counter) -> list[tuple[int, int, int]]:
    """Time signatures [(tick, beats, beat unit)] -> [(step, beats, beat unit)], as words can say
    them. Where a stretch begins, the one that holds is said anew, in its note values; if that is
    within a bar, first one for the rest of the bar, so that the bar lines stay where they are.
    `last` is the tick at which the piece ends. Counts what it changed."""
    ticks = [tick for tick, _, _ in metres]
    steps = to_steps(np.array(ticks), stretches, division).tolist()
    moments = []                                  # (tick, step, a stretch's fold, a time signature)
    for stretch in stretches[1:]:
        moments.append((stretch.tick, stretch.step, stretch.fold, None))
    for (tick, beats, unit), step in zip(metres, steps):
        moments.append((tick, step, None, (beats, unit)))
    moments.sort(key=lambda moment: moment[0])    # stable: at one tick, the stretches come first

    has_metre = set(ticks)
    metre, bar_line = (4, 4), 0                   # what holds, as the file says it, and from where
    fold = 1.0
    on_grid = {}                                  # of several at one step, the last one counts
    after_rest = None            # (tick, step, time signature) of the bar line after such a rest
    for tick, step, new_fold, new_metre in moments:
        if after_rest and after_rest[0] < tick:
            on_grid[after_rest[1]] = after_rest[2]
        after_rest = None
        if new_metre:
            metre, bar_line = new_metre, tick
        else:
            fold = new_fold
            if tick in has_metre:
                continue                          # a time signature follows at once
        beats = metre[0]
        unit = metre[1] * fold
        fitting = fit_metre(beats, unit)
        if fitting != (beats, unit):
            same_length = fitting[0] / fitting[1] == beats / unit
            changes[SAME_BARS if same_length else OTHER_BARS] += 1
        on_grid[round(step)] = fitting
        bar = 4 * division * metre[0] / metre[1]              # in ticks
        rest = -(tick - bar_line) % bar
        rest_steps = rest * STEPS / (division * fold)
        rest_metre = metre_of_length(rest_steps)              # (None for no rest)
        if rest_metre:
            on_grid[round(step)] = rest_metre
            after_rest = tick + rest, round(step + rest_steps), fitting
    if after_rest and after_rest[0] < last:
        on_grid[after_rest[1]] = after_rest[2]
    return [(step, *metre) for step, metre in on_grid.items()]


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
        if unended:
            raise ValueError('no note that ends')
        raise ValueError('no notes but drums' if score.drums else 'no notes')
    last = int(notes[:, 1].max())
    metres = [metre for metre in midi.metres if metre[0] < last]
    tempos = [tempo for tempo in midi.tempos if tempo[0] < last]
    late = len(midi.tempos) + len(midi.metres) - len(tempos) - len(metres)
    if midi.division < 0:
        tempos = []                               # such a file counts seconds: they say nothing

    stretches, score.tempos = lay_grid(tempos, division, last, score.changes)
    score.metres = lay_bars(metres, stretches, division, last, score.changes)
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
    if division < 0:
        frames = -(division >> 8)
        ticks = division & 255
        frames_a_second = 29.97 if frames == 29 else frames      # of American television
        division = frames_a_second * ticks / 2
    if not division:
        raise ValueError('it does not say how long a quarter is')
    return division


def sounding_notes(midi: Midi) -> tuple[np.ndarray, int, int]:
    """The notes (N, 4) of start, end, pitch, velocity, as long as they sound; how many nothing
    ends; and how many are drums, which are left out."""
    events = midi.events()
    midi.table = None                             # it takes much room in a large file
    percussion = events['status'] & 15 == 9       # musicians say channel 10
    drums = int((percussion & is_strike(events)).sum())
    events = events[~percussion]
    if not len(events):
        return np.empty((0, 4)), 0, drums
    longest = LAST_PEDAL * ticks_a_quarter(midi.division)
    notes, unended = pair_notes(apply_pedal(events, midi.end, longest))
    return notes, unended, drums


def off_grid(notes: np.ndarray, stretches: list[Stretch], division: float) -> list[float]:
    """By how many steps the starts are off the grid, those that are."""
    exact = to_steps(notes[:, 0], stretches, division)
    errors = np.abs(exact - np.rint(exact))
    return errors[errors > 0].tolist()


def to_grid(notes: np.ndarray, stretches: list[Stretch], division: float) -> list[Note]:
    """Notes (N, 4) of start, end, pitch, velocity, in ticks -> on the grid, in order."""
    starts = np.rint(to_steps(notes[:, 0], stretches, division))
    ends = np.rint(to_steps(notes[:, 1], stretches, division))
    durations = np.maximum(1, ends - starts)
    pitches, velocities = notes[:, 2], notes[:, 3]
    order = np.lexsort((velocities, durations, pitches, starts))     # the last one counts most
    columns = [column[order].astype(np.int32)
               for column in (starts, pitches, durations, velocities)]
    # a memoryview hands out one Python number at a time, where tolist() would make them all
    return list(map(Note, *map(memoryview, columns)))


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


def first_metre(score: Score) -> tuple[int, int]:
    """The time signature that a piece begins in: after its pickup, if it has one."""
    if has_pickup(score):
        return score.metres[1][1:]
    if score.metres and score.metres[0][0] == 0:
        return score.metres[0][1:]
    return 4, 4


def has_pickup(score: Score) -> bool:
    """Whether the first bar is a time signature of its own, a shorter one than what follows: so
    notation programs write a piece that begins before a bar line."""
    if len(score.metres) < 2 or score.metres[0][0] > 0:
        return False
    (_, beats, unit), (step, *after) = score.metres[:2]
    return step == WHOLE * beats // unit and beats / unit < after[0] / after[1]


def opening(score: Score, bars: int) -> tuple[Score, int]:
    """What begins in the first bars of a piece, and the step at which they are over. A pickup does
    not count as a bar."""
    bars = min(bars + has_pickup(score), len(find_bars(score)))
    until = round(next(islice(bars_of(score.metres), bars, None)).start)
    return Score([note for note in score.notes if note.start < until],
                 [tempo for tempo in score.tempos if tempo[0] < until],
                 [metre for metre in score.metres if metre[0] < until]), until


def cut_bars(score: Score, first: int, last: int) -> Score:
    """The bars from number `first` to number `last` (1 is the first of all), as a piece from step
    0. A note that goes on at the last bar line ends there."""
    lines = [bar.start for bar in islice(bars_of(score.metres), last + 1)]
    begin, end = round(lines[first - 1]), round(lines[last])
    notes = [note._replace(start=note.start - begin, duration=min(note.duration, end - note.start))
             for note in score.notes if begin <= note.start < end]
    cut = []
    for changes in (score.tempos, score.metres):
        holds = [change for change in changes if change[0] <= begin][-1:]
        within = [change for change in changes if begin < change[0] < end]
        cut.append([(max(0, step - begin), *value) for step, *value in holds + within])
    return Score(notes, *cut)


# ----------------------------------------------------------------------------- a Score -> a file

def write_midi(score: Score, path):
    Path(path).write_bytes(to_midi(score))


def to_midi(score: Score, title: str = '') -> bytes:
    """A file for the harpsichord. The first track has the title, the tempos and time signatures;
    then come the right hand and the left, on one channel: notation programs make two staves of one
    instrument of them. What sounds twice at once goes to another track, on a channel of its own:
    else nobody could tell which of the two an end is meant for."""
    import mido          # here, as only writing needs it: who listens or reads need not wait for it

    SETTING, OFF, ON = range(3)                   # the order at one step: let go, then strike again
    settings = []                                 # [(step, which of these, message)]
    for step, tempo in score.tempos:
        settings.append((step, SETTING, mido.MetaMessage('set_tempo', tempo=round(60e6 / tempo))))
    for step, beats, unit in score.metres:
        message = mido.MetaMessage('time_signature', numerator=beats, denominator=unit)
        settings.append((step, SETTING, message))
    tracks = {}                                   # (layer, hand) -> the same
    last = {}                                     # (layer, pitch) -> (end, hand) of the last note
    for (start, pitch, duration, velocity), hand in zip(score.notes, find_hands(score.notes)):
        layer = 0
        while last.get((layer, pitch), (0, hand))[0] > start:
            layer += 1
        last_end, last_hand = last.get((layer, pitch), (0, hand))
        if layer > 0:
            hand = RIGHT                          # its track is of both
        elif last_end == start:
            hand = last_hand                      # in the other's track, its end might come later
        end = start + duration
        last[layer, pitch] = end, hand
        on = mido.Message('note_on', note=pitch, velocity=velocity, channel=channel_of(layer))
        events = tracks.setdefault((layer, hand), [])
        events.append((start, ON, on))
        events.append((end, OFF, on.copy(velocity=0)))

    midi = mido.MidiFile(ticks_per_beat=TICKS)
    for layer, events in [(None, settings), *((key[0], tracks[key]) for key in sorted(tracks))]:
        # (a name of the notes' tracks would stand beside that of the instrument)
        track = midi.add_track(title if title and layer is None else None)
        if score.home:                            # MuseScore overlooks it in track 0, pretty_midi
            key = midi_key(*score.home)           # ... in all others
            track.append(mido.MetaMessage('key_signature', key=key))
        if layer is not None:
            track.append(mido.Message('program_change', program=HARPSICHORD,
                                      channel=channel_of(layer)))
        now = 0
        events.sort(key=lambda event: event[:2])  # stable; messages have no order of their own
        for step, _, message in events:
            message.time = (step - now) * (TICKS // STEPS)       # MIDI counts from the last event
            track.append(message)
            now = step
    data = BytesIO()
    midi.save(file=data)
    return data.getvalue()


def channel_of(layer: int) -> int:
    """One of the first nine channels: the next one, number 9 (musicians say 10), is for drums."""
    return layer % 9
