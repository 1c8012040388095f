"""MIDI files <-> notes. The files are written byte by byte; each test forbids one mistake."""
import random
import time
import tracemalloc
from itertools import islice

import mido
import numpy as np
import pytest

from conftest import ROOT
from lib import score as score_module
from lib.score import bars_of, first_metre, has_pickup, opening, read_midi, write_midi
from tokenizer_midi import MidiTokenizer

GOLDBERG = sorted((ROOT / 'data' / 'goldberg').glob('*.mid'))
PICKUP, THREE, FOUR = '0 ff580401021808 ', '0 ff580403021808 ', '0 ff580404021808 '
BEAT = '0 on 24 off '
WORDS = {'on': '903c50', 'off': '803c00', 'down': 'b0407f', 'up': 'b04000', 'end': 'ff2f00'}


def track(text):
    """'0 on 24 803c00' -> bytes: a note after 0 ticks, its end in hexadecimal 24 ticks later."""
    words = iter(text.split() + ['0', 'end'] * (not text.endswith('end')))
    return b''.join(bytes([int(ticks) >> 7 * i & 127 | 128 * (i > 0) for i in range(4, -1, -1)])
                    + bytes.fromhex(WORDS.get(word, word)) for ticks, word in zip(words, words))


def midi(*tracks, division=24, kind=1):
    """A whole file. At 24 ticks to the quarter, a tick is a step."""
    tracks = [track(t) if isinstance(t, str) else t for t in tracks]
    header = b'\0\0\0\6' + b''.join(n.to_bytes(2, 'big') for n in (kind, len(tracks), division))
    return b'MThd' + header + b''.join(map(chunk, tracks))


def chunk(track):
    return b'MTrk' + len(track).to_bytes(4, 'big') + track


def read(path, *tracks, **how):
    path.write_bytes(tracks[0] if isinstance(tracks[0], bytes) else midi(*tracks, **how))
    return read_midi(str(path))


def short(score):
    return [tuple(note[:3]) for note in score.notes]


# --------------------------------------------------------------------------------- MIDI -> notes

STROKES = {
    'velocity 0 is an off': (['0 on 9 903c00'], [(0, 60, 9)]),
    'running status': (['0 on 5 3c00 5 4050 5 4000'], [(0, 60, 5), (10, 64, 5)]),
    'running status outlives a meta event': (['0 on 2 ff0100 3 3c00'], [(0, 60, 5)]),
    'unended note': (['0 on 5 4050 5 4000 7 end'], [(5, 64, 5)]),
    'unended note, then ended ones': (['0 on 9 on 6 off 2 on 5 off'],
                                      [(0, 60, 9), (9, 60, 6), (17, 60, 5)]),
    'unended note, struck twice more': (['0 on 9 on 6 off 9 on 5 on 6 off 1 off'],
                                        [(0, 60, 9), (9, 60, 6), (24, 60, 11), (29, 60, 7)]),
    'struck twice at once, ended once': (['0 on 0 on 9 off 9 on 9 off'],
                                         [(0, 60, 9), (18, 60, 9)]),
    'zero-length note': (['0 on 0 off 9 end'], [(0, 60, 1)]),
    'off without on': (['3 off 1 on 5 off 1 off'], [(4, 60, 5)]),
    'on before off at one tick': (['0 on 9 on 0 off 9 off'], [(0, 60, 9), (9, 60, 9)]),
    'off before on at one tick': (['0 on 9 off 0 on 9 off'], [(0, 60, 9), (9, 60, 9)]),
    'struck again while down': (['0 on 24 on 24 off 24 off'], [(0, 60, 48), (24, 60, 48)]),
    'two struck at once': (['0 on 0 on 24 off 72 off'], [(0, 60, 24), (0, 60, 96)]),
    'two strikes, each as loud as it is': (
        ['0 903c28 9 903c64 9 off 9 off'], [(0, 60, 18, 40), (9, 60, 18, 100)]),
    'three at once, two ends': (['0 on 0 on 0 on 9 off 9 off'], [(0, 60, 9), (0, 60, 18)]),
    'all notes off': (['0 on 0 4050 9 b07b00 5 off 5 on 9 off'],
                      [(0, 60, 9), (0, 64, 9), (19, 60, 9)]),
    'all sound off': (['0 on 9 b07800 9 end'], [(0, 60, 9)]),
    'all notes off on another channel': (['0 on 5 b17b00 5 off'], [(0, 60, 10)]),
    'all notes off in another track': (['0 on', '9 b07b00'], [(0, 60, 9)]),
    'all notes off under the pedal': (['0 down 0 on 5 off 4 b07b00 9 up'], [(0, 60, 9)]),
    'reset lifts the pedal': (['0 down 0 on 5 off 5 b07900 9 up'], [(0, 60, 10)]),
    'unison of two tracks': (['0 on 20 off', '9 on 20 off'], [(0, 60, 20), (9, 60, 20)]),
    'unison within a longer one': (['0 on 30 off', '9 on 9 off'], [(0, 60, 18), (9, 60, 21)]),
    'channels end one another': (['0 on 9 813c00 9 off'], [(0, 60, 18)]),
    'tracks end one another': (['0 on 20 off', '9 off'], [(0, 60, 20)]),
    'pedal before off': (['0 down 0 on 5 off 9 up'], [(0, 60, 14)]),
    'pedal between on and off': (['0 on 2 down 5 off 9 up'], [(0, 60, 16)]),
    'pedal after off': (['0 on 5 off 0 down 9 up 9 end'], [(0, 60, 5)]),
    'pedal at the tick of off': (['0 on 5 down 0 off 9 up'], [(0, 60, 14)]),
    'pedal up, then off, at one tick': (['0 down 0 on 5 up 0 off 9 end'], [(0, 60, 5)]),
    'off, then pedal up, at one tick': (['0 down 0 on 5 off 0 up 9 end'], [(0, 60, 5)]),
    'pedal up while the key is down': (['0 down 0 on 5 up 5 off'], [(0, 60, 10)]),
    'struck again under the pedal': (
        ['0 down 0 on 5 off 5 on 5 off 5 up'], [(0, 60, 10), (10, 60, 10)]),
    'zero-length under the pedal': (
        ['0 down 0 on 5 off 5 on 0 off 5 up 99 end'], [(0, 60, 10), (10, 60, 5)]),
    'pedal never lifted means nothing': (['0 up 0 down 0 on 5 off 9 end'], [(0, 60, 5)]),
    'pedal never lifted again': (['0 down 0 up 0 on 5 off 0 down 0 on 5 off 9 end'],
                                 [(0, 60, 5), (5, 60, 14)]),
    'pedal never lifted again, and the end far away': (
        ['0 down 0 up 0 on 5 off 0 down 0 on 5 off 9999 end'], [(0, 60, 5), (5, 60, 197)]),
    'pedal never lifted again, down after off': (['0 down 0 up 0 on 5 off 4 down 9 end'],
                                                 [(0, 60, 5)]),
    'pedal down twice': (['0 down 0 on 5 off 5 down 5 up 9 end'], [(0, 60, 15)]),
    'pedal of another channel': (['0 b1407f 0 on 5 off 5 b14000'], [(0, 60, 5)]),
    'pedal in another track': (['0 on 5 off', '0 down 9 up'], [(0, 60, 9)]),
    'pedal at 63 is up, at 64 down': (
        ['0 b0403f 0 on 5 off 5 b04040 0 on 5 off 5 up'], [(0, 60, 5), (10, 60, 10)]),
    'another controller': (['0 b0437f 0 on 5 off 5 end'], [(0, 60, 5)]),
    'format 0': (['0 on 9 off'], [(0, 60, 9)], {'kind': 0}),
    'format 2, one by one': (
        ['0 on 9 off 3 end', '0 on 9 off'], [(0, 60, 9), (12, 60, 9)], {'kind': 2})}


@pytest.mark.parametrize('name', STROKES)
def test_strokes(path, name):
    """Forbids a note that starts or ends at the wrong time, or is as loud as another one: each case
    says which."""
    tracks, notes, *how = STROKES[name]
    found = read(path, *tracks, **dict(*how)).notes
    assert [note[:len(due)] for note, due in zip(found, notes, strict=True)] == notes


def test_tempos_and_metres(path):
    """Forbids a tempo map that stops at the first tempo or track, read or written, and metres over
    quarters only."""
    score = read(path, '0 ff580403031808 24 ff58040c041808', '0 on 48 off',
                 '0 ff510307a120 24 ff51030f4240 24 ff5103000000')       # a tempo of 0 says nothing
    assert score.metres == [(0, 3, 8), (24, 12, 16)] and score.tempos == [(0, 120), (24, 60)]
    back = MidiTokenizer().decode(MidiTokenizer().encode(score))
    assert back.metres == score.metres and back.notes == score.notes
    assert [bpm for _, bpm in back.tempos] == pytest.approx([120, 60], 0.015)
    write_midi(score, path)
    assert read_midi(path) == score


SAME, OTHER = {score_module.SAME_BARS: 1}, {score_module.OTHER_BARS: 1}
METRES = {(24, 16): ((12, 8), SAME), (4, 1): ((16, 4), SAME), (4, 32): ((2, 16), SAME),
          (27, 32): ((14, 16), OTHER), (41, 8): ((11, 2), OTHER), (17, 4): ((9, 2), OTHER),
          (255, 1): ((16, 2), OTHER), (12, 16): ((12, 16), {})}


@pytest.mark.parametrize('metre', METRES)
def test_a_metre_outside_of_the_vocabulary(path, metre):
    """Forbids a time signature that vanishes without a word, so that the one before goes on."""
    beats, unit = metre
    due, changes = METRES[metre]
    score = read(path, f'0 ff580403021808 72 ff5804{beats:02x}{unit.bit_length() - 1:02x}1808 '
                       '0 on 9 off')
    assert score.metres == [(0, 3, 4), (72, *due)] and score.changes == changes
    back = MidiTokenizer().decode(MidiTokenizer().encode(score))
    assert (back.metres, back.notes) == (score.metres, score.notes)
    score.metres = [(0, *metre)]                # a Score that was not read: encode does the same
    assert MidiTokenizer().decode(MidiTokenizer().encode(score)).metres == [(0, *due)]


def seconds(score):
    """How long all notes of a Score sound, together."""
    steps, tempos = np.array([(0, 120), *score.tempos]).T
    a_step = 60 / 24 / tempos
    clock = np.append(0, np.cumsum(np.diff(steps) * a_step[:-1]))    # at each change of tempo
    notes = np.array(score.notes)

    def moment(step):
        last = np.searchsorted(steps, step, 'right') - 1
        return clock[last] + (step - steps[last]) * a_step[last]
    return (moment(notes[:, 0] + notes[:, 2]) - moment(notes[:, 0])).sum()


@pytest.mark.parametrize('tempo', [4, 9.9, 15, 20, 120, 320, 321, 326, 400, 1000])
def test_tempos_out_of_reach(path, tempo):
    """Forbids a tempo that is brought to the nearest word, so that the piece lasts longer; and bars
    that are not those of the music."""
    quarter = round(60e6 / tempo)
    score = read(path, f'0 ff5103{quarter:06x} 480 on 960 off', division=480)
    assert seconds(score) == pytest.approx(2 * quarter / 1e6, 1e-3)
    first, second = islice(bars_of(score.metres), 2)
    assert score.notes[0].start == score.notes[0].duration / 2 == second.start / 4
    back = MidiTokenizer().decode(MidiTokenizer().encode(score))
    assert back.notes == score.notes and seconds(back) == pytest.approx(seconds(score), 0.016)
    assert score.changes[score_module.FOLDED] == (not 19.8 < tempo < 324)


def test_a_fast_score_and_a_slow_one_are_the_same_music(path):
    """Forbids two readings of one music: quarters at 400 a minute, and eighths at 200."""
    fast = read(path, '0 ff51030249f0 0 ff580404021808 0 on 24 off 24 on 24 off')
    slow = read(path, '0 ff51030493e0 0 ff580404031808 0 on 12 off 12 on 12 off')
    assert MidiTokenizer().encode(fast) == MidiTokenizer().encode(slow)


def test_a_tempo_out_of_reach_in_the_middle(path):
    """Forbids time that is lost, or a start that is moved, where a tempo leaps: a beat at 10 a
    minute, held for a fermata, between two at 100."""
    score = read(path, '0 ff51030927c0 0 ff580403021808 0 on 480 off '
                       '0 ff51035b8d80 0 on 24 off 0 ff51030927c0 0 on 24 off '
                       '0 ff580402021808 0 on 480 off')
    assert short(score) == [(0, 60, 480), (480, 60, 48), (528, 60, 24), (552, 60, 480)]
    assert [round(tempo) for _, tempo in score.tempos] == [100, 20, 100]
    assert seconds(score) == pytest.approx(12 + 6 + 0.6 + 12)
    assert score.metres == [(0, 3, 4), (480, 1, 2), (528, 3, 4), (552, 2, 4)]


@pytest.mark.parametrize('beat', range(4))
def test_bar_lines_after_a_fermata(path, beat):
    """Forbids bar lines that are shifted from there on, since a beat within a bar is so slow that
    it is said by other note values: 4/4 at 60 a minute, a beat of bar 10 at 15, 20 bars in all."""
    slow, before = '0 ff51033d0900 ' + BEAT, 36 + beat
    usual = '0 ff51030f4240 '
    score = read(path, FOUR + usual + BEAT * before + slow + usual + BEAT * (79 - before))
    bars = [round(bar.start) for bar in islice(bars_of(score.metres), 30)]
    first_of_bar_11 = 40 * 24 + 24                   # the slow beat lasts 24 steps longer
    assert set(range(0, 36 * 24 + 1, 96)) <= set(bars)
    assert set(range(first_of_bar_11, first_of_bar_11 + 9 * 96, 96)) <= set(bars)
    assert len([start for start in bars if start < first_of_bar_11 + 960]) <= 22
    assert score.notes[before].duration == 48


@pytest.mark.parametrize('tempos, metre', [((318, 326), (3, 8)), ((19, 25, 18), (3, 2)),
                                           ((240, 600, 200), (3, 8)), ((60, 320, 20), (3, 4))])
def test_a_tempo_to_and_fro(path, tempos, metre):
    """Forbids note values and bars that change with every bar, since the tempo goes to and fro over
    what words can say."""
    bars = [f'0 ff5103{round(60e6 / tempos[i % len(tempos)]):06x}' + ' 0 on 24 off' * 3
            for i in range(32)]
    score = read(path, '0 ff580403021808 ' + ' '.join(bars))
    quarter = 96 // metre[1]
    assert short(score) == [(quarter * i, 60, quarter) for i in range(96)]
    assert score.metres == [(0, *metre)]
    assert seconds(score) == pytest.approx(sum(180 / tempos[i % len(tempos)] for i in range(32)))


def test_what_comes_after_the_last_note(path):
    """Forbids a tail of tempos that is learned as music; it begins where the last note ends."""
    tail = ' 1 ff51030927c0' * 50
    score = read(path, '0 ff510307a120 0 on 12 ff51030927c0 12 off 0 ff580403021808' + tail)
    assert [step for step, _ in score.tempos] == [0, 12] and not score.metres
    assert score.changes == {score_module.LATE: 51}
    assert len(MidiTokenizer().encode(score)) == 10


@pytest.mark.parametrize('division, ticks', [
    (24, 24), (97, 97), (1, 1), (32767, 32767), (256 - 25 << 8 | 40, 500), (256 - 24 << 8 | 4, 48),
    (256 - 29 << 8 | 100, 1498.5)])             # 29 stands for 29.97 frames a second
def test_divisions(path, division, ticks):
    """Forbids a quarter of another length: ticks a quarter, or frames a second * ticks a frame."""
    begin = round(10 * ticks)
    score = read(path, f'0 ff51030f4240 {begin} on {round(12 * ticks) - begin} off',
                 division=division)
    assert short(score) == [(240, 60, 48)] and not score.moved
    assert score.tempos == ([(0, 60)] if division < 1 << 15 else [])


def test_off_the_grid_is_counted(path):
    """Forbids notes moved in silence, or not to the nearest step: of 97 ticks, the first goes to
    step 0, the last to step 24. An end is not counted."""
    score = read(path, '1 on 98 off 97 on 97 off 94 on 97 off', division=97)
    assert short(score) == [(0, 60, 24), (48, 60, 24), (96, 60, 24)]
    assert score.moved == pytest.approx([24 / 97, 2 * 24 / 97, 24 / 97], 0.01)


def test_drums_are_left_out_and_counted(path):
    """Forbids a bass drum that becomes a C in the bass."""
    drums = ' '.join(['0 992450 9 892400'] * 3)
    score = read(path, drums + ' 0 99247f 0 992400 0 on 9 off')
    assert (short(score), score.drums) == ([(27, 60, 9)], 4)


# ------------------------------------------------------------------- files that are a little wrong

SONG = '0 on 24 off 0 904050 24 804000'
NOTES = [(0, 60, 24), (24, 64, 24)]
DAMAGE = {score_module.DAMAGED: 1}
ALIEN = b'XFIH\0\0\0\x0cMTrk\0\0\0\x04\0\x90\x01\x50'        # what looks like a track is in it
ODD = {
    'key signatures of no key': (midi('0 ff5902ee01 0 ff590103 ' + SONG), {}),
    'a port, an unknown event': (midi('0 ff210100 0 ff7f03010203 0 ff63026161 ' + SONG), {}),
    'running status after sysex': (midi('0 on 24 3c00 0 f0057e7f0901f7 0 4050 24 4000'), {}),
    'running status after a song position': (midi('0 on 24 3c00 0 f20102 0 4050 24 4000'), {}),
    'alien chunk before the tracks': (
        midi(SONG)[:14] + ALIEN + midi(SONG)[14:], {}),
    'alien chunk between the tracks': (
        midi('0 end')[:11] + b'\2' + midi('0 end')[12:] + ALIEN + chunk(track(SONG)), {}),
    'RIFF': (b'RIFF\0\0\0\x50RMIDdata\x48\0\0\0' + midi(SONG) + b'\0', {}),
    'MacBinary': (bytes(128) + midi(SONG) + bytes(60), {}),
    'long header': (midi()[:7] + b'\x08' + midi(SONG)[8:14] + b'\0\0' + midi(SONG)[14:], {}),
    'length too long': (midi()[:14] + b'MTrk\0\0\0\x63' + track(SONG), {}),
    'length too short, of the first of two': (
        midi('0 end', SONG)[:18] + b'\0\0\0\3' + midi('0 end', SONG)[22:], {}),
    'more tracks than it says': (midi(SONG, '0 end')[:11] + b'\1' + midi(SONG, '0 end')[12:], {}),
    'an older, longer file left behind': (midi(SONG) + b'\x90\x32' + midi(SONG, SONG)[14:], {}),
    'an end of track in the middle': (
        midi('0 on 24 off 0 end 0 904050 24 804000 0 end'), DAMAGE),
    'ends of track, and nothing behind them': (midi(SONG + ' 0 end 0 end 9 end'), {}),
    'what has no end behind the end of track': (
        midi(track(SONG) + track('9 on 9 off')[:-6]), DAMAGE),
    'ends of track, and more behind them': (
        midi('0 on 24 off 0 end 0 ff510307a120 0 end 0 end 0 904050 24 804000 0 end'), DAMAGE),
    'another file behind it': (midi(SONG) + midi(SONG, SONG), {}),
    'other chunks counted as tracks': (midi(SONG)[:11] + b'\3' + ALIEN.join(
        [midi(SONG)[12:14], midi(SONG)[14:], b'']), {}),
    'fewer tracks than it says': (midi(SONG)[:11] + b'\5' + midi(SONG)[12:], DAMAGE),
    'format 7': (midi(SONG, kind=7), {}),
    'cut by a byte': (midi(SONG)[:-1], DAMAGE),
    'cut after the last note': (midi(SONG)[:-8], DAMAGE),
    'cut while a key is down': (midi(SONG + ' 0 on 99 off')[:-11],
                                {**DAMAGE, score_module.UNENDED: 1}),
    'no end of track': (midi(track(SONG)[:-8]), {}),
    'an unknown status': (midi('0 on 24 off 0 904050 24 804000 0 3c')[:-8], DAMAGE),
    'a number of six bytes': (
        midi(track(SONG)[:-8] + b'\x80\x80\x80\x80\x80\0' + track('0 on 9 off')[5:]), DAMAGE),
    'velocity over 127': (midi('0 903cff 24 off 0 904050 24 804000'), {}),
    'a key over 127': (midi('0 90ff50 0 on 24 off 0 904050 24 804000'), {})}


@pytest.mark.parametrize('name', ODD)
def test_what_can_be_read_is_read(path, name):
    """Forbids a file that is refused, or read as other notes, for what is not its music; and one
    that is cut or damaged without a word."""
    data, changes = ODD[name]
    score = read(path, data)
    assert short(score) == NOTES and score.changes == changes
    assert all(note.velocity <= 127 for note in score.notes)


def test_meta_events_of_odd_lengths_are_heard(path):
    """Forbids a tempo or a time signature that is lost, since its event is longer or shorter than
    the standard has it, and one that is made of half a number."""
    score = read(path, '0 ff51050927c00000 0 ff510207a1 0 ff58020302 0 on '
                       '24 ff5806060318080000 24 off')
    assert score.tempos == [(0, 100)] and score.metres == [(0, 3, 4), (24, 6, 8)]
    assert short(score) == [(0, 60, 48)]


@pytest.mark.parametrize('data, due', [
    (b'', 'not a MIDI file (it is empty)'), (b'<html>', 'not a MIDI file (it has no header)'),
    (b'MThd', 'not a MIDI file (it has no header)'),
    (b'\x1f\x8b\x08\0', 'not a MIDI file (it is packed: unpack it first)'), (midi(), 'no notes'),
    (midi(SONG, division=0), 'it does not say how long a quarter is'),
    (midi('0 on'), 'no note that ends'), (midi('0 992450 9 892400'), 'no notes but drums')])
def test_what_cannot_be_read_is_refused_in_plain_words(path, data, due):
    """Forbids the words of a library or of Python for a file that is none."""
    with pytest.raises(ValueError) as error:
        read(path, data)
    assert str(error.value) == f'{path}: {due}'


def listen(path):
    """An independent reader: all seconds that the notes of a file sound, by mido, the pedal left
    out. What nothing ends lasts until its key is struck again, or does not count."""
    total = now = 0
    down, was_struck = {}, {}
    for message in mido.MidiFile(path):              # of all tracks, with the seconds between them
        now += message.time
        if message.type in ('note_on', 'note_off'):
            strikes = down.setdefault((message.channel, message.note), [])
            is_struck = message.type == 'note_on' and message.velocity > 0
            if is_struck:
                if strikes and was_struck[message.channel, message.note]:
                    strikes[-1].append(now)
                strikes.append([now])
            elif strikes:
                total += now - strikes.pop()[0]
            was_struck[message.channel, message.note] = is_struck
    for start, *again in sum(down.values(), []):
        total += again[0] - start if again else 0
    return total


def test_time_stays_true(path):
    """Forbids seconds or notes that are lost or won: all that sounds, against an independent
    reader, for the Goldberg and for random files with leaps of tempo, unisons, odd divisions."""
    count = 0
    for number, file in enumerate(GOLDBERG):
        score = read_midi(str(file))
        count += len(score.notes)
        if number % 4 == 0:
            assert seconds(score) == pytest.approx(listen(file), 0.005), file.name
    assert count == 17_033
    for seed in range(12):
        rng = random.Random(seed)
        rows = ['', '', '']
        for channel in range(3):
            for _ in range(100):
                tempo = f'ff5103{rng.randrange(50_000, 8_000_000):06x}'
                on, off = (f'{rng.randrange(60, 64):02x}50' for _ in range(2))
                rows[channel] += (f'{rng.randrange(200)} {tempo} '
                                  f'{rng.randrange(200)} 9{channel}{on} '
                                  f'{rng.randrange(50, 900)} 8{channel}{off} ')
        score = read(path, *rows, division=rng.choice([96, 120, 480, 1000]))
        assert seconds(score) == pytest.approx(listen(path), 0.005), seed


BEGINNINGS = {                                   # tracks, whether there is a pickup, the metre
    'a pickup': (PICKUP + BEAT + FOUR + BEAT * 8, True, (4, 4)),
    'a pickup, said twice, after something else': (
        FOUR + PICKUP + PICKUP + BEAT + FOUR * 2 + BEAT * 8, True, (4, 4)),
    'two bars of one beat': (PICKUP + BEAT * 2 + FOUR + BEAT * 8, False, (1, 4)),
    'a longer first bar': (FOUR + BEAT * 4 + THREE + BEAT * 8, False, (4, 4)),
    'one time signature': (THREE + BEAT * 8, False, (3, 4)),
    'none': (BEAT * 8, False, (4, 4)),
    'a later one': (BEAT * 4 + THREE + BEAT * 8, False, (4, 4)),
    'a pickup that has none': (BEAT + FOUR + BEAT * 8, False, (4, 4))}


@pytest.mark.parametrize('name', BEGINNINGS)
def test_how_a_piece_begins(path, name):
    """Forbids a pickup that is taken for a bar, a bar for a pickup, a time signature that comes
    later, and a prompt that is short of a bar for its pickup."""
    text, pickup, metre = BEGINNINGS[name]
    score = read(path, text)
    assert has_pickup(score) == pickup and first_metre(score) == metre
    _, until = opening(score, 1)
    bars = [round(bar.start) for bar in islice(bars_of(score.metres), 3)]
    assert until == bars[1 + pickup]


# -------------------------------------------------------------------------- broken and hostile

STRIKES = b'\0\x90' + b''.join(bytes([0, i % 128, 80]) for i in range(15_000))[1:]
CHORD = STRIKES + b''.join(bytes([0, i % 128, 0]) for i in range(15_000))
KEYS = b''.join(bytes([0, 0x90 | c, p, 80]) for c in range(9) for p in range(128))
PEDALS = b'\0\xb0\x40\x7f' + b'\0\x40\0\0\x40\x7f' * 20_000
ALL_OFF = b'\1\xb0\x7b\0'
TEMPO, LEAP = b'\1\xff\x51\3\7\xa1\x20', b'\1\xff\x51\3\0\0\1'
NOTE = track('0 on 1 off')
HOSTILE = {
    'five million bytes': (midi(bytes(5_000_000)), 'over 4,194,304 bytes'),
    '15,000 notes in one chord': (midi(CHORD), 128 * 100),
    '15,000 strikes of a key': (midi(b'\0\x90\x3c\x50' + b'\1\x3c\x50' * 15_000 + ALL_OFF), 100),
    '40,000 tracks in unison': (midi()[:14] + chunk(b'\0\x90\x3c\x50\1\x3c\0') * 40_000, 40_000),
    'chunks without end': (midi()[:14] + b'ABCD\0\0\0\0' * 60_000 + midi(SONG)[14:], 2),
    'pedals over keys': (midi(*[KEYS + KEYS.replace(b'P', b'\0')] * 20, PEDALS), 22_860),
    'all notes off, over and over': (midi(KEYS + b'\0\xb0\x7b\0' * 90_000), 128),
    'tempos': (midi(TEMPO * 10_000 + NOTE), 1),
    'leaps of tempo': (midi((TEMPO + LEAP) * 5_000 + NOTE), 'over 1,000 leaps'),
    '10 ** 9 ticks': (midi('0 on 1000000000 off'), 'over 20,000 quarters'),
    '20,000 quarters': (midi('0 on 480000 off'), 1),
    '20,001 quarters': (midi('0 on 480024 off'), 'over 20,000 quarters')}


@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_files_cost_little(path, name):
    """Forbids a file that takes over two seconds a megabyte or, where notes or tempos pile up, 50
    times its size; or that is read as something else."""
    data, due = HOSTILE[name]
    path.write_bytes(data)
    traced = name.startswith('15,000') or 'tempo' in name
    if traced:
        tracemalloc.start()
    start = time.process_time()
    try:
        came = len(read_midi(str(path)).notes)
    except ValueError as error:
        came = str(error)
    took = time.process_time() - start
    if traced:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 50 * len(data)
    assert came == due or str(due) in str(came) and len(came.splitlines()) == 1
    assert took < 2 * max(1, len(data) / 1e6)


def test_mutated_files(path):
    """Forbids anything but a Score or one line for a file with bytes changed, cut or doubled."""
    rich = ('0 ff580403031808 0 ff51030f4240 0 on 9 3c00 0 down 0 4050 9 4000 9 up 5 992450',
            '3 c006 0 903750 20 803700 0 f0030102f7 4 ff03024142')
    wholes = [midi(*rich, kind=kind, division=division) for kind, division in
              ((0, 96), (1, 480), (2, 24), (1, 256 - 25 << 8 | 40))]
    wholes.append(GOLDBERG[4].read_bytes()[:3000])
    rng = random.Random(0)
    tokenizer = MidiTokenizer()
    refused = 0
    for _ in range(500):
        row = bytearray(rng.choice(wholes))
        for _ in range(rng.choice([1, 1, 2, 4, 16])):
            at = rng.randrange(len(row) + 1)
            piece = row[at:at + rng.choice([1, 1, 2, 8, 100])]
            # those of the same length leave the lengths of the tracks true
            changed = [piece[::-1], rng.randbytes(len(piece)), b'', piece * 9]
            row[at:at + len(piece)] = rng.choice(changed)
        path.write_bytes(row)
        try:
            score = read_midi(str(path))
        except ValueError as error:
            assert len(str(error).splitlines()) == 1 and len(str(error)) < 500, error
            refused += 1
            continue
        assert score.notes == sorted(score.notes)
        assert all(note.duration > 0 for note in score.notes)
        assert short(tokenizer.decode(tokenizer.encode(score))) == short(score) != []
    assert 0 < refused < 150
