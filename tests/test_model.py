"""The transformer: what it sees, what a cache must not change, what is drawn, how it is saved."""

import math
from itertools import islice

import pytest
import torch
import torch.nn.functional as F

from conftest import checkpoint_of, movement
from lib.heldout import stack
from lib.tokenizer import columns_of_told
import model as model_module
from model import (LONGEST, SHORTEST, Cache, ModelConfig, Transformer, attend, attend_fast, draw,
                   load, rotate, save, rotations_by_clock, rotations_by_ids)
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

@pytest.mark.parametrize('what', ['ids', 'told'])
def test_no_look_ahead(what):
    """Forbids a position that sees an id, or what was told, that comes after it."""
    model = tiny()
    given = dict(zip(('ids', 'told'), music(2, 16)))
    other = dict(zip(('ids', 'told'), music(2, 16, begin=340)))
    before = model(**given)
    for t in range(1, 16):
        changed = {**given, what: given[what].clone()}
        changed[what][:, t] = other[what][:, t]
        if what == 'ids':                                        # they may be the same by chance
            changed[what][:, t] = (given[what][:, t] + 1) % MUSIC.vocab_size
        after = model(**changed)
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


def test_only_distances_matter():
    """Forbids angles that depend on where a stretch stands: shifted alike, query . key stays, by
    the clock also where it begins again."""
    torch.manual_seed(0)
    q, k = torch.randn(2, 8)

    def dot(table, time, distance):
        now, then = table[time % len(table)], table[(time - distance) % len(table)]
        return (rotate(q, *now.chunk(2)) * rotate(k, *then.chunk(2))).sum()
    for table, times in ((rotations_by_ids(256, 8), (7, 39, 200)),
                         (rotations_by_clock(8), (7, 39, 3000, LONGEST + 3))):
        found = [dot(table, time, 7) for time in times]
        assert torch.allclose(torch.stack(found), found[0], atol=1e-3)
        assert not torch.allclose(found[0], dot(table, 7, 2), atol=1e-1)


def test_shifting_the_clock_changes_nothing():
    """Forbids a model that hears where in the piece a window stands, or hears less than how long
    ago each id was."""
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
    want = torch.zeros(2, 4, T, 8)
    for t in range(T):
        seen = 7 - T + t + 1
        match = (q[:, :, seen - 1, None] * k[:, :, :seen]).sum(-1) / math.sqrt(8)
        want[:, :, t] = (match.softmax(-1)[..., None] * v[:, :, :seen]).sum(-2)
    assert torch.allclose(attend(q[:, :, -T:], k, v), want, atol=1e-6)
    if T == 3:
        with pytest.raises(AssertionError):
            attend_fast(q[:, :, -T:], k, v)
    else:
        assert torch.allclose(attend_fast(q[:, :, -T:], k, v), want, atol=1e-6)


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
    kinds = {}
    for word in example.split():
        if word.isdigit():
            kinds[kind].append(int(word))
        else:
            kind = word
            kinds[kind] = []
    found = {kind: len(numbers) for kind, numbers in kinds.items()}
    assert found == MUSIC.shape_of_told()['columns']
    words = [MUSIC.words[id] for kind in ('home', 'voices', 'recalled', 'held')
             for id in kinds[kind] if id]
    assert words == [('home', (7, 'major')), ('voices', 3), ('on', 72), ('on', 73), ('off', 71),
                     ('off', 55), ('off', 71)]


@pytest.mark.parametrize('tokenizer, given', [(MUSIC, music(3, 16)), (TEXT, text(3, 16))])
def test_words_that_are_told_and_no_others_gain(tokenizer, given):
    """Forbids a gain for a word that is not told, for 0, which fills what is not told, for a word
    that is recalled no more; and one that is lost where a word is told twice."""
    model = tiny(16, tokenizer)
    ids, told = given[0], given[1].clone()
    kinds = by_kind(told, model)                                     # (views of it)
    for name in ('recalled', 'match'):                              # one word, again and again
        kinds[name][1] = kinds[name][1, :, :1].clone()
    heard = []

    def overhear(function):
        def overheard(x, *told):
            heard.append((x, function(x, *told)))
            return heard[-1][1]
        return overheard
    model.score_recalled = overhear(model.score_recalled)
    model.score_releases = overhear(model.score_releases)
    found = model(ids, told)
    (x, recalled), (_, releases) = heard
    avoided = 10 * model.parallel_score * (kinds['parallel'] > 0)
    gains = torch.cat((recalled, releases, avoided), dim=-1)         # (B, T, all that are told)
    want = x @ model.head
    if tokenizer.is_music:
        want[:, :, MUSIC.on] += model.score_degrees(x, kinds['home'])
        want[:, :, MUSIC.on] += model.score_presses(kinds['held'])
    words = torch.cat((kinds['recalled'], kinds['held'], kinds['parallel']), dim=-1)
    is_told = words > 0
    for b, t, i in is_told.nonzero().tolist():
        want[b, t, words[b, t, i]] += gains[b, t, i]
    assert kinds['match'][1].any() and not is_told.all()
    assert (gains != 0).equal(is_told)
    assert torch.allclose(found, want, atol=1e-4)


def test_what_is_recalled_gains():
    """Forbids a gain that does not go by how much was the same, or of another word's number."""
    model = tiny()
    _, told = music(3, 16)
    x = torch.randn(3, 16, 16)
    kinds = by_kind(told, model)
    match, recalled = kinds['match'], kinds['recalled']
    found = model.score_recalled(x, match, recalled)
    assert match.any() and (found != 0).equal(recalled > 0)
    for b, t, number in recalled.nonzero().tolist():
        want = 10 * model.trust_by_match[number, match[b, t, number // 3]]
        want = want + 10 * x[b, t] @ model.trust[:, number]
        assert found[b, t, number].item() == pytest.approx(want.item(), abs=1e-4)


def test_stronger_scores():
    """Forbids a factor that counts more or less than it says, or for other ids; and one that makes
    it likelier to press than to release: then what is recalled comes before other voices have let
    go of their keys."""
    model = tiny()
    _, told = music(3, 16)
    x = torch.randn(3, 16, 16)
    kinds = by_kind(told, model)
    learned = model.score(x, told)
    doubled = model.score(x, told, home_scale=2, recall=2, parallels=2)
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


def test_keys_are_pressed_by_their_intervals():
    """Forbids a gain that is not the sum of those of the intervals to all keys that are held, or in
    which up and down are mixed up."""
    model = tiny()
    keys = [48, 64, 67]
    held = torch.zeros(1, 1, 12, dtype=torch.long)
    held[0, 0, :3] = MUSIC.off.start + torch.tensor(keys)
    found = model.score_presses(held)[0, 0]
    for key in (0, 47, 48, 66, 127):
        want = sum(10 * model.press_interval[(key - other) % 128].item() for other in keys)
        assert found[key].item() == pytest.approx(want, abs=1e-3)
    assert not model.score_presses(0 * held).any()


def test_keys_are_pressed_by_their_degree():
    """Forbids a gain that is another's than that of the key's degree in the home key, major or
    minor, and one before the home key is known."""
    model = tiny()
    x = torch.randn(1, 1, 16)
    major, minor = (x @ model.degree_score)[0, 0].split(12)
    for (tonic, mode), degrees in (((0, 'major'), major), ((7, 'major'), major),
                                   ((0, 'minor'), minor), ((11, 'minor'), minor)):
        home = torch.tensor([[[MUSIC.ids['home', (tonic, mode)]]]])
        want = [degrees[(key - tonic) % 12].item() for key in range(128)]
        assert model.score_degrees(x, home).flatten().tolist() == pytest.approx(want, abs=1e-5)
    assert not model.score_degrees(x, 0 * home).any()


def test_releases_go_by_distance():
    """Forbids a score for releasing a key that is anything but the sum over all keys that are
    held, itself among them, of what the model says of how far it lies above them;
    and that changes if all are transposed, also round the ends of the keyboard."""
    model = tiny()
    x = torch.randn(1, 1, 16)
    interval = (x @ model.release_interval)[0, 0]
    K = model.config.keys
    off = MUSIC.off.start
    before = None
    for lowest in (0, 36, 60, K - 13):
        keys = [lowest + 4, lowest, lowest + 12]                     # in the order of their onsets
        held = torch.zeros(1, 1, model.config.columns['held'], dtype=torch.long)
        held[0, 0, :3] = off + torch.tensor(keys)
        gains = model.score_releases(x, held)[0, 0]
        want = [sum(interval[(key - other) % K] for other in keys).item() for key in keys]
        assert gains[:3].tolist() == pytest.approx(want, abs=1e-4)
        assert not gains[3:].any()
        assert before is None or torch.allclose(gains, before, atol=1e-4)
        before = gains


# ----------------------------------------------------------------- with a cache, and drawing on

@pytest.mark.parametrize('first', [1, 5, 15])
def test_cache_equals_plain_path(first):
    """Forbids a cache that changes what the model says: some ids at once, the others one by one."""
    model = tiny()
    ids, told = music(3, 16)
    cuts = (first, *[1] * (16 - first))
    cache = Cache(model, 3)
    parts = [model(*part, cache) for part in zip(ids.split(cuts, 1), told.split(cuts, 1))]
    assert torch.allclose(torch.cat(parts, dim=1), model(ids, told), atol=1e-4)


def test_bfloat16_computes_alike():
    """Forbids a precision that fails with a cache, or that computes something else."""
    model = tiny()
    ids, told = music(2, 8)
    want = model(ids, told)
    model.dtype = torch.bfloat16
    cache = Cache(model, 2)
    parts = [model(*part, cache)
             for part in zip(ids.split((6, 1, 1), 1), told.split((6, 1, 1), 1))]
    for logits in (model(ids, told), torch.cat(parts, dim=1)):
        assert (logits - want).abs().max() < 0.05 * want.abs().max()


def drawn(model, ids, count, listeners=None, **given) -> list[list[int]]:
    """So many ids that the model draws after each row of ids."""
    listeners = listeners or [MUSIC.listener() for _ in ids]
    return torch.stack(list(islice(model.generate(ids, listeners, **given), count))).T.tolist()


@pytest.mark.parametrize('context', [2, 3, 16])
@pytest.mark.parametrize('prompt', [1, 10, 40])
def test_generation_cached_equals_plain_past_the_context(context, prompt):
    """Forbids a cache that goes wrong, or a crash, when the context is full, and long prompts."""
    model = tiny(context)
    ids, _ = music(2, prompt, begin=0)
    rows = [drawn(model, ids, 60, generator=torch.Generator().manual_seed(3), cached=cached)
            for cached in (True, False)]
    assert rows[0] == rows[1]
    assert rows[0][0] != rows[0][1] and len(set(rows[0][0])) > 20


def test_rows_side_by_side_are_each_alone():
    """Forbids a row that hears the listener or the notes of another, draws what its own guard
    forbids, or ends otherwise because another ended before it; and that the guard seems to take
    from a row that waits for the others."""
    model = tiny()
    ids, _ = music(8, 20, begin=0)
    wishes = [{'bars': 1 + number % 3, 'prompt_end': 0} for number in range(8)]

    def rows(some):
        listeners = [MUSIC.listener(**wishes[number]) for number in some]
        found = drawn(model, ids[some], 500, listeners, temperature=0, stop=MUSIC.end)
        return found, [listener.forbidden for listener in listeners]
    together, forbidden = rows(list(range(8)))
    for number in range(8):
        (alone,), (taken,) = rows([number])
        assert forbidden[number] == pytest.approx(taken, abs=1e-3)
        assert together[number][:len(alone)] == alone
        assert set(together[number][len(alone):]) <= {MUSIC.end}
    assert len({tuple(row) for row in together}) == 8
    assert len({row.index(MUSIC.end) for row in together if MUSIC.end in row}) > 1


@pytest.mark.parametrize('tokenizer, piece', [(MUSIC, movement(0)[0]), (MUSIC, movement(5)[0]),
                                              (TEXT, text(1, 400)[0][0].tolist())])
@pytest.mark.parametrize('cached', [True, False])
def test_told_as_in_training(monkeypatch, tokenizer, piece, cached):
    """Forbids a model that is told something else while it composes than it learned from, id by id
    of a whole piece: one id too early or too late, or forgotten when the context is full."""
    if not cached:                                                   # it takes longer
        piece = piece[:250]
    prompt = 100
    model = tiny(64, tokenizer)
    to_come = iter(piece[prompt:])
    monkeypatch.setattr(model_module, 'draw', lambda logits: torch.tensor([next(to_come)]))
    found = {}                                                       # (place in the piece) -> told
    heard = prompt                                                   # ids that the listener heard
    read = model.read

    def overheard(ids, told, cache=None):
        for i in range(ids.size(1)):
            place = heard - ids.size(1) + i
            assert ids[0, i] == piece[place]
            assert found.setdefault(place, told[0, i].tolist()) == told[0, i].tolist()
        return read(ids, told, cache)
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
    want = tokenizer.listen(piece).tolist()
    assert list(found) == list(range(prompt - 64, len(piece) - 1))
    for place, told in found.items():
        assert told == want[place], place


class Guard:
    """A listener that allows the same ids always, and writes down what it hears."""

    def __init__(self, *allowed):
        self.mask = torch.tensor([id in allowed for id in range(11)]).numpy()
        self.heard = []
        self.forbidden = 0.0

    def hear(self, id):
        self.heard.append(id)
        return [len(self.heard)]

    def allowed(self):
        return self.mask


ONE_ID = torch.zeros(4, 1, dtype=torch.long)


def test_the_guard_is_obeyed():
    """Forbids drawing an id that the guard of a row forbids, at any temperature, and a guard that
    does not hear every id, the prompt's too."""
    model = tiny(tokenizer=None)
    for temperature in (0, 1, 100):
        guards = [Guard(3, 7), Guard(3, 7), Guard(1), Guard(1, 2, 3)]
        rows = drawn(model, ONE_ID, 20, guards, temperature=temperature)
        for row, guard in zip(rows, guards):
            assert all(guard.mask[id] for id in row)
            assert [0, *row[:19]] == guard.heard[:20]
    assert {len(set(row)) for row in rows} == {1, 2, 3}


def test_what_the_guard_took_away():
    """Forbids a share of forbidden probability that is not what was taken from the ids drawn."""
    model = tiny(tokenizer=None)
    guards = [Guard(3, 7), Guard(4)]
    ids, told = ONE_ID[:2], torch.ones(2, 1, 1, dtype=torch.long)
    probabilities = model(ids, told)[:, -1].softmax(-1)
    next(model.generate(ids, guards))
    taken = [1 - probabilities[0, [3, 7]].sum().item(), 1 - probabilities[1, 4].item()]
    assert [guard.forbidden for guard in guards] == pytest.approx(taken, abs=1e-5)


def test_generation_is_reproducible_by_seed():
    """Forbids draws that depend on the global random state, and two seeds that draw alike."""
    model = tiny(tokenizer=None)

    def row(seed):
        torch.rand(seed)
        guards = [Guard(*range(11))]
        return drawn(model, ONE_ID[:1], 30, guards, generator=torch.Generator().manual_seed(seed))
    assert row(1) == row(1) != row(2)


def test_rows_stop_one_by_one():
    """Forbids a row that talks on after its stop id, and a generation that never ends."""
    rows = drawn(tiny(tokenizer=None), ONE_ID.repeat(2, 1), None,
                 [Guard(*range(11)) for _ in range(8)], stop=4,
                 generator=torch.Generator().manual_seed(0))
    for row in rows:
        assert 4 in row and set(row[row.index(4):]) == {4}
    assert any(row[-2] != 4 for row in rows)


def test_draw():
    """Forbids a division by temperature 0, a top_k or top_p that cuts too much or too little, or
    other ids than the unlikeliest, and ids that are drawn more or less often than likely."""
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
    ('empty', 'damaged, or no'), ('text', 'damaged, or no'), ('cut', 'damaged, or no'),
    ('flipped', 'a checksum is wrong'), ('foreign', 'format None'), ('a list', 'not a dictionary'),
    ('malicious', 'damaged, or no'), ('older', 'format 1, and this version reads'),
    ('not finite', 'train again'), ('no model', 'model is missing'),
    ('no tokenizer', 'tokenizer is missing'), ('no progress', 'progress is missing'),
    ('no optimizers', 'optimizers is missing'), ('other tokenizer', 'tokenizer is missing'),
    ('other train_config', 'train_config is missing'), ('wider', 'damaged, or no'),
    ('missing', 'train a model first')])
def test_damaged_checkpoints_are_refused(tmp_path, kind, says):
    """Forbids a traceback, garbage from damaged weights, or code run from a pickle, for a file that
    is no whole checkpoint of this version."""
    damage(kind, tmp_path / 'a.pt')
    with pytest.raises(ValueError) as error:
        load(tmp_path / 'a.pt')
    assert says in str(error.value) and '\n' not in str(error.value)
    assert str(error.value).startswith(str(tmp_path / 'a.pt'))
