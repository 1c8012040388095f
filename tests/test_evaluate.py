"""What evaluate.py says: bits that are the model's own, an n-gram that is one, runs that are
copied, and that all of it is printed and written. The judge itself is in test_judge.py."""

import json
import math
import re
import shutil

import numpy as np
import pytest
import torch

from conftest import ROOT, checkpoint_of
import evaluate
from evaluate import Config
from lib.corpus import load_corpora, load_corpus, load_pieces
from lib.heldout import losses_of, note_bits, surprise
from lib.judge import ENOUGH
import lib.ngram
from lib import quiz
from lib.machine import Processes
from lib.ngram import NGram, count_ngrams, draw_ngram
from lib.originality import (RECITED, bars_at, index_of, index_of_text, index_training,
                             originality, originality_of_text)
from lib.score import Note, Score, read_midi, write_midi
from lib.tokenizer import columns_of_told
from model import ModelConfig, Transformer, load, save
import prepare
from tokenizer_bpe import BPETokenizer
from tokenizer_midi import MidiTokenizer
from train import validate


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
    model = Transformer(ModelConfig(tokenizer.vocab_size, 64, 1, 2, 16,
                                    **tokenizer.shape_of_told()))
    folder.mkdir(exist_ok=True)
    save(folder / 'ckpt.pt', checkpoint_of(model, tokenizer.to_dict(),
                                           train_config={'dataset': dataset}))


def test_corpora_are_read_back(corpus):
    """Forbids pieces that are lost, cut in two or run together between prepare.py and here, and a
    second corpus that is ignored."""
    meta = json.loads((corpus / 'toy' / 'meta.json').read_text())
    shutil.copytree(corpus / 'toy', corpus / 'again')
    for names, times in (('toy', 1), ('toy, again', 2)):
        for split, pieces in load_pieces(load_corpora(names), MidiTokenizer()).items():
            want = [piece['units'] for piece in meta['pieces'][split]]
            assert [len(score.notes) for _, score in pieces] == want * times


def test_command(corpus, bach, capsys, monkeypatch):
    """Forbids samples that are not found, other files that are taken for samples, a table without
    its verdict, too few samples of which nothing is said, a JSON file that says otherwise."""
    out = corpus / 'out'
    checkpoint(out, MidiTokenizer(), 'toy')
    for number, score in enumerate(bach[1][1:4], 1):
        write_midi(score, out / f'sample-{number}.mid')
    write_midi(Score([Note(0, 60, 9)] * 200), out / 'prompt.mid')
    (out / 'sample-4.mid').write_bytes(b'broken')
    monkeypatch.setattr(lib.ngram, 'NGRAM_PIECES', 2)
    evaluate.main(Config(str(out)))
    shown = capsys.readouterr().out
    saved = json.loads((out / 'evaluate.json').read_text())
    assert saved['dataset'] == 'toy' and saved['judge']['pieces']['samples'] == 3
    assert re.search(r'left out: .*sample-4', shown)
    prefers = saved['judge']['prefers']
    assert list(prefers) == ['held-out', 'shuffled', 'n-gram', 'samples']
    assert prefers['held-out'] is None and 0 <= prefers['samples'] <= 100     # one is held out
    assert re.search(rf'100 pairs +- +- .* {prefers["samples"]:.1f}$', shown, re.MULTILINE)
    assert 'too few samples' in shown and f'--num_samples={ENOUGH}' in shown
    assert len(saved['judge']['gave_away']) == 10 and len(saved['lag_curve']['samples']) == 24
    meta = load_corpus('toy')
    nats = validate(load(out / 'ckpt.pt')[0], meta, Processes())
    want = nats * (len(meta['val']) - 1) / math.log(2) / meta['units']['val']
    assert sum(saved['bits']['toy'].values()) == pytest.approx(want, rel=1e-4)
    assert all(spent > 0 for spent in saved['bits']['toy'].values())
    names = [piece['name'] for piece in meta['pieces']['val']]
    assert list(saved['pieces']['toy']) == names
    found = saved['originality']['samples']
    counts = [row['count'] for row in saved['judge']['gave_away']]
    for name in [*counts, *saved['form']['samples'], *found, *names]:
        assert re.search(f'^ *{re.escape(name)} ', shown, re.MULTILINE)
    assert list(saved['form']) == ['training', 'held-out', 'n-gram', 'samples']
    # the samples are variations 10, 15 and 20, and toy ends with variation 7
    assert not any(origin['recites'] for origin in found.values())
    assert 'no recitation: none of 3 samples' in shown
    assert saved['judge']['too_short'] == 0
    # no checkpoint is needed where both sides are given, as a folder or as a pattern
    for samples, pieces in ((out, 4), (f'{out}/sample-[12].mid', 2)):
        evaluate.main(Config(str(corpus / 'new'), samples=str(samples), dataset='toy'))
        saved = json.loads((corpus / 'new' / 'evaluate.json').read_text())
        assert len(saved['originality']['samples']) == pieces
        assert list(saved['ngram']['bits']) == ['toy'] and 'bits' not in saved
        assert saved['judge']['too_short'] == (pieces == 4)     # prompt.mid is but a moment


def test_a_large_corpus_is_thinned():
    """Forbids hours of judging for a large corpus, its beginning alone, and a piece of a small one
    that is left out."""
    for size in (0, 1, evaluate.JUDGED):
        assert evaluate.thin(list(range(size))) == list(range(size))
    kept = evaluate.thin(list(range(10 * evaluate.JUDGED - 1)))
    assert len(kept) == evaluate.JUDGED and kept[:2] == [0, 10]


def test_clear_errors(corpus):
    """Forbids a traceback, or a table of nothing, for what cannot be judged."""
    out, music = corpus / 'out', str(ROOT / 'data' / 'goldberg')
    (corpus / 'plays.txt').write_text('To be, or not to be, that is the question.\n' * 50)
    prepare.main(prepare.Config(str(corpus / 'plays.txt'), vocab_size=260, jobs=1))
    checkpoint(out, BPETokenizer.train(['to be'], 257), 'plays')
    (out / 'ckpt.pt').rename(out / 'other.pt')
    tokenizer = BPETokenizer.from_dict(load_corpus('plays')['tokenizer'])
    checkpoint(out, tokenizer, 'plays')
    (out / 'ckpt.pt').rename(out / 'text.pt')
    checkpoint(out, MidiTokenizer(), 'toy')
    for wrong, message in (({}, r'out: none of 0 samples .*run sample\.py'),
                           ({'samples': 'nowhere'}, 'nowhere: none of 0 samples'),
                           ({'checkpoint': 'no.pt'}, r'no\.pt: no such checkpoint'),
                           ({'checkpoint': 'text.pt'}, 'out: none of 0 samples'),
                           ({'checkpoint': 'text.pt', 'dataset': 'toy'}, 'another tokenizer'),
                           ({'checkpoint': 'other.pt'}, 'another tokenizer'),
                           ({'samples': music, 'dataset': 'missing'}, 'data/missing'),
                           ({'samples': music, 'dataset': 'plays'}, 'none of 0 samples')):
        with pytest.raises(ValueError, match=message) as error:
            evaluate.main(Config(**{'out_dir': str(out), **wrong}))
        assert '\n' not in str(error.value)


# ---- the model's bits

def small_model(tokenizer):
    """One that knows nothing, but minds all that it sees in its context of 16 ids."""
    torch.manual_seed(1)
    model = Transformer(ModelConfig(tokenizer.vocab_size, 16, 1, 2, 16,
                                    **tokenizer.shape_of_told()))
    for matrix in model.parameters():
        torch.nn.init.normal_(matrix)
    return model.eval()


def test_surprise_is_that_of_validation(bach):
    """Forbids bits of a piece that differ from those it is scored with in training, bits that stand
    beside another id than they belong to, and a piece shorter than a window that can't be scored.
    """
    tokenizer = MidiTokenizer()
    model, ids = small_model(tokenizer), tokenizer.encode(bach[1][0])
    bits = surprise(model, tokenizer, ids)
    told = tokenizer.listen(ids)
    losses = losses_of(model, np.array(ids), told)
    assert len(bits) == len(ids)
    assert bits[0] == 0 and bits[1:] == pytest.approx((losses / math.log(2)).tolist())
    for length in (0, 1, 2, 3, 10, 16, 17):
        short = surprise(model, tokenizer, ids[:length])
        assert short == pytest.approx(bits[:length], rel=1e-4)
    # by hand, where all that is before the id fits into one window; the end is not told
    told = torch.from_numpy(told[:9])[None]
    told[:, :, columns_of_told(model.config.columns)['to_end']] = 0
    chances = model(torch.tensor([ids[:9]]), told)[0].log_softmax(-1)
    assert bits[9] == pytest.approx(-chances[-1, ids[9]].item() / math.log(2), rel=1e-4)


def test_bits_of_notes():
    """Forbids bits that stand beside another note, where notes start together, end in another order
    than they began, sound twice, or come after the end."""
    tokenizer = MidiTokenizer()
    words = [('begin', 0), ('on', 64), ('on', 60), ('shift', 6), ('on', 50), ('off', 64),
             ('shift', 6), ('off', 60), ('on', 60), ('on', 60), ('shift', 3), ('off', 60),
             ('shift', 3), ('off', 60), ('off', 50), ('end', 0), ('on', 70)]
    ids = [tokenizer.ids[word] for word in words]
    notes = tokenizer.decode(ids).notes
    bits = note_bits(tokenizer, ids, list(range(len(ids))))
    assert [note[:3] for note in notes] == [(0, 60, 12), (0, 64, 6), (6, 50, 12), (12, 60, 3),
                                            (12, 60, 6)]
    assert bits == [2, 1, 4, 8, 9]


def test_bits_of_pieces(corpus):
    """Forbids bits that are counted with the neighbouring piece, or divided by another's notes."""
    meta, tokenizer = load_corpus('toy'), MidiTokenizer()
    meta |= {'val': meta['train'], 'pieces': {'val': meta['pieces']['train']}}     # they are more
    bits = np.arange(len(meta['val'])) % 7 / 3
    whole = evaluate.spend(tokenizer, meta['val'], bits, 1)
    pieces, begin = evaluate.bits_by_piece(meta, tokenizer, bits), 0
    total = dict.fromkeys(whole, 0.0)
    for piece in meta['pieces']['val']:
        ids = tokenizer.encode(read_midi(corpus / 'toy' / piece['name']))
        spent = pieces[piece['name']]
        mine = bits[begin:begin + len(ids)]
        assert sum(spent.values()) == pytest.approx(mine.sum() / piece['units'])
        begin += len(ids)
        for question in total:
            total[question] += spent[question] * piece['units']
    assert begin == len(bits) and total == pytest.approx(whole)


# ---- the n-gram

def brute_force(rows, vocab_size, context, id):
    """Witten and Bell's formula, as it stands in the docstring of NGram."""
    if context is None:
        return 1 / vocab_size
    after = []
    for row in rows:
        for place in range(len(context), len(row)):
            if row[place - len(context):place] == context:
                after.append(row[place])
    shorter = brute_force(rows, vocab_size, context[1:] if context else None, id)
    if not after:
        return shorter
    kinds = len(set(after))
    return (after.count(id) + kinds * shorter) / (len(after) + kinds)


def test_ngram_by_brute_force():
    """Forbids counts of a wrong context, of pairs across two rows, a wrong weight of the shorter
    contexts, an id looked up beside its neighbour in the table, chances that don't sum to 1, and
    pieces drawn by other chances than the bits."""
    random = np.random.default_rng(1)
    rows = [random.integers(0, 5, 40).tolist(), [6, 6, 6, 0], random.integers(0, 7, 30).tolist()]
    ngram = NGram([np.array(row) for row in rows], 8, 4)
    ids = random.integers(0, 8, 60).tolist() + rows[0][:10]
    bits = ngram.bits(np.array(ids))
    assert bits.shape == (4, 70)
    for order in range(1, 5):
        for place, id in enumerate(ids):
            context = ids[max(0, place - order + 1):place]
            chance = brute_force(rows, 8, context, id)
            assert bits[order - 1, place] == pytest.approx(-math.log2(chance))
            chances = ngram.chances(ids[:place], order)
            assert chances[id] == pytest.approx(chance) and chances.sum() == pytest.approx(1)


def test_ngram_knows_all_keys(corpus):
    """Forbids an n-gram that has heard the pieces in their own keys only: the model hears twelve;
    an order that is not the best of those tried; and the first id, which is given, among them."""
    meta, tokenizer = load_corpus('toy'), MidiTokenizer()
    ngram = count_ngrams([meta])
    own_key = NGram([np.array(meta['train'])], tokenizer.vocab_size, 4)
    val, up = np.array(meta['val']), np.array(meta['augment'][8])[np.array(meta['val'])]
    assert ngram.bits(val).min(axis=0).sum() > 0
    for ids in (val, up):
        assert ngram.bits(ids)[3].sum() < 0.95 * own_key.bits(ids)[3].sum()
    assert ngram.bits(up)[3].sum() == pytest.approx(ngram.bits(val)[3].sum(), rel=0.06)
    found = evaluate.judge_ngram(ngram, [meta], tokenizer)
    costs = ngram.bits(val)[:, 1:].sum(axis=1) / meta['units']['val']
    assert found['order'] == 1 + costs.argmin()
    assert sum(found['bits']['toy'].values()) == pytest.approx(costs.min())


def test_ngram_pieces(monkeypatch):
    """Forbids pieces that are drawn from another distribution, end at once, or are all the same."""
    monkeypatch.setattr(lib.ngram, 'NGRAM_PIECES', 3)
    tokenizer = MidiTokenizer()
    scale = [Note(6 * i, 60 + i % 12, 6) for i in range(60)]
    ids = tokenizer.encode(Score(scale))
    ngram = NGram([np.array(ids)] * 20, tokenizer.vocab_size, 3)
    pieces = draw_ngram(ngram, 3, tokenizer)
    assert len({name for name, _ in pieces}) == len(pieces) == 3
    steps = []
    for _, score in pieces:
        pitches = np.array([note.pitch for note in score.notes])
        assert len(pitches) > 250
        steps += np.diff(pitches).tolist()
    assert steps.count(1) + steps.count(-11) > 0.85 * len(steps)
    assert any(score != pieces[0][1] for _, score in pieces)


# ---- originality

def random_piece(seed, notes=300):
    """A piece in 3/4 like no other; each of its notes starts later than the one before."""
    random = np.random.default_rng(seed)
    starts = np.cumsum(random.choice([6, 12, 18], notes)).tolist()
    pitches = random.integers(40, 80, notes).tolist()
    return Score([Note(*pair, 6) for pair in zip(starts, pitches)], metres=[(0, 3, 4)])


def join(*parts):
    """Lists of notes, one after the other."""
    notes, now = [], 0
    for part in parts:
        begin = min(note.start for note in part)
        notes += [note._replace(start=note.start - begin + now) for note in part]
        now = max(note.start for note in notes) + 12
    return Score(notes, metres=[(0, 3, 4)])


def test_a_planted_run_is_found():
    """Forbids a copy that goes unseen because it stands in another key and another bar, a wrong
    length, source or bar, notes coloured that are the composer's own, and wrong shares."""
    train = [(f'piece {seed}', random_piece(seed)) for seed in range(5)]
    stolen = [note._replace(pitch=note.pitch + 5, duration=9)
              for note in train[3][1].notes[100:141]]
    own = random_piece(99).notes
    sample = join(own[:50], stolen, own[50:90])
    index = index_of(train)
    origin = originality(sample, index)
    assert origin.longest == 41 and origin.source == 'piece 3'
    assert origin.source_bar == 1 + train[3][1].notes[100].start // 72
    assert origin.bar == 1 + sample.notes[50].start // 72 != origin.source_bar
    assert origin.copied == [False] * 50 + [True] * 41 + [False] * 40
    assert origin.shares == pytest.approx({8: 34 / 124, 12: 30 / 120})
    assert sum(originality(sample, index, least=42).copied) == 0
    assert sum(originality(sample, index, least=41).copied) == 41
    # another rhythm or another melody is another piece
    for other in (lambda note: note._replace(start=2 * note.start),
                  lambda note: note._replace(pitch=120 - note.pitch)):
        assert originality(change([sample], other)[0], index).longest == 0
    mine = originality(random_piece(98), index)
    assert (mine.longest, mine.source, sum(mine.copied)) == (0, '', 0)
    assert originality(Score(), index).copied == []
    assert originality(Score(own[:1]), index).shares == {8: 0, 12: 0}


def test_a_whole_piece_is_found(bach):
    """Forbids a run that ends with the first or the last note of a piece one note too early or too
    late, or goes on into the next piece; and a chord that is read in the order of the file."""
    train = [(f'piece {seed}', random_piece(seed)) for seed in range(3)]
    index = index_of(train)
    for name, score in train:
        origin = originality(score, index)
        assert (origin.longest, origin.source, origin.bar) == (300, name, 1)
        assert all(origin.copied) and origin.shares == {8: 1, 12: 1}
    # the end of one, and then the beginning of another, from the note where the first has ended
    end, begin = train[0][1].notes[-20:], train[1][1].notes[:20]
    up, later = end[-1].pitch - begin[0].pitch, end[-1].start - begin[0].start
    two = end + [note._replace(start=note.start + later, pitch=note.pitch + up)
                 for note in begin[1:]]
    assert originality(Score(two), index).longest == 20
    chords = Score([Note(24 * (note.start // 24), *note[1:]) for note in random_piece(7).notes])
    order = np.random.default_rng(1).permutation(300)
    mixed = Score([chords.notes[number] for number in order])
    index = index_of([('chords', Score(sorted(chords.notes)))])
    assert originality(mixed, index).longest > 250
    late = [note for note in mixed.notes if note.start > 2000]
    early = [note._replace(start=note.start - 10_000) for note in random_piece(9).notes]
    copied = originality(Score(late + early), index).copied      # of notes that are in no order
    assert copied == [True] * len(late) + [False] * len(early)


@pytest.mark.parametrize('name', ['scale', 'chromatic', 'trill', 'repeated', 'arpeggio', 'alberti'])
def test_what_is_nobodys(name):
    """Forbids a scale, a trill, a note repeated or a broken chord over and over that is taken for a
    quotation; and that, played beside a real one, it makes that one longer."""
    figures = {'scale': [60, 62, 64, 65, 67, 69, 71, 72, 74, 76, 77, 79, 81, 83],
               'chromatic': range(50, 80), 'trill': [60, 62] * 15, 'repeated': [60] * 30,
               'arpeggio': [48, 55, 64, 72, 79] * 8,
               'alberti': [60, 67, 64, 67, 59, 68, 65, 68] * 8}
    figure = [Note(6 * i, pitch, 6) for i, pitch in enumerate(figures[name])]
    index = index_of([('etude', join(random_piece(1).notes[:50], figure, random_piece(2).notes))])
    origin = originality(join(random_piece(3).notes[:50], figure, random_piece(4).notes), index)
    once = {'alberti': 9, 'arpeggio': 6}.get(name, 0)            # the figure itself is somebody's
    assert origin.longest <= once and not any(origin.copied)
    assert max(origin.shares.values()) <= (0.013 if once else 0)
    stolen = random_piece(2).notes[:10]
    added = {'alberti': 9, 'arpeggio': 6, 'scale': 6, 'trill': 3}.get(name, 2)
    for sample in (join(random_piece(3).notes[:50], figure, stolen), join(figure, stolen)):
        origin = originality(sample, index)
        assert origin.longest == 10 + added and origin.source == 'etude'


def test_a_run_begins_before_it_tells():
    """Forbids a run that lacks the steps with which it begins, since they alone are nobody's."""
    steps = np.cumsum([0, 1, 2, 1, 1, 2, 2, 1, 2, 1, 1, 1, 2, 2, 2, 1]).tolist()
    walk = [Note(note.start, 40 + step, 6) for note, step in zip(random_piece(5).notes, steps)]
    index = index_of([('walk', join(random_piece(1).notes[:50], walk, random_piece(2).notes))])
    assert originality(join(random_piece(3).notes[:50], walk), index).longest == 0
    for before in ([], [random_piece(3).notes[:50]]):
        origin = originality(join(*before, walk, random_piece(2).notes[:10]), index)
        assert origin.longest == len(walk) + 10
        assert origin.bar == (8 if before else 1)


def test_held_out_bach_is_original(bach):
    """Forbids a yardstick that takes Bach for a copyist of himself, or that finds nothing at all:
    the windows that the variations share are few, but not none. And the Aria, which comes back at
    the end, is found."""
    train, val = bach
    index = index_of([(f'{number}', score) for number, score in enumerate(train)])
    origins = [originality(score, index) for score in val]
    assert 8 <= max(origin.longest for origin in origins) <= 14
    assert not any(any(origin.copied) for origin in origins)
    side = evaluate.sum_up([('', score) for score in val], origins)
    assert 0.001 < side['shares'][8] < 0.02 and side['shares'][12] < 0.002
    assert side['longest'] == max(origin.longest for origin in origins)
    without_aria = index_of([(f'{number}', score) for number, score in enumerate(train[1:])])
    origin = originality(train[0], without_aria)
    assert origin.longest > 100 and origin.source == f'{len(train) - 2}'
    assert origin.bar == origin.source_bar


def test_long_pieces_weigh_more():
    """Forbids a side's share that is a mean over pieces: of a short one, chance is large."""
    long, short = random_piece(1), Score(random_piece(2).notes[:20])
    index = index_of([('short', short)])
    origins = [originality(score, index) for score in (long, short)]
    side = evaluate.sum_up([('long', long), ('short', short)], origins)
    assert side['shares'] == pytest.approx({8: 13 / (293 + 13), 12: 9 / (289 + 9)})
    assert (side['median'], side['longest']) == (10, 20)


def test_bars():
    """Forbids bars counted by another metre than the one in force, or from 0."""
    score = Score([Note(0, 60, 500)], metres=[(192, 3, 4), (336, 6, 8), (400, 2, 2)])
    steps = np.array([0, 95, 96, 191, 192, 263, 264, 336, 399, 400, 495, 496])
    assert bars_at(score, steps).tolist() == [1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6, 7]
    assert bars_at(Score([Note(0, 60, 97)]), steps[:3]).tolist() == [1, 1, 2]


PLAY = """To sleep, perchance to dream: ay, there's the rub,
For in that sleep of death what dreams may come
When we have shuffled off this mortal coil,
Must give us pause."""


def test_words_that_are_copied():
    """Forbids a quotation that goes unseen because it has other line ends, marks or capitals; a
    stretch that is marked too far or not far enough; and 'ha, ha, ha' as a quotation."""
    stolen = "WHAT dreams may come, when we\nhave shuffled off -- this mortal coil must give"
    sample = f'He knew not;\nand so {stolen}! For nothing. Ha ha ha ha ha ha ha ha ha ha ha ha ha.'
    index = index_of_text([('other', 'ha ' * 30), ('hamlet', PLAY)])
    origin = originality_of_text(sample, index, least=12)
    assert (origin.longest, origin.source, origin.source_bar, origin.bar) == (14, 'hamlet', 2, 2)
    assert [sample[begin:end] for begin, end in origin.copied] == [stolen]
    words = len(sample.replace('--', '').split())
    assert origin.shares == pytest.approx({8: 7 / (words - 7)})
    assert originality_of_text(sample, index, least=15).copied == []
    twice = f'{stolen}! Or rather: {stolen}?'
    copied = originality_of_text(twice, index, least=12).copied
    assert [twice[begin:end] for begin, end in copied] == [stolen, stolen]
    assert originality_of_text('What dreams may come, then? No.', index).longest == 0
    assert originality_of_text(PLAY, index_of_text(PLAY)).longest == len(PLAY.split())
    assert originality_of_text('', index).shares == {8: 0}


def test_recitation_is_named(corpus, capsys, monkeypatch):
    """Forbids a piece learned by heart that passes as composed, whatever the judge says, and a
    verdict that does not say what was copied from where."""
    monkeypatch.setattr(lib.ngram, 'NGRAM_PIECES', 2)
    meta, out = load_corpus('toy'), corpus / 'out'
    out.mkdir()
    name = '01-variatio-1.mid'
    assert name in [piece['name'] for piece in meta['pieces']['train']]
    score = read_midi(corpus / 'toy' / name)
    part = [note._replace(start=note.start - 720, pitch=note.pitch - 3)
            for note in score.notes if 720 <= note.start < 1440]
    write_midi(Score(part, metres=[(0, 3, 4)]), out / 'sample-2.mid')
    write_midi(random_piece(1), out / 'sample-10.mid')
    evaluate.main(Config(str(out), samples=str(out), dataset='toy'))
    shown = capsys.readouterr().out
    found = re.search(r'^sample-2 recites: (\d+) notes from bar 1 are those of (\S+) from bar 11$',
                      shown, re.MULTILINE)
    assert found and name.startswith(found[2]) and int(found[1]) > 60
    assert 'recitation: 1 of 2 samples' in shown and 'sample-10 recites' not in shown
    saved = json.loads((out / 'evaluate.json').read_text())['originality']
    first, second = saved['samples'].values()                   # 2 stands before 10
    assert first['recites'] and not second['recites']
    assert first['copied_share'] > 0.9 and second['copied'] == []
    assert sum(end - begin for begin, end in first['copied']) / len(part) == first['copied_share']
    assert saved['least'] >= RECITED > saved['sides']['held-out']['longest']


def test_runs_end_where_a_piece_ends():
    """Forbids a run that goes on from one training piece into the next."""
    whole = random_piece(1)
    halves = [('a', Score(whole.notes[:150])), ('b', Score(whole.notes[150:]))]
    assert originality(whole, index_of([('whole', whole)])).longest == 300
    assert originality(whole, index_of(halves)).longest == 150


def test_what_is_recited_is_longer_than_what_bach_shares():
    """Forbids a verdict on a run that held-out pieces share, too, and one that lets a longer one
    pass."""
    train = random_piece(1)
    pieces = {'train': [('a', train)], 'val': [('b', Score(train.notes[:20]))]}
    _, least, _ = index_training(pieces, music=True)
    assert least == 21
    samples = [(f'{count}', Score(train.notes[:count])) for count in (20, 21)]
    found = evaluate.judge_originality(samples, pieces, [], music=True)['samples']
    assert [found[name]['recites'] for name in ('20', '21')] == [False, True]


def test_extra_pieces_are_recited_too(corpus, monkeypatch):
    """Forbids a piece of an extra corpus, also trained on, that passes as the model's own."""
    monkeypatch.setattr(lib.ngram, 'NGRAM_PIECES', 2)
    tokenizer, out, other = MidiTokenizer(), corpus / 'out', corpus / 'other'
    out.mkdir()
    other.mkdir()
    for seed in range(4):
        write_midi(random_piece(seed), other / f'{seed}.mid')
    prepare.main(prepare.Config(str(other), hold_out='3.mid', jobs=1))
    model = Transformer(ModelConfig(tokenizer.vocab_size, 64, 1, 2, 16,
                                    **tokenizer.shape_of_told()))
    save(out / 'ckpt.pt', checkpoint_of(model, tokenizer.to_dict(),
                                        train_config={'dataset': 'toy', 'extra': 'other'}))
    write_midi(random_piece(1), out / 'sample-1.mid')
    evaluate.main(Config(str(out)))
    found = json.loads((out / 'evaluate.json').read_text())['originality']['samples']
    assert found['sample-1.mid']['recites'] and found['sample-1.mid']['source'] == '1.mid'


def test_text_is_judged(corpus, capsys):
    """Forbids a text checkpoint that is refused, bits that are not those of training, and a text
    learned by heart that passes as written."""
    random = np.random.default_rng(1)
    words = [' '.join(random.choice(list('abcdefghijklmnop'), 12)) + '.' for _ in range(400)]
    (corpus / 'plays.txt').write_text('\n'.join(words))
    prepare.main(prepare.Config(str(corpus / 'plays.txt'), vocab_size=260, jobs=1))
    meta, out = load_corpus('plays'), corpus / 'out'
    checkpoint(out, BPETokenizer.from_dict(meta['tokenizer']), 'plays')
    (out / 'sample-1-1.txt').write_text('And now: ' + words[7].upper() + ' ' + words[8])
    (out / 'sample-1-2.txt').write_text('Nothing of that is to be found anywhere, says who?')
    capsys.readouterr()
    evaluate.main(Config(str(out)))
    shown = capsys.readouterr().out
    assert re.search('^sample-1-1 recites: 24 words from line 1 are those of plays from line 8$',
                     shown, re.MULTILINE)
    assert 'recitation: 1 of 2 samples' in shown
    saved = json.loads((out / 'evaluate.json').read_text())
    nats = validate(load(out / 'ckpt.pt')[0], meta, Processes())
    bits = nats * (len(meta['val']) - 1) / math.log(2) / meta['units']['val']
    assert saved['unit'] == 'byte'
    assert saved['bits']['plays']['all'] == pytest.approx(bits, rel=1e-4)
    assert 1 < saved['ngram']['bits']['plays']['all'] < 4
    assert f'{bits:.3f}' in shown and 'judge' not in saved


# ---- the quiz

def test_an_excerpt_tells_nothing_but_its_music():
    """Forbids an excerpt that begins elsewhere than on its bar line, whose notes stick out at the
    end, or that gives itself away by its tempo, its loudness or its first bar's number."""
    notes = [Note(start, 60 + start % 7, 90, 1 + start % 127) for start in range(0, 960, 24)]
    score = Score(notes, [(0, 33.0), (500, 99.0)], [(0, 3, 4), (288, 2, 4)])
    excerpt = quiz.cut_bars(score, 3, 3)                # bars from 216, 288 and 336 on
    assert [note.start for note in excerpt.notes] == list(range(0, 168, 24))
    assert max(note.start + note.duration for note in excerpt.notes) == 168
    assert [note.pitch for note in excerpt.notes] == [note.pitch for note in notes[9:16]]
    assert excerpt.metres == [(0, 3, 4), (72, 2, 4)] and excerpt.tempos == [(0, 80)]
    assert {note.velocity for note in excerpt.notes} == {80}


def test_the_quiz(bach, tmp_path, monkeypatch):
    """Forbids a pair with two by Bach or none, always in the same order, an excerpt used twice, a
    sound that is missing, and a quiz of too little music."""
    seen = []
    monkeypatch.setattr(quiz, 'write_quiz', lambda path, pairs: seen.append(pairs))
    monkeypatch.setattr(quiz.synth, 'render', lambda notes: np.full(9000, len(notes) / 999))
    held_out = [(f'bach-{number}', score) for number, score in enumerate(bach[1])]
    samples = [(f'sample-{number}.mid', score) for number, score in enumerate(bach[0])]
    quiz.make_quiz(samples, held_out, tmp_path)
    [pairs] = seen
    assert len(pairs) == 10 and {pair.bach for pair in pairs} == {'a', 'b'}
    sources = []
    for pair in pairs:
        sides = {'a': pair.a, 'b': pair.b}
        machine = sides.pop('b' if pair.bach == 'a' else 'a')
        [human] = sides.values()
        assert human.source.startswith('Bach: bach-')
        assert machine.source.startswith('the model: sample-')
        sources += [human.source, machine.source]
        for excerpt in (human, machine):
            assert (tmp_path / excerpt.sound).stat().st_size > 10_000
            assert len(excerpt.score.notes) >= 24
    assert len(set(sources)) == 20
    with pytest.raises(ValueError, match='num_samples'):
        quiz.make_quiz(samples[:1], held_out, tmp_path)
