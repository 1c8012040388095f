"""A corpus -> ids on disk. Each docstring names the mistake that its test forbids."""
import hashlib
import json
import random
import sys
from pathlib import Path
from types import SimpleNamespace

import mido
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import data
import prepare
from data.shakespeare import play_text
from data.musedata import read_musedata
from prepare import Config
from tokenizer_bpe import BPETokenizer
from tokenizer_midi import MidiTokenizer, Note, read_midi


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Nothing is written to the data of the repo."""
    monkeypatch.setattr(prepare, 'DATA', tmp_path / 'data')
    return tmp_path / 'data'


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
    for i, broken in enumerate([b'', b'MThd', (tmp_path / 'My Songs/a.mid').read_bytes()[:99]]):
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
    assert (meta['format'], meta['dtype'], meta['unit']) == (3, 'uint16', 'note')
    assert meta['vocab_size'] == tokenizer.vocab_size == MidiTokenizer().vocab_size
    assert meta['augment'] == tokenizer.augment_table()
    assert meta['units'] == {'train': 6 * 30, 'val': 30}
    assert {p['units'] for split in ('train', 'val') for p in meta['pieces'][split]} == {30}
    assert set(bins(home / 'my-songs')) == {'train.bin', 'val.bin', 'meta.json'}
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
    prepare.hold_out(pieces[::-1], 0.1, None)
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


TOO_LITTLE = {'missing': 'no such file', 'empty': 'no .mid', 'broken': 'no .mid',
              'one': '1 different', 'twins': '1 different', 'file': '1 different'}


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


INTERRUPTED = [('midi', prepare, 'hold_out', 0, True), ('midi', np, 'fromfile', 3, False),
               ('text', prepare, 'hold_out', 0, True), ('text', prepare, 'parallel', 1, False)]


@pytest.mark.parametrize('kind, owner, name, after, meta', INTERRUPTED)
def test_an_interrupted_run(tmp_path, home, monkeypatch, kind, owner, name, after, meta):
    """Forbids new ids under the old meta.json, and an old corpus spoilt too early."""
    (tmp_path / 'text').mkdir()
    for seed in range(9):
        song(tmp_path / f'midi/{seed}.mid', seed)
        (tmp_path / f'text/{seed}.txt').write_text(f'Piece {seed} of the text.\n' * 50)
    prepare.main(config := Config(str(tmp_path / kind), 'x', vocab_size=260, jobs=1))
    before, calls, plain = bins(home / 'x'), iter(range(99)), getattr(owner, name)

    def stop(*args, **more):
        if next(calls) == after:
            raise KeyboardInterrupt
        return plain(*args, **more)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(owner, name, stop)
        prepare.main(config)
    assert (home / 'x/meta.json').exists() == meta
    assert not meta or before.items() <= bins(home / 'x').items()
    prepare.main(config)
    assert bins(home / 'x') == before                # and the next run makes all good


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
    monkeypatch.setattr(prepare, 'BLOCK', 500)
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
    monkeypatch.setattr(data, 'FOLDER', tmp_path)
    archive, ran = tmp_path / 'downloads/a.tar.gz', []
    archive.parent.mkdir()
    if there:
        archive.write_bytes(there)

    def pip(words, **_):
        ran.append(words)
        if comes:
            (Path(words[words.index('-d') + 1]) / 'a.tar.gz').write_bytes(comes)
        return SimpleNamespace(returncode=code, stdout='', stderr='WARNING\nno route to host\n')
    monkeypatch.setattr(data.subprocess, 'run', pip)
    try:
        assert data.fetch('a==1', ['--flag'], 'a.tar.gz', GOOD, 'or do it by hand') == archive
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
