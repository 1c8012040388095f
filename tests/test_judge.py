"""The judge: it hears what is wrong, is deaf to what is no matter, and has not heard before what it
judges. Its counts, and the form of whole pieces, on music that can be counted on paper."""

import re

import numpy as np
import pytest

from conftest import ROOT
from lib.counts import (FEWEST, chromatic, count, count_line, cut, highest, keys_down, likeness,
                        lowest, newly_struck, pairs_apart, parallels, share_in_key, table_of)
from lib.form import describe, describe_piece, figures_of, lag_curve, returns, struck_lines
from lib.judge import (RIDGE, Counted, count_pieces, deal, family, fit, gave_away, judge,
                       judge_sides, shuffle_pitches, standard_error, standardise)
from lib.score import Note, Score, read_midi
from lib.tonality import find_key, in_key, keys_apart
import prepare

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


def test_what_is_plainly_worse_is_heard(named, counted):
    """Forbids a judge who is deaf to wrong pitches, wrong time, keys that are never let go, and
    leaps, or who cannot say what gave them away."""
    random = np.random.default_rng(1)
    worse = {
        'wrong': lambda note: note._replace(pitch=note.pitch + int(random.integers(-1, 2))),
        'rattle': lambda note: note._replace(start=note.start + int(random.integers(6))),
        'forgotten': lambda note: note._replace(duration=note.duration
                                                + 96 * int(random.random() < 0.2)),
        'leaps': lambda note: note._replace(pitch=note.pitch + 12 * int(random.integers(-1, 2))),
    }
    hears = {'wrong': 'in the key of their bar', 'rattle': 'notes on half the beat',
             'forgotten': 'time with 4 or more keys down', 'leaps': 'top: wider'}
    shuffled = count_pieces(shuffle_pitches(named['val']))
    assert judge(counted['train'], shuffled).prefers > 99
    for name, function in worse.items():
        other = count_pieces(change(named['val'], function))
        assert judge(counted['train'], other).prefers > 97, name
        number = counted['train'][0].names.index(hears[name])
        column = [np.concatenate([piece.counts[:, number] for piece in side])
                  for side in (counted['val'], other)]
        assert abs(column[0].mean() - column[1].mean()) > column[0].std(), name


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
    """Forbids windows of one piece on both sides of a fold: here all windows of a piece are the
    same, and so known by heart, but pieces of both sides are drawn alike."""
    sides = []
    for seed in (1, 2):
        sides.append([piece._replace(counts=np.repeat(piece.counts, 6, axis=0))
                      for piece in made_up(seed, 20, windows=1, counts=60)])
    assert 35 < judge(*sides).prefers < 65


def test_twins_stay_together():
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
    pieces = [piece._replace(family=f'{number // 2}')
              for number, piece in enumerate(made_up(1, 20))]
    folds = deal(pieces, 5, np.random.default_rng(1)).reshape(10, 2, 3)
    assert (folds == folds[:, :1, :1]).all()
    assert np.bincount(folds[:, 0, 0]).tolist() == [2] * 5


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
    a mean over pieces is their spread over the root of their number."""
    won, families = np.array([1.0, 0, 1, 0]), np.array(['a', 'b', 'c', 'd'])
    want = won.std(ddof=1) / 2
    assert standard_error(won, np.ones(4), families) == pytest.approx(want)
    many = np.repeat(won, 5), np.ones(20), np.repeat(families, 5)
    assert standard_error(*many) == pytest.approx(want)
    few, lots = (judge(made_up(1, size), made_up(2, size, mean=0.2)) for size in (8, 128))
    assert few.give_or_take > 2 * lots.give_or_take > 2
    # two standard errors hold the truth in nineteen of twenty cases
    figures = [judge(made_up(seed, 20, counts=5), made_up(seed + 50, 20, 0.4, counts=5))
               for seed in range(20)]
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
    a ridge that is lost."""
    random = np.random.default_rng(1)
    x, is_bach = random.normal(size=(60, 3)), np.arange(60) < 20
    x[:, 0] += 3 * is_bach
    weights = fit(x, is_bach)
    assert weights[0] > 3 * abs(weights[1:]).max()
    again = np.concatenate([x, x[20:], x[20:]])
    assert fit(again, np.arange(len(again)) < 20) == pytest.approx(weights)
    # the slope of the loss is 0 in each direction, for the best constant
    share = np.where(is_bach, 1 / 40, 1 / 80)
    constants = np.linspace(-5, 5, 20_001)
    scores = x @ weights
    sums = [(share * (1 / (1 + np.exp(-scores - c)) - is_bach)).sum() for c in constants]
    best = constants[np.argmin(np.abs(sums))]
    errors = 1 / (1 + np.exp(-scores - best)) - is_bach
    assert x.T @ (share * errors) + RIDGE * weights == pytest.approx(np.zeros(3), abs=1e-3)


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
    """Forbids a side that is judged against itself, and samples too short that go unmentioned."""
    val = named['val']
    short = ('short', Score(val[0][1].notes[:50], metres=val[0][1].metres))
    found = judge_sides(shuffle_pitches(val) + [short], named['train'], val, [])
    assert found['prefers']['n-gram'] is None and found['prefers']['held-out'] < 75
    assert found['prefers']['shuffled'] > 99 and found['prefers']['samples'] > 99
    assert found['pieces'] == {'held-out': 6, 'shuffled': 6, 'n-gram': 0, 'samples': 6}
    assert found['too_short'] == 1 and len(found['gave_away']) == 10


def test_shuffling_keeps_the_pieces(named):
    """Forbids a yardstick with other notes than Bach's, and one that is Bach himself."""
    for (_, old), (_, new) in zip(named['val'], shuffle_pitches(named['val']), strict=True):
        assert new.metres == old.metres
        for field in ('start', 'duration', 'pitch'):
            assert (sorted(getattr(note, field) for note in old.notes)
                    == sorted(getattr(note, field) for note in new.notes))
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
    """Forbids each of these counts gone wrong. Eight bars of 4/4: in each, over a held C3, F4 in a
    quarter, E4 and G4 in eighths, then a leap to E5, after which D5 is a step back; the leap from
    there to the next bar goes on in its direction."""
    notes = []
    for bar in range(8):
        start = 96 * bar
        notes += [Note(start, 48, 96), Note(start, 65, 24), Note(start + 24, 64, 12),
                  Note(start + 36, 67, 12), Note(start + 48, 76, 24), Note(start + 72, 74, 18)]
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
        'top: leaps with a step back': 8 / 15, 'bass: repeated': 1,
        'contrary motion': 0, 'parallel fifths and octaves': 0,
        '4 semitones over the bass': 16 / 40, '5 semitones over the bass': 8 / 40,
        '7 semitones over the bass': 8 / 40, '2 semitones over the bass': 8 / 40,
        'octaves, of all pairs': 0, 'dissonant outer voices on the beat': 2 / 4,
        'dissonant outer voices off the beat': 0,
        'in the key of their bar': 1, 'in the key of the piece': 1,
        'fifths from a bar\'s key to the next': 0,
        'bar rhythms that differ': 1 / 8, 'rhythm as in the bar before': 1,
        'bar like the one before': 1, 'bar like the likest before': 1,
        'three semitones side by side, in a bar': 0,
    }
    for name, value in want.items():
        assert found[name] == pytest.approx(value), name


def test_the_steps_of_a_voice():
    """Forbids a turn that is taken for a run, and a voice that sings a note again at each onset
    while its key is only held."""
    found = count_line('top', np.array([60, 62, 61, 63, 65, 65]))
    assert found['top: two steps on'] == 1 / 4 and found['top: turns'] == 2 / 3
    assert found['top: repeated'] == 1 / 5
    notes = Score(melody([72, 74, 76, 77] * 8) + [Note(0, 48, 384), Note(384, 50, 384)])
    [window] = cut(notes)
    onsets = np.arange(0, 768, 24)
    bass = np.repeat([48, 50], 16)
    assert newly_struck(bass, window, onsets).tolist() == [48, 50]
    assert count(window)['bass: whole tones'] == 1


def test_keys_that_are_down():
    """Forbids a key that stays down when it is let go, one struck twice that is let go too early,
    and a lowest or highest key where none is down."""
    notes = np.array([(0, 48, 60), (0, 76, 24), (12, 76, 24), (48, 72, 12)])
    down = keys_down(notes, np.array([0, 24, 36, 48, 60]))
    assert [np.flatnonzero(row).tolist() for row in down] == [[48, 76], [48, 76], [48], [48, 72],
                                                              []]
    assert lowest(down).tolist() == [48, 48, 48, 48, -1]
    assert highest(down).tolist() == [76, 76, 48, 72, -1]


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


def test_notes_out_of_key():
    """Forbids a note outside that is not found, or counted by number and not by time; and a minor
    key without its leading note."""
    scale = [60, 62, 64, 65, 67, 69, 71]
    assert in_key([*scale, 61, 66], (0, 'major')).tolist() == [True] * 7 + [False] * 2
    assert in_key([57, 59, 60, 62, 64, 65, 67, 68, 66], (9, 'minor')).tolist() == [True] * 8 + [
        False]
    notes = np.array([(12 * i, pitch, 12) for i, pitch in enumerate(scale)] + [(84, 61, 4)])
    bars = np.zeros(8, int)
    assert share_in_key(notes, bars) == pytest.approx(84 / 88)
    # each bar has a key of its own, C major and F sharp major
    two = np.concatenate([notes[:7], notes[:7] + [96, 6, 0]])
    assert share_in_key(two, np.repeat([3, 4], 7)) == 1
    assert share_in_key(two, np.repeat([3, 3], 7)) < 0.75
    assert chromatic(np.array([60, 61, 62]), np.array([0, 0, 0])) == 1
    assert chromatic(np.array([60, 73, 62]), np.array([0, 0, 1])) == 0
    assert chromatic(np.array([71, 72, 61, 60]), np.array([0, 0, 0, 1])) == 0.5
    assert keys_apart((0, 'major'), (9, 'minor')) == 0
    assert keys_apart((0, 'major'), (7, 'major')) == keys_apart((5, 'major'), (0, 'major')) == 1
    assert keys_apart((0, 'major'), (6, 'major')) == 6 and keys_apart((0, 'major'),
                                                                      (0, 'minor')) == 3


def test_tonic(named):
    """Forbids a key that is counted from the wrong note: all variations begin in G."""
    tonics = []
    for _, score in named['train'] + named['val']:
        notes = table_of(score)[:250]
        tonics.append(find_key(notes[:, 1], notes[:, 2])[0])
    assert tonics.count(7) >= 28                                # of 32


def test_figures():
    """Forbids a scale or a trill that is taken for a theme, figures that do not know their rhythm,
    and a line that takes the wrong note of a chord."""
    chords = np.array([(0, 60, 9), (0, 67, 9), (0, 64, 9), (24, 50, 9)])
    onsets, top, bottom = struck_lines(chords)
    assert (onsets.tolist(), top.tolist(), bottom.tolist()) == ([0, 24], [67, 50], [60, 50])
    steps, times = np.array([60, 62, 64, 65, 67, 64]), np.array([0, 24, 48, 60, 72, 96])
    assert figures_of(times, steps) == [None, (2, 1, 2, -3, 24, 12, 12, 24)]
    assert figures_of(2 * times, steps + 5) != figures_of(times, steps)
    assert figures_of(times, steps + 5) == figures_of(times, steps)


def test_likeness_of_bars():
    """Forbids bars that are compared at other places, transposed not as it fits best, with a bar
    that is empty, or with one before the first; and a likeness of more than 1."""
    one = [(0, 60), (24, 64), (48, 67), (72, 72)]
    bars = {0: one, 1: [(start, pitch + 5) for start, pitch in one],
            3: one[:2], 4: [(start + 12, pitch) for start, pitch in one]}
    notes = np.array([(96 * bar + start, pitch, 12) for bar, content in bars.items()
                      for start, pitch in content])
    found = likeness(notes, np.arange(0, 576, 96), 3)
    assert found.shape == (5, 3)
    nan = np.nan
    want = [[nan, nan, nan], [1, nan, nan], [nan, nan, nan], [nan, 4 / 6, 4 / 6], [0, nan, 0]]
    assert found == pytest.approx(np.array(want), nan_ok=True)
    chord = np.array([(0, 60, 9), (0, 64, 9), (96, 62, 9), (96, 66, 9), (96, 66, 5)])
    assert likeness(chord, np.array([0, 96, 192]), 1)[1, 0] == 1
    later, earlier = pairs_apart(np.array([0, 4, 4, 8]), 4)
    assert (later.tolist(), earlier.tolist()) == ([1, 2, 3, 3], [0, 0, 1, 2])


# ---- form

THEME = [60, 64, 62, 67, 65, 69, 64, 60, 71, 62, 66, 59]


def random_bars(seed, bars):
    return np.random.default_rng(seed).integers(55, 80, 4 * bars).tolist()


def test_themes_that_come_back():
    """Forbids a theme that is not known again in another key or when it comes late, one that comes
    back too soon to be a return, and a phrase of the style that is taken for the piece's own."""
    higher = [pitch + 5 for pitch in THEME]

    def piece(seed, first, then, bars=9):
        return Score(melody(first + random_bars(seed, bars) + then + random_bars(seed + 50, 2)))
    strangers = [Score(melody(random_bars(seed, 17))) for seed in (1, 2, 3)]
    with_theme = returns([piece(4, THEME, THEME), *strangers])
    moved = returns([piece(4, THEME, higher), *strangers])
    without = returns([piece(4, random_bars(9, 3), THEME), *strangers])
    assert with_theme[0] == moved[0] and without[0] == 0
    # of the figures from bar 4 on, the eight figures of the theme
    late = len([figure for figure in figures_of(np.arange(68) * 24, np.array(
        THEME + random_bars(4, 9) + THEME + random_bars(54, 2)))[16:] if figure])
    assert with_theme[0] == pytest.approx(8 / late)
    soon = returns([piece(4, THEME, THEME, bars=0), *strangers])
    assert soon[0] == 0                                  # three bars later, not four
    everybody = returns([piece(seed, THEME, THEME) for seed in (1, 2, 3, 4)])
    assert max(everybody) == 0
    assert np.isnan(returns([piece(4, THEME, THEME)])).all()
    assert np.isnan(returns([Score(melody(THEME)), *strangers])[0])


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
    """Forbids lags that are counted from another bar than the one before."""
    bars = [random_bars(seed, 1) for seed in range(3)] * 9            # every third bar is the same
    curve = lag_curve([Score(melody(sum(bars, [])))])
    assert len(curve) == 24
    assert [lag for lag, alike in enumerate(curve, 1) if alike > 0.99] == [3, 6, 9, 12, 15, 18,
                                                                           21, 24]
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


def test_the_form_of_the_goldberg(named):
    """Forbids figures that have drifted from those that were measured when they were chosen: its
    variations come home, stay in their key and do not go in parallels."""
    found = describe([score for _, score in named['train'] + named['val']])
    want = {'return': 0.114, 'home': 31 / 32, 'in the key of their bar': 0.985,
            'parallel fifths and octaves': 0.002, 'time with one key down': 0.093}
    for name, value in want.items():
        assert found[name] == pytest.approx(value, abs=0.002), name
