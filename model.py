"""A decoder-only transformer in one file: network, key/value cache, sampling, save and load.

It turns ids into logits, bottom-up, and knows nothing of music, text, data or training.

Legend for shapes: B batch, T time, C channels (n_embd), H heads, D head size (C / H), V vocabulary.
"""

import os
import pickle
from dataclasses import asdict, dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class ModelConfig:
    vocab_size: int
    context: int = 256    # longest stretch of ids the model attends over
    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128
    dropout: float = 0.0

    def __post_init__(self):
        for name, value in asdict(self).items():
            if name != 'dropout' and value < 1 + (name == 'context'):
                raise ValueError(f'{name} = {value}: must be at least {1 + (name == "context")}')
        if self.n_embd % (2 * self.n_head):
            raise ValueError(f'n_embd = {self.n_embd}: no even multiple of n_head = {self.n_head}')
        if not 0 <= self.dropout < 0.99:
            raise ValueError(f'dropout = {self.dropout}: must be at least 0 and below 0.99')


def norm(x: torch.Tensor) -> torch.Tensor:
    """LayerNorm (Ba et al. 2016) without gain and bias. RMSNorm learns as well here, but PyTorch's
    takes three times as long on a CPU."""
    return F.layer_norm(x, x.shape[-1:])


class Linear(nn.Linear):
    """A matrix without bias: kept in float32, multiplied in the precision of its input."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, bias=False)

    def forward(self, x):
        return F.linear(x, self.weight.to(x.dtype))


def rotary_table(context: int, head_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin of position * frequency, (T, 1, 1, D/2) each, for `rotate`."""
    frequency = 10000.0 ** -torch.linspace(0, 1, head_size // 2 + 1)[:-1]
    angle = torch.outer(torch.arange(context), frequency)[:, None, None]
    return angle.cos(), angle.sin()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions (Su et al. 2021): turn each pair of channels by an angle that grows with
    time, so that query . key depends on how far apart the two are and not on where they stand."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


class Cache:
    """Keys and values of every position seen so far, in arrays allocated once.

    With it a new id costs one position of work instead of the whole context again.
    """

    def __init__(self, config: ModelConfig, batch: int, like: torch.Tensor):
        shape = (config.n_layer, batch, config.n_head, config.context,
                 config.n_embd // config.n_head)
        self.keys, self.values = like.new_zeros(shape), like.new_zeros(shape)
        self.length = 0                                          # positions filled

    def append(self, layer: int, k: torch.Tensor, v: torch.Tensor):
        """Write k, v (B, H, T, D) after what is there; return all (B, H, length + T, D)."""
        end = self.length + k.size(2)
        self.keys[layer, :, :, self.length:end] = k
        self.values[layer, :, :, self.length:end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


class Attention(nn.Module):
    """Every position looks back at all before it, through H heads at once."""

    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        self.n_head, self.layer = config.n_head, layer
        self.qkv = Linear(config.n_embd, 3 * config.n_embd)
        self.proj = Linear(config.n_embd, config.n_embd)

    def forward(self, x, cos, sin, cache=None):
        B, T, C = x.shape
        qkv = self.qkv(x).view(B, T, 3, self.n_head, -1)         # (B, T, 3, H, D)
        v = qkv[:, :, 2].transpose(1, 2)                         # (B, H, T, D)
        q, k = rotate(norm(qkv[:, :, :2]), cos, sin).permute(2, 0, 3, 1, 4)    # (B, H, T, D) each
        if cache is not None:
            k, v = cache.append(self.layer, k, v)                # (B, H, S, D), S >= T
        if x.is_cpu:     # there PyTorch's bfloat16 attention is slower than its float32
            q, k, v = q.float(), k.float(), v.float()
        S = k.size(2)
        seen = None if T in (1, S) else torch.ones(T, S, device=x.device).tril(S - T).bool()
        y = F.scaled_dot_product_attention(q, k, v, seen, is_causal=T == S)
        return self.proj(y.transpose(1, 2).reshape(B, T, C).to(x.dtype))


class MLP(nn.Module):
    """Each position by itself: widen fourfold, squared ReLU (So et al. 2021), and back."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.up = Linear(config.n_embd, 4 * config.n_embd)
        self.down = Linear(4 * config.n_embd, config.n_embd)

    def forward(self, x):
        return self.down(F.relu(self.up(x)).square())            # (B, T, C) -> 4C -> (B, T, C)


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) that throws bytes for coins: a random 64-bit number serves
    eight channels, so that it costs a quarter of nn.Dropout on a CPU. p is rounded to 1/256."""

    def __init__(self, p: float):
        super().__init__()
        self.zeros = round(256 * p)                              # byte values that drop a channel

    def forward(self, x):
        if not (self.training and self.zeros and x.is_cpu):     # a GPU's own is quick
            return F.dropout(x, self.zeros / 256, self.training)
        coins = torch.randint(-2 ** 63, 2 ** 63 - 1, (x.numel() // 8 + 1,), device=x.device)
        keep = coins.view(torch.uint8)[:x.numel()].view(x.shape) >= self.zeros
        return x * (keep.to(x.dtype) * (256 / (256 - self.zeros)))


class Block(nn.Module):
    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        self.attention, self.mlp = Attention(config, layer), MLP(config)
        self.dropout = Dropout(config.dropout)

    def forward(self, x, cos, sin, cache=None):
        x = x + self.dropout(self.attention(norm(x), cos, sin, cache))
        x = x + self.dropout(self.mlp(norm(x)))
        return x


class Transformer(nn.Module):
    """Embedding, blocks, head. It computes in `dtype`; the weights stay in float32."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config, self.dtype = config, torch.float32
        self.embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.head = Linear(config.n_embd, config.vocab_size)
        cos, sin = rotary_table(config.context, config.n_embd // config.n_head)
        self.register_buffer('cos', cos, persistent=False)
        self.register_buffer('sin', sin, persistent=False)
        self.init_weights()

    @torch.no_grad()
    def init_weights(self):
        unit = self.config.n_embd ** -0.5            # keeps the size of what a matrix is fed
        nn.init.normal_(self.embedding.weight)
        nn.init.normal_(self.head.weight, std=0.5 * unit)    # nearly flat: first loss about ln V
        for block in self.blocks:
            for linear in (block.attention.qkv, block.mlp.up):
                nn.init.normal_(linear.weight, std=0.25 * unit)   # small, for Muon to overwrite
            for linear in (block.attention.proj, block.mlp.down):
                nn.init.zeros_(linear.weight)        # each block starts as the identity

    def forward(self, ids: torch.Tensor, cache: Cache | None = None) -> torch.Tensor:
        """ids (B, T) -> logits (B, T, V). With a cache, ids are those that come after it."""
        start, T = (cache.length if cache else 0), ids.size(1)
        if start + T > self.config.context:
            raise ValueError(f'{start + T} ids, more than the context of {self.config.context}')
        cos, sin = (table[start:start + T].to(self.dtype) for table in (self.cos, self.sin))
        x = norm(self.embedding(ids)).to(self.dtype)             # (B, T, C)
        for block in self.blocks:
            x = block(x, cos, sin, cache)
        if cache:
            cache.length += T
        return self.head(norm(x))                                # (B, T, V)

    @torch.no_grad()
    def generate(self, ids: torch.Tensor, temperature: float = 1.0, top_k: int = 0,
                 top_p: float = 1.0, stop: int | None = None, allowed=None,
                 generator: torch.Generator | None = None, cached: bool = True):
        """Go on from ids (B, T): yield the next id of each row, (B,) at a time, without end or
        until every row has drawn `stop` (a row that has, repeats it).

        `allowed()`, if given, is asked before each draw for a (B, V) mask of the ids that may
        come. When the context is full, its later half is read again as a new beginning: any
        length can be drawn, and from then on each id has at least half a context before it.
        `cached=False` is the plain path, to read and to test against: same ids, more work.
        """
        self.eval()
        cache = Cache(self.config, len(ids), self.head.weight) if cached else None
        window = ids[:, -self.config.context:]
        done = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        while not done.all():
            new = window[:, cache.length:] if cached else window
            logits = self(new, cache)[:, -1].float()             # (B, V)
            if allowed is not None:
                logits = logits.masked_fill(~allowed(), float('-inf'))
            id = draw(logits, temperature, top_k, top_p, generator)
            if stop is not None:
                id = torch.where(done, stop, id)
                done |= id == stop
            yield id
            window = torch.cat((window, id[:, None]), dim=1)
            if window.size(1) > self.config.context:
                window = window[:, -max(1, self.config.context // 2):]
                if cached:
                    cache.length = 0


def draw(logits: torch.Tensor, temperature: float, top_k: int, top_p: float,
         generator: torch.Generator | None = None) -> torch.Tensor:
    """One id a row from logits (B, V) -> (B,). Temperature 0 takes the likeliest; top_k keeps the k
    likeliest (0: all); top_p the likeliest that together reach p (Holtzman et al. 2020)."""
    if temperature < 0 or top_k < 0 or not 0 < top_p <= 1:
        raise ValueError(f'temperature = {temperature}, top_k = {top_k}, top_p = {top_p}: must be '
                         'at least 0, at least 0, and above 0 up to 1')
    if temperature == 0:
        return logits.argmax(dim=-1)
    sorted_logits, ids = (logits / temperature).sort(dim=-1, descending=True)
    p = sorted_logits.softmax(dim=-1)
    p[p.cumsum(dim=-1) - p >= top_p] = 0                         # what comes before reaches top_p
    if top_k:
        p[:, top_k:] = 0
    return ids.gather(1, torch.multinomial(p, 1, generator=generator))[:, 0]


def save(path: str, checkpoint: dict):
    """Write tensors and plain values under a temporary name, then rename: whatever interrupts it,
    `path` holds the old checkpoint or the new one, whole."""
    with open(f'{path}.part', 'wb') as file:
        torch.save(checkpoint, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f'{path}.part', path)


def load(path: str, device: str = 'cpu', dropout: float = 0.0) -> tuple[Transformer, dict]:
    """The model of a checkpoint, and the checkpoint. Raises ValueError for a foreign file."""
    if not os.path.isfile(path):
        raise ValueError(f'{path}: no such checkpoint: train one first, see README.md')
    try:
        checkpoint = torch.load(path, map_location='cpu', weights_only=True)
        config = ModelConfig(**{**checkpoint['model_config'], 'dropout': dropout})
        model = Transformer(config)
        model.load_state_dict(checkpoint['model'])
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, LookupError, TypeError,
            ValueError) as e:
        raise ValueError(f'{path}: broken, or not a checkpoint of this repo ({e!r:.80})') from None
    return model.to(device), checkpoint
