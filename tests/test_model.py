"""The transformer: what it sees, what a cache must not change, what is drawn, how it is saved."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from model import (FADE, SPAN, Cache, LookBack, ModelConfig, State, Transformer, attend, carry_on,
                   draw, head_frequencies, load, rotate, save, traces_of)


def tiny(context=16, **config) -> Transformer:
    """A small model whose zero-initialised matrices are random, so that all of it takes part. Of
    its 11 ids, 1 to 3 press switches, 4 to 6 let them go, and 7 to 9 move the clock."""
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
    now = model.follow(ids, state)
    return model.embed(ids, now, traces_of(now))[0]


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


def test_dropout():
    """Forbids a dropout that is absent, drops another share than it is told, or goes on when the
    model composes."""
    model = Transformer(ModelConfig(50, 64, dropout=0.3))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    dropped = []
    for block in model.blocks:
        block.dropout.register_forward_hook(
            lambda module, inputs, output: dropped.append((output == 0).float().mean().item()))
    ids = torch.randint(50, (4, 64))
    assert not torch.equal(model(ids), model(ids))
    assert len(dropped) == 2 * 2 * len(model.blocks)                  # attention's and the MLP's
    assert all(abs(share - 0.3) < 0.02 for share in dropped)
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
    """Forbids written-out attention that is not PyTorch's, sees what comes later, or takes its
    queries for the first positions where they are the last."""
    q, k, v = torch.randn(3, 2, 4, 7, 8)                                          # (B, H, S, D)
    want = F.scaled_dot_product_attention(q, k, v, is_causal=True)[:, :, -T:]
    assert torch.allclose(attend(q[:, :, -T:], k, v), want, atol=1e-6)


def test_bfloat16_computes_alike():
    """Forbids a precision that fails with a cache, or that computes something else."""
    model, ids = tiny(), torch.randint(1, 10, (2, 8))
    want = model(ids)
    model.dtype = torch.bfloat16
    cache = Cache(model, 2)
    halves = torch.cat((model(ids[:, :5], cache), model(ids[:, 5:], cache)), dim=1)
    for logits in (model(ids), halves):
        assert (logits - want).abs().max() < 0.05 * want.abs().max()


def test_half_of_the_heads_measure_by_the_clock():
    """Forbids heads that all count ids, or all read the clock, or a clock that counts anything but
    what its table says."""
    model = tiny()
    waiting, pressing = torch.tensor([[8, 9, 8]]), torch.tensor([[1, 2, 8]])
    for ids, time in ((waiting, [6, 30, 36]), (pressing, [0, 0, 6])):
        clock = model.follow(ids, model.beginning(1)).clock
        assert clock.tolist() == [time]
        angles = model.angles(clock, start=5)                                     # (1, 3, 2, 8)
        by_ids, by_clock = model.frequencies[0, 0], model.frequencies[1, 1]
        assert torch.allclose(angles[0, :, 0], torch.tensor([5., 6, 7])[:, None] * by_ids)
        assert torch.allclose(angles[0, :, 1], torch.tensor(time)[:, None] * by_clock)
    assert by_ids[4] == 1
    assert 2 * math.pi / by_clock[4] == pytest.approx(6)
    assert 2 * math.pi / by_clock[7] == pytest.approx(6144)


def test_the_keys_that_are_down():
    """Forbids a key that stays down after its off, is not seen at once, or is seen twice when two
    ids hold it."""
    model = tiny()
    now = model.follow(torch.tensor([[1, 3, 1, 4, 0, 4]]), model.beginning(1))
    want = [[1, 0, 0], [1, 0, 1], [2, 0, 1], [1, 0, 1], [1, 0, 1], [0, 0, 1]]
    assert now.keys[0].tolist() == want
    on = traces_of(now)[0, :, 0]
    assert on.tolist() == [[min(1, count) for count in row] for row in want]
    only(model, model.keyboard.by_name)
    name = model.keyboard.by_name
    rows = [name[0], name[0] + name[2], name[0] + name[2], name[0] + name[2], name[0] + name[2],
            name[2]]
    assert torch.allclose(embed(model, [1, 3, 1, 4, 0, 4]), layer_norm(rows), atol=1e-4)


def test_when_a_key_was_pressed_and_where_the_hand_is():
    """Forbids a time that an off or a wait changes, and a hand that follows only one of on and off,
    or moves with an id that turns nothing."""
    model = tiny()
    now = model.follow(torch.tensor([[9, 2, 8, 5, 0, 1, 9, 1]]), model.beginning(1))
    never = -math.inf
    assert now.hand[0].tolist() == [-1, 1, 1, 1, 1, 0, 0, 0]
    assert now.pressed[0].T.tolist() == [[never] * 5 + [30, 30, 54], [never] + [24] * 7,
                                         [never] * 8]
    recent = traces_of(now)[0, :, 1]
    assert recent[0].tolist() == [0, 0, 0]
    assert recent[-1].tolist() == pytest.approx([1, math.exp(-30 / FADE), 0])
    assert carry_on(torch.tensor([[-1, 5, -1, -1, 0, -1]])).tolist() == [[-1, 5, 5, 5, 0, 0]]


def test_what_the_hand_sees():
    """Forbids a view that depends on where the hand is and not on what lies around it, that swaps
    up and down, or that sees something when no key was touched."""
    model = tiny()
    only(model, model.keyboard.from_hand)
    on, recent = model.keyboard.from_hand.unflatten(0, (2, 2 * SPAN + 1))        # (W, C) each
    itself, below, third_below = SPAN, SPAN - 1, SPAN - 2
    faded = math.exp(-6 / FADE)
    rows = embed(model, [7, 1, 2, 3])
    assert torch.allclose(rows[0], torch.zeros(16))
    assert torch.allclose(rows[1:], layer_norm(
        [on[itself] + recent[itself],
         on[itself] + on[below] + recent[itself] + recent[below],
         on[itself] + on[below] + on[third_below] +
         recent[itself] + recent[below] + recent[third_below]]), atol=1e-4)
    let_go = embed(model, [1, 2, 8, 5])[-1]
    assert torch.allclose(let_go, layer_norm(
        [on[below] + faded * (recent[itself] + recent[below])])[0], atol=1e-4)
    assert torch.allclose(embed(model, [1, 2, 5]), embed(model, [2, 3, 6]), atol=1e-4)


def test_which_key_is_let_go():
    """Forbids spectra that give anything but the sum that the docstring writes out, that wrap round
    the ends of the keyboard, and a word about ids that let nothing go."""
    torch.manual_seed(0)
    model = tiny()
    for K in (3, 31, 128):
        traces, x = torch.rand(2, 5, 2, K), torch.randn(2, 5, 16)
        kernel = model.keyboard.from_each(x).unflatten(-1, (2, -1))              # (B, T, 2, W)
        want = torch.zeros(2, 5, K)
        for k in range(K):
            for other in range(max(0, k - SPAN), min(K, k + SPAN + 1)):
                want[..., k] += (traces[..., other] * kernel[..., SPAN + other - k]).sum(-1)
        assert torch.allclose(model.keyboard.turn_off(x, traces), want, atol=1e-4)
    ids = torch.tensor([[1, 2, 8, 3, 9]])
    before = model(ids)
    torch.nn.init.zeros_(model.keyboard.from_each.weight)
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
    only(model, model.arrival.weight, model.embedding.weight)    # after no block x is the input
    ids = torch.tensor([[8, 7, 0, 9, 7]])                        # 6, 7, 7, 31, 32 by the clock
    scores = layer_norm([model.embedding.weight[id] for id in ids[0]]) @ model.arrival.weight.T
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
    x, (three, two, one) = torch.randn(2, 6, 8), look_back.shares
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
        assert torch.equal(state.clock[:, None] - state.pressed,
                           last.clock[:, None] - last.pressed)
        for name in ('keys', 'hand', 'end'):
            assert torch.equal(getattr(state, name), getattr(last, name)), name


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
            model.generate(ids, temperature, grammar=guard), range(20))])
        assert set(drawn.flatten().tolist()) <= {3, 7}
        assert guard.told[:20] == drawn.tolist()
        assert guard.refused.sum() > 0 or temperature == 0


def test_draw():
    """Forbids a division by temperature 0, a top_k or top_p that cuts too much or too little."""
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().repeat(4000, 1)
    generator = torch.Generator().manual_seed(0)

    def shares(**kind):
        kind = {'temperature': 1.0, 'top_k': 0, 'top_p': 1.0, **kind}
        return draw(logits, **kind, generator=generator).bincount(minlength=4) / 4000
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
    with pytest.raises(ValueError, match='must be|no even'):
        ModelConfig(vocab_size=10, **wrong)


def test_save_and_load(tmp_path):
    """Forbids a checkpoint that gives back another model."""
    model, path = tiny(), tmp_path / 'a.pt'
    save(path, {'model': model.state_dict(), 'model_config': model.config.__dict__, 'step': 3})
    again, checkpoint = load(path)
    ids = torch.randint(11, (1, 16))
    assert torch.equal(model(ids), again.eval()(ids)) and checkpoint['step'] == 3
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


@pytest.mark.parametrize('content', [b'', b'no checkpoint', b'PK\x03\x04 cut off', None, 'foreign',
                                     'older', 'list'])
def test_foreign_files_are_refused(tmp_path, content):
    """Forbids a traceback, or code run from a pickle, for a file that is no checkpoint of ours."""
    path = tmp_path / 'a.pt'
    if content == 'foreign':
        torch.save({'model': {'wte': torch.zeros(2)}, 'iter_num': 3}, path)
    elif content == 'list':
        torch.save([1, 2], path)
    elif content == 'older':
        model = tiny()
        save(path, {'model': model.state_dict(), 'model_config': model.config.__dict__,
                    'format': 1})
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match='checkpoint') as error:
        load(path)
    assert '\n' not in str(error.value)
