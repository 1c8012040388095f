"""Training: that it learns, resumes bit for bit, validates the whole split and splits honestly."""

import csv
import json
import math
import os
import shutil
import signal
import socket
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from conftest import ROOT, all_as_prepared, begin, movement, with_fork
import lib.corpus
from lib.corpus import load_corpus
from lib.heldout import find_windows, losses_of
from lib.machine import Processes, check_memory, compiled
from lib.page import read_curve
from lib.settings import configure, read_config
from lib.tokenizer import columns_of_told
from model import ModelConfig, Transformer
from tokenizer_midi import MidiTokenizer
import train
from train import Config, Muon, bits_per_unit, get_batch, make_optimizers, schedule, validate

MUSIC = MidiTokenizer()
CONFIGS = sorted((ROOT / 'config').glob('*.py'))
SMALL = {'dataset': 'toy', 'n_layer': 2, 'n_head': 2, 'n_embd': 32, 'context': 32, 'batch_size': 4,
         'dtype': 'float32', 'log_every': 5, 'warmup_steps': 2}
# of the run that the tests share, validated at steps 0, 5, 10 and 14
SHARED = {'max_steps': 14, 'eval_every': 5, 'dtype': 'bfloat16', 'dropout': 0.1}


def run(folder, name, **settings):
    train.train(Config(out_dir=str(folder / name), **{**SMALL, **settings}))
    return checkpoint(folder / name / 'last.pt')


def checkpoint(path) -> dict:
    return torch.load(path, weights_only=True)


def rows_of(folder, column: str) -> list[dict]:
    """The rows of log.csv that have something in a column."""
    return [row for row in csv.DictReader(open(folder / 'log.csv')) if row[column]]


@pytest.fixture(scope='module')
def shared(prepared, tmp_path_factory):
    """The folder of a run, not to be written into."""
    home = tmp_path_factory.mktemp('shared')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lib.corpus, 'DATA', prepared)
        run(home, 'run', **SHARED)
    return home / 'run'


@pytest.fixture
def drawn(monkeypatch):
    """The batches that a run draws, and what was asked of get_batch."""
    found = []

    def overheard(*given):
        batch = get_batch(*given)
        found.append((batch, given))
        return batch
    monkeypatch.setattr(train, 'get_batch', overheard)
    return found


def another(corpus, trained_on=(), held_out=()):
    """A corpus `other` beside `toy`, of the same notes, which are said to be other pieces."""
    shutil.copytree(corpus / 'toy', corpus / 'other')
    path = corpus / 'other' / 'meta.json'
    meta = json.loads(path.read_text())
    meta['pieces'] = {'train': list(trained_on), 'val': list(held_out)}
    path.write_text(json.dumps(meta))


# ------------------------------------------------------------------------------- what a run does

def test_it_learns(shared):
    """Forbids steps that go uphill or nowhere, and a weight that none of them reaches."""
    before, *_, after = [float(row['bits_toy']) for row in rows_of(shared, 'bits_toy')]
    assert before > 20 and after < 15                # guessing, and knowing something
    last = checkpoint(shared / 'last.pt')
    torch.manual_seed(1)                             # as train() does, so the same first weights
    for name, weight in Transformer(ModelConfig(**last['model_config'])).named_parameters():
        assert not torch.equal(weight, last['model'][name]), name


def test_checkpoints_and_log(corpus, shared):
    """Forbids a run that ends without a file, a `best` that is not, a log without its figures."""
    step, evaluated, best, best_step, *_ = checkpoint(shared / 'last.pt')['progress'].values()
    rows = rows_of(shared, 'bits_toy')
    bits = {int(row['step']): float(row['bits_toy']) for row in rows}
    assert step == evaluated == 14 and set(bits) == {0, 5, 10, 14}
    assert best == pytest.approx(min(bits.values())) and bits[best_step] == pytest.approx(best)
    saved = checkpoint(shared / 'ckpt.pt')
    assert saved['progress']['step'] == best_step and saved['tokenizer']['kind'] == 'midi'
    meta = load_corpus('toy')
    assert saved['corpora'] == {'toy': meta['sha256']['train']}
    assert bits[14] == pytest.approx(float(rows[-1]['nats_toy']) * (len(meta['val']) - 1)
                                     / math.log(2) / meta['units']['val'])


def test_rates_are_those_of_the_schedule(corpus, monkeypatch):
    """Forbids a warm-up from nothing, a peak that is missed, a decay that does not end at 0, rates
    that are swapped, and a weight decay that no optimizer is told."""
    rates = {Muon: [], torch.optim.AdamW: []}
    for kind, found in rates.items():
        def step(optimizer, plain=kind.step, found=found):
            found.append(optimizer.param_groups[0]['lr'])
            assert {group['weight_decay'] for group in optimizer.param_groups} == {0.25}
            return plain(optimizer)
        monkeypatch.setattr(kind, 'step', step)
    run(corpus, 'a', max_steps=9, warmup_steps=3, muon_lr=0.01, adam_lr=0.002, weight_decay=0.25)
    due = np.array([3, 6, 7, 6, 5, 4, 3, 2, 1]) / 9
    assert rates[Muon] == pytest.approx(0.01 * due)
    assert rates[torch.optim.AdamW] == pytest.approx(0.002 * due)


def test_the_loss_is_that_of_the_next_ids(corpus, drawn):
    """Forbids a loss that is smoothed, weighted or of other ids than the next ones, and training
    on nothing told, or on what was told of other ids."""
    model = train.train(Config(out_dir=str(corpus / 'a'), **{
        **SMALL, 'max_steps': 3, 'log_every': 1, 'muon_lr': 0.0, 'adam_lr': 0.0}))
    for ((x, y, told), _), row in zip(drawn, rows_of(corpus / 'a', 'loss'), strict=True):
        likely = model(x, told).log_softmax(dim=-1)
        assert float(row['loss']) == pytest.approx(-likely.gather(2, y[..., None]).mean().item())


def test_the_seed_counts(corpus, drawn):
    """Forbids a seed that leaves the weights as they are, or the batches; and one batch for all
    steps."""
    first = [run(corpus, f'{seed}', max_steps=3, seed=seed, muon_lr=0.0, adam_lr=0.0)['model']
             for seed in (1, 2)]
    assert not torch.equal(first[0]['embedding'], first[1]['embedding'])
    rows = [row for (x, _, _), _ in drawn for row in x.tolist()]
    assert len(set(map(str, rows))) == len(rows) == 2 * 3 * 4


def test_dropout_is_drawn_anew(corpus, monkeypatch):
    """Forbids dropout that leaves out the same at every step."""
    masks = []

    def overheard(dropout, x, plain=torch.nn.Dropout.forward):
        if dropout.training:
            masks.append(plain(dropout, torch.ones_like(x)))
        return plain(dropout, x)
    monkeypatch.setattr(torch.nn.Dropout, 'forward', overheard)
    run(corpus, 'a', max_steps=2, dropout=0.5, n_layer=1)
    assert len(masks) == 2 * 2                                   # two in each of the steps
    for one, other in zip(masks[:2], masks[2:]):
        assert not torch.equal(one, other)


@pytest.mark.parametrize('choice, comes', [('true', 'compiled'), ('auto', 'model'),
                                           ('false', 'model')])
def test_compile_is_a_choice(monkeypatch, choice, comes):
    """Forbids --compile=true that is not listened to on a CPU, and compiling that nobody wants."""
    monkeypatch.setattr(torch, 'compile', lambda model: 'compiled')
    assert compiled('model', choice, 'cpu') == comes


@pytest.mark.parametrize('sizes, fits, too_little', [
    ({'batch_size': 1, 'context': 2, 'n_layer': 4, 'n_embd': 256}, 100e6, 50e6),
    ({'batch_size': 64, 'context': 1024, 'n_layer': 1, 'n_embd': 8}, 600e6, 70e6)])
def test_memory_is_enough_or_not(monkeypatch, sizes, fits, too_little):
    """Forbids a model that can't fit and is tried, and a batch that would fit and is refused. The
    first has 3.4 million weights, and of each there are four numbers of 4 bytes: 55 MB. The second
    has 65,536 positions of 545 scores, of which one copy in 2 bytes is 71 MB."""
    for there, refused in ((fits, False), (too_little, True)):
        monkeypatch.setattr('lib.machine.memory_of', lambda device, there=there: there)
        with pytest.raises(ValueError, match='GB of memory') if refused else nullcontext():
            check_memory(Config(**sizes), MUSIC.vocab_size, 'cpu')


@pytest.mark.parametrize('augment', [True, False])
def test_pieces_are_transposed_if_they_are_to_be(corpus, drawn, augment):
    """Forbids a run that learns every piece in its own key only; and one that moves it to another
    where it was told not to."""
    run(corpus, 'a', max_steps=2, augment=augment)
    for (x, _, _), _ in drawn:
        assert all_as_prepared(x, load_corpus('toy')) == (not augment)


@pytest.mark.parametrize('validation, says', [
    (0, 'about 2 minutes from here on this machine\n'),             # 10 * 10 s
    (1000, 'about 23 minutes from here on this machine; with --max_steps=15 ten minutes')])
def test_seconds_are_those_of_training(corpus, monkeypatch, capsys, validation, says):
    """Forbids a speed or a time that counts validation among training, or forgets what was trained
    before one; a speed that is not of the steps since the last line (the first five are slower),
    also when a run goes on; and a promise that does not count it, or advice that would not make it
    fit."""
    now = [0.0]

    def takes(seconds, function):
        def slow(*given):
            now[0] += seconds
            return function(*given)
        return slow
    monkeypatch.setattr(train.time, 'perf_counter', lambda: now[0])

    def slow_at_first(step, config):
        now[0] += 30 if step < 5 else 10
        return schedule(step, config)
    monkeypatch.setattr(train, 'schedule', slow_at_first)
    monkeypatch.setattr(train, 'validate', takes(validation, lambda *given: 1.0))
    last = run(corpus, 'a', max_steps=20, eval_every=8)
    assert last['progress']['seconds'] == 300
    rows = rows_of(corpus / 'a', 'loss')
    assert [float(row['seconds']) for row in rows] == [150, 200, 250, 300]
    speeds = [int(row['tokens_per_second']) for row in rows]
    assert speeds == [round(4 * 32 / seconds) for seconds in (30, 10, 10, 10)]
    assert says in capsys.readouterr().out
    run(corpus, 'a', max_steps=25, eval_every=8, resume=True)
    assert rows_of(corpus / 'a', 'loss')[-1]['tokens_per_second'] == f'{speeds[-1]}'


def test_the_best_is_that_of_all_corpora(corpus, monkeypatch):
    """Forbids a best model that is the best of the first corpus alone."""
    another(corpus)
    nats = {'toy': iter([5.0, 4.0, 3.0]), 'other': iter([5.0, 3.0, 6.0])}
    monkeypatch.setattr(train, 'validate', lambda model, corpus, _: next(nats[corpus['name']]))
    progress = run(corpus, 'a', dataset='toy,other', max_steps=4, eval_every=2)['progress']
    assert progress['best_step'] == 2
    assert progress['best'] == pytest.approx(bits_per_unit(3.5, load_corpus('toy')))


def test_each_validation_is_kept(corpus, monkeypatch):
    """Forbids a run that is cut off and goes on from its best model, where it was further."""
    nats = iter([5.0, 4.0, 6.0])
    monkeypatch.setattr(train, 'validate', lambda *given: next(nats))
    with pytest.raises(StopIteration):                       # as if the power went off
        run(corpus, 'a', max_steps=8, eval_every=2)
    assert checkpoint(corpus / 'a' / 'ckpt.pt')['progress']['step'] == 2
    assert checkpoint(corpus / 'a' / 'last.pt')['progress']['step'] == 4


def test_it_stops_when_validation_gets_worse(corpus, capsys):
    """Forbids hours of overfitting: patience counts validations without a better one."""
    last = run(corpus, 'a', max_steps=400, eval_every=2, patience=2, muon_lr=0.0, adam_lr=0.0)
    assert last['progress']['step'] == 4 and 'no longer better' in capsys.readouterr().out


@pytest.mark.parametrize('settings, interrupted, says', [
    ({'log_every': 2, 'eval_every': 50}, False, 'the loss is nan at step [4-6]:'),
    ({'log_every': 50, 'eval_every': 2}, False, 'the loss is nan at step [4-6]:'),
    ({'log_every': 50, 'eval_every': 3}, True, 'a weight is no number at step 4:')])
def test_a_run_that_burst_ends(corpus, monkeypatch, settings, interrupted, says):
    """Forbids hours of training after the weights are no numbers any more, and such weights that
    are saved over those of the last validation, also by Ctrl-C."""
    def burst(step, config):
        if step < 3:
            return schedule(step, config)
        if interrupted:
            os.kill(os.getpid(), signal.SIGINT)
        return math.nan
    monkeypatch.setattr(train, 'schedule', burst)
    with pytest.raises(ValueError, match=says):
        run(corpus, 'a', max_steps=9, **settings)
    for name in ('ckpt.pt', 'last.pt'):
        assert checkpoint(corpus / 'a' / name)['progress']['step'] <= 3


@pytest.mark.parametrize('later, at_once, saved', [(0.5, False, 3), (1.5, True, 0)])
def test_ctrl_c_twice(corpus, monkeypatch, later, at_once, saved):
    """Forbids Ctrl-C that loses what was learned because torchrun passes it on a second time; and a
    run that another one, when the first takes too long, does not end; and Ctrl-C that means
    something else than before when training is over."""
    now = [100.0]
    before = signal.getsignal(signal.SIGINT)

    def pressed(step, config):
        for wait in (0, later) * (step == 2):
            now[0] += wait
            os.kill(os.getpid(), signal.SIGINT)
        return schedule(step, config)
    monkeypatch.setattr(train, 'schedule', pressed)
    monkeypatch.setattr('lib.machine.time.monotonic', lambda: now[0])
    try:
        run(corpus, 'a', max_steps=9)
        ended_at_once = False
    except KeyboardInterrupt:
        ended_at_once = True
    assert ended_at_once == at_once
    assert signal.getsignal(signal.SIGINT) is before
    assert checkpoint(corpus / 'a' / 'last.pt')['progress']['step'] == saved


# ------------------------------------------------------------------- resumed, or begun with another

def test_resume_is_exact(corpus, shared, monkeypatch):
    """Forbids a resume that replays batches, forgets a state, or shifts the schedule: 14 steps are
    7 steps, Ctrl-C, and 7 more, bit for bit, dropout and transposition included. And a log that
    has steps twice, which a killed run took in vain, or half a line; or lost what was before."""
    def interrupted(step, config):
        if step == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return schedule(step, config)
    with monkeypatch.context() as patch:
        patch.setattr(train, 'schedule', interrupted)
        assert run(corpus, 'a', **SHARED)['progress']['step'] == 7
    with open(corpus / 'a' / 'log.csv', 'a') as file:        # as if it took more, and was killed
        file.write('10,1.0,0.1,9,1.0,,\n2')
    parts = run(corpus, 'a', **SHARED, resume=True)
    whole = checkpoint(shared / 'last.pt')
    for name in whole['model']:
        assert torch.equal(whole['model'][name], parts['model'][name]), name
    assert {**whole['progress'], 'seconds': 0} == {**parts['progress'], 'seconds': 0}
    for a, b in zip(read_curve(shared / 'log.csv'), read_curve(corpus / 'a' / 'log.csv'),
                    strict=True):
        for name in ('step', 'loss', 'bits_toy'):
            assert a.get(name) == b.get(name)
    monkeypatch.setattr(train, 'validate', None)             # a step is not validated twice
    run(corpus, 'a', **SHARED, resume=True)


def test_resume_with_other_settings_is_refused(corpus, shared):
    """Forbids a "resume" that silently becomes another run: whatever setting is another that the
    weights depend on."""
    shutil.copytree(shared, corpus / 'a')
    another(corpus)
    others = {'dataset': 'other', 'extra': 'other', 'fading': 1.0, 'augment': False, 'n_layer': 3,
              'n_head': 1, 'n_embd': 64, 'context': 16, 'dropout': 0.2, 'batch_size': 5,
              'muon_lr': 0.1, 'adam_lr': 0.1, 'weight_decay': 0.1, 'warmup_steps': 3, 'seed': 2,
              'init_from': str(shared), 'dtype': 'float32'}
    for name, value in others.items():
        with pytest.raises(ValueError, match=f'was trained with {name} = '):
            run(corpus, 'a', **{**SHARED, name: value}, resume=True)
    last = run(corpus, 'a', **{**SHARED, 'max_steps': 15}, resume=True)
    assert last['progress']['step'] == 15


def test_a_trained_model_is_not_overwritten(corpus, shared):
    """Forbids a command given twice that throws away what the first one learned."""
    shutil.copytree(shared, corpus / 'a')
    with pytest.raises(ValueError, match='--overwrite'):
        run(corpus, 'a', max_steps=1)
    assert (corpus / 'a' / 'last.pt').read_bytes() == (shared / 'last.pt').read_bytes()
    assert run(corpus, 'a', max_steps=1, overwrite=True)['progress']['step'] == 1


def test_a_refused_run_leaves_no_folder(corpus):
    """Forbids empty folders that lie about; and one that was there before, that is gone."""
    (corpus / 'mine').mkdir()
    for name in ('new', 'mine'):
        with pytest.raises(ValueError, match='no such checkpoint'):
            run(corpus, name, init_from=str(corpus / 'none'))
    assert not (corpus / 'new').exists() and (corpus / 'mine').exists()


def test_fine_tuning_starts_from_the_weights(corpus, shared):
    """Forbids an init_from that starts anew, takes the step count along, or begins with the last
    weights, which may be overfitted, or keeps the dropout of those; and a model whose ids mean
    something else."""
    (corpus / 'a').mkdir()
    shutil.copy(shared / 'ckpt.pt', corpus / 'a')            # the best, and no last.pt
    settings = {'init_from': str(corpus / 'a'), 'dtype': 'bfloat16', 'max_steps': 0, 'dropout': 0.2}
    assert run(corpus, 'b', **settings)['model_config']['dropout'] == 0.2
    best = checkpoint(shared / 'ckpt.pt')['progress']['best']
    bits = rows_of(corpus / 'b', 'bits_toy')[0]['bits_toy']
    assert float(bits) == pytest.approx(best, abs=1e-6)
    meta = json.loads((corpus / 'toy' / 'meta.json').read_text())
    meta['tokenizer']['velocity'] = True
    (corpus / 'toy' / 'meta.json').write_text(json.dumps(meta))
    with pytest.raises(ValueError, match='cannot go on with data/toy: only one has velocities'):
        run(corpus, 'c', **settings)


def test_fine_tuning_takes_the_shape(corpus, shared):
    """Forbids a run that begins with a model, and has to be told its shape, now or when it is
    resumed."""
    given = checkpoint(shared / 'ckpt.pt')
    for resume in (False, True):
        train.train(Config(dataset='toy', init_from=str(shared), out_dir=str(corpus / 'a'),
                           max_steps=0, dtype='float32', resume=resume))
        last = checkpoint(corpus / 'a' / 'last.pt')
        assert last['model_config'] == {**given['model_config'], 'dropout': 0.0}
        for name in train.SHAPE:
            assert last['train_config'][name] == given['train_config'][name]


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_committed_configs_train(corpus, path):
    """Forbids a committed config that train.py refuses, that repeats a default, or whose settings
    do not go together; at toy size."""
    config = configure(Config, [str(path)])
    for place, name, value in read_config(str(path)):
        assert getattr(Config, name) != value or name == 'dataset' or 'mymidi' in place
    assert config.out_dir.startswith('out')
    another(corpus)
    out_dir = corpus / path.stem
    train.train(replace(config, dataset='toy', extra=config.extra and 'other', init_from='',
                        out_dir=str(out_dir), n_layer=1, n_embd=32, context=32, batch_size=2,
                        max_steps=1, dtype='float32'))
    assert checkpoint(out_dir / 'last.pt')['progress']['step'] == 1


# ------------------------------------------------------------------------------- several corpora

def test_extra_corpora_fade_out(corpus, drawn):
    """Forbids an extra corpus that is never drawn, that fades otherwise than it was told, or that
    is validated on."""
    another(corpus)
    last = run(corpus, 'a', max_steps=4, extra='other', fading=1.5)
    asked = [given[:2] for _, given in drawn]
    assert {corpora[1]['name'] for corpora, _ in asked} == {'other'}
    assert [shares for _, shares in asked] == [[1.0, pytest.approx((1 - step / 4) ** 1.5)]
                                               for step in range(4)]
    row = rows_of(corpus / 'a', 'bits_toy')[0]
    assert 'bits_other' not in row and last['train_config']['extra'] == 'other'


@pytest.mark.parametrize('names', [{'dataset': 'toy,other'}, {'extra': 'other'}])
def test_held_out_pieces_stay_held_out(corpus, names):
    """Forbids training on a piece that another corpus of the same run holds out."""
    pieces = load_corpus('toy')['pieces']
    another(corpus, trained_on=pieces['val'])
    with pytest.raises(ValueError, match='held out in another corpus'):
        run(corpus, 'a', max_steps=1, **names)


# ---------------------------------------------------------------------------------- the optimizers

def test_muon_is_the_published_one():
    """Forbids a Muon of our own invention: the same steps as PyTorch's, whose precision is
    bfloat16, on matrices of every shape, stacked or alone. (PyTorch's are (outputs, inputs).)"""
    torch.manual_seed(0)
    shapes = [(8, 24), (8, 24), (24, 8), (16, 16)]
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    begun = [p.detach().clone() for p in ours]
    theirs = [torch.nn.Parameter(p.T.clone()) for p in begun]
    optimizers = [Muon(ours, weight_decay=0.1), torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1)]
    for _ in range(5):
        for a, b in zip(ours, theirs):
            a.grad = torch.randn(a.shape)
            b.grad = a.grad.T.clone()
        for optimizer in optimizers:
            optimizer.step()
    for a, b, before in zip(ours, theirs, begun):
        assert (a - b.T).norm() < 0.02 * (b.T - before).norm(), a.shape


def test_every_parameter_has_an_optimizer():
    """Forbids a parameter, a new one among them, that no optimizer has, or two have."""
    model = Transformer(ModelConfig(20, 32, 2, 2, 32))
    model.new_table = torch.nn.Parameter(torch.zeros(4, 4))
    muon, adam = [[p for group in optimizer.param_groups for p in group['params']]
                  for optimizer in make_optimizers(model, 0.0, torch.float32)]
    assert sorted(map(id, muon + adam)) == sorted(map(id, model.parameters()))
    assert sorted(map(id, muon)) == sorted(map(id, model.blocks.parameters()))


# -------------------------------------------------------------------------- batches and validation

# a listener that tells nine numbers of an id, from which it can be guessed
TOLD = {'clock': 1, 'to_bar': 1, 'to_end': 1, 'match': 1, 'home': 1, 'voices': 1,
        'recalled': 1, 'parallel': 1, 'held': 1}
COLUMNS = columns_of_told(TOLD)


def told_of(ids: np.ndarray) -> np.ndarray:
    """(..., W) of each of the ids (...)."""
    told = [ids, ids % 4 + 1, ids % 5 + 1, ids % 3, ids + 1, ids + 2, ids + 3, 0 * ids, ids + 4]
    return np.stack(told, axis=-1)


def counting(first: int, end: int) -> dict:
    """A corpus of ids that count up."""
    ids = np.arange(first, end)
    return {'train': ids, 'train_told': told_of(ids), 'shape_of_told': {'columns': TOLD}}


def test_batches():
    """Forbids targets that are not the next ids, a crop over the edge of a corpus, a corpus or
    transposition that is never drawn, one transposition for a whole batch, told rows of other ids
    or in another key than theirs, and numbers that are no ids and change with the key; and an end
    that is always told or never, in part of a row, or other than it is."""
    table = torch.stack([torch.arange(1400), torch.arange(1400) + 1000])
    x, y, told = get_batch([counting(0, 40), counting(100, 300)], [1.0, 0.5], 2000, 8, table,
                           torch.Generator().manual_seed(0))
    assert x.shape == (2000, 8) and torch.equal(y, x + 1)
    plain = x % 1000
    moved = x - plain
    assert torch.equal(moved, moved[:, :1].expand(-1, 8))
    assert 900 < (moved[:, 0] == 1000).sum() < 1100
    want = torch.tensor(told_of(plain.numpy()))
    want[:, :, COLUMNS['ids']] += moved[..., None]
    end_is_told = told[:, :, COLUMNS['to_end']].flatten(1).any(dim=1)
    want[~end_is_told, :, COLUMNS['to_end']] = 0
    assert torch.equal(told, want)
    assert 900 < end_is_told.sum() < 1100
    starts = plain[:, 0]
    of_first = starts < 100
    assert set(starts.tolist()) == {*range(32), *range(100, 292)}
    assert abs(of_first.float().mean().item() - 32 / (32 + 0.5 * 192)) < 0.03


def test_a_transposed_row_is_told_what_its_listener_would_say():
    """Forbids rows that are moved to another key where what is told of them is not: whole pieces,
    each listened to again in the key where they are."""
    ids, told = movement(4)
    piece = {'train': np.array(ids), 'train_told': told, 'shape_of_told': MUSIC.shape_of_told()}
    x, y, told = get_batch([piece], [1.0], 4, len(ids) - 1, torch.tensor(MUSIC.augment_table()),
                           torch.Generator())
    to_end = columns_of_told(MUSIC.shape_of_told()['columns'])['to_end']
    assert len(set(map(str, x.tolist()))) > 2                    # keys
    for row, last, found in zip(x.tolist(), y[:, -1].tolist(), told):
        want = MUSIC.listen([*row, last])[:-1]
        want[:, to_end] = found[:, to_end]
        assert found.tolist() == want.tolist()


def test_every_id_is_validated_once():
    """Forbids validation on random crops, ids left out or counted twice, losses in another order,
    told rows of other ids, an end that is told, and dropout."""
    torch.manual_seed(0)
    model = Transformer(ModelConfig(MUSIC.vocab_size, 8, 1, 1, 16, dropout=0.5,
                                    **MUSIC.shape_of_told()))
    for name, weights in model.named_parameters():
        if 'proj' not in name:       # its attention adds nothing: it goes by an id and the next
            torch.nn.init.normal_(weights, std=0.3)
    ids, told = movement(0)
    ids = np.array(ids[:300])
    alone = torch.tensor(told[:300])[:, None]
    alone[:, :, columns_of_told(model.config.columns)['to_end']] = 0
    logits = model.eval()(torch.tensor(ids)[:, None], alone)[:-1, 0]
    want = F.cross_entropy(logits, torch.tensor(ids[1:]), reduction='none').tolist()
    model.train()
    for length in (2, 5, 9, 10, 16, 17, 18, 33, 100, 300):
        losses = losses_of(model, ids[:length], told[:length])
        assert losses == pytest.approx(want[:length - 1], abs=1e-4)
    found = validate(model, {'val': ids, 'val_told': told[:300]}, Processes())
    assert found == pytest.approx(np.mean(want), abs=1e-4)
    assert model.training                                        # as it was


def test_validation_gives_half_a_context():
    """Forbids scoring an id after the first context with less than half a context before it."""
    assert find_windows(9, 4) == [(0, 0), (2, 2), (4, 2), (5, 3)]            # as in its docstring
    for context in (2, 5, 16):
        for count in (1, 2, 15, 16, 17, 25, 100):
            for start, first_new in find_windows(count, context):
                assert start == 0 or first_new >= context / 2


# ---------------------------------------------------------------------------- several processes

def in_two_processes(corpus, dies_at=None, **settings) -> tuple[list[int], list[str]]:
    """Train in two processes that are told what torchrun tells them; the second may die at a step.
    How both ended, and what they said."""
    with socket.socket() as free:
        free.bind(('localhost', 0))
        port = free.getsockname()[1]

    def job(rank):
        os.environ |= {'RANK': str(rank), 'LOCAL_RANK': str(rank), 'WORLD_SIZE': '2',
                       'MASTER_ADDR': 'localhost', 'MASTER_PORT': str(port)}

        def or_die(step, config):
            if rank == 1 and step == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return schedule(step, config)
        train.schedule = or_die
        train.main(Config(out_dir=str(corpus / 'two'), **{**SMALL, **settings}))
    files = [corpus / f'said-{rank}' for rank in (0, 1)]
    children = [begin(lambda rank=rank: job(rank), files[rank]) for rank in (0, 1)]
    ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return ended, [file.read_text() for file in files]


@with_fork
def test_two_processes_are_one_with_twice_the_batch(corpus):
    """Forbids two processes that train on the same rows, or on others than one would, gradients
    that are not averaged, weights that drift apart, and a window that two validate, or none."""
    settings = {'max_steps': 6, 'eval_every': 3}
    ended, said = in_two_processes(corpus, **settings, batch_size=2)
    assert ended == [0, 0], said
    assert 'done; best' in said[0] and not said[1]               # one of them speaks
    one = run(corpus, 'one', **settings, batch_size=4)
    two = checkpoint(corpus / 'two' / 'last.pt')
    for name, tensor in one['model'].items():
        assert torch.allclose(tensor, two['model'][name], atol=1e-5), name
    assert one['progress']['best'] == pytest.approx(two['progress']['best'], abs=1e-5)


@with_fork
def test_a_killed_process_ends_the_others(corpus):
    """Forbids a process that waits for ever for one that was killed, or ends without a word."""
    ended, said = in_two_processes(corpus, dies_at=2, max_steps=4)
    assert ended == [1, -signal.SIGKILL], said
    assert 'ValueError: a process of this run has failed, so all end' in said[0]
