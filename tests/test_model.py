"""The transformer: what it sees, what a cache must not change, what is drawn, how it is saved."""

import math
import re
from itertools import islice

import pytest
import torch
import torch.nn.functional as F

from conftest import checkpoint_of, movement
from lib.heldout import stack
from lib.tokenizer import columns_of_told
import model as model_module
from model import (LONGEST, SHORTEST, Cache, ModelConfig, Transformer, attend, attend_fast, draw,
                   load, save)
from tokenizer_bpe import BPETokenizer
from tokenizer_midi import MidiTokenizer

MUSIC, TEXT = MidiTokenizer(), BPETokenizer()


def tiny(context=16, tokenizer=MUSIC) -> Transformer:
    """A small model of a tokenizer, in which no weight is 0, so that all of it takes part."""
    torch.manual_seed(0)
    shape = tokenizer.shape_of_told() if tokenizer else {}
    vocab_size = tokenizer.vocab_size if tokenizer else 11
    return at_random(Transformer(ModelConfig(vocab_size, context, 2, 2, 16, **shape)))


def at_random(model) -> Transformer:
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def by_kind(told: torch.Tensor, model) -> dict[str, torch.Tensor]:
    """What is told (B, T, W), taken apart: name -> (B, T, how many)."""
    columns = columns_of_told(model.config.columns)
    return {name: told[:, :, columns[name]] for name in model.config.columns}


def music(rows: int, length: int, begin: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Stretches of movements of the Goldberg, ids (B, T), and what is told after each (B, T, W)."""
    stretch = slice(begin, begin + length)
    pieces = [movement(number) for number in range(rows)]
    ids = torch.tensor([ids[stretch] for ids, _ in pieces])
    return ids, stack([told[stretch] for _, told in pieces])


def text(rows: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids of which some come again, and what a listener to text says of them."""
    ids = torch.randint(5, (rows, length), generator=torch.Generator().manual_seed(0))
    return ids, stack([TEXT.listen(row) for row in ids.tolist()])


# ------------------------------------------------------------------------------ what it computes

def test_no_look_ahead():
    """Forbids a position that sees an id, or what was told, that comes after it."""
    model = tiny()
    ids, told = music(2, 16)
    other_ids, other_told = music(2, 16, begin=340)
    before = model(ids, told)
    for t in range(1, 16):
        after = model(torch.cat((ids[:, :t], other_ids[:, t:]), dim=1),
                      torch.cat((told[:, :t], other_told[:, t:]), dim=1))
        assert torch.equal(after[:, :t], before[:, :t])
        assert not torch.allclose(after[:, t], before[:, t])


@pytest.mark.parametrize('tokenizer, given', [(MUSIC, music(4, 16)), (TEXT, text(4, 16))])
def test_first_loss_is_ln_v(tokenizer, given):
    """Forbids an initialisation that prefers some ids: all should be about equally likely."""
    torch.manual_seed(0)
    V = tokenizer.vocab_size
    model = Transformer(ModelConfig(V, 16, **tokenizer.shape_of_told()))
    loss = F.cross_entropy(model(*given).flatten(0, 1), torch.randint(V, (64,)))
    assert abs(loss.item() - math.log(V)) < 0.3


@pytest.mark.parametrize('tokenizer, given', [(MUSIC, music(4, 256)), (TEXT, text(4, 256)),
                                              (None, None)])
def test_every_weight_is_trained(tokenizer, given):
    """Forbids a weight that no loss reaches: several processes would stop there."""
    model = tiny(256, tokenizer)
    ids, told = given or (torch.arange(10)[None], torch.arange(10)[None, :, None])
    F.cross_entropy(model(ids, told)[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.any() or tokenizer != MUSIC, name     # of text, some is never told


def test_dropout():
    """Forbids a dropout that is absent, drops another share than it is told, or goes on when the
    model composes."""
    ids, told = music(8, 64)
    model = at_random(Transformer(ModelConfig(MUSIC.vocab_size, 64, 2, 2, 64, dropout=0.3,
                                              **MUSIC.shape_of_told())))
    dropped = []
    for block in model.blocks:
        block.dropout.register_forward_hook(
            lambda module, given, out: dropped.append((out == 0).float().mean().item()))
    assert torch.equal(model(ids, told), model(ids, told)) and not any(dropped)
    model.train()
    dropped.clear()
    assert not torch.equal(model(ids, told), model(ids, told))
    assert len(dropped) == 2 * 2 * len(model.blocks)             # attention's and the MLP's
    assert all(abs(share - 0.3) < 0.03 for share in dropped)


def test_shifting_the_clock_changes_nothing():
    """Forbids angles that depend on where a stretch stands, also where the clock begins again, and
    a model that hears less than how long ago each id was."""
    model = tiny(64)
    ids, told = music(2, 64)

    def logits(clock):
        moved = told.clone()
        by_kind(moved, model)['clock'][:] = clock % LONGEST          # (a view of it)
        return model(ids, moved)
    clock = by_kind(told, model)['clock'].clone()
    for shift in (1, 1200, LONGEST - clock.max(), LONGEST):
        assert torch.allclose(logits(clock + shift), logits(clock), atol=1e-4)
    other = clock + 24 * torch.arange(64)[:, None]
    assert not torch.allclose(logits(other), logits(clock), atol=1e-2)


@pytest.mark.parametrize('T', [1, 3, 7])
def test_attention_written_out(T):
    """Forbids written-out attention, or a fast one, that is not what its docstring says, sees what
    comes later, or takes its queries for the first positions where they are the last. `generate`
    asks for all positions at once or for the last one alone."""
    q, k, v = torch.randn(3, 2, 4, 7, 8)                                          # (B, H, S, D)
    q = q[:, :, -T:]
    want = torch.zeros(2, 4, T, 8)
    for t in range(T):
        seen = 7 - T + t + 1
        match = (q[:, :, t, None] * k[:, :, :seen]).sum(-1) / math.sqrt(8)
        want[:, :, t] = (match.softmax(-1)[..., None] * v[:, :, :seen]).sum(-2)
    assert torch.allclose(attend(q, k, v), want, atol=1e-6)
    if T != 3:
        assert torch.allclose(attend_fast(q, k, v), want, atol=1e-6)


def test_the_model_of_written_out_attention():
    """Forbids a model whose attention does more, or less, than the one that is to be read: also of
    a context in which a window of 64 would be noticed."""
    model = tiny(160)
    ids, told = music(2, 160)
    fast = model(ids, told)
    for block in model.blocks:
        block.attention.attend = attend
    assert torch.allclose(model(ids, told), fast, atol=1e-4)


@pytest.mark.parametrize('n_head, n_by_ids', [(1, 1), (2, 1), (3, 2), (4, 2)])
def test_half_of_the_heads_measure_by_the_clock(n_head, n_by_ids):
    """Forbids heads that all count ids, or all read the clock, or a clock that is anything but what
    is told; and other wavelengths than those that are promised."""
    model = Transformer(ModelConfig(11, 16, 1, n_head, 8 * n_head))
    times = torch.tensor([0, 6, 30])
    by_ids = torch.tensor([5., 6, 7])[:, None] * 10000 ** (-torch.arange(4) / 4)
    cos_and_sin = model.cos_and_sin(times[None, :, None], start=5)   # (1, H, 3, 4) each
    for angle, function in zip(cos_and_sin, (torch.cos, torch.sin)):
        for head in range(n_by_ids):
            assert torch.allclose(angle[0, head], function(by_ids), atol=1e-5)
        for head in range(n_by_ids, n_head):
            longest, shortest = angle[0, head, :, 0], angle[0, head, :, -1]
            assert torch.allclose(longest, function(2 * torch.pi * times / LONGEST), atol=1e-5)
            assert torch.allclose(shortest, function(2 * torch.pi * times / SHORTEST), atol=1e-5)


def test_every_layer_reads_what_is_normed(monkeypatch):
    """Forbids a block, or a head, whose norm is missing: what is added up grows from block to
    block."""
    model, linear = tiny(), model_module.linear
    read = []
    readers = [model.head, model.release_interval, model.trust]
    readers += [layer for block in model.blocks for layer in (block.attention.qkv, block.mlp.up)]

    def overheard(x, weights):
        if any(weights is reader for reader in readers):
            read.append(x)
        return linear(x, weights)
    monkeypatch.setattr(model_module, 'linear', overheard)
    model(*music(2, 16))
    assert len(read) == len(readers) == 7
    for x in read:
        assert torch.allclose(x.mean(dim=-1), torch.tensor(0.0), atol=1e-3)
        assert torch.allclose(x.var(dim=-1, correction=0), torch.tensor(1.0), atol=1e-2)


def test_full_context_is_an_error_not_garbage():
    """Forbids running past the table of positions without a word."""
    with pytest.raises(ValueError, match='17 ids, more than the context of 16'):
        tiny()(*music(1, 17))


@pytest.mark.parametrize('wrong', [{'n_head': 3}, {'n_layer': 0}, {'dropout': 1.0}, {'context': 1},
                                   {'n_embd': 12, 'n_head': 4}])
def test_impossible_shapes_are_refused(wrong):
    """Forbids a traceback from deep inside for a shape that cannot be."""
    with pytest.raises(ValueError, match='must be'):
        ModelConfig(vocab_size=10, **wrong)


# ------------------------------------------------------------------------------- what it is told

def test_what_is_told_is_read():
    """Forbids an input in which something told is missing, or is looked up in the table of
    something else or of another number of its kind."""
    model = tiny()
    ids, told = music(3, 16)
    config = model.config
    given = by_kind(told, model)
    want = torch.zeros(3, 16, 16)
    for b in range(3):
        for t in range(16):
            kinds = {name: numbers[b, t].tolist() for name, numbers in given.items()}
            rows = [model.embedding[ids[b, t]]]
            rows += [model.to_bar_table[steps] for steps in kinds['to_bar']]
            rows += [model.to_end_table[level] for level in kinds['to_end']]
            for number, match in enumerate(kinds['match']):
                rows.append(model.match_table[number * config.matches + match])
            for number, id in enumerate(kinds['recalled']):
                rows.append(model.recalled_table[number * config.vocab_size + id])
            rows += [model.told_table[id] for id in kinds['home'] + kinds['voices'] + kinds['held']]
            want[b, t] = torch.stack(rows).sum(0)
    assert given['match'].any()
    read = {kind: given[kind] for kind in given if kind not in ('clock', 'parallel')}
    assert torch.allclose(model.embed(ids, **read), F.layer_norm(want, (16,)), atol=1e-4)


def test_the_row_in_the_docstring():
    """Forbids an example that is not true: ids of other words than it says, or another order."""
    example = Transformer.__doc__.split('360 releases B4, 344 G3.')[1].split('For text')[0]
    kinds = dict(re.findall(r'([a-z_]+)((?:\s+\d+)+)', example))
    found = {kind: len(numbers.split()) for kind, numbers in kinds.items()}
    assert found == MUSIC.shape_of_told()['columns']
    ids = (kinds['home'] + kinds['voices'] + kinds['recalled'] + kinds['held']).split()
    words = [MUSIC.words[int(id)] for id in ids if id != '0']
    assert words == [('home', (7, 'major')), ('voices', 3), ('on', 72), ('on', 73), ('off', 71),
                     ('off', 55), ('off', 71)]


def scores_of(model, x, kinds) -> torch.Tensor:
    """The logits (V,) at one position, where the last block has left x (C,), word by word."""
    x = F.layer_norm(x, (16,))
    scores = x @ model.head
    for number, id in enumerate(kinds['recalled']):
        if id:
            match = kinds['match'][number // 3]
            trust = model.trust_by_match[number, match] + x @ model.trust[:, number]
            scores[id] += 10 * trust
    for id in kinds['parallel']:
        if id:
            scores[id] += 10 * model.parallel_score[0]
    sounding = [id - MUSIC.off.start for id in kinds['held'] if id]
    interval = x @ model.release_interval
    for held in sounding:                            # how far do other keys lie above it?
        for key in sounding:
            scores[MUSIC.off.start + key] += interval[(key - held) % 128]
        for key in range(128):
            scores[MUSIC.on.start + key] += 10 * model.press_interval[(key - held) % 128]
    degrees = x @ model.degree_score
    for id in kinds['home']:
        if id:
            tonic, mode = MUSIC.words[id][1]
            for key in range(128):
                degree = (key - tonic) % 12 + (12 if mode == 'minor' else 0)
                scores[MUSIC.on.start + key] += degrees[degree]
    return scores


@pytest.mark.parametrize('tokenizer, given', [(MUSIC, music(3, 16)), (TEXT, text(3, 16))])
@torch.no_grad()
def test_words_that_are_told_and_no_others_gain(tokenizer, given):
    """Forbids a gain of another size or of another word than is told; for 0, which fills what is
    not told; for a key by any but its intervals to all that are held, up or down, and its degree in
    a home key that is known; and one that is lost where a word is told twice."""
    model = tiny(16, tokenizer)
    ids, told = given[0], given[1].clone()
    kinds = by_kind(told, model)                                     # (views of it)
    for name in ('recalled', 'match'):                              # one word, again and again
        kinds[name][1] = kinds[name][1, :, :1].clone()
    if tokenizer.is_music:
        kinds['home'][0, 8:] = 0
        kinds['home'][1, :8] = MUSIC.ids['home', (0, 'major')]
        kinds['home'][1, 8:12] = MUSIC.ids['home', (0, 'minor')]
        kinds['home'][1, 12:] = MUSIC.ids['home', (11, 'minor')]
        kinds['held'][2, 8:, :3] = MUSIC.off.start + torch.tensor([60, 0, 127])
        kinds['parallel'][2, :8] = MUSIC.on.start + 60
    read = []
    model.blocks[-1].register_forward_hook(lambda block, given, x: read.append(x))
    found = model(ids, told)
    assert kinds['match'].any() and not kinds['recalled'].all()
    for b in range(3):
        for t in range(16):
            here = {name: numbers[b, t].tolist() for name, numbers in kinds.items()}
            want = scores_of(model, read[0][b, t], here)
            assert torch.allclose(found[b, t], want, atol=1e-3), (b, t)


@torch.no_grad()
def test_stronger_scores():
    """Forbids a factor that counts more or less than it says, or for other ids; and one that makes
    it likelier to press than to release: then what is recalled comes before other voices have let
    go of their keys."""
    model = tiny()
    _, told = music(3, 16)
    x = torch.randn(3, 16, 16)
    kinds = by_kind(told, model)
    learned = model.score(x, told)
    parts = model.score_parts(x, told)
    doubled = model.add_up(*parts, home_scale=2, recall=2, parallels=2)
    want = torch.zeros_like(learned)
    want[:, :, MUSIC.on] += model.score_degrees(x, kinds['home'])
    want.scatter_add_(2, kinds['recalled'],
                      model.score_recalled(x, kinds['match'], kinds['recalled']))
    want.scatter_add_(2, kinds['parallel'], 10 * model.parallel_score * (kinds['parallel'] > 0))
    assert torch.allclose(doubled - learned, want, atol=1e-4) and (kinds['parallel'] > 0).any()

    stronger = model.score_stronger(x, told, home_scale=2, recall=2, parallels=2)
    p, was, alone = (logits.softmax(-1) for logits in (stronger, learned, doubled))
    press, release = p[:, :, MUSIC.on].sum(-1), p[:, :, MUSIC.off].sum(-1)
    odds = was[:, :, MUSIC.on].sum(-1) / was[:, :, MUSIC.off].sum(-1)
    assert torch.allclose(press / release, odds, rtol=1e-3)
    assert not torch.allclose(press, was[:, :, MUSIC.on].sum(-1), rtol=0.1)
    for keys, all_keys in ((MUSIC.on, press), (MUSIC.off, release)):     # which of them: as doubled
        share, wanted = p[:, :, keys] / all_keys[..., None], alone[:, :, keys]
        assert torch.allclose(share, wanted / wanted.sum(-1, keepdim=True), atol=1e-4)


# ----------------------------------------------------------------- with a cache, and drawing on

@pytest.mark.parametrize('dtype, near', [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_cache_and_precision_compute_alike(dtype, near):
    """Forbids a cache, or a precision, that changes what the model says: some ids at once, the
    others one by one."""
    model = tiny()
    ids, told = music(3, 16)
    want = model(ids, told)
    model.dtype = dtype
    cache = Cache(model, 3)
    cuts = (6, *[1] * 10)
    parts = [model(*part, cache) for part in zip(ids.split(cuts, 1), told.split(cuts, 1))]
    for logits in (model(ids, told), torch.cat(parts, dim=1)):
        assert (logits - want).abs().max() < near * want.abs().max()


def drawn(model, ids, count, listeners=None, **given) -> list[list[int]]:
    """So many ids that the model draws after each row of ids."""
    listeners = listeners or [MUSIC.listener() for _ in ids]
    return torch.stack(list(islice(model.generate(ids, listeners, **given), count))).T.tolist()


@pytest.mark.parametrize('context, prompt', [(2, 10), (3, 1), (16, 10), (16, 40)])
def test_generation_cached_equals_plain_past_the_context(context, prompt):
    """Forbids a cache that goes wrong, or a crash, when the context is full, and long prompts."""
    model = tiny(context)
    ids, _ = music(2, prompt, begin=0)
    rows = [drawn(model, ids, 40, generator=torch.Generator().manual_seed(3), cached=cached)
            for cached in (True, False)]
    assert rows[0] == rows[1]
    assert rows[0][0] != rows[0][1] and len(set(rows[0][0])) > 12


def test_rows_side_by_side_are_each_alone():
    """Forbids a row that hears the listener or the notes of another, draws what its own guard
    forbids, talks on after its end, or ends otherwise because another ended before it; and that
    the guard seems to take from a row that waits for the others."""
    model = tiny()
    torch.nn.init.constant_(model.press_interval, -1)    # few keys at once: the end is near
    ids, _ = music(4, 20, begin=0)

    def rows(some):
        listeners = [MUSIC.listener(bars=1 + number % 3, prompt_end=0) for number in some]
        found = drawn(model, ids[some], 400, listeners, temperature=0, stop=MUSIC.end)
        return found, [listener.forbidden for listener in listeners]
    together, forbidden = rows(range(4))
    for number in range(4):
        (alone,), (taken,) = rows([number])
        assert forbidden[number] == pytest.approx(taken, abs=1e-3)
        assert alone.index(MUSIC.end) == len(alone) - 1          # there it ends
        assert together[number][:len(alone)] == alone
        assert set(together[number][len(alone):]) <= {MUSIC.end}
    assert len({row.index(MUSIC.end) for row in together}) == 4


@pytest.mark.parametrize('tokenizer, piece', [(MUSIC, movement(5)[0][:250]),
                                              (TEXT, text(1, 250)[0][0].tolist())])
@pytest.mark.parametrize('cached', [True, False])
def test_told_as_in_training(monkeypatch, tokenizer, piece, cached):
    """Forbids a model that is told something else while it composes than it learned from, id by id
    of a piece: one id too early or too late, or forgotten when the context is full; and a context
    that is never full."""
    model = tiny(64, tokenizer)
    read = model.read
    heard = prompt = 100                                             # so many ids so far
    to_come = iter(piece[prompt:])
    want = tokenizer.listen(piece)
    sizes = []

    def overheard(ids, told, cache=None):
        sizes.append(ids.size(1))
        first = heard - ids.size(1)
        assert ids[0].tolist() == piece[first:heard]
        assert told[0].tolist() == want[first:heard].tolist()
        return read(ids, told, cache)
    monkeypatch.setattr(model_module, 'draw', lambda logits: torch.tensor([next(to_come)]))
    monkeypatch.setattr(model, 'read', overheard)
    wishes = {}
    if tokenizer.is_music:
        words = [tokenizer.words[id] for id in piece]
        wishes = {'end': sum(steps for kind, steps in words if kind == 'shift')}
    for id in model.generate(torch.tensor([piece[:prompt]]), [tokenizer.listener(**wishes)],
                             cached=cached):
        assert id == piece[heard]
        heard += 1
        if heard == len(piece):
            break
    assert cached or sizes.count(64) > 1


@torch.no_grad()
def test_the_guard_is_obeyed():
    """Forbids drawing an id that the guard of a row forbids, at any temperature, a guard that does
    not hear every id, the prompt's too, and a share that it is said to have taken and has not."""
    model = tiny(64)
    prompts, _ = music(2, 20, begin=0)
    for temperature in (0, 1, 100):
        listeners = [MUSIC.listener() for _ in prompts]
        rows = drawn(model, prompts, 15, listeners, temperature=temperature)
        for ids, row, listener in zip(prompts.tolist(), rows, listeners):
            guard = MUSIC.listener()
            told = [guard.hear(id) for id in ids]
            taken = 0.0
            for id in row:
                may_come = torch.tensor(guard.allowed())
                assert may_come[id]
                likely = model(torch.tensor([ids]), stack([told]))[0, -1].softmax(-1)
                taken += likely[~may_come].sum().item()
                ids.append(id)
                told.append(guard.hear(id))
            assert listener.forbidden == pytest.approx(taken, abs=1e-3)


def shares(**kind) -> list[float]:
    """How often each of four ids is drawn, of which the likeliest has probability 0.5; the
    likeliest first."""
    logits = torch.tensor([[0.15, 0.5, 0.05, 0.3]]).log().repeat(4000, 1)
    kind = {'temperature': 1.0, 'top_k': 0, 'top_p': 1.0, **kind}
    found = draw(logits, **kind, generator=torch.Generator().manual_seed(0))
    return (found.bincount(minlength=4) / 4000)[[1, 3, 0, 2]].tolist()


@pytest.mark.parametrize('kind, kept', [
    ({}, 4), ({'temperature': 0}, 1), ({'temperature': 0.5}, 4), ({'temperature': 4.0}, 4),
    ({'top_k': 2}, 2), ({'top_p': 0.8}, 2), ({'top_p': 0.81}, 3), ({'top_p': 1e-9}, 1),
    ({'min_p': 0.29}, 3), ({'min_p': 0.31}, 2), ({'min_p': 1.0}, 1)])
def test_draw(kind, kept):
    """Forbids a division by temperature 0, a top_k or top_p that cuts too much or too little, or
    other ids than the unlikeliest, and ids that are drawn more or less often than likely."""
    likely = torch.tensor([0.5, 0.3, 0.15, 0.05]) ** (1 / (kind.get('temperature') or 1))
    likely[kept:] = 0
    found = shares(**kind)
    assert found == pytest.approx((likely / likely.sum()).tolist(), abs=0.03)
    assert all((share > 0) == (number < kept) for number, share in enumerate(found))


@pytest.mark.parametrize('wrong', [{'temperature': -1}, {'top_k': -1}, {'top_p': 0},
                                   {'top_p': 1.1}, {'min_p': -0.1}, {'min_p': 1.1}])
def test_draw_refuses(wrong):
    """Forbids a value out of range that means nothing, or something else."""
    with pytest.raises(ValueError, match='must be'):
        shares(**wrong)


# ---------------------------------------------------------------------------- save and load

def test_save_and_load(tmp_path):
    """Forbids a checkpoint that gives back another model."""
    model, path = tiny(), tmp_path / 'a.pt'
    save(path, checkpoint_of(model, {'kind': 'none'}))
    again, checkpoint = load(path)
    assert torch.equal(model(*music(1, 16)), again.eval()(*music(1, 16)))
    assert checkpoint['tokenizer']['kind'] == 'none'
    assert [file.name for file in tmp_path.iterdir()] == ['a.pt']


class Malicious:
    """Code that a pickle would run when it is read."""

    def __reduce__(self):
        return exec, ('raise SystemExit("code of the file was run")',)


def load_error(path) -> str:
    """What load says of a file that it refuses, without its path."""
    with pytest.raises(ValueError) as error:
        load(path)
    message = str(error.value)
    assert message.startswith(f'{path}: ') and '\n' not in message
    return message.removeprefix(f'{path}: ')


WEIGHTS = tiny().state_dict()
BURST = WEIGHTS['head'].clone()
BURST[0, 0] = math.nan


@pytest.mark.parametrize('changed, says', [
    ({'format': 1}, 'format 1, and this version reads'), ({'model': None}, 'model is missing'),
    ({'tokenizer': 5}, 'tokenizer is missing'), ({'progress': None}, 'progress is missing'),
    ({'optimizers': None}, 'optimizers is missing'),
    ({'train_config': 5}, 'train_config is missing'),
    ({'model': {**WEIGHTS, 'head': BURST}}, 'train again'),
    ({'model': {**WEIGHTS, 'head': torch.zeros(32, 2)}}, 'damaged, or no'),
    ({'progress': Malicious()}, 'damaged, or no')])
def test_checkpoints_of_other_things_are_refused(tmp_path, changed, says):
    """Forbids a traceback, a model that can't be, or code run from a pickle, for a file that is no
    checkpoint of this version."""
    path = tmp_path / 'a.pt'
    torch.save({**checkpoint_of(tiny(), {'kind': 'none'}), **changed}, path)
    assert says in load_error(path)


@pytest.mark.parametrize('content, says', [
    ([1, 2], 'not a dictionary'),
    ({'model': {'wte': torch.zeros(2)}, 'iter_num': 3}, 'format None')])
def test_other_files_of_torch_are_refused(tmp_path, content, says):
    """Forbids a traceback for what another program has saved."""
    torch.save(content, tmp_path / 'a.pt')
    assert says in load_error(tmp_path / 'a.pt')


def test_damaged_checkpoints_are_refused(tmp_path):
    """Forbids a traceback, or garbage from damaged weights, for a file that is missing or not
    whole."""
    path = tmp_path / 'a.pt'
    assert 'train a model first' in load_error(path)
    save(path, checkpoint_of(tiny(), {'kind': 'none'}))
    content = path.read_bytes()
    for damaged in (b'', b'no checkpoint', content[:len(content) // 2]):
        path.write_bytes(damaged)
        assert 'damaged, or no' in load_error(path)
    flipped = bytearray(content)
    flipped[content.index(WEIGHTS['head'].numpy().tobytes()) + 100] ^= 1
    path.write_bytes(flipped)
    assert 'a checksum is wrong' in load_error(path)
