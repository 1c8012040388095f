"""Music <-> ids, by hand: the notes of a piece <-> a row of small words. (data/score.py reads and
writes MIDI files.)

The words come in the order of time, as on the roll of a player piano. The Aria begins:

    begin  metre 3/4  tempo 71  home G major  on G3  on G5  shift 24  off G5  on B3  on G5  ...

`on` presses a key and `off` lets it go; `shift 24` waits for 24 steps, a quarter note (STEPS; a
whole note is WHOLE). On this grid 16ths, 32nds and triplets all land. At one step keys are let go
first, then pressed, the lowest first. A tempo is in quarters a minute; the words for tempos are 3 %
apart. `home` is the key of the piece in the musician's sense, G major, in which it begins and ends.
These are the words of Performance RNN (Oore et al. 2018), but time is counted in parts of a beat,
not in seconds.

Not kept: instruments and tracks (all is one keyboard), percussion, pitch bends, what is off the
grid.

    MidiTokenizer    the words, and notes <-> ids
    Recall           what came next last time, when the music was as it is now
    Listener         all that follows from the words so far: the model is told, the guard rules
    explain          python tokenizer_midi.py FILE.mid shows the words of a file
"""

import math
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass

from config.settings import Settings, run, setting       # first: it quiets Ctrl-C during the rest

import numpy as np

from data.score import (METRES, SLOWEST, STEPS, TEMPOS, WHOLE, Note, Score, bars_of, fit_metre,
                        read_midi, tempo_number)
from data.tokenizer import Tokenizer
from lib.tonality import MODES, home_key, name_of, raised

HOMES = [(tonic, mode) for mode in MODES for tonic in range(12)]
LOUDNESS = [4 + 8 * i for i in range(16)]        # a velocity is rounded to one of these


class MidiTokenizer(Tokenizer):
    """Score <-> ids: one vocabulary for every corpus; `velocity` adds 16 words to it."""
    unit = 'note'
    is_music = True

    def __init__(self, velocity: bool = False):
        self.velocity = velocity
        self.words = [('begin', 0), ('end', 0)]  # id -> (kind, value)
        self.words += [('metre', metre) for metre in METRES]
        self.words += [('tempo', number) for number in range(TEMPOS)]
        self.words += [('home', key) for key in HOMES]
        self.words += [('shift', steps) for steps in range(1, WHOLE + 1)]
        self.words += [('off', pitch) for pitch in range(128)]
        self.words += [('on', pitch) for pitch in range(128)]
        if velocity:
            self.words += [('velocity', value) for value in LOUDNESS]
        self.ids = {word: id for id, word in enumerate(self.words)}
        self.vocab_size = len(self.words)
        self.end = self.ids['end', 0]
        # where the words of a kind lie, and which may follow which: for the guard
        self.on = slice(self.ids['on', 0], self.ids['on', 127] + 1)
        self.press = slice(self.ids['on', 0], None)      # and how hard
        self.off = slice(self.ids['off', 0], self.ids['off', 127] + 1)
        self.shift = slice(self.ids['shift', 1], self.ids['shift', WHOLE] + 1)
        kinds = np.array([kind for kind, _ in self.words])
        self.is_kind = {kind: kinds == kind for kind in OPENING}
        self.follow = make_follow(self)

    def encode(self, score: Score) -> list[int]:
        """Tempo and velocity are rounded to a word. `read_midi` takes care that there is one for
        each tempo and time signature; those of other Scores are put right here (`fit_metre`)."""
        METRE, TEMPO, HOME, OFF, ON = range(5)   # the order of words at one step
        events = []                              # (step, which of these, pitch, words)
        home = score.home or home_key(score.notes)
        events.append((0, HOME, 0, [('home', home)]))
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
            elif kind == 'home':
                score.home = value
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

    def augment_table(self) -> list[list[int]]:
        """(12, V): row i is the music i - 5 semitones higher."""
        table = []
        for semitones in range(-5, 7):
            row = list(range(self.vocab_size))
            for id, (kind, value) in enumerate(self.words):
                if kind in ('on', 'off'):
                    row[id] = self.ids[kind, transpose(value, semitones)]
                elif kind == 'home':
                    row[id] = self.ids['home', raised(value, semitones)]
            table.append(row)
        return table

    def listener(self, **wishes) -> 'Listener':
        return Listener(self, **wishes)

    def listen(self, ids) -> np.ndarray:
        """(N, F): what a listener that knows where the piece ends says after each of its ids (N)."""
        moves = [self.words[id] for id in ids]
        end = sum(steps for kind, steps in moves if kind == 'shift')
        listener = self.listener(end=end)
        return np.array([listener.hear(id) for id in ids])

    def shape_of_told(self) -> dict:
        return {'told': Listener.TOLD, 'beat': STEPS, 'levels': 1 + len(END_LEVELS),
                'lengths': Recall.LONGEST, 'keys': 128, 'first_on': self.ids['on', 0],
                'first_home': self.ids['home', HOMES[0]]}

    def to_dict(self) -> dict:
        return {'kind': 'midi', 'version': 2, 'velocity': self.velocity}

    @classmethod
    def from_dict(cls, d: dict):
        """Raises ValueError if `d` is not what this version's `to_dict` gives."""
        tokenizer = cls(bool(d.get('velocity')))
        if d != tokenizer.to_dict():
            raise ValueError(f'not a MIDI tokenizer of version 2: {d!r:.60}')
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


# ----------------------------------------------------------------------------------- the listener

def scale_step(interval: int) -> int:
    """Semitones -> steps of a scale: a third is a third, be it major or minor: 3 and 4 -> 2, a
    tritone as the fourth 5 -> 3, -12 -> -7."""
    octaves, rest = divmod(abs(interval), 12)
    step = 7 * octaves + (0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6)[rest]
    return step if interval >= 0 else -step


def of_one_step(interval: int) -> list[int]:
    """The interval and the other one of the same scale step: 3 -> [3, 4]. A fifth, an octave and 0
    have no other: 7 -> [7]."""
    others = [other for other in (interval - 1, interval + 1)
              if scale_step(other) == scale_step(interval)]
    return [interval, *others]


class Recall:
    """What came next last time. Bach repeats himself, at other pitches and in other voices; a small
    model does not find that by itself, so it is told.

    Of each onset two notes are kept, the highest (line 0) and the lowest (line 1). A line is its
    moves, each the wait before a note and the scale step to it, so that a sequence on another
    degree of the scale looks the same. Both lines are remembered together: after which moves, and
    the wait that followed them, came which interval.

        heard            C4 12 D4 12 E4 12 F4 48 | G4 12 A4 12 B4 12
        last two moves   (12, 1) (12, 1), then a wait of 12
        last time        F4, an interval of 1: so C5 is proposed, and C#5, the other second
    """
    SHORTEST, LONGEST = 2, 8     # the fewest and the most moves that are compared

    def __init__(self):
        self.memory = {}         # (moves, the wait after them) -> the interval that came
        self.lines = [None, None]        # (step, pitch, moves) of the last note of each line

    def remember(self, line: int, now: int, pitch: int):
        """Take note that this is a line's note at the step `now`."""
        moves = ()
        if self.lines[line]:
            before, last_pitch, moves = self.lines[line]
            wait = now - before
            interval = pitch - last_pitch
            for length in range(self.SHORTEST, len(moves) + 1):
                self.memory[moves[-length:], wait] = interval
            moves = (*moves, (wait, scale_step(interval)))[-self.LONGEST:]
        self.lines[line] = now, pitch, moves

    def propose(self, line: int, now: int) -> tuple[int, list[int]]:
        """The most moves that were the same at some earlier time, and the pitches that may come at
        the step `now`: one by the interval that came then, one by the other interval of the same
        scale step, if there is one. (0, []) if there was no such time."""
        if not self.lines[line]:
            return 0, []
        before, pitch, moves = self.lines[line]
        for length in range(len(moves), self.SHORTEST - 1, -1):
            interval = self.memory.get((moves[-length:], now - before))
            if interval is not None:
                pitches = [pitch + one for one in of_one_step(interval)]
                return length, [p for p in pitches if 0 <= p < 128]
        return 0, []


# How far it still is to the end is told as one of 16 levels, the farther the coarser: level 1 from
# 0 steps on, level 2 from 10, then from 24, 44, 72 ..., the last from 45 bars of 4/4 on.
END_LEVELS = [24 * (2 ** (level / 2) - 1) for level in range(16)]


class Listener:
    """All that follows from the words of one piece so far. It hears them one by one, both when a
    corpus is prepared and when a piece is composed, and after each it tells the model the same
    (`told`): a row of numbers, the last three kinds of which are ids.

        clock      steps since the beginning; after 64 bars of 4/4 it begins again
        left       how far it is to the end, one of END_LEVELS counted from 1; 0: not told
        length     for each word recalled, how many moves were the same, less 1
        home       the home word
        recalled   the `on` words that each line of `Recall` proposes, two each
        down       the `off` words of the keys that are down, 12 at most, those pressed last

    Empty slots hold 0, the id of `begin`.
    """
    CLOCK_ROUND = 64 * WHOLE
    TOLD = {'clock': 1, 'left': 1, 'length': 4, 'home': 1, 'recalled': 4, 'down': 12}
    MAX_HOLD = 3 * WHOLE // 2                    # in Bach's keyboard works 1 note in 800 is longer

    def __init__(self, tokenizer: MidiTokenizer, end: int = 0, bars: int = 0, begin: int = 0,
                 lasting: dict | None = None, **wishes):
        """`end`: the step at which the piece ends, if it is to be told; or `bars`: so many from the
        step `begin` on, where the prompt is over. `lasting`: the notes of the prompt that last
        beyond it, (start, pitch) -> ends. `wishes`: words for the beginning, metre=(3, 4)."""
        self.tokenizer = tokenizer
        self.words = tokenizer.words
        self.end = end
        self.bars = bars
        self.wishes = wishes                     # kind -> value
        self.now = 0                             # steps since the beginning
        self.begin = begin
        self.played = 0.0                        # bars from there on
        self.lasting = lasting or {}
        self.bar = WHOLE                         # steps of a bar
        self.home = 0                            # id of the home word
        self.last = 'begin'                      # kind of the last word
        # key -> the earliest and the latest step to let it go, a pair for each voice that holds it
        self.down = {}
        self.struck = []                         # pitches of the onset that is now
        self.recall = Recall()
        self.lengths = [0, 0]
        self.proposed = [[], []]
        self.forbidden = 0.0                     # probability that the guard took away, summed up

    def hear(self, id: int) -> list[int]:
        """Take note of the next word; returns what the model is told after it."""
        kind, value = self.words[id]
        if kind == 'shift':
            self.wait(value)
        elif kind == 'on':
            self.press(value)
        elif kind == 'off':
            self.let_go(value)
        elif kind == 'metre':
            beats, unit = value
            self.bar = WHOLE * beats / unit
        elif kind == 'home':
            self.home = id
        self.last = 'whole shift' if (kind, value) == ('shift', WHOLE) else kind
        return self.told()

    def wait(self, steps: int):
        if self.struck:
            self.recall.remember(0, self.now, max(self.struck))
            self.recall.remember(1, self.now, min(self.struck))
            self.struck = []
        if self.now >= self.begin:
            self.played += steps / self.bar
        self.now += steps
        for line in (0, 1):
            self.lengths[line], self.proposed[line] = self.recall.propose(line, self.now)

    def press(self, key: int):
        ends = self.lasting.get((self.now, key), [])
        before = self.struck.count(key)          # at this step: two voices in unison
        if before < len(ends):                   # a note of the prompt ends as it did there
            when = ends[before], ends[before]
        else:
            when = self.now + 1, min(self.now + self.MAX_HOLD, self.latest_end())
        self.down[key] = sorted([*self.down.get(key, []), when])
        self.struck.append(key)
        for line in (0, 1):
            if key in self.proposed[line]:       # it has come
                self.lengths[line], self.proposed[line] = 0, []

    def let_go(self, key: int):
        if key in self.down:                     # of a unison, the one that is over first
            self.down[key].pop(0)
            if not self.down[key]:
                del self.down[key]

    def told(self) -> list[int]:
        ids = self.tokenizer.ids
        lengths, recalled = [], []
        for length, pitches in zip(self.lengths, self.proposed):
            mine = [ids['on', pitch] for pitch in pitches]
            none = [0] * (2 - len(mine))
            recalled += mine + none
            lengths += [length - 1] * len(mine) + none
        most = self.TOLD['down']
        down = [ids['off', key] for key in self.down][-most:]
        down += [0] * (most - len(down))
        return [self.now % self.CLOCK_ROUND, self.left(), *lengths, self.home, *recalled, *down]

    def left(self) -> int:
        """The level of the time that is left; 0 if no end is wished for."""
        if not self.bars and not self.end:
            return 0
        steps = self.end - self.now
        if self.bars:
            steps = max(0, self.begin - self.now) + (self.bars - self.played) * self.bar
        return bisect_right(END_LEVELS, round(max(0, steps), 6))     # thirds of bars do not add up

    # ---- the guard: which words may come next, for those who compose

    def allowed(self) -> np.ndarray:
        """(V,), True for the words that may come next: those that make sense after the last one,
        that a keyboard can do, and that end the piece in time.

        For example:

            begin           the words of the OPENING come first
            on C4           no `on C4`, since it is down; no `off`, as no time has passed; no `end`
            shift 96        `off C4`, but no other; a wait of 48 at most: C4 is due by then
        """
        if self.last == 'end':                   # nobody hears what comes after it
            return np.full(self.tokenizer.vocab_size, True)
        if not self.home:
            return self.opening()
        mask = self.tokenizer.follow[self.last].copy()
        on, off, shift = self.tokenizer.on, self.tokenizer.off, self.tokenizer.shift
        free = [key for key, ends in self.down.items() if ends[0][0] <= self.now]
        due = min((ends[0][1] for ends in self.down.values()), default=self.latest_end())
        if due <= self.now:                      # it is let go before anything else
            free = [key for key in free if self.down[key][0][1] <= self.now]
            mask[:] = False
            mask[off][free] = True
            return mask
        # (mask[off] is a view: what is written to it is written to the mask)
        may_let_go = mask[off][0]                # after the last word: of all keys or of none
        mask[off] = False
        mask[off][free] = may_let_go
        mask[on][list(self.down)] = False        # a key that is down is not pressed again
        if len(self.down) == 128:                # all of them: no word of loudness either
            mask[self.tokenizer.press] = False
        if due < math.inf:
            mask[shift][due - self.now:] = False             # no wait goes beyond that step
        self.rule_the_end(mask)
        return mask

    def rule_the_end(self, mask: np.ndarray):
        """No piece ends while a key is down. Of the bars that were wished for, if any were,

            up to 3/4    it may not end
            from 1       it ends as soon as no key is down and the last word let one go
            from 9/8     no key is pressed any more
            at 5/4       all keys are let go (`latest_end`)
        """
        end = self.tokenizer.end
        if self.down:
            mask[end] = False
        if not self.bars:
            return
        played = round(self.played / self.bars, 6)       # thirds of bars do not add up
        if played < 3 / 4:
            mask[end] = False
        elif (played >= 1 and mask[end]) or (played >= 9 / 8 and not self.down):
            mask[:] = False
            mask[end] = True
        elif played >= 9 / 8:
            mask[self.tokenizer.press] = False

    def latest_end(self) -> float:
        """The step up to which a key may be held, or a rest last, if a length is wished for."""
        if not self.bars:
            return math.inf
        return self.now + max(1, int((5 / 4 * self.bars - self.played) * self.bar))

    def opening(self) -> np.ndarray:
        """What may come in the OPENING. If only key=G is wished for, the model chooses metre and
        tempo, or leaves them out; of the home words, only that of G may come."""
        mask = self.tokenizer.follow['opening'].copy()
        heard = OPENING.index(self.last) + 1 if self.last in OPENING else 0
        for place, kind in enumerate(OPENING):
            if place < heard:
                mask &= ~self.tokenizer.is_kind[kind]
            elif kind in self.wishes:
                for later in OPENING[place:]:
                    mask &= ~self.tokenizer.is_kind[later]
                mask[self.tokenizer.ids[kind, self.wishes[kind]]] = True
                break
        return mask


OPENING = ('metre', 'tempo', 'home')             # the order of words at the beginning
FOLLOW = {'opening': ' '.join(OPENING),          # kind of the last word -> the next
          'metre': 'tempo shift off velocity on',
          'tempo': 'shift off velocity on',
          'home': 'shift velocity on',
          'shift': 'metre tempo off velocity on',
          'whole shift': 'metre tempo shift off velocity on',    # a long wait is said in parts
          'off': 'shift off velocity on end',
          'velocity': 'on',
          'on': 'shift velocity on'}


def make_follow(tokenizer: MidiTokenizer) -> dict[str, np.ndarray]:
    """FOLLOW as masks (V,), True for the words that may come."""
    kinds = np.array([kind for kind, _ in tokenizer.words])
    follow = {kind: np.isin(kinds, after.split()) for kind, after in FOLLOW.items()}
    if tokenizer.velocity:                       # then no key is pressed without one
        for kind, mask in follow.items():
            if kind != 'velocity':
                mask &= kinds != 'on'
    return follow


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
        elif kind == 'home':
            word = f'home {name_of(*value)}'
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
