"""Notes <-> ids: what the words say, and what they do. Each test forbids one mistake."""

import random
import subprocess
import sys
from collections import Counter

import mido
import pytest
import torch

from conftest import ROOT
from lib.score import Note, Score, count_voices, read_midi, write_midi
from lib.tokenizer import Tokenizer
from lib.tonality import home_key, name_of, raised, transpose
from model import KINDS, ModelConfig, Transformer
from test_score import GOLDBERG, midi
from tokenizer_bpe import BPETokenizer
from tokenizer_midi import MidiTokenizer


@pytest.mark.parametrize('tokenizer', [MidiTokenizer(), MidiTokenizer(True), BPETokenizer()])
def test_what_a_tokenizer_owes(tokenizer):
    """Forbids a tokenizer that train.py or model.py can't read with: a table of another shape, an
    id out of the vocabulary, a method that is not its own."""
    V = tokenizer.vocab_size
    assert tokenizer.unit == ('note' if tokenizer.is_music else 'byte')
    assert 0 <= tokenizer.end < V
    shape = tokenizer.shape_of_told()
    model = Transformer(ModelConfig(V, 8, 1, 1, 2, **shape))
    told = tokenizer.listen([tokenizer.end])
    assert told.shape == (1, sum(shape['columns'].values()))
    assert model(torch.tensor([[tokenizer.end]]), torch.from_numpy(told)[None]).shape == (1, 1, V)
    assert list(shape['columns']) == list(KINDS)
    for row in tokenizer.augment_table():
        assert len(row) == V and set(row) <= set(range(V)) and row[tokenizer.end] == tokenizer.end
    for name in ('encode', 'decode', 'count_units', 'listener', 'shape_of_told', 'to_dict',
                 'from_dict'):
        assert name in vars(type(tokenizer)) and name in vars(Tokenizer)
    again = type(tokenizer).from_dict(tokenizer.to_dict())
    assert again.to_dict() == tokenizer.to_dict() and 'kind' in again.to_dict()


def test_transpose():
    """Forbids a pitch out of MIDI's range, or another note than an octave of the right one."""
    assert [transpose(60, 5), transpose(126, 5), transpose(3, -5)] == [65, 119, 10]


def test_goldberg_comes_back_note_for_note(path):
    """Forbids any loss on the way notes -> ids -> notes, or notes -> file -> notes."""
    tokenizer, notes, moved = MidiTokenizer(), 0, 0
    for file in GOLDBERG:
        ids = tokenizer.encode(score := read_midi(str(file)))
        back = tokenizer.decode(ids)
        assert (back.notes, back.metres) == (score.notes, score.metres), file.name
        assert back.home == home_key(score.notes) and score.home is None
        assert tokenizer.count_units(ids) == len(score.notes)
        assert [bpm for _, bpm in back.tempos] == pytest.approx([b for _, b in score.tempos], 0.015)
        write_midi(score, str(path))
        again = read_midi(str(path))
        assert (again.notes, again.metres) == (score.notes, score.metres) and not again.moved
        notes, moved = notes + len(score.notes), moved + len(score.moved)
    assert (len(GOLDBERG), notes, moved) == (32, 17_033, 4)


@pytest.mark.parametrize('seed', range(40))
def test_any_ids_are_music(path, seed):
    """Forbids a sampled row of ids that fails, leaves a key down, or reads back as other notes; and
    that of two tempos at one step the higher holds, not the later."""
    rng, tokenizer = random.Random(seed), MidiTokenizer(velocity=bool(seed % 2))
    words = [i for (_, value), i in tokenizer.ids.items() if value in (3, 60, 61) or seed % 3 == 0]
    loud = [tokenizer.ids['velocity', 84]] if seed % 2 else []
    score = tokenizer.decode(loud + rng.choices(words, k=400))
    score.home = score.home or home_key(score.notes)
    score.voices = score.voices or count_voices(score.notes)
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


def test_every_track_is_a_harpsichord(path):
    """Forbids a piano, which is what a channel plays that nobody gave an instrument."""
    write_midi(Score([Note(0, 60, 24)] * 12), str(path))
    first, *tracks = mido.MidiFile(path).tracks
    assert len(tracks) == 12 and {message.type for message in first} == {'end_of_track'}
    for program, strike, *_ in tracks:
        assert (program.type, program.program, program.time) == ('program_change', 6, 0)
        assert strike.channel == program.channel != 9


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


def test_the_home_word():
    """Forbids a home key that is not the one given, another order of the words at the beginning, or
    a second home word where the tempo or the metre changes."""
    notes = [Note(0, 60, 24), Note(0, 64, 24), Note(24, 67, 24)]
    for home in ((9, 'minor'), None):
        tokenizer = MidiTokenizer()
        ids = tokenizer.encode(Score(notes, [(0, 80.0), (24, 90.0)], [(0, 3, 4), (24, 4, 4)], home))
        words = [tokenizer.words[id] for id in ids]
        opening = ['begin', 'metre', 'tempo', 'home', 'voices', 'on']
        assert [kind for kind, _ in words[:6]] == opening
        assert words[3] == ('home', home or (0, 'major'))
        assert [kind for kind, _ in words].count('home') == 1
        assert tokenizer.decode(ids).home == (home or (0, 'major'))


@pytest.mark.parametrize('notes, want', [
    ([(0, 60, 24), (24, 62, 24), (96, 64, 24)], 1),              # a rest is nobody's voice
    ([(0, 60, 24), (0, 64, 24), (24, 62, 24)], 2),               # 1.5
    ([(0, 60, 96), (0, 64, 24), (24, 65, 24), (48, 67, 48)], 2),
    ([(0, pitch, 24) for pitch in range(40, 50)], 6), ([], 1)])
def test_voices(notes, want):
    """Forbids another number of voices than keys are held, in the mean, while any is; a word that
    contradicts what the score says; and more than there are words for."""
    tokenizer = MidiTokenizer()
    notes = [Note(*note) for note in notes]
    assert count_voices(notes) == want
    for given in (0, 4):
        ids = tokenizer.encode(Score(notes, voices=given))
        assert [value for kind, value in map(tokenizer.words.__getitem__, ids)
                if kind == 'voices'] == [given or want]
        assert tokenizer.decode(ids).voices == (given or want)


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
            elif kind == 'home':
                old = raised(old, k)
            assert tokenizer.words[i] == (kind, old)


@pytest.mark.parametrize('foreign', [
    {}, {'kind': 'midi'}, {'kind': 'midi', 'version': 4}, {'kind': 'bpe', 'version': 4},
    {'kind': 'midi', 'version': 2, 'velocity': True},
    {'kind': 'midi', 'version': 4, 'velocity': 'yes'},
    {'kind': 'midi', 'version': 4, 'velocity': False, 'steps': 12}])
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
    home = name_of(*home_key(read_midi(str(path)).notes))
    assert [row.split()[:-1] for row in rows] == [
        '1.1 begin 0'.split(), '1.1 metre 3/8'.split(), f'1.1 home {home}'.split(),
        '1.1 voices 1'.split(), '1.1 C4 eighth on 60'.split(),
        '1.1 eighth shift 12'.split(), '1.2 C4 off 60'.split(), '1.2 quarter shift 24'.split(),
        '2.1 B3 dotted eighth on 59'.split(), '2.1 dotted eighth shift 18'.split(),
        '2.2.5 B3 off 59'.split(), '2.2.5 end 0'.split()]
    assert [int(row.split()[-1]) for row in rows] == MidiTokenizer().encode(read_midi(str(path)))
    assert counts == '2 notes, 12 words; 0 notes off the grid'
    path.write_bytes(midi('0 on 24 off 0 904050'))
    assert explain(path).stdout.endswith('1 notes that nothing ends, left out\n')
    assert len(explain(GOLDBERG[0], '--rows=7').stdout.splitlines()) == 8
    for bad in (path.with_name('missing.mid'), path.parent, ROOT / 'tokenizer_midi.py'):
        done = explain(bad)
        assert (done.returncode, done.stdout, done.stderr.count('\n')) == (1, '', 1)
        assert bad.name in done.stderr and 'Traceback' not in done.stderr


def test_explain_counts_bars_of_changing_length(path):
    """Forbids bars that are counted as if the last time signature had held from the beginning: 2/4,
    and in the middle of its second bar 3/4, which begins the third there."""
    two_four = '0 ff580402021808 0 on 48 off '
    three_four = '24 ff580403021808 0 on 72 off 24 on 24 off'
    path.write_bytes(midi(two_four + three_four))
    places = {}
    for row in explain(path).stdout.splitlines()[:-1]:
        place, *_, kind, value, _ = row.split()
        places.setdefault(f'{kind} {value}', []).append(place)
    assert places['metre 2/4'] == ['1.1']
    assert places['metre 3/4'] == ['3.1']
    assert places['on 60'] == ['1.1', '3.1', '4.2']
    assert places['off 60'] == ['2.1', '4.1', '4.3']
