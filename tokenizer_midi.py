"""Music to ids and back: MIDI files <-> notes <-> ids, by hand (mido only reads and writes bytes).

A piece becomes a row of small words in the order of time, like a player piano's roll:

    begin  metre 3/4  tempo 72  on G3  on G5  shift 24  off G5  on G5  shift 24  off G3 ...

`on` presses a key, `off` lets it go, `shift n` waits n steps of a grid of 24 to the quarter, on
which 16ths, 32nds and triplets all land; at one step the keys let go come first, lowest first.
The vocabulary is Performance RNN's (Oore et al. 2018) with a musical clock instead of seconds.

Kept: notes, tempo, metre, and velocity if asked. Not kept: instruments and tracks (all become one
keyboard), percussion, pitch bend, anything finer than the grid.
"""

import math
import os
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

import mido

STEPS = 24               # grid steps to the quarter note
WHOLE = 4 * STEPS        # a whole note, the longest single shift; a longer one is said in parts
MAX_BYTES = 1 << 20      # a larger MIDI file is refused (two hours of piano take half of it)
MAX_QUARTERS = 20_000    # so is a longer piece: about three hours


class Note(NamedTuple):
    start: int           # in steps
    pitch: int           # 0..127, 60 is middle C (C4)
    duration: int        # in steps, at least 1
    velocity: int = 80   # 1..127


@dataclass
class Score:
    """What a MIDI file says, on the grid; where it says nothing, 4/4 at 120 quarters a minute."""
    notes: list[Note] = field(default_factory=list)
    tempos: list[tuple[int, float]] = field(default_factory=list)       # (step, quarters a minute)
    metres: list[tuple[int, int, int]] = field(default_factory=list)    # (step, beats, beat unit)
    moved: int = 0       # notes that had a start or an end off the grid
    worst: float = 0.0   # the farthest that one was moved, in steps
    drums: int = 0       # percussion notes left out (channel 10)

    def bar_and_beat(self, step: int) -> tuple[int, float]:
        """(bar, beat), both from 1: in 3/4, step 84 -> (2, 1.5)."""
        bar, begin, beats, unit = 1, 0, 4, 4
        for at, *metre in self.metres:
            if at <= step:                              # a bar cut short by a new metre counts
                bar -= (begin - at) // max(1, WHOLE * beats // unit)
                begin, (beats, unit) = at, metre
        bars, rest = divmod(step - begin, max(1, WHOLE * beats // unit))
        return bar + bars, 1 + rest * unit / WHOLE


def timeline(file: mido.MidiFile) -> list[tuple]:
    """All tracks merged: [(tick, track number, message)] in the order of time. The tracks of a
    format 2 file are pieces of their own and follow one another."""
    events, begin = [], 0
    for number, track in enumerate(file.tracks):
        tick = begin
        for message in track:
            tick += message.time
            events.append((tick, number, message))
        begin = tick if file.type == 2 else 0
    return sorted(events, key=lambda event: event[0])


def strokes(events: list[tuple]) -> list[tuple[int, int, int, int]]:
    """The notes in ticks: [(start, end, pitch, velocity)], the sustain pedal folded into the ends.

    note_on with velocity 0 is note_off. Within a track, a stroke on a key that still sounds ends
    the one before; between tracks (two voices in unison) what starts first ends first. What
    nothing ends, ends with the piece. Channel 10 is percussion and left out."""
    notes, states, pedals = [], {}, set()         # states: key -> [its last stroke, how it is]
    sounding = defaultdict(list)                  # pitch -> [(start, velocity)]

    def finish(key, tick):
        start, velocity = sounding[key[2]].pop(0)
        notes.append((start, tick, key[2], velocity))
        del states[key]

    for tick, track, message in events:
        if message.type == 'control_change' and message.control == 64:
            if message.value >= 64:
                pedals.add(message.channel)
            elif message.channel in pedals:
                pedals.remove(message.channel)
                for key in [key for key, (_, state) in states.items()
                            if key[1] == message.channel and state == 'pedal']:
                    finish(key, tick)
        elif message.type in ('note_on', 'note_off') and message.channel != 9:
            key = track, message.channel, message.note
            state = states.get(key)
            if message.type == 'note_on' and message.velocity:
                if state:
                    finish(key, tick)
                states[key] = [tick, 'again' if state else 'down']
                sounding[message.note].append((tick, message.velocity))
            elif state == [tick, 'again']:
                state[1] = 'down'                 # this off was meant for the stroke before
            elif state and message.channel in pedals:
                state[1] = 'pedal'
            elif state:
                finish(key, tick)
    for key in list(states):
        finish(key, events[-1][0])
    return notes


def read_midi(path: str) -> Score:
    """Read a MIDI file of any format and division. Raises ValueError, with one line, for what is
    no MIDI file, broken, without notes, or beyond MAX_BYTES or MAX_QUARTERS."""
    if os.path.getsize(path) > MAX_BYTES:
        raise ValueError(f'{path}: over {MAX_BYTES:,} bytes: split the piece')
    try:
        file = mido.MidiFile(path, clip=True)
    except Exception as error:                    # mido raises all kinds for a broken file
        raise ValueError(f'{path}: not a readable MIDI file '
                         f'({str(error) or type(error).__name__})') from None
    division, events = file.ticks_per_beat, timeline(file)
    if division < 0:                              # SMPTE: -frames a second, ticks a frame, and no
        frames, ticks = divmod(division, 256)     # tempo: a quarter shall be half a second
        division = {29: 29.97}.get(-frames, -frames) * ticks / 2
        events = [event for event in events if event[2].type != 'set_tempo']
    if not division or events and events[-1][0] > MAX_QUARTERS * division:
        raise ValueError(f'{path}: over {MAX_QUARTERS:,} quarters long: split the piece')
    score = Score()
    for tick, _, message in events:
        step = round(tick * STEPS / division)
        if message.type == 'set_tempo' and message.tempo:
            score.tempos.append((step, 60e6 / message.tempo))
        elif message.type == 'time_signature':
            score.metres.append((step, message.numerator, message.denominator))
        elif message.type == 'note_on' and message.channel == 9:
            score.drums += message.velocity > 0
    for *ends, pitch, velocity in strokes(events):
        first, last = (round(tick * STEPS / division) for tick in ends)
        error = max(abs(tick * STEPS / division - step) for tick, step in zip(ends, (first, last)))
        score.moved, score.worst = score.moved + (error > 0), max(score.worst, error)
        score.notes.append(Note(first, pitch, max(1, last - first), velocity))
    if not score.notes:
        raise ValueError(f'{path}: no notes' + (' but drums' if score.drums else ''))
    score.notes.sort()
    return score


def write_midi(score: Score, path: str):
    """Write a format 1 file, 480 ticks to the quarter. A pitch that sounds twice at once goes to
    a second track, so that each stroke keeps its own end."""
    tracks = [[(step, 0, mido.MetaMessage('set_tempo', tempo=round(60e6 / bpm)))
               for step, bpm in score.tempos] +
              [(step, 0, mido.MetaMessage('time_signature', numerator=beats, denominator=unit))
               for step, beats, unit in score.metres], []]
    busy = {}                                     # (track, pitch) -> step until which it sounds
    for note in score.notes:
        number = 1
        while busy.get((number, note.pitch), 0) > note.start:
            number += 1
        tracks += [[]] if number == len(tracks) else []
        end = busy[number, note.pitch] = note.start + note.duration
        on = mido.Message('note_on', note=note.pitch, velocity=note.velocity,
                          channel=(number - 1) % 9)
        tracks[number] += [(note.start, 2, on), (end, 1, on.copy(velocity=0))]
    file = mido.MidiFile(ticks_per_beat=480)
    for events in tracks:
        track, now = file.add_track(), 0
        for step, _, message in sorted(events, key=lambda event: event[:2]):
            track.append(message.copy(time=(step - now) * 480 // STEPS))
            now = step
    file.save(path)


class MidiTokenizer:
    """Score <-> ids. The vocabulary is the same for every corpus, so that any model can go on with
    any; only `velocity` adds 16 words, for corpora that say how hard a key is struck."""

    def __init__(self, velocity: bool = False):
        self.velocity = velocity
        self.words = [('begin', 0), ('end', 0)]   # id -> (kind, value)
        self.words += [('metre', (beats, unit)) for unit in (2, 4, 8, 16) for beats in range(1, 17)]
        self.words += [('tempo', i) for i in range(97)]         # 20 * 2 ** (i / 24): 3 % apart
        self.words += [('shift', n) for n in range(1, WHOLE + 1)]
        self.words += [(kind, pitch) for kind in ('off', 'on') for pitch in range(128)]
        self.words += [('velocity', 4 + 8 * i) for i in range(16 * velocity)]
        self.ids = {word: id for id, word in enumerate(self.words)}
        self.vocab_size = len(self.words)

    def encode(self, score: Score) -> list[int]:
        """A metre outside the vocabulary is left out; tempo and velocity are rounded to a word."""
        events = [(step, 0, 0, [('metre', tuple(metre))]) for step, *metre in score.metres]
        events += [(step, 1, 0, [('tempo', min(96, max(0, round(24 * math.log2(bpm / 20)))))])
                   for step, bpm in score.tempos]
        for start, pitch, duration, velocity in score.notes:
            loud = [('velocity', velocity // 8 * 8 + 4)] if self.velocity else []
            events += [(start, 3, pitch, loud + [('on', pitch)]),
                       (start + duration, 2, pitch, [('off', pitch)])]
        ids, now = [self.ids['begin', 0]], 0
        for step, _, _, words in sorted(events):
            while now < step:
                now += (part := min(WHOLE, step - now))
                ids.append(self.ids['shift', part])
            ids += [self.ids[word] for word in words if word in self.ids]
        return ids + [self.ids['end', 0]]

    def decode(self, ids) -> Score:
        """Never fails: all after the first `end` and an `off` without its `on` do nothing, a key
        that is still down at the end is let go."""
        score, now, velocity, down = Score(), 0, 80, defaultdict(list)
        for kind, value in (self.words[id] for id in ids):
            if kind == 'shift':
                now += value
            elif kind == 'metre':
                score.metres.append((now, *value))
            elif kind == 'tempo':
                score.tempos.append((now, 20 * 2 ** (value / 24)))
            elif kind == 'velocity':
                velocity = value
            elif kind == 'on':
                down[value].append((now, velocity))
            elif kind == 'off' and down[value]:
                start, loud = down[value].pop(0)
                score.notes.append(Note(start, value, max(1, now - start), loud))
            elif kind == 'end':
                break
        score.notes += [Note(start, pitch, max(1, now - start), loud)
                        for pitch, strokes in down.items() for start, loud in strokes]
        score.notes.sort()
        return score

    def augment_table(self) -> list[list[int]]:
        """(12, V): each row maps every id to its id in another key, from a fourth down to a tritone
        up. What would leave the 128 pitches stays inside by an octave."""
        def move(id, k):
            kind, value = self.words[id]
            if kind not in ('on', 'off'):
                return id
            return self.ids[kind, value + k - 12 * (value + k > 127) + 12 * (value + k < 0)]
        return [[move(id, k) for id in range(self.vocab_size)] for k in range(-5, 7)]

    def count_units(self, ids) -> int:
        """The number of notes."""
        return sum(self.words[id][0] == 'on' for id in ids)

    def to_dict(self) -> dict:
        return {'kind': 'midi', 'version': 1, 'velocity': self.velocity}

    @classmethod
    def from_dict(cls, d: dict):
        """Raises ValueError if `d` is not what this version's `to_dict` gives."""
        if d != cls(bool(d.get('velocity'))).to_dict():
            raise ValueError(f'not a MIDI tokenizer of version 1: {str(d)[:60]}')
        return cls(d['velocity'])
