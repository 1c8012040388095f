"""The pages of lib/page.py, read as a browser would."""

import base64
import json
import math
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from itertools import combinations

import pytest

from lib import page
from lib.hands import LEFT, find_hands
from lib.page import (Excerpt, PACE, ROW, TOP, Pair, Piece, Text, chance, draw_curve, find_best,
                      log_ticks, part, piano_roll, pitch_name, read_curve, ticks, write_page,
                      write_quiz)
from lib.score import Note, Score, find_bars
from lib.synth import seconds

HOSTILE = '"><script>alert(1)</script>\'&'
LOG = 'step,loss,lr,tokens_per_second,seconds,nats_toy,bits_toy\r\n'


class Page(HTMLParser):
    """All elements of a page as (tag, attributes, text within, classes of what is around)."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(path.read_text('utf-8'))

    def handle_starttag(self, tag, attributes):
        element = {'tag': tag, 'text': '', 'in': [e.get('class') for e in self.open]}
        element.update(attributes)
        self.elements.append(element)
        if tag not in ('meta', 'input'):
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()['tag'] == tag, f'</{tag}> closes something else'

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element['text'] += data

    def all(self, tag, **wanted):
        return [element for element in self.elements if element['tag'] == tag
                and all(element.get(name) == value for name, value in wanted.items())]

    def texts(self, tag):
        return [element['text'] for element in self.all(tag)]

    def notes(self):
        """(kind, x, y, width, tip) of all notes, in the order of the page."""
        return [(rect['in'][-1], *(float(rect[name]) for name in ('x', 'y', 'width')),
                 rect['data-tip']) for rect in self.all('rect') if 'data-tip' in rect]


@pytest.fixture
def score():
    """Two bars of 3/4, then 6/8; from the second bar on half as fast; a chord and a triplet."""
    notes = [Note(0, 60, 72), Note(0, 64, 24), Note(24, 66, 12), Note(72, 55, 8), Note(80, 67, 16),
             Note(144, 72, 36), Note(180, 48, 36), Note(216, 84, 36)]
    return Score(notes, tempos=[(0, 120.0), (72, 60.0)], metres=[(0, 3, 4), (144, 6, 8)])


def write(tmp_path, *samples, title='out-toy', facts=None, curve=None):
    path = tmp_path / 'index.html'
    write_page(path, title, facts or {}, list(samples), curve)
    return Page(path)


def bar_xs(document):
    """Where the bar lines are, of an SVG or a page."""
    strokes = ' '.join(re.findall(r'class="bar(?: strong)?" d="([^"]*)"', document))
    return sorted(float(x) for x in re.findall(r'M([\d.]+) ', strokes))


# ---- the roll

def test_every_note_is_drawn_once_when_it_sounds_and_where_its_key_is(tmp_path, score):
    """Forbids a note that is lost or drawn twice, a time in beats that leaves the sound at a change
    of tempo, and a roll that stands on its head."""
    drawn = sorted(write(tmp_path, Piece('a', score)).notes(), key=lambda note: note[1:3])
    expected = sorted(seconds(score), key=lambda note: (note[0], -note[2]))
    assert len(drawn) == len(score.notes)
    for (_, x, y, width, _), (start, duration, pitch, _) in zip(drawn, expected):
        assert abs(x / PACE - start) < 0.002
        assert abs((width + 1) / PACE - duration) < 0.003
        assert y == TOP + (84 + 2 - pitch) * ROW
    assert drawn[-1][1] / PACE == pytest.approx(7.5, abs=0.002)      # 0.5 * 3 + 6 beats of 1 s


def test_bar_lines_follow_metre_and_tempo(score):
    """Forbids bar lines that leave the notes at a change of tempo or metre."""
    assert bar_xs(piano_roll(Piece('a', score))) == [0, 1.5 * PACE, 4.5 * PACE, 7.5 * PACE]


@pytest.mark.parametrize('metres, end, starts', [
    ([], 96, [0]), ([], 97, [0, 96]), ([(0, 3, 8)], 73, [0, 36, 72]), ([(0, 12, 16)], 72, [0]),
    ([(0, 1, 64)], 5, [0, 1.5, 3, 4.5]), ([(0, 4, 4), (96, 3, 4)], 240, [0, 96, 168]),
    ([(24, 2, 4), (0, 4, 4)], 73, [0, 24, 72]), ([(0, 4, 4), (48, 3, 4)], 144, [0, 48, 120])])
def test_bars(metres, end, starts):
    """Forbids bars of 4/4 throughout, from a wrong beginning, or that go on through a change of
    metre, which begins a bar also in the middle of one."""
    assert [bar.start for bar in find_bars(Score([Note(0, 60, end)], metres=metres))] == starts


def test_bars_are_numbered_sparsely():
    """Forbids numbers that lie on each other in quick, short bars, or stand at other bars."""
    score = Score([Note(36 * bar, 60, 36) for bar in range(64)], [(0, 216.0)], [(0, 3, 8)])
    root = ET.fromstring(piano_roll(Piece('a', score)))
    texts = [text for text in root.iter('{http://www.w3.org/2000/svg}text') if text.get('dx')]
    numbers = [int(text.text) for text in texts]
    places = [float(text.get('x')) for text in texts]
    assert numbers == list(range(1, 65, 8))
    assert min(b - a for a, b in zip(places, places[1:])) > 50
    assert places == pytest.approx([(n - 1) * 1.5 * 60 / 216 * PACE for n in numbers], abs=0.06)


def test_the_tip_and_the_legend(tmp_path, score):
    """Forbids a beat that is counted from 0, in quarters where the metre has eighths, or a number
    of bits that belongs to another note; a note of the prompt that is shown as copied, and a count
    in the legend that is not that of the roll."""
    bits = [math.nan, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.25]
    copied = [True] * 4 + [False] * 2 + [True] * 2
    document = write(tmp_path, Piece('a', score, 3, bits, copied))
    assert {(tip, kind) for kind, *_, tip in document.notes()} == {
        ('C4 · bar 1, beat 1 · 3/4 note · prompt', 'prompt'),
        ('E4 · bar 1, beat 1 · 1/4 note · 1.0 bits · prompt', 'prompt'),
        ('F#4 · bar 1, beat 2 · 1/8 note · 2.0 bits · prompt', 'prompt'),
        ('G3 · bar 2, beat 1 · 1/12 note · 3.0 bits · copied', 'copied'),
        ('G4 · bar 2, beat 1.33 · 1/6 note · 4.0 bits', 'composed'),
        ('C5 · bar 3, beat 1 · 3/8 note · 5.0 bits', 'composed'),
        ('C3 · bar 3, beat 4 · 3/8 note · 6.0 bits · copied', 'copied'),
        ('C6 · bar 4, beat 1 · 3/8 note · 7.2 bits · copied', 'copied')}
    assert document.texts('li') == ['prompt (3)', 'composed (2)',
                                    'recited from the training pieces (3)']


@pytest.mark.parametrize('copied, items', [
    (None, ['composed (8)']),
    ([False] * 8, ['composed (8)', 'recited from the training pieces (0)'])])
def test_the_legend_says_nothing_copied_only_if_it_was_looked_for(tmp_path, score, copied, items):
    """Forbids "0 copied" where nobody has looked."""
    assert write(tmp_path, Piece('a', score, copied=copied)).texts('li') == items


@pytest.mark.parametrize('name', ['bits', 'copied'])
def test_a_list_that_does_not_fit_the_notes_is_refused(score, name):
    """Forbids bits of the wrong notes, because those of the prompt were forgotten."""
    with pytest.raises(ValueError, match=f'a: 7 {name} for 8 notes'):
        Piece('a', score, **{name: [1.0] * 7})


def luminance(colour: str) -> float:
    """Of a colour #rrggbb, as the Web Content Accessibility Guidelines define it."""
    parts = [int(colour[at:at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4
              for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear))


def test_kinds_of_notes_differ_in_brightness():
    """Forbids two kinds of notes, or of keys, that somebody who sees no hues takes for one."""
    light, dark = part('roll.css').split('prefers-color-scheme')
    for scheme in (light, dark):
        colours = dict(re.findall(r'--([a-z-]+): (#[0-9a-f]{6})', scheme))
        for one, other in (*combinations(('prompt', 'composed', 'copied'), 2), ('white', 'black'),
                           ('on-white', 'white'), ('muted', 'ground')):
            low, high = sorted(luminance(colours[name]) + 0.05 for name in (one, other))
            assert high / low >= 3, (one, other)


def test_the_colour_of_surprise(tmp_path, score):
    """Forbids a switch where no surprise is known, and notes that are coloured otherwise than they
    surprised."""
    bits = [0.0, 1.0, 5.0, 50.0, math.nan][:len(score.notes)]
    bits += [2.0] * (len(score.notes) - len(bits))
    document = write(tmp_path, Piece('a', score, bits=bits))
    shown = [rect.get('style') for rect in document.all('rect') if 'data-tip' in rect]
    want = [f'--bits:{min(100, 12 * value):.0f}%' for value in bits if math.isfinite(value)]
    assert sorted(style for style in shown if style) == sorted(want)
    assert document.all('input', id='surprise')
    assert not write(tmp_path, Piece('a', score)).all('input', id='surprise')


def test_the_colours_of_the_hands(tmp_path, score):
    """Forbids a left hand that is not the one of the MIDI file, and no switch to see it."""
    document = write(tmp_path, Piece('a', score))
    left = [rect['data-tip'][:2] for rect in document.all('rect', **{'class': 'left'})]
    assert sorted(left) == sorted(pitch_name(note.pitch) for note, hand in
                                  zip(score.notes, find_hands(score.notes)) if hand == LEFT)
    assert 0 < len(left) < len(score.notes) and document.all('input', id='hands')


def test_the_roll_stands_alone(score):
    """Forbids an image that is empty without the page: no namespace, no colours, none for the dark,
    a name that breaks it, or ids that another roll has, too."""
    svg = piano_roll(Piece(HOSTILE, score))
    root = ET.fromstring(svg)
    assert root.tag == '{http://www.w3.org/2000/svg}svg'
    assert HOSTILE in root.get('aria-label')
    assert float(root.get('width')) > 9 * PACE and float(root.get('height')) > 30 * ROW
    assert 'prefers-color-scheme: dark' in svg and '--composed:' in svg
    assert 'data-tip' not in svg and ' id=' not in svg
    assert svg.replace('xmlns="http://www.w3.org/2000/svg"', '').count('http') == 0


def test_the_first_bars_only(score):
    """Forbids an excerpt that is as wide as the piece, and notes that stick out of it."""
    score.notes.insert(0, Note(0, 50, 200))                  # it sounds on behind the second bar
    root = ET.fromstring(piano_roll(Piece('a', score), bars=2))
    rects = [rect for rect in root.iter('{http://www.w3.org/2000/svg}rect') if rect.get('x')]
    assert len(rects) == 6
    assert float(root.get('width')) < 4.5 * PACE + 50
    assert max(float(rect.get('x')) + float(rect.get('width')) for rect in rects) <= 4.5 * PACE
    assert len(bar_xs(piano_roll(Piece('a', score), bars=99))) == 4


# ---- the page

def test_a_piece_has_its_player_its_facts_and_its_files(tmp_path, score):
    """Forbids a player of another file, a cursor at another pace than the notes, facts out of
    order, and two players whose notes have one id."""
    first = Piece('sample-1', score, facts={'bars': '4', 'key': 'C major'})
    second = Piece('sample-2', score, sound='ogg')
    document = write(tmp_path, first, second, facts={'steps': '250'})
    assert [audio['src'] for audio in document.all('audio')] == ['sample-1.wav', 'sample-2.ogg']
    assert all('controls' in audio for audio in document.all('audio'))    # without scripts, too
    assert [(a['href'], a['text']) for a in document.all('a')] == [
        ('sample-1.mid', 'MIDI'), ('sample-1.wav', 'WAV'),
        ('sample-2.mid', 'MIDI'), ('sample-2.ogg', 'OGG')]
    assert document.texts('dt') == ['steps', 'bars', 'key']
    assert document.texts('dd') == ['250', '4', 'C major']
    players = document.all('div', **{'class': 'player'})
    assert [player['data-pace'] for player in players] == [str(PACE)] * 2
    assert float(document.all('input', type='range')[0]['max']) == pytest.approx(9, abs=0.01)
    ids = [element['id'] for element in document.elements if 'id' in element]
    assert len(ids) == len(set(ids))
    assert {use['href'][1:] for use in document.all('use')} <= set(ids)


def test_keyboard_and_screen_readers_are_served(tmp_path, score):
    """Forbids a button, slider or roll that has no name or can't be reached with Tab."""
    document = write(tmp_path, Piece('a', score))
    [button], [slider] = document.all('button'), document.all('input', type='range')
    [roll] = document.all('div', tabindex='0')
    names = [element['aria-label'].split('.')[0] for element in (button, slider, roll)]
    assert names == ['Play a', 'Position in a', 'Piano roll of a']
    for key in ("' '", 'ArrowLeft', 'ArrowRight'):
        assert key in page.part('player.js')
    assert ':focus-visible' in page.part('page.css')


def test_what_comes_from_outside_does_no_harm(tmp_path, score):
    """Forbids a name, fact, prompt or text that is read as HTML, and a link that leaves the folder
    or calls a script."""
    facts = {HOSTILE: HOSTILE}
    samples = [Piece(HOSTILE, score, facts=facts),
               Text(HOSTILE, HOSTILE, HOSTILE, [(0, 9)], facts),
               Piece('javascript:alert(1)//x.y/', score)]
    curve = [{'step': 1.0, f'nats_{HOSTILE}': 1.0, f'bits_{HOSTILE}': 1.0}]
    document = write(tmp_path, *samples, title=HOSTILE, facts=facts, curve=curve)
    assert document.texts('script') == [page.part('player.js')]
    assert document.texts('title') == [HOSTILE] and document.texts('h2')[:2] == [HOSTILE, HOSTILE]
    assert document.texts('blockquote') == [2 * HOSTILE] and document.texts('dd') == [HOSTILE] * 3
    links = [a['href'] for a in document.all('a')] + [a['src'] for a in document.all('audio')]
    assert all(re.fullmatch(r'[\w.~%-]+', link) for link in links)


@pytest.mark.parametrize('name', ['index.html', 'quiz.html'])
def test_nothing_is_fetched(tmp_path, score, name):
    """Forbids a page that needs the network: a font, a style sheet, somebody's script."""
    write(tmp_path, Piece('a', score), curve=[{'step': 0.0, 'loss': 1.0}])
    write_quiz(tmp_path / 'quiz.html', pairs(score, 1))
    source = (tmp_path / name).read_text('utf-8')
    assert 'http' not in source and '@import' not in source and 'url(' not in source
    for element in Page(tmp_path / name).elements:
        assert element['tag'] not in ('link', 'iframe', 'img', 'object')
        assert element['tag'] == 'audio' or 'src' not in element


def test_sixteen_pieces_of_a_thousand_notes_stay_small(tmp_path):
    """Forbids a page that a telephone is slow to open: over 3 MB for sixteen pieces."""
    notes = [Note(7 * i, 36 + i * 29 % 48, 11, 80) for i in range(1000)]
    piece = Piece('sample-1', Score(notes, [(0, 97.3)], [(0, 3, 4)]), 40, [12.345678] * 1000,
                  [True] * 1000)
    assert len(write(tmp_path, piece).notes()) == 1000
    assert (tmp_path / 'index.html').stat().st_size < 3_000_000 / 16


def test_a_piece_without_notes(tmp_path):
    """Forbids a page that fails because one of its samples is empty."""
    document = write(tmp_path, Piece('a', Score(), bits=[], copied=[]), Piece('b', Score()))
    assert len(document.all('audio')) == 2 and not document.notes()
    ET.fromstring(piano_roll(Piece('a', Score()), bars=4))
    write(tmp_path)


def test_copied_stretches_of_a_text_are_marked(tmp_path):
    """Forbids marks that lose or double characters where stretches touch, overlap, end with the
    text or stand in no order."""
    text = 'To be, or <not> to be'
    document = write(tmp_path, Text('a', 'HAMLET: ', text, [(14, 99), (0, 2), (2, 5), (3, 5)]))
    assert document.texts('blockquote') == ['HAMLET: ' + text]
    assert document.texts('b') == ['HAMLET: ']
    assert ''.join(document.texts('mark')) == 'To be' + text[14:] + 'Marked'
    assert not write(tmp_path, Text('a', '', text)).all('mark')


# ---- the curve

@pytest.mark.parametrize('lines, rows', [
    ('0,,,,0.0,6.5,25.0\r\n10,5.0,0.01,4000,0.3,,\r\n',
     [{'step': 0, 'seconds': 0, 'nats_toy': 6.5, 'bits_toy': 25},
      {'step': 10, 'loss': 5, 'lr': 0.01, 'tokens_per_second': 4000, 'seconds': 0.3}]),
    ('10,5.0,,,,,\r\n20,,,,9,6.5,2', [{'step': 10, 'loss': 5}]),
    ('10,5.0,,,,,\r\n20,1\r\n', [{'step': 10, 'loss': 5}]),
    ('0,,,,,6,9\r\n10,5,,,,,\r\n20,4,,,,,\r\n20,,,,,3,8\r\n30,3,,,,,\r\n20,4.5,,,,,\r\n',
     [{'step': 0, 'nats_toy': 6, 'bits_toy': 9}, {'step': 10, 'loss': 5},
      {'step': 20, 'loss': 4.5}])],
    ids=['as written', 'cut off', 'cut off by a kill', 'steps taken again'])
def test_the_log_is_read_as_it_was_written(tmp_path, lines, rows):
    """Forbids empty columns that become numbers, 2 for 25.1 bits that were being written when the
    power failed, and a curve that runs backwards after a run was killed and went on."""
    (tmp_path / 'log.csv').write_text(LOG + lines, newline='')
    assert read_curve(tmp_path / 'log.csv') == rows


@pytest.mark.parametrize('content', [None, '', LOG, LOG[:9], LOG + ',5.0,,,,,\r\n',
                                     LOG + '10,,,,\r\n', LOG + '10,nan,,,\r\n',
                                     'no,log\r\n1,2\r\n', '\0\xff\n\0\n'])
def test_a_log_that_says_nothing_is_no_curve(tmp_path, content):
    """Forbids a page that fails because the log is missing, empty, cut off or no log."""
    if content is not None:
        (tmp_path / 'log.csv').write_text(content, 'latin-1', newline='')
    curve = read_curve(tmp_path / 'log.csv')
    assert not write(tmp_path, curve=curve).all('svg', **{'class': 'curve'})


def curve_of(*bits):
    """Three validations of two corpora, 100 steps apart, and training losses in between."""
    curve = [{'step': 50.0 * i, 'loss': 5.0 - i} for i in range(5)]
    for i, (first, second) in enumerate(bits):
        curve.append({'step': 100.0 * i, 'nats_a': first / 4, 'bits_a': first,
                      'nats_b': second / 4, 'bits_b': second})
    return curve


def test_the_best_validation_is_the_one_whose_model_is_kept(tmp_path):
    """Forbids marking the last, or the best of one corpus: train.py keeps the best mean of bits."""
    curve = curve_of((9.0, 9.0), (5.0, 6.0), (4.5, 7.0))
    assert find_best(curve)['step'] == 100
    root = ET.fromstring(draw_curve(curve))
    marked = [circle for circle in root.iter('circle') if circle.get('class') == 'marked']
    paths = [path.get('d') for path in root.iter('path') if path.get('class') == 'validation']
    second_points = sorted(path[1:].split('L')[1] for path in paths)
    assert sorted(f'{c.get("cx")} {c.get("cy")}' for c in marked) == second_points
    assert 'best validation: step 100' in [text.text for text in root.iter('text')]
    assert find_best([{'step': 1.0, 'loss': 1.0}]) is None


def test_the_curve_has_its_lines_axes_and_names():
    """Forbids an axis without a name or numbers, a loss that grows downwards, and labels that lie
    on each other."""
    root = ET.fromstring(draw_curve(curve_of((9.0, 9.1), (5.0, 5.1), (5.0, 5.1))))
    texts = [text.text for text in root.iter('text')]
    assert {'steps', 'nats/token', '0', '50', '100', '150', '200', '2', '3'} <= set(texts)
    assert {'1.000 training', '1.250 validation: a', '1.275 validation: b'} <= set(texts)
    [training] = [path.get('d') for path in root.iter('path') if path.get('class') == 'training']
    heights = [float(point.split()[1]) for point in training[1:].split('L')]
    assert len(heights) == 5 and heights == sorted(heights)
    ends = sorted(float(text.get('y')) for text in root.iter('text')
                  if text.get('class') in ('training', 'validation'))
    assert min(b - a for a, b in zip(ends, ends[1:])) >= 15.9


@pytest.mark.parametrize('curve', [[{'step': 0.0, 'nats_a': 6.5, 'bits_a': 24.0}],
                                   [{'step': 10.0, 'loss': 3.0}, {'step': 20.0, 'loss': math.inf}],
                                   [{'step': 10.0, 'loss': 3.0}, {'step': 20.0, 'loss': 0.0}],
                                   [{'step': 10.0, 'loss': 1e-5}, {'step': 20.0, 'loss': 9.0}]])
def test_a_curve_of_little_or_of_extremes(curve):
    """Forbids a division by zero at step 0 and the logarithm of a loss of 0."""
    svg = draw_curve(curve)
    ET.fromstring(svg)
    assert 'nan' not in svg.replace('nats', '') and 'inf' not in svg


def test_ticks_are_round_and_within():
    """Forbids an axis with 0, 41.7, 83.3 or with one number only."""
    assert ticks(0, 250) == [0, 50, 100, 150, 200, 250]
    assert ticks(0, 2000) == [0, 500, 1000, 1500, 2000]
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert log_ticks(0.8, 6.4) == [1, 1.5, 2, 3, 5]
    assert len(log_ticks(1.41, 1.45)) > 2


# ---- Bach or machine?

def pairs(score, count):
    return [Pair(Excerpt(f'quiz-{n}a.wav', score, f'Variation {n}, bars 9 to 16'),
                 Excerpt(f'quiz-{n}b.wav', score, f'sample {n}, seed 1 {HOSTILE}'),
                 'ab'[n % 2]) for n in range(count)]


def test_the_quiz_does_not_tell_before_it_is_asked(tmp_path, score):
    """Forbids an answer that can be read in the page's source or its labels, and one that is not
    there at all; a pair that lacks a side, has them the wrong way round, or shows its notes in two
    colours, one of which would be the machine's; and a slider that ends before the excerpt does.
    """
    write_quiz(tmp_path / 'quiz.html', pairs(score, 2))
    source, document = (tmp_path / 'quiz.html').read_text('utf-8'), Page(tmp_path / 'quiz.html')
    for word in ('Variation', 'sample 1', 'seed 1', 'alert(1)', 'happen by guessing'):
        assert word not in source
    assert not any('Bach' in element.get('aria-label', '') for element in document.elements)
    [key] = document.all('script', id='key')
    key = json.loads(base64.b64decode(key['text']))
    assert [pair['bach'] for pair in key['pairs']] == ['a', 'b'] and len(key['verdicts']) == 3
    assert key['pairs'][1] == {'bach': 'b', 'a': 'Variation 1, bars 9 to 16',
                               'b': f'sample 1, seed 1 {HOSTILE}'}
    assert [audio['src'] for audio in document.all('audio')] == [
        'quiz-0a.wav', 'quiz-0b.wav', 'quiz-1a.wav', 'quiz-1b.wav']
    lasts = [float(slider['max']) for slider in document.all('input')]
    assert lasts == pytest.approx([9] * 4, abs=0.01)             # seconds
    choices = document.all('button', **{'class': 'choice'})
    assert [(choice['value'], choice['text']) for choice in choices] == [
        ('a', 'A is Bach'), ('b', 'B is Bach')] * 2
    assert [kind for kind, *_ in document.notes()] == ['composed'] * 4 * len(score.notes)


# as much of a browser as the quiz asks for, in which A is chosen in both of two pairs
BROWSER = """
const part = more => ({classList: {add() {}}, addEventListener(_, f) { this.press = f; }, ...more});
const parts = {key: part({textContent: KEY}), score: part(), verdict: part()};
const sections = [1, 2].map(() => {
  const answer = part(), choices = [part({value: 'a'}), part({value: 'b'})];
  return {answer, choices, querySelectorAll: () => choices, querySelector: () => answer};
});
const document = {getElementById: id => parts[id], querySelectorAll: () => sections};
QUIZ
for (const section of sections) section.choices[0].press();
const said = [sections[0].answer, sections[1].answer, parts.score, parts.verdict];
console.log(JSON.stringify(said.map(part => part.textContent)));"""


@pytest.mark.skipif(not shutil.which('node'), reason='no node on this machine: install Node.js')
def test_the_quiz_counts_what_was_right(tmp_path, score):
    """Forbids a right answer that is called wrong, and a count or a verdict of the wrong ones."""
    write_quiz(tmp_path / 'quiz.html', pairs(score, 2))
    [key] = Page(tmp_path / 'quiz.html').all('script', id='key')
    program = BROWSER.replace('KEY', repr(key['text'])).replace('QUIZ', page.part('quiz.js'))
    said = json.loads(subprocess.run(['node', '-e', program], capture_output=True).stdout)
    assert [words.split(' 0,')[0].split(' 1,')[0] for words in said] == [
        'Right. A: Variation', 'No. A: Variation', '1 of 2 right', f'1 of 2. {chance(1, 2)}']


def test_what_chance_would_give():
    """Forbids the odds of exactly eight where those of eight or more are asked for."""
    assert chance(8, 10) == '8 or more of 10 happen by guessing in one case of 18.'
    assert chance(10, 10) == '10 of 10 happen by guessing in one case of 1,024.'
    assert chance(5, 10) == '5 or more of 10 happen by guessing in 62 cases of 100.'
    assert chance(0, 10) == '0 or more of 10 happen by guessing in 100 cases of 100.'
