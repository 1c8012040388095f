"""The archive of encodings -> MIDI. Each docstring names the mistake that its test forbids."""

import io
import json
import tarfile
import zipfile

import pytest

from data import chorales, fugue, quartets, wtc
import lib.archive
from lib.musedata import modern, read_musedata
from lib.score import Note, read_midi
import prepare

NEW_HEAD = 'Comment\n& $ Q:99 &\n$  K:0   Q:{}   T:{}   C:4\n'
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
    'unison of two voices': ('C4     4\nback   4\nC4     8', [(0, 60, 48)]),
    'unison, the longer first': ('C4     8\nback   8\nC4     4', [(0, 60, 48)])}


@pytest.mark.parametrize('name', MUSE)
def test_read_musedata(name):
    """Forbids wrong notes from an encoding: each case says which."""
    body, notes = MUSE[name]
    assert [tuple(n[:3]) for n in read_musedata([NEW_HEAD.format(4, '3/8') + body]).notes] == notes


def test_musedata_parts_and_metres():
    """Forbids C and cut C as 1/1 and 0/0, a metre at the wrong step, parts one after the other."""
    parts = [NEW_HEAD.format(4, '1/1') + 'C4    16\n$  T:0/0\nC4    16\n$ T:12/16\nC4     8',
             NEW_HEAD.format(8, '1/1') + 'C3    16\nC4    16']
    score = read_musedata(parts)
    assert score.metres == [(0, 4, 4), (96, 2, 2), (192, 12, 16)]
    assert score.notes == [Note(0, 48, 48), Note(0, 60, 96), Note(48, 60, 48), Note(96, 60, 96),
                           Note(192, 60, 48)]


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


@pytest.mark.parametrize('title', ['', 'vol. 14\r\n', 'one\r\n2 3\r\n'])
@pytest.mark.parametrize('case', CASES)
def test_the_older_form(case, title):
    """Forbids wrong notes from an older encoding (each case says which), another metre, and a head
    that must have eight lines: some titles take one line, some three."""
    body, notes = CASES[case]
    old = OLD.format('18 6\r\n3 4 0 0 31', body.replace('\n', '\r\n'))
    score = read_musedata([modern(old.replace('chaft', title + 'chaft'))])
    assert [note[:3] for note in score.notes] == notes
    assert score.metres == [(0, 3, 4)]


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
# a page of one voice with one note: of the quarters 1, 2, 3 ...
MUSICXML = '''<score-partwise><part><measure><note><pitch><step>C</step><octave>4</octave></pitch>
<duration>{}</duration></note></measure></part></score-partwise>'''


def zipped(files: dict) -> bytes:
    """The bytes of a zip with these files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as inner:
        for name, content in files.items():
            inner.writestr(name, content)
    return file.getvalue()


def page(quarters: int) -> bytes:
    """A .mxl file: a page, and a list of what is inside, which is .xml too."""
    return zipped({'META-INF/container.xml': '<container/>',
                   'page.xml': MUSICXML.format(quarters)})


def voices(length: int, count: int, is_old: bool) -> bytes:
    """A .zip file: so many voices of one note each, and what else such archives have in them."""
    files = {'__MACOSX/x/01': 'not music', 'x/read.me': 'not music'}
    for voice in range(count, 0, -1):
        text = f'$ Q:24\nC{voice}   {length:3}\n'
        if is_old:
            text = OLD.format('96 24\r\n4 4 0 0 31', f'C{voice}  {length:3}')
        files[f'x/{voice:02}'] = text
    return zipped(files)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """An archive like music21's, each piece of which is unlike the others."""
    files = {}
    for number in range(1, 22):
        count = 6 if number == 13 else 4
        files[f'bach/artOfFugue_bwv1080/{number:02}.zip'] = voices(number, count, True)
    for bwv in range(845, 895):
        for kind in (1, 2):
            length = bwv - 840 + 50 * (kind - 1)
            files[f'bach/bwv{bwv}/0{kind}.zip'] = voices(length, 1, False)
    for number, name in enumerate(('haydn/opus1no0/movement5', 'mozart/k465/movement2',
                                   'haydn/symphony94/02', 'haydn/opus20no5/movement1',
                                   'haydn/opus33no6/movement1', 'haydn/opus64no5/movement1',
                                   'haydn/opus76no3/movement1', 'mozart/k172/movement1',
                                   'mozart/k173/movement1')):
        files[f'{name}.zip'] = voices(7 + number, 4, True)
    files |= {'mozart/k157/movement3.md': NEW.encode(), 'mozart/k458/movement4.mxl': page(3),
              'bach/bwv1.6.mxl': page(1), 'bach/bwv69.6-a.xml': MUSICXML.format(2).encode(),
              'bach/bwv299.mxl': page(3)}
    for name in ('haydn/opus74no2/movement1.mxl', 'mozart/k545/movement1_exposition.mxl',
                 'beethoven/opus18no1/movement1.mxl', 'bach/bwv277.krn', 'beethoven/opus132.mxl'):
        files[name] = b'not read'
    path = tmp_path_factory.mktemp('archive') / 'archive.tar.gz'
    with tarfile.open(path, 'w:gz') as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f'music21-0/music21/corpus/{name}')
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def archive(whole, tmp_path, monkeypatch):
    """-> the list of all fetches of that archive. Corpora go to tmp_path."""
    fetched = []

    def fetch(*_):
        fetched.append(1)
        return whole
    monkeypatch.setattr(lib.archive, 'fetch', fetch)
    monkeypatch.setattr(prepare, 'DATA', tmp_path)
    return fetched


def collect(folder):
    """Prepare the corpus of this name -> {name: [(pitch, duration)]} of all its files, and which
    are held out. The files must be whole MIDI files, and all in the corpus."""
    prepare.main(prepare.Config(folder.name, jobs=1))
    pieces = {}
    for path in folder.glob('*.mid*'):
        pieces[path.name] = [(note.pitch, note.duration) for note in read_midi(str(path)).notes]
    meta = json.loads((folder / 'meta.json').read_text())
    held_out = {piece['name'] for piece in meta['pieces']['val']}
    assert held_out and len(held_out) + len(meta['pieces']['train']) == len(pieces)
    return pieces, held_out


@pytest.mark.parametrize('source, count', [(chorales, 402), (fugue, 23), (quartets, 331),
                                           (wtc, 96)])
def test_what_is_there_is_not_fetched(tmp_path, archive, source, count):
    """Forbids fetching what is there, and believing that all is there when a piece is missing."""
    for number in range(count):
        (tmp_path / f'{number}.mid').write_bytes(b'')
    source.collect(tmp_path)
    assert not archive
    (tmp_path / '0.mid').unlink()
    source.collect(tmp_path)
    assert archive


def test_the_art_of_fugue(tmp_path, archive):
    """Forbids a lost or misnamed piece, a voice lost or in the mirror's half, anything else of the
    archive among them, and a fugue in training whose mirror, early form or arrangement is held
    out."""
    pieces, held_out = collect(tmp_path / 'fugue')
    expected = {f'contrapunctus-{number:02}.mid': number for number in range(1, 12)}
    expected |= {'contrapunctus-10a.mid': 14, 'canon-augmentation.mid': 15, 'canon-octave.mid': 16,
                 'canon-tenth.mid': 17, 'canon-twelfth.mid': 18, 'two-harpsichords-1.mid': 19,
                 'two-harpsichords-2.mid': 20, 'unfinished.mid': 21}
    full = {name: [(12 * octave, number) for octave in (2, 3, 4, 5)]
            for name, number in expected.items()}
    assert pieces == full | {
        'contrapunctus-12-1.mid': [(24, 12), (36, 12)],
        'contrapunctus-12-2.mid': [(48, 12), (60, 12)],
        'contrapunctus-13-1.mid': [(24, 13), (36, 13), (48, 13)],
        'contrapunctus-13-2.mid': [(60, 13), (72, 13), (84, 13)]}
    assert held_out == {'contrapunctus-09.mid'}          # it has no other form


def test_the_well_tempered_clavier(tmp_path, archive):
    """Forbids a lost or misnamed prelude or fugue, its neighbours in the archive among them, and
    another split than the published one."""
    pieces, held_out = collect(tmp_path / 'wtc')
    assert len(pieces) == 96
    assert pieces['1-01-bwv846-prelude.mid'] == [(24, 6)]
    assert pieces['1-24-bwv869-fugue.mid'] == [(24, 79)]
    assert pieces['2-01-bwv870-prelude.mid'] == [(24, 30)]
    assert pieces['2-24-bwv893-fugue.mid'] == [(24, 103)]
    assert {name[:4] for name in held_out} == {f'{book}-{number}' for book in (1, 2)
                                               for number in ('06', '12', '18', '24')}
    assert len(held_out) == 16


def test_the_quartets(tmp_path, archive):
    """Forbids a lost or misnamed movement, one of another form that is read wrongly, one twice, a
    symphony or a sonata among them, and another split than the published one."""
    pieces, held_out = collect(tmp_path / 'quartets')
    lengths = {'haydn-opus1no0-5': 7, 'mozart-k465-2': 8, 'haydn-opus20no5-1': 10,
               'haydn-opus33no6-1': 11, 'haydn-opus64no5-1': 12, 'haydn-opus76no3-1': 13,
               'mozart-k172-1': 14, 'mozart-k173-1': 15}
    full = {f'{name}.mid': [(12 * octave, length) for octave in (2, 3, 4, 5)]
            for name, length in lengths.items()}
    assert pieces == full | {'mozart-k157-3.mid': [(52, 24), (55, 24), (60, 36)],
                             'mozart-k458-4.mid': [(60, 72)]}
    assert held_out == {f'{name}.mid' for name in lengths} - {'haydn-opus1no0-5.mid',
                                                              'mozart-k173-1.mid'}


def test_the_chorales(tmp_path, archive):
    """Forbids a lost or misnamed chorale, anything else of the archive among them, a .mxl file
    whose list is taken for its music, and a corpus of which nothing is held out."""
    pieces, held_out = collect(tmp_path / 'chorales')
    assert pieces == {'bwv1.6.mid': [(60, 24)], 'bwv69.6-a.mid': [(60, 48)],
                      'bwv299.mid': [(60, 72)]}
    assert held_out == {'bwv299.mid'}
