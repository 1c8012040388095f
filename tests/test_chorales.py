"""MusicXML -> notes and bars. Each docstring names the mistake that its test forbids."""

import io
import json
import tarfile
import zipfile

import pytest

from data import chorales
import lib.archive
from lib.musicxml import read_musicxml
from lib.score import find_bars, read_midi
import prepare

C4, D4, E4, G4 = 60, 62, 64, 67
QUARTER = 24


def note(name: str, duration: int, inside: str = '', tie: str = '') -> str:
    """note('F#4', 6) -> a <note>. `inside` comes first: <chord/>, <grace/>."""
    alter = {'#': '<alter>1</alter>', 'b': '<alter>-1</alter>'}.get(name[1:-1], '')
    pitch = f'<pitch><step>{name[0]}</step>{alter}<octave>{name[-1]}</octave></pitch>'
    if name == 'rest':
        pitch = '<rest/>'
    ties = ''.join(f'<tie type="{kind}"/>' for kind in tie.split())
    return f'<note>{inside}{pitch}<duration>{duration}</duration>{ties}</note>'


def attributes(divisions: int = 0, metre: str = '') -> str:
    """attributes(2, '3/4') -> <attributes> with divisions and a time signature."""
    written = f'<divisions>{divisions}</divisions>' if divisions else ''
    if metre:
        beats, unit = metre.split('/')
        written += f'<time><beats>{beats}</beats><beat-type>{unit}</beat-type></time>'
    return f'<attributes>{written}</attributes>'


def page(*parts: list[str]) -> bytes:
    """The file of parts, each a list of what stands in its measures."""
    text = ''
    for measures in parts:
        text += f'<part>{"".join(f"<measure>{measure}</measure>" for measure in measures)}</part>'
    return f'<?xml version="1.0"?><score-partwise>{text}</score-partwise>'.encode()


def read(*parts: list[str]) -> list[tuple]:
    """-> (start, pitch, duration) of all notes, in steps."""
    return [tuple(found[:3]) for found in read_musicxml(page(*parts)).notes]


START = attributes(2, '4/4')
ONE_MEASURE = {
    'one after the other': (note('C4', 2) + note('D4', 1), [(0, 60, 24), (24, 62, 12)]),
    'alter': (note('C#4', 2) + note('Bb3', 2) + note('B3', 2),
              [(0, 61, 24), (24, 58, 24), (48, 59, 24)]),
    'rest': (note('rest', 2) + note('C4', 2), [(24, 60, 24)]),
    'chord': (note('C4', 2) + note('E4', 2, '<chord/>') + note('G4', 2, '<chord/>') + note('D4', 2),
              [(0, 60, 24), (0, 64, 24), (0, 67, 24), (24, 62, 24)]),
    'backup': (note('G4', 4) + '<backup><duration>4</duration></backup>'
               + note('C4', 2) + note('D4', 2), [(0, 60, 24), (0, 67, 48), (24, 62, 24)]),
    'forward': ('<forward><duration>3</duration></forward>' + note('C4', 1), [(36, 60, 12)]),
    'grace note': ('<note><grace/><pitch><step>D</step><octave>4</octave></pitch></note>'
                   + note('C4', 2), [(0, 60, 24)]),
    'triplet': (attributes(3) + note('C4', 1) + note('D4', 1) + note('E4', 1) + note('C4', 3),
                [(0, 60, 8), (8, 62, 8), (16, 64, 8), (24, 60, 24)]),
    'unison in one part': (note('C4', 2) + note('C4', 2, '<chord/>'), [(0, 60, 24)])}


@pytest.mark.parametrize('case', ONE_MEASURE)
def test_one_measure(case):
    """Forbids wrong pitches, starts or durations from one measure (each case says of what)."""
    body, notes = ONE_MEASURE[case]
    assert read([START + body]) == notes


def test_a_tie_over_a_bar_line():
    """Forbids a tied note that is struck again, a tie that swallows the next note of that pitch or
    one between, and a note lost whose tie leads nowhere."""
    first = note('C4', 8, tie='start')
    second = note('C4', 4, tie='stop start') + note('D4', 4)
    assert read([START + first, note('C4', 2, tie='stop') + note('C4', 6)]) == [
        (0, C4, 120), (120, C4, 72)]
    assert read([START + first, second, note('C4', 8)]) == [
        (0, C4, 144), (144, D4, 48), (192, C4, 96)]
    assert read([START + note('C4', 2, tie='start') + note('D4', 2)]) == [(0, C4, 24), (24, D4, 24)]
    assert read([START + note('rest', 6) + first, second]) == [(72, C4, 144), (216, D4, 48)]


def test_a_tie_stays_in_its_part():
    """Forbids a tie that goes on in another part, where that pitch is struck."""
    upper = [START + note('C4', 8, tie='start'), note('C4', 4, tie='stop') + note('D4', 4)]
    lower = [START + note('rest', 8), note('C4', 8)]
    for parts in ((upper, lower), (lower, upper)):
        assert read(*parts) == [(0, C4, 144), (96, C4, 96), (144, D4, 48)]


def test_parts_sound_together():
    """Forbids parts one after the other, divisions of one part in another, and a unison of two
    parts that is struck twice or ends with the shorter note."""
    upper = [START + note('G4', 4) + note('E4', 4), note('C4', 8), note('G4', 8)]
    lower = [attributes(6, '4/4') + note('C4', 12) + note('E4', 6) + note('D4', 6), note('C4', 12),
             note('C4', 24)]
    assert read(upper, lower) == [(0, C4, 48), (0, G4, 48), (48, E4, 48), (72, D4, 24),
                                  (96, C4, 96), (192, C4, 96), (192, G4, 96)]


def test_a_measure_that_one_part_leaves_open():
    """Forbids parts that drift apart: a measure begins at one moment in all of them."""
    short = [START + note('C4', 2), note('D4', 8)]
    full = [START + note('E4', 8), note('G4', 8)]
    for parts in ((short, full), (full, short)):
        assert read(*parts) == [(0, C4, 24), (0, E4, 96), (96, D4, 96), (96, G4, 96)]


def test_a_part_that_rests_in_a_pickup():
    """Forbids a pickup as long as the rest of a silent part, which some programs always write as a
    whole bar."""
    silent = [START + note('rest', 8), note('rest', 8), note('rest', 8)]
    plays = [START + note('C4', 2), note('D4', 8), note('rest', 8)]
    for parts in ((silent, plays), (plays, silent)):
        score = read_musicxml(page(*parts))
        assert [found[:3] for found in score.notes] == [(0, C4, 24), (24, D4, 96)]
        assert score.metres == [(0, 1, 4), (24, 4, 4)]


def test_a_second_voice_that_is_shorter():
    """Forbids a measure that ends with its second voice, which may stop earlier."""
    body = note('G4', 8) + '<backup><duration>8</duration></backup>' + note('C4', 2)
    assert read([START + body, note('D4', 8)]) == [(0, C4, 24), (0, G4, 96), (96, D4, 96)]


def bars(*measures: tuple[str, int]) -> tuple[list, list]:
    """(attributes, quarters) of measures -> the time signatures and where bars begin."""
    score = read_musicxml(page([written + note('C4', quarters) for written, quarters in measures]))
    return score.metres, [bar.start for bar in find_bars(score)]


IN_FOUR = attributes(1, '4/4')
BARS = {
    'full bars': ([(IN_FOUR, 4), ('', 4)], [(0, 4, 4)], [0, 96]),
    'a pickup': ([(IN_FOUR, 1), ('', 4), ('', 4)], [(0, 1, 4), (24, 4, 4)], [0, 24, 120]),
    'a pickup of an eighth': ([(attributes(2, '4/4'), 1), ('', 8)], [(0, 1, 8), (12, 4, 4)],
                              [0, 12]),
    'a pickup and a short last bar': ([(IN_FOUR, 1), ('', 4), ('', 3)], [(0, 1, 4), (24, 4, 4)],
                                      [0, 24, 120]),
    'a bar that a repeat divides': ([(IN_FOUR, 4), ('', 3), ('', 1), ('', 4)], [(0, 4, 4)],
                                    [0, 96, 192]),
    'another metre': ([(IN_FOUR, 4), (attributes(metre='3/4'), 3), ('', 3)],
                      [(0, 4, 4), (96, 3, 4)], [0, 96, 168]),
    'another metre after a short bar': ([(attributes(1, '3/4'), 1), (attributes(metre='4/4'), 2),
                                         ('', 4)], [(0, 1, 4), (24, 2, 4), (72, 4, 4)],
                                        [0, 24, 72]),
    'a short bar within': ([(IN_FOUR, 4), ('', 2), ('', 4), ('', 4)],
                           [(0, 4, 4), (96, 2, 4), (144, 4, 4)], [0, 96, 144, 240]),
    'units that no word has': ([(attributes(1, '3/1'), 12), ('', 12)], [(0, 6, 2)], [0, 288])}


@pytest.mark.parametrize('case', BARS)
def test_where_bars_begin(case):
    """Forbids bars that begin beside the bar lines (each case says of what)."""
    measures, metres, starts = BARS[case]
    assert bars(*measures) == (metres, starts)


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """An archive with some pieces, one held out and all of them different. -> all fetches."""
    fetched = []
    files = {}
    for number, name in enumerate(['bwv1.6.mxl', 'bwv69.6-a.xml', 'bwv299.mxl']):
        text = page([attributes(1, '4/4') + note('CDE'[number] + '4', number + 1)])
        files[f'bach/{name}'] = zipped(text) if name.endswith('mxl') else text
    files |= {'bach/bwv277.krn': b'not read', 'bach/bwv846/01.zip': b'not read',
              'beethoven/opus132.mxl': b'not read'}
    with tarfile.open(tmp_path / 'archive.tar.gz', 'w:gz') as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f'music21-0/music21/corpus/{name}')
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))

    def fetch(*_):
        fetched.append(1)
        return tmp_path / 'archive.tar.gz'
    monkeypatch.setattr(lib.archive, 'fetch', fetch)
    return fetched


def zipped(text: bytes) -> bytes:
    """A .mxl file: the page and a list of what is inside, which is .xml too."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as inner:
        inner.writestr('META-INF/container.xml', '<container/>')
        inner.writestr('page.xml', text)
    return file.getvalue()


def test_the_chorales(tmp_path, archive, monkeypatch):
    """Forbids a lost or misnamed chorale, anything else of the archive among them, a .mxl file
    whose list is taken for its music, and a corpus of which nothing is held out."""
    monkeypatch.setattr(prepare, 'DATA', tmp_path)
    prepare.main(prepare.Config('chorales', jobs=1))
    pieces = {path.name: [found[:3] for found in read_midi(str(path)).notes]
              for path in (tmp_path / 'chorales').glob('*.mid')}
    assert pieces == {'bwv1.6.mid': [(0, C4, QUARTER)], 'bwv69.6-a.mid': [(0, D4, 2 * QUARTER)],
                      'bwv299.mid': [(0, E4, 3 * QUARTER)]}
    meta = json.loads((tmp_path / 'chorales/meta.json').read_text())
    assert meta['pieces']['val'] and meta['pieces']['train']


def test_chorales_are_fetched_once(tmp_path, archive, monkeypatch):
    """Forbids fetching what is there."""
    for number in range(402):
        (tmp_path / f'{number}.mid').write_bytes(b'')
    chorales.collect(tmp_path)
    assert not archive
