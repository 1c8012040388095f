"""Music <-> ids. The MIDI files are written byte by byte; each test forbids one mistake."""
import random
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import mido
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from tokenizer_midi import MidiTokenizer, Note, Score, read_midi, write_midi

GOLDBERG = sorted((ROOT / 'data' / 'goldberg').glob('*.mid'))
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


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'x.mid'


def short(score):
    return [tuple(note[:3]) for note in score.notes]


# ------------------------------------------------------------------------ there and back again

def test_goldberg_comes_back_note_for_note(path):
    """Forbids any loss on the way notes -> ids -> notes, or notes -> file -> notes."""
    tokenizer, notes, moved = MidiTokenizer(), 0, 0
    for file in GOLDBERG:
        ids = tokenizer.encode(score := read_midi(str(file)))
        back = tokenizer.decode(ids)
        assert (back.notes, back.metres) == (score.notes, score.metres), file.name
        assert tokenizer.count_units(ids) == len(score.notes)
        assert [bpm for _, bpm in back.tempos] == pytest.approx([b for _, b in score.tempos], 0.015)
        write_midi(score, str(path))
        again = read_midi(str(path))
        assert (again.notes, again.metres) == (score.notes, score.metres) and not again.moved
        notes, moved = notes + len(score.notes), moved + len(score.moved)
    assert (len(GOLDBERG), notes, moved) == (32, 17_033, 8)


@pytest.mark.parametrize('seed', range(40))
def test_any_ids_are_music(path, seed):
    """Forbids a sampled row of ids that fails, leaves a key down, or reads back as other notes; and
    that of two tempos at one step the higher holds, not the later."""
    rng, tokenizer = random.Random(seed), MidiTokenizer(velocity=bool(seed % 2))
    words = [i for (_, value), i in tokenizer.ids.items() if value in (3, 60, 61) or seed % 3 == 0]
    loud = [tokenizer.ids['velocity', 84]] if seed % 2 else []
    score = tokenizer.decode(loud + rng.choices(words, k=400))
    assert tokenizer.decode(tokenizer.encode(score)) == score       # tempos and metres as well
    write_midi(score, str(path))
    for row in mido.MidiFile(path).tracks:
        down = Counter()
        for message in row:
            if message.type == 'note_on':               # the writer ends notes with velocity 0
                down[message.note] += 1 if message.velocity else -1
                assert down[message.note] in (0, 1) and message.channel != 9
        assert not down.total()
    assert read_midi(str(path)).notes == score.notes != []


def test_velocity_words_only_when_asked_for(path):
    """Forbids loudness in the small vocabulary, or other ids than the small one's plus loudness."""
    notes = [Note(i, 60, 1, velocity) for i, velocity in enumerate((1, 7, 8, 80, 127))]
    plain, loud = MidiTokenizer(), MidiTokenizer(velocity=True)
    assert loud.vocab_size == plain.vocab_size + 16 == len(plain.words) + 16
    ids = loud.encode(Score(notes))
    assert [i for i in ids if i < plain.vocab_size] == plain.encode(Score(notes))
    assert [note.velocity for note in loud.decode(ids).notes] == [4, 4, 12, 84, 124]
    assert {note.velocity for note in plain.decode(plain.encode(Score(notes))).notes} == {80}
    write_midi(Score(notes), str(path))
    assert read_midi(str(path)).notes == notes


# --------------------------------------------------------------------------------- MIDI -> notes

STROKES = {
    'one note': (['0 on 9 off'], [(0, 60, 9)]),
    'velocity 0 is an off': (['0 on 9 903c00'], [(0, 60, 9)]),
    'running status': (['0 on 5 3c00 5 4050 5 4000'], [(0, 60, 5), (10, 64, 5)]),
    'running status outlives a meta event': (['0 on 2 ff0100 3 3c00'], [(0, 60, 5)]),
    'unended note ends with the piece': (['0 on 5 4050 5 4000 7 end'], [(0, 60, 17), (5, 64, 5)]),
    'zero-length note': (['0 on 0 off 9 end'], [(0, 60, 1)]),
    'off without on': (['3 off 1 on 5 off 1 off'], [(4, 60, 5)]),
    'on before off at one tick': (['0 on 9 on 0 off 9 off'], [(0, 60, 9), (9, 60, 9)]),
    'off before on at one tick': (['0 on 9 off 0 on 9 off'], [(0, 60, 9), (9, 60, 9)]),
    'struck again': (['0 on 9 on 6 off 2 off'], [(0, 60, 9), (9, 60, 6)]),
    'unison of two tracks': (['0 on 20 off', '9 on 20 off'], [(0, 60, 20), (9, 60, 20)]),
    'unison within a longer one': (['0 on 30 off', '9 on 9 off'], [(0, 60, 18), (9, 60, 21)]),
    'unison of two channels': (['0 on 5 913c50 5 off 5 813c00'], [(0, 60, 10), (5, 60, 10)]),
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
    'pedal never released': (['0 down 0 on 5 off 9 end'], [(0, 60, 14)]),
    'pedal down twice': (['0 down 0 on 5 off 5 down 5 up 9 end'], [(0, 60, 15)]),
    'pedal of another channel': (['0 b1407f 0 on 5 off 5 b14000'], [(0, 60, 5)]),
    'pedal in another track': (['0 on 5 off', '0 down 9 up'], [(0, 60, 9)]),
    'pedal at 63 is up, at 64 down': (
        ['0 b0403f 0 on 5 off 0 b04040 0 on 5 off 5 up'], [(0, 60, 5), (5, 60, 10)]),
    'another controller': (['0 b0437f 0 on 5 off 5 end'], [(0, 60, 5)]),
    'format 0': (['0 on 9 off'], [(0, 60, 9)], {'kind': 0}),
    'format 1, tracks at once': (['0 on 9 off', '0 904050 9 4000'], [(0, 60, 9), (0, 64, 9)]),
    'format 2, one by one': (
        ['0 on 9 off 3 end', '0 on 9 off'], [(0, 60, 9), (12, 60, 9)], {'kind': 2})}


@pytest.mark.parametrize('name', STROKES)
def test_strokes(path, name):
    """Forbids a note that starts or ends at the wrong time: each case says which."""
    tracks, notes, *how = STROKES[name]
    assert short(read(path, *tracks, **dict(*how))) == notes


def test_tempos_and_metres(path):
    """Forbids a tempo map that stops at the first tempo or track, and metres over quarters only."""
    score = read(path, '0 ff580403031808 24 ff58040c041808', '0 on 48 off',
                 '0 ff510307a120 24 ff51030f4240 24 ff5103000000')       # a tempo of 0 says nothing
    assert score.metres == [(0, 3, 8), (24, 12, 16)] and score.tempos == [(0, 120), (24, 60)]
    back = MidiTokenizer().decode(MidiTokenizer().encode(score))
    assert back.metres == score.metres and back.notes == score.notes
    assert [bpm for _, bpm in back.tempos] == pytest.approx([120, 60], 0.015)


@pytest.mark.parametrize('beats, unit', [(17, 2), (3, 5), (4, 0)])
def test_a_metre_outside_of_the_vocabulary(path, beats, unit):
    """Forbids a failure, or another metre's word, for 17/4, 3/32 and 4/1."""
    score = read(path, f'0 ff5804{beats:02x}{unit:02x}1808 9 on 9 off')
    ids = MidiTokenizer().encode(score)
    assert score.metres == [(0, beats, 2 ** unit)]
    assert MidiTokenizer().decode(ids) == Score([Note(9, 60, 9)])


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
    """Forbids notes moved in silence: tick 1 of 97 goes to step 0, the end at 99 to step 24."""
    score = read(path, '1 on 98 off 97 on 97 off', division=97)
    assert short(score) == [(0, 60, 24), (48, 60, 24)]
    assert score.moved == pytest.approx([2 * 24 / 97, 2 * 24 / 97], 0.01)


def test_drums_are_left_out_and_counted(path):
    """Forbids a bass drum that becomes a C in the bass, and a file of drums that becomes music."""
    drums = ' '.join(['0 992450 9 892400'] * 3)
    score = read(path, drums + ' 0 99247f 0 992400 0 on 9 off')
    assert (short(score), score.drums) == ([(27, 60, 9)], 4)
    with pytest.raises(ValueError, match='no notes but drums'):
        read(path, drums)


# ------------------------------------------------------------------------------- the tokenizer

def test_the_tables_say_what_the_ids_do():
    """Forbids a clock or a keyboard that is not the music's: their running sums over the ids of a
    piece must give back its notes."""
    tokenizer, score = MidiTokenizer(), read_midi(GOLDBERG[3])
    clock, keys = tokenizer.clock_table(), tokenizer.keys_table()
    now, down, notes = 0, Counter(), []
    for id in tokenizer.encode(score):
        now += clock[id]
        for switch, change in enumerate(keys[id]):
            down[switch] += change
            assert down[switch] >= 0
            if change == 1:
                notes.append((now, switch))
    assert sorted(notes) == [(note.start, note.pitch) for note in score.notes]
    last = max(note.start + note.duration for note in score.notes)
    assert now == last + 96 and not +down            # `end` moves the clock on by a whole note


def test_augment_table():
    """Forbids a transposition that moves anything but pitches, or leaves the 128 of them."""
    tokenizer = MidiTokenizer(velocity=True)
    table = tokenizer.augment_table()
    assert len(table) == 12 and {len(row) for row in table} == {tokenizer.vocab_size}
    assert table[5] == list(range(tokenizer.vocab_size))
    for k, row in zip(range(-5, 7), table):
        for (kind, old), i in zip(tokenizer.words, row):
            if kind in ('on', 'off'):
                old = next(p for p in (old + k, old + k - 12, old + k + 12) if 0 <= p < 128)
            assert tokenizer.words[i] == (kind, old)


@pytest.mark.parametrize('foreign', [
    {}, {'kind': 'midi'}, {'kind': 'midi', 'version': 1}, {'kind': 'bpe', 'version': 1},
    {'kind': 'midi', 'version': 2, 'velocity': True},
    {'kind': 'midi', 'version': 1, 'velocity': 'yes'},
    {'kind': 'midi', 'version': 1, 'velocity': False, 'steps': 12}])
def test_from_dict_refuses_what_is_foreign(foreign):
    """Forbids ids read with another vocabulary than the one they were written with."""
    for velocity in (False, True):
        mine = MidiTokenizer(velocity)
        assert MidiTokenizer.from_dict(mine.to_dict()).words == mine.words
    with pytest.raises(ValueError, match='not a MIDI tokenizer') as error:
        MidiTokenizer.from_dict(foreign)
    assert '\n' not in str(error.value)


def explain(path, *flags):
    return subprocess.run([sys.executable, ROOT / 'tokenizer_midi.py', path, *flags],
                          capture_output=True, text=True)


def test_explain_says_it_in_musical_words(path):
    """Forbids rows whose bar, beat, name or length is wrong: 3/8, an eighth, then in bar 2 a B3."""
    path.write_bytes(midi('0 ff580403031808 0 on 12 off 24 903b50 18 803b00'))
    *rows, counts = explain(path).stdout.splitlines()
    assert [row.split()[:-1] for row in rows] == [
        '1.1 begin 0'.split(), '1.1 metre (3, 8)'.split(), '1.1 C4 eighth on 60'.split(),
        '1.1 eighth shift 12'.split(), '1.2 C4 off 60'.split(), '1.2 quarter shift 24'.split(),
        '2.1 B3 dotted eighth on 59'.split(), '2.1 dotted eighth shift 18'.split(),
        '2.2.5 B3 off 59'.split(), '2.2.5 end 0'.split()]
    assert [int(row.split()[-1]) for row in rows] == MidiTokenizer().encode(read_midi(str(path)))
    assert counts == '2 notes, 10 tokens; 0 notes off the grid'
    assert len(explain(GOLDBERG[0], '--rows=7').stdout.splitlines()) == 8
    for bad in (path.with_name('missing.mid'), path.parent, ROOT / 'tokenizer_midi.py'):
        done = explain(bad)
        assert (done.returncode, done.stdout, done.stderr.count('\n')) == (1, '', 1)
        assert bad.name in done.stderr and 'Traceback' not in done.stderr


# -------------------------------------------------------------------------- broken and hostile

CHORD = b'\0\x90' + b''.join(bytes([0, i % 128, 80]) for i in range(1_000_000))[1:]
KEYS = track(' '.join(f'0 {0x90 | c:x}{p:02x}50' for c in range(9) for p in range(128)))
HOSTILE = {
    'a million notes in one chord': (midi(CHORD), 'over 524,288 bytes'),
    '45,000 notes in one chord': (midi(CHORD[:135_001] + track('0 end')), 45_000),
    '20,000 tracks in unison': (midi(*[track('0 on')] * 20_000), 20_000),
    'pedals over keys': (midi(*[KEYS] * 20, track('0 up')[:-4] + b'\0\x40\0' * 20_000), 23_040),
    '10 ** 9 ticks': (midi('0 on 1000000000 off'), 'over 20,000 quarters'),
    '10 ** 9 ticks, fine ones': (midi('999999999 on', division=32767), 'over 20,000 quarters'),
    'a number of 250,000 bytes': (midi(track('0 on')[:-4] + b'\xff' * 250_000), 'not a readable'),
    'no byte': (b'', 'not a readable MIDI file (E'),
    'no division': (midi('0 on 9 off', division=0), 'x.mid'),
    'no tracks': (midi(), 'no notes'),
    'tracks that are not there': (midi()[:10] + b'\x7f\xff\0\x18', 'not a readable')}


@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_files_cost_little(path, name):
    """Forbids a file of at most a megabyte that holds the computer up, or fills its memory."""
    (data, due), start = HOSTILE[name], time.process_time()
    if isinstance(due, str):                         # what is refused takes no room either
        tracemalloc.start()
    try:
        came = len(read(path, data).notes)
    except ValueError as error:
        came = str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert came == due or str(due) in came and len(came.splitlines()) == 1
    assert time.process_time() - start < 2 and peak < 1 << 20


def mutated(count, path, seed=0):
    """Read `count` broken files; return what came of them. Raises if one is not dealt with."""
    rng, figures, tokenizer = random.Random(seed), Counter(), MidiTokenizer()
    rich = ('0 ff580403031808 0 ff51030f4240 0 on 9 3c00 0 down 0 4050 9 4000 9 up 5 992450',
            '3 c006 0 903750 20 803700 0 f0030102f7 4 ff03024142')
    whole = [midi(*rich, kind=kind, division=division) for kind, division in
             ((0, 96), (1, 480), (2, 24), (1, 256 - 25 << 8 | 40))] + [GOLDBERG[4].read_bytes()]
    for _ in range(count):
        header, *parts = rng.choice(whole).split(b'MTrk')
        parts = [bytearray(part[4:]) for part in parts]
        file = rng.random() < 0.3                           # damage all of it, or within a track
        row = bytearray(header + b''.join(map(chunk, parts))) if file else rng.choice(parts)
        for _ in range(rng.choice([1, 1, 2, 4, 16])):
            at, size = rng.randrange(len(row) + 1), rng.choice([1, 1, 2, 8, 100])
            piece = row[at:at + size]
            row[at:at + size] = rng.choice([piece[::-1], rng.randbytes(len(piece)), b'', piece * 9])
        path.write_bytes(row if file else header + b''.join(map(chunk, parts)))
        start = time.process_time()
        try:
            score = read_midi(str(path))
            assert score.notes == sorted(score.notes) and all(n.duration > 0 for n in score.notes)
            assert short(tokenizer.decode(tokenizer.encode(score))) == short(score) != []
            figures['read'] += 1
        except ValueError as error:
            assert len(str(error).splitlines()) == 1 and len(str(error)) < 500, error
            figures['refused'] += 1
        figures['slowest'] = max(figures['slowest'], time.process_time() - start)
    return figures


def test_mutated_files(path):
    """Forbids anything but a Score or one line for a file with bytes changed, cut or doubled."""
    figures = mutated(2_000, path)
    assert min(figures['read'], figures['refused']) > 400 and figures['slowest'] < 2
