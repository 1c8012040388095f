"""Music <-> ids, by hand: MIDI files <-> notes <-> ids (data/midifile.py reads the bytes, mido
writes them).

A piece becomes a row of small words in the order of time, like the roll of a player piano:

    begin  metre 3/4  tempo 72  on G3  on G5  shift 24  off G5  on G5  shift 24  off G5 ...

`on` presses a key, `off` lets it go, `shift n` waits n steps of a grid of 24 to the quarter, on
which 16ths, 32nds and triplets all land; at one step the keys let go come first, lowest first.
These are the words of Performance RNN (Oore et al. 2018), with a musical clock for its seconds.
Not kept: instruments and tracks (all is one keyboard), percussion, bends, what is off the grid.
"""

import functools
import math
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from itertools import count, islice, takewhile
from pathlib import Path
from typing import NamedTuple

import mido
import numpy as np

from config.settings import Settings, run, setting
from data.midifile import Midi, apply_pedal, is_strike, pair_notes, parse

STEPS = 24               # grid steps to the quarter note
WHOLE = 4 * STEPS        # a whole note, the longest single shift; a longer one is said in parts
MAX_BYTES = 1 << 22      # a larger MIDI file is refused: hours of performed piano fit in
MAX_QUARTERS = 20_000    # so is a longer piece: about three hours
MAX_LEAPS = 1000         # ... or one that leaps so often to tempos that no word can say
SLOWEST, TEMPOS = 20, 97                          # tempo words: 20 * 2 ** (i / 24), 3 % apart
METRES = [(beats, unit) for unit in (2, 4, 8, 16) for beats in range(1, 17)]

# what a Score counts of its file: what was left out or said in other words
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


class MidiTokenizer:
    """Score <-> ids: one vocabulary for every corpus; `velocity` adds 16 words to it."""

    def __init__(self, velocity: bool = False):
        self.words = [('begin', 0), ('end', 0)]   # id -> (kind, value)
        self.words += [('metre', metre) for metre in METRES]
        self.words += [('tempo', i) for i in range(TEMPOS)]
        self.words += [('shift', n) for n in range(1, WHOLE + 1)]
        self.words += [(kind, pitch) for kind in ('off', 'on') for pitch in range(128)]
        self.words += [('velocity', 4 + 8 * i) for i in range(16 * velocity)]
        self.ids = {word: id for id, word in enumerate(self.words)}
        self.velocity, self.vocab_size = velocity, len(self.words)
        self.end = self.ids['end', 0]
        self.beat = STEPS                         # by the clock: the model hears every quarter

    def encode(self, score: Score) -> list[int]:
        """Tempo and velocity are rounded to a word. `read_midi` takes care that there is one for
        each tempo and time signature; those of other Scores are put right here (`fit_metre`)."""
        METRE, TEMPO, OFF, ON = range(4)          # in this order, at one step
        events = []                               # (step, which of these, pitch, words)
        for step, *metre in score.metres:
            events.append((step, METRE, 0, [('metre', fit_metre(*metre))]))
        for step, tempo in score.tempos:
            number = min(TEMPOS - 1, max(0, tempo_number(tempo)))
            events.append((step, TEMPO, 0, [('tempo', number)]))
        for start, pitch, duration, velocity in score.notes:
            loud = [('velocity', velocity // 8 * 8 + 4)] if self.velocity else []
            events.append((start, ON, pitch, loud + [('on', pitch)]))
            events.append((start + duration, OFF, pitch, [('off', pitch)]))
        ids = [self.ids['begin', 0]]
        now = 0
        for step, _, _, words in sorted(events, key=lambda event: event[:3]):
            while now < step:
                part = min(WHOLE, step - now)
                ids.append(self.ids['shift', part])
                now += part
            ids += [self.ids[word] for word in words]
        return ids + [self.ids['end', 0]]

    def decode(self, ids) -> Score:
        """Never fails: an `off` too many does nothing, a key left down is let go, `end` ends it."""
        score, now, velocity, down = Score(), 0, 80, defaultdict(list)
        for kind, value in (self.words[id] for id in ids):
            if kind == 'shift':
                now += value
            elif kind == 'metre':
                score.metres.append((now, *value))
            elif kind == 'tempo':
                score.tempos.append((now, SLOWEST * 2 ** (value / 24)))
            elif kind == 'velocity':
                velocity = value
            elif kind == 'on':
                down[value].append((now, velocity))
            elif kind == 'off' and down[value]:
                start, loud = down[value].pop(0)
                score.notes.append(Note(start, value, max(1, now - start), loud))
            elif kind == 'end':
                break
        score.notes = sorted(score.notes + [Note(start, pitch, max(1, now - start), loud)
                             for pitch, left in down.items() for start, loud in left])
        return score

    def augment_table(self) -> list[list[int]]:
        """(12, V): row i is i - 5 semitones up; what leaves the 128 pitches, an octave back."""
        return [[self.ids[kind, value + k - 12 * (value + k > 127) + 12 * (value + k < 0)]
                 if kind in ('on', 'off') else id for id, (kind, value) in enumerate(self.words)]
                for k in range(-5, 7)]

    def clock_table(self) -> list[int]:
        """(V): how many steps each id moves the clock. So does `end`: what comes after it is of
        another time, and the time to the end of a piece is over."""
        steps = {id: value for id, (kind, value) in enumerate(self.words) if kind == 'shift'}
        steps[self.end] = WHOLE
        return [steps.get(id, 0) for id in range(self.vocab_size)]

    def keys_table(self) -> list[list[int]]:
        """(V, 128): the key that each id presses (1, an `on`) or lets go (-1, an `off`)."""
        table = [[0] * 128 for _ in self.words]
        for row, (kind, pitch) in zip(table, self.words):
            if kind in ('on', 'off'):
                row[pitch] = 1 if kind == 'on' else -1
        return table

    def count_units(self, ids) -> int:
        """The number of notes."""
        return sum(self.words[id][0] == 'on' for id in ids)

    def to_dict(self) -> dict:
        return {'kind': 'midi', 'version': 1, 'velocity': self.velocity}

    @classmethod
    def from_dict(cls, d: dict):
        """Raises ValueError if `d` is not what this version's `to_dict` gives."""
        if d != cls(bool(d.get('velocity'))).to_dict():
            raise ValueError(f'not a MIDI tokenizer of version 1: {d!r:.60}')
        return cls(d['velocity'])


class Grammar:
    """Which words may come next in each of B rows: only a key that is up is pressed, only one that
    is down is let go (later than it was pressed), no key is held for longer than MAX_HOLD, and no
    piece ends while a key is down. A guard: a trained model hardly ever needs it, and `refused`
    counts how often.
    """
    MAX_HOLD = 3 * WHOLE // 2      # in Bach's keyboard works one note in 800 is longer
    FOLLOW = {'begin': 'metre tempo shift velocity on', 'metre': 'tempo shift off velocity on',
              'tempo': 'shift off velocity on', 'shift': 'metre tempo off velocity on',
              'off': 'shift off velocity on end', 'velocity': 'on', 'on': 'shift velocity on',
              'end': 'end'}

    def __init__(self, tokenizer: MidiTokenizer, batch: int):
        self.words, self.end = tokenizer.words, tokenizer.end
        kinds = np.array([kind for kind, _ in tokenizer.words])
        self.number = {kind: number for number, kind in enumerate(self.FOLLOW)}
        self.number['whole'] = len(self.FOLLOW)             # a whole shift: it may go on
        self.is_velocity = kinds == 'velocity'
        self.follow = np.stack([np.isin(kinds, after.split()) for after in self.FOLLOW.values()])
        if tokenizer.velocity:                              # then no key is pressed without one
            without = [self.number[kind] for kind in self.FOLLOW if kind != 'velocity']
            self.follow[without] &= kinds != 'on'
        shift_too = self.follow[self.number['shift']] | (kinds == 'shift')
        self.follow = np.vstack((self.follow, shift_too))   # (kinds, V): which words may come next
        self.before_off = [self.number[kind] for kind in ('shift', 'whole', 'off')]
        self.on, self.off, self.shift = (
            slice(tokenizer.ids[kind, first], tokenizer.ids[kind, last] + 1)
            for kind, first, last in (('on', 0, 127), ('off', 0, 127), ('shift', 1, WHOLE)))
        self.last = np.full(batch, self.number['begin'])    # kind of the last word, by its number
        self.now = np.zeros((batch, 1), int)                # steps since the beginning
        self.since = np.zeros((batch, 128), int)            # when each key moved last
        self.down = np.zeros((batch, 128), int)             # how often each key is down
        self.due = np.zeros((batch, 128), int)              # when each has to be let go, if down
        self.promised = [{} for _ in range(batch)]          # key -> when it is let go, no earlier
        self.earliest = np.zeros(batch, int)                # steps before which no piece ends
        self.refused = np.zeros(batch, int)                 # draws that were not allowed

    def promise(self, ends: list[tuple[int, int]]):
        """Let go of keys that are down, [(key, step)], at their steps, in every row: they are notes
        of the prompt that last beyond it."""
        for row, promised in enumerate(self.promised):
            for key, step in sorted(ends):
                promised.setdefault(key, []).append(step)   # twice: a unison
            for key, steps in promised.items():
                self.due[row, key] = steps[0]

    def allowed(self) -> np.ndarray:
        """(B, V), True for the words that may come next."""
        mask = self.follow[self.last]
        down = self.down > 0
        mask[:, self.on] &= ~down
        mask[:, self.off] &= down & (self.since < self.now)
        if self.is_velocity.any():
            mask[down.all(axis=1)] &= ~self.is_velocity     # no key is left to be pressed
        for row, promised in enumerate(self.promised):
            for key in promised:
                mask[row, self.off.start + key] &= self.due[row, key] <= self.now[row, 0]
        may_end = ~down.any(axis=1) & (self.now[:, 0] >= self.earliest)
        mask[:, self.end] &= may_end | (self.last == self.number['end'])
        room = np.where(down, self.due - self.now, WHOLE).min(axis=1)    # until the next is due
        close = np.flatnonzero(room < WHOLE)
        for row in close:                                   # no wait goes beyond that
            mask[row, self.shift.start + max(0, room[row]):self.shift.stop] = False
            if room[row] <= 0 and self.last[row] in self.before_off:     # nothing else, at once
                mask[row] = False
                mask[row, self.off] = down[row] & (self.due[row] <= self.now[row])
        return mask

    def refuse(self, rows):
        """Count the rows (B,) of bool whose draw was not allowed."""
        self.refused += np.asarray(rows)

    def advance(self, ids):
        """Take note of the ids (B,) that were drawn."""
        for row, (kind, value) in enumerate(self.words[id] for id in ids):
            self.last[row] = self.number['whole' if (kind, value) == ('shift', WHOLE) else kind]
            if kind == 'shift':
                self.now[row] += value
            elif kind == 'on':
                self.since[row, value] = self.now[row, 0]
                self.down[row, value] += 1                  # twice: a unison in a prompt
                self.due[row, value] = self.now[row, 0] + self.MAX_HOLD
            elif kind == 'off':
                self.since[row, value] = self.now[row, 0]
                self.down[row, value] -= 1
                promised = self.promised[row].get(value)
                if promised:
                    promised.pop(0)
                    if promised:
                        self.due[row, value] = promised[0]
                    else:
                        del self.promised[row][value]


@dataclass
class Config(Settings):
    midi: str = setting(help='MIDI file to explain')
    rows: int = setting(30, 'tokens to show', at_least=1)


def explain(config: Config):
    """Print the first tokens of a file, each beside what it means, and the counts."""
    score, tokenizer, now, beat, bar = read_midi(config.midi), MidiTokenizer(), 0, STEPS, WHOLE
    ids, last = tokenizer.encode(score), {note[:2]: note.duration for note in score.notes}
    lengths = {96: 'whole', 72: 'dotted half', 48: 'half', 36: 'dotted quarter', 24: 'quarter',
               18: 'dotted eighth', 12: 'eighth', 8: 'triplet eighth', 6: 'sixteenth', 3: '32nd'}
    for id in ids[:config.rows]:
        kind, value = tokenizer.words[id]
        words, steps = '', value if kind == 'shift' else last.get((now, value))
        if kind == 'metre':
            beat, bar = WHOLE // value[1], WHOLE * value[0] // value[1]
        elif kind in ('on', 'off'):
            words = 'C C# D D# E F F# G G# A A# B'.split()[value % 12] + f'{value // 12 - 1} '
        if kind in ('on', 'shift'):
            words += lengths.get(steps, f'{steps} steps')
        place = f'{now // bar + 1}.{now % bar / beat + 1:<8g}'
        print(f'{place} {words:20} {kind} {value}'.ljust(48), id)
        now += value if kind == 'shift' else 0
    print(f'{len(score.notes)} notes, {len(ids)} tokens; {len(score.moved)} notes off the grid')
    for change, times in score.changes.items():
        print(f'{times} {change}')


if __name__ == '__main__':
    run(explain, Config)
