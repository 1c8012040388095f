"""A MIDI file -> its notes, in ticks: the bytes read by hand (Standard MIDI Files 1.0).

Many files in the world are a little wrong: a length that is no length, a track cut in the middle,
something else before or between the tracks. What can be read is read. What is of no use here (key
signatures, texts, instruments, bends) is passed over unseen, so it can't be wrong.

    parse         the bytes -> the events of all tracks, in the order of time
    apply_pedal   ends of notes under the sustain pedal -> where the sound ends
    pair_notes    beginnings and ends -> notes
"""

from array import array
from dataclasses import dataclass, field

import numpy as np

NOTE_OFF, NOTE_ON, CONTROL = 0x80, 0x90, 0xB0            # the status bytes, on the first channel
META, TEMPO, TIME_SIGNATURE, END_OF_TRACK = 0xFF, 0x51, 0x58, 0x2F
SUSTAIN, SOUND_OFF, RESET, NOTES_OFF = 64, 120, 121, 123               # numbers of controllers
CONTROLS = (SUSTAIN, SOUND_OFF, RESET, NOTES_OFF)
# how many data bytes follow a status byte, by its upper half; and one of the system, by its lower
DATA_BYTES = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}
SYSTEM_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1}
MOST_ENDS = 100          # ends within a track behind which we look for more
MOST_DOWN = 100          # strikes of a key that may wait for an end; of more, the oldest have none
NEVER = 1 << 62                                          # a tick after all others
# an event of a key or a pedal: its tick, its track, and the three bytes of its message
EVENT = np.dtype([('tick', 'i8'), ('track', 'i4'), ('status', 'u1'), ('first', 'u1'),
                  ('second', 'u1')])


@dataclass
class Midi:
    """What stands in a file. Times are in ticks since its beginning."""
    kind: int            # 0 or 1: all tracks at once; 2: one after the other
    division: int        # ticks a quarter; negative: frames a second and ticks a frame
    # Five numbers an event, those of EVENT: 40 bytes, where a tuple takes 120. A file of 4 MB may
    # have over a million events.
    table: array = field(default_factory=lambda: array('q'))
    tempos: list[tuple[int, int]] = field(default_factory=list)    # (tick, microseconds a quarter)
    metres: list[tuple[int, int, int]] = field(default_factory=list)    # (tick, beats, beat unit)
    end: int = 0         # the last tick of all
    damaged: bool = False

    def events(self) -> np.ndarray:
        """(N) of EVENT: the keys and pedals of all tracks, in the order of time."""
        table = np.frombuffer(self.table, np.int64).reshape(-1, len(EVENT))
        events = np.empty(len(table), EVENT)
        for column, name in enumerate(EVENT.names):
            events[name] = table[:, column]
        return events[np.argsort(events['tick'], kind='stable')]


# ------------------------------------------------------------------------------ bytes -> events

def parse(data: bytes) -> Midi:
    """All that can be read of a file; ValueError, in plain words, if that is nothing.

    The header is looked for, since it may stand in a wrapper (RIFF, MacBinary). It says how many
    tracks there are. What stands between them is passed over; but what is no track ends the file
    if there were enough: what follows was left there by another, longer file.
    """
    at = data.find(b'MThd')
    if at < 0 or len(data) < at + 14:
        what = 'it has no header' if data else 'it is empty'
        if data.startswith((b'\x1f\x8b', b'PK')):
            what = 'it is packed: unpack it first'
        raise ValueError(f'not a MIDI file ({what})')
    fields = [data[at + i:at + i + 2] for i in (8, 10, 12)]
    kind, tracks = (int.from_bytes(number, 'big') for number in fields[:2])
    midi = Midi(kind, int.from_bytes(fields[2], 'big', signed=True))
    found = 0                                            # tracks, and other chunks
    start = 0
    stop, trusted = end_of_chunk(data, at)
    at, others = next_track(data, stop if trusted else at + 14, search=tracks > 0)
    found += others
    while at >= 0:
        stop, trusted = end_of_chunk(data, at)
        body = data[at + 8:stop]
        now, used, ended = read_track(body, found, start, midi)
        if trusted and ended:
            now, used = read_behind_end(body, found, now, used, midi)
        midi.end = max(midi.end, now)
        midi.damaged |= not ended and not (trusted and used == len(body))
        if midi.kind == 2:
            start = now
        found += 1
        at, others = next_track(data, stop if trusted else at + 8 + used, search=found < tracks)
        found += others
    midi.damaged |= found < tracks                       # (some count other chunks, too)
    return midi


def end_of_chunk(data: bytes, at: int) -> tuple[int, bool]:
    """Where the chunk at this place ends, and whether its length says so. It is believed if the
    file ends there, or another chunk begins; else the next track or the end of the file is it."""
    stop = at + 8 + int.from_bytes(data[at + 4:at + 8], 'big')
    name = data[stop:stop + 4]
    if stop == len(data) or len(name) == 4 and name.isalnum() and name.isascii():
        return stop, True
    stop = data.find(b'MTrk', at + 8)
    return stop if stop >= 0 else len(data), False


def next_track(data: bytes, at: int, search: bool) -> tuple[int, int]:
    """The place of the next track, from here on, -1 if there is none; and how many chunks of other
    kinds are before it. Those are passed over whole: there may be anything in them. Whether to
    search in what is no chunk is for the caller to say."""
    others = 0
    while data[at:at + 4] != b'MTrk':
        if data[at:at + 4] == b'MThd':                   # another file
            return -1, others
        stop, trusted = end_of_chunk(data, at)
        if not trusted:
            return (data.find(b'MTrk', at) if search else -1), others
        others += 1
        if stop == len(data):
            return -1, others
        at = stop
    return at, others


def read_number(body: bytes, at: int) -> tuple[int, int]:
    """Seven bits a byte, the last one below 128 -> (the number, the place after it).
    b'\\x81\\x00' -> 128. Raises ValueError if it has over five bytes: then it is none."""
    number = 0
    for place in range(at, at + 5):
        number = number << 7 | body[place] & 127
        if body[place] < 128:
            return number, place + 1
    raise ValueError('a number of over five bytes')


def read_track(body: bytes, track: int, now: int, midi: Midi) -> tuple[int, int, bool]:
    """Add the events of a track that begins at the tick `now` to `midi`. Returns the tick at which
    it ends, how many bytes it took, and whether its end was said. Where it can't be read any
    further, it ends: what was before is kept."""
    add = midi.table.extend
    status = 0
    at = 0
    used = 0
    try:
        while True:
            used = at
            wait = body[at]
            at += 1
            if wait > 127:
                wait, at = read_number(body, at - 1)
            byte = body[at]
            if byte >= 0xF0:                             # an event of no channel
                kind = body[at + 1]
                at = read_system(body, at, now + wait, midi)
                now += wait
                if byte == META and kind == END_OF_TRACK:
                    return now, at, True
                continue
            if byte >= 0x80:
                status = byte
                at += 1
            elif not status:
                raise ValueError('data without a status')
            kind = status & 0xF0                         # else the last status holds on
            first = body[at]
            second = body[at + 1] if DATA_BYTES[kind] == 2 else 0
            at += DATA_BYTES[kind]
            now += wait
            if first > 127:
                continue                                 # there is no such key
            if kind == NOTE_ON or kind == NOTE_OFF or kind == CONTROL and first in CONTROLS:
                add((now, track, status, first, min(second, 127)))
    except (IndexError, ValueError):
        return now, used, False


def read_behind_end(body: bytes, track: int, now: int, used: int, midi: Midi) -> tuple[int, int]:
    """Some files say the end of a track in its middle. What follows within the chunk, from the tick
    `now` on, is read, too, if it has an end of its own; else it is left, and called damaged if it
    looks like music. Returns the tick at which the track ends, and how many bytes it took."""
    body = memoryview(body)                              # to be cut without copying it
    for _ in range(MOST_ENDS):
        if used == len(body):
            break
        rest = Midi(midi.kind, midi.division)
        then, more, ended = read_track(body[used:], track, now, rest)
        midi.damaged |= len(rest.table) > 0
        if not ended:
            break
        midi.table.extend(rest.table)
        midi.tempos.extend(rest.tempos)
        midi.metres.extend(rest.metres)
        now = then
        used += more
    return now, used


def read_system(body: bytes, at: int, now: int, midi: Midi) -> int:
    """Read a tempo or a time signature, pass over all else that is of no channel. Returns the place
    after it; raises IndexError if it is cut."""
    status = body[at]
    if status == META:
        kind = body[at + 1]
        size, start = read_number(body, at + 2)
    elif status in (0xF0, 0xF7):                         # a message for one make of instruments
        kind = None
        size, start = read_number(body, at + 1)
    else:
        return at + 1 + SYSTEM_BYTES.get(status, 0)
    stop = start + size
    if stop > len(body) and kind != END_OF_TRACK:
        raise IndexError('cut')
    if kind == TEMPO and size >= 3:
        tempo = int.from_bytes(body[start:start + 3], 'big')
        if tempo:
            midi.tempos.append((now, tempo))
    elif kind == TIME_SIGNATURE and size >= 2:
        beats, power = body[start], body[start + 1]
        if beats and power <= 6:                         # 64ths are the shortest beats
            midi.metres.append((now, beats, 2 ** power))
    return stop


# ------------------------------------------------------------------------------ events -> notes

def is_strike(events: np.ndarray) -> np.ndarray:
    """(N), True where a key goes down. A strike of velocity 0 is an end."""
    return (events['status'] & 0xF0 == NOTE_ON) & (events['second'] > 0)


def is_end(events: np.ndarray) -> np.ndarray:
    """(N), True where a key comes up."""
    kinds = events['status'] & 0xF0
    return (kinds == NOTE_OFF) | (kinds == NOTE_ON) & (events['second'] == 0)


def is_control(events: np.ndarray, *numbers: int) -> np.ndarray:
    """(N), True where one of these controllers is moved."""
    return (events['status'] & 0xF0 == CONTROL) & np.isin(events['first'], numbers)


def key_of(events: np.ndarray) -> np.ndarray:
    """(N), a number for each key: there is a keyboard for each channel of each track."""
    return (events['track'] * 16 + (events['status'] & 15)) * 128 + events['first']


def next_strike(events: np.ndarray) -> np.ndarray:
    """(N), the tick at which the key of each event is struck next; NEVER if it isn't."""
    order = np.argsort(key_of(events), kind='stable')    # one key after the other, each in time
    strikes = np.where(is_strike(events)[order], np.arange(len(events)), len(events))
    following = np.minimum.accumulate(strikes[::-1])[::-1]           # the next strike of any key
    ticks = np.append(events['tick'][order], NEVER)[following]
    keys = np.append(key_of(events)[order], -1)
    found = np.empty(len(events), np.int64)
    found[order] = np.where(keys[following] == keys[:-1], ticks, NEVER)
    return found


def apply_pedal(events: np.ndarray, end: int, longest: float) -> np.ndarray:
    """Move what ends under the sustain pedal to where its sound ends: where the pedal is lifted, or
    the key struck again.

        pedal    down ____________________ up
        key      on ____ off ... on __ off .
        moved    on ............ off
                                 on ...... off

    events (N) of EVENT, in the order of time. A pedal is for its channel, on all tracks. Resetting
    the controllers lifts it; at last it holds until `end`, but no more than `longest` ticks after
    the last key. One that is never lifted means nothing: all would sound into all.
    """
    pedals = is_control(events, SUSTAIN, RESET)
    if not pedals.any():
        return events
    moved = events.copy()
    struck = next_strike(events)
    last_key = events['tick'][is_strike(events) | is_end(events)].max(initial=0)
    end = min(end, last_key + longest)
    for channel in range(16):
        mine = events['status'] & 15 == channel
        places = np.flatnonzero(pedals & mine)
        if not len(places):
            continue
        down = (events['first'][places] == SUSTAIN) & (events['second'][places] >= 64)
        lifts = places[~down]
        if not len(lifts) or lifts[-1] < places[down.argmax()]:
            continue
        ticks = np.append(events['tick'][lifts], end)
        ends = np.flatnonzero(is_end(events) & mine)
        last = np.searchsorted(places, ends) - 1         # the pedal's last move before each end
        held = ends[(last >= 0) & down[last]]
        lifted = ticks[np.searchsorted(lifts, held)]
        moved['tick'][held] = np.minimum(lifted, struck[held])
    return moved


def pair_notes(events: np.ndarray) -> tuple[np.ndarray, int]:
    """The notes (M, 4): start, end, pitch, velocity; and how many notes nothing ends.

    A key is down until as many ends as strikes have come. If fewer come, it was struck again
    without an end between, and ends there. Of two notes of a pitch, be they of one key or of two,
    the first to begin is the first to end: the tokenizer's words say no other.

        strike    strike    end      end
           |_________________|        |
                     |________________|

    "All notes off" and "all sound off" end what sounds on their channel, on all tracks.
    events (N) of EVENT, in the order of time, but for what `apply_pedal` moved.
    """
    era, era_end = eras_of(events)
    ticks = np.minimum(events['tick'], era_end)          # the pedal holds nothing beyond an era
    order, is_first = order_by_key(events, ticks, era)
    columns = (is_first, is_strike(events)[order], ticks[order], events['second'][order],
               events['first'][order], era_end[order])
    notes, unended = match_ends(columns)

    # So far any strike of a key may have any of its ends. Deal the ends out anew, pitch by pitch.
    starts, ends, pitches = notes[:, 0], notes[:, 1], notes[:, 2]
    ends = ends[np.lexsort((ends, pitches))]             # by pitch, then by time
    notes = notes[np.lexsort((starts, pitches))]
    notes[:, 1] = ends
    return notes, unended


def eras_of(events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N) how often all notes of its channel were ended before each event: its era; and (N) the
    tick at which they are ended next, NEVER if they aren't."""
    cuts = is_control(events, SOUND_OFF, NOTES_OFF)
    era = np.zeros(len(events), np.int64)
    era_end = np.full(len(events), NEVER)
    for channel in np.unique(events['status'][cuts] & 15):
        mine = events['status'] & 15 == channel
        places = np.flatnonzero(cuts & mine)
        era[mine] = np.searchsorted(places, np.flatnonzero(mine))
        era_end[mine] = np.append(events['tick'][places], NEVER)[era[mine]]
    return era, era_end


def order_by_key(events: np.ndarray, ticks: np.ndarray,
                 era: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places (M) of all strikes and ends, one key after the other, each era by era and in time;
    and (M), True where another key or era begins."""
    wanted = np.flatnonzero(is_strike(events) | is_end(events))
    keys = key_of(events)[wanted]
    era = era[wanted]
    order = np.lexsort((ticks[wanted], era, keys))       # the last one counts most
    keys = keys[order]
    era = era[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (keys[1:] != keys[:-1]) | (era[1:] != era[:-1])
    return wanted[order], is_first


def match_ends(columns: tuple[np.ndarray, ...]) -> tuple[np.ndarray, int]:
    """Give each strike an end of the same key and era. Returns the notes (M, 4): start, end, pitch,
    velocity; and how many notes nothing ends.

    columns: each (N), one key after the other: whether a key or era begins here, whether the key is
    struck, the tick, the velocity, the pitch, the tick at which the era ends.
    """
    notes = array('q')                                   # four numbers a note
    unended = 0
    # of one key that is down: when it was struck, how hard, and when it was struck again
    down, loud, again = array('q'), array('q'), array('q')
    last_pitch, last_end = 0, NEVER
    was_struck = False
    # a memoryview hands out one Python number at a time, where tolist() would make them all
    rows = zip(*[memoryview(np.ascontiguousarray(column)) for column in columns])
    for is_first, is_struck, tick, velocity, pitch, era_end in rows:
        if is_first:
            unended += end_all(down, loud, again, last_pitch, last_end, notes)
            last_pitch, last_end = pitch, era_end
        if is_struck:
            if down and was_struck and tick > down[-1]:
                again[-1] = tick
            down.append(tick)
            loud.append(velocity)
            again.append(NEVER)
            if len(down) > MOST_DOWN:
                down.pop(0)
                loud.pop(0)
                again.pop(0)
                unended += 1
        elif down:
            again.pop()
            notes.extend((down.pop(), tick, pitch, loud.pop()))
        was_struck = is_struck
    unended += end_all(down, loud, again, last_pitch, last_end, notes)
    return np.frombuffer(notes, np.int64).reshape(-1, 4), unended


def end_all(down: array, loud: array, again: array, pitch: int, end: int, notes: array) -> int:
    """End what is still down of a key: at `end`, or, if that is NEVER, where it was struck again.
    Returns how many notes nothing ends."""
    left = 0
    while down:
        start, velocity, struck = down.pop(), loud.pop(), again.pop()
        stop = struck if end == NEVER else end
        if stop == NEVER:
            left += 1
        else:
            notes.extend((start, stop, pitch, velocity))
    return left
