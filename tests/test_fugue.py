"""The archive of encodings -> MIDI. Each docstring names the mistake that its test forbids."""

import io
import json
import tarfile
import zipfile

import pytest

from data import fugue, wtc
import lib.archive
from lib.musedata import modern, read_musedata
from lib.score import read_midi
import prepare

# the file of one voice, as it lies in the archive
HEAD = '9\r\n1080  1\r\nBach Gesells\r\nchaft xxv,1\r\n\r\n4 1\r\n3 -1 '
OLD = HEAD + '{}\r\nmeasure 1\r\n{}\r\nEND\r\n'
CASES = {
    'durations of two digits': ('C4   12\nrest 24\nC#4   6', [(0, 60, 48), (144, 61, 24)]),
    'accidentals': ('Bf3   6\nF#4   6\nEff5  6', [(0, 58, 24), (24, 66, 24), (48, 74, 24)]),
    'a bar line': ('C4    6\nmeasure 2\nD4    6', [(0, 60, 24), (24, 62, 24)]),
    'a tie over a bar line': ('C4   12-\nmeasure 2\nC4    6\nC4    6', [(0, 60, 72), (72, 60, 24)]),
    'deleted lines': ('C4    6\ndeleted\ndele  0\nD4    6', [(0, 60, 24), (24, 62, 24)]),
    'an asterisk is no tie': ('C4    6*\nC4    6', [(0, 60, 24), (24, 60, 24)]),
    'chord tones without a duration': ('C4    3\n E4\n G4\nD4    6',
                                       [(0, 60, 12), (0, 64, 12), (0, 67, 12), (12, 62, 24)])}


@pytest.mark.parametrize('case', CASES)
def test_the_older_form(case):
    """Forbids wrong notes from an older encoding (each case says which), or another metre."""
    body, notes = CASES[case]
    old = OLD.format('18 6\r\n3 4 0 0 31', body.replace('\n', '\r\n'))
    score = read_musedata([modern(old)])
    assert [note[:3] for note in score.notes] == notes
    assert score.metres == [(0, 3, 4)]


def test_heads_of_other_lengths():
    """Forbids a head that must have eight lines: some titles take one line, some three."""
    for title in ('', 'vol. 14\r\n', 'one\r\n2 3\r\n'):
        old = OLD.format('18 6\r\n3 4 0 0 31', 'C4   12').replace('chaft', title + 'chaft')
        score = read_musedata([modern(old)])
        assert [note[:3] for note in score.notes] == [(0, 60, 48)] and score.metres == [(0, 3, 4)]


# a file of two voices in the newer form, as it lies in the archive
NEW = '''&&&&&&&&
FILENAME = 01
&&&&&&&&
Violino 1
score: part 1 of 2
&
a comment
&
$  K:0   Q:8   T:2/4  C:4
C4     8-       q     u        -(
measure 2
C4     4        e     u        )
gD4    4        s     u
rest   4        e
/END
&&&&&&&&
FILENAME = 02
&&&&&&&&
score: part 2 of 2
$  K:0   Q:2   T:2/4  C:22
E3     2        q     d
 G3    2        q     d
/END
/eof
//
'''
MUSICXML = '''<score-partwise><part><measure><note><pitch><step>C</step><octave>4</octave></pitch>
<duration>3</duration></note></measure></part></score-partwise>'''


def add(tar, path: str, content: bytes):
    """Add a file of the corpus to an archive."""
    member = tarfile.TarInfo(f'music21-0/music21/corpus/{path}')
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """An archive like music21's, each voice of which holds one note, unlike the others.
    -> the list of all fetches."""
    fetched = []
    pieces = {f'bach/artOfFugue_bwv1080/{number:02}': (number, 4) for number in range(1, 22)}
    pieces |= {'bach/artOfFugue_bwv1080/13': (13, 6)}
    pieces |= {'bach/bwv845/01': (1, 1), 'bach/bwv894/02': (1, 1)}
    for bwv in range(846, 894):
        for kind in (1, 2):
            pieces[f'bach/bwv{bwv}/0{kind}'] = (bwv - 840 + 50 * (kind - 1), 1)
    pieces |= {'haydn/opus1no0/movement5': (7, 4), 'mozart/k465/movement2': (8, 4),
               'haydn/symphony94/02': (9, 4), 'haydn/opus20no5/movement1': (10, 4)}
    with tarfile.open(tmp_path / 'archive.tar.gz', 'w:gz') as tar:
        for path, (length, voices) in pieces.items():
            file = io.BytesIO()
            with zipfile.ZipFile(file, 'w') as inner:
                inner.writestr('__MACOSX/x/01', 'not music')
                inner.writestr('x/read.me', 'not music')
                for voice in reversed(range(1, voices + 1)):
                    text = f'$ Q:24\nC{voice}   {length:3}\n'
                    if 'Fugue' in path or 'bach' not in path:
                        text = OLD.format('96 24\r\n4 4 0 0 31', f'C{voice}  {length:3}')
                    inner.writestr(f'x/{voice:02}', text)
            add(tar, f'{path}.zip', file.getvalue())
        add(tar, 'mozart/k157/movement3.md', NEW.encode())
        add(tar, 'mozart/k458/movement4.mxl', MUSICXML.encode())
        add(tar, 'haydn/opus74no2/movement1.mxl', b'not read')
        add(tar, 'mozart/k545/movement1_exposition.mxl', b'not read')
        add(tar, 'beethoven/opus18no1/movement1.mxl', b'not read')

    def fetch(*_):
        fetched.append(1)
        return tmp_path / 'archive.tar.gz'
    monkeypatch.setattr(lib.archive, 'fetch', fetch)
    return fetched


def read_folder(folder, pattern='*'):
    """-> {name: [(pitch, duration)]} of all files; there is nothing but whole MIDI files."""
    return {path.name: [(note.pitch, note.duration) for note in read_midi(str(path)).notes]
            for path in folder.glob(pattern)}


def test_the_art_of_fugue(tmp_path, archive):
    """Forbids a lost or misnamed piece, a voice lost or in the mirror's half, anything else of the
    archive among them, and fetching what is there."""
    for _ in range(2):
        fugue.collect(tmp_path / 'fugue')
    pieces = read_folder(tmp_path / 'fugue')
    expected = {f'contrapunctus-{number:02}.mid': number for number in range(1, 12)}
    expected |= {'contrapunctus-10a.mid': 14, 'canon-augmentation.mid': 15, 'canon-octave.mid': 16,
                 'canon-tenth.mid': 17, 'canon-twelfth.mid': 18, 'two-harpsichords-1.mid': 19,
                 'two-harpsichords-2.mid': 20, 'unfinished.mid': 21}
    whole = {name: [(12 * octave, number) for octave in (2, 3, 4, 5)]
             for name, number in expected.items()}
    assert pieces == whole | {
        'contrapunctus-12-1.mid': [(24, 12), (36, 12)],
        'contrapunctus-12-2.mid': [(48, 12), (60, 12)],
        'contrapunctus-13-1.mid': [(24, 13), (36, 13), (48, 13)],
        'contrapunctus-13-2.mid': [(60, 13), (72, 13), (84, 13)]}
    assert len(archive) == 1


def test_the_well_tempered_clavier(tmp_path, archive):
    """Forbids a lost or misnamed prelude or fugue, its neighbours in the archive among them, and
    fetching what is there."""
    for _ in range(2):
        wtc.collect(tmp_path / 'wtc')
    pieces = read_folder(tmp_path / 'wtc')
    assert len(pieces) == 96 and len(archive) == 1
    assert pieces['1-01-bwv846-prelude.mid'] == [(24, 6)]
    assert pieces['1-24-bwv869-fugue.mid'] == [(24, 79)]
    assert pieces['2-01-bwv870-prelude.mid'] == [(24, 30)]
    assert pieces['2-24-bwv893-fugue.mid'] == [(24, 103)]


def test_the_quartets(tmp_path, archive, monkeypatch):
    """Forbids a lost or misnamed movement, one of another form that is read wrongly, one twice, a
    symphony or a sonata among them, and a work with movements on both sides of the split."""
    monkeypatch.setattr(prepare, 'DATA', tmp_path)
    prepare.main(prepare.Config('quartets', jobs=1))
    pieces = read_folder(tmp_path / 'quartets', '*.mid')
    assert set(pieces) == {'haydn-opus1no0-5.mid', 'mozart-k465-2.mid', 'haydn-opus20no5-1.mid',
                           'mozart-k157-3.mid', 'mozart-k458-4.mid'}
    assert pieces['mozart-k157-3.mid'] == [(52, 24), (55, 24), (60, 36)]
    assert pieces['mozart-k458-4.mid'] == [(60, 72)]
    assert pieces['mozart-k465-2.mid'] == [(12 * octave, 8) for octave in (2, 3, 4, 5)]
    meta = json.loads((tmp_path / 'quartets/meta.json').read_text())
    held_out = {piece['name'] for piece in meta['pieces']['val']}
    assert held_out == {'mozart-k465-2.mid', 'haydn-opus20no5-1.mid'}


def test_other_forms_stand_on_one_side(tmp_path, archive, monkeypatch):
    """Forbids a fugue in training whose mirror, early form or arrangement is held out, and a corpus
    of which nothing is."""
    monkeypatch.setattr(prepare, 'DATA', tmp_path)
    prepare.main(prepare.Config('fugue', jobs=1))
    meta = json.loads((tmp_path / 'fugue/meta.json').read_text())
    held_out = {piece['name'] for piece in meta['pieces']['val']}
    assert held_out and len(held_out) + len(meta['pieces']['train']) == 23
    for names in ('contrapunctus-10.mid contrapunctus-10a.mid',
                  'contrapunctus-12-1.mid contrapunctus-12-2.mid',
                  'contrapunctus-13-1.mid contrapunctus-13-2.mid '
                  'two-harpsichords-1.mid two-harpsichords-2.mid'):
        forms = set(names.split())
        assert forms <= held_out or not forms & held_out
