"""A decoder-only transformer in one file: the network, drawing from it, saving and loading it.

It reads ids (numbers that stand for words) and gives a score to each id that may come next:

    ids -> embedding -> block -> block -> ... -> norm -> head -> logits
                        |
                        x + attention(norm(x))    every position looks at itself and those before
                        x + mlp(norm(x))          every position by itself

x is a row of C numbers for each position, to which every block adds something. The logits turn into
probabilities (softmax), from which `generate` draws one id, appends it, and asks again.

What differs from GPT-2, and why:

- Rotary positions: a query meets a key by how far apart the two are, not by where they stand.
- Two clocks: half of the heads (of three, two) measure that distance in ids, the others by a clock,
  which for music counts time.
- Besides the ids, the model is told what follows from them, since a small model adds that up badly.
  After each id a listener (of the tokenizer) says where the clock stands, which keys of the
  keyboard are down, and what came next the last time that the music was as it is now.
- At the output, three things raise the scores of certain ids. Ids that are recalled may come again.
  Keys that are down may be let go. Keys to press are scored by their degree in the home scale.
- Queries and keys are normed, so that no score explodes at high learning rates.
- The MLP squares its ReLU. No norm has a gain, no matrix a bias: nothing is lost without them.

Legend for shapes: B batch, T positions, S positions with the cached ones, C channels (n_embd),
H heads, D head size (C / H), V vocabulary, F numbers told after an id. A key of attention is called
k; "key" alone is a key of the keyboard.
"""

import os
import pickle
import zipfile
import zlib
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


NOTHING_TOLD = {'clock': 1, 'left': 0, 'length': 0, 'home': 0, 'recalled': 0, 'down': 0}


@dataclass
class ModelConfig:
    vocab_size: int
    context: int = 256    # longest stretch of ids the model attends over
    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128
    dropout: float = 0.0
    # what the listener tells (see Transformer): name -> how many numbers, in this order
    told: dict = field(default_factory=lambda: dict(NOTHING_TOLD))
    beat: int = 1         # how many units of the clock make a beat
    levels: int = 1       # how many values `left` has
    lengths: int = 1      # how many values `length` has
    keys: int = 0         # how many keys the keyboard has, the lowest of which is a C; 0 for text
    first_on: int = 0     # the id that presses the lowest key; the next ids press the others
    first_home: int = 0   # the id of C major; then come the 11 other major keys, then the 12 minor

    def __post_init__(self):
        for name, value in asdict(self).items():
            least = {'context': 2, 'keys': 0, 'first_on': 0, 'first_home': 0}.get(name, 1)
            if name not in ('dropout', 'told') and value < least:
                raise ValueError(f'{name} = {value}: must be at least {least}')
        if self.n_embd % (2 * self.n_head):
            raise ValueError(f'n_embd = {self.n_embd}: must be divisible by 2 * n_head = '
                             f'{2 * self.n_head}, since rotary positions turn pairs of channels')
        if not 0 <= self.dropout < 1:
            raise ValueError(f'dropout = {self.dropout}: must be at least 0 and below 1')


# --------------------------------------------------------------------------- layers of a block

def norm(x: torch.Tensor) -> torch.Tensor:
    """Shift and scale the numbers along the last axis to mean 0 and variance 1 (LayerNorm, Ba et
    al. 2016, without gain and bias). RMSNorm learns as well, but PyTorch's is slower on a CPU."""
    return torch.layer_norm(x, x.shape[-1:])


def weights(*shape: int, std: float = 0.0) -> nn.Parameter:
    """Weights to be learned: random with this standard deviation, or 0 at first, and then they say
    nothing until training finds a use for them."""
    return nn.Parameter(std * torch.randn(shape))


def linear(x: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """x (..., inputs) times matrix (inputs, outputs) -> (..., outputs), in the precision of x. The
    weights stay in float32: the optimizer's small steps would be rounded away in bfloat16."""
    return x @ matrix.to(x.dtype)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions (Su et al. 2021): turn each pair of channels by an angle that grows with the
    position. Then query . key depends on how far apart the two are and not on where they stand.

    x (..., D): channel i and channel i + D/2, a and b, become a cos - b sin and b cos + a sin.
    cos and sin (..., D / 2) are those of the angles.
    """
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


# The heads that read the clock have wavelengths from a sixteenth to 64 bars of 4/4, in steps.
SHORTEST, LONGEST = 6, 6144
DEGREES = 24             # 12 counted from the tonic of a major key, 12 from that of a minor one


def rotations(positions: int, frequencies: torch.Tensor) -> torch.Tensor:
    """(positions, D): D / 2 cosines of the angles at each position, then as many sines.
    frequencies (D / 2) are in radians a position."""
    angles = torch.arange(positions).double()[:, None] * frequencies
    return torch.cat((angles.cos(), angles.sin()), dim=1).float()


def rotations_by_ids(context: int, head_size: int) -> torch.Tensor:
    """(context, D): with the wavelengths of Su et al. 2021."""
    pairs = torch.arange(head_size // 2)
    return rotations(context, 10000.0 ** (-pairs / len(pairs)))


def rotations_by_clock(head_size: int) -> torch.Tensor:
    """(LONGEST, D): wavelengths from SHORTEST to LONGEST. Each of them divides LONGEST, so that the
    clock can begin anew there."""
    pairs = head_size // 2
    times = (LONGEST / SHORTEST) ** torch.linspace(0, 1, pairs).double()     # 1 ... 1024
    return rotations(LONGEST, 2 * torch.pi / LONGEST * times.round())


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attention (Vaswani et al. 2017): softmax(q k' / sqrt(D)) v, each query seeing the positions
    up to its own.

    q (B, H, T, D) are the last T of the S positions of k and v (B, H, S, D) -> (B, H, T, D).
    """
    T, D = q.shape[-2:]
    S = k.size(-2)
    # how well each query matches each key; the sum of D products grows with sqrt(D)
    scores = (q * D ** -0.5) @ k.mT                              # (B, H, T, S)
    # nobody sees what comes later: -inf above the diagonal; if S is 4 and T 2, the rows are
    # 0 0 0 -inf and 0 0 0 0
    later = torch.full((T, S), float('-inf'), dtype=q.dtype, device=q.device).triu(S - T + 1)
    # positive shares that sum to 1, and with them the mean of the values
    shares = (scores + later).softmax(dim=-1)                    # (B, H, T, S)
    return shares @ v                                            # (B, H, T, D)


def attend_fast(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """The same from PyTorch, which does not keep the scores of all pairs in memory. It is right
    only if T is S or 1: the model needs no more. (`attend` is to be read; a test compares them.)
    """
    assert q.size(-2) in (1, k.size(-2))
    return F.scaled_dot_product_attention(q, k, v, is_causal=q.size(-2) > 1)


class Attention(nn.Module):
    """Every position looks for what it needs in all positions before it, through H heads at once.
    Its query says what it looks for, a position's key what it has to offer, its value what it
    gives."""

    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        self.n_head = config.n_head
        self.layer = layer                                       # its place in the cache
        # small at first, so that Muon's steps, which are of a fixed size, soon outweigh chance
        self.qkv = weights(config.n_embd, 3 * config.n_embd, std=0.25 * config.n_embd ** -0.5)
        self.proj = weights(config.n_embd, config.n_embd)        # a block begins as the identity

    def forward(self, x, cos, sin, cache=None):
        B, T, C = x.shape
        qkv = linear(x, self.qkv).view(B, T, 3, self.n_head, -1)         # (B, T, 3, H, D)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)                     # (B, H, T, D) each
        q = rotate(norm(q), cos, sin)
        k = rotate(norm(k), cos, sin)
        if cache is not None:
            k, v = cache.append(self.layer, k, v)                # (B, H, S, D), S >= T
        y = attend_fast(q, k, v)                                 # or attend: the same
        return linear(y.transpose(1, 2).reshape(B, T, C), self.proj)


class MLP(nn.Module):
    """Each position by itself: widen fourfold, squared ReLU (So et al. 2021), and back."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.up = weights(config.n_embd, 4 * config.n_embd, std=0.25 * config.n_embd ** -0.5)
        self.down = weights(4 * config.n_embd, config.n_embd)

    def forward(self, x):
        wide = linear(x, self.up)                                # (B, T, 4 C)
        return linear(wide.relu().square(), self.down)           # (B, T, C)


class Block(nn.Module):
    """One layer of the transformer: attention brings in what matters from other positions, the MLP
    works on it. Both add to x, none replaces it (residuals, He et al. 2015): so the gradient
    reaches every block directly."""

    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        self.attention = Attention(config, layer)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x, cos, sin, cache=None):
        x = x + self.dropout(self.attention(norm(x), cos, sin, cache))
        x = x + self.dropout(self.mlp(norm(x)))
        return x


# ------------------------------------------------------------------------------------ the model

class Transformer(nn.Module):
    """Embedding, blocks, head. It computes in `dtype`; the weights stay in float32.

    What it is told stands in one tensor (B, T, F), in the order of config.told:

        clock       where the clock stands; for music in steps, 24 to the quarter note
        left        how far it is to the end, as a level; 0: not told (half of the training, and
                    all of the validation, is done without it)
        length      for each id in `recalled`, how long the match was; 0: nothing is recalled
        home        the id of the home word, such as G major
        recalled    ids that may come again
        down        the ids that let go the keys that are down

    Empty slots hold 0. Of a kind that a tokenizer does not tell there are 0 columns, and everything
    computed from them is empty, too.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.dtype = torch.float32
        V, C = config.vocab_size, config.n_embd
        recalled = config.told['recalled']
        holds = V if config.told['home'] else 1
        # tables for the input: a vector for each id, and for each thing that may be told
        self.embedding = weights(V, C, std=1)
        self.place_table = weights(config.beat, C)               # the place in the beat
        self.left_table = weights(config.levels, C)
        self.length_table = weights(recalled * config.lengths, C)
        self.recalled_table = weights(recalled * V, C)           # for each slot a table of its own
        self.holding_table = weights(holds, C, std=0.1)          # home, and the keys that are down
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        # at the output: a score for each id, for each degree of a scale, for letting go by what
        # else is down, and trust in what is recalled
        self.head = weights(C, V, std=0.5 * C ** -0.5)           # the first loss is about ln V
        self.degrees = weights(C, DEGREES if config.keys else 0)
        self.let_go = weights(C, config.keys)
        self.trust = weights(C, recalled)
        # (recalled, lengths); if it began at 0, it would be learned too slowly
        self.trust_by_length = nn.Parameter(
            0.05 * torch.arange(config.lengths).repeat(recalled, 1))
        head_size = C // config.n_head
        by_ids = rotations_by_ids(config.context, head_size)
        by_clock = rotations_by_clock(head_size)
        self.register_buffer('by_ids', by_ids, persistent=False)         # not saved
        self.register_buffer('by_clock', by_clock, persistent=False)

    def embed(self, ids, clock, left, length, home, recalled, down) -> torch.Tensor:
        """What the first block reads (B, T, C): the ids (B, T), and what is told after each."""
        # each slot has its own part of two tables: id 60 in slot 2 is row 60 + 2 V
        slot = torch.arange(recalled.size(-1), device=ids.device)
        x = F.embedding(ids, self.embedding)
        x = x + F.embedding(clock % self.config.beat, self.place_table).sum(2)
        x = x + F.embedding(left, self.left_table).sum(2)
        x = x + F.embedding(length + slot * self.config.lengths, self.length_table).sum(2)
        x = x + F.embedding(recalled + slot * self.config.vocab_size, self.recalled_table).sum(2)
        x = x + F.embedding(torch.cat((home, down), -1), self.holding_table).sum(2)
        return norm(x)

    def angles(self, clock: torch.Tensor, start: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Clock (B, T, 1) at positions from `start` on -> cos and sin of the angles by which all
        heads turn, (B, H, T, D / 2) each, in the model's precision. The first heads measure
        distance in ids, the others by the clock."""
        B, T, _ = clock.shape
        by_ids = self.by_ids[start:start + T].expand(B, T, -1)           # (B, T, D)
        by_clock = F.embedding(clock[..., 0], self.by_clock)             # (B, T, D)
        n_by_clock = self.config.n_head // 2
        n_by_ids = self.config.n_head - n_by_clock
        by_head = torch.stack([by_ids] * n_by_ids + [by_clock] * n_by_clock, dim=1)
        return by_head.to(self.dtype).chunk(2, dim=-1)

    def score_degrees(self, x, home) -> torch.Tensor:
        """x (B, T, C), normed, and the id of the home word -> what is added to the score of
        pressing each key (B, T, keys), by its degree in the home scale: F#, in D major, is degree
        4. Before the home word is known that is 0. So what is learned of one key serves all."""
        home = home - self.config.first_home                     # 0 to 11 major, 12 to 23 minor
        known = home >= 0
        pitch = torch.arange(self.config.keys, device=x.device)
        degree = (pitch - home) % 12 + 12 * (home // 12)         # (B, T, keys)
        scores = linear(x, self.degrees)                         # (B, T, 24)
        return scores.gather(2, degree.masked_fill(~known, 0)).masked_fill(~known, 0)

    def score_told(self, x, length, recalled, down) -> torch.Tensor:
        """x (B, T, C), normed, and what was told -> what is added to the scores of the ids in
        `recalled` and `down` (B, T, recalled + down)."""
        B, T, n_down = down.shape
        # A recalled id gains by the length of the match, and by what the model makes of it. (Both
        # are to be learned in few steps: so the factors.)
        slot = torch.arange(recalled.size(-1), device=x.device)
        by_length = self.trust_by_length[slot, length]                   # (B, T, recalled)
        recall = (10 * by_length + 3 * linear(x, self.trust)).masked_fill(length == 0, 0)
        # An interval sounds alike wherever it lies. So whether to let go a key depends on how far
        # away the other keys lie that are down: kernel[d] is what a key d semitones higher counts.
        kernel = linear(x, self.let_go)                                  # (B, T, keys)
        apart = (down[:, :, None] - down[:, :, :, None]) % max(1, self.config.keys)  # [i, j]: j - i
        counts = kernel.gather(2, apart.flatten(2)).view(B, T, n_down, n_down)
        counts = counts.masked_fill(down[:, :, None] == 0, 0).sum(-1)
        counts = counts.masked_fill(down == 0, 0)
        return torch.cat((recall, counts), dim=-1)

    def forward(self, ids: torch.Tensor, told: torch.Tensor, cache: 'Cache | None' = None):
        """ids (B, T) and what the listener told after each (B, T, F) -> logits (B, T, V).

        With a cache that holds some, this is the one id that comes after. Raises ValueError for
        more than the context.
        """
        T = ids.size(1)
        start = cache.length if cache is not None else 0
        if start + T > self.config.context:
            raise ValueError(f'{start + T} ids, more than the context of {self.config.context}')
        facts = told.split(list(self.config.told.values()), dim=-1)      # (B, T, 1 or more) each
        clock, left, length, home, recalled, down = facts
        x = self.embed(ids, *facts).to(self.dtype)
        cos, sin = self.angles(clock, start)
        for block in self.blocks:
            x = block(x, cos, sin, cache)                        # (B, T, C)
        if cache is not None:
            cache.length += T
        x = norm(x)
        logits = linear(x, self.head)                            # (B, T, V)
        on = slice(self.config.first_on, self.config.first_on + self.config.keys)
        logits[:, :, on] += self.score_degrees(x, home)          # (of text: of no id)
        gains = self.score_told(x, length, recalled, down)
        return logits.scatter_add(2, torch.cat((recalled, down), dim=-1), gains.to(logits.dtype))

    @torch.inference_mode()
    def generate(self, ids: torch.Tensor, listeners: list, stop: int | None = None,
                 cached: bool = True, **drawing):
        """Go on from ids (B, T): yield the next id of each row, (B,) at a time, without end or
        until every row has drawn `stop` (a finished row repeats it). `drawing` is handed on to
        `draw`: temperature, top_k and so on.

        Each row has a listener, which hears its ids: it says what is told after each, and which ids
        may come next. The probability of those that may not is added up in its `forbidden`.
        When the context is full, its later half is read again as a new beginning: any length can be
        drawn, and from then on each id has at least half a context before it.
        `cached=False` is the plain path, to read and to test against: more work, and the same ids
        but for rounding (none differed in float32). The model is in eval mode afterwards.
        """
        self.eval()
        context = self.config.context
        heard = []
        for listener, row in zip(listeners, ids.tolist()):
            heard.append([listener.hear(id) for id in row])
        told = ids.new_tensor(heard)                             # (B, T, F)
        ids, told = ids[:, -context:], told[:, -context:]
        cache = Cache(self, len(ids)) if cached else None
        done = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        new = ids.size(1)                                        # how many the cache has not seen
        while True:
            if cached:
                logits = self(ids[:, -new:], told[:, -new:], cache)
            else:
                logits = self(ids, told)
            logits = forbid(logits[:, -1].float(), listeners)    # (B, V)
            id = draw(logits, **drawing)
            if stop is not None:
                id = torch.where(done, stop, id)
                done |= id == stop
            yield id
            if stop is not None and done.all():
                return
            heard = [listener.hear(one) for listener, one in zip(listeners, id.tolist())]
            ids = torch.cat((ids, id[:, None]), dim=1)
            told = torch.cat((told, told.new_tensor(heard)[:, None]), dim=1)
            new = 1
            if ids.size(1) > context:
                new = context // 2
                ids, told = ids[:, -new:], told[:, -new:]
                if cached:
                    cache.length = 0


class Cache:
    """The keys k and values v of the positions seen so far, in arrays allocated once. With them a
    new id costs one position of work instead of the whole context again."""

    def __init__(self, model: Transformer, batch: int):
        config = model.config
        shape = (batch, config.n_head, config.context, config.n_embd // config.n_head)
        like = {'dtype': model.dtype, 'device': model.head.device}
        self.k = [torch.zeros(shape, **like) for _ in model.blocks]
        self.v = [torch.zeros(shape, **like) for _ in model.blocks]
        self.length = 0                                          # positions filled

    def append(self, layer: int, k: torch.Tensor, v: torch.Tensor):
        """Write k, v (B, H, T, D) after what is there; return all (B, H, length + T, D)."""
        end = self.length + k.size(2)
        self.k[layer][:, :, self.length:end] = k
        self.v[layer][:, :, self.length:end] = v
        return self.k[layer][:, :, :end], self.v[layer][:, :, :end]


# -------------------------------------------------------------------------------------- drawing

def forbid(logits: torch.Tensor, listeners: list) -> torch.Tensor:
    """logits (B, V) with -inf for the ids that may not come next, as the listener of each row says.
    The probability that they would have had is added up in its `forbidden`."""
    masks = [listener.allowed() for listener in listeners]
    if masks[0] is None:
        return logits
    allowed = torch.from_numpy(np.stack(masks)).to(logits.device)
    masked = logits.masked_fill(~allowed, float('-inf'))
    lost = -torch.expm1(masked.logsumexp(-1) - logits.logsumexp(-1))     # (B,)
    for listener, share in zip(listeners, lost.tolist()):
        listener.forbidden += share
    return masked


def draw(logits: torch.Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0,
         min_p: float = 0.0, generator: torch.Generator | None = None) -> torch.Tensor:
    """One id a row from logits (B, V) -> (B,). Temperature 0 takes the likeliest. An id
    is drawn only if all three keep it, each judging by the probabilities of all ids:

        top_k  keeps the k likeliest (0: all)
        top_p  keeps the likeliest that together reach p (Holtzman et al. 2020)
        min_p  keeps those at least min_p times as likely as the likeliest (Nguyen et al. 2024)

    Raises ValueError for a value out of range.
    """
    for name, value in (('temperature', temperature), ('top_k', top_k)):
        if value < 0:
            raise ValueError(f'{name} = {value}: must be at least 0')
    if not 0 < top_p <= 1:
        raise ValueError(f'top_p = {top_p}: must be above 0, at most 1')
    if not 0 <= min_p <= 1:
        raise ValueError(f'min_p = {min_p}: must be at least 0, at most 1')
    if temperature < 1e-6:                           # so low that only the likeliest is left
        return logits.argmax(dim=-1)
    p, ids = (logits / temperature).softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    kept = p >= min_p * p[:, :1]                                 # in the order of ranks
    if top_k > 0:
        kept[:, top_k:] = False
    if top_p < 1:
        kept &= p.cumsum(dim=-1) - p < top_p                     # those before it don't reach it
    rank = torch.multinomial(p * kept, 1, generator=generator)   # (B, 1)
    return ids.gather(1, rank)[:, 0]


# --------------------------------------------------------------------------------- save and load

FORMAT = 8               # of a checkpoint: what another version of this repo would not understand
CONTENTS = {'model': dict, 'model_config': dict, 'train_config': dict, 'tokenizer': dict,
            'dtype': str, 'optimizers': list, 'progress': dict}


def save(path: str, checkpoint: dict):
    """Write tensors and plain values under a temporary name, then rename: whatever interrupts it,
    `path` holds the old checkpoint or the new one, whole."""
    with open(f'{path}.part', 'wb') as file:
        torch.save(checkpoint, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f'{path}.part', path)


def load(path: str, device: str = 'cpu', dropout: float = 0.0) -> tuple[Transformer, dict]:
    """The model of a checkpoint, and the checkpoint. Raises ValueError, in one line, for a file
    that is missing, damaged, foreign or of another version. No code in it is run."""
    if not os.path.isfile(path):
        raise ValueError(f'{path}: no such checkpoint; train a model first, and give its folder')
    try:
        with zipfile.ZipFile(path) as archive:       # that is what torch.save writes
            damaged = archive.testzip()              # the first part whose checksum is wrong
        if damaged:
            raise ValueError('a checksum is wrong')
        checkpoint = torch.load(path, map_location='cpu', weights_only=True)
        check_contents(checkpoint)
        config = ModelConfig(**{**checkpoint['model_config'], 'dropout': dropout})
        model = Transformer(config)
        model.load_state_dict(checkpoint['model'])
    except PermissionError:
        raise ValueError(f'{path}: permission denied') from None
    except (pickle.UnpicklingError, zipfile.BadZipFile, zlib.error, RuntimeError, OSError, EOFError,
            LookupError, TypeError, AttributeError, ValueError, NotImplementedError) as error:
        raise ValueError(f'{path}: damaged, or not a checkpoint of this repo '
                         f'({" ".join(str(error).split()):.80})') from None
    if not all(torch.isfinite(weights).all() for weights in model.parameters()):
        raise ValueError(f'{path}: some weights are no numbers any more: train again, with lower '
                         'learning rates')
    return model.to(device), checkpoint


def check_contents(checkpoint):
    """Raise ValueError unless it has what train.py puts into a checkpoint."""
    if not isinstance(checkpoint, dict):
        raise ValueError('it is no dictionary')
    version = checkpoint.get('format')
    if version != FORMAT:
        raise ValueError(f'format {version}, and this version reads {FORMAT}: train again')
    for name, kind in CONTENTS.items():
        if not isinstance(checkpoint.get(name), kind):
            raise ValueError(f'{name} is missing')
