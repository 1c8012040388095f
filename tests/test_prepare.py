"""A corpus -> ids on disk. Each docstring names the mistake that its test forbids."""
import codecs
import hashlib
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import mido
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import lib.corpus
import lib.fetch
import prepare
from lib import files, textfile
from lib.corpus import FORMAT, check_corpora, load_corpora
from data.shakespeare import play_text
from lib.split import hold_out
from lib.musedata import read_musedata
from sample import load_tokenizer
from prepare import Config
from tokenizer_bpe import BPETokenizer
from lib.score import Note, Score, read_midi, write_midi
from tokenizer_midi import MidiTokenizer


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Nothing is written to the data of the repo."""
    monkeypatch.setattr(prepare, 'DATA', tmp_path / 'data')
    return tmp_path / 'data'


FILES = {'train.bin', 'train_told.bin', 'val.bin', 'val_told.bin', 'meta.json'}


def told_of(folder, split):
    """The ids of a split, and what is told after each, as they lie in the files."""
    meta = json.loads((folder / 'meta.json').read_text())
    ids = np.fromfile(folder / f'{split}.bin', meta['dtype'])
    told = np.fromfile(folder / f'{split}_told.bin', meta['dtype'])
    shape = load_tokenizer(meta['tokenizer']).shape_of_told()
    return ids, told.reshape(len(ids), sum(shape['columns'].values()))


def song(path, seed, up=0, tracks=1, loud=(80,), drums=0):
    """Write 30 notes, the same for the same seed, transposed and dealt to so many tracks."""
    rng, deal, file = random.Random(seed), random.Random(f'{seed} {tracks}'), mido.MidiFile()
    rows = [[(0, mido.Message('note_on', channel=9))] * drums] + [[] for _ in range(tracks)]
    for i in range(30):
        note = mido.Message('note_on', note=rng.randrange(40, 80) + up, velocity=deal.choice(loud))
        deal.choice(rows[1:]).extend([(120 * i, note), (120 * i + 120, note.copy(velocity=0))])
    for row in rows:
        times = [0, *(tick for tick, _ in row)]
        file.tracks.append([m.copy(time=b - a) for (_, m), a, b in zip(row, times, times[1:])])
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save(path)


def corpus(folder):
    """-> meta, {'train': {name: ids}, 'val': ...}: a piece begins with the id 0."""
    meta, ids = json.loads((folder / 'meta.json').read_text()), {}
    for split, pieces in meta['pieces'].items():
        row = np.fromfile(folder / f'{split}.bin', meta['dtype'])
        parts = np.split(row, np.flatnonzero(row == 0))[1:]
        ids[split] = dict(zip([piece['name'] for piece in pieces], parts, strict=True))
    return meta, ids


def bins(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


# ------------------------------------------------------------------------------ a folder of MIDI

def test_a_folder_of_midi(tmp_path, home, capsys, monkeypatch):
    """Forbids files lost by depth or suffix, ids that are not the file's notes, a false meta.json,
    a broken file that ends the run or goes unsaid, another result with 2 jobs or another order."""
    names = ['a.mid', 'b.midi', 'C.MID', 'sub/d.Mid', 'sub/deep/er/e.mid', 'sub/f.MIDI', 'ü g.mid']
    for seed, name in enumerate(names):
        song(tmp_path / 'My Songs' / name, seed, tracks=1 + seed % 3)
    for i, broken in enumerate([b'', b'MThd', (tmp_path / 'My Songs/a.mid').read_bytes()[:25]]):
        (tmp_path / f'My Songs/broken{i}.mid').write_bytes(broken)
    (tmp_path / 'My Songs' / 'notes.txt').write_text('not music')
    prepare.main(Config(str(tmp_path / 'My Songs'), jobs=1))
    out = capsys.readouterr().out
    assert [out.count(f'broken{i}.mid') for i in range(3)] == [1, 1, 1]
    assert out.count('left out:') == 4 and 'left out: 3 of 10 files' in out
    meta, ids = corpus(home / 'my-songs')
    tokenizer = MidiTokenizer.from_dict(meta['tokenizer'])
    assert sorted(ids['train'] | ids['val']) == sorted(names) and len(ids['val']) == 1
    for name, row in (ids['train'] | ids['val']).items():
        assert tokenizer.decode(row).notes == read_midi(str(tmp_path / 'My Songs' / name)).notes
    assert (meta['format'], meta['dtype'], meta['unit']) == (FORMAT, 'uint16', 'note')
    assert meta['vocab_size'] == tokenizer.vocab_size == MidiTokenizer().vocab_size
    assert meta['augment'] == tokenizer.augment_table()
    assert meta['units'] == {'train': 6 * 30, 'val': 30}
    assert {p['units'] for split in ('train', 'val') for p in meta['pieces'][split]} == {30}
    assert set(bins(home / 'my-songs')) == FILES
    plain = Path.rglob
    monkeypatch.setattr(Path, 'rglob', lambda *a: reversed(sorted(plain(*a))))
    prepare.main(Config(str(tmp_path / 'My Songs'), 'again', jobs=2))
    assert bins(home / 'again') == bins(home / 'my-songs')


def test_twins_stand_on_one_side(tmp_path, home):
    """Forbids a piece in training whose transposed, reshuffled, renamed copy is held out."""
    for seed in range(12):
        song(tmp_path / f'x/{seed}.mid', seed)
        song(tmp_path / f'x/{seed * 7 % 12}/{seed}.mid', seed, up=seed - 6, tracks=5)
    prepare.main(Config(str(tmp_path / 'x'), val=0.4, jobs=1))
    sides = [[Path(name).name for name in side] for side in corpus(home / 'x')[1].values()]
    assert not set(sides[0]) & set(sides[1]) and len(sides[0] + sides[1]) == 24
    assert len(sides[1]) == 10               # the first that make up 0.4 of the notes


@pytest.mark.parametrize('seed', range(20))
def test_some_are_held_out_and_some_are_not(seed):
    """Forbids an empty side where there are two different pieces, however unlike in size."""
    rng = random.Random(seed)
    pieces = [{'name': str(i), 'fingerprint': f'{i % 9}', 'units': rng.choice([1, 9, 9999])}
              for i in range(2 + seed % 4)]
    hold_out(pieces[::-1], 0.1, None)
    sides = [{p['fingerprint'] for p in pieces if p['split'] == side} for side in ('train', 'val')]
    assert sides[0] and sides[1] and not sides[0] & sides[1]


def test_drums_and_velocities(tmp_path, home, capsys):
    """Forbids velocity words for files of one loudness, none for the others, drums in silence."""
    for seed in range(4):
        song(tmp_path / f'soft/{seed}.mid', seed, drums=5)
        song(tmp_path / f'loud/{seed}.mid', seed, loud=(20, 60, 100), tracks=2)
    for name, extra in (('soft', 0), ('loud', 16)):
        prepare.main(Config(str(tmp_path / name), jobs=1))
        meta, ids = corpus(home / name)
        assert meta['vocab_size'] == MidiTokenizer().vocab_size + extra
        for file, row in (ids['train'] | ids['val']).items():
            assert MidiTokenizer.from_dict(meta['tokenizer']).decode(row).notes == read_midi(
                str(tmp_path / name / file)).notes
        assert ('files, 20 drum notes' in capsys.readouterr().out) == (name == 'soft')


def test_what_is_told_of_music(tmp_path, home):
    """Forbids what is told of another piece than the ids beside it, or of words that are left out:
    a listener that hears the ids of a piece as they are stored says the same."""
    for seed in range(4):
        song(tmp_path / f'loud/{seed}.mid', seed, loud=(20, 60, 100), tracks=2)
    for velocity in ('true', 'false'):
        prepare.main(Config(str(tmp_path / 'loud'), velocity, velocity=velocity, jobs=1))
        tokenizer = MidiTokenizer(velocity == 'true')
        for split in ('train', 'val'):
            ids, told = told_of(home / velocity, split)
            pieces = np.split(ids, np.flatnonzero(ids == 0)[1:])
            want = [tokenizer.listen(piece.tolist()) for piece in pieces]
            assert np.array_equal(told, np.concatenate(want))


TOO_LITTLE = {'missing': 'no such file', 'empty': 'no file that', 'broken': 'no file that',
              'one': 'only one piece', 'twins': 'only one piece', 'file': 'only one piece'}


@pytest.mark.parametrize('case', TOO_LITTLE)
def test_too_little_is_one_clear_line(tmp_path, home, case):
    """Forbids a traceback, or half a corpus, where there is nothing to hold out or to learn from;
    and that one MIDI file is taken for a text."""
    path = tmp_path / 'x'
    for i in range({'one': 1, 'twins': 2, 'file': 1}.get(case, 0)):
        song(path / f'{i}.mid', 0, up=i, tracks=1 + i, loud=(10,))       # 10 is a line feed
    if case in ('empty', 'broken'):
        path.mkdir()
    if case == 'broken':
        (path / 'x.mid').write_bytes(b'MThd')
    if case == 'file':
        path /= '0.mid'
    with pytest.raises(ValueError, match=TOO_LITTLE[case]) as error:
        prepare.main(Config(str(path), 'y', vocab_size=257, jobs=1))
    assert len(str(error.value).splitlines()) == 1
    assert not (home / 'y/meta.json').exists() and not (home / 'y/train.bin').exists()


def test_this_folder_has_a_name_too(tmp_path, home, monkeypatch):
    """Forbids `prepare.py .` that writes among the corpora, not to one of its own."""
    for seed in range(2):
        song(tmp_path / f'songs/{seed}.mid', seed)
    monkeypatch.chdir(tmp_path / 'songs')
    prepare.main(Config('.', jobs=1))
    assert [path.parent for path in home.rglob('meta.json')] == [home / 'songs']


INTERRUPTED = [('midi', prepare, 'hold_out', 0), ('midi', prepare, 'parallel', 1),
               ('midi', prepare, 'publish', 0), ('text', prepare, 'hold_out', 0),
               ('text', prepare, 'parallel', 1), ('text', prepare, 'publish', 0)]


@pytest.mark.parametrize('kind, owner, name, after', INTERRUPTED)
def test_an_interrupted_run(tmp_path, home, monkeypatch, kind, owner, name, after):
    """Forbids new ids under the old meta.json, an old corpus that is spoilt, and what is left
    lying about, by a run that fails."""
    (tmp_path / 'text').mkdir()
    for seed in range(9):
        song(tmp_path / f'midi/{seed}.mid', seed)
        (tmp_path / f'text/{seed}.txt').write_text(f'Piece {seed} of the text.\n' * 50)
    config = Config(str(tmp_path / kind), 'x', vocab_size=260, jobs=1)
    plain = getattr(owner, name)

    def stop_then():
        calls = iter(range(99))

        def stop(*args, **more):
            if next(calls) == after:
                raise KeyboardInterrupt
            return plain(*args, **more)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(owner, name, stop)
            prepare.main(config)
    stop_then()
    assert list(home.iterdir()) == []
    prepare.main(config)
    before = bins(home / 'x')
    stop_then()
    assert bins(home / 'x') == before and [path.name for path in home.iterdir()] == ['x']


def test_a_pipe_that_closes(tmp_path):
    """Forbids `prepare.py x | head -1` that ends without a corpus."""
    for seed in range(9):
        song(tmp_path / f'songs/{seed}.mid', seed)
    program = ('import sys, pathlib, prepare\n'
               f'prepare.DATA = pathlib.Path({str(tmp_path / "data")!r})\n'
               f'prepare.main(prepare.Config({str(tmp_path / "songs")!r}, jobs=1))\n')
    running = subprocess.Popen([sys.executable, '-c', program], cwd=ROOT, stdout=subprocess.PIPE)
    running.stdout.close()
    assert running.wait(60) == 0
    assert (tmp_path / 'data/songs/meta.json').exists()


def test_two_at_once(tmp_path, home, monkeypatch):
    """Forbids a second run that takes the files of the first away: both succeed."""
    for seed in range(9):
        song(tmp_path / f'songs/{seed}.mid', seed)
    config = Config(str(tmp_path / 'songs'), jobs=1)
    plain = prepare.write_corpus

    def again(*args):
        with monkeypatch.context() as patch:
            patch.setattr(prepare, 'write_corpus', plain)
            prepare.main(config)
        return plain(*args)
    monkeypatch.setattr(prepare, 'write_corpus', again)
    prepare.main(config)
    assert set(bins(home / 'songs')) == FILES
    assert [path.name for path in home.iterdir()] == ['songs']


# ------------------------------------------------------------------------------------- names

WRONG = {'my songs': '--name=my-songs', '..': 'letters', '.': 'letters', 'a/b': '--name=a-b',
         'a,b': '--name=a-b', 'wtc': 'taken', 'downloads': 'taken'}


@pytest.mark.parametrize('name', WRONG)
def test_names_that_are_none(tmp_path, home, name):
    """Forbids a corpus that is written outside of data/, over another, or that --dataset can't
    name."""
    for seed in range(2):
        song(tmp_path / f'songs/{seed}.mid', seed)
    with pytest.raises(ValueError, match=WRONG[name]):
        prepare.main(Config(str(tmp_path / 'songs'), name, jobs=1))
    assert not home.exists()


def test_two_folders_are_two_corpora(tmp_path, home):
    """Forbids `J.S. Other` that takes the place of `J.S. Bach`, or a folder, or a corpus of
    this repo, that takes the place of another one of the same name."""
    for seed in range(2):
        for folder in ('J.S. Bach', 'J.S. Other', 'there/J.S. Bach'):
            song(tmp_path / folder / f'{seed}.mid', f'{seed} {folder}')
    prepare.main(Config(str(tmp_path / 'J.S. Bach'), jobs=1))
    before = bins(home / 'j-s-bach')
    prepare.main(Config(str(tmp_path / 'J.S. Other'), jobs=1))
    assert sorted(path.name for path in home.iterdir()) == ['j-s-bach', 'j-s-other']
    (home / 'goldberg').mkdir()
    song(home / 'goldberg' / '00-aria.mid', 0)
    for source, name in ((str(tmp_path / 'there/J.S. Bach'), ''), ('goldberg', 'j-s-bach')):
        with pytest.raises(ValueError, match='made of something else'):
            prepare.main(Config(source, name, jobs=1))
    assert bins(home / 'j-s-bach') == before


SETTINGS = {'val': (2.0, 'must be below 1'), 'velocity': ('loud', 'auto, true, false'),
            'kind': ('midi', 'auto, music, text'), 'hold_out': ('(', 'no regular expression'),
            'source': ('', 'which corpus')}


@pytest.mark.parametrize('name', SETTINGS)
def test_settings_that_are_wrong(tmp_path, name):
    """Forbids a wrong setting that is taken for another, or for none; '' is no folder."""
    value, due = SETTINGS[name]
    with pytest.raises(ValueError, match=due):
        prepare.main(Config(**{'source': str(tmp_path), name: value}))


# ------------------------------------------------------------------------- what the output says

def test_what_is_changed_is_counted(tmp_path, home, capsys):
    """Forbids tempos, time signatures, notes and bytes that are changed or left out in silence."""
    for seed in range(4):
        song(tmp_path / f'x/{seed}.mid', seed)
        path = tmp_path / f'x/{seed}.mid'
        file = mido.MidiFile(path)
        file.tracks[0][:0] = [mido.MetaMessage('set_tempo', tempo=150_000),
                              mido.MetaMessage('time_signature', numerator=24, denominator=16)]
        file.tracks[1].append(mido.Message('note_on', note=20, time=5))
        file.tracks[1].append(mido.MetaMessage('set_tempo', time=5))
        file.save(path)
    path.write_bytes(path.read_bytes()[:-2])
    prepare.main(Config(str(tmp_path / 'x'), jobs=1))
    out = capsys.readouterr().out
    for line in (f'read as far as it goes: {path}: cut short or damaged',
                 '1 files cut short or damaged', '4 notes that nothing ends',
                 '4 tempos and time signatures after the last note',
                 '4 tempos under 20 or over 320 a minute',
                 '4 time signatures replaced by one of the same length'):
        assert line in out, line


def performance(path, seed, early=0, shift=0.0, beat=0, loud=(80,)):
    """Notes of a quarter, their ends `early` ticks early, their starts off by up to `shift`
    steps."""
    rng = random.Random(seed)
    row = mido.MidiTrack([mido.MetaMessage('set_tempo', tempo=beat)] if beat else [])
    now = 0
    for i in range(60):
        start = 480 * i + round(rng.uniform(0, shift) * 20)
        note = mido.Message('note_on', note=rng.randrange(40, 80), velocity=rng.choice(loud))
        row.append(note.copy(time=start - now))
        row.append(note.copy(velocity=0, time=400 - early))
        now = start + 400 - early
    path.parent.mkdir(parents=True, exist_ok=True)
    mido.MidiFile(tracks=[row]).save(path)


TIMING = {'one tick early': ({'early': 1}, 'looks scored: 0 notes', False),
          'moves that nobody hears': ({'shift': 0.1}, 'looks scored: 0 notes', False),
          'off the grid': ({'shift': 0.5, 'beat': 600_000}, 'looks performed', False),
          'without a beat': ({'shift': 0.5}, 'looks performed', True),
          'without a beat, at 120': ({'shift': 0.5, 'beat': 500_000}, 'looks performed', True)}


@pytest.mark.parametrize('name', TIMING)
def test_scored_or_performed(tmp_path, home, capsys, name):
    """Forbids a score that looks performed, for its ends or for moves that nobody hears; and a
    performance at 120 whose time signatures are believed."""
    how, due, no_beat = TIMING[name]
    for seed in range(2):
        performance(tmp_path / f'x/{seed}.mid', seed, **how)
    prepare.main(Config(str(tmp_path / 'x'), jobs=1))
    out = capsys.readouterr().out
    assert due in out and ('performed without a beat: 2 of 2 files' in out) == no_beat


def test_velocities_are_a_choice(tmp_path, home, capsys, monkeypatch):
    """Forbids a corpus that can't go together with the Goldberg, and a message that says neither
    why nor what helps."""
    monkeypatch.setattr(lib.corpus, 'DATA', home)
    for seed in range(4):
        song(tmp_path / f'loud/{seed}.mid', seed, loud=(20, 60, 100))
        song(tmp_path / f'plain/{seed}.mid', 10 + seed)
    sizes = {}
    for velocity in ('true', 'false', 'auto'):
        for name in ('loud', 'plain'):
            prepare.main(Config(str(tmp_path / name), f'{name}-{velocity}', velocity=velocity))
            sizes[name, velocity] = corpus(home / f'{name}-{velocity}')[0]['vocab_size']
    assert '--velocity=false' in capsys.readouterr().out
    extra = {key: size - MidiTokenizer().vocab_size for key, size in sizes.items()}
    assert [extra['loud', velocity] for velocity in ('true', 'false', 'auto')] == [16, 0, 16]
    assert [extra['plain', velocity] for velocity in ('true', 'false', 'auto')] == [16, 0, 0]
    check_corpora(load_corpora('plain-auto,loud-false'), 50)
    with pytest.raises(ValueError, match='loud-auto.*only one has velocities.*--velocity'):
        check_corpora(load_corpora('plain-auto,loud-auto'), 50)


def test_hold_out_by_name(tmp_path, home):
    """Forbids another performance of a work in training while one is held out; a twin of what is
    held out, whatever its name; and a pattern that holds out nothing, or all."""
    for seed in range(6):
        song(tmp_path / f'x/work{seed}/a.mid', seed)
        song(tmp_path / f'x/work{seed}/b.mid', 10 + seed)
    song(tmp_path / 'x/copy.mid', 2, up=3)
    config = Config(str(tmp_path / 'x'), hold_out=r'work[25]/', jobs=1)
    prepare.main(config)
    _, ids = corpus(home / 'x')
    assert sorted(ids['val']) == ['copy.mid', 'work2/a.mid', 'work2/b.mid', 'work5/a.mid',
                                  'work5/b.mid']
    for pattern, due in (('nothing', 'no piece'), ('.', 'all of them')):
        config.hold_out = pattern
        with pytest.raises(ValueError, match=due):
            prepare.main(config)


def test_near_twins(tmp_path, home, capsys):
    """Forbids another edition of a piece in training: its repeat played out, its ornaments others,
    its key another. Pieces that share a few figures are none."""
    for seed in range(12):
        rng = random.Random(seed)
        rest = [(24 * i, rng.choice((60, 62, 64, 65, 67, 69, 71))) for i in range(100)]
        half = [(24 * i, pitch) for i, (_, pitch) in enumerate(rest[:50] + rest)]
        other = [(start + 1, pitch + 2) for start, pitch in rest if rng.random() < 0.05]
        for name, notes in {'a': rest, 'b': half, 'c': sorted(rest + other)}.items():
            path = tmp_path / f'x/{seed}{name}.mid'
            path.parent.mkdir(exist_ok=True)
            up = 5 * (name == 'c')
            write_midi(Score([Note(start, pitch + up, 1) for start, pitch in notes]), str(path))
    prepare.main(Config(str(tmp_path / 'x'), val=0.3, jobs=1))
    _, ids = corpus(home / 'x')
    works = [{name[:-5] for name in ids[split]} for split in ('train', 'val')]
    assert not works[0] & works[1] and len(works[0] | works[1]) == 12 and len(works[1]) > 2
    assert 'and 24 nearly so' in capsys.readouterr().out


def test_what_is_passed_over(tmp_path, home, capsys, monkeypatch):
    """Forbids hidden files and __MACOSX among the pieces, a folder that can't be opened without a
    word, and a pipe that is waited for; a .kar is a MIDI file."""
    for seed, name in enumerate(('a.mid', 'b.kar', '._a.mid', '.git/c.mid', '__MACOSX/d.mid')):
        song(tmp_path / 'x' / name, seed)
    if hasattr(os, 'mkfifo'):                        # not on Windows
        os.mkfifo(tmp_path / 'x' / 'e.mid')
    walk = os.walk

    def no_entry(folder, onerror):
        onerror(PermissionError(13, 'Permission denied', 'x/private'))
        return walk(folder)
    monkeypatch.setattr(files.os, 'walk', no_entry)
    prepare.main(Config(str(tmp_path / 'x'), jobs=1))
    _, ids = corpus(home / 'x')
    assert sorted(ids['train'] | ids['val']) == ['a.mid', 'b.kar']
    assert 'left out: x/private: Permission denied' in capsys.readouterr().out


def test_a_folder_of_both(tmp_path, home, capsys):
    """Forbids one stray MIDI file that makes music of a folder of texts, without a word."""
    song(tmp_path / 'x/stray.mid', 0)
    song(tmp_path / 'x/stray2.mid', 1)
    for i in range(3):
        (tmp_path / f'x/{i}.txt').write_text(f'A text, number {i}.\n' * 20)
    prepare.main(Config(str(tmp_path / 'x'), 'auto', vocab_size=260, jobs=1))
    assert '2 MIDI and 3 text files: text is taken; --kind=music' in capsys.readouterr().out
    prepare.main(Config(str(tmp_path / 'x'), 'music', kind='music', jobs=1))
    units = [json.loads((home / name / 'meta.json').read_text())['unit'] for name in
             ('auto', 'music')]
    assert units == ['byte', 'note']


@pytest.mark.parametrize('name', ['goldberg', 'other'])
def test_the_split_of_goldberg(tmp_path, home, name):
    """Forbids another split than the published one, whatever the corpus is called."""
    (home / 'goldberg').mkdir(parents=True)
    for path in (ROOT / 'data/goldberg').glob('*.mid'):
        (home / 'goldberg' / path.name).symlink_to(path)
    prepare.main(Config('goldberg', name, jobs=1))
    meta, ids = corpus(home / name)
    assert [piece[:3] for piece in ids['val']] == ['05-', '10-', '15-', '20-', '25-', '30-']
    assert len(ids['train']) == 26 and sum(meta['units'].values()) == 17_033


# ------------------------------------------------------------------------------------- text

TEXT = b'One line, two lines.\r\nGr\xc3\xbc\xc3\x9fe \xff\xfe\x80 odd\r\rthe same, same\n\n' * 40


@pytest.mark.parametrize('seed', range(6))
def test_a_text_is_cut_at_a_line(tmp_path, home, seed):
    """Forbids a lost or changed byte (CRLF, invalid UTF-8), a cut within a line, or a file that is
    refused because of the order of its two fingerprints."""
    text = b'%d\n' % seed + TEXT
    (tmp_path / 'A text.txt').write_bytes(text)
    prepare.main(Config(str(tmp_path / 'A text.txt'), vocab_size=280, jobs=1))
    meta = json.loads((home / 'a-text/meta.json').read_text())
    tokenizer, parts = BPETokenizer.from_dict(meta['tokenizer']), []
    for split in ('train', 'val'):
        *ids, end = np.fromfile(home / f'a-text/{split}.bin', meta['dtype']).tolist()
        parts.append(tokenizer.decode_bytes(ids))
        assert end == tokenizer.end not in ids and meta['units'][split] == len(parts[-1])
    assert b''.join(parts) == text and parts[0].endswith(b'\n')
    assert 0.05 < len(parts[1]) / len(text) <= 0.1
    assert meta['unit'] == 'byte' and meta['augment'] == [list(range(meta['vocab_size']))]


def test_a_folder_of_texts(tmp_path, home, monkeypatch):
    """Forbids a held-out text cut in two, learnt from, or joined to the next; a block's edge or a
    second process that changes an id."""
    (tmp_path / 'texts/more').mkdir(parents=True)
    texts = {f'{"more/" * (i % 2)}{i}.txt': bytes([65 + i]) * 9 + TEXT for i in range(9)}
    for name, text in texts.items():
        (tmp_path / 'texts' / name).write_bytes(text)
    monkeypatch.setattr(textfile, 'BLOCK', 500)
    learnt, train = [], BPETokenizer.train
    monkeypatch.setattr(BPETokenizer, 'train',
                        lambda texts, size: train([learnt.append(t) or t for t in texts], size))
    for jobs in (1, 2):
        prepare.main(Config(str(tmp_path / 'texts'), f'jobs{jobs}', vocab_size=300, jobs=jobs))
    assert bins(home / 'jobs1') == bins(home / 'jobs2')
    meta = json.loads((home / 'jobs1/meta.json').read_text())
    tokenizer = BPETokenizer.from_dict(meta['tokenizer'])
    for split, pieces in meta['pieces'].items():
        row = np.fromfile(home / f'jobs1/{split}.bin', meta['dtype'])
        parts = np.split(row, np.flatnonzero(row == tokenizer.end) + 1)
        assert len(parts.pop()) == 0 and len(parts) == len(pieces)
        for piece, part in zip(pieces, parts):
            text = next(text for name, text in texts.items() if name.endswith(piece['name']))
            assert tokenizer.decode_bytes(part[:-1].tolist()) == text
            assert (text[:9] in b''.join(learnt)) == (split == 'train')
            assert piece['units'] == len(text)


def test_what_is_told_of_text(tmp_path, home, monkeypatch):
    """Forbids a listener that forgets a document at the edge of a block, or that remembers the one
    before it."""
    monkeypatch.setattr(textfile, 'BLOCK', 300)
    for i in range(4):
        (tmp_path / f'{i}.txt').write_bytes(b'%d ' % i + TEXT)
    prepare.main(Config(str(tmp_path), 'x', vocab_size=300, jobs=1))
    tokenizer = BPETokenizer.load(home / 'x' / 'meta.json')
    for split in ('train', 'val'):
        ids, told = told_of(home / 'x', split)
        documents = np.split(ids, np.flatnonzero(ids == tokenizer.end) + 1)[:-1]
        assert np.array_equal(told, np.concatenate([tokenizer.listen(document.tolist())
                                                    for document in documents]))
        assert (told[:, 1] == told[:, 1].max()).mean() > 0.5     # this text repeats itself


def documents(folder):
    """-> {'train': {name: bytes}, 'val': ...}"""
    meta = json.loads((folder / 'meta.json').read_text())
    tokenizer = BPETokenizer.from_dict(meta['tokenizer'])
    found = {}
    for split, pieces in meta['pieces'].items():
        row = np.fromfile(folder / f'{split}.bin', meta['dtype'])
        parts = np.split(row, np.flatnonzero(row == tokenizer.end) + 1)[:-1]
        found[split] = {piece['name']: tokenizer.decode_bytes(part[:-1].tolist())
                        for piece, part in zip(pieces, parts, strict=True)}
        assert [piece['units'] for piece in pieces] == [len(t) for t in found[split].values()]
    return found


LINES = [f'Once upon a time, {i} ünicorns met {i * i} more.' for i in range(400)]
PLAIN = '\n'.join(LINES).encode()
ENCODED = {'utf-8': PLAIN, 'utf-8-sig': codecs.BOM_UTF8 + PLAIN,
           'utf-16-le': codecs.BOM_UTF16_LE + PLAIN.decode().encode('utf-16-le'),
           'utf-16-be': codecs.BOM_UTF16_BE + PLAIN.decode().encode('utf-16-be'),
           'utf-32-le': codecs.BOM_UTF32_LE + PLAIN.decode().encode('utf-32-le')}


@pytest.mark.parametrize('encoding', ENCODED)
def test_encodings_by_their_mark(tmp_path, home, encoding):
    """Forbids UTF-16 learned as bytes, and a mark that becomes text."""
    (tmp_path / 'a.txt').write_bytes(ENCODED[encoding])
    prepare.main(Config(str(tmp_path / 'a.txt'), vocab_size=300, jobs=1))
    found = documents(home / 'a')
    assert b''.join([*found['train'].values(), *found['val'].values()]) == PLAIN


REFUSED = {'empty.txt': (b'', 'empty.txt: empty'), 'blank.md': (b'', 'blank.md: empty'),
           'binary.txt': (bytes(range(256)) * 9, 'binary.txt: not text'),
           'unmarked.txt': ('UTF-16'.encode('utf-16-le') * 99, 'unmarked.txt: not text'),
           'cut.txt': (codecs.BOM_UTF16_LE + b'a\0b\0c', 'cut.txt: begins like UTF-16'),
           'a.jsonl': (b'{"text": "a"}\n{"no": 1}\n', 'a.jsonl:2: no line of JSON'),
           'b.jsonl': (b'{"text": 5}\n', 'b.jsonl:1: no line of JSON'),
           'short.txt': (b'x', 'too short')}


@pytest.mark.parametrize('encoding', ['utf-8', 'latin-1', 'shift-jis'])
def test_older_encodings_are_told(tmp_path, home, capsys, encoding):
    """Forbids a text whose letters come back as others, without a word."""
    text = 'Größe, naïve\n' if encoding == 'latin-1' else '吾輩は猫\n' * 9
    (tmp_path / 'a.txt').write_bytes((text * 99).encode(encoding))
    prepare.main(Config(str(tmp_path / 'a.txt'), vocab_size=260, jobs=1))
    told = 'not in UTF-8: 2 documents, such as a.txt' in capsys.readouterr().out
    assert told == (encoding != 'utf-8')


@pytest.mark.parametrize('name', REFUSED)
def test_what_is_no_text(tmp_path, home, capsys, name):
    """Forbids binary files that are learned as text, and a refusal that does not name the file.
    Among others, such a file is left out."""
    data, due = REFUSED[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=re.escape(due)):
        prepare.main(Config(str(tmp_path / name), vocab_size=260, jobs=1))
    assert list(home.iterdir()) == []
    if name != 'short.txt':
        for i in range(2):
            (tmp_path / f'good{i}.txt').write_bytes(b'%d' % i + PLAIN)
        prepare.main(Config(str(tmp_path), 'x', vocab_size=260, jobs=1))
        assert due in capsys.readouterr().out
        assert sum(map(len, documents(home / 'x').values())) == 2


@pytest.mark.parametrize('suffix', ['txt', 'md', 'jsonl'])
@pytest.mark.parametrize('block', [40, 1 << 20])
def test_documents(tmp_path, home, monkeypatch, suffix, block):
    """Forbids documents that are joined, a separator that is learned as text, or found only where
    no block ends; and one text held out where there are hundreds."""
    monkeypatch.setattr(textfile, 'BLOCK', block)
    path = tmp_path / f'stories.{suffix}'
    if suffix == 'jsonl':
        path.write_text('\n'.join(json.dumps({'text': line}) for line in LINES))
    else:
        path.write_text('\n<|endoftext|>\n'.join(LINES) + '\n<|endoftext|>\n', 'utf-8')
    prepare.main(Config(str(path), vocab_size=300, jobs=1))
    found = documents(home / 'stories')
    assert sorted(text.strip() for text in (found['train'] | found['val']).values()) == sorted(
        line.encode() for line in LINES)
    assert 30 <= len(found['val']) <= 50


SHAPES = {'three paragraphs': '\n'.join(' '.join(LINES[i::3]) for i in range(3)),
          'one line': ' '.join(LINES * 3), 'one word': ''.join(LINES).replace(' ', ''),
          'one character, again and again': 'x' + 'ü' * 5000, 'Windows': '\r\n'.join(LINES)}


@pytest.mark.parametrize('shape', SHAPES)
def test_the_end_of_a_text_is_held_out(tmp_path, home, monkeypatch, shape):
    """Forbids one long line, or few long paragraphs, that are refused or hold out too little; a cut
    within a word where there are words, or within a character."""
    monkeypatch.setattr(textfile, 'BLOCK', 1500)
    text = SHAPES[shape].encode()
    (tmp_path / 'a.txt').write_bytes(text)
    prepare.main(Config(str(tmp_path / 'a.txt'), vocab_size=300, jobs=1))
    found = documents(home / 'a')
    (train,), (val,) = found['train'].values(), found['val'].values()
    assert train + val == text and 0.05 < len(val) / len(text) < 0.101
    assert train.decode()[-1] in ' \n' or ' ' not in SHAPES[shape]


# ------------------------------------------------------------------------ where corpora come from

HEAD = 'Comment\n& $ Q:99 &\n$  K:0   Q:{}   T:{}   C:4\n'
MUSE = {
    'rests': ('C4     4\nrest   4\nC4     2\nirest  6\nC4     4\n/END\nD4     4',
              [(0, 60, 24), (48, 60, 12), (96, 60, 24)]),
    'accidentals': ('F#4    4\nBff3   4\nEf5    4\nC##4   4\nCf4    4',
                    [(0, 66, 24), (24, 57, 24), (48, 75, 24), (72, 62, 24), (96, 59, 24)]),
    'ties': ('C4     4-\nC4     2-\nC4     2\nC4     4\nD4     4-',
             [(0, 60, 48), (48, 60, 24), (72, 62, 24)]),
    'chords': ('C4     4\n E4    4\n G4    4\nC4     4',
               [(0, 60, 24), (0, 64, 24), (0, 67, 24), (24, 60, 24)]),
    'tied chords': ('C4     4-\n E4    4-\nC4     4\n E4    4', [(0, 60, 48), (0, 64, 48)]),
    'back': ('C4     8\nback   8\nE4     4\nG4     4', [(0, 60, 48), (0, 64, 24), (24, 67, 24)]),
    'comments': ('C4     4\n&\nD4     4\n&\n@ E4     4\nF4     4', [(0, 60, 24), (24, 65, 24)]),
    'grace and cue notes': ('gD4    4\ncE4    4\nC4     4\nP  C0\n* words', [(0, 60, 24)]),
    'new divisions': ('C4     4\n$  Q:12\nD4    12\nE4     4',
                      [(0, 60, 24), (24, 62, 24), (48, 64, 8)]),
    'unison of two voices': ('C4     4\nback   4\nC4     8', [(0, 60, 48)])}


@pytest.mark.parametrize('name', MUSE)
def test_read_musedata(name):
    """Forbids wrong notes from an encoding: each case says which."""
    body, notes = MUSE[name]
    assert [tuple(n[:3]) for n in read_musedata([HEAD.format(4, '3/8') + body]).notes] == notes


def test_musedata_parts_and_metres():
    """Forbids C and cut C as 1/1 and 0/0, a metre at the wrong step, parts one after the other."""
    parts = [HEAD.format(4, '1/1') + 'C4    16\n$  T:0/0\nC4    16\n$ T:12/16\nC4     8',
             HEAD.format(8, '1/1') + 'C3    16\nC4    16']
    score = read_musedata(parts)
    assert score.metres == [(0, 4, 4), (96, 2, 2), (192, 12, 16)]
    assert score.notes == [Note(0, 48, 48), Note(0, 60, 96), Note(48, 60, 48), Note(96, 60, 96),
                           Note(192, 60, 48)]


GOOD = hashlib.sha256(b'good').hexdigest()


@pytest.mark.parametrize('there, comes, code, calls, due', [
    (b'good', b'?', 0, 0, None), (None, b'good', 0, 1, None), (b'go', b'good', 0, 1, None),
    (None, b'bad', 0, 1, 'SHA-256'), (b'go', None, 1, 1, 'no route to host')])
def test_fetch(tmp_path, monkeypatch, there, comes, code, calls, due):
    """Forbids fetching what is there, keeping what is broken, believing what comes, fetching what
    nobody looks at, and a failure that says neither what was tried nor what else will do."""
    monkeypatch.setattr(lib.fetch, 'DOWNLOADS', tmp_path)
    archive, ran = tmp_path / 'a.tar.gz', []
    if there:
        archive.write_bytes(there)

    def pip(words, **_):
        ran.append(words)
        if comes:
            (Path(words[words.index('-d') + 1]) / 'a.tar.gz').write_bytes(comes)
        return SimpleNamespace(returncode=code, stdout='', stderr='WARNING\nno route to host\n')
    monkeypatch.setattr(lib.fetch.subprocess, 'run', pip)
    try:
        assert lib.fetch.fetch('a==1', ['--flag'], 'a.tar.gz', GOOD, 'or do it by hand') == archive
        assert archive.read_bytes() == b'good' and due is None
    except ValueError as error:
        assert due in str(error) and 'or do it by hand' in str(error) and '\n' not in str(error)
        assert code == 0 or 'pip download a==1' in str(error)
    assert len(ran) == calls and all({'download', 'a==1', '--flag'} <= set(words) for words in ran)


def test_play_text():
    """Forbids Markdown in the text: bold speakers, directions over two lines, escapes, blanks."""
    play = ('# A Play\n\n## ACT I\n\n### SCENE I. _A street._\n\n_Enter ROMEO, with\nothers._\n\n'
            '**FIRST CITIZEN**  \nSpeak \\[loud\\], speak.  \n_Aside_ Ay, 5 \\* 3.\n\n\n')
    assert play_text(play) == (
        'A Play\n\nACT I\n\nSCENE I. [A street.]\n\n[Enter ROMEO, with\nothers.]\n\n'
        'FIRST CITIZEN:\nSpeak [loud], speak.\n[Aside] Ay, 5 * 3.\n')
