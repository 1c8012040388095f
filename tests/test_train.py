"""Training: that it learns, resumes bit for bit, validates the whole split and splits honestly."""

import csv
import json
import math
import os
import shutil
import signal
import socket

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from conftest import ROOT, begin, movement, with_fork
import lib.corpus
from lib.corpus import load_corpus
from lib.heldout import find_windows, losses_of
from lib.machine import Processes
from lib.page import read_curve
from lib.settings import read_config
from lib.tokenizer import columns_of_told
from model import ModelConfig, Transformer
from tokenizer_midi import MidiTokenizer
import train
from lib.log import how_long
from train import (Config, Muon, get_batch, make_optimizers, orthogonalize, schedule,
                   validate)

CONFIGS = sorted((ROOT / 'config').glob('*.py'))
SMALL = {'dataset': 'toy', 'n_layer': 2, 'n_head': 2, 'n_embd': 32, 'context': 32, 'batch_size': 4,
         'dtype': 'float32', 'log_every': 5, 'warmup_steps': 2}


def run(tmp_path, name, **settings):
    train.train(Config(out_dir=str(tmp_path / name), **{**SMALL, **settings}))
    return torch.load(tmp_path / name / 'last.pt', weights_only=True)


def interrupt_at(monkeypatch, step):
    """Press Ctrl-C while the training loop asks for the learning rate of that step."""
    def pressed(now, config):
        if now == step:
            os.kill(os.getpid(), signal.SIGINT)
        return schedule(now, config)
    monkeypatch.setattr(train, 'schedule', pressed)


def test_it_learns(corpus):
    """Forbids targets that are not the next ids, gradients that are lost, steps that go uphill."""
    run(corpus, 'a', max_steps=60, eval_every=60, batch_size=8, dropout=0.0)
    rows = [row for row in csv.DictReader(open(corpus / 'a' / 'log.csv')) if row['bits_toy']]
    before, after = [float(row['bits_toy']) for row in rows]
    assert before > 20 and after < 18                # guessing, and knowing something


def test_rates_are_those_of_the_schedule(corpus, monkeypatch):
    """Forbids a schedule that is computed and not used, rates that are swapped, and a weight decay
    that no optimizer is told."""
    rates = {Muon: [], torch.optim.AdamW: []}
    for kind, found in rates.items():
        def step(optimizer, plain=kind.step, found=found):
            found.append(optimizer.param_groups[0]['lr'])
            assert {group['weight_decay'] for group in optimizer.param_groups} == {0.25}
            return plain(optimizer)
        monkeypatch.setattr(kind, 'step', step)
    config = Config(max_steps=9, warmup_steps=3, muon_lr=0.01, adam_lr=0.002)
    run(corpus, 'a', max_steps=9, warmup_steps=3, muon_lr=0.01, adam_lr=0.002, weight_decay=0.25)
    due = [schedule(number, config) for number in range(9)]
    assert rates[Muon] == pytest.approx([0.01 * rate for rate in due])
    assert rates[torch.optim.AdamW] == pytest.approx([0.002 * rate for rate in due])


def test_the_model_is_told_what_the_batch_says(corpus, monkeypatch):
    """Forbids training on nothing told, or on what was told of other ids."""
    drawn, heard = [], []
    forward = Transformer.forward

    def get(*given):
        drawn.append(get_batch(*given))
        return drawn[-1]

    def overheard(model, ids, told):
        if model.training:
            heard.append((ids, told))
        return forward(model, ids, told)
    monkeypatch.setattr(train, 'get_batch', get)
    monkeypatch.setattr(Transformer, 'forward', overheard)
    run(corpus, 'a', max_steps=3)
    for (x, _, told), (ids, told_to_model) in zip(drawn, heard, strict=True):
        assert torch.equal(x, ids) and torch.equal(told, told_to_model)
        assert told.any()


def test_the_loss_is_that_of_the_next_ids(corpus, monkeypatch):
    """Forbids a loss that is smoothed, weighted or of other ids than the next ones."""
    batches = []

    def overheard(*given):
        batches.append(get_batch(*given))
        return batches[-1]
    monkeypatch.setattr(train, 'get_batch', overheard)
    model = train.train(Config(out_dir=str(corpus / 'a'), **{
        **SMALL, 'max_steps': 3, 'log_every': 1, 'dropout': 0.0, 'muon_lr': 0.0, 'adam_lr': 0.0}))
    rows = [row for row in csv.DictReader(open(corpus / 'a' / 'log.csv')) if row['loss']]
    for (x, y, told), row in zip(batches, rows, strict=True):
        likely = model(x, told).log_softmax(dim=-1)
        assert float(row['loss']) == pytest.approx(-likely.gather(2, y[..., None]).mean().item())


def test_seconds_are_those_of_training(corpus, monkeypatch):
    """Forbids a speed, a time or a promise that counts validation among training, or forgets what
    was trained before one."""
    now = [0.0]

    def passes(seconds, plain):
        def slow(*given):
            now[0] += seconds
            return plain(*given)
        return slow
    monkeypatch.setattr(train.time, 'perf_counter', lambda: now[0])
    monkeypatch.setattr(train, 'schedule', passes(10, schedule))
    monkeypatch.setattr(train, 'validate', passes(1000, validate))
    last = run(corpus, 'a', max_steps=20, eval_every=8)
    assert last['progress']['seconds'] == 200
    rows = [row for row in csv.DictReader(open(corpus / 'a' / 'log.csv')) if row['loss']]
    assert [float(row['seconds']) for row in rows] == [50, 100, 150, 200]
    assert {int(row['tokens_per_second']) for row in rows} == {round(4 * 32 / 10)}


def test_the_seed_counts(corpus, monkeypatch):
    """Forbids a seed that leaves the weights as they are, or the batches; and one batch for all
    steps."""
    drawn = []

    def overheard(*given):
        drawn.append(get_batch(*given))
        return drawn[-1]
    monkeypatch.setattr(train, 'get_batch', overheard)
    begun = [run(corpus, f'{seed}', max_steps=0, seed=seed)['model'] for seed in (1, 2)]
    assert not torch.equal(begun[0]['embedding'], begun[1]['embedding'])
    for seed in (1, 2):
        run(corpus, f'{seed}', max_steps=3, seed=seed, overwrite=True)
    assert len({row for batch in drawn for row in map(str, batch[0].tolist())}) == 2 * 3 * 4


def test_the_best_is_that_of_all_corpora(corpus, monkeypatch):
    """Forbids a best model that is the best of the first corpus alone."""
    shutil.copytree(corpus / 'toy', corpus / 'other')
    bits = {'toy': iter([5.0, 4.0, 3.0]), 'other': iter([5.0, 3.0, 6.0])}
    monkeypatch.setattr(train, 'bits_per_unit', lambda nats, corpus: next(bits[corpus['name']]))
    last = run(corpus, 'a', dataset='toy,other', max_steps=4, eval_every=2)
    assert last['progress']['best_step'] == 2 and last['progress']['best'] == 3.5


@pytest.mark.parametrize('settings', [{'log_every': 2, 'eval_every': 50},
                                      {'log_every': 50, 'eval_every': 2}])
def test_a_loss_that_is_no_number_ends_the_run(corpus, monkeypatch, settings):
    """Forbids hours of training after the weights have burst."""
    monkeypatch.setattr(train, 'schedule', lambda step, config: math.nan if step == 3 else 1.0)
    with pytest.raises(ValueError, match='the loss is nan at step [4-6]:'):
        run(corpus, 'a', max_steps=9, **settings)
    assert torch.load(corpus / 'a' / 'ckpt.pt', weights_only=True)['progress']['step'] <= 3


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_resume_is_exact(corpus, monkeypatch, dtype):
    """Forbids a resume that replays batches, forgets a state, or shifts the schedule: 20 steps are
    9 steps, Ctrl-C, and 11 more, bit for bit, dropout and transposition included; and so is what
    the log says of them."""
    whole = run(corpus, 'whole', max_steps=20, eval_every=8, dtype=dtype)
    interrupt_at(monkeypatch, 8)
    run(corpus, 'parts', max_steps=20, eval_every=8, dtype=dtype)
    half = torch.load(corpus / 'parts' / 'last.pt', weights_only=True)
    assert half['progress']['step'] == 9
    monkeypatch.undo()
    monkeypatch.setattr(lib.corpus, 'DATA', corpus)
    parts = run(corpus, 'parts', max_steps=20, eval_every=8, dtype=dtype, resume=True)
    for name in whole['model']:
        assert torch.equal(whole['model'][name], parts['model'][name]), name
    assert {**whole['progress'], 'seconds': 0} == {**parts['progress'], 'seconds': 0}
    rows = [read_curve(corpus / name / 'log.csv') for name in ('whole', 'parts')]
    for a, b in zip(*rows, strict=True):
        for name in ('step', 'loss', 'bits_toy'):
            assert a.get(name) == b.get(name)


def test_a_killed_run_has_each_step_once(corpus):
    """Forbids a log that is read with steps twice, which a killed run took in vain, a line cut in
    the middle among them; and rows of the steps before that are lost."""
    run(corpus, 'whole', max_steps=20, eval_every=8, log_every=2)
    run(corpus, 'killed', max_steps=16, eval_every=8, log_every=2)
    log = corpus / 'killed' / 'log.csv'
    with open(log, 'a') as file:                             # then it took three more, and a bit
        file.write('18,1.0,0.1,9,1.0,,\n20,1.0,0.1,9,1.0,,\n2')
    run(corpus, 'killed', max_steps=20, eval_every=8, log_every=2, resume=True)
    steps = [[row['step'] for row in read_curve(corpus / name / 'log.csv')]
             for name in ('whole', 'killed')]
    assert steps[0] == steps[1] and steps[0].count(18) == 1


def test_a_run_that_burst_keeps_what_was(corpus, monkeypatch):
    """Forbids Ctrl-C, pressed when the weights are no numbers any more, that saves them over those
    of the last validation."""
    def burst(now, config):
        if now == 8:
            os.kill(os.getpid(), signal.SIGINT)
            return math.nan
        return schedule(now, config)
    monkeypatch.setattr(train, 'schedule', burst)
    with pytest.raises(ValueError, match='no number at step 9'):
        run(corpus, 'a', max_steps=20, eval_every=8)
    assert torch.load(corpus / 'a' / 'last.pt', weights_only=True)['progress']['step'] == 8


def test_a_trained_model_is_not_overwritten(corpus):
    """Forbids a command given twice that throws away what the first one learned."""
    first = run(corpus, 'a', max_steps=4)
    with pytest.raises(ValueError, match='--overwrite'):
        run(corpus, 'a', max_steps=2)
    kept = torch.load(corpus / 'a' / 'last.pt', weights_only=True)
    assert torch.equal(kept['model']['head'], first['model']['head'])
    assert run(corpus, 'a', max_steps=2, overwrite=True)['progress']['step'] == 2


def test_resume_with_other_settings_is_refused(corpus):
    """Forbids a "resume" that silently becomes another run."""
    run(corpus, 'a', max_steps=2)
    for other in ({'n_layer': 3}, {'seed': 2}, {'muon_lr': 0.1}):
        with pytest.raises(ValueError, match=list(other)[0]):
            run(corpus, 'a', max_steps=4, resume=True, **other)
    assert run(corpus, 'a', max_steps=4, resume=True)['progress']['step'] == 4


def test_a_refused_run_leaves_no_folder(corpus):
    """Forbids empty folders that lie about; and one that was there before, that is gone."""
    (corpus / 'mine').mkdir()
    for name in ('new', 'mine'):
        with pytest.raises(ValueError, match='no such checkpoint'):
            run(corpus, name, init_from=str(corpus / 'none'))
    assert not (corpus / 'new').exists() and (corpus / 'mine').exists()


def test_one_batch_is_learned_by_heart(corpus):
    """Forbids a gradient, an optimizer or a target that is wired wrongly."""
    torch.manual_seed(0)
    toy = load_corpus('toy')
    table = torch.arange(toy['vocab_size'])[None]
    x, y, told = get_batch([toy], [1.0], 4, 32, table, torch.Generator().manual_seed(0))
    model = Transformer(ModelConfig(toy['vocab_size'], 32, 2, 2, 64, **toy['shape_of_told']))
    optimizers = make_optimizers(model, 0.0, torch.float32)
    optimizers[1].param_groups[0]['lr'] = 0.01
    for _ in range(60):
        loss = F.cross_entropy(model(x, told).flatten(0, 1), y.flatten())
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert loss.item() < 0.1


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


def test_orthogonalize():
    """Forbids an update in which some direction is served much more than another."""
    torch.manual_seed(0)
    for rows, columns in ((8, 24), (24, 8), (16, 16)):
        matrix = torch.randn(2, rows, columns)
        values = torch.linalg.svdvals(orthogonalize(matrix))
        assert values.max() < 1.3 and values[:, :-2].min() > 0.5
        turned = (orthogonalize(matrix) * matrix).sum(dim=(1, 2)) / matrix.norm(dim=(1, 2))
        assert (turned > 0.5).all()                          # and it still points downhill


def test_every_parameter_is_trained(corpus):
    """Forbids a parameter that no optimizer has, or two have."""
    meta = load_corpus('toy')

    def new():
        torch.manual_seed(1)                         # as train() does, so the same first weights
        return Transformer(ModelConfig(meta['vocab_size'], 32, 2, 2, 32, **meta['shape_of_told']))
    model = new()
    model.new_table = torch.nn.Parameter(torch.zeros(4, 4))
    muon, adam = [[p for group in optimizer.param_groups for p in group['params']]
                  for optimizer in make_optimizers(model, 0.0, torch.float32)]
    assert sorted(map(id, muon + adam)) == sorted(map(id, model.parameters()))
    assert sorted(map(id, muon)) == sorted(map(id, model.blocks.parameters()))
    after = run(corpus, 'a', max_steps=3)['model']
    for name, tensor in new().named_parameters():
        assert not torch.equal(tensor, after[name]), name


# a listener that tells nine numbers of an id, from which it can be guessed
TOLD = {'clock': 1, 'to_bar': 1, 'to_end': 1, 'match': 1, 'home': 1, 'voices': 1,
        'recalled': 1, 'parallel': 1, 'held': 1}
COLUMNS = columns_of_told(TOLD)


def told_of(ids: np.ndarray) -> np.ndarray:
    """(..., W) of each of the ids (...)."""
    told = [ids, ids % 4 + 1, ids % 5 + 1, ids % 3, ids + 1, ids + 2, ids + 3, 0 * ids, ids + 4]
    assert len(told) == sum(TOLD.values())
    return np.stack(told, axis=-1)


def counting(first: int, end: int) -> dict:
    """A corpus of ids that count up."""
    ids = np.arange(first, end)
    return {'train': ids, 'train_told': told_of(ids), 'val': ids, 'val_told': told_of(ids),
            'shape_of_told': {'columns': TOLD}}


def test_batches():
    """Forbids targets that are not the next ids, a crop over the edge of a corpus, a corpus or
    transposition that is never drawn, one transposition for a whole batch, told rows of other ids
    or in another key than theirs, and numbers that are no ids and change with the key."""
    corpora = [counting(0, 40), counting(100, 300)]
    table = torch.stack([torch.arange(1400), torch.arange(1400) + 1000])
    seen = []
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        x, y, told = get_batch(corpora, [1.0, 1.0], 16, 8, table, generator)
        assert torch.equal(x[:, 1:], y[:, :-1]) and (y - x == 1).all()
        assert x.shape == (16, 8)
        seen.append(x)
        assert len(set((x[:, 0] >= 1000).tolist())) == 2
        want = torch.tensor(told_of((x % 1000).numpy()))
        want[:, :, COLUMNS['ids']] += (x - x % 1000)[..., None]
        to_end = COLUMNS['to_end']
        want[:, :, to_end] = told[:, :, to_end]                  # see the next test
        assert torch.equal(told, want)
    starts = torch.cat(seen)[:, 0] % 1000
    assert starts.min() == 0 and ((starts < 32) | (starts >= 100)).all() and starts.max() == 291
    share = (starts < 100).float().mean().item()
    assert abs(share - 32 / 224) < 0.06


def test_the_end_is_told_in_half_of_the_rows():
    """Forbids an end that is always told or never, in part of a row, or other than it is."""
    table = torch.arange(400)[None]
    x, _, told = get_batch([counting(0, 300)], [1.0], 1000, 8, table, torch.Generator())
    whole = torch.tensor(told_of(x.numpy()))
    found, whole = told[:, :, COLUMNS['to_end']], whole[:, :, COLUMNS['to_end']]
    is_told = found.flatten(1).any(dim=1)
    assert torch.equal(found[is_told], whole[is_told])
    assert 420 < is_told.sum() < 580


def test_a_transposed_row_is_told_what_its_listener_would_say():
    """Forbids rows that are moved to another key where what is told of them is not: whole pieces,
    each listened to again in the key where they are."""
    tokenizer = MidiTokenizer()
    ids, told = movement(4)
    piece = {'train': np.array(ids), 'train_told': told,
             'shape_of_told': tokenizer.shape_of_told()}
    x, y, told = get_batch([piece], [1.0], 6, len(ids) - 1,
                           torch.tensor(tokenizer.augment_table()), torch.Generator())
    to_end = columns_of_told(tokenizer.shape_of_told()['columns'])['to_end']
    assert len(set(map(str, x.tolist()))) > 2                    # keys
    for row, last, found in zip(x.tolist(), y[:, -1].tolist(), told):
        want = tokenizer.listen([*row, last])[:-1]
        want[:, to_end] = found[:, to_end]
        assert found.tolist() == want.tolist()


def test_extra_corpora_fade_out(corpus, monkeypatch):
    """Forbids an extra corpus that is never drawn, that is drawn to the end, that fades otherwise
    than it was told, that is validated on, or whose training part holds what is held out of the
    others."""
    shutil.copytree(corpus / 'toy', corpus / 'other')
    meta = json.loads((corpus / 'other' / 'meta.json').read_text())
    meta['pieces'] = {'train': [{'name': 'x', 'units': 1, 'fingerprint': 'x'}], 'val': []}
    meta['tokens']['train'] = 20_000
    (corpus / 'other' / 'meta.json').write_text(json.dumps(meta))
    columns = load_corpus('toy')['train_told'].shape[1]
    np.zeros((20_000, columns), np.uint16).tofile(corpus / 'other' / 'train_told.bin')
    ids = np.full(20_000, 300, np.uint16)                    # one id, to tell
    ids[-1] = meta['end']
    ids.tofile(corpus / 'other' / 'train.bin')
    shares, told = [], []

    def drawn(corpora, weights, *rest):
        told.append(weights)
        batch = get_batch(corpora, weights, *rest)
        shares.append((batch[0] == batch[0][:, :1]).all(dim=1).float().mean().item())
        return batch
    monkeypatch.setattr(train, 'get_batch', drawn)
    last = run(corpus, 'a', max_steps=30, batch_size=32, extra='other', fading=1.5)
    assert told == [[1.0, pytest.approx((1 - step / 30) ** 1.5)] for step in range(30)]
    assert len(shares) == 30 and np.mean(shares[:5]) > 0.6
    assert np.mean(shares[:5]) > np.mean(shares[10:20]) > np.mean(shares[25:]) and shares[-1] < 0.4
    rows = list(csv.DictReader(open(corpus / 'a' / 'log.csv')))
    assert 'bits_toy' in rows[0] and 'bits_other' not in rows[0]
    assert last['train_config']['extra'] == 'other'
    toy = json.loads((corpus / 'toy' / 'meta.json').read_text())
    meta['pieces']['train'] = toy['pieces']['val']
    (corpus / 'other' / 'meta.json').write_text(json.dumps(meta))
    with pytest.raises(ValueError, match='held out'):
        run(corpus, 'b', max_steps=2, extra='other')


def test_processes_share_one_batch():
    """Forbids two processes that train on the same rows, or on others than one process would."""
    table = torch.stack([torch.arange(400), torch.arange(400) + 1, torch.arange(400) + 2])

    def batch(rows, *process):
        return get_batch([counting(0, 300)], [1.0], rows, 8, table,
                         torch.Generator().manual_seed(5), *process)
    whole = batch(6)
    parts = [batch(2, rank, 3) for rank in range(3)]
    for tensor, *in_parts in zip(whole, *parts):     # ids, next ids, told
        assert torch.equal(tensor, torch.cat(in_parts))


class Pairs(torch.nn.Linear):
    """A model whose loss depends on an id and the next one alone."""

    def __init__(self, context):
        super().__init__(1, 1)
        self.config = ModelConfig(300, context, columns=TOLD)
        self.table = torch.randn(300, 300, generator=torch.Generator().manual_seed(0))

    def forward(self, ids, told):
        want = torch.tensor(told_of(ids.numpy()))
        want[:, :, COLUMNS['to_end']] = 0
        assert torch.equal(told, want)               # that of these ids, but for the end
        assert not self.training
        return self.table[ids]


def test_processes_share_validation():
    """Forbids a window that two processes validate, or none."""
    ids = counting(0, 200)
    whole = losses_of(Pairs(16), ids['val'], ids['val_told'])
    parts = [losses_of(Pairs(16), ids['val'], ids['val_told'], rank, 3) for rank in range(3)]
    assert len(set(whole)) == 199 and all(len(part) for part in parts)
    assert sorted(np.concatenate(parts)) == pytest.approx(sorted(whole))


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
    """Forbids gradients that are not averaged over the processes, weights that drift apart, and a
    validation that leaves out what the other one did: two end where one ends."""
    settings = {'max_steps': 12, 'eval_every': 6, 'dropout': 0.0}
    ended, said = in_two_processes(corpus, **settings, batch_size=2)
    assert ended == [0, 0], said
    assert 'done; best' in said[0] and not said[1]               # one of them speaks
    one = run(corpus, 'one', **settings, batch_size=4)
    two = torch.load(corpus / 'two' / 'last.pt', weights_only=True)
    for name, tensor in one['model'].items():
        assert torch.allclose(tensor, two['model'][name], atol=1e-5), name
    assert one['progress']['best'] == pytest.approx(two['progress']['best'], abs=1e-5)


@with_fork
def test_a_killed_process_ends_the_others(corpus):
    """Forbids a process that waits for ever for one that was killed, or ends without a word."""
    ended, said = in_two_processes(corpus, dies_at=7, max_steps=12)
    assert ended == [1, -signal.SIGKILL], said
    assert 'ValueError: a process of this run has failed, so all end' in said[0]


def test_it_says_how_long_it_takes():
    """Forbids a promise that leaves validation out, or advice that would not make it fit."""
    config = Config(max_steps=2000, eval_every=50)
    assert how_long(config, 1990, 0.1, 2.0) == 'about 5 minutes from here on this machine'
    assert '--max_steps' not in how_long(config, 1990, 0.25, 2.0)
    slow = how_long(config, 1990, 1.0, 10.0)
    assert 'about 40 minutes' in slow and '--max_steps=500' in slow
    assert 'less than a minute' in how_long(config, 10, 0.01, 0.1)


def test_every_id_is_validated_once():
    """Forbids validation on random crops, ids left out or counted twice, losses in another order,
    told rows of other ids, a wish that is told, and dropout."""
    model = Pairs(8)
    for length in (2, 5, 9, 10, 16, 17, 18, 33, 100, 299):
        ids = torch.randint(300, (length,), generator=torch.Generator().manual_seed(length)).numpy()
        want = F.cross_entropy(model.table[torch.tensor(ids[:-1])], torch.tensor(ids[1:]),
                               reduction='none').numpy()
        assert losses_of(model, ids, told_of(ids)) == pytest.approx(want, abs=1e-5)
        found = validate(model, {'val': ids, 'val_told': told_of(ids)}, Processes())
        assert found == pytest.approx(want.mean(), abs=1e-5)
        assert model.training                                # as it was


def test_validation_gives_half_a_context():
    """Forbids scoring an id after the first context with less than half a context before it."""
    assert find_windows(9, 4) == [(0, 0), (2, 2), (4, 2), (5, 3)]            # as in its docstring
    for context in (2, 5, 16):
        for count in (1, 2, 15, 16, 17, 25, 100):
            scored = []
            for start, first_new in find_windows(count, context):
                end = min(count, start + context)
                scored += range(start + first_new, end)
                assert start == 0 or first_new >= context // 2
            assert scored == list(range(count))


def test_schedule():
    """Forbids a warm-up from nothing, a peak that is missed, a decay that does not end at 0."""
    config = Config(max_steps=100, warmup_steps=10)
    rates = [schedule(step, config) for step in range(101)]
    assert rates[0] == 0.1 and max(rates) > 0.9 and rates[100] == 0
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)


def test_checkpoints_and_log(corpus):
    """Forbids a run that ends without a file, a `best` that is not, a log without its figures."""
    last = run(corpus, 'a', max_steps=7, eval_every=3)
    step, evaluated, best, best_step, *_ = last['progress'].values()
    rows = list(csv.DictReader(open(corpus / 'a' / 'log.csv')))
    bits = {int(row['step']): float(row['bits_toy']) for row in rows if row['bits_toy']}
    assert step == evaluated == 7 and set(bits) == {0, 3, 6, 7}
    assert best == pytest.approx(min(bits.values())) and bits[best_step] == pytest.approx(best)
    saved = torch.load(corpus / 'a' / 'ckpt.pt', weights_only=True)
    assert saved['progress']['step'] == best_step and saved['tokenizer']['kind'] == 'midi'
    nats = {int(row['step']): float(row['nats_toy']) for row in rows if row['nats_toy']}
    meta = load_corpus('toy')
    assert bits[7] == pytest.approx(nats[7] * (len(meta['val']) - 1) / math.log(2)
                                    / meta['units']['val'])


def test_it_stops_when_validation_gets_worse(corpus, capsys):
    """Forbids hours of overfitting: patience counts validations without a better one."""
    last = run(corpus, 'a', max_steps=400, eval_every=2, patience=2, muon_lr=0.0, adam_lr=0.0)
    assert last['progress']['step'] == 4 and 'no longer better' in capsys.readouterr().out


@pytest.mark.parametrize('settings, says', [
    ({'context': 100_000}, 'lower --context'), ({'dataset': 'none'}, 'python prepare.py none'),
    ({'dtype': 'int8'}, 'float32, bfloat16'), ({'device': 'tpu'}, 'auto, cpu, cuda, mps'),
    ({'init_from': 'none'}, 'no such checkpoint'),
    ({'n_head': 3}, 'divisible by 2 . n_head')])
def test_clear_errors(corpus, settings, says):
    """Forbids a traceback from deep inside for a setting that cannot be."""
    with pytest.raises(ValueError, match=says) as error:
        run(corpus, 'a', max_steps=1, **settings)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_committed_configs_train(corpus, path):
    """Forbids a committed config with a setting that there is not, or settings that do not go
    together; at toy size."""
    settings = {name: value for _, name, value in read_config(str(path))}
    toy = {'dataset': 'toy', 'init_from': '', 'n_layer': 1, 'n_embd': 32, 'context': 32,
           'batch_size': 2, 'max_steps': 2, 'dtype': 'float32'}
    assert settings.keys() >= {'dataset', 'out_dir'}
    settings.pop('out_dir')
    if 'extra' in settings:
        shutil.copytree(corpus / 'toy', corpus / 'other')
        toy['extra'] = 'other'
        meta = json.loads((corpus / 'other' / 'meta.json').read_text())
        meta['pieces'] = {'train': [], 'val': []}
        (corpus / 'other' / 'meta.json').write_text(json.dumps(meta))
    assert run(corpus, path.stem, **{**settings, **toy})['progress']['step'] == 2


def test_held_out_pieces_stay_held_out(corpus):
    """Forbids training on a piece that another corpus of the same run holds out."""
    meta = json.loads((corpus / 'toy' / 'meta.json').read_text())
    assert not ({p['fingerprint'] for p in meta['pieces']['train']} &
                {p['fingerprint'] for p in meta['pieces']['val']})
    other = corpus / 'other'
    shutil.copytree(corpus / 'toy', other)
    meta['pieces'] = {'train': meta['pieces']['val'], 'val': meta['pieces']['train']}
    (other / 'meta.json').write_text(json.dumps(meta))
    with pytest.raises(ValueError, match='held out in another corpus'):
        run(corpus, 'a', max_steps=1, dataset='toy,other')


def test_fine_tuning_starts_from_the_weights(corpus):
    """Forbids an init_from that starts anew, takes the step count along, or begins with the last
    weights, which may be overfitted; and a model whose ids mean something else."""
    first = run(corpus, 'a', max_steps=30, eval_every=10)
    (corpus / 'a' / 'last.pt').unlink()                      # it begins with the best, ckpt.pt
    run(corpus, 'b', max_steps=1, init_from=str(corpus / 'a'), adam_lr=0.0, muon_lr=0.0)
    rows = list(csv.DictReader(open(corpus / 'b' / 'log.csv')))
    assert float(rows[0]['bits_toy']) == pytest.approx(first['progress']['best'], abs=1e-6)
    meta = json.loads((corpus / 'toy' / 'meta.json').read_text())
    meta['tokenizer']['velocity'] = True
    (corpus / 'toy' / 'meta.json').write_text(json.dumps(meta))
    with pytest.raises(ValueError, match='cannot go on with data/toy: only one has velocities'):
        run(corpus, 'c', max_steps=1, init_from=str(corpus / 'a'))
