"""Music <-> ids, by hand: the notes of a piece <-> a row of small words. (data/score.py reads and
writes MIDI files.)

The words come in the order of time, as on the roll of a player piano. The Aria begins:

    begin  metre 3/4  tempo 71  on G3  on G5  shift 24  off G5  on B3  on G5  shift 24  ...

`on` presses a key and `off` lets it go; `shift 24` waits for 24 steps, a quarter note (STEPS; a
whole note is WHOLE). On this grid 16ths, 32nds and triplets all land. At one step keys are let go
first, then pressed, the lowest first. A tempo is in quarters a minute; the words for tempos are 3 %
apart. These are the words of Performance RNN (Oore et al. 2018), but time is counted in parts of a
beat, not in seconds.

Not kept: instruments and tracks (all is one keyboard), percussion, pitch bends, what is off the
grid.

    MidiTokenizer    the words, and notes <-> ids
    Grammar          which words may follow which, for those who compose
    explain          python tokenizer_midi.py FILE.mid shows the words of a file
"""

from collections import defaultdict
from dataclasses import dataclass

from config.settings import Settings, run, setting       # first: it quiets Ctrl-C during the rest

import numpy as np

from data.score import (METRES, SLOWEST, STEPS, TEMPOS, WHOLE, Note, Score, bars_of, fit_metre,
                        read_midi, tempo_number)
from data.tokenizer import Tokenizer

LOUDNESS = [4 + 8 * i for i in range(16)]        # a velocity is rounded to one of these


class MidiTokenizer(Tokenizer):
    """Score <-> ids: one vocabulary for every corpus; `velocity` adds 16 words to it."""
    unit = 'note'
    beat = STEPS                                 # the model hears every quarter

    def __init__(self, velocity: bool = False):
        self.velocity = velocity
        self.words = [('begin', 0), ('end', 0)]  # id -> (kind, value)
        self.words += [('metre', metre) for metre in METRES]
        self.words += [('tempo', number) for number in range(TEMPOS)]
        self.words += [('shift', steps) for steps in range(1, WHOLE + 1)]
        self.words += [('off', pitch) for pitch in range(128)]
        self.words += [('on', pitch) for pitch in range(128)]
        if velocity:
            self.words += [('velocity', value) for value in LOUDNESS]
        self.ids = {word: id for id, word in enumerate(self.words)}
        self.vocab_size = len(self.words)
        self.end = self.ids['end', 0]

    def encode(self, score: Score) -> list[int]:
        """Tempo and velocity are rounded to a word. `read_midi` takes care that there is one for
        each tempo and time signature; those of other Scores are put right here (`fit_metre`)."""
        METRE, TEMPO, OFF, ON = range(4)         # the order of words at one step
        events = []                              # (step, which of these, pitch, words)
        for step, *metre in score.metres:
            events.append((step, METRE, 0, [('metre', fit_metre(*metre))]))
        for step, tempo in score.tempos:
            number = min(TEMPOS - 1, max(0, tempo_number(tempo)))
            events.append((step, TEMPO, 0, [('tempo', number)]))
        for start, pitch, duration, velocity in score.notes:
            words = [('on', pitch)]
            if self.velocity:
                words.insert(0, ('velocity', velocity // 8 * 8 + 4))
            events.append((start, ON, pitch, words))
            events.append((start + duration, OFF, pitch, [('off', pitch)]))
        events.sort(key=lambda event: event[:3])

        ids = [self.ids['begin', 0]]
        now = 0
        for step, _, _, words in events:
            while now < step:                    # a long wait is said in parts
                part = min(WHOLE, step - now)
                ids.append(self.ids['shift', part])
                now += part
            ids += [self.ids[word] for word in words]
        return ids + [self.ids['end', 0]]

    def decode(self, ids) -> Score:
        """Of any ids: an `off` too many does nothing, a key left down is let go, `end` ends it."""
        score = Score()
        now = 0
        velocity = 80                            # until a word says otherwise
        down = defaultdict(list)                 # pitch -> the notes that sound: (start, velocity)
        for id in ids:
            kind, value = self.words[id]
            if kind == 'shift':
                now += value
            elif kind == 'metre':
                score.metres.append((now, *value))
            elif kind == 'tempo':
                score.tempos.append((now, quarters_a_minute(value)))
            elif kind == 'velocity':
                velocity = value
            elif kind == 'on':
                down[value].append((now, velocity))
            elif kind == 'off' and down[value]:
                start, loud = down[value].pop(0)
                score.notes.append(Note(start, value, max(1, now - start), loud))
            elif kind == 'end':
                break
        for pitch, left in down.items():
            for start, loud in left:
                score.notes.append(Note(start, pitch, max(1, now - start), loud))
        score.notes.sort()
        return score

    def count_units(self, ids) -> int:
        """The number of notes."""
        return sum(self.words[id][0] == 'on' for id in ids)

    # ---- what the words do, in tables

    def augment_table(self) -> list[list[int]]:
        """(12, V): row i is the music i - 5 semitones higher."""
        table = []
        for semitones in range(-5, 7):
            row = list(range(self.vocab_size))
            for id, (kind, value) in enumerate(self.words):
                if kind in ('on', 'off'):
                    row[id] = self.ids[kind, transpose(value, semitones)]
            table.append(row)
        return table

    def clock_table(self) -> list[int]:
        """(V): how many steps each id moves the clock. So does `end`: what comes after it is of
        another time, and the time to the end of a piece is over."""
        table = [value if kind == 'shift' else 0 for kind, value in self.words]
        table[self.end] = WHOLE
        return table

    def keys_table(self) -> list[list[int]]:
        """(V, 128): the key that each id presses (1, an `on`) or lets go (-1, an `off`)."""
        moves = {'on': 1, 'off': -1}
        table = [[0] * 128 for _ in self.words]
        for row, (kind, value) in zip(table, self.words):
            if kind in moves:
                row[value] = moves[kind]
        return table

    def to_dict(self) -> dict:
        return {'kind': 'midi', 'version': 1, 'velocity': self.velocity}

    @classmethod
    def from_dict(cls, d: dict):
        """Raises ValueError if `d` is not what this version's `to_dict` gives."""
        tokenizer = cls(bool(d.get('velocity')))
        if d != tokenizer.to_dict():
            raise ValueError(f'not a MIDI tokenizer of version 1: {d!r:.60}')
        return tokenizer


def transpose(pitch: int, semitones: int) -> int:
    """A pitch so much higher; what leaves the 128 of MIDI, some octaves back: (126, 5) -> 119."""
    pitch += semitones
    while pitch > 127:
        pitch -= 12
    while pitch < 0:
        pitch += 12
    return pitch


def quarters_a_minute(number: int) -> float:
    """The tempo that a tempo word stands for."""
    return SLOWEST * 2 ** (number / 24)


# ---------------------------------------------------------------------------------- the grammar

class Grammar:
    """Which words may come next, in each of B pieces that are drawn side by side. It knows of each
    how late it is and which keys are down, and forbids what no keyboard can do. A guard: `refused`
    counts how often it is needed, by a trained model a few times a piece.

    Masks are (B, V) and True for what is allowed; each rule below takes words away. For example:

        begin           no `off`, since no key is down; no `end`: it comes after an `off` only
        on C4           no `on C4`, since it is down; no `off`, since no time has passed; no `end`
        shift 96        `off C4`, but no other; a wait of 48 at most: C4 is due by then (MAX_HOLD)
    """
    MAX_HOLD = 3 * WHOLE // 2                    # in Bach's keyboard works 1 note in 800 is longer
    FOLLOW = {'begin': 'metre tempo shift velocity on',          # kind of the last word -> the next
              'metre': 'tempo shift off velocity on',
              'tempo': 'shift off velocity on',
              'shift': 'metre tempo off velocity on',
              'off': 'shift off velocity on end',
              'velocity': 'on',
              'on': 'shift velocity on',
              'end': 'end'}

    def __init__(self, tokenizer: MidiTokenizer, batch: int):
        self.words = tokenizer.words
        self.end = tokenizer.end
        first = tokenizer.ids                    # where the words of a kind lie, in a row
        self.on = slice(first['on', 0], first['on', 127] + 1)
        self.off = slice(first['off', 0], first['off', 127] + 1)
        self.shift = slice(first['shift', 1], first['shift', WHOLE] + 1)
        self.make_follow(tokenizer)

        self.last = np.full(batch, self.number['begin'])         # kind of the last word
        self.now = np.zeros((batch, 1), int)     # steps since the beginning
        self.down = np.zeros((batch, 128), int)  # how often each key is down; twice: a unison
        self.due = np.zeros((batch, 128), int)   # when each has to be let go, if down
        self.promised = [{} for _ in range(batch)]               # key -> when it is let go
        self.earliest = np.zeros(batch, int)     # steps before which no piece ends
        self.refused = np.zeros(batch, int)      # draws that were not allowed

    def make_follow(self, tokenizer: MidiTokenizer):
        """FOLLOW as a table (kinds, V), and the number of each kind in it."""
        kinds = np.array([kind for kind, _ in tokenizer.words])
        follow = {kind: np.isin(kinds, after.split()) for kind, after in self.FOLLOW.items()}
        if tokenizer.velocity:                   # then no key is pressed without one
            for kind, mask in follow.items():
                if kind != 'velocity':
                    mask &= kinds != 'on'
        # after a whole shift another one may come: a long wait is said in parts
        follow['whole shift'] = follow['shift'] | (kinds == 'shift')
        self.number = {kind: number for number, kind in enumerate(follow)}
        self.follow = np.stack(list(follow.values()))
        self.is_velocity = kinds == 'velocity'
        self.before_off = [self.number[kind] for kind in ('shift', 'whole shift', 'off')]

    def promise(self, ends: list[tuple[int, int]]):
        """Let go of keys that are down, [(key, step)], at their steps, in every row: they are notes
        of the prompt that last beyond it."""
        for row, promised in enumerate(self.promised):
            for key, step in sorted(ends):
                promised.setdefault(key, []).append(step)        # twice: a unison
            for key, steps in promised.items():
                self.due[row, key] = steps[0]

    def allowed(self) -> np.ndarray:
        """(B, V), True for the words that may come next."""
        mask = self.follow[self.last]
        down = self.down > 0
        self.forbid_moves(mask, down)
        self.forbid_broken_promises(mask)
        self.forbid_ends(mask, down)
        self.forbid_long_holds(mask, down)
        return mask

    def forbid_moves(self, mask, down):
        """Only a key that is up is pressed, only one that is down is let go. (Not at the
        step at which it was pressed, since in FOLLOW no `off` comes after an `on`.)"""
        mask[:, self.on] &= ~down
        mask[:, self.off] &= down
        if self.is_velocity.any():
            mask[down.all(axis=1)] &= ~self.is_velocity          # no key is left to be pressed

    def forbid_broken_promises(self, mask):
        """A key of the prompt is not let go before its time."""
        for row, promised in enumerate(self.promised):
            for key in promised:
                mask[row, self.off.start + key] &= self.due[row, key] <= self.now[row, 0]

    def forbid_ends(self, mask, down):
        """No piece ends while a key is down, or much too early; nothing comes after its end."""
        may_end = ~down.any(axis=1) & (self.now[:, 0] >= self.earliest)
        mask[:, self.end] &= may_end | (self.last == self.number['end'])

    def forbid_long_holds(self, mask, down):
        """No wait goes beyond the step at which a key has to be let go, and then it is let go."""
        room = np.where(down, self.due - self.now, WHOLE).min(axis=1)    # steps until the next
        for row in np.flatnonzero(room < WHOLE):
            longest = max(0, room[row])
            mask[row, self.shift.start + longest:self.shift.stop] = False
            if room[row] <= 0 and self.last[row] in self.before_off:     # nothing else, at once
                mask[row] = False
                mask[row, self.off] = down[row] & (self.due[row] <= self.now[row])

    def refuse(self, rows):
        """Count the rows (B,) of bool whose draw was not allowed."""
        self.refused += np.asarray(rows)

    def advance(self, ids):
        """Take note of the ids (B,) that were drawn."""
        for row, id in enumerate(ids):
            kind, value = self.words[id]
            if kind == 'shift':
                self.now[row] += value
                if value == WHOLE:
                    kind = 'whole shift'
            elif kind == 'on':
                self.down[row, value] += 1
                self.due[row, value] = self.now[row, 0] + self.MAX_HOLD
            elif kind == 'off':
                self.down[row, value] -= 1
                self.keep_promise(row, value)
            self.last[row] = self.number[kind]

    def keep_promise(self, row: int, key: int):
        """A key of the prompt was let go: the next of its notes is due, if it has another."""
        promised = self.promised[row].get(key)
        if promised:
            promised.pop(0)
            if promised:
                self.due[row, key] = promised[0]
            else:
                del self.promised[row][key]


# ------------------------------------------------------------------------------------- explain

LENGTHS = {96: 'whole', 72: 'dotted half', 48: 'half', 36: 'dotted quarter', 24: 'quarter',
           18: 'dotted eighth', 12: 'eighth', 8: 'triplet eighth', 6: 'sixteenth', 3: '32nd'}
NAMES = 'C C# D D# E F F# G G# A A# B'.split()


@dataclass
class Config(Settings):
    midi: str = setting(help='MIDI file to explain')
    rows: int = setting(30, 'tokens to show', at_least=1)


def explain(config: Config):
    """Print the first tokens of a file, each beside what it means, and the counts."""
    score = read_midi(config.midi)
    tokenizer = MidiTokenizer()
    ids = tokenizer.encode(score)
    lasts = {(note.start, note.pitch): note.duration for note in score.notes}
    now = 0
    bars = bars_of(score.metres)                 # without end; a time signature may begin one
    bar = next(bars)
    next_bar = next(bars)
    bar_number = 1
    for id in ids[:config.rows]:
        kind, value = tokenizer.words[id]
        word = f'{kind} {value}'
        meaning = ''
        if kind == 'metre':
            beats, unit = value
            word = f'metre {beats}/{unit}'
        elif kind == 'tempo':
            word = f'tempo {quarters_a_minute(value):.0f}'
            meaning = 'quarters a minute'
        elif kind in ('on', 'off'):
            meaning = f'{NAMES[value % 12]}{value // 12 - 1}'
            if kind == 'on':
                steps = lasts[now, value]
                meaning += ' ' + LENGTHS.get(steps, f'{steps} steps')
        elif kind == 'shift':
            meaning = LENGTHS.get(value, f'{value} steps')
        while now >= next_bar.start:
            bar = next_bar
            next_bar = next(bars)
            bar_number += 1
        beat = (now - bar.start) / bar.beat + 1
        print(f'{bar_number}.{beat:<8g} {meaning:20} {word:16} {id}')
        if kind == 'shift':
            now += value
    print(f'{len(score.notes)} notes, {len(ids)} tokens; {len(score.moved)} notes off the grid')
    for change, times in score.changes.items():
        print(f'{times} {change}')


if __name__ == '__main__':
    run(explain, Config)
