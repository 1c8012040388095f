"""Music <-> ids, by hand: the notes of a piece <-> a row of small words. (lib/score.py reads and
writes MIDI files.)

The words come in the order of time, as on the roll of a player piano. The Aria begins:

    begin  metre 3/4  tempo 71  home G major  voices 3  on G3  on G5  shift 24  off G5  on B3  ...

`on` presses a key and `off` releases it; `shift 24` waits for 24 steps, a quarter note (a whole
note is 96, WHOLE). On this grid 16ths, 32nds and triplets all land. At one step keys are released
first, then pressed, the lowest first. A tempo is in quarters a minute; the words for tempos are 3 %
apart. `home` is the key of the piece in the musician's sense, G major, in which it begins and ends;
`voices` says how many notes sound at once, on average, rests left out. `on`, `off` and
`shift` are words of Performance RNN (Oore et al. 2018), but time is counted in parts of a beat, not
in seconds.

Not kept: instruments and tracks (all is one keyboard), percussion, pitch bends, what lies between
two steps (it is moved to the nearest), and, if there are no words for it (`velocity`), how hard a
key is struck.

    MidiTokenizer    the words, and notes <-> ids
    MidiListener     follows the words of a piece: it tells the model what it knows (`told`), and
                     says which words may come next (`allowed`, the guard)
    explain          python tokenizer_midi.py FILE.mid shows the words of a file
"""

import math
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from lib.recall import Recall
from lib.score import (METRES, MOST_VOICES, SLOWEST, TEMPOS, WHOLE, Note, Score, bars_of,
                       count_voices, fit_metre, read_midi, tempo_number)
from lib.settings import Settings, run, setting
from lib.tokenizer import Listener, MusicTokenizer
from lib.tonality import MODES, home_key, name_of, raised, transpose

HOMES = [(tonic, mode) for mode in MODES for tonic in range(12)]
LOUDNESS = [4 + 8 * i for i in range(16)]        # a velocity is rounded to one of these

OPENING = ('metre', 'tempo', 'home', 'voices')   # the order of words at the beginning
# the kind of word that was heard last -> the kinds that may come next, after the opening
FOLLOW = {'metre': 'tempo shift off velocity on',
          'tempo': 'shift off velocity on',
          'voices': 'shift velocity on',
          'shift': 'metre tempo off velocity on',
          'whole shift': 'metre tempo shift off velocity on',    # of a WHOLE: the wait may go on
          'off': 'shift off velocity on end',
          'velocity': 'on',
          'on': 'shift velocity on'}


class MidiTokenizer(MusicTokenizer):
    """Score <-> ids: the same vocabulary for every corpus, with 16 words more for `velocity`."""
    VERSION = 5              # of what the words mean
    unit = 'note'
    questions = ('what', 'when', 'how long')

    def __init__(self, velocity: bool = False):
        self.velocity = velocity
        self.words = [('begin', 0), ('end', 0)]  # id -> (kind, value)
        self.words += [('metre', metre) for metre in METRES]
        self.words += [('tempo', number) for number in range(TEMPOS)]
        self.words += [('home', home) for home in HOMES]
        self.words += [('voices', number) for number in range(1, MOST_VOICES + 1)]
        self.words += [('shift', steps) for steps in range(1, WHOLE + 1)]
        self.words += [('off', pitch) for pitch in range(128)]
        self.words += [('on', pitch) for pitch in range(128)]
        if velocity:
            self.words += [('velocity', value) for value in LOUDNESS]
        self.ids = {word: id for id, word in enumerate(self.words)}
        self.vocab_size = len(self.words)
        self.begin = self.ids['begin', 0]
        self.end = self.ids['end', 0]
        # for the guard: where the words of a kind lie, and which may follow which, as masks (V,),
        # V = vocab_size
        self.on = slice(self.ids['on', 0], self.ids['on', 127] + 1)
        self.on_and_velocity = slice(self.ids['on', 0], None)
        self.off = slice(self.ids['off', 0], self.ids['off', 127] + 1)
        self.shift = slice(self.ids['shift', 1], self.ids['shift', WHOLE] + 1)
        kinds = np.array([kind for kind, _ in self.words])
        self.is_kind = {kind: kinds == kind for kind in OPENING}
        self.follow = {kind: np.isin(kinds, after.split()) for kind, after in FOLLOW.items()}
        if velocity:                             # then no key is pressed without one
            for kind, mask in self.follow.items():
                if kind != 'velocity':
                    mask &= kinds != 'on'

    def encode(self, score: Score) -> list[int]:
        """Tempo and velocity are rounded to a word. A Score from `read_midi` has only tempos and
        time signatures that a word can say; those of any other are forced into range here."""
        return self.encode_until(score, math.inf) + [self.end]

    def encode_until(self, score: Score, until: float) -> list[int]:
        """The ids up to a step of time, without the end."""
        METRE, TEMPO, HOME, VOICES, OFF, ON = range(6)   # the order of words at one step
        events = []                              # (step, which of these, pitch, words)
        home = score.home or home_key(score.notes)
        voices = score.voices or count_voices(score.notes)
        events.append((0, HOME, 0, [('home', home)]))
        events.append((0, VOICES, 0, [('voices', voices)]))
        for step, *metre in score.metres:
            events.append((step, METRE, 0, [('metre', fit_metre(*metre))]))
        for step, tempo in score.tempos:
            number = min(TEMPOS - 1, max(0, tempo_number(tempo)))
            events.append((step, TEMPO, 0, [('tempo', number)]))
        for start, pitch, duration, velocity in score.notes:
            words = [('on', pitch)]
            if self.velocity:
                words.insert(0, ('velocity', LOUDNESS[velocity // 8]))
            events.append((start, ON, pitch, words))
            events.append((start + duration, OFF, pitch, [('off', pitch)]))
        events.sort(key=lambda event: event[:3])

        if until < math.inf:
            events = [event for event in events if event[0] <= until]
            events.append((until, ON, 0, []))        # nothing, but it is waited for
        ids = [self.begin]
        now = 0
        for step, _, _, words in events:
            while now < step:                    # a long wait is said in parts
                part = min(WHOLE, step - now)
                ids.append(self.ids['shift', part])
                now += part
            ids += [self.ids[word] for word in words]
        return ids

    def decode(self, ids) -> Score:
        """Takes any ids: an `off` too many does nothing, a key that is still held at the end is
        released there, and what follows the word `end` is ignored."""
        score = Score([note for note, _ in self.find_notes(ids)])
        now = 0
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
            elif kind == 'voices':
                score.voices = value
            elif kind == 'end':
                break
        return score

    def find_notes(self, ids) -> list[tuple[Note, list[int]]]:
        """The notes in order, each with the places of the ids that press and release it."""
        notes = []
        now = 0
        velocity = 80                            # until a word says otherwise
        held = defaultdict(list)         # pitch -> the notes that sound: (start, velocity, place)
        for place, id in enumerate(ids):
            kind, value = self.words[id]
            if kind == 'shift':
                now += value
            elif kind == 'velocity':
                velocity = value
            elif kind == 'on':
                held[value].append((now, velocity, place))
            elif kind == 'off' and held[value]:
                start, loud, pressed = held[value].pop(0)        # of two, the one struck first
                note = Note(start, value, max(1, now - start), loud)
                notes.append((note, [pressed, place]))
            elif kind == 'end':
                break
        for pitch, rest in held.items():
            for start, loud, pressed in rest:
                notes.append((Note(start, pitch, max(1, now - start), loud), [pressed]))
        return sorted(notes)

    def units(self, ids: list[int]) -> list[list[int]]:
        return [places for _, places in self.find_notes(ids)]

    def say(self, id: int) -> str:
        """A word as it is read: on C4, shift 24."""
        kind, value = self.words[id]
        if kind in ('on', 'off'):
            return f'{kind} {NAMES[value % 12]}{value // 12 - 1}'
        if kind == 'metre':
            return '{} {}/{}'.format(kind, *value)
        if kind == 'tempo':
            return f'{kind} {quarters_a_minute(value):.0f}'
        if kind == 'home':
            return f'{kind} {name_of(*value)}'
        return f'{kind} {value}'

    def count_units(self, ids) -> int:
        """The number of notes."""
        return sum(self.words[id][0] == 'on' for id in ids)

    def question(self, id: int) -> str:
        """`what` is pressed; `how long` was it held, if it is released; `when` is how long to wait,
        and the few words between."""
        return {'on': 'what', 'off': 'how long'}.get(self.words[id][0], 'when')

    def note_bits(self, ids: list[int], bits: list[float]) -> list[float]:
        """The bits of each note are those of its `on`, the word that says the pitch. What it costs
        to wait for the note and to let it go is left out: the first is shared by the notes of a
        chord, the second comes later."""
        return [bits[places[0]] for _, places in self.find_notes(ids)]

    def augment_table(self) -> list[list[int]]:
        """(12, V): row i maps each id to that of its word (i - 5) semitones higher, -5 to 6."""
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

    def listener(self, **wishes) -> 'MidiListener':
        return MidiListener(self, **wishes)

    def listen(self, ids) -> np.ndarray:
        """(N, W): what the model is told after each of the ids (N) of a whole piece, W numbers, by
        a listener that knows where the piece ends. (train.py hides that in half of the rows of
        a batch.)"""
        words = [self.words[id] for id in ids]
        end = sum(value for kind, value in words if kind == 'shift')
        listener = self.listener(end=end)
        return np.array([listener.hear(id) for id in ids])

    def shape_of_told(self) -> dict:
        """What ModelConfig has to know to read what is told: its columns, how many values each has,
        and the first ids of the kinds of words that it speaks of."""
        return {'columns': MidiListener.TOLD,
                'bar_steps': 1 + MidiListener.LONGEST_BAR,
                'end_levels': 1 + len(END_LEVELS),
                'matches': 1 + Recall.LEVELS,                    # one of them for none
                'keys': 128, 'first_on': self.ids['on', 0],
                'first_home': self.ids['home', HOMES[0]]}

    def to_dict(self) -> dict:
        return {'kind': 'midi', 'version': self.VERSION, 'velocity': self.velocity}

    @classmethod
    def from_dict(cls, d: dict):
        """Raises ValueError if `d` is not what this version's `to_dict` gives."""
        tokenizer = cls(bool(d.get('velocity')))
        if d != tokenizer.to_dict():
            raise ValueError(f'not a MIDI tokenizer of version {cls.VERSION}: {d!r:.60}')
        return tokenizer


def quarters_a_minute(number: int) -> float:
    """The tempo that a tempo word stands for."""
    return SLOWEST * 2 ** (number / 24)


# ----------------------------------------------------------------------------------- the listener

# The distance to the end is told as one of 16 levels, the farther the coarser: level 1 from 0 steps
# on, level 2 from 10, then from 24, 44, 72 ..., the last from about 45 bars of 4/4 on.
END_LEVELS = [24 * (2 ** (level / 2) - 1) for level in range(16)]


def pad(numbers: list[int], count: int) -> list[int]:
    """[1, 2], 4 -> [1, 2, 0, 0]"""
    return numbers + [0] * (count - len(numbers))


class MidiListener(Listener):
    """Follows the words of one piece. It hears them one by one, both when a corpus is prepared and
    when a piece is composed, so that the model is told the same in both: after each word a row of
    numbers (`told`).

        clock       steps since the beginning; after 64 bars of 4/4 it begins again at 0
        to_bar      steps to the next bar line, two whole notes at most
        to_end      how far it is to the end, one of END_LEVELS counted from 1; 0: not told
        match       how sure is what `Recall` has for each of three voices, the surest first; 0:
                    there is no such voice

    And ids, 0 for an empty slot:

        home        the home word
        voices      the word for voices
        recalled    for each of these voices three words: up to two `on`s, the likelier first (two
                    keys may be of one scale step; 0 for a key that is held), and the `off` of the
                    key that the voice holds
        parallel    the `on` word that would make parallel fifths or octaves
        held        the `off` words of the keys that are held, 12 at most, those held for the
                    shortest time

    In a corpus or a prompt two voices may hold one key (a unison). Then it is struck twice and
    released twice, and told once.
    """
    CLOCK_ROUND = 64 * WHOLE
    TOLD = {'clock': 1, 'to_bar': 1, 'to_end': 1, 'match': 3, 'home': 1, 'voices': 1,
            'recalled': 9, 'parallel': 1, 'held': 12}
    LONGEST_BAR = 2 * WHOLE                      # the most that to_bar says
    MAX_HOLD = 3 * WHOLE // 2                    # in Bach's keyboard works 1 note in 800 is longer

    def __init__(self, tokenizer: MidiTokenizer, end: int = 0, bars: int = 0, prompt_end: int = 0,
                 lasting: dict | None = None, metre: tuple | None = None,
                 tempo: int | None = None, home: tuple | None = None, voices: int | None = None):
        """`end`: the step at which the piece ends, if it is to be told. Or `bars`: so many are
        wished for from the step `prompt_end` on. `lasting`: the notes of the prompt that last
        beyond its end, {(start, pitch): [steps at which they end]}; a unison has two. The rest are
        wishes for the OPENING, what its words are to say: metre=(3, 4), tempo=44 (the number of a
        tempo word), home=(7, 'major'), voices=3."""
        self.tokenizer = tokenizer
        self.words = tokenizer.words
        self.end = end
        self.bars = bars
        self.prompt_end = prompt_end
        self.lasting = lasting or {}
        wishes = {'metre': metre, 'tempo': tempo, 'home': home, 'voices': voices}
        self.wishes = {kind: value for kind, value in wishes.items() if value is not None}
        self.now = 0                 # steps since the beginning
        self.bar = WHOLE             # steps of a bar
        self.bar_from = 0            # the step at which the metre was set
        self.bars_composed = 0.0     # since the end of the prompt
        self.last_kind = 'begin'     # the kind of the word that was heard last
        self.home = 0                # id of the home word
        self.voices = 0              # ... and of the word for voices
        # key -> the earliest and the latest step to release it, a pair for each voice that holds it
        self.held = {}
        self.struck = []             # keys struck at this step
        # the lowest and the highest of the keys that were held when time last moved on from a step
        # at which one was struck
        self.outer = None
        self.recall = Recall()

    def hear(self, id: int) -> list[int]:
        """Take note of the next word; returns what the model is told after it."""
        kind, value = self.words[id]
        if kind == 'shift':
            self.wait(value)
        elif kind == 'on':
            self.press(value)
        elif kind == 'off':
            self.release(value)
        elif kind == 'metre':
            beats, unit = value
            self.bar = WHOLE * beats / unit
            self.bar_from = self.now
            self.recall.move_to(self.now, 0.0)           # a bar begins here
        elif kind == 'home':
            self.home = id
        elif kind == 'voices':
            self.voices = id
        self.last_kind = 'whole shift' if (kind, value) == ('shift', WHOLE) else kind
        return self.told()

    def wait(self, steps: int):
        if self.struck and self.held:
            self.outer = min(self.held), max(self.held)
        self.struck = []
        if self.now >= self.prompt_end:
            self.bars_composed += steps / self.bar
        self.now += steps
        self.recall.move_to(self.now, self.place())

    def place(self) -> float:
        """Steps since the last bar line."""
        return (self.now - self.bar_from) % self.bar

    def press(self, key: int):
        """A key is struck. For the guard, note the steps from which and up to which it may be
        released: a note that outlasts the prompt, just where it ends there; any other, from the
        next step on, up to MAX_HOLD later."""
        nth = self.struck.count(key)             # so many voices have struck it at this step
        ends = self.lasting.get((self.now, key), [])
        latest = self.latest_end()
        if nth < len(ends):                      # a note of the prompt ends as it did there
            end = min(ends[nth], latest)
            window = end, end                    # from, up to
        else:
            window = self.now + 1, min(self.now + self.MAX_HOLD, latest)
        # of two voices that hold one key, the one that is over first stands first
        self.held[key] = sorted([*self.held.get(key, []), window])
        self.struck.append(key)
        self.recall.press(key)

    def release(self, key: int):
        self.recall.release(key)
        if key in self.held:                     # of a unison, the one that is over first
            self.held[key].pop(0)
            if not self.held[key]:
                del self.held[key]

    def told(self) -> list[int]:
        """The row of numbers, in the order of TOLD."""
        ids = self.tokenizer.ids
        by_voice = []                            # (how sure, its three ids)
        for voice in self.recall.voices:
            ons = []
            for pitch in voice.pitches:          # where it may go now
                # (beyond the keyboard there is no word)
                ons.append(0 if pitch in self.held else ids.get(('on', pitch), 0))
            still_holds = voice.end is None
            off = ids['off', voice.pitch] if still_holds else 0          # of its last note
            if voice.sure and (off or any(ons)):
                by_voice.append((voice.sure, pad(ons, 2) + [off]))
        by_voice.sort(key=lambda one: -one[0])
        by_voice = by_voice[:self.TOLD['match']]
        matches = pad([sure for sure, _ in by_voice], self.TOLD['match'])
        recalled = pad([id for _, three in by_voice for id in three], self.TOLD['recalled'])
        held = pad([ids['off', key] for key in self.held][-self.TOLD['held']:], self.TOLD['held'])
        to_bar = min(self.LONGEST_BAR, round(self.bar - self.place()))
        return [self.now % self.CLOCK_ROUND, to_bar, self.to_end(), *matches, self.home,
                self.voices, *recalled, self.parallel(), *held]

    def parallel(self) -> int:
        """The `on` word that would make parallel fifths or octaves of the outer voices, 0 if there
        is none: of 100 chances to do so, the Goldberg Variations take one.

            C3 and G4 were held, now D3 is:  A4, since both voices would go up, from a fifth to a
            fifth (octaves aside)
        """
        if not self.outer or not self.held:
            return 0
        low, high = self.outer
        bass_move = min(self.held) - low         # in semitones
        if bass_move == 0 or (high - low) % 12 not in (0, 7):
            return 0
        # the upper voice would move as far, but for whole octaves: 1 to 12 semitones
        distance = (abs(bass_move) - 1) % 12 + 1
        key = high + distance if bass_move > 0 else high - distance
        if key <= max(self.held):                # it would be an inner voice, or is held
            return 0
        return self.tokenizer.ids.get(('on', key), 0)

    def to_end(self) -> int:
        """The level of the time that is left; 0 if that is not to be told."""
        if self.bars:
            steps = self.steps_until(self.bars)
        elif self.end:
            steps = self.end - self.now
        else:
            return 0
        return bisect_right(END_LEVELS, max(0, steps))

    def steps_until(self, bars: float) -> float:
        """How long it is until so many bars are composed."""
        steps = max(0, self.prompt_end - self.now) + (bars - self.bars_composed) * self.bar
        return round(steps, 6)                   # (in floats, six times 1/6 falls short of 1)

    # ---- the guard: which words may come next, for those who compose

    def allowed(self) -> np.ndarray:
        """(V,), True for the words that may come next: those that make sense after the last one,
        that a keyboard can do (on which no unison is struck), and with which the piece can still
        end in time. The first words of a piece, and what may come after each:

            begin           words of the OPENING (not shown)
            on C4           no `on C4`, since it is held; no `off`, they come first at a step; no
                            `end`
            shift 96        of the `off`s, only that of C4; a wait of 48 at most, since a key is
                            held for 144 at most (MAX_HOLD)
        """
        if self.last_kind == 'end':              # what is drawn now is thrown away
            return np.full(self.tokenizer.vocab_size, True)
        if not self.voices:                      # the last word of the opening has not come
            return self.opening()
        mask = self.tokenizer.follow[self.last_kind].copy()
        on, off, shift = self.tokenizer.on, self.tokenizer.off, self.tokenizer.shift
        # when each key may be released: of a unison, the voice that is over first
        window_of = {key: windows[0] for key, windows in self.held.items()}
        overdue = [key for key, (_, latest) in window_of.items() if latest <= self.now]
        if overdue:                              # they are released before anything else
            mask[:] = False
            mask[off][overdue] = True            # (mask[off] is a view: this is written to mask)
            return mask
        early = [key for key, (earliest, _) in window_of.items() if self.now < earliest]
        is_held = np.full(128, False)
        is_held[list(self.held)] = True
        mask[on][is_held] = False                # a key that is held is not pressed again
        mask[off][~is_held] = False
        mask[off][early] = False
        # if all keys are held (an untrained model does that), no `on` can come, and so no velocity
        if is_held.all():
            mask[self.tokenizer.on_and_velocity] = False
        self.rule_the_end(mask)
        # no wait goes beyond the step at which a key has to be released or, if none is held, the
        # piece has to end
        due = min((latest for _, latest in window_of.values()), default=self.latest_end())
        if due < math.inf:
            mask[shift][due - self.now:] = False         # its index i is a wait of i + 1
        return mask

    def rule_the_end(self, mask: np.ndarray):
        """No piece ends while a key is held. If a number of bars is wished for, then

            up to 3/4 of it    the piece may not end
            from 1 on          it ends as soon as the last key is released
            from 9/8 on        no key is pressed any more, and it ends if none is held
            by 5/4             all keys are released: see `latest_end`
        """
        end = self.tokenizer.end
        if self.held:
            mask[end] = False
        if not self.bars:
            return
        if self.steps_until(3 / 4 * self.bars) > 0:
            mask[end] = False
        may_end = mask[end]          # by FOLLOW only after an `off`: that of the last key
        no_more = self.steps_until(9 / 8 * self.bars) <= 0
        if (self.steps_until(self.bars) <= 0 and may_end) or (no_more and not self.held):
            mask[:] = False
            mask[end] = True
        elif no_more:
            mask[self.tokenizer.on_and_velocity] = False
            # If no key may be released, a note of the prompt lasts still. Then a wait has to be
            # allowed, even right after a wait, where FOLLOW has none.
            if not mask[self.tokenizer.off].any():
                mask[self.tokenizer.shift] = True

    def latest_end(self) -> float:
        """The step up to which a key that is struck now may be held, and up to which a rest may
        last: if a length is wished for, 5/4 of it, in bars of the metre that holds now."""
        if not self.bars:
            return math.inf
        return self.now + max(1, int(self.steps_until(5 / 4 * self.bars)))

    def opening(self) -> np.ndarray:
        """What may come in the OPENING. Home and voices must come, metre and tempo only if they are
        wished for. Without wishes:

            after begin    a metre, a tempo or a home word
            after home     a word for voices
        """
        mask = np.full(self.tokenizer.vocab_size, False)
        heard = OPENING.index(self.last_kind) + 1 if self.last_kind in OPENING else 0
        for kind in OPENING[heard:]:
            if kind in self.wishes:
                mask[self.tokenizer.ids[kind, self.wishes[kind]]] = True
                break
            mask |= self.tokenizer.is_kind[kind]
            if kind == 'home':                   # (voices comes last, and must come, too)
                break
        return mask


# ------------------------------------------------------------------------------------- explain

LENGTHS = {96: 'whole', 72: 'dotted half', 48: 'half', 36: 'dotted quarter', 24: 'quarter',
           18: 'dotted eighth', 12: 'eighth', 8: 'triplet eighth', 6: 'sixteenth', 3: '32nd'}
NAMES = 'C C# D D# E F F# G G# A A# B'.split()


@dataclass
class Config(Settings):
    midi: str = setting(help='MIDI file to explain')
    rows: int = setting(30, 'words to show, a row each', at_least=1)


def explain(config: Config):
    """Print the first words of a file, each beside what it means, and counts of the whole."""
    score = read_midi(config.midi)
    tokenizer = MidiTokenizer()
    ids = tokenizer.encode(score)
    lasts = {(note.start, note.pitch): note.duration for note in score.notes}
    now = 0
    bars = bars_of(score.metres)                 # one after the other, for ever
    bar = next(bars)
    next_bar = next(bars)
    bar_number = 1
    for id in ids[:config.rows]:
        kind, value = tokenizer.words[id]
        meaning = ''
        if kind == 'tempo':
            meaning = 'quarters a minute'
        elif kind == 'on':
            steps = lasts[now, value]
            meaning = LENGTHS.get(steps, f'{steps} steps')
        elif kind == 'shift':
            meaning = LENGTHS.get(value, f'{value} steps')
        while now >= next_bar.start:
            bar = next_bar
            next_bar = next(bars)
            bar_number += 1
        beat = (now - bar.start) / bar.beat + 1
        print(f'{bar_number}.{beat:<8g} {tokenizer.say(id):16} {meaning:20} {id}')
        if kind == 'shift':
            now += value
    print(f'{len(score.notes)} notes, {len(ids)} words; {len(score.moved)} notes off the grid')
    for change, times in score.changes.items():
        print(f'{times} {change}')


if __name__ == '__main__':
    run(explain, Config)
