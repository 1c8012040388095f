"""The judge: it hears what is wrong, is deaf to what is no matter, and has not heard before what it
judges. Its counts, and the form of whole pieces, on music that can be counted on paper."""

import re

import numpy as np
import pytest

from conftest import ROOT
from lib.counts import FEWEST, count, count_line, cut, parallels
from lib.form import describe, describe_piece, lag_curve, returns
from lib.judge import (RIDGE, Counted, count_pieces, family, fit, gave_away, judge, judge_sides,
                       right_answers, shuffle_pitches, standard_error, standardise)
from lib.score import Note, Score, read_midi
import prepare
from test_score import GOLDBERG

IN_A_ROW = [(0, 4, 4)]           # a metre of four quarters, 96 steps a bar


@pytest.fixture(scope='module')
def named():
    """The Goldberg Variations: {'train': [(name, Score)], 'val': ...}."""
    found = {'train': [], 'val': []}
    for path in sorted((ROOT / 'data' / 'goldberg').glob('*.mid')):
        split = 'val' if re.match(prepare.HELD_OUT['goldberg'], path.name) else 'train'
        found[split].append((path.name, read_midi(path)))
    return found


@pytest.fixture(scope='module')
def counted(named):
    return {split: count_pieces(pieces) for split, pieces in named.items()}


def change(pieces, function):
    """The pieces with function(note) for every note."""
    return [(name, Score(sorted(map(function, score.notes)), score.tempos, score.metres))
            for name, score in pieces]


def melody(pitches, step=24, start=0):
    """One note after the other."""
    return [Note(start + step * i, pitch, step) for i, pitch in enumerate(pitches)]


def made_up(seed, families, mean=0.0, windows=3, counts=20):
    """Counted pieces whose counts are drawn from a normal distribution around `mean`."""
    random = np.random.default_rng(seed)
    names = [f'count {number}' for number in range(counts)]
    return [Counted(f'{seed}-{number}', names, mean + random.normal(size=(windows, counts)))
            for number in range(families)]


# ---- the verdict

def test_bach_cannot_be_told_from_bach(counted):
    """Forbids a judge who tells apart what has one author: one who has heard the pieces before, or
    who has it from the order or the number of the pieces."""
    pieces = counted['train'] + counted['val']
    order = np.random.default_rng(1)
    found = []
    for _ in range(5):
        mixed = [pieces[number] for number in order.permutation(len(pieces))]
        found.append(judge(mixed[:20], mixed[20:]).prefers)
    assert 40 < np.mean(found) < 60


def move(field, steps):
    """A function that adds one of these numbers, drawn at random, to a field of a note."""
    random = np.random.default_rng(1)
    return lambda note: note._replace(**{field: getattr(note, field) + int(random.choice(steps))})


@pytest.mark.parametrize('function, hears', [
    (move('pitch', [-1, 0, 1]), 'in the key of their bar'),
    (move('start', range(6)), 'notes on half the beat'),
    (move('duration', [96, 0, 0, 0, 0]), 'time with 4 or more keys down'),
    (move('pitch', [-12, 0, 12]), 'top: wider')],
    ids=['wrong pitches', 'wrong time', 'forgotten keys', 'leaps'])
def test_what_is_plainly_worse_is_heard(named, counted, function, hears):
    """Forbids a judge who is deaf to wrong pitches, wrong time, keys that are never let go, and
    leaps, or who cannot say what gave them away."""
    other = count_pieces(change(named['val'], function))
    assert judge(counted['train'], other).prefers > 97
    number = other[0].names.index(hears)
    right, wrong = (np.concatenate([piece.counts[:, number] for piece in side])
                    for side in (counted['val'], other))
    assert abs(right.mean() - wrong.mean()) > right.std()


def test_key_and_tempo_are_no_matter(named, counted):
    """Forbids a count that knows how high a piece lies, which keys it uses or what tempo stands
    above it: the model is trained in twelve keys, and a user asks for any tempo."""
    def moved(semitones):
        pieces = change(named['val'], lambda note: note._replace(pitch=note.pitch + semitones))
        return [(name, Score(score.notes, [(0, 33.0)], score.metres)) for name, score in pieces]
    for semitones in (-7, 4):
        for piece, other in zip(counted['val'], count_pieces(moved(semitones)), strict=True):
            assert other.counts == pytest.approx(piece.counts)


def test_it_has_not_heard_what_it_judges():
    """Forbids windows of one piece, or of twins, on both sides of a fold: here all windows of a
    piece and its twin are the same, and so known by heart, but both sides are drawn alike."""
    sides = []
    for seed in (1, 2):
        pieces = made_up(seed, 20, windows=1, counts=60)
        sides.append([piece._replace(counts=np.repeat(piece.counts, 3, axis=0))
                      for piece in pieces + pieces])
    assert 35 < judge(*sides).prefers < 65


def test_twins_are_known():
    """Forbids a prelude that is judged by what its fugue has told, and a variation that is taken
    for a twin of the Aria."""
    for one, other in (('1-06-bwv851-prelude.mid', '1-06-bwv851-fugue.mid'),
                       ('00-aria.mid', '31-aria-da-capo.mid'),
                       ('contrapunctus-10.mid', 'contrapunctus-10a.mid')):
        assert family(one) == family(other)
    names = ['1-06-bwv851-prelude', '2-06-bwv875-prelude', '01-variatio-1', '02-variatio-2',
             '00-aria', 'handel-aria-1', 'handel-aria-2', 'sample-1-1', 'sample-1-11',
             'contrapunctus-01']
    assert len({family(name) for name in names}) == len(names)


def test_the_figure_is_that_of_pairs():
    """Forbids another scale than 50 for chance and 100 for what is always told, and one that is
    turned round: a judge who has to guess does not prefer the model. By theory, of two normal
    distributions that lie 1 apart in each of 4 directions, 92 of 100 pairs are told."""
    bach, alike = made_up(1, 100, counts=4), made_up(2, 100, counts=4)
    assert judge(bach, alike).prefers == pytest.approx(50, abs=6)
    assert judge(bach, made_up(2, 100, mean=9, counts=4)).prefers == 100
    assert judge(bach, made_up(2, 100, mean=1, counts=4)).prefers == pytest.approx(92.1, abs=2)
    same = made_up(1, 10)
    constant = [piece._replace(counts=0 * piece.counts) for piece in same]
    assert judge(constant, constant).prefers == 50                   # ties are halves


def test_the_verdict_is_the_same_every_time():
    """Forbids luck: another figure for the same pieces, or for their files in another order."""
    bach, other = made_up(1, 12), made_up(2, 9, mean=0.2)
    first = judge(bach, other)
    assert judge(bach, other) == first
    assert judge(bach[::-1], other[::-1]) == pytest.approx(first)


def test_give_or_take():
    """Forbids an error that shrinks when a piece is cut into more windows, or a wrong one: that of
    a mean over pieces is their spread over the root of their number, and two of them hold the truth
    in nineteen of twenty cases."""
    won, families = np.array([1.0, 0, 1, 0]), np.array(['a', 'b', 'c', 'd'])
    for times in (1, 5):
        many = np.repeat(won, times), np.ones(4 * times), np.repeat(families, times)
        assert standard_error(*many) == pytest.approx(won.std(ddof=1) / 2)
    figures = [judge(made_up(seed, 20, counts=5), made_up(seed + 50, 20, 0.4, counts=5))
               for seed in range(12)]
    spread = 2 * np.std([figure.prefers for figure in figures])
    assert 0.6 < spread / np.mean([figure.give_or_take for figure in figures]) < 1.6


def test_too_few_pieces():
    """Forbids a figure that comes from nothing, and a traceback instead."""
    bach = made_up(1, 12)
    for other in ([], made_up(2, 1)):
        assert judge(bach, other) is None and judge(other, bach) is None
    twins = [piece._replace(family='one') for piece in made_up(2, 4)]
    assert judge(bach, twins) is None
    assert 0 <= judge(bach, made_up(2, 2)).prefers <= 100


def test_the_regression():
    """Forbids weights that are not the best ones, a side that counts more because it is larger, and
    a ridge that is lost: the slope of the loss is 0 in each direction, for the best constant."""
    random = np.random.default_rng(1)
    x, is_bach = random.normal(size=(60, 3)), np.arange(60) < 20
    x[:, 0] += 3 * is_bach
    weights = fit(x, is_bach)
    share = np.where(is_bach, 1 / 40, 1 / 80)

    def errors(constant):
        return share * (1 / (1 + np.exp(-x @ weights - constant)) - is_bach)
    best = min(np.linspace(-5, 5, 2001), key=lambda constant: abs(errors(constant).sum()))
    assert x.T @ errors(best) + RIDGE * weights == pytest.approx(np.zeros(3), abs=1e-3)


def test_only_known_windows_set_the_scale():
    """Forbids a scale that has seen the windows that are to be judged, or that leans towards the
    larger side; and one wild window that outweighs all the others."""
    counts = np.array([[0.0], [0], [0], [4], [100]])
    is_bach = np.array([True, True, True, False, False])
    known = np.array([True, True, True, True, False])
    assert standardise(counts, is_bach, known)[:, 0].tolist() == [-1, -1, -1, 1, 3]


def test_what_gave_it_away(counted):
    """Forbids a count that is blamed for what another one tells, or whose means are mixed up."""
    bach, other = made_up(1, 30), made_up(2, 30)
    for piece in other:
        piece.counts[:, 7] -= 2
    first = gave_away(bach, other)[0]
    assert first['count'] == 'count 7' and first['share'] > 0.5
    assert first['bach'] == pytest.approx(0, abs=0.3)
    assert first['samples'] == pytest.approx(-2, abs=0.3)


def test_all_sides(named):
    """Forbids a side that is judged against itself, samples too short that go unmentioned, and
    samples that stand against Bach's training pieces only: as samples, his held-out pieces are told
    from those, and cannot be told from all."""
    val = named['val']
    short = ('short', Score(val[0][1].notes[:50], metres=val[0][1].metres))
    found = judge_sides(shuffle_pitches(val) + [short], named['train'], val, [])
    assert found['prefers']['n-gram'] is None and found['prefers']['held-out'] < 75
    assert found['prefers']['shuffled'] > 99 and found['prefers']['samples'] > 99
    assert found['pieces'] == {'held-out': 6, 'shuffled': 6, 'n-gram': 0, 'samples': 6}
    assert found['too_short'] == 1 and len(found['gave_away']) == 10
    prefers = judge_sides(val, named['train'][:6], val, [])['prefers']
    assert prefers['samples'] < 50 < prefers['held-out']


def test_shuffling_keeps_the_pieces(named):
    """Forbids a yardstick with other notes than Bach's, and one that is Bach himself."""
    for (_, old), (_, new) in zip(named['val'], shuffle_pitches(named['val']), strict=True):
        assert new.metres == old.metres
        for before, after in zip(zip(*old.notes), zip(*new.notes)):
            assert sorted(before) == sorted(after)
        assert sum(a != b for a, b in zip(old.notes, new.notes)) > len(old.notes) / 2


# ---- windows and counts

def test_windows():
    """Forbids notes in two windows, a piece whose last bars or first ones are lost, bars of another
    length than the metre says, and a note that sounds on beyond its window or not into it."""
    notes = melody([60] * 17 * 4) + [Note(0, 40, 10 * 96)]           # 17 bars and one long note
    first, second = cut(Score(notes, metres=IN_A_ROW))
    assert len(first.struck) == 33 and len(second.struck) == 32
    assert (first.lines[0], first.lines[-1], second.lines[-1]) == (0, 768, 1536)
    for window, lasts in ((first, 768), (second, 192)):
        assert window.sounding[window.sounding[:, 1] == 40, 2].tolist() == [lasts]
    assert len(cut(Score(notes, metres=[(0, 3, 4)]))) == 2           # 23 bars
    assert [len(cut(Score(melody([60] * 4 * bars)))) for bars in (0, 7, 8, 15, 16)] == [
        0, 0, 1, 1, 2]
    sparse = Score(melody([60] * (FEWEST - 1), 32) + [Note(767, 60, 1)])
    assert len(cut(sparse)) == 1 and not cut(Score(sparse.notes[:-2] + [Note(766, 60, 2)]))


def test_counts_by_hand():
    """Forbids each of these counts gone wrong. Eight bars of 4/4: in each, over a held C3 and C2 in
    turn, F4 in a quarter, E4 and G4 in eighths, then a leap to E5, after which D5 is a step back;
    the leap from there to the next bar goes on in its direction."""
    notes = []
    for bar in range(8):
        start = 96 * bar
        bass = Note(start, 36 if bar % 2 else 48, 96)
        notes += [bass, Note(start, 65, 24), Note(start + 24, 64, 12), Note(start + 36, 67, 12),
                  Note(start + 48, 76, 24), Note(start + 72, 74, 18)]
    [window] = cut(Score(notes, metres=IN_A_ROW))
    found = count(window)
    want = {
        'notes on the beat': 5 / 6, 'notes on half the beat': 1 / 6,
        'notes on the first beat of a bar': 2 / 6, 'beats with a note struck': 1,
        'notes held over the bar line': 0, 'notes held over the next beat': 0,
        'time with 1 keys down': 6 / 96, 'time with 2 keys down': 90 / 96,
        'one note struck at once': 4 / 5, 'notes a quarter': 6 / 4,
        'top: semitones': 8 / 39, 'top: whole tones': 8 / 39, 'top: thirds': 8 / 39,
        'top: sixths': 15 / 39, 'top: octaves': 0, 'top: turns': 16 / 38, 'top: two steps on': 0,
        'top: leaps with a step back': 8 / 15, 'bass: repeated': 0, 'bass: octaves': 1,
        'contrary motion': 3 / 7, 'parallel fifths and octaves': 0,
        '4 semitones over the bass': 16 / 40, '5 semitones over the bass': 8 / 40,
        '7 semitones over the bass': 8 / 40, '2 semitones over the bass': 8 / 40,
        'octaves, of all pairs': 0, 'dissonant outer voices on the beat': 2 / 4,
        'dissonant outer voices off the beat': 0,
        'in the key of their bar': 1, 'in the key of the piece': 1,
        'fifths from a bar\'s key to the next': 0,
        'bar rhythms that differ': 1 / 8, 'rhythm as in the bar before': 1,
        'bar like the one before': 5 / 6, 'bar like the one two before': 1,
        'bar like the likest before': (6 + 5 / 6) / 7,
        'three semitones side by side, in a bar': 0,
    }
    assert {name: found[name] for name in want} == pytest.approx(want)
    steps = count_line('top', np.array([60, 62, 61, 63, 65, 65]))
    assert (steps['top: two steps on'], steps['top: turns']) == (1 / 4, 2 / 3)


@pytest.mark.parametrize('top, bass, want', [
    ([67, 69, 71], [60, 62, 64], (2, 2)),                # fifths, twice
    ([72, 74, 76], [48, 50, 52], (2, 2)),                # fifteenths
    ([67, 81], [60, 62], (1, 1)),                        # a fifth, then a twelfth
    ([67, 74], [60, 55], (0, 1)),                        # the same, in contrary motion
    ([67, 69], [60, 60], (0, 0)),                        # only one voice moves
    ([67, 67], [60, 60], (0, 0)),                        # none does
    ([67, 72], [60, 60 + 5 + 12], (0, 0)),               # voices cross
    ([67, 74], [60, 62], (0, 1)),                        # a fifth, then an octave
    ([68, 70], [60, 62], (0, 1)),                        # sixths
    ([67, -1, 69], [60, -1, 62], (0, 0)),                # a rest between them
    ([64, 66], [64, 66], (0, 0)),                        # one voice alone
])
def test_parallels(top, bass, want):
    """Forbids parallels that are missed, and moves that are none: repeated, held, contrary."""
    assert parallels(np.array(top), np.array(bass)) == want


# ---- form

THEME = [60, 64, 62, 67, 65, 69, 64, 60, 71, 62, 66, 59]


def random_bars(seed, bars):
    return np.random.default_rng(seed).integers(55, 80, 4 * bars).tolist()


@pytest.mark.parametrize('first, then, bars, want', [
    (THEME, THEME, 9, 8 / 48), (THEME, [pitch + 5 for pitch in THEME], 9, 8 / 48),
    (random_bars(9, 3), THEME, 9, 0), (THEME, THEME, 0, 0), (range(60, 72), range(60, 72), 9, 0)])
def test_themes_that_come_back(first, then, bars, want):
    """Forbids a theme that is not known again in another key or when it comes late, one that comes
    back too soon (three bars later) to be a return, and a scale that is taken for a theme."""
    notes = [*first, *random_bars(4, bars), *then, *random_bars(54, 2)]
    strangers = [Score(melody(random_bars(seed, 17))) for seed in (1, 2, 3)]
    found = returns([Score(melody(notes)), *strangers])
    assert found[0] == pytest.approx(want)


def test_what_everybody_says_is_no_return():
    """Forbids a phrase of the style that is taken for a piece's own, and a figure of a piece that
    has none to compare it with."""
    pieces = [Score(melody(THEME + random_bars(seed, 9) + THEME)) for seed in range(4)]
    assert max(returns(pieces)) == 0
    assert np.isnan(returns(pieces[:1])).all()
    assert np.isnan(returns([Score(melody(THEME)), *pieces])[0])


def test_pieces_that_come_home():
    """Forbids a piece that is at home because its middle is, or because only its last note is."""
    c_major = [60, 64, 67, 65, 62, 59, 60, 67] * 3
    g_major = [pitch + 7 for pitch in c_major]
    for first, middle, last, want in ((c_major, g_major, c_major, True),
                                      (c_major, c_major, g_major, False),
                                      (c_major, g_major, g_major[:-1] + [60], False)):
        score = Score(melody(first + middle + middle + last))
        assert describe_piece(score)['home'] is want


def test_a_lag_curve():
    """Forbids lags that are counted from another bar than the one before, and an empty bar, be it
    the earlier or the later one, that is like no other: it is not compared."""
    bars = [random_bars(seed, 1) for seed in range(3)] * 9            # every third bar is the same
    notes = melody(sum(bars, []))
    some = [note for note in notes if note.start // 96 % 3]           # every third bar is empty
    for heard in (notes, some):
        curve = lag_curve([Score(heard)])
        assert len(curve) == 24
        assert [lag for lag, alike in enumerate(curve, 1) if alike == 1] == list(range(3, 25, 3))
    same = melody(random_bars(0, 1) * 27)
    some = [note for note in same if note.start // 96 % 3]
    assert lag_curve([Score(some)]) == lag_curve([Score(same)]) == [1] * 24
    assert lag_curve([Score(melody(THEME * 4))])[20] is None and lag_curve([]) == [None] * 24


def test_plain_figures():
    """Forbids forgotten keys, thin textures and notes off the grid that go unseen, 16ths and
    triplets that are taken for mistakes, and a side of nothing that ends in a traceback."""
    starts = [0, 6, 8, 12, 16, 18, 24, 25, 31, 95] + list(range(96, 336, 12))
    grid = [Note(start, 60, 6) for start in starts]
    found = describe([Score(grid)])
    assert found['off 16ths and triplets'] == pytest.approx(3 / 30)
    assert found['return'] is None and found['parallel fifths and octaves'] is None
    long = [note._replace(duration=145) if note.start == 0 else note for note in grid]
    assert describe([Score(long)])['longer than six quarters'] == pytest.approx(1 / 30)
    held = [Note(24 * i, 60, 18) for i in range(24)] + [Note(0, 40, 288)]
    found = describe([Score(held), Score(held), Score(held[:5])])     # the last is too short
    assert found['time with one key down'] == pytest.approx((12 * 6 + 12 * 18) / 570)
    assert found['notes a quarter'] == pytest.approx(25 * 24 / 570)
    assert set(describe([]).values()) == {None} and list(describe([])) == list(found)


def test_the_figures_of_the_goldberg(named, counted):
    """Forbids figures that have drifted from those that were measured when they were chosen: its
    variations come home, stay in their key and do not go in parallels."""
    pieces = [score for _, score in named['train'] + named['val']]
    counts = np.concatenate([piece.counts for piece in counted['train'] + counted['val']])
    found = dict(zip(counted['val'][0].names, counts.mean(axis=0))) | describe(pieces)
    curve = lag_curve(pieces)
    want = {
        'return': 0.1137, 'home': 31 / 32, 'in the key of their bar': 0.9847,
        'parallel fifths and octaves': 0.0014, 'time with one key down': 0.0931,
        'time with three': 0.3846, 'bass: whole tones': 0.3503,
        'three semitones side by side, in a bar': 0.7216, 'in the key of eight bars': 0.9549,
        'fifths from a bar\'s key to the next': 1.2401, 'fifths from the key of the piece': 0.2269,
        'bar like the one two before': 0.2794,
    }
    assert {name: found[name] for name in want} == pytest.approx(want, abs=0.0001)
    assert (curve[0], curve[15]) == pytest.approx((0.3219, 0.3273), abs=0.0001)


def test_right_answers():
    """Forbids a judge in the quiz who can't tell shuffled Bach from Bach, who answers always the
    same, or who has heard the piece that he is asked of."""
    named = [(path.stem, read_midi(str(path))) for path in GOLDBERG[1:13]]
    bach, shuffled = count_pieces(named), count_pieces(shuffle_pitches(named))
    pairs = list(zip(bach[8:], shuffled[8:]))
    assert right_answers(bach[:8], shuffled, pairs) == 4
    assert right_answers(bach[:8], shuffled, [(other, one) for one, other in pairs]) == 0
    assert right_answers(bach[:8], shuffled[8:9], pairs[:1]) == 0        # nothing else is there
