"""Notes <-> ids: what the words say, and what they do. Each test forbids one mistake."""

import random
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import mido
import pytest

from conftest import ROOT
from lib.score import METRES, WHOLE, Note, Score, count_voices, read_midi, write_midi
from lib.tonality import home_key, name_of, raised
from test_score import GOLDBERG, midi
from tokenizer_midi import Config, MidiTokenizer, explain


def test_goldberg_comes_back_note_for_note(path):
    """Forbids any loss on the way notes -> ids -> notes, or notes -> file -> notes."""
    tokenizer, moved = MidiTokenizer(), 0
    for file in GOLDBERG[1::3]:
        score = read_midi(str(file))
        ids = tokenizer.encode(score)
        back = tokenizer.decode(ids)
        assert (back.notes, back.metres) == (score.notes, score.metres), file.name
        assert back.home == home_key(score.notes) and score.home is None
        assert tokenizer.count_units(ids) == len(score.notes)
        assert [bpm for _, bpm in back.tempos] == pytest.approx([b for _, b in score.tempos], 0.015)
        write_midi(score, str(path))
        again = read_midi(str(path))
        assert (again.notes, again.metres) == (score.notes, score.metres) and not again.moved
        moved += len(score.moved)
    assert moved == 4


@pytest.mark.parametrize('seed', range(18))
def test_any_ids_are_music(path, seed):
    """Forbids a sampled row of ids that fails, leaves a key down, or reads back as other notes; and
    that of two tempos at one step the higher holds, not the later; and a wait in odd parts."""
    rng, tokenizer = random.Random(seed), MidiTokenizer(velocity=bool(seed % 2))
    words = [i for (_, value), i in tokenizer.ids.items() if value in (3, 60, 61) or seed % 3 == 0]
    loud = [tokenizer.ids['velocity', 84]] if seed % 2 else []
    score = tokenizer.decode(loud + rng.choices(words, k=400))
    score.home = score.home or home_key(score.notes)
    score.voices = score.voices or count_voices(score.notes)
    ids = tokenizer.encode(score)
    assert tokenizer.decode(ids) == score                # tempos and metres as well
    for (before, steps), (kind, _) in pairwise(tokenizer.words[id] for id in ids):
        assert not before == kind == 'shift' or steps == WHOLE
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


def test_any_score_is_forced_into_range():
    """Forbids a Score of somebody's own making that has no ids, because no word says its tempo or
    its time signature; the nearest ones do."""
    tokenizer = MidiTokenizer()
    score = Score([Note(0, 60, 48)], [(0, 5.0), (24, 900.0)], [(0, 24, 16), (24, 41, 8)])
    back = tokenizer.decode(tokenizer.encode(score))
    (_, slow), (_, fast) = back.tempos
    assert (slow, round(fast)) == (20, 320) and back.notes == score.notes
    assert back.metres == [(0, 12, 8), (24, 11, 2)] and set(score.metres).isdisjoint(METRES)


TRIAD = [(0, 60, 24), (0, 64, 24), (24, 67, 24)]
C, A_MINOR = (0, 'major'), (9, 'minor')


@pytest.mark.parametrize('notes, given, want', [
    (TRIAD, (None, 0), (C, 2)),                                  # 1.5 voices
    (TRIAD, (A_MINOR, 4), (A_MINOR, 4)),
    ([(0, 60, 24), (0, 64, 24), (96, 62, 24), (96, 65, 24)], (C, 0), (C, 2)),   # a rest is no voice
    ([(0, 60, 96), (0, 64, 24), (24, 65, 24), (48, 67, 48)], (C, 0), (C, 2)),
    ([(0, pitch, 24) for pitch in range(40, 50)], (C, 0), (C, 6)),       # no more have a word
    ([], (None, 0), (C, 1))])
def test_the_opening(notes, given, want):
    """Forbids another order of the words at the beginning, or a second home word where the tempo or
    the metre changes; a word that contradicts the key or the voices that the score says; and
    another number of voices than keys are held, in the mean, while any is."""
    tokenizer = MidiTokenizer()
    notes = [Note(*note) for note in notes]
    ids = tokenizer.encode(Score(notes, [(0, 80.0), (24, 90.0)], [(0, 3, 4), (24, 4, 4)], *given))
    words = [tokenizer.words[id] for id in ids]
    kinds = [kind for kind, _ in words]
    assert kinds[:5] == ['begin', 'metre', 'tempo', 'home', 'voices']
    assert (kinds.count('home'), kinds.count('voices')) == (1, 1)
    assert (words[3][1], words[4][1]) == want
    back = tokenizer.decode(ids)
    assert (back.home, back.voices) == want


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


MINE = MidiTokenizer().to_dict()


@pytest.mark.parametrize('foreign', [
    {}, {'kind': 'midi'}, {**MINE, 'kind': 'bpe'}, {**MINE, 'version': MINE['version'] - 1},
    {**MINE, 'velocity': 'yes'}, {**MINE, 'steps': 12}])
def test_from_dict_refuses_what_is_foreign(foreign):
    """Forbids ids read with another vocabulary than the one they were written with."""
    for velocity in (False, True):
        mine = MidiTokenizer(velocity)
        assert MidiTokenizer.from_dict(mine.to_dict()).words == mine.words
    with pytest.raises(ValueError, match='not a MIDI tokenizer') as error:
        MidiTokenizer.from_dict(foreign)
    assert '\n' not in str(error.value)


def test_explain_says_it_in_musical_words(path, capsys):
    """Forbids rows whose bar, beat, name or length is wrong: 3/8, an eighth, then in bar 2 a B3;
    and bars that are counted as if the last time signature had held from the beginning: before the
    end of that bar comes 2/4, which begins the third there; or that lag behind a long wait."""
    path.write_bytes(midi('0 ff580403031808 0 on 12 off 24 903b50 18 803b00 '
                          '6 ff580402021808 0 on 120 off'))
    explain(Config(str(path)))
    *rows, counts = capsys.readouterr().out.splitlines()
    home = name_of(*home_key(read_midi(str(path)).notes))
    assert [' '.join(row.split()[:-1]) for row in rows] == [
        '1.1 begin 0', '1.1 metre 3/8', f'1.1 home {home}', '1.1 voices 1',
        '1.1 on C4 eighth', '1.1 shift 12 eighth', '1.2 off C4', '1.2 shift 24 quarter',
        '2.1 on B3 dotted eighth', '2.1 shift 18 dotted eighth', '2.2.5 off B3',
        '2.2.5 shift 6 sixteenth', '3.1 metre 2/4', '3.1 on C4 120 steps',
        '3.1 shift 96 whole', '5.1 shift 24 quarter', '5.2 off C4', '5.2 end 0']
    assert [int(row.split()[-1]) for row in rows] == MidiTokenizer().encode(read_midi(str(path)))
    assert counts == '3 notes, 18 words; 0 notes off the grid'
    path.write_bytes(midi('0 on 24 off 0 904050'))
    explain(Config(str(path), rows=5))
    said = capsys.readouterr().out
    assert said.endswith('1 notes that nothing ends, left out\n') and said.count('\n') == 5 + 2


def test_explain_as_a_process(path):
    """Forbids a script that ends in a traceback, or as if all were well."""
    done = subprocess.run([sys.executable, ROOT / 'tokenizer_midi.py', path],
                          capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count('\n')) == (1, '', 1)
    assert path.name in done.stderr
