"""MusicXML -> notes and bars. Each docstring names the mistake that its test forbids."""

import pytest

from lib.musicxml import read_musicxml
from lib.score import find_bars

C4, D4, E4, G4 = 60, 62, 64, 67


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


START = attributes(2, '4/4')
TIED = note('C4', 8, tie='start')
GOES_ON = note('C4', 4, tie='stop start') + note('D4', 4)
# parts, each a list of measures -> (start, pitch, duration) of all notes, in steps
PARTS = {
    'one after the other': ([[START + note('C4', 2) + note('C#4', 1) + note('rest', 2)
                              + note('Bb3', 2) + note('B3', 2)]],
                            [(0, C4, 24), (24, 61, 12), (60, 58, 24), (84, 59, 24)]),
    'chord': ([[START + note('C4', 2) + note('E4', 2, '<chord/>') + note('G4', 2, '<chord/>')
                + note('D4', 2)]], [(0, C4, 24), (0, E4, 24), (0, G4, 24), (24, D4, 24)]),
    'backup': ([[START + note('G4', 4) + '<backup><duration>4</duration></backup>'
                 + note('C4', 2) + note('D4', 2)]], [(0, C4, 24), (0, G4, 48), (24, D4, 24)]),
    'forward': ([[START + '<forward><duration>3</duration></forward>' + note('C4', 1)]],
                [(36, C4, 12)]),
    'grace note': ([[START + '<note><grace/><pitch><step>D</step><octave>4</octave></pitch></note>'
                     + note('C4', 2)]], [(0, C4, 24)]),
    'triplet': ([[attributes(3) + note('C4', 1) + note('D4', 1) + note('E4', 1) + note('C4', 3)]],
                [(0, C4, 8), (8, D4, 8), (16, E4, 8), (24, C4, 24)]),
    'unison in one part': ([[START + note('C4', 2) + note('C4', 2, '<chord/>')]], [(0, C4, 24)]),
    'a tie over two bar lines': ([[START + TIED, note('C4', 8, tie='stop start'),
                                   note('C4', 2, tie='stop') + note('C4', 6)]],
                                 [(0, C4, 216), (216, C4, 72)]),
    'a tie after a rest': ([[START + note('rest', 6) + TIED, GOES_ON, note('C4', 8)]],
                           [(72, C4, 144), (216, D4, 48), (264, C4, 96)]),
    'a tie that leads nowhere': ([[START + note('C4', 2, tie='start') + note('D4', 2)]],
                                 [(0, C4, 24), (24, D4, 24)]),
    'a tie stays in its part, though another part strikes the key': (
        [[START + TIED, note('C4', 4, tie='stop') + note('D4', 4)],
         [START + note('rest', 8), note('C4', 8)]], [(0, C4, 144), (96, C4, 96), (144, D4, 48)]),
    'parts with divisions of their own, in unison twice': (
        [[START + note('G4', 4) + note('E4', 4), note('C4', 8), note('G4', 8)],
         [attributes(6, '4/4') + note('C4', 12) + note('E4', 6) + note('D4', 6), note('C4', 12),
          note('C4', 24)]],
        [(0, C4, 48), (0, G4, 48), (48, E4, 48), (72, D4, 24), (96, C4, 96), (192, C4, 96),
         (192, G4, 96)]),
    'a measure that one part leaves open': (
        [[START + note('C4', 2), note('D4', 8)], [START + note('E4', 8), note('G4', 8)]],
        [(0, C4, 24), (0, E4, 96), (96, D4, 96), (96, G4, 96)]),
    'a second voice that is shorter than its measure': (
        [[START + note('G4', 8) + '<backup><duration>8</duration></backup>' + note('C4', 2),
          note('D4', 8)]], [(0, C4, 24), (0, G4, 96), (96, D4, 96)])}


@pytest.mark.parametrize('case', PARTS)
def test_notes_of_parts(case):
    """Forbids wrong pitches, starts or durations (each case says of what), in any order of
    the parts."""
    parts, notes = PARTS[case]
    for order in (parts, parts[::-1]):
        found = read_musicxml(page(*order)).notes
        assert [note[:3] for note in found] == notes


def test_a_part_that_rests_in_a_pickup():
    """Forbids a pickup as long as the rest of a silent part, which some programs always write as a
    whole bar."""
    silent = [START + note('rest', 8), note('rest', 8), note('rest', 8)]
    plays = [START + note('C4', 2), note('D4', 8), note('rest', 8)]
    for parts in ((silent, plays), (plays, silent)):
        score = read_musicxml(page(*parts))
        assert [found[:3] for found in score.notes] == [(0, C4, 24), (24, D4, 96)]
        assert score.metres == [(0, 1, 4), (24, 4, 4)]


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
    score = read_musicxml(page([written + note('C4', quarters) for written, quarters in measures]))
    assert score.metres == metres
    assert [bar.start for bar in find_bars(score)] == starts
