"""What follows from the words so far: told in training as while composing, recalled, and ruled.
Each test forbids one mistake. Where notes are named, the example was checked by hand."""

import functools
import math
from collections import Counter

import numpy as np
import pytest
import torch

from lib.prompt import read_prompt
from lib.recall import Recall, scale_steps, with_its_like
from lib.score import WHOLE, Note, Score, count_voices, read_midi, write_midi
from lib.tokenizer import columns_of_told
from lib.tonality import parse_key
import model as model_module
from model import ModelConfig, Transformer, draw, forbid
import sample
from test_score import GOLDBERG
from tokenizer_bpe import BPETokenizer
from tokenizer_bpe import Listener as TextListener
from tokenizer_midi import END_LEVELS, NAMES, OPENING, Listener, MidiTokenizer

PLAIN = MidiTokenizer()
COLUMNS = columns_of_told(Listener.TOLD)


@functools.cache
def score_of(number: int) -> Score:
    """A movement of the Goldberg Variations, 0 to 31."""
    return read_midi(str(GOLDBERG[number]))


@functools.cache
def ids_of(number: int) -> tuple[int, ...]:
    return tuple(PLAIN.encode(score_of(number)))


def pitch_of(name: str) -> int:
    """'C4' -> 60"""
    return 12 * (int(name[-1]) + 1) + NAMES.index(name[:-1])


def ids_from(text: str, tokenizer=PLAIN) -> list[int]:
    """'on C4 shift 12 off C4' -> the ids of these words."""
    kinds_and_values = text.split()
    ids = []
    for kind, value in zip(kinds_and_values[::2], kinds_and_values[1::2]):
        if kind in ('on', 'off'):
            word = kind, pitch_of(value)
        elif kind == 'metre':
            word = kind, tuple(map(int, value.split('/')))
        elif kind == 'home':
            word = kind, parse_key(value)
        else:
            word = kind, int(value)
        ids.append(tokenizer.ids[word])
    return ids


def hear(listener, text: str) -> list[int]:
    """What is told after the last of some words."""
    for id in ids_from(text, listener.tokenizer):
        told = listener.hear(id)
    return told


def melody(text: str) -> str:
    """'C4 12 D4 6' -> 'on C4 shift 12 off C4 on D4 shift 6 off D4'. C4+E2: both at once."""
    words = []
    notes_and_waits = text.split()
    for notes, wait in zip(notes_and_waits[::2], notes_and_waits[1::2]):
        notes = notes.split('+')
        words += [f'on {note}' for note in notes] + [f'shift {wait}']
        words += [f'off {note}' for note in notes]
    return ' '.join(words)


def recalled(told: list[int]) -> list[tuple[int, set[str]]]:
    """For each voice of which something is recalled, the surest first: how sure, and the words that
    are expected, such as 'off B4', 'on C5'."""
    voices = []
    matches, ids = told[COLUMNS['match']], told[COLUMNS['recalled']]
    assert matches == sorted(matches, reverse=True) and len(ids) == 3 * len(matches)
    for number, match in enumerate(matches):
        kinds = ['on', 'on', 'off']
        words = [PLAIN.words[id] for id in ids[3 * number:3 * number + 3]]
        assert all(word[0] == kind or not id for word, kind, id in
                   zip(words, kinds, ids[3 * number:]))
        names = {f'{kind} {NAMES[key % 12]}{key // 12 - 1}' for kind, key in words
                 if kind in kinds}
        if match:
            voices.append((match, names))
        assert bool(match) or not names
    return voices


# ------------------------------------------------------------ told while composing and in training

class Scripted(Transformer):
    """Draws what stands in a script, and takes note of all that it is told meanwhile."""

    def __init__(self, tokenizer, prompt: list[int], script: list[int]):
        shape = tokenizer.shape_of_told()
        super().__init__(ModelConfig(tokenizer.vocab_size, len(prompt + script), 1, 1, 2, **shape))
        self.script = iter(script)
        self.heard = []                          # tensors (1, T, W)

    def __deepcopy__(self, memo):                # sample.py changes a copy
        return self

    def forward(self, ids, told, cache=None):
        self.heard.append(told)
        logits = torch.full((*ids.shape, self.config.vocab_size), -1e9)
        logits[:, -1, next(self.script)] = 0
        return logits


def told_while_composing(monkeypatch, prompt, rest: list[int], bars: int):
    """sample.py goes on from a prompt with the ids `rest`: all ids, and all that the model was told
    (N - 1, F)."""
    monkeypatch.setattr(model_module, 'forbid', lambda logits, listeners: logits)
    model = Scripted(PLAIN, prompt.ids, rest)
    config = sample.Config(num_samples=1, temperature=0.0, bars=bars)
    rows, _ = sample.draw_pieces(model, PLAIN, prompt, config)
    assert rows == [prompt.ids + rest]
    return rows[0], torch.cat(model.heard, dim=1)[0].numpy()


def same_told(ids: list[int], told: np.ndarray, end: int):
    """The model hears the last id of a piece no more. After the first, `begin`, nobody who composes
    knows how long a bar is, nor how long the piece."""
    in_training = PLAIN.listen(ids)[:-1]
    to_end = COLUMNS['to_end']
    for name, column in COLUMNS.items():
        if name != 'ids' and name != 'to_end':
            assert np.array_equal(told[:, column], in_training[:, column]), name
    listener = PLAIN.listener(end=end)
    expected = np.array([listener.hear(id) for id in ids[:-1]])
    assert np.array_equal(told[1:, to_end], expected[1:, to_end])


def after_the_bar_line(score: Score, until: int) -> list[int]:
    """The words of a score from a step on; a wait that crosses it is cut in two. What is let go at
    that step is still of the prompt."""
    ids, now = [], 0
    for id in PLAIN.encode(score):
        kind, value = PLAIN.words[id]
        if kind == 'shift':
            now += value
            if now > until:
                ids.append(PLAIN.ids['shift', min(value, now - until)])
        elif now > until or (now == until and kind in ('metre', 'tempo', 'on', 'end')):
            ids.append(id)
    return ids


@pytest.mark.parametrize('number', range(0, 32, 5))
def test_told_while_composing_as_in_training(monkeypatch, number):
    """Forbids a model that is told one thing while it learns and another while it composes: a whole
    piece from nothing, id by id."""
    ids = list(ids_of(number))
    nothing = read_prompt(PLAIN)
    assert nothing.ids == ids[:1]
    drawn, told = told_while_composing(monkeypatch, nothing, ids[1:], bars=0)
    same_told(drawn, told, end=0)


@pytest.mark.parametrize('number, bars', [(4, 1), (7, 1), (18, 2), (22, 4), (30, 2)])
def test_told_after_a_prompt(monkeypatch, number, bars):
    """Forbids another past, or other keys down, after a prompt than within a whole piece; and a
    time to the end that is counted from elsewhere than the bar line."""
    prompt = read_prompt(PLAIN, str(GOLDBERG[number]), bars)
    whole = score_of(number)
    beats, unit = whole.metres[0][1:]
    bar = WHOLE * beats // unit
    assert prompt.until == bars * bar
    drawn, told = told_while_composing(monkeypatch, prompt, after_the_bar_line(whole, prompt.until),
                                       bars=12)
    assert PLAIN.decode(drawn).notes == whole.notes
    same_told(drawn, told, end=prompt.until + 12 * bar)


# unisons, some of them from the same step on, of which one note or both last beyond the bar line;
# two time signatures and three tempos
TANGLED = Score(
    notes=[Note(0, 48, 80), Note(0, 55, 20), Note(0, 55, 200), Note(0, 60, 12), Note(0, 60, 40),
           Note(24, 48, 140), Note(30, 72, 6), Note(48, 67, 30), Note(48, 67, 300),
           Note(72, 64, 24), Note(72, 64, 30),
           Note(150, 60, 24), Note(200, 62, 24), Note(240, 60, 12), Note(300, 60, 12)],
    tempos=[(0, 60.0), (72, 90.0), (140, 60.0)], metres=[(0, 3, 4), (144, 4, 4)])


@pytest.mark.parametrize('bars', [1, 2, 3])
def test_told_of_a_tangle(monkeypatch, path, bars):
    """Forbids that what is told depends on how a prompt is cut: notes in unison, some of which last
    beyond the bar line, and changes of tempo and of metre, before and after."""
    write_midi(TANGLED, path)
    prompt = read_prompt(PLAIN, str(path), bars)
    score = Score(TANGLED.notes, TANGLED.tempos, TANGLED.metres, prompt.score.home,
                  count_voices(prompt.score.notes))
    drawn, told = told_while_composing(monkeypatch, prompt, after_the_bar_line(score, prompt.until),
                                       bars=0)
    assert PLAIN.encode(PLAIN.decode(drawn)) == PLAIN.encode(PLAIN.decode(PLAIN.encode(score)))
    same_told(drawn, told, end=0)


def test_the_end_is_told_in_training():
    """Forbids a piece that is learned without how far it is to its end: this is what a listener is
    told of the length that is wished for."""
    ids = ids_of(4)
    steps = max(note.start + note.duration for note in score_of(4).notes)
    by_wish = PLAIN.listener(end=steps)
    told = np.array([by_wish.hear(id) for id in ids])
    assert np.array_equal(PLAIN.listen(ids), told) and told[0, COLUMNS['to_end']] > 1


# ------------------------------------------------------------------------------------ transposition

@pytest.mark.parametrize('tokenizer', [PLAIN, MidiTokenizer(velocity=True)])
@pytest.mark.parametrize('number', [4, 15])
def test_what_is_told_is_transposed_with_the_music(tokenizer, number):
    """Forbids a piece learned in another key with what was told of the first: batches move both by
    one table. Everything that is no id stays."""
    ids = tokenizer.encode(score_of(number))
    told = tokenizer.listen(ids)
    plain, of_ids = np.split(told, [COLUMNS['ids'].start], axis=1)
    homes = set()
    for row in np.array(tokenizer.augment_table()):
        moved = tokenizer.listen(row[ids].tolist())
        assert np.array_equal(moved[:, :COLUMNS['ids'].start], plain)
        assert np.array_equal(moved[:, COLUMNS['ids']], row[of_ids])
        homes.add(moved[-1, COLUMNS['home']].item())
    assert len(homes) == 12 and 0 not in homes


# ------------------------------------------------------------------------------------------- recall

def level(share: float) -> int:
    return 1 + int(share * Recall.LEVELS)


def test_recall_as_its_docstring_says():
    """Forbids an example in the docstring that is not true: after C D E F and G A B, B is released
    and C comes, a second higher, or its neighbour in the scale step."""
    heard, = [line for line in Recall.__doc__.splitlines() if line.strip().startswith('heard')]
    listener = PLAIN.listener()
    told = hear(listener, melody(heard.split('(')[0].replace('heard', '').replace('|', '')))
    sure = level(17 / (17 + Recall.DOUBT))
    assert f'sure {sure}' in Recall.__doc__
    assert recalled(told) == [(sure, {'on C5', 'on C#5'})]
    assert [PLAIN.words[id] for id in told[COLUMNS['recalled']][:2]] == [('on', 72), ('on', 73)]
    again = PLAIN.listener()
    hear(again, melody('C4 12 D4 12 E4 12 F4 60 G4 12 A4 12'))
    assert recalled(hear(again, 'on B4 shift 12')) == [(sure, {'off B4', 'on C5', 'on C#5'})]
    assert recalled(hear(again, 'shift 1')) == []                        # the moment is over


def test_a_neighbour_is_of_the_same_scale_steps():
    """Forbids a step that is another in major than in minor, a fifth or an octave that has a
    neighbour, and an interval downwards that is not the mirror of the one upwards."""
    names = 'unison 2 2 3 3 4 4 fifth 6 6 7 7 octave'.split()
    for interval in range(-30, 31):
        neighbours = [other for other in range(-40, 41)
                      if other != interval and scale_steps(other) == scale_steps(interval)]
        alone = names[abs(interval) % 12] in ('unison', 'fifth')
        assert len(neighbours) == (0 if alone else 1)
        assert with_its_like(interval) == [interval, *neighbours]
        assert scale_steps(-interval) == -scale_steps(interval)
    assert [scale_steps(interval) for interval in (0, 2, 4, 5, 7, 9, 11, 12)] == list(range(8))


# a rest after which no voice goes on
PAUSE = f' shift {Recall.REST + 1} '
# C E D, so that what comes is not a scale
FIGURE = 'C4 12 E4 12 D4 12 '


def test_the_longer_likeness_wins():
    """Forbids that a moment which is like this one in one move outvotes one that is like it in two:
    after C E D, F came; after G D twice a sixth. And that twice counts no more than once."""
    listener = PLAIN.listener()
    hear(listener, melody(FIGURE + 'F4 12') + PAUSE)
    for _ in range(2):
        hear(listener, melody('G4 12 F4 12 D5 12') + PAUSE)
    told = hear(listener, melody(FIGURE))
    assert recalled(told) == [(level(3 / (3 + 2 + Recall.DOUBT)), {'on F4', 'on F#4'})]
    hear(listener, PAUSE)
    for _ in range(2):
        hear(listener, melody('G4 12 F4 12 D5 12') + PAUSE)
    told = hear(listener, melody(FIGURE))
    assert recalled(told)[0][1] == {'on B4', 'on A#4'}       # 4 votes against 3


def test_the_same_place_in_the_bar_weighs_more():
    """Forbids a bar that begins elsewhere after a change of metre, and a place that does not count:
    after C E D, F came on the second beat, and B twice on the third."""
    listener = PLAIN.listener()
    hear(listener, 'metre 4/4')
    # C E D stand in the first 36 steps of a bar, then F; later, 24 steps on, then B, twice
    hear(listener, melody(FIGURE + 'F4 12') + ' shift 48')
    for _ in range(2):
        hear(listener, ' shift 24 ' + melody(FIGURE + 'B4 12') + ' shift 24')
    told = hear(listener, melody(FIGURE))
    once, other = 3 * (1 + Recall.SAME_PLACE), 2 * 3
    assert recalled(told) == [(level(once / (once + other + Recall.DOUBT)), {'on F4', 'on F#4'})]
    listener = PLAIN.listener()
    hear(listener, 'metre 4/4')
    hear(listener, melody(FIGURE + 'F4 12') + ' shift 72 metre 3/4')     # 24 steps into a bar
    told = hear(listener, melody(FIGURE))
    assert recalled(told) == [(level(once / (once + Recall.DOUBT)), {'on F4', 'on F#4'})]
    listener = PLAIN.listener()
    hear(listener, 'metre 1/4 ' + melody('C4 24 E4 24 D4 24 F4 12') + ' shift 36')
    told = hear(listener, melody('C4 24 E4 24 D4 24') + ' metre 4/4')        # a bar begins here
    assert recalled(told) == [(level(once / (once + Recall.DOUBT)), {'on F4', 'on F#4'})]


def test_a_sequence_on_another_degree():
    """Forbids that a figure counts as new a step lower, where a major third is a minor one:
    C E D F, then B D C; so E follows, or its neighbour."""
    listener = PLAIN.listener()
    hear(listener, melody(FIGURE + 'F4 12') + PAUSE)
    told = hear(listener, melody('B3 12 D4 12 C4 12'))
    assert recalled(told) == [(level(3 / (3 + Recall.DOUBT)), {'on E4', 'on D#4'})]


def test_another_rhythm_is_another_figure():
    """Forbids that a figure is recalled in other note values, or at another moment."""
    listener = PLAIN.listener()
    hear(listener, melody(FIGURE + 'F4 12') + PAUSE)
    assert recalled(hear(listener, melody('C4 12 E4 12 D4 6'))) == []
    hear(listener, PAUSE + melody('C4 12 E4 12'))
    assert recalled(hear(listener, 'on D4 shift 11')) == []
    told = hear(listener, 'shift 1')             # two waits make one
    assert recalled(told)[0][1] == {'off D4', 'on F4', 'on F#4'}


def test_voices_know_of_each_other():
    """Forbids that the bass does not know what the soprano did, that a voice is disturbed by others
    that move meanwhile, or goes on with a note of another: an answer in the middle."""
    listener = PLAIN.listener()
    hear(listener, melody('C5+C3 12 E5+D3 12 D5+E3 12 F5+F3 12') + PAUSE)
    hear(listener, 'on C3 on C6')                # both stay
    told = hear(listener, melody('G4 12 B4 12 A4 12'))
    assert recalled(told) == [(level(3 / (3 + Recall.DOUBT)), {'on C5', 'on C#5'})]


def test_which_voice_a_note_goes_on_with():
    """Forbids a voice that goes on while its key is held, after a rest that is too long, or farther
    than an octave; and a note that goes on with the farther one of two."""
    def voices(text):
        listener = PLAIN.listener()
        hear(listener, text)
        return sorted((voice.pitch, len(voice.moves)) for voice in listener.recall.voices
                      if voice.end is None)
    assert voices('on C4 shift 12 off C4 on D4') == [(62, 1)]
    assert voices('on C4 shift 12 on D4') == [(60, 0), (62, 0)]
    rest = Recall.REST
    assert voices(f'on C4 shift 12 off C4 shift {rest} on D4') == [(62, 1)]
    assert voices(f'on C4 shift 12 off C4 shift {rest + 1} on D4') == [(62, 0)]
    assert voices('on C4 shift 12 off C4 on C5') == [(72, 1)]
    assert voices('on C4 shift 12 off C4 on C#5') == [(73, 0)]
    both = 'on C4 shift 12 off C4 on D4 shift 12 on C5 shift 12 off D4 off C5 '
    assert voices(both + 'on F4') == [(65, 2)] and voices(both + 'on A4') == [(69, 1)]
    # the nearer one is the lower, but the upper one is expected there
    hear_first = melody('C5 12 G4 12') + PAUSE
    assert voices(hear_first + 'on C5 on D4 shift 12 off C5 off D4 on G4') == [(67, 1)]


def test_what_has_come_is_recalled_no_more():
    """Forbids that what is there is expected on, and that another voice ends it."""
    listener = PLAIN.listener()
    hear(listener, melody('C5+C3 12 E5+D3 12 D5+E3 12 F5+F3 12') + PAUSE)
    hear(listener, melody('C5+C3 12 E5+D3 12'))
    told = hear(listener, 'on E3 on D5 shift 12')
    sure = level(3 / (3 + Recall.DOUBT))
    high, low = {'on F5', 'on F#5'}, {'on F3', 'on F#3'}
    assert recalled(told) == [(sure, low | {'off E3'}), (sure, high | {'off D5'})]
    assert recalled(hear(listener, 'off E3')) == [(sure, low), (sure, high | {'off D5'})]
    assert recalled(hear(listener, 'off D5')) == [(sure, low), (sure, high)]
    assert recalled(hear(listener, 'on F3')) == [(sure, high)]
    assert recalled(hear(listener, 'on F#5')) == []                      # the neighbour has come
    assert recalled(hear(listener, 'shift 1')) == []


def test_nothing_is_recalled_before_time_has_moved():
    """Forbids proposals at the beginning, and new ones within a moment."""
    listener = PLAIN.listener()
    told = hear(listener, 'begin 0 metre 3/4 tempo 40 home C voices 3 on C4')
    assert recalled(told) == []
    hear(listener, 'shift 12 off C4 on D4 shift 12 off D4 on E4 shift 12 off E4')
    told = hear(listener, 'on F4')               # the scale goes on, but at another time
    assert recalled(told) == []
    told = hear(listener, 'shift 12')
    assert recalled(told)[0][1] == {'off F4', 'on G4', 'on F#4'}


def parallels(told: list[int]) -> set[str]:
    words = [PLAIN.words[id] for id in told[COLUMNS['parallel']] if id]
    return {f'{kind} {NAMES[key % 12]}{key // 12 - 1}' for kind, key in words}


@pytest.mark.parametrize('before, moves, want', [
    ('C3 G4', 'D3', {'on A4'}),                      # as the docstring says: a fifth
    ('G4 C3', 'D3', {'on A4'}),
    ('C3 C5', 'A2', {'on A4'}),                      # octaves, down
    ('C3 G4', 'E4', {'on B4'}),                      # up by an octave more
    ('C3 F4', 'D3', set()),                          # fourths may be parallel
    ('C3 G4', 'C3', set()),                          # the bass has not moved
    ('C3 G4 C5', 'D3', {'on D5'}),                   # of the outer voices, that is
    ('C3 G4', 'D3 F4', {'on A4'}),                   # F4 is not the highest before all is struck
    ('C3 G4', 'D3 B4', set()),                       # A4 would be an inner voice
    ('C3 C5', 'C4', {'on C6'}),                      # by an octave
    ('C3 C5', 'C2', {'on C4'}),
    ('C9 G9', 'D9', set())])                         # A9 is beyond the keyboard
def test_parallels(before, moves, want):
    """Forbids a note that would make parallel fifths or octaves and goes unmentioned, and that
    others are taken for such; at the next step it is over."""
    listener = PLAIN.listener()
    press = ' '.join(f'on {note}' for note in before.split())
    release = ' '.join(f'off {note}' for note in before.split())
    told = hear(listener, f'{press} shift 24 {release}')
    assert parallels(told) == set()
    told = hear(listener, ' '.join(f'on {note}' for note in moves.split()))
    assert parallels(told) == want
    assert parallels(hear(listener, 'shift 12')) == set()


def test_the_bar_line():
    """Forbids a bar line that is told at the wrong distance: after a change of metre, before the
    first one, in a bar that is longer than what can be told."""
    listener = PLAIN.listener()
    told = [hear(listener, words)[COLUMNS['to_bar']] for words in (
        'begin 0', 'metre 3/4', 'shift 1', 'shift 5', 'shift 60', 'shift 6',     # 72 steps
        'shift 24', 'metre 6/8', 'shift 71', 'shift 1', 'metre 16/4')]
    assert told == [[96], [72], [71], [66], [6], [72], [48], [72], [1], [72], [192]]


def test_no_key_beyond_the_keyboard_is_recalled():
    """Forbids an id that is no `on`: a figure that would go beyond the highest key."""
    listener = PLAIN.listener()
    hear(listener, melody(FIGURE + 'F4 12') + PAUSE)
    told = hear(listener, melody('D9 12 F9 12 E9 12'))
    assert recalled(told)[0][1] == {'on G9'}             # and no G#9, which is no key any more
    listener = PLAIN.listener()
    hear(listener, melody('C4 12 F4 12 D4 12 G#4 12') + PAUSE)
    told = hear(listener, melody('C9 12 F9 12 D9 12'))
    assert recalled(told)[0][1] == {'on G9'}
    assert told[COLUMNS['recalled']][0] == 0             # the likelier one would be G#9


def test_how_often_bach_repeats_himself():
    """Forbids a change of what is recalled, of all that is learned by it, that nobody sees: of the
    notes of the Goldberg, so many come while something is expected, and so many are expected; and
    so for their ends."""
    found = []
    for kind in ('on', 'off'):
        words = expected = hits = 0
        for number in range(32):
            ids = ids_of(number)
            told = PLAIN.listen(ids)[:-1, COLUMNS['recalled']]
            is_kind = np.array([PLAIN.words[id][0] == kind for id in ids[1:]])
            words += is_kind.sum()
            expected += (is_kind & (told > 0).any(axis=1)).sum()
            hits += (is_kind & (told == np.array(ids[1:])[:, None]).any(axis=1)).sum()
        found.append((words, expected, hits))
    assert found == [(17_033, 15_074, 8_640), (17_033, 15_880, 13_396)]


# ------------------------------------------------------------------------- what else is told

def test_the_clock_goes_round():
    """Forbids a clock without bounds, which the model's tables have not, or one that begins again
    at another time than the turns of the heads that read it."""
    assert Listener.CLOCK_ROUND == model_module.LONGEST == TextListener.CLOCK_ROUND
    listener = PLAIN.listener()
    clock = COLUMNS['clock']
    for i in range(1, 200):
        assert hear(listener, 'shift 96')[clock] == [96 * i % (64 * 96)]
    text = BPETokenizer().listener()
    told = [text.hear(i % 7) for i in range(6200)]
    assert [told[i][0] for i in (0, 6142, 6143, 6144)] == [1, 6143, 0, 1]


def test_how_far_it_is_to_the_end():
    """Forbids levels that rise on the way to the end, that end elsewhere than at 1, or whose
    boundaries are not those that the comment names."""
    assert [math.ceil(steps) for steps in END_LEVELS[:5]] == [0, 10, 24, 44, 72]
    assert END_LEVELS[-1] / WHOLE == pytest.approx(45, abs=0.01) and len(END_LEVELS) == 16
    for bars in (1, 8, 100):
        listener = PLAIN.listener(bars=bars)
        told = [listener.to_end()]
        steps = 72 * bars
        hear(listener, 'begin 0 metre 3/4')
        for step in range(steps + 10):
            level, = hear(listener, 'shift 1')[COLUMNS['to_end']]
            left = max(0, steps - step - 1)
            assert END_LEVELS[level - 1] <= left + 1e-3
            assert level == 16 or left + 1e-3 < END_LEVELS[level]
            told.append(level)
        assert told[1:] == sorted(told[1:], reverse=True) and told[-1] == 1
    assert hear(PLAIN.listener(), 'shift 1')[COLUMNS['to_end']] == [0]    # not told
    assert PLAIN.shape_of_told()['end_levels'] == 1 + len(END_LEVELS)


def test_bars_are_counted_from_the_prompt_on():
    """Forbids that the bars of the prompt count among those to be composed."""
    listener = PLAIN.listener(bars=1, prompt_end=72)
    hear(listener, 'begin 0 metre 3/4 home C voices 3 on C4 shift 72')
    assert END_LEVELS[listener.to_end() - 1] <= 72 < END_LEVELS[listener.to_end()]
    hear(listener, 'off C4 on D4 shift 72')
    assert listener.to_end() == 1


def test_a_bar_is_what_the_metre_says_where_it_stands():
    """Forbids that bars are counted by a time signature that came later: of 8 bars, 4 are over, be
    the rest of 4/4 or of 3/8."""
    listener = PLAIN.listener(bars=8)
    hear(listener, 'begin 0 metre 4/4' + ' shift 96' * 4)
    assert listener.to_end() == PLAIN.listener(end=4 * 96).to_end()
    hear(listener, 'metre 3/8')
    assert listener.to_end() == PLAIN.listener(end=4 * 36).to_end()


def test_which_keys_are_down():
    """Forbids a key that is let go and still told, an order that is not that of pressing, more keys
    than there are columns, or the first of them kept instead of the last; a unison is one key."""
    down = COLUMNS['held']
    listener = PLAIN.listener()

    def told(text):
        keys = [PLAIN.words[id] for id in hear(listener, text)[down] if id]
        assert all(kind == 'off' for kind, _ in keys)
        return ' '.join(f'{NAMES[key % 12]}{key // 12 - 1}' for _, key in keys)
    assert told('begin 0') == ''
    assert told('on E4 on C4') == 'E4 C4' and told('on C4') == 'E4 C4'
    assert told('shift 1 off E4') == 'C4' and told('off C4') == 'C4' and told('off C4') == ''
    most = Listener.TOLD['held']
    names = [f'{name}{octave}' for octave in (3, 4) for name in NAMES][:most + 5]
    assert told(' '.join(f'on {name}' for name in names)) == ' '.join(names[-most:])
    assert told(f'off {names[-1]}') == ' '.join(names[-most - 1:-1])


def test_what_is_told_fits_the_model():
    """Forbids a number that no table of the model has a row for, in music or in text."""
    shape = PLAIN.shape_of_told()
    told = np.concatenate([PLAIN.listen(ids_of(number)) for number in (0, 10, 25)])
    assert told.shape[1] == sum(shape['columns'].values()) and told.min() == 0
    for name, count in (('clock', Listener.CLOCK_ROUND), ('to_bar', shape['bar_steps']),
                        ('to_end', shape['end_levels']), ('match', shape['matches']),
                        ('ids', PLAIN.vocab_size)):
        assert told[:, COLUMNS[name]].max() < count
    assert told[:, COLUMNS['match']].max() == shape['matches'] - 1
    bpe = BPETokenizer()
    shape = bpe.shape_of_told()
    columns = columns_of_told(shape['columns'])
    told = bpe.listen(list(b'to be or not to be, to be or not to be' * 9) + [bpe.end])
    assert told.shape[1] == sum(shape['columns'].values())
    assert told[:, columns['match']].max() == shape['matches'] - 1
    assert told[:, columns['ids']].max() < bpe.vocab_size


# ---------------------------------------------------------------------------------------- the guard

def go_on_at_random(listeners, rows, steps: int, seed: int, likely=None):
    """Draw from random logits, as `generate` does, until all rows have ended; `likely` (V,) is
    added to the logits. No mask may be all False."""
    tokenizer = listeners[0].tokenizer
    generator = torch.Generator().manual_seed(seed)
    rows = [list(row) for row in rows]
    for listener, row in zip(listeners, rows):
        for id in row:
            listener.hear(id)
    for _ in range(steps):
        logits = torch.randn(len(rows), tokenizer.vocab_size, generator=generator)
        if likely is not None:
            logits = logits + likely
        logits = forbid(logits, listeners)
        assert torch.isfinite(logits).any(dim=1).all()
        for row, listener, id in zip(rows, listeners, draw(logits, generator=generator).tolist()):
            if row[-1] != tokenizer.end:
                row.append(id)
                listener.hear(id)
        if all(row[-1] == tokenizer.end for row in rows):
            break
    return rows


def more_of(tokenizer, **kinds) -> torch.Tensor:
    """(V,) what is added to the logits of some kinds of words."""
    return torch.tensor([float(kinds.get(kind, 0)) for kind, _ in tokenizer.words])


def is_playable(tokenizer, row: list[int]):
    """Walk through a piece, by rules that know nothing of the listener."""
    words = [tokenizer.words[id] for id in row]
    kinds = [kind for kind, _ in words]
    opening = kinds[1:kinds.index('voices') + 1]
    assert opening == [kind for kind in OPENING if kind in opening]
    assert kinds[0] == 'begin'
    for kind in ('begin', 'home', 'voices'):
        assert kinds.count(kind) == 1
    now, down = 0, {}
    for (kind, value), (before, last) in zip(words[1:], words):
        if kind == 'shift':
            now += value
            assert before not in ('velocity', 'begin') and (before != 'shift' or last == WHOLE)
        elif kind == 'on':
            assert value not in down
            assert (before == 'velocity') == tokenizer.velocity
            down[value] = now
        elif kind == 'off':
            assert now > down[value]             # it is down, and not since this step
            assert now <= down.pop(value) + Listener.MAX_HOLD
        elif kind == 'end':
            assert not down
        assert before != 'end' and not before == kind == 'velocity'
    assert all(now <= since + Listener.MAX_HOLD for since in down.values())


@pytest.mark.parametrize('velocity', [False, True])
def test_only_playable_music_is_drawn(path, velocity):
    """Forbids, whatever the model thinks: a key pressed that is down, one let go that is up or that
    was just pressed, one held for ever, a wait in parts that is none, an end while a key is down,
    an opening in disorder, a key pressed without saying how hard, and a file that reads back as
    other notes; in 4 * 6 rows of which the model likes other words each time."""
    tokenizer = MidiTokenizer(velocity)
    notes = 0
    for seed, kinds in enumerate(({}, {'on': 3}, {'shift': 3, 'end': 5}, {'end': 4, 'off': 4})):
        listeners = [tokenizer.listener() for _ in range(6)]
        likely = more_of(tokenizer, **{'home': 2, 'voices': 2, **kinds})
        begin = [[tokenizer.ids['begin', 0]]] * 6
        rows = go_on_at_random(listeners, begin, 300, seed, likely)
        for row in rows:
            is_playable(tokenizer, row)
            score = tokenizer.decode(row)
            assert len(score.notes) == tokenizer.count_units(row)
            notes += len(score.notes)
        if score.notes:
            write_midi(score, path)
            assert [note[:2] for note in read_midi(str(path)).notes] == [
                note[:2] for note in score.notes]
    assert notes > 1000


@pytest.mark.parametrize('velocity', [False, True])
def test_nearly_all_keys_are_down(velocity):
    """Forbids that a model that presses all keys there are comes to a point where no word is left,
    or presses one with a word of loudness and no key to follow."""
    tokenizer = MidiTokenizer(velocity)
    listener = tokenizer.listener()
    likely = more_of(tokenizer, on=20, velocity=20, off=-20, shift=-9)
    begin = ids_from('begin 0 home C voices 3', tokenizer)
    row, = go_on_at_random([listener], [begin], 900, 0, likely)
    is_playable(tokenizer, row)
    down = most = 0
    for id in row:
        down += {'on': 1, 'off': -1}.get(tokenizer.words[id][0], 0)
        most = max(most, down)
    assert most == 128


WISHES = [{}, {'metre': (3, 8)}, {'tempo': 50}, {'home': (9, 'minor')},
          {'metre': (3, 8), 'home': (9, 'minor')},
          {'metre': (12, 16), 'tempo': 0, 'home': (11, 'major')}, {'voices': 5}]


@pytest.mark.parametrize('wishes', WISHES)
def test_wishes_are_kept(wishes):
    """Forbids a piece in another metre, at another speed, in another key or in other voices than
    were wished for, and a wish for one of them that takes from the model the choice of the others.
    """
    listeners = [PLAIN.listener(**wishes) for _ in range(40)]
    rows = go_on_at_random(listeners, [[0]] * 40, 8, 0)
    openings = []
    for row in rows:
        is_playable(PLAIN, row)
        words = [PLAIN.words[id] for id in row]
        kinds = [kind for kind, _ in words]
        openings.append(dict(words[1:kinds.index('voices') + 1]))
        assert wishes.items() <= openings[-1].items()
    for kind in OPENING:
        values = {opening[kind] for opening in openings if kind in opening}
        assert len(values) == 1 if kind in wishes else len(values) > 5


ONE_BY_ONE = {'end': 9, 'off': 9, 'tempo': -9, 'on': -2}         # so it could end at any time


@pytest.mark.parametrize('bars, kinds', [(8, {}), (8, {'end': 9}), (16, ONE_BY_ONE),
                                         (16, {'shift': 4, 'on': -3}), (32, {'shift': 4})])
def test_a_piece_is_as_long_as_was_asked_for(bars, kinds):
    """Forbids a piece that ends before three quarters of the bars asked for, or goes on after five
    quarters, even if all that the model says is noise."""
    begin = 48                                   # as if a prompt had been there
    listeners = [PLAIN.listener(bars=bars, prompt_end=begin) for _ in range(4)]
    prompt = ids_from('begin 0 metre 3/8 home C voices 3 on C4 shift 48 off C4')
    likely = more_of(PLAIN, **{'shift': 2, 'metre': -99, **kinds})
    rows = go_on_at_random(listeners, [prompt] * 4, 2000, bars, likely)
    for row in rows:
        is_playable(PLAIN, row)
        assert row[-1] == PLAIN.end
        bar, now, composed = WHOLE, 0, 0.0
        for id in row:
            kind, value = PLAIN.words[id]
            if kind == 'metre':
                bar = WHOLE * value[0] // value[1]
            elif kind == 'shift':
                composed += value / bar if now >= begin else 0
                now += value
        assert 3 / 4 * bars <= composed + 1e-9 and composed <= 5 / 4 * bars + 1e-9


@pytest.mark.parametrize('bars', [1, 2])
@pytest.mark.parametrize('number', [13, 19, 22, None])
def test_notes_of_the_prompt_end_as_in_the_file(path, number, bars):
    """Forbids a model that is told of one length of a tied note while the file has another: the
    notes of a prompt that last beyond it end in the ids at their steps, unisons too, whatever the
    model likes."""
    score = TANGLED if number is None else score_of(number)
    write_midi(score, path)
    prompt = read_prompt(PLAIN, str(path), bars)
    lasting = prompt.lasting()
    assert lasting and (number or bars == 2 or [78, 348] in lasting.values())
    listeners = [PLAIN.listener(prompt_end=prompt.until, lasting=lasting) for _ in range(4)]
    likely = more_of(PLAIN, off=4, end=-99, metre=-4, tempo=-4, shift=2)
    rows = go_on_at_random(listeners, [prompt.ids] * 4, 400, 0, likely)
    due = Counter((note.start + note.duration, note.pitch) for note in prompt.score.notes)
    for row in rows:
        now = 0
        down = Counter()
        ends = Counter()
        for place, id in enumerate(row):
            kind, value = PLAIN.words[id]
            now += value if kind == 'shift' else 0
            if kind == 'on' and place < len(prompt.ids):
                down[value] += 1
            elif kind == 'off' and down[value]:          # the given are let go before others come
                down[value] -= 1
                ends[now, value] += 1
        assert now >= max(end for end, _ in due)
        assert ends == due


def test_a_rest_goes_on_while_a_note_of_the_prompt_sounds():
    """Forbids a time signature or a key that is pressed only since nothing else is allowed."""
    listener = PLAIN.listener(prompt_end=96, lasting={(0, 60): [700]})
    hear(listener, 'begin 0 metre 4/4 home C voices 3 on C4 shift 96')
    mask = listener.allowed()
    assert mask[PLAIN.ids['shift', 96]] and not mask[PLAIN.ids['off', 60]]
    assert not mask[PLAIN.ids['on', 60]] and mask[PLAIN.ids['on', 61]]


def test_a_note_of_the_prompt_is_waited_for_past_the_end():
    """Forbids a guard that leaves nothing but a new time signature or tempo: no key may be pressed
    any more, and the only one that is held ends later."""
    listener = PLAIN.listener(bars=1, prompt_end=96, lasting={(0, 60): [400]})
    hear(listener, 'begin 0 metre 4/4 home C voices 1 on C4 shift 96 shift 96 shift 13')
    shifts = np.flatnonzero(listener.allowed()[PLAIN.shift]) + 1
    assert shifts.tolist() == list(range(1, 216 - 205 + 1))              # to 5/4 of the wish


def test_a_long_note_of_the_prompt_does_not_put_off_the_end():
    """Forbids a piece that waits, with nothing but tempos and time signatures to say, for a note of
    the prompt that lasts far beyond the bars that were wished for."""
    listeners = [PLAIN.listener(bars=2, prompt_end=96, lasting={(0, 60): [5000]}) for _ in range(6)]
    prompt = ids_from('begin 0 home C voices 3 on C4 shift 96')
    rows = go_on_at_random(listeners, [prompt] * 6, 600, 0, more_of(PLAIN, metre=-99, shift=2))
    for row, listener in zip(rows, listeners):
        assert row[-1] == PLAIN.end
        assert 3 / 2 <= listener.bars_composed + 1e-9 and listener.bars_composed <= 5 / 2 + 1e-9
    assert sum(PLAIN.words[id][0] == 'tempo' for row in rows for id in row) < 100


def test_the_guard_allows_all_of_bach():
    """Forbids a guard stricter than the music: apart from voices in unison on one key, and notes
    longer than any of a hundred, every word of every movement is allowed where it stands."""
    refused = Counter()
    for number in range(32):
        listener = PLAIN.listener()
        for before, id in zip([None, *ids_of(number)], ids_of(number)):
            if before is not None and not listener.allowed()[id]:
                refused[PLAIN.words[id][0]] += 1
            listener.hear(id)
    assert refused.total() < 45_223 / 500


def test_what_the_guard_takes_away_is_counted():
    """Forbids a count that is not the probability of the words that were forbidden, one that grows
    where nothing is forbidden or after the end, or one for all rows."""
    first, second = PLAIN.listener(), PLAIN.listener()
    for listener in (first, second):
        listener.hear(0)
    hear(second, 'metre 3/4 tempo 40 home C voices 3 on C4 shift 12 off C4')
    logits = torch.zeros(2, PLAIN.vocab_size)
    masked = forbid(logits, [first, second])
    for row, listener in zip(masked, (first, second)):
        mask = listener.allowed()
        assert torch.equal(row == 0, torch.from_numpy(mask))
        assert (row[~torch.from_numpy(mask)] == -math.inf).all()
        assert listener.forbidden == pytest.approx(1 - mask.mean())
    assert 1 > first.forbidden > second.forbidden > 0
    again = forbid(masked, [first, second])              # nothing is left to be forbidden
    assert torch.equal(again, masked)
    assert first.forbidden == pytest.approx(1 - first.allowed().mean(), abs=1e-6)
    second.hear(PLAIN.end)
    before = second.forbidden
    forbid(logits, [first, second])
    assert second.forbidden == before


# --------------------------------------------------------------------------------------------- text

def test_text_recalls_what_followed():
    """Forbids another id than the one that followed the longest latest match, or another length."""
    listener = BPETokenizer().listener()
    told = [listener.hear(id) for id in b'abcd xbce abc']
    assert [row[1:] for row in told[:7]] == [[0, 0]] * 7     # so far no two ids came again
    assert told[7:9] == [[8, 1, ord('d')], [9, 0, 0]]        # 'bc', and 'ce', which is new
    # ' a' is new; after 'ab' came 'c'; after 'abc' came 'd', though after 'bc' there came 'e' later
    assert told[11] == [12, 1, ord('c')]
    assert told[12] == [13, 2, ord('d')]
    told = listener.hear(ord('f'))
    for id in b' xbc':
        told = listener.hear(id)
    assert told == [18, 3, ord('e')]                         # ' xbc' came once, 'bc' came later
    for id in b' zbc':
        told = listener.hear(id)
    assert told == [22, 1, ord(' ')]                         # of 'bc', the latest time


def slow_recall(ids: list[int]) -> tuple[int, int]:
    """The same by looking at all that came before."""
    for length in range(TextListener.MOST, TextListener.FEWEST - 1, -1):
        for place in range(len(ids) - 1, length - 1, -1):
            if length <= len(ids) and ids[place - length:place] == ids[-length:]:
                return length - 1, ids[place]
    return 0, 0


def test_text_recalls_as_a_plain_search_does():
    """Forbids a shortcut that finds other matches than looking through the whole text would."""
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 3, 400).tolist()
    told = BPETokenizer().listen(ids)
    for place in range(len(ids)):
        assert tuple(told[place, 1:]) == slow_recall(ids[:place + 1])


def test_text_remembers_so_much_and_no_more(monkeypatch):
    """Forbids a memory that grows with the text without end, and one that is lost in between."""
    monkeypatch.setattr(TextListener, 'FORGETS', 1000)
    listener = BPETokenizer().listener()
    generator = np.random.default_rng(0)
    most = 0
    for id in generator.integers(0, 250, 5000).tolist():
        listener.hear(id)
        most = max(most, len(listener.memory))
    each = TextListener.MOST - TextListener.FEWEST + 1
    assert 900 * each < most <= 1000 * each
    assert listener.heard == 5000 and len(listener.memory) < 1000 * each


def test_text_forbids_nothing():
    """Forbids a guard for text, of which anything may come."""
    listener = BPETokenizer().listener()
    listener.hear(5)
    logits = torch.randn(1, 257)
    assert torch.equal(forbid(logits, [listener]), logits) and listener.forbidden == 0
