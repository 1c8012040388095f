"""What evaluate.py says: bits that are the model's own, an n-gram that is one, runs that are
copied, and that all of it is printed and written. The judge itself is in test_judge.py."""

import io
import json
import math
import re
import shutil
from contextlib import redirect_stdout
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from conftest import ROOT, checkpoint_of
import evaluate
from evaluate import Config
import lib.corpus
from lib.corpus import load_corpora, load_corpus, load_pieces
from lib.heldout import losses_of, surprise
from lib.judge import ENOUGH
import lib.ngram
from lib import quiz
from lib.machine import Processes
from lib.ngram import NGram, count_ngrams, draw_ngram
from lib.originality import (RECITED, index_of, index_of_text, index_training, originality,
                             originality_of_text)
from lib.page import Piece
from lib.score import Note, Score, cut_bars, read_midi, write_midi
from lib.shelf import write_about
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


def checkpoint(folder, tokenizer, dataset, extra=''):
    """A model that knows nothing, saved as train.py does."""
    model = Transformer(ModelConfig(tokenizer.vocab_size, 64, 1, 2, 16,
                                    **tokenizer.shape_of_told()))
    folder.mkdir(exist_ok=True)
    save(folder / 'ckpt.pt', checkpoint_of(model, tokenizer.to_dict(),
                                           train_config={'dataset': dataset, 'extra': extra}))


def bits_a_unit(path, meta):
    """The bits a note, or a byte, that training would have shown for this checkpoint."""
    nats = validate(load(path)[0], meta, Processes())
    return nats * (len(meta['val']) - 1) / math.log(2) / meta['units']['val']


def random_piece(seed, notes=300):
    """A piece in 3/4 like no other; each of its notes starts later than the one before."""
    random = np.random.default_rng(seed)
    starts = np.cumsum(random.choice([6, 12, 18], notes)).tolist()
    pitches = random.integers(40, 80, notes).tolist()
    return Score([Note(*pair, 6) for pair in zip(starts, pitches)], metres=[(0, 3, 4)])


# ---- the whole

@pytest.fixture(scope='module')
def evaluated(prepared, bach, tmp_path_factory):
    """A folder with a model, trained on toy and on an extra corpus, and its samples: one composed
    (variation 10), one from variation 1, one from the extra corpus, one composed. What evaluate.py
    prints of them, and what it writes."""
    home = tmp_path_factory.mktemp('evaluated')
    out = home / 'out'
    shutil.copytree(prepared / 'toy', home / 'toy')
    checkpoint(out, MidiTokenizer(), 'toy', 'other')
    (home / 'source').mkdir()
    for seed in range(3):
        write_midi(random_piece(seed, notes=50), home / 'source' / f'random-{seed}.mid')
    first = read_midi(prepared / 'source' / 'toy' / '01-variatio-1.mid')
    part = [note._replace(start=note.start - 720, pitch=note.pitch - 3)
            for note in first.notes if 720 <= note.start < 1440]
    samples = {1: bach[1][1], 2: Score(part, metres=[(0, 3, 4)]),
               3: Score(random_piece(0, 50).notes[5:40], metres=[(0, 3, 4)]), 10: random_piece(9)}
    for number, score in samples.items():
        write_midi(score, out / f'sample-{number}.mid')
    write_midi(samples[1], out / 'prompt.mid')
    (out / 'sample-4.mid').write_bytes(b'broken')
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as shown:
        patch.setattr(prepare, 'DATA', home)
        patch.setattr(lib.corpus, 'DATA', home)
        patch.setattr(lib.ngram, 'NGRAM_PIECES', 2)
        prepare.main(prepare.Config(str(home / 'source'), name='other', hold_out='random-2',
                                    jobs=1))
        evaluate.main(Config(str(out)))
        yield out, shown.getvalue(), json.loads((out / 'evaluate.json').read_text())


def test_command(evaluated):
    """Forbids samples that are not found, other files that are taken for samples, a table without
    its verdict, too few samples of which nothing is said, bits that are not those of training, a
    JSON file that says otherwise."""
    out, shown, saved = evaluated
    assert saved['dataset'] == 'toy' and re.search(r'left out: .*sample-4', shown)
    assert saved['judge']['pieces']['samples'] == 3 and saved['judge']['too_short'] == 1
    prefers = saved['judge']['prefers']
    assert list(prefers) == ['held-out', 'shuffled', 'n-gram', 'samples']
    assert prefers['held-out'] is None and 0 <= prefers['samples'] <= 100     # one is held out
    assert re.search(rf'100 pairs +- +- .* {prefers["samples"]:.1f}$', shown, re.MULTILINE)
    assert 'too few samples' in shown and f'--num_samples={ENOUGH}' in shown
    assert len(saved['judge']['gave_away']) == 10 and len(saved['lag_curve']['samples']) == 24
    meta = load_corpus('toy')
    spent = saved['bits']['toy'].values()
    assert min(spent) > 0
    assert sum(spent) == pytest.approx(bits_a_unit(out / 'ckpt.pt', meta), rel=1e-4)
    names = [piece['name'] for piece in meta['pieces']['val']]
    assert list(saved['pieces']['toy']) == names
    assert saved['judge']['pieces']['shuffled'] == len(names)
    counts = [row['count'] for row in saved['judge']['gave_away']]
    for name in [*counts, *saved['form']['samples'], *saved['originality']['samples'], *names]:
        assert re.search(f'^ *{re.escape(name)} ', shown, re.MULTILINE)
    assert list(saved['form']) == ['training', 'held-out', 'n-gram', 'samples']
    for lag in (1, 2, 4, 8, 16):
        due = [f'{saved["lag_curve"][side][lag - 1]:.3f}' for side in saved['form']]
        assert re.search(rf'like the bar {lag} before +{" +".join(due)}$', shown, re.MULTILINE)


def test_recitation_is_named(evaluated):
    """Forbids a piece learned by heart, also from an extra corpus, that passes as composed,
    whatever the judge says, and a verdict that does not say what was copied from where."""
    _, shown, saved = evaluated
    found = dict(re.findall(r'^(sample-\d+) recites: (.*)$', shown, re.MULTILINE))
    assert list(found) == ['sample-2', 'sample-3'] and 'recitation: 2 of 4 samples' in shown
    count, name = re.match(r'(\d+) notes from bar 1 are those of (\S+) from bar 11$',
                           found['sample-2']).groups()
    assert int(count) > 60 and name == '01-variatio-1'
    assert found['sample-3'].startswith('35 notes from bar 1 are those of random-0')
    rows = saved['originality']['samples']
    assert list(rows) == [f'sample-{number}.mid' for number in (1, 2, 3, 10)]    # 2 before 10
    assert [row['recites'] for row in rows.values()] == [False, True, True, False]
    copied = rows['sample-2.mid']
    notes = len(read_midi(evaluated[0] / 'sample-2.mid').notes)
    assert copied['copied_share'] > 0.9 and rows['sample-10.mid']['copied'] == []
    stretches = sum(end - begin for begin, end in copied['copied'])
    assert stretches / notes == copied['copied_share']
    held_out = saved['originality']['sides']['held-out']
    assert saved['originality']['least'] >= RECITED > held_out['longest']


def test_what_held_out_pieces_share_is_no_copy():
    """Forbids notes that are marked as copied, though Bach himself, held out, shares a longer run.
    """
    learned, *others = (random_piece(seed, 60) for seed in range(3))

    def begun_with(count, rest):
        over = learned.notes[count].start
        later = [note._replace(start=over + note.start) for note in rest.notes]
        return Score(learned.notes[:count] + later, metres=[(0, 3, 4)])
    held_out, sample = begun_with(40, others[0]), begun_with(25, others[1])
    found = evaluate.judge_originality([('sample', sample)], {
        'train': [('learned', learned)], 'val': [('held out', held_out)]}, [], music=True)
    assert found['least'] > 40 and 25 <= found['samples']['sample']['longest'] < 30
    assert not found['samples']['sample']['copied']


def test_samples_of_one_kind_are_judged(evaluated, tmp_path, capsys):
    """Forbids samples of other settings among those that are judged, and silence about them."""
    out, *_ = evaluated
    shutil.copytree(out, tmp_path / 'out')
    config = Config(str(tmp_path / 'out'))
    assert len(evaluate.read_samples(config, music=True)) == 4
    assert 'samples:' not in capsys.readouterr().out
    for seed in (1, 2):
        name = f'sample-{seed}-1-key=G'
        shutil.copy(out / 'sample-1.mid', tmp_path / f'out/{name}.mid')
        content = (tmp_path / f'out/{name}.mid').read_bytes()
        write_about(Piece(name, Score()), content, tmp_path / 'out', {'key': 'G'}, 2e9)
    names = [name for name, _ in evaluate.read_samples(config, music=True)]
    assert names == ['sample-1-1-key=G.mid', 'sample-2-1-key=G.mid']
    assert ('samples: 2 made with key G; not 5 made with others, which --samples=PATTERN would take'
            in capsys.readouterr().out)


def test_two_sides_need_no_model(evaluated, tmp_path, monkeypatch, capsys):
    """Forbids a checkpoint that is asked for where samples, as a pattern or a folder, and corpus
    are both given; and a recitation where there is none."""
    out, *_ = evaluated
    monkeypatch.setattr(lib.ngram, 'NGRAM_PIECES', 2)
    evaluate.main(Config(str(tmp_path / 'new'), samples=f'{out}/sample-1*.mid', dataset='toy'))
    saved = json.loads((tmp_path / 'new' / 'evaluate.json').read_text())
    assert len(saved['originality']['samples']) == 2
    assert list(saved['ngram']['bits']) == ['toy'] and 'bits' not in saved
    assert 'no recitation: none of 2 samples' in capsys.readouterr().out
    names = [name for name, _ in evaluate.read_samples(Config(samples=str(out)), music=True)]
    assert names == ['prompt.mid', *(f'sample-{number}.mid' for number in (1, 2, 3, 10))]
    with pytest.raises(ValueError, match=r'new: none of 0 samples .*run sample\.py'):
        evaluate.read_samples(Config(str(tmp_path / 'new')), music=True)


def test_text_is_judged(corpus, capsys):
    """Forbids a text checkpoint that is refused, bits that are not those of training, and a text
    learned by heart that passes as written; and a traceback for a sample that is no UTF-8, for
    music as samples, for a corpus of music, or for a text in another tokenizer's words."""
    random = np.random.default_rng(1)
    words = [' '.join(random.choice(list('abcdefghijklmnop'), 12)) + '.' for _ in range(400)]
    (corpus / 'plays.txt').write_text('\n'.join(words))
    prepare.main(prepare.Config(str(corpus / 'plays.txt'), vocab_size=260, jobs=1))
    meta, out = load_corpus('plays'), corpus / 'out'
    checkpoint(out, BPETokenizer.from_dict(meta['tokenizer']), 'plays')
    (out / 'sample-1-1.txt').write_text('And now: ' + words[7].upper() + ' ' + words[8])
    (out / 'sample-1-2.txt').write_bytes(b'Nothing of that is found anywhere \xff, says who?')
    capsys.readouterr()
    evaluate.main(Config(str(out)))
    shown = capsys.readouterr().out
    assert re.search('^sample-1-1 recites: 24 words from line 1 are those of plays from line 8$',
                     shown, re.MULTILINE)
    assert 'recitation: 1 of 2 samples' in shown
    saved = json.loads((out / 'evaluate.json').read_text())
    bits = bits_a_unit(out / 'ckpt.pt', meta)
    assert saved['unit'] == 'byte'
    assert saved['bits']['plays']['all'] == pytest.approx(bits, rel=1e-4)
    assert 1 < saved['ngram']['bits']['plays']['all'] < 4
    assert f'{bits:.3f}' in shown and 'judge' not in saved
    checkpoint(corpus / 'other', BPETokenizer.train(['to be'], 257), 'plays')
    for folder, wrong, message in (('out', {'samples': str(corpus / 'toy')}, 'none of 0 samples'),
                                   ('out', {'dataset': 'toy'}, 'does not go with the model'),
                                   ('other', {}, 'does not go with the model')):
        with pytest.raises(ValueError, match=message) as error:
            evaluate.main(Config(str(corpus / folder), **wrong))
        assert '\n' not in str(error.value)


def test_corpora_are_read_back(corpus):
    """Forbids pieces that are lost, cut in two or run together between prepare.py and here, and a
    second corpus that is ignored."""
    meta = json.loads((corpus / 'toy' / 'meta.json').read_text())
    shutil.copytree(corpus / 'toy', corpus / 'again')
    for split, pieces in load_pieces(load_corpora('toy, again'), MidiTokenizer()).items():
        want = [piece['units'] for piece in meta['pieces'][split]]
        assert [len(score.notes) for _, score in pieces] == want * 2


def test_a_large_corpus_is_thinned():
    """Forbids hours of judging for a large corpus, its beginning alone, and a piece of a small one
    that is left out."""
    for size in (0, 1, evaluate.JUDGED):
        assert evaluate.thin(list(range(size))) == list(range(size))
    kept = evaluate.thin(list(range(10 * evaluate.JUDGED - 1)))
    assert len(kept) == evaluate.JUDGED and kept[:2] == [0, 10]


# ---- the model's bits

def test_surprise_is_that_of_validation(bach):
    """Forbids bits of a piece that differ from those it is scored with in training, bits that stand
    beside another id than they belong to, a piece shorter than a window that can't be scored, and a
    model that drops out afterwards."""
    tokenizer = MidiTokenizer()
    torch.manual_seed(1)
    model = Transformer(ModelConfig(tokenizer.vocab_size, 16, 1, 2, 16,
                                    **tokenizer.shape_of_told())).eval()
    for matrix in model.parameters():
        torch.nn.init.normal_(matrix)                    # it minds all that it sees
    ids = tokenizer.encode(bach[1][0])[:200]
    bits = surprise(model, tokenizer, ids)
    losses = losses_of(model, np.array(ids), tokenizer.listen(ids))
    assert bits == pytest.approx([0, *(losses / math.log(2)).tolist()])
    for training in (True, False):                       # in either mode it is left as it was
        model.train(training)
        surprise(model, tokenizer, ids[:20])
        assert model.training == training
    for length in (0, 1, 2, 10, 16, 17):
        short = surprise(model, tokenizer, ids[:length])
        assert short == pytest.approx(bits[:length], rel=1e-4)
    # by hand, where all that is before the id fits into one window; the end is not told
    told = torch.from_numpy(tokenizer.listen(ids)[:9])[None]
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
    bits = tokenizer.note_bits(ids, list(range(len(ids))))
    assert [note[:3] for note in notes] == [(0, 60, 12), (0, 64, 6), (6, 50, 12), (12, 60, 3),
                                            (12, 60, 6)]
    assert bits == [2, 1, 4, 8, 9]


def test_bits_of_pieces(corpus):
    """Forbids bits that are counted with the neighbouring piece, or divided by another's notes."""
    meta, tokenizer = load_corpus('toy'), MidiTokenizer()
    meta |= {'val': meta['train'], 'pieces': {'val': meta['pieces']['train']}}     # they are more
    bits = np.arange(len(meta['val'])) % 7 / 3
    pieces, begin = evaluate.bits_by_piece(meta, tokenizer, bits), 0
    for piece in meta['pieces']['val']:
        end = begin + len(tokenizer.encode(read_midi(corpus / 'toy' / piece['name'])))
        assert sum(pieces[piece['name']].values()) == pytest.approx(
            bits[begin:end].sum() / piece['units'])
        begin = end
    assert begin == len(bits)


# ---- the n-gram

def brute_force(rows, vocab_size, context, id):
    """Witten and Bell's formula, as it stands in the docstring of NGram."""
    if context is None:
        return 1 / vocab_size
    shorter = brute_force(rows, vocab_size, context[1:] if context else None, id)
    after = []
    for row in rows:
        for place in range(len(context), len(row)):
            if row[place - len(context):place] == context:
                after.append(row[place])
    kinds = len(set(after))
    return (after.count(id) + kinds * shorter) / (len(after) + kinds) if after else shorter


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
            chance = brute_force(rows, 8, ids[max(0, place - order + 1):place], id)
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
    for ids in (val, up):
        assert ngram.bits(ids)[3].sum() < 0.95 * own_key.bits(ids)[3].sum()
    assert ngram.bits(up)[3].sum() == pytest.approx(ngram.bits(val)[3].sum(), rel=0.06)
    found = evaluate.judge_ngram(ngram, [meta], tokenizer)
    costs = ngram.bits(val)[:, 1:].sum(axis=1) / meta['units']['val']
    assert found['order'] == 1 + costs.argmin()
    assert sum(found['bits']['toy'].values()) == pytest.approx(costs.min())


def test_the_order_is_the_best_for_all_corpora(corpus):
    """Forbids an order that is the best for the largest corpus, where by notes it is not: 5 bits or
    1 an id of a short one, 1 or 1.5 of a long one."""
    meta, tokenizer = load_corpus('toy'), MidiTokenizer()
    ids = np.array(meta['val'])
    short = {**meta, 'name': 'short', 'val': ids[:40],
             'units': {'val': tokenizer.count_units(ids[:40])}}
    costs = {40: [5, 1], len(ids): [1, 1.5]}
    ngram = SimpleNamespace(tables=[1, 2], bits=lambda ids: np.outer(costs[len(ids)], 0 * ids + 1))
    assert evaluate.judge_ngram(ngram, [short, meta], tokenizer)['order'] == 2


def test_ngram_pieces(monkeypatch):
    """Forbids pieces that are drawn from another distribution, end at once, or are all the same."""
    monkeypatch.setattr(lib.ngram, 'NGRAM_PIECES', 2)
    tokenizer = MidiTokenizer()
    ids = tokenizer.encode(Score([Note(6 * i, 60 + i % 12, 6) for i in range(60)]))
    ngram = NGram([np.array(ids)] * 20, tokenizer.vocab_size, 3)
    (_, one), (_, other) = draw_ngram(ngram, 3, tokenizer)
    assert one != other
    for score in (one, other):
        steps = np.diff([note.pitch for note in score.notes])
        assert len(steps) > 250 and np.isin(steps, (1, -11)).mean() > 0.85


# ---- originality

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
    assert origin.source_number == 3
    assert origin.source_last_bar == 1 + train[3][1].notes[140].start // 72
    assert origin.last_bar == 1 + sample.notes[90].start // 72
    assert origin.copied == [False] * 50 + [True] * 41 + [False] * 40
    assert origin.shares == pytest.approx({8: 34 / 124, 12: 30 / 120})
    assert not any(originality(sample, index, least=42).copied)
    # another rhythm or another melody is another piece
    slower = [note._replace(start=2 * note.start) for note in sample.notes]
    inverted = [note._replace(pitch=120 - note.pitch) for note in sample.notes]
    for notes in (slower, inverted, [], own[:1]):
        origin = originality(Score(notes), index)
        assert (origin.longest, origin.source, any(origin.copied)) == (0, '', False)


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


@pytest.mark.parametrize('pitches, once, added', [
    pytest.param([60, 62, 64, 65, 67, 69, 71, 72, 74, 76, 77, 79, 81, 83], 0, 6, id='scale'),
    pytest.param(range(50, 80), 0, 2, id='chromatic'),
    pytest.param([60, 62] * 15, 0, 3, id='trill'),
    pytest.param([60] * 30, 0, 2, id='repeated'),
    pytest.param([48, 55, 64, 72, 79] * 8, 6, 6, id='arpeggio'),
    pytest.param([60, 67, 64, 67, 59, 68, 65, 68] * 8, 9, 9, id='alberti')])
def test_what_is_nobodys(pitches, once, added):
    """Forbids a scale, a trill, a note repeated or a broken chord over and over that is taken for a
    quotation (its figure, once, is somebody's); and that, played beside a real one, it makes that
    one longer by more than so many notes."""
    figure = [Note(6 * i, pitch, 6) for i, pitch in enumerate(pitches)]
    index = index_of([('etude', join(random_piece(1).notes[:50], figure, random_piece(2).notes))])
    origin = originality(join(random_piece(3).notes[:50], figure, random_piece(4).notes), index)
    assert origin.longest <= once and not any(origin.copied)
    assert max(origin.shares.values()) <= (0.013 if once else 0)
    stolen = random_piece(2).notes[:10]
    for before in ([], [random_piece(3).notes[:50]]):
        origin = originality(join(*before, figure, stolen), index)
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


PLAY = """To sleep, perchance to dream: ay, there's the rub,
For in that sleep of death what dreams may come
When we have shuffled off this mortal coil,
Must give us pause."""


def test_words_that_are_copied():
    """Forbids a quotation that goes unseen because it has other line ends, marks or capitals; a
    stretch that is marked too far or not far enough; an unknown word that belongs to it where the
    source begins or ends; and 'ha, ha, ha' as a quotation."""
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
    for text, longest in (('What dreams may come, then? No.', 0), (PLAY, 31), ('', 0),
                          (f'Zounds! {PLAY} Zounds!', 31)):
        assert originality_of_text(text, index).longest == longest


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


# ---- the quiz

def test_an_excerpt_tells_nothing_but_its_music(monkeypatch):
    """Forbids an excerpt that begins elsewhere than on its bar line, whose notes stick out at the
    end, or that gives itself away by its tempo, its loudness or its first bar's number; and one in
    another metre than holds where it begins."""
    notes = [Note(start, 60 + start % 7, 90, 1 + start % 127) for start in range(0, 960, 24)]
    score = Score(notes, [(0, 33.0), (500, 99.0)], [(0, 3, 4), (288, 2, 4)])
    monkeypatch.setattr(quiz, 'BARS', 3)
    excerpt = quiz.make_excerpt(score, 4)               # bars from 216, 288 and 336 on
    assert [note.start for note in excerpt.notes] == list(range(0, 168, 24))
    assert max(note.start + note.duration for note in excerpt.notes) == 168
    assert [note.pitch for note in excerpt.notes] == [note.pitch for note in notes[9:16]]
    assert excerpt.metres == [(0, 3, 4), (72, 2, 4)] and excerpt.tempos == [(0, 80)]
    assert {note.velocity for note in excerpt.notes} == {80}
    assert quiz.make_excerpt(score, 6).metres == [(0, 2, 4)]     # bars from 336 on
    cut = cut_bars(score, 5, 10)                        # bars from 288 to 576
    assert cut.tempos == [(0, 33.0), (500 - 288, 99.0)] and cut.metres == [(0, 2, 4)]
    assert [note.velocity for note in cut.notes] == [note.velocity for note in notes[12:24]]


def test_the_quiz_is_of_held_out_pieces(evaluated, monkeypatch):
    """Forbids a pair with Bach that the model has learned, and may know by heart."""
    asked = []
    monkeypatch.setattr(quiz, 'write_quiz', lambda path, pairs, judged: asked.extend(pairs))
    monkeypatch.setattr(quiz.synth, 'sound_of', lambda score: np.zeros(9))
    evaluate.main(Config(str(evaluated[0]), quiz=True, pairs=2))
    sources = [pair.a.source if pair.bach == 'a' else pair.b.source for pair in asked]
    [held_out] = load_corpus('toy')['pieces']['val']
    due = f'Bach: {held_out["name"].removesuffix(".mid")}, bars '
    assert len(sources) == 2 and all(source.startswith(due) for source in sources)


def test_the_quiz(bach, tmp_path, monkeypatch):
    """Forbids a pair with two by Bach or none, always in the same order, an excerpt used twice, a
    sound that is missing, and a quiz of too little music."""
    seen = []
    monkeypatch.setattr(quiz, 'write_quiz', lambda path, pairs, judged: seen.append(pairs))
    monkeypatch.setattr(quiz.synth, 'sound_of', lambda score: np.full(9000, len(score.notes) / 999))
    held_out = [(f'bach-{number}', score) for number, score in enumerate(bach[1])]
    samples = [(f'sample-{number}.mid', score) for number, score in enumerate(bach[0])]
    quiz.make_quiz(samples, held_out, held_out, tmp_path, 10)
    [pairs] = seen
    assert len(pairs) == 10 and {pair.bach for pair in pairs} == {'a', 'b'}
    sources = set()
    for pair in pairs:
        human, machine = (pair.a, pair.b) if pair.bach == 'a' else (pair.b, pair.a)
        assert human.source.startswith('Bach: bach-')
        assert machine.source.startswith('the model: sample-')
        for excerpt in (human, machine):
            sources.add(excerpt.source)
            assert (tmp_path / excerpt.sound).stat().st_size > 10_000
            assert len(excerpt.score.notes) >= 24
    assert len(sources) == 20
    with pytest.raises(ValueError, match='num_samples'):
        quiz.make_quiz(samples[:1], held_out, held_out, tmp_path, 10)
    with pytest.raises(ValueError, match='lower --pairs'):
        quiz.make_quiz(samples, held_out, held_out, tmp_path, 99)


def test_pairs_are_alike(tmp_path, monkeypatch, capsys):
    """Forbids a pair that its time signature or its density gives away, if there is a better one;
    and one sample that is heard again and again beside others that are not."""
    def piece(metre, wait, seed):
        pitches = np.random.default_rng(seed).integers(48, 80, 3000 // wait).tolist()
        notes = [Note(wait * number, pitch, wait) for number, pitch in enumerate(pitches)]
        return Score(notes, metres=[(0, *metre)])
    kinds = [((3, 4), 6), ((3, 4), 24), ((4, 4), 6), ((4, 4), 24)]
    held_out = [(f'b{seed}.mid', piece(*kind, seed)) for seed, kind in enumerate(kinds)]
    samples = [(f's{seed}.mid', piece(*kind, 9 + seed)) for seed, kind in enumerate(kinds[::-1])]
    seen = []
    said = []
    monkeypatch.setattr(quiz, 'write_quiz', lambda path, pairs, judged: (
        seen.extend(pairs), said.append(judged)))
    monkeypatch.setattr(quiz.synth, 'sound_of', lambda score: np.zeros(9))
    quiz.make_quiz(samples, held_out, held_out, tmp_path, 8)
    for pair in seen:
        assert pair.a.score.metres == pair.b.score.metres
        assert len(pair.a.score.notes) == len(pair.b.score.notes)
    sources = [source for pair in seen for source in (pair.a.source, pair.b.source)]
    for number in range(4):
        assert sum(source.startswith(f'the model: s{number},') for source in sources) == 2
    assert 'a sample is heard 2 times: 8 samples or more' in capsys.readouterr().out
    quiz.make_quiz(samples, held_out, held_out, tmp_path, 4)
    assert 'is heard' not in capsys.readouterr().out
    assert [bool(re.fullmatch('The judge .* was right in \\d of (8|4).', words)) for words in said
            ] == [True, True]
