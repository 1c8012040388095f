"""The transformer: what it sees, what a cache must not change, what is drawn, how it is saved."""

import math
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import model as model_module
from conftest import checkpoint_of
from model import (Cache, LookBack, ModelConfig, State, Transformer, attend, attend_fast, draw,
                   draw_by_grammar, head_frequencies, let_go, load, rotate, save)


def tiny(context=16, **config) -> Transformer:
    """A small model whose zero-initialised matrices are random, so that all of it takes part. Of
    its 11 ids, 1 to 3 press keys, 4 to 6 let them go, and 7 to 9 move the clock."""
    torch.manual_seed(0)
    clock = [0, 0, 0, 0, 0, 0, 0, 1, 6, 24, 0]
    keys = torch.zeros(11, 3)
    keys[1:4], keys[4:7] = torch.eye(3), -torch.eye(3)
    config = ModelConfig(11, context, 2, 2, 16, n_keys=3, beat=4, **config)
    model = Transformer(config, {'clock': clock, 'keys': keys}).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return model


def only(model, *kept):
    """Set every parameter to 0 but those."""
    for p in model.parameters():
        if all(p is not one for one in kept):
            torch.nn.init.zeros_(p)


def embed(model, ids: list) -> torch.Tensor:
    """What the first block reads (T, C) of a piece that begins with ids."""
    return read(model, torch.tensor([ids]), model.beginning(1))


def read(model, ids, state) -> torch.Tensor:
    """... of ids (1, T) that come after `state`."""
    return model.embed(ids, model.tell(model.follow(ids, state)))[0]


def layer_norm(rows: list) -> torch.Tensor:
    return F.layer_norm(torch.stack(rows), (16,))


def test_no_look_ahead():
    """Forbids a position that sees what comes after it."""
    model, ids = tiny(), torch.randint(11, (2, 16))
    before = model(ids)
    for t in range(1, 16):
        changed = ids.clone()
        changed[:, t] = (changed[:, t] + 1) % 11
        after = model(changed)
        assert torch.equal(after[:, :t], before[:, :t])
        assert not torch.allclose(after[:, t], before[:, t])


def test_first_loss_is_ln_v():
    """Forbids an initialisation that prefers some ids: all should be equally likely."""
    model = Transformer(ModelConfig(50, 16))
    loss = F.cross_entropy(model(torch.randint(50, (4, 16))).flatten(0, 1),
                           torch.randint(50, (64,)))
    assert abs(loss.item() - math.log(50)) < 0.3


@pytest.mark.parametrize('text', [False, True])
def test_every_weight_is_trained(text):
    """Forbids a weight that is to be trained and that no loss reaches: several processes would stop
    there."""
    model = Transformer(ModelConfig(11, 16, 2, 2, 16)) if text else tiny()
    logits = model(torch.randint(11, (2, 16))).flatten(0, 1)
    F.cross_entropy(logits, torch.zeros(32).long()).backward()
    for name, weight in model.named_parameters():
        assert (weight.grad is not None) == weight.requires_grad, name
    assert text or all(weight.requires_grad for weight in model.parameters())


def test_dropout(monkeypatch):
    """Forbids a dropout that is absent, drops another share than it is told, other channels from
    one position to the next, or goes on when the model composes."""
    model = Transformer(ModelConfig(50, 64, dropout=0.3))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    dropped = []

    def overheard(y, drop):
        out = drop(y)
        kept = out != 0
        assert torch.equal(kept, kept[:, :1].expand_as(kept))         # alike at all positions
        assert torch.allclose(out[kept], y[kept] / (0.7 if model.training else 1))
        dropped.append((~kept).float().mean().item())
        return out
    for block in model.blocks:
        monkeypatch.setattr(block, 'drop', partial(overheard, drop=block.drop))
    ids = torch.randint(50, (64, 64))
    assert not torch.equal(model(ids), model(ids))
    assert len(dropped) == 2 * 2 * len(model.blocks)                  # attention's and the MLP's
    assert all(abs(share - 0.3) < 0.03 for share in dropped)
    model.eval()
    assert torch.equal(model(ids), model(ids))
    assert not any(dropped[-4 * len(model.blocks):])


def test_only_distances_matter():
    """Forbids angles that depend on where a stretch stands: shifted alike, query . key stays."""
    frequencies = head_frequencies(n_head=2, head_size=8).sum(dim=0).double()     # (H, D)
    q, k = torch.randn(2, 2, 8).double()

    def dot(time, distance):
        now, then = time * frequencies, (time - distance) * frequencies
        return (rotate(q, now.cos(), now.sin()) * rotate(k, then.cos(), then.sin())).sum(-1)
    assert torch.allclose(dot(7, 7), dot(39, 7), atol=1e-4)
    assert not torch.allclose(dot(7, 7), dot(7, 2), atol=1e-3)


@pytest.mark.parametrize('T', [1, 3, 7])
def test_attention_written_out(T):
    """Forbids written-out attention, or a fast one, that is not what its docstring says, sees what
    comes later, or takes its queries for the first positions where they are the last."""
    q, k, v = torch.randn(3, 2, 4, 7, 8)                                          # (B, H, S, D)
    want = torch.zeros(2, 4, T, 8)
    for t in range(T):
        seen = 7 - T + t + 1
        match = (q[:, :, seen - 1, None] * k[:, :, :seen]).sum(-1) / math.sqrt(8)
        want[:, :, t] = (match.softmax(-1)[..., None] * v[:, :, :seen]).sum(-2)
    assert torch.allclose(attend(q[:, :, -T:], k, v), want, atol=1e-6)
    assert torch.allclose(attend_fast(q[:, :, -T:], k, v), want, atol=1e-6)
    rounded = attend_fast(q[:, :, -T:].bfloat16(), k.bfloat16(), v.bfloat16())    # in two halves
    assert torch.allclose(rounded.float(), want, atol=0.05)


def test_bfloat16_computes_alike():
    """Forbids a precision that fails with a cache, or that computes something else."""
    model, ids = tiny(), torch.randint(1, 10, (2, 8))
    want = model(ids)
    model.dtype = torch.bfloat16
    cache = Cache(model, 2)
    parts = [model(part, cache) for part in ids.split((4, 3, 1), dim=1)]
    for logits in (model(ids), torch.cat(parts, dim=1)):
        assert (logits - want).abs().max() < 0.05 * want.abs().max()


def test_half_of_the_heads_measure_by_the_clock():
    """Forbids heads that all count ids, or all read the clock, or a clock that counts anything but
    what its table says."""
    model = tiny()
    waiting, pressing = torch.tensor([[8, 9, 8]]), torch.tensor([[1, 2, 8]])
    for ids, time in ((waiting, [6, 30, 36]), (pressing, [0, 0, 6])):
        clock = model.follow(ids, model.beginning(1)).clock
        assert clock.tolist() == [time]
        angles = [angle[0, :, 0] for angle in model.angles(clock, start=5)]       # (3, 2, 8) each
        (by_ids, _), (_, by_clock) = head_frequencies(n_head=2, head_size=8)
        for angle, function in zip(angles, (torch.cos, torch.sin)):
            counted = function(torch.tensor([5., 6, 7])[:, None] * by_ids)
            timed = function(torch.tensor(time)[:, None] * by_clock)
            assert torch.allclose(angle[:, 0], counted, atol=1e-5)
            assert torch.allclose(angle[:, 1], timed, atol=1e-5)
    assert by_ids[4] == 1
    assert 2 * math.pi / by_clock[4] == pytest.approx(6)
    assert 2 * math.pi / by_clock[7] == pytest.approx(6144)


def test_the_keys_that_are_down():
    """Forbids a key that stays down after its off, is not seen at once, or is seen twice when two
    ids hold it."""
    model = tiny()
    now = model.follow(torch.tensor([[1, 3, 1, 4, 0, 4]]), model.beginning(1))
    want = [[1, 0, 0], [1, 0, 1], [2, 0, 1], [1, 0, 1], [1, 0, 1], [0, 0, 1]]
    assert now.down[0].tolist() == want
    held = model.held
    only(model, held)
    both = held[0] + held[2]
    rows = [held[0], both, both, both, both, held[2]]
    assert torch.allclose(embed(model, [1, 3, 1, 4, 0, 4]), layer_norm(rows), atol=1e-4)


def test_which_key_is_let_go():
    """Forbids scores that are anything but the sum that the docstring writes out, of many positions
    or of one, and a word about ids that let nothing go."""
    torch.manual_seed(0)
    for K in (3, 31, 128):
        down = (torch.rand(2, 5, K) < 0.3).float()
        kernel = torch.randn(2, 5, K)
        want = torch.zeros(2, 5, K)
        for k in range(K):
            for d in range(K):
                want[..., k] += down[..., (k + d) % K] * kernel[..., d]
        assert torch.allclose(let_go(kernel, down), want, atol=1e-4)
        for t in range(5):                                                       # one by one
            one = slice(t, t + 1)
            assert torch.allclose(let_go(kernel[:, one], down[:, one]), want[:, one], atol=1e-4)
    model = tiny()
    ids = torch.tensor([[1, 2, 8, 3, 9]])
    before = model(ids)
    torch.nn.init.zeros_(model.head[:, -model.config.n_keys:])       # the kernel
    changed = (before - model(ids)).abs().amax(dim=(0, 1)) > 1e-3
    assert changed.tolist() == [4 <= id <= 6 for id in range(11)]


def test_the_place_in_the_beat():
    """Forbids a beat that is lost when the window begins in the middle of it, or that is of another
    length than the config says."""
    model = tiny()
    only(model, model.place)
    ids = torch.tensor([[7, 8, 7, 0, 9, 7]])                     # 1, 7, 8, 8, 32, 33 by the clock
    places = F.layer_norm(model.place, (16,))[[1, 3, 0, 0, 0, 1]]
    assert torch.allclose(embed(model, ids[0].tolist()), places, atol=1e-4)
    for cut in range(1, 6):
        state = model.state_after(ids[:, :cut])
        after = read(model, ids[:, cut:], state)
        assert torch.allclose(after, places[cut:], atol=1e-4)


def test_where_an_id_would_lead():
    """Forbids a word about a place in the beat that is not the one where the id would lead, and a
    beat that counts from where the window begins."""
    model = tiny()
    only(model, model.head, model.embedding)                     # after no block x is the input
    arrival = model.head[:, 11:-model.config.n_keys]
    torch.nn.init.zeros_(model.head[:, :11])
    torch.nn.init.zeros_(model.head[:, -model.config.n_keys:])
    ids = torch.tensor([[8, 7, 0, 9, 7]])                        # 6, 7, 7, 31, 32 by the clock
    scores = layer_norm([model.embedding[id] for id in ids[0]]) @ arrival
    steps = [0, 0, 0, 0, 0, 0, 0, 1, 6, 24, 0]                   # the clock of tiny()
    logits = model(ids)[0]
    for t, now in enumerate((6, 7, 7, 31, 32)):
        want = torch.stack([scores[t, (now + step) % 4] for step in steps])
        assert torch.allclose(logits[t], want, atol=1e-3)
    state = model.state_after(ids[:, :2])
    assert torch.allclose(model(ids[:, 2:], state=state)[0], logits[2:], atol=1e-4)


def test_the_first_half_looks_back():
    """Forbids blocks that never look back, or all of them."""
    for layers, looking in ((1, 1), (2, 1), (3, 2), (6, 3)):
        model = Transformer(ModelConfig(11, n_layer=layers, n_head=2, n_embd=8))
        assert sum(isinstance(part, LookBack) for part in model.modules()) == 2 * looking


def test_the_look_back():
    """Forbids a look back at what comes later, at other positions than the three before, or, with
    a cache, at less than without."""
    look_back = LookBack(ModelConfig(11, n_embd=8))
    torch.nn.init.normal_(look_back.shares)
    x, (three, two, one) = torch.randn(2, 6, 8), look_back.shares[0]
    before = torch.cat((torch.zeros(2, 3, 8), x), dim=1)
    want = x + one * before[:, 2:-1] + two * before[:, 1:-2] + three * before[:, :-3]
    assert torch.allclose(look_back(x), want, atol=1e-5)
    cache = Cache(tiny(), 2)
    pieces = [look_back(piece, cache) for piece in x.split([1, 1, 4], dim=1)]
    assert torch.allclose(torch.cat(pieces, dim=1), want, atol=1e-5)


def test_the_end_that_is_told():
    """Forbids a wished length that is ignored or given up when its time is over, and a training
    window that tells the end of one piece to the next."""
    model, ids = tiny(), torch.tensor([[9, 9, 9]])               # each moves the clock by 24
    model.blocks = torch.nn.ModuleList()

    def logits(end, training=False):
        model.train(training)
        return model(ids, state=model.beginning(1)._replace(end=torch.tensor([end])))[0]
    untold, over = logits(math.inf), logits(48.0)
    assert not torch.allclose(over[0], untold[0], atol=1e-3)     # 24 left
    assert not torch.allclose(over[1], over[0], atol=1e-3)       # none left
    assert torch.allclose(over[2], logits(72.0)[2])              # over, and the wish stands
    assert torch.allclose(logits(48.0, training=True)[2], untold[2])
    assert torch.allclose(logits(48.0, training=True)[:2], over[:2])
    model = tiny()
    rows = []
    for length in (None, torch.tensor([30.0]), torch.tensor([3000.0])):
        generator = torch.Generator().manual_seed(0)
        drawn = model.generate(ids, length=length, generator=generator)
        rows.append([id.item() for id, _ in zip(drawn, range(40))])
    assert rows[0] != rows[1] != rows[2] != rows[0]


def test_the_state_goes_on_where_the_window_begins():
    """Forbids a window that has forgotten what the ids before it pressed and which came last. A
    model without blocks sees nothing else of them, so it must not notice the cut."""
    model = tiny(context=40)
    model.blocks = torch.nn.ModuleList()
    ids = torch.randint(11, (3, 40))
    ids[:, :6] = torch.tensor([1, 2, 3, 1, 2, 3])      # all are down: no key is let go too often
    ids[(ids > 3) & (ids < 7) & (torch.arange(40) > 9)] = 0
    beginning = model.beginning(3)._replace(end=torch.tensor([math.inf, 70, 300]))
    whole = model(ids, state=beginning)
    assert not torch.allclose(model(ids)[1:], whole[1:], atol=1e-3)      # the end that was told
    for cut in (6, 20, 39):
        state = model.state_after(ids[:, 3:cut], model.state_after(ids[:, :3], beginning))
        assert torch.allclose(model(ids[:, cut:], state=state), whole[:, cut:], atol=1e-5)
        assert not torch.allclose(model(ids[:, cut:]), whole[:, cut:], atol=1e-3)


def test_the_state_is_the_last_of_those_that_follow():
    """Forbids a short cut to the state after ids that ends anywhere else than going step by step,
    and times that do not count from the beat before the next window."""
    model, beginning = tiny(), tiny().beginning(2)
    ids = torch.tensor([[0, 2, 8, 5, 1, 9, 3, 1, 7], [9, 9, 0, 8, 7, 9, 0, 8, 9]])
    for cut in (1, 4, 8):
        state = model.state_after(ids[:, cut:], model.state_after(ids[:, :cut], beginning))
        last = State(*(after_each[:, -1] for after_each in model.follow(ids, beginning)))
        assert torch.equal(state.clock, last.clock % 4)          # the beat of this model
        assert torch.equal(state.down, last.down)
        assert torch.equal(state.end - state.clock, last.end - last.clock)


@pytest.mark.parametrize('cuts', [(1,) * 16, (16,), (5, 1, 7, 3)])
def test_cache_equals_plain_path(cuts):
    """Forbids a cache that changes what the model says, read one by one or in stretches."""
    model, ids = tiny(), torch.randint(11, (3, 16))
    cache, parts = Cache(model, 3), []
    for part in ids.split(cuts, dim=1):
        parts.append(model(part, cache))
    assert torch.allclose(torch.cat(parts, dim=1), model(ids), atol=1e-5)


@pytest.mark.parametrize('context', [2, 3, 16])
@pytest.mark.parametrize('prompt', [1, 10, 40])
def test_generation_cached_equals_plain_past_the_context(context, prompt):
    """Forbids a cache that goes wrong, or a crash, when the context is full, and long prompts."""
    model, ids = tiny(context), torch.randint(11, (2, prompt))
    draws = [torch.stack([id for id, _ in zip(model.generate(
        ids, length=torch.tensor([500., 90]), generator=torch.Generator().manual_seed(3),
        cached=cached), range(60))])
        for cached in (True, False)]
    assert torch.equal(*draws)


def test_a_new_window_knows_what_came_before(monkeypatch):
    """Forbids a generation that has forgotten, when it begins a new window, which keys are down,
    where the beat is or when the piece is to end."""
    model, heard, row = tiny(), [], torch.tensor([[1, 8, 2, 7]])
    forward = model.forward

    def overheard(window, state):
        heard.append((row.size(1) - window.size(1), state))
        return forward(window, state=state)
    monkeypatch.setattr(model, 'forward', overheard)
    no_offs = Guard(torch.tensor([[id not in (4, 5, 6) for id in range(11)]]))
    told = {'length': torch.tensor([500.]), 'grammar': no_offs}
    for id, _ in zip(model.generate(row, cached=False, **told), range(60)):
        row = torch.cat((row, id[:, None]), dim=1)
    beginning = model.beginning(1)._replace(end=told['length'])
    assert {before > 0 for before, _ in heard} == {False, True}
    for before, state in heard:
        for found, due in zip(state, model.state_after(row[:, :before], beginning)):
            assert torch.equal(found, due)


def test_full_context_is_an_error_not_garbage():
    """Forbids running past the table of positions without a word."""
    with pytest.raises(ValueError, match='17 ids, more than the context of 16'):
        tiny()(torch.zeros(1, 17, dtype=torch.long))


def test_generation_is_reproducible_by_seed():
    """Forbids draws that depend on the global random state, and two seeds that draw alike."""
    model, ids = tiny(), torch.zeros(1, 1, dtype=torch.long)

    def row(seed):
        torch.rand(seed)
        generator = torch.Generator().manual_seed(seed)
        return [id.item() for id, _ in zip(model.generate(ids, generator=generator), range(30))]
    assert row(1) == row(1) != row(2)


def test_rows_stop_one_by_one():
    """Forbids a row that talks on after its stop id, and a generation that never ends."""
    model, ids = tiny(), torch.zeros(8, 1, dtype=torch.long)
    drawn = model.generate(ids, stop=4, generator=torch.Generator().manual_seed(0))
    rows = torch.stack(list(drawn))
    for row in rows.T.tolist():
        assert 4 in row and set(row[row.index(4):]) == {4}
    assert (rows[-2] != 4).any()


class Guard:
    """A grammar that allows the same ids at every position, and writes down what it is told."""

    def __init__(self, mask):
        self.mask, self.told, self.refused = mask, [], torch.zeros(len(mask))

    def allowed(self):
        return self.mask

    def refuse(self, rows):
        self.refused += torch.tensor(rows)

    def advance(self, ids):
        self.told.append(ids)


def test_the_grammar_is_obeyed():
    """Forbids drawing an id that the grammar forbids, at any temperature, and a grammar that is not
    told of every draw."""
    model, ids = tiny(), torch.zeros(4, 1, dtype=torch.long)
    mask = torch.zeros(4, 11, dtype=torch.bool)
    mask[:, 3], mask[:, 7] = True, True
    for temperature in (0, 1, 100):
        guard = Guard(mask)
        drawn = torch.stack([id for id, _ in zip(
            model.generate(ids, grammar=guard, temperature=temperature), range(20))])
        assert set(drawn.flatten().tolist()) <= {3, 7}
        assert guard.told[:20] == drawn.tolist()
        assert guard.refused.sum() > 0 or temperature == 0


def test_a_second_draw_is_like_the_first():
    """Forbids a draw among what is allowed at another temperature, or from another generator."""
    logits = torch.tensor([[9.0, 0.3, 0.2, 0.1]]).repeat(50, 1)
    guard = Guard(torch.tensor([[False, True, True, True]]).repeat(50, 1))
    done = torch.zeros(50, dtype=torch.bool)
    assert set(draw_by_grammar(logits, guard, done, temperature=0).tolist()) == {1}
    assert set(draw_by_grammar(logits, guard, done, top_k=2).tolist()) == {1, 2}
    draws = [draw_by_grammar(logits, guard, done, generator=torch.Generator().manual_seed(seed))
             for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_every_layer_reads_what_is_normed(monkeypatch):
    """Forbids a block, or a head, whose norm is missing: what is added up grows from block to
    block."""
    model, ids, linear = tiny(), torch.randint(11, (2, 16)), model_module.linear
    read = []
    readers = [model.head] + [layer for block in model.blocks
                              for layer in (block.attention.qkv, block.mlp.up)]

    def overheard(x, weights):
        if any(weights is reader for reader in readers):
            read.append(x)
        return linear(x, weights)
    monkeypatch.setattr(model_module, 'linear', overheard)
    model(ids)
    assert len(read) == len(readers) == 5
    for x in read:
        assert torch.allclose(x.mean(dim=-1), torch.tensor(0.0), atol=1e-3)
        assert torch.allclose(x.var(dim=-1, correction=0), torch.tensor(1.0), atol=1e-2)


def test_draw():
    """Forbids a division by temperature 0, a top_k or top_p that cuts too much or too little, or
    other ids than the unlikeliest."""
    logits = torch.tensor([[0.15, 0.5, 0.05, 0.3]]).log().repeat(4000, 1)
    generator = torch.Generator().manual_seed(0)

    def shares(**kind):
        kind = {'temperature': 1.0, 'top_k': 0, 'top_p': 1.0, **kind}
        found = draw(logits, **kind, generator=generator).bincount(minlength=4) / 4000
        return found[[1, 3, 0, 2]]                               # the likeliest first
    assert torch.allclose(shares(), torch.tensor([0.5, 0.3, 0.15, 0.05]), atol=0.03)
    assert shares(temperature=0).tolist() == [1, 0, 0, 0]
    assert torch.allclose(shares(top_k=2), torch.tensor([0.625, 0.375, 0, 0]), atol=0.03)
    assert torch.allclose(shares(top_p=0.8), torch.tensor([0.625, 0.375, 0, 0]), atol=0.03)
    assert (shares(top_p=0.81) > 0).tolist() == [True, True, True, False]
    assert shares(top_p=1e-9).tolist() == [1, 0, 0, 0]
    assert (shares(min_p=0.29) > 0).tolist() == [True, True, True, False]
    assert (shares(min_p=0.31) > 0).tolist() == [True, True, False, False]
    assert shares(min_p=1.0).tolist() == [1, 0, 0, 0]
    assert shares(temperature=0.5)[0] > 0.6 > 0.4 > shares(temperature=4.0)[0]
    for wrong in ({'temperature': -1}, {'top_k': -1}, {'top_p': 0}, {'top_p': 1.1},
                  {'min_p': -0.1}, {'min_p': 1.1}):
        with pytest.raises(ValueError, match='must be'):
            shares(**wrong)


@pytest.mark.parametrize('wrong', [{'n_head': 3}, {'n_layer': 0}, {'dropout': 1.0}, {'context': 1},
                                   {'n_embd': 12, 'n_head': 4}])
def test_impossible_shapes_are_refused(wrong):
    """Forbids a traceback from deep inside for a shape that cannot be."""
    with pytest.raises(ValueError, match='must be'):
        ModelConfig(vocab_size=10, **wrong)


def test_save_and_load(tmp_path):
    """Forbids a checkpoint that gives back another model."""
    model, path = tiny(), tmp_path / 'a.pt'
    save(path, checkpoint_of(model, {'kind': 'none'}))
    again, checkpoint = load(path)
    ids = torch.randint(11, (1, 16))
    assert torch.equal(model(ids), again.eval()(ids)) and checkpoint['tokenizer']['kind'] == 'none'
    assert [file.name for file in tmp_path.iterdir()] == ['a.pt']


def test_a_killed_save_leaves_the_old_checkpoint(tmp_path):
    """Forbids a checkpoint lost because the machine went down while the next one was written."""
    path = tmp_path / 'a.pt'
    save(path, {'step': 1})
    code = f'''import os, torch, model
real = os.fsync
os.fsync = lambda fd: os._exit(9)         # dies when all is written but nothing renamed
model.save({str(path)!r}, {{'step': 2, 'weights': torch.zeros(100_000)}})'''
    died = subprocess.run([sys.executable, '-c', code], cwd=Path(__file__).parent.parent)
    assert died.returncode == 9 and torch.load(path, weights_only=True) == {'step': 1}


class Malicious:
    """Code that a pickle would run when it is read."""

    def __reduce__(self):
        return exec, ('raise SystemExit("code of the file was run")',)


def damage(kind: str, path):
    """Write a checkpoint to `path` in which one thing is wrong."""
    model = tiny()
    whole = checkpoint_of(model, {'kind': 'none'})
    save(path, whole)
    content = bytearray(path.read_bytes())
    if kind == 'empty':
        path.write_bytes(b'')
    elif kind == 'text':
        path.write_text('no checkpoint')
    elif kind == 'cut':
        path.write_bytes(content[:len(content) // 2])
    elif kind == 'flipped':
        weights = model.head.detach().numpy().tobytes()
        content[content.index(weights) + 100] ^= 1
        path.write_bytes(content)
    elif kind == 'foreign':
        torch.save({'model': {'wte': torch.zeros(2)}, 'iter_num': 3}, path)
    elif kind == 'a list':
        torch.save([1, 2], path)
    elif kind == 'malicious':
        torch.save(whole | {'progress': Malicious()}, path)
    elif kind == 'older':
        save(path, whole | {'format': 1})
    elif kind == 'not finite':
        model.head.data[0, 0] = math.nan
        save(path, checkpoint_of(model, {'kind': 'none'}))
    elif kind.startswith('no '):
        del whole[kind.removeprefix('no ')]
        save(path, whole)
    elif kind.startswith('other '):
        save(path, whole | {kind.removeprefix('other '): 5})
    elif kind == 'wider':
        whole['model_config'] = {**whole['model_config'], 'n_embd': 32}
        save(path, whole)
    elif kind == 'missing':
        path.unlink()


@pytest.mark.parametrize('kind, says', [
    ('empty', 'damaged, or not'), ('text', 'damaged, or not'), ('cut', 'damaged, or not'),
    ('flipped', 'a checksum is wrong'), ('foreign', 'format None'), ('a list', 'no dictionary'),
    ('malicious', 'damaged, or not'), ('older', 'format 1, and this version reads'),
    ('not finite', 'train again'), ('no model', 'model is missing'),
    ('no tokenizer', 'tokenizer is missing'), ('no progress', 'progress is missing'),
    ('no optimizers', 'optimizers is missing'), ('other tokenizer', 'tokenizer is missing'),
    ('other train_config', 'train_config is missing'), ('wider', 'damaged, or not'),
    ('missing', 'train a model first')])
def test_damaged_checkpoints_are_refused(tmp_path, kind, says):
    """Forbids a traceback, garbage from damaged weights, or code run from a pickle, for a file that
    is no whole checkpoint of this version."""
    damage(kind, tmp_path / 'a.pt')
    with pytest.raises(ValueError) as error:
        load(tmp_path / 'a.pt')
    assert says in str(error.value) and '\n' not in str(error.value)
    assert str(error.value).startswith(str(tmp_path / 'a.pt'))
