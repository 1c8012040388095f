"""The grade: Bach has a good one, what is plainly worse has a worse one, every note counts once."""

import json
import math
import re

import numpy as np
import pytest

import evaluate
import prepare
from conftest import ROOT
from evaluate import Config, cut, describe, find_tonic, grade, histogram, histograms, keys_down
from model import ModelConfig, Transformer, load, save
from tokenizer_bpe import BPETokenizer
from tokenizer_midi import MidiTokenizer, Note, Score, read_midi, write_midi
from train import load_corpus, validate


@pytest.fixture(scope='module')
def bach():
    """The Goldberg Variations: (training pieces, held-out pieces)."""
    train, val = [], []
    for path in sorted((ROOT / 'data' / 'goldberg').glob('*.mid')):
        split = val if re.match(prepare.HELD_OUT['goldberg'], path.name) else train
        split.append(read_midi(path))
    return train, val


def change(scores, function):
    """The pieces with function(note) for every note."""
    return [Score(sorted(function(note) for note in score.notes)) for score in scores]


def checkpoint(folder, tokenizer, dataset):
    """A model that knows nothing, saved as train.py does."""
    model = Transformer(ModelConfig(tokenizer.vocab_size, 64, 1, 2, 16))
    folder.mkdir(exist_ok=True)
    save(folder / 'ckpt.pt', {'model': model.state_dict(), 'model_config': model.config.__dict__,
                              'tokenizer': tokenizer.to_dict(),
                              'train_config': {'dataset': dataset}})


def test_bach_is_near_bach(bach):
    """Forbids yardsticks that don't tell Bach from Bach shuffled, another scale than 1.0 for the
    shuffled one, and samples measured otherwise than the yardsticks beside them."""
    train, val = bach
    found = grade(val, train, val)
    assert found['grade'] == found['grades']['held-out'] < 0.7
    assert found['grades']['shuffled'] == pytest.approx(1)
    assert found['windows'] == {'held-out': 10, 'shuffled': 10, 'samples': 10}
    shuffled = grade(evaluate.shuffle_pitches(val), train, val)
    assert shuffled['grade'] == pytest.approx(1)
    for row in shuffled['distances'].values():
        assert 0 < row['samples'] == row['shuffled'] < 1


def test_every_histogram_has_the_same_weight(bach):
    """Forbids a grade that follows the histogram with the largest distances, and a division by zero
    where held-out pieces differ in nothing: here, all of them go in quarters."""
    train, val = bach
    found = grade(train[:4], train, val)
    ratios = {side: np.mean([row[side] / row['held-out'] for row in found['distances'].values()])
              for side in ('samples', 'shuffled')}
    assert found['grade'] == pytest.approx(ratios['samples'] / ratios['shuffled'])
    quarters, eighths = [], []
    for score in val:
        pitches = [note.pitch for note in score.notes]
        quarters.append(Score([Note(24 * i, pitch, 24) for i, pitch in enumerate(pitches)]))
        eighths.append(Score([Note(12 * i, pitch, 12) for i, pitch in enumerate(pitches)]))
    assert grade(quarters[:3], quarters[3:], quarters[3:])['grade'] < 2
    assert 2 < grade(eighths[:3], quarters[3:], quarters[3:])['grade'] < 1000


def test_shuffling_keeps_the_pieces(bach):
    """Forbids a yardstick with other notes than Bach's, and one that is Bach himself."""
    for old, new in zip(bach[1], evaluate.shuffle_pitches(bach[1]), strict=True):
        for field in ('start', 'duration', 'pitch'):
            assert (sorted(getattr(note, field) for note in old.notes)
                    == sorted(getattr(note, field) for note in new.notes))
        assert sum(a != b for a, b in zip(old.notes, new.notes)) > len(old.notes) / 2


@pytest.mark.parametrize('name', ['rattle', 'slow', 'forgotten', 'clusters', 'leaps'])
def test_worse_music_has_a_worse_grade(bach, name):
    """Forbids a histogram that is deaf: to notes off the grid, to everything at half the speed, to
    keys that are never let go, to dissonance, to a top voice that leaps."""
    random = np.random.default_rng(1)
    worse = {
        'rattle': lambda note: note._replace(start=note.start + int(random.integers(6))),
        'slow': lambda note: note._replace(start=2 * note.start, duration=2 * note.duration),
        'forgotten': lambda note: note._replace(duration=300 if random.random() < 0.1
                                                else note.duration),
        'clusters': lambda note: note._replace(pitch=60 + note.pitch % 6),
        'leaps': lambda note: note._replace(pitch=note.pitch + 12 * int(random.integers(-1, 2))),
    }
    hears = {'rattle': ['time between onsets', 'place in the quarter'],
             'slow': ['time between onsets', 'duration'],
             'forgotten': ['duration', 'keys down'],
             'clusters': ['intervals', 'intervals above the bass', 'scale degree'],
             'leaps': ['step of the top voice']}
    train, val = bach
    found = grade(change(val, worse[name]), train, val)
    assert found['grade'] > 1.3 * found['grades']['held-out']
    for affected in hears[name]:
        row = found['distances'][affected]
        assert row['samples'] > 1.1 * row['held-out'], affected


def test_a_key_is_no_matter(bach):
    """Forbids a grade that depends on the key: the model is trained in twelve of them."""
    train, val = bach
    for semitones in (-5, 3):
        moved = change(val, lambda note: note._replace(pitch=note.pitch + semitones))
        found = grade(moved, train, val)
        assert found['grade'] == pytest.approx(found['grades']['held-out'])


def test_the_number_of_samples_is_no_matter(bach):
    """Forbids a scale that moves with the number of samples: the mean of many windows lies nearer
    than that of six, and Bach's own grade would fall by a third with thirty samples."""
    train, val = bach
    few, many = grade(val[:3], train, val), grade(val * 5, train, val)
    assert few['windows']['samples'] < 6 and few['compared'] == few['windows']['samples']
    assert many['windows']['samples'] == 50 and many['compared'] == 6
    assert many['grades']['held-out'] == grade(val, train, val)['grades']['held-out']
    assert many['grade'] == pytest.approx(many['grades']['held-out'], rel=0.2)


@pytest.mark.parametrize('notes, want', [(0, []), (99, []), (100, [100]), (249, [249]),
                                         (250, [250]), (499, [250]), (500, [250, 250])])
def test_windows(notes, want):
    """Forbids windows of unequal length from one piece, notes in two windows, a lost last window,
    short samples that are dropped unsaid or graded on a handful of notes."""
    score = Score([Note(12 * i, 40 + i % 40, 12) for i in reversed(range(notes))])
    windows = cut([score])
    assert [len(window) for window in windows] == want
    if windows:
        assert np.concatenate(windows)[:, 0].tolist() == list(range(0, 12 * sum(want), 12))


def test_short_samples_are_counted(bach):
    """Forbids a grade that hides how many of the samples it leaves out; and one of nothing."""
    train, val = bach
    short = Score(val[0].notes[:50])
    assert grade(val, train, val)['too_short'] == 0
    found = grade([short, *val, short, Score()], train, val)
    assert found['too_short'] == 3 and found['grade'] == found['grades']['held-out']
    one = grade([Score(val[0].notes[:120])], train, val)
    assert one['compared'] == one['windows']['samples'] == 1 and one['grade'] > 0
    for side, pieces in (('samples', ([short], train, val)), ('training', (val, [short], val)),
                         ('held-out', (val, train, [short]))):
        with pytest.raises(ValueError, match=f'^{side}: no piece out of 1 .*100 notes'):
            grade(*pieces)


def test_histograms_by_hand():
    """Forbids each count gone wrong, on music that can be counted on paper: E, D, C over a held C
    that is let go when B starts in octaves."""
    window = np.array([(0, 48, 60), (0, 76, 24), (24, 74, 24), (48, 72, 12),
                       (60, 71, 144), (60, 83, 200)])           # (start, pitch, duration)
    onsets = np.array([0, 24, 48, 60])
    down = [np.flatnonzero(row).tolist() for row in keys_down(window, onsets)]
    assert down == [[48, 76], [48, 74], [48, 72], [71, 83]]
    found = {name: {int(bin): round(float(shares[bin]), 3) for bin in np.flatnonzero(shares)}
             for name, shares in histograms(window).items()}
    third, half = 0.333, 0.5
    assert found['time between onsets'] == {12 - 1: third, 24 - 1: 0.667}
    assert found['duration'] == {12 - 1: 0.167, 24 - 1: third, 60 - 1: 0.167, 144 - 1: 0.167,
                                 145 - 1: 0.167}                # 200 is just 'longer'
    assert found['place in the quarter'] == {0: 0.75, 12: 0.25}
    assert found['keys down'] == {2 - 1: 1}
    # twice a tenth, for both of its notes start; a ninth, an octave; twice an octave
    assert found['intervals'] == {4: third, 2: 0.167, 0: half}
    assert found['intervals above the bass'] == {4: 0.25, 2: 0.25, 0: half}
    assert found['step of the top voice'] == {12 - 2: 0.667, 12 + 11: third}
    alone = histograms(window[:1])
    for name in ('intervals', 'intervals above the bass', 'time between onsets'):
        assert alone[name][-1] == 1 == alone[name].sum()


def test_values_beyond_the_ends_are_kept():
    """Forbids a histogram that wraps around, or drops what it has no bin for."""
    assert histogram(np.array([-9, 1, 2, 99]), 1, 3).tolist() == [0.5, 0.25, 0.25, 0]
    assert histogram(np.array([], int), 1, 3).tolist() == [0, 0, 0, 1]


def test_tonic(bach):
    """Forbids a scale degree counted from the wrong note: all variations begin in G."""
    tonics = []
    for score in bach[0] + bach[1]:
        _, pitches, durations = cut([score])[0].T
        tonics.append(find_tonic(pitches, durations))
    assert tonics.count(7) >= 28                                # of 32


def test_figures_of_notes(bach):
    """Forbids forgotten offs, notes off the grid and an empty or crowded page that go unseen, and
    16ths or triplets that are taken for mistakes."""
    val = describe(bach[1])
    assert (val['pieces'], val['notes']) == (6, 3042)
    assert val['longer than 144 steps, %'] == 0 and 5 < val['notes a quarter'] < 6
    grid = [Note(start, 60, 144) for start in (0, 6, 8, 12, 16, 18, 24)]
    found = describe([Score(grid), Score([Note(3, 60, 145), Note(141, 60, 162), Note(7, 60, 1)])])
    assert found['off 16ths and triplets, %'] == pytest.approx(100 * 3 / 10)
    assert found['longer than 144 steps, %'] == pytest.approx(100 * 2 / 10)
    assert found['notes a quarter'] == pytest.approx(10 / (168 / 24 + 303 / 24))
    often = [note._replace(duration=300) if i % 10 == 0 else note
             for i, note in enumerate(bach[1][0].notes)]
    assert describe([Score(often)])['longer than 144 steps, %'] == pytest.approx(10, abs=0.1)


def test_corpora_are_read_back(corpus):
    """Forbids pieces that are lost, cut in two or run together between prepare.py and here, and a
    second corpus that is ignored."""
    meta = json.loads((corpus / 'toy' / 'meta.json').read_text())
    for names, times in (('toy', 1), ('toy, toy', 2)):
        for split, scores in zip(('train', 'val'), evaluate.load_scores(names), strict=True):
            want = [piece['units'] for piece in meta['pieces'][split]]
            assert [len(score.notes) for score in scores] == want * times


def test_command(corpus, bach, capsys):
    """Forbids samples that are not found, other files that are taken for samples, a table without
    its grade, a JSON file that says otherwise."""
    out = corpus / 'out'
    checkpoint(out, MidiTokenizer(), 'toy')
    for number, score in enumerate(bach[1][:3], 1):
        write_midi(score, out / f'sample-{number}.mid')
    write_midi(Score([Note(0, 60, 9)] * 200), out / 'prompt.mid')
    (out / 'sample-4.mid').write_bytes(b'broken')
    evaluate.main(Config(str(out)))
    shown = capsys.readouterr().out
    saved = json.loads((out / 'evaluate.json').read_text())
    assert saved['dataset'] == 'toy' and saved['figures']['samples']['pieces'] == 3
    assert re.search(r'left out: .*sample-4', shown)
    assert re.search(rf'^grade .* 1\.000 +{saved["grade"]["grade"]:.3f}$', shown, re.MULTILINE)
    assert len(saved['grade']['distances']) == 8
    meta = load_corpus('toy')
    nats = validate(load(out / 'ckpt.pt')[0], meta, 64)
    want = nats * (len(meta['val']) - 1) / math.log(2) / meta['units']['val']
    assert sum(saved['bits']['toy'].values()) == pytest.approx(want, rel=1e-4)
    assert all(spent > 0 for spent in saved['bits']['toy'].values())
    for name in [*saved['grade']['distances'], *saved['figures']['samples']]:
        assert re.search(f'^{name} ', shown, re.MULTILINE)
    # no checkpoint is needed where both sides are given, as a folder or as a pattern
    for samples, pieces in ((out, 4), (f'{out}/sample-[12].mid', 2)):
        evaluate.main(Config(str(corpus / 'new'), samples=str(samples), dataset='toy'))
        saved = json.loads((corpus / 'new' / 'evaluate.json').read_text())
        assert saved['figures']['samples']['pieces'] == pieces


def test_clear_errors(corpus):
    """Forbids a traceback, or a table of nothing, for what cannot be graded."""
    out, music = corpus / 'out', str(ROOT / 'data' / 'goldberg')
    (corpus / 'plays.txt').write_text('To be, or not to be, that is the question.\n' * 50)
    prepare.main(prepare.Config(str(corpus / 'plays.txt'), vocab_size=260, jobs=1))
    checkpoint(out, BPETokenizer.train(['to be'], 257), 'plays')
    (out / 'ckpt.pt').rename(out / 'text.pt')
    checkpoint(out, MidiTokenizer(), 'toy')
    for wrong, message in (({}, r'out: none of 0 samples .*run sample\.py'),
                           ({'samples': 'nowhere'}, 'nowhere: none of 0 samples'),
                           ({'checkpoint': 'no.pt'}, r'no\.pt: no such checkpoint'),
                           ({'checkpoint': 'text.pt'}, r'text\.pt writes text'),
                           ({'samples': music, 'dataset': 'missing'}, 'data/missing'),
                           ({'samples': music, 'dataset': 'plays'}, 'data/plays is text')):
        with pytest.raises(ValueError, match=message) as error:
            evaluate.main(Config(**{'out_dir': str(out), **wrong}))
        assert '\n' not in str(error.value)
