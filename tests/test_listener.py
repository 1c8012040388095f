"""What follows from the words so far: told in training as while composing, recalled, and ruled.
Each test forbids one mistake. Where notes are named, the example was checked by hand."""

import functools
import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch

from lib.prompt import read_prompt
from lib.recall import Recall
from lib.score import WHOLE, Note, Score, count_voices, opening, read_midi, write_midi
from lib.tokenizer import columns_of_told
from lib.tonality import parse_key
import model as model_module
from model import ModelConfig, Transformer, draw, forbid
import sample
from test_score import GOLDBERG
from tokenizer_bpe import BPETokenizer
from tokenizer_bpe import BPEListener
from tokenizer_midi import END_LEVELS, NAMES, OPENING, MidiListener, MidiTokenizer

PLAIN, LOUD = MidiTokenizer(), MidiTokenizer(velocity=True)
COLUMNS = columns_of_told(MidiListener.TOLD)


@functools.cache
def score_of(number: int) -> Score:
    """A movement of the Goldberg Variations, 0 to 31."""
    return read_midi(str(GOLDBERG[number]))


def pitch_of(name: str) -> int:
    """'C4' -> 60"""
    return 12 * (int(name[-1]) + 1) + NAMES.index(name[:-1])


def key_of(id: int, kind: str) -> str:
    """The id of `on C4` -> 'C4', if that is the kind of word it should be; 0 -> '-'."""
    if id == 0:
        return '-'
    found, key = PLAIN.words[id]
    assert found == kind
    return f'{NAMES[key % 12]}{key // 12 - 1}'


def ids_from(text: str, tokenizer=PLAIN) -> list[int]:
    """'on C4 shift 12 off C4' -> the ids of these words. 'C4 12' is short for that, and 'C4+E2 12'
    for the same with two keys at once."""
    words = []
    pairs = text.split()
    for kind, value in zip(pairs[::2], pairs[1::2]):
        if kind in ('on', 'off'):
            words.append((kind, pitch_of(value)))
        elif kind == 'metre':
            words.append((kind, tuple(map(int, value.split('/')))))
        elif kind == 'home':
            words.append((kind, parse_key(value)))
        elif kind in ('begin', 'tempo', 'voices', 'shift', 'end'):
            words.append((kind, int(value)))
        else:
            pitches = [pitch_of(name) for name in kind.split('+')]
            words += [('on', pitch) for pitch in pitches]
            words.append(('shift', int(value)))
            words += [('off', pitch) for pitch in pitches]
    return [tokenizer.ids[word] for word in words]


def hear(listener, text: str) -> list[int]:
    """What is told after the last of some words."""
    for id in ids_from(text, listener.tokenizer):
        told = listener.hear(id)
    return told


# ------------------------------------------------------------ told while composing and in training

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
        elif now > until or (now == until and kind not in ('begin', 'off')):
            ids.append(id)
    return ids


# unisons, some of them from the same step on, of which one note or both last beyond the bar line;
# two time signatures and three tempos
TANGLED = Score(
    notes=[Note(0, 48, 80), Note(0, 55, 20), Note(0, 55, 200), Note(0, 60, 12), Note(0, 60, 40),
           Note(24, 48, 140), Note(30, 72, 6), Note(48, 67, 30), Note(48, 67, 300),
           Note(72, 64, 24), Note(72, 64, 30),
           Note(150, 60, 24), Note(200, 62, 24), Note(240, 60, 12), Note(300, 60, 12)],
    tempos=[(0, 60.0), (72, 90.0), (140, 60.0)], metres=[(0, 3, 4), (144, 4, 4)])


def music(number: int | None) -> Score:
    """The first 8 bars of a movement, or a tangle."""
    return TANGLED if number is None else opening(score_of(number), 8)[0]


@pytest.mark.parametrize('number, bars, until, wish', [
    (10, 0, 0, 0), (25, 0, 0, 0), (4, 1, 36, 12), (7, 1, 72, 12), (18, 2, 192, 12),
    (22, 4, 384, 12), (30, 2, 192, 12),
    (None, 0, 0, 0), (None, 1, 72, 0), (None, 2, 144, 0), (None, 3, 240, 0)])
def test_told_while_composing_as_in_training(monkeypatch, path, number, bars, until, wish):
    """Forbids a model that is told one thing while it learns and another while it composes, id by
    id: from nothing (0 bars), or after a prompt of some bars, however that is cut; and a time to
    the end that is counted from elsewhere than the bar line."""
    score = music(number)
    write_midi(score, path)
    prompt = read_prompt(PLAIN, str(path) if bars else '', bars)
    assert prompt.until == until
    score = Score(score.notes, score.tempos, score.metres, prompt.score.home,
                  count_voices(prompt.score.notes))
    rest = after_the_bar_line(score, until)
    script = iter(rest)
    heard = []                                   # tensors (1, T, W)

    def overheard(model, ids, told, cache=None):
        heard.append(told)
        return torch.zeros(*ids.shape, 2)
    monkeypatch.setattr(Transformer, 'read', overheard)
    monkeypatch.setattr(model_module, 'draw', lambda *_, **__: torch.tensor([next(script)]))
    model = Transformer(ModelConfig(PLAIN.vocab_size, 999, 1, 1, 2, **PLAIN.shape_of_told()))
    (ids,), _ = sample.draw_pieces(model, PLAIN, prompt, sample.Config(num_samples=1, bars=wish))
    assert ids == prompt.ids + rest
    assert PLAIN.decode(ids).notes == PLAIN.decode(PLAIN.encode(score)).notes
    told = torch.cat(heard, dim=1)[0].numpy()                    # of the last id nobody hears
    in_training = PLAIN.listen(ids)[:-1]
    _, beats, unit = score.metres[0]
    end = until + wish * WHOLE * beats // unit if wish else 0
    wished = PLAIN.listener(end=end)
    to_end = COLUMNS['to_end']
    in_training[:, to_end] = [wished.hear(id)[to_end] for id in ids[:-1]]
    in_training[0, to_end] = told[0, to_end]     # before the metre, nobody knows how long a bar is
    assert np.array_equal(told, in_training)


@pytest.mark.parametrize('number', [4, 15])
def test_what_is_told_is_transposed_with_the_music(number):
    """Forbids a piece learned in another key with what was told of the first: batches move both by
    one table. Everything that is no id stays."""
    ids = LOUD.encode(music(number))
    plain, of_ids = np.split(LOUD.listen(ids), [COLUMNS['ids'].start], axis=1)
    homes = set()
    for row in np.array(LOUD.augment_table()):
        moved = LOUD.listen(row[ids].tolist())
        assert np.array_equal(moved[:, :COLUMNS['ids'].start], plain)
        assert np.array_equal(moved[:, COLUMNS['ids']], row[of_ids])
        homes.add(moved[-1, COLUMNS['home']].item())
    assert len(homes) == 12 and 0 not in homes


# bars as long as can be told, and more than 45 of 4/4
LONG = Score([*score_of(10).notes, Note(4400, 67, 24)], metres=[(0, 16, 4)])


@pytest.mark.parametrize('tokenizer, what', [
    (PLAIN, LONG), (LOUD, LONG), (BPETokenizer(), 'to be or not to be, ' * 20)])
def test_what_is_told_fits_the_model(tokenizer, what):
    """Forbids a number that no table of the model has a row for, in music or in text, and a row
    that is never told: the largest number has the last one."""
    ids = tokenizer.encode(what)
    told = tokenizer.listen(ids)
    shape = tokenizer.shape_of_told()
    model = Transformer(ModelConfig(tokenizer.vocab_size, len(ids), 1, 1, 2, **shape))
    model(torch.tensor([ids]), torch.from_numpy(told)[None])
    columns = columns_of_told(shape['columns'])
    assert told.min() == 0 and told[:, columns['ids']].max() < tokenizer.vocab_size
    for name, rows in (('match', 'matches'), ('to_bar', 'bar_steps'), ('to_end', 'end_levels')):
        if rows in shape:
            assert told[:, columns[name]].max() == shape[rows] - 1


# ------------------------------------------------------------------------------------------- recall

def recalled(told: list[int]) -> list[str]:
    """Of each voice of which something is recalled, the surest first: how sure, the keys that may
    be pressed, the likelier first, and the one that may be released: '5 C5 C#5 B4'."""
    matches = told[COLUMNS['match']]
    assert matches == sorted(matches, reverse=True)
    voices = []
    for match, on, other, off in zip(matches, *np.reshape(told[COLUMNS['recalled']], (3, 3)).T):
        keys = f'{key_of(on, "on")} {key_of(other, "on")} {key_of(off, "off")}'
        if match:
            voices.append(f'{match} {keys}')
        else:
            assert keys == '- - -'
    return voices


def test_recall_as_its_docstring_says():
    """Forbids an example in the docstring that is not true: after C D E F and G A B comes C, a
    second higher, or its neighbour in the scale step."""
    heard, = [line for line in Recall.__doc__.splitlines() if line.strip().startswith('heard')]
    notes = heard.split('(')[0].replace('heard', '').replace('|', '')
    assert recalled(hear(PLAIN.listener(), notes)) == ['5 C5 C#5 -']
    assert 'C5 or C#5' in Recall.__doc__ and 'sure 5' in Recall.__doc__


PAUSE = f' shift {Recall.REST + 1} '             # a rest after which no voice goes on
FIGURE = 'C4 12 E4 12 D4 12 '                    # no scale
F_CAME = FIGURE + 'F4 12' + PAUSE
D_CAME_TWICE = 2 * ('G4 12 F4 12 D5 12' + PAUSE)         # after one move that ends as the FIGURE
B_CAME_LATER = 'shift 24 ' + FIGURE + 'B4 12 shift 24 '
IN_TWO_VOICES = 'C5+C3 12 E5+D3 12 D5+E3 12 F5+F3 12' + PAUSE
# what is heard, and what is recalled then (None: anything)
RECALLED = {
    'a key that is not released before the next': [
        ('C4 12 D4 12 E4 12 F4 60 G4 12 A4 12 on B4 shift 12', ['5 C5 C#5 B4']),
        ('shift 1', [])],
    'a moment with one move in common that outvotes one with two, unless it came three times': [
        (F_CAME + D_CAME_TWICE + FIGURE, ['2 F4 F#4 -']),
        (PAUSE + D_CAME_TWICE + FIGURE, ['2 B4 A#4 -'])],
    'the place in the bar that does not count: F came at this one, B twice at another': [
        ('metre 4/4 ' + FIGURE + 'F4 12 shift 48 ' + 2 * B_CAME_LATER + FIGURE, ['4 F4 F#4 -'])],
    'a bar that does not begin with a new metre': [
        ('metre 4/4 ' + FIGURE + 'F4 12 shift 72 metre 3/4 ' + FIGURE, ['4 F4 F#4 -'])],
    'a bar that begins with a new metre only after the next wait': [
        ('metre 3/4 C4 24 E4 24 D4 24 F4 12 shift 36 C4 24 E4 24 D4 24 metre 4/4',
         ['4 F4 F#4 -'])],
    'a voice that is over after a rest of a quarter, or not after more': [
        ('C4 12 shift 24 E4 12 D4 12 shift 48 C5 12 shift 24 E5 12', ['1 D5 D#5 -']),
        ('shift 48 C4 12 shift 25 G4 12 A4 12 shift 48 C5 12 shift 25 G5 12', [])],
    'a key that is held': [
        (F_CAME + 'on F4 ' + FIGURE, ['2 - F#4 -'])],
    'a voice of which nothing is left to say, since both its keys are held': [
        (F_CAME + 'on F4 on F#4 ' + FIGURE, []),
        ('off F#4', ['2 - F#4 -'])],
    'a figure that counts as new a step lower, where a major third is a minor one': [
        (F_CAME + 'B3 12 D4 12 C4 12', ['2 D#4 E4 -'])],
    'a figure that is recalled in other note values, or at another moment; two waits make one': [
        (F_CAME + 'C4 12 E4 12 D4 6', []),
        (PAUSE + 'C4 12 E4 12 on D4 shift 11', []),
        ('shift 1', ['2 F4 F#4 D4'])],
    'an answer in the middle that knows of no other voice, or is disturbed by others': [
        (IN_TWO_VOICES + 'on C3 on C6 G4 12 B4 12 A4 12', ['2 C5 C#5 -'])],
    'a voice that is named before one that is surer': [
        (F_CAME + 'C5 12 E3+E5 12 D3+D5 12', ['2 F5 F#5 -', '1 F3 F#3 -'])],
    'what is expected on when it has come, or that another voice ends it': [
        (IN_TWO_VOICES + 'C5+C3 12 E5+D3 12 on E3 on D5 shift 12', ['2 F3 F#3 E3', '2 F5 F#5 D5']),
        ('off E3', ['2 F3 F#3 -', '2 F5 F#5 D5']),
        ('off D5', ['2 F3 F#3 -', '2 F5 F#5 -']),
        ('on F3', ['2 F5 F#5 -']),
        ('on F#5', []),                          # the neighbour
        ('shift 1', [])],
    'what is expected at the beginning, or anew within a moment': [
        ('begin 0 metre 3/4 tempo 40 home C voices 3 on C4', []),
        ('shift 12 off C4 on D4 shift 12 off D4 on E4 shift 12 off E4', None),
        ('on F4', []),
        ('shift 12', ['2 F#4 G4 F4'])],
    'a key beyond the keyboard, G#9, as the neighbour': [
        (F_CAME + 'D9 12 F9 12 E9 12', ['2 G9 - -'])],
    'a key beyond the keyboard, G#9, as the likelier one': [
        ('C4 12 F4 12 D4 12 G#4 12' + PAUSE + 'C9 12 F9 12 D9 12', ['2 - G9 -'])],
}


@pytest.mark.parametrize('mistake', RECALLED)
def test_what_is_recalled(mistake):
    """Forbids the mistake that the table names."""
    listener = PLAIN.listener()
    for words, want in RECALLED[mistake]:
        told = hear(listener, words)
        assert want is None or recalled(told) == want


@pytest.mark.parametrize('before, moves, want', [
    ('C3 G4', 'D3', 'A4'),                       # as the docstring says: a fifth
    ('G4 C3', 'D3', 'A4'),
    ('C3 C5', 'A2', 'A4'),                       # octaves, down
    ('C3 G4', 'E4', 'B4'),                       # up by an octave more
    ('C3 F4', 'D3', '-'),                        # fourths may be parallel
    ('C3 G4', 'C3', '-'),                        # the bass has not moved
    ('C3 G4 C5', 'D3', 'D5'),                    # of the outer voices, that is
    ('C3 G4', 'D3 F4', 'A4'),                    # F4 is not the highest before all is struck
    ('C3 G4', 'D3 B4', '-'),                     # A4 would be an inner voice
    ('C3 G4', 'D3 A4', '-'),                     # A4 has come
    ('C3 C5', 'C4', 'C6'),                       # by an octave
    ('C3 C5', 'C2', 'C4'),
    ('C9 G9', 'D9', '-')])                       # A9 is beyond the keyboard
def test_parallels(before, moves, want):
    """Forbids a note that would make parallel fifths or octaves and goes unmentioned, and that
    others are taken for such; at the next step it is over."""
    listener = PLAIN.listener()

    def parallel(text):
        id, = hear(listener, text)[COLUMNS['parallel']]
        return key_of(id, 'on')
    assert parallel(before.replace(' ', '+') + ' 24') == '-'
    assert parallel(' '.join(f'on {note}' for note in moves.split())) == want
    assert parallel('shift 12') == '-'


SOME = range(0, 32, 3)


@functools.cache
def walk(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A movement as it is heard: what is told after each id but the last (N - 1, W), the id that
    comes then (N - 1,), and True where the guard allows it (N - 1,)."""
    ids = PLAIN.encode(score_of(number))
    listener = PLAIN.listener()
    told, allowed = [], []
    for id, comes in pairwise(ids):
        told.append(listener.hear(id))
        allowed.append(listener.allowed()[comes])
    return np.array(told), np.array(ids[1:]), np.array(allowed)


def test_how_often_bach_repeats_himself():
    """Forbids a change of what is recalled, of all that is learned by it, that nobody sees: of the
    notes of some movements, so many come while something is expected, and so many are expected;
    and so for their ends."""
    found = []
    for kind in ('on', 'off'):
        words = expected = hits = 0
        for number in SOME:
            told, comes, _ = walk(number)
            told = told[:, COLUMNS['recalled']]
            is_kind = np.array([PLAIN.words[id][0] == kind for id in comes])
            words += is_kind.sum()
            expected += (is_kind & (told > 0).any(axis=1)).sum()
            hits += (is_kind & (told == comes[:, None]).any(axis=1)).sum()
        found.append((words, expected, hits))
    assert found == [(5_068, 4_490, 2_484), (5_068, 4_765, 3_890)]


# ------------------------------------------------------------------------- what else is told

def test_the_clock_goes_round():
    """Forbids a clock without bounds, which the model's tables have not, or one that begins again
    at another time than the turns of the heads that read it."""
    assert MidiListener.CLOCK_ROUND == model_module.LONGEST == BPEListener.CLOCK_ROUND
    listener = PLAIN.listener()
    for i in range(1, 200):
        assert hear(listener, 'shift 96')[COLUMNS['clock']] == [96 * i % (64 * 96)]
    text = BPETokenizer().listener()
    told = [text.hear(i % 7) for i in range(6200)]
    assert [told[i][0] for i in (0, 6142, 6143, 6144)] == [1, 6143, 0, 1]


def test_the_bar_line():
    """Forbids a bar line that is told at the wrong distance: after a change of metre, before the
    first one, in a bar that is longer than what can be told."""
    listener = PLAIN.listener()
    told = [hear(listener, words)[COLUMNS['to_bar']] for words in (
        'begin 0', 'metre 3/4', 'shift 1', 'shift 5', 'shift 60', 'shift 6',     # 72 steps
        'shift 24', 'metre 6/8', 'shift 71', 'shift 1', 'metre 16/4')]
    assert told == [[96], [72], [71], [66], [6], [72], [48], [72], [1], [72], [192]]


@pytest.mark.parametrize('wish, words, level', [
    ({}, 'begin 0', 0),                                          # it is not told
    ({'bars': 100}, 'begin 0 metre 3/4', 16),
    ({'bars': 1}, 'begin 0 metre 3/4', 5),                       # 72 steps
    ({'bars': 1}, 'begin 0 metre 3/4 shift 28', 4),              # 44
    ({'bars': 1}, 'begin 0 metre 3/4 shift 29', 3),
    ({'bars': 1}, 'begin 0 metre 3/4 shift 62', 2),              # 10
    ({'bars': 1}, 'begin 0 metre 3/4 shift 63', 1),
    ({'bars': 1}, 'begin 0 metre 3/4 shift 96', 1),              # the end is over
    # the bars of the prompt are not among those to be composed
    ({'bars': 1, 'prompt_end': 72}, 'begin 0 metre 3/4 shift 72', 5),
    ({'bars': 1, 'prompt_end': 72}, 'begin 0 metre 3/4', 6),
    # of 8 bars, 4 are over, be the rest of 4/4 (384 steps) or of 3/8 (144, and a bar later 108)
    ({'bars': 8}, 'begin 0 metre 4/4' + ' shift 96' * 4, 9),
    ({'bars': 8}, 'begin 0 metre 4/4' + ' shift 96' * 4 + ' metre 3/8', 6),
    ({'bars': 8}, 'begin 0 metre 4/4' + ' shift 96' * 4 + ' metre 3/8 shift 36', 5)])
def test_how_far_it_is_to_the_end(wish, words, level):
    """Forbids a wish for so many bars that is told as another distance to the end than it is by the
    metre that stands there, and levels that begin elsewhere than the comment says."""
    assert hear(PLAIN.listener(**wish), words)[COLUMNS['to_end']] == [level]
    assert END_LEVELS[-1] / WHOLE == pytest.approx(45, abs=0.01)


def test_the_end_is_told_in_training():
    """Forbids a piece that is learned without how far it is to its end."""
    told = PLAIN.listen(ids_from('begin 0 C4 60 D4 12 end 0'))[:, COLUMNS['to_end']]
    assert told.flatten().tolist() == [5, 5, 2, 2, 2, 1, 1, 1]


def test_which_keys_are_down():
    """Forbids a key that is let go and still told, an order that is not that of pressing, more keys
    than there are columns, or the first of them kept instead of the last; a unison is one key."""
    listener = PLAIN.listener()
    most = MidiListener.TOLD['held']
    names = [f'{name}{octave}' for octave in (3, 4) for name in NAMES][:most + 5]
    for words, want in (('begin 0', ''), ('on E4 on C4', 'E4 C4'), ('on C4', 'E4 C4'),
                        ('shift 1 off E4', 'C4'), ('off C4', 'C4'), ('off C4', ''),
                        (' '.join(f'on {name}' for name in names), ' '.join(names[-most:])),
                        (f'off {names[-1]}', ' '.join(names[-most - 1:-1]))):
        held = hear(listener, words)[COLUMNS['held']]
        assert ' '.join(key_of(id, 'off') for id in held if id) == want


# ---------------------------------------------------------------------------------------- the guard

@pytest.mark.parametrize('given, words, may, may_not', [
    # as the docstring says
    ({}, 'begin 0', 'metre 3/4 tempo 40 home G', 'voices 3 on C4 shift 1 end 0'),
    ({}, 'begin 0 home C voices 3', 'on C4 shift 1', 'off C4 tempo 40 metre 3/4 end 0'),
    ({}, 'begin 0 home C voices 3 on C4', 'on C#4 shift 96', 'on C4 off C4 end 0 tempo 40'),
    ({}, 'begin 0 home C voices 3 on C4 shift 96', 'off C4 shift 48', 'off D4 shift 49 end 0'),
    ({}, 'begin 0 home C voices 3 on C4 shift 1', 'off C4 on D4', 'on C4 off D4 shift 1 end 0'),
    # while a note of the prompt sounds, a rest goes on, and no tempo has to be said meanwhile
    ({'prompt_end': 96, 'lasting': {(0, 60): [700]}},
     'begin 0 metre 4/4 home C voices 3 on C4 shift 96', 'shift 96 on C#4', 'off C4 on C4'),
    # it is waited for past the end, when no key is pressed any more: to 5/4 of the wish
    ({'bars': 1, 'prompt_end': 96, 'lasting': {(0, 60): [400]}},
     'begin 0 metre 4/4 home C voices 1 on C4 shift 96 shift 96 shift 13',
     'shift 1 shift 11', 'shift 12 on D4 end 0'),
    # so is a rest in which no key is held
    ({'bars': 1}, 'begin 0 metre 4/4 home C voices 1 shift 96', 'shift 24', 'shift 25')])
def test_what_may_come(given, words, may, may_not):
    """Forbids a guard that allows what the comment or the docstring forbids, or leaves nothing but
    a new tempo or time signature."""
    listener = PLAIN.listener(**given)
    hear(listener, words)
    mask = listener.allowed()
    assert mask[ids_from(may)].all() and not mask[ids_from(may_not)].any()


def go_on_at_random(listeners, prompt: list[int], steps: int, seed: int, **likely):
    """Draw from random logits, as `generate` does, until all rows have ended; `likely` is added to
    the logits of some kinds of words. No mask may be all False."""
    tokenizer = listeners[0].tokenizer
    generator = torch.Generator().manual_seed(seed)
    more = torch.tensor([float(likely.get(kind, 0)) for kind, _ in tokenizer.words])
    rows = [list(prompt) for _ in listeners]
    for listener in listeners:
        for id in prompt:
            listener.hear(id)
    for _ in range(steps):
        logits = torch.randn(len(rows), tokenizer.vocab_size, generator=generator) + more
        logits = forbid(logits, listeners)
        assert torch.isfinite(logits).any(dim=1).all()
        for row, listener, id in zip(rows, listeners, draw(logits, generator=generator).tolist()):
            if row[-1] != tokenizer.end:
                row.append(id)
                listener.hear(id)
        if all(row[-1] == tokenizer.end for row in rows):
            break
    return rows


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
            assert now <= down.pop(value) + MidiListener.MAX_HOLD
        elif kind == 'end':
            assert not down
        assert before != 'end' and not before == kind == 'velocity'
    assert all(now <= since + MidiListener.MAX_HOLD for since in down.values())


@pytest.mark.parametrize('tokenizer', [PLAIN, LOUD])
@pytest.mark.parametrize('likely', [
    {}, {'on': 3}, {'shift': 3, 'end': 5}, {'end': 4, 'off': 4},
    {'on': 20, 'velocity': 20, 'off': -20, 'shift': -9}])        # all keys there are
def test_only_playable_music_is_drawn(path, tokenizer, likely):
    """Forbids, whatever the model thinks: a key pressed that is down, one let go that is up or that
    was just pressed, one held for ever, a wait in parts that is none, an end while a key is down,
    an opening in disorder, a key pressed without saying how hard, a point where no word is left,
    and a file that reads back as other notes."""
    listeners = [tokenizer.listener() for _ in range(3)]
    rows = go_on_at_random(listeners, [0], 300, 0, home=2, voices=2, **likely)
    notes = 0
    for row in rows:
        is_playable(tokenizer, row)
        score = tokenizer.decode(row)
        assert len(score.notes) == tokenizer.count_units(row)
        notes += len(score.notes)
    assert notes > 10
    if score.notes:
        write_midi(score, path)
        back = read_midi(str(path))
        assert [note[:2] for note in back.notes] == [note[:2] for note in score.notes]


@pytest.mark.parametrize('wishes', [
    {}, {'tempo': 50}, {'metre': (3, 8), 'home': (9, 'minor')},
    {'metre': (12, 16), 'tempo': 0, 'home': (11, 'major')}, {'voices': 5}])
def test_wishes_are_kept(wishes):
    """Forbids a piece in another metre, at another speed, in another key or in other voices than
    were wished for, and a wish for one of them that takes from the model the choice of the others.
    """
    rows = go_on_at_random([PLAIN.listener(**wishes) for _ in range(40)], [0], 8, 0)
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


@pytest.mark.parametrize('bars, lasting, likely', [
    (8, 0, {'end': 9}), (16, 0, {'end': 9, 'off': 9, 'tempo': -9, 'on': -2}),
    (16, 0, {'shift': 4, 'on': -3}),
    (2, 5000, {})])                              # a note of the prompt is to last so long
def test_a_piece_is_as_long_as_was_asked_for(bars, lasting, likely):
    """Forbids a piece that ends before three quarters of the bars asked for, or goes on after five
    quarters, even if all that the model says is noise, or a note of the prompt is longer."""
    begin = 48                                   # where the prompt is over
    given = {'lasting': {(0, 60): [lasting]}} if lasting else {}
    listeners = [PLAIN.listener(bars=bars, prompt_end=begin, **given) for _ in range(3)]
    prompt = ids_from('begin 0 metre 3/8 home C voices 3 on C4 shift 48')
    rows = go_on_at_random(listeners, prompt, 2000, bars, **{'shift': 2, 'metre': -99, **likely})
    for row in rows:
        is_playable(PLAIN, row)
        words = [PLAIN.words[id] for id in row]
        steps = sum(value for kind, value in words if kind == 'shift') - begin
        assert words[-1] == ('end', 0) and 3 / 4 * bars <= steps / 36 <= 5 / 4 * bars


def ends_of(notes: list[Note]) -> Counter:
    return Counter((note.start + note.duration, note.pitch) for note in notes)


@pytest.mark.parametrize('number, bars', [(13, 2), (22, 1), (None, 1), (None, 2)])
def test_notes_of_the_prompt_end_as_in_the_file(path, number, bars):
    """Forbids a model that is told of one length of a tied note while the file has another: the
    notes of a prompt that last beyond it end in the ids at their steps, unisons too, whatever the
    model likes."""
    write_midi(music(number), path)
    prompt = read_prompt(PLAIN, str(path), bars)
    lasting = prompt.lasting()
    assert lasting and (number or bars == 2 or [78, 348] in lasting.values())
    listeners = [PLAIN.listener(prompt_end=prompt.until, lasting=lasting) for _ in range(3)]
    rows = go_on_at_random(listeners, prompt.ids, 200, 0, off=4, end=-99, metre=-4, tempo=-4,
                           shift=4)
    for row in rows:
        given = [note for note in PLAIN.decode(row).notes if note.start < prompt.until]
        assert ends_of(given) == ends_of(prompt.score.notes)


def test_the_guard_allows_all_of_bach():
    """Forbids a guard stricter than the music: apart from voices in unison on one key, and notes
    longer than any of a hundred, every word is allowed where it stands."""
    allowed = np.concatenate([walk(number)[2] for number in SOME])
    assert (~allowed).sum() < len(allowed) / 1000


def test_what_the_guard_takes_away_is_counted():
    """Forbids a count that is not the probability of the words that were forbidden, one that grows
    where nothing is forbidden or after the end, or one for all rows."""
    first, second = PLAIN.listener(), PLAIN.listener()
    hear(first, 'begin 0')
    hear(second, 'begin 0 metre 3/4 tempo 40 home C voices 3 on C4 shift 12 off C4')
    masks = torch.from_numpy(np.stack([first.allowed(), second.allowed()]))
    masked = forbid(torch.zeros(2, PLAIN.vocab_size), [first, second])
    assert torch.equal(masked, torch.zeros(masks.shape).masked_fill(~masks, -math.inf))
    counts = [first.forbidden, second.forbidden]
    assert counts == pytest.approx((1 - masks.float().mean(dim=1)).tolist())
    assert 1 > counts[0] > counts[1] > 0
    second.hear(PLAIN.end)
    forbid(masked, [first, second])              # nothing is left to be forbidden
    assert [first.forbidden, second.forbidden] == pytest.approx(counts, abs=1e-6)


# --------------------------------------------------------------------------------------------- text

def slow_recall(ids: list[int]) -> list[int]:
    """What a listener to text tells, by looking at all that came before: the id that followed the
    longest match of the last two to eight ids, the last time."""
    for length in range(8, 1, -1):
        for place in range(len(ids) - 1, length - 1, -1):
            if ids[place - length:place] == ids[-length:]:
                return [len(ids), length - 1, ids[place]]
    return [len(ids), 0, 0]


def test_text_recalls_as_a_plain_search_does():
    """Forbids another id than the one that followed the longest match the last time, another length
    of it, and a shortcut that finds other matches than looking through the whole text would."""
    ids = np.random.default_rng(0).integers(0, 3, 400).tolist()
    told = BPETokenizer().listen(ids)
    for place, row in enumerate(told.tolist()):
        assert row == slow_recall(ids[:place + 1])


def test_text_remembers_so_much_and_no_more(monkeypatch):
    """Forbids a memory that grows with the text without end, and one that is lost in between."""
    monkeypatch.setattr(BPEListener, 'FORGETS', 1000)
    listener = BPETokenizer().listener()
    ids = np.random.default_rng(0).integers(0, 250, 5000).tolist()
    most = 0
    for id in ids:
        listener.hear(id)
        most = max(most, len(listener.memory))
    each = BPEListener.MOST - BPEListener.FEWEST + 1
    assert 900 * each < most <= 1000 * each


def test_text_forbids_nothing():
    """Forbids a guard for text, of which anything may come."""
    listener = BPETokenizer().listener()
    listener.hear(5)
    logits = torch.randn(1, 257)
    assert torch.equal(forbid(logits, [listener]), logits) and listener.forbidden == 0
