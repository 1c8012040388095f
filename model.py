"""A decoder-only transformer in one file: the network, drawing from it, saving and loading it.

It reads ids (numbers that stand for words) and gives a score to each id that may come next:

    ids -> embedding -> block -> block -> ... -> norm -> head -> logits
                        |
                        x + attention(norm(x))    every position looks at those before it
                        x + mlp(norm(x))          every position by itself

x is a row of C numbers for each position, to which every block adds something. The logits turn into
probabilities (softmax), from which `generate` draws one id, appends it, and asks again.

What differs from GPT-2, and why:

- Rotary positions: a query meets a key by how far apart the two are, not by where they stand.
- Two clocks: half of the heads (of three, two) measure that distance in ids, the others in time.
- The input is told what follows from the ids so far, where the beat is and which keys of the
  keyboard are down, since a small model adds that up badly; and, in half of the rows that it learns
  from, how far it is to the end, so that it can be asked for a length.
- LookBack: in the first half of the blocks, the three positions just before are mixed in.
- Queries and keys are normed, so that no score explodes at high learning rates.
- The MLP squares its ReLU. No norm has a gain, no matrix a bias: nothing is lost without them.
- Dropout drops channels of a whole row, and none of the attention: random numbers are dear.

It knows no music. Two tables, which the tokenizer writes, say what an id does outside of the row:

    clock (V)       how far the id moves a clock: for music in steps, 24 to the quarter note
    keys (V, K)     which of the K keys of a keyboard it presses (1) or lets go (-1), one at most

    id             on C4      shift 12      on E4           off C4      shift 12
    clock          0          12            12              12          24
    in the beat    0          12            12              12          0
    keys down      C4         C4            C4 E4           E4          E4

For text every id moves the clock by 1, a beat is 1 long, and K is 0: the same code.

Legend for shapes: B batch, T time, S time with the cache's, C channels (n_embd), H heads, D head
size (C / H), K keys of the keyboard, V vocabulary. (The keys of attention are called k.)
"""

import os
import pickle
import zipfile
import zlib
from dataclasses import asdict, dataclass
from typing import NamedTuple

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
    n_keys: int = 0       # keys of the keyboard
    beat: int = 1         # units of the clock after which its beat comes round

    def __post_init__(self):
        smallest = {'context': 2, 'n_keys': 0}
        for name, value in asdict(self).items():
            least = smallest.get(name, 1)
            if name != 'dropout' and value < least:
                raise ValueError(f'{name} = {value}: must be at least {least}')
        if self.n_embd % (2 * self.n_head):
            raise ValueError(f'n_embd = {self.n_embd}: must be divisible by 2 * n_head = '
                             f'{2 * self.n_head}, since rotary positions turn pairs of channels')
        if not 0 <= self.dropout < 1:
            raise ValueError(f'dropout = {self.dropout}: must be at least 0 and below 1')


# --------------------------------------------------------------------------- layers of a block

def norm(x: torch.Tensor) -> torch.Tensor:
    """Shift and scale each position's numbers to mean 0 and variance 1 (LayerNorm, Ba et al. 2016,
    without gain and bias). RMSNorm learns as well here, but PyTorch's is slower on a CPU."""
    return torch.layer_norm(x, x.shape[-1:])


def matrix(inputs: int, outputs: int) -> nn.Parameter:
    """The weights of a linear layer without bias; `init_weights` draws them."""
    return nn.Parameter(torch.empty(inputs, outputs))


def linear(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """x (..., inputs) times weights (inputs, outputs) -> (..., outputs), in the precision of x. The
    weights stay in float32: the optimizer's small steps would be rounded away in bfloat16."""
    if weights.dtype != x.dtype:                     # (it is cheaper to ask than to do nothing)
        weights = weights.to(x.dtype)
    return x @ weights


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions (Su et al. 2021): turn each pair of channels by an angle that grows with
    time. Then query . key depends on how far apart the two are and not on where they stand.

    x (..., D): channel i and channel i + D/2, a and b, become a cos - b sin and a sin + b cos.
    cos and sin (..., D) are those of the angles, which are negative in the first half.
    """
    partner = x.roll(x.size(-1) // 2, dims=-1)       # b where a was, and a where b was
    return x * cos + partner * sin                   # (sin is that of -angle where a stands)


# The heads that read the clock have wavelengths from a sixteenth to 64 bars of 4/4, in steps.
SHORTEST, LONGEST = 6, 6144


def head_frequencies(n_head: int, head_size: int) -> torch.Tensor:
    """How fast each head turns its channels, (2, H, D): in radians an id, and in radians a unit of
    the clock. One of the two is 0: the first half of the heads measures distance in ids, with the
    wavelengths of Su et al. 2021, the others by the clock, from SHORTEST to LONGEST.

    The two channels of a pair turn alike; the sign in the first half is the one `rotate` wants.
    """
    pairs = torch.arange(head_size // 2)
    by_ids = 10000.0 ** (-pairs / len(pairs))
    by_clock = 2 * torch.pi / SHORTEST * (SHORTEST / LONGEST) ** torch.linspace(0, 1, len(pairs))
    heads_by_ids = n_head - n_head // 2
    frequencies = torch.zeros(2, n_head, len(pairs))
    frequencies[0, :heads_by_ids] = by_ids
    frequencies[1, heads_by_ids:] = by_clock
    return torch.cat((-frequencies, frequencies), dim=-1)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attention (Vaswani et al. 2017): softmax(q k' / sqrt(D)) v, each query seeing the positions
    up to its own.

    q (B, H, T, D) are the last T of the S positions of k and v (B, H, S, D) -> (B, H, T, D).
    """
    T, D = q.shape[-2:]
    S = k.size(-2)
    # how well each query matches each key; the sum of D products grows with sqrt(D)
    scores = q * D ** -0.5 @ k.mT                                # (B, H, T, S)
    # nobody sees what comes later: -inf above the diagonal; if S is 4 and T 2, the rows are
    # 0 0 0 -inf and 0 0 0 0
    later = torch.full((T, S), float('-inf'), dtype=q.dtype, device=q.device).triu(S - T + 1)
    # positive weights that sum to 1, and with them the mean of the values
    weights = (scores + later).softmax(dim=-1)                   # (B, H, T, S)
    return weights @ v                                           # (B, H, T, D)


def attend_fast(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """The same as `attend`, from PyTorch where it has something faster: without the scores of all
    pairs in memory. It has not for T queries after a cache, nor for all in bfloat16 on a CPU."""
    T, S = q.size(-2), k.size(-2)
    if T == 1:
        return F.scaled_dot_product_attention(q, k, v)           # the last position sees all
    if T != S:
        return attend(q, k, v)
    if q.is_cpu and q.dtype == torch.bfloat16:
        # the first half of the positions need not be matched with the second: that saves a quarter
        half = T // 2
        first = attend(q[:, :, :half], k[:, :, :half], v[:, :, :half])
        return torch.cat((first, attend(q[:, :, half:], k, v)), dim=2)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class Attention(nn.Module):
    """Every position looks for what it needs in all positions before it, through H heads at once.
    Its query says what it looks for, a position's key what it has to offer, its value what it
    gives."""

    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        self.n_head = config.n_head
        self.layer = layer                                       # its place in the cache
        self.qkv = matrix(config.n_embd, 3 * config.n_embd)
        self.proj = matrix(config.n_embd, config.n_embd)

    def forward(self, x, cos, sin, cache=None):
        B, T, C = x.shape
        qkv = linear(x, self.qkv).view(B, T, 3, self.n_head, -1)         # (B, T, 3, H, D)
        qk, v = qkv.split((2, 1), dim=2)
        qk = rotate(norm(qk), cos, sin)                          # q and k in one call: it is faster
        q, k = qk.permute(2, 0, 3, 1, 4).unbind()                # (B, H, T, D) each
        v = v.squeeze(2).transpose(1, 2)                         # (B, H, T, D)
        if cache is not None:
            k, v = cache.append(self.layer, k, v)                # (B, H, S, D), S >= T
        y = attend_fast(q, k, v)
        return linear(y.transpose(1, 2).reshape(B, T, C), self.proj)


class MLP(nn.Module):
    """Each position by itself: widen fourfold, squared ReLU (So et al. 2021), and back."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.up = matrix(config.n_embd, 4 * config.n_embd)
        self.down = matrix(4 * config.n_embd, config.n_embd)

    def forward(self, x):
        wide = linear(x, self.up)                                # (B, T, 4 C)
        return linear(wide.relu().square(), self.down)           # (B, T, C)


LOOK_BACK = 3    # positions


class LookBack(nn.Module):
    """Every position takes a share of each of the three before it, channel by channel: a causal
    convolution, which Allen-Zhu 2025 calls a canon layer. What happened just now is then at hand,
    and attention is free to look for what lies further back."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        # farthest first; with three axes, so that Muon does not take it for a matrix
        self.shares = nn.Parameter(torch.empty(1, LOOK_BACK, config.n_embd))

    def forward(self, x, cache=None):
        T = x.size(1)
        shares = self.shares.to(x.dtype)
        if cache is None:
            row = F.pad(x, (0, 0, LOOK_BACK, 0))                 # (B, LOOK_BACK + T, C)
        else:
            before = cache.recall(self, x)                       # (B, LOOK_BACK, C)
            if T == 1:                                           # the loop below in one sum
                return x + (before * shares).sum(dim=1, keepdim=True)
            row = torch.cat((before, x), dim=1)
        for i in range(LOOK_BACK):
            x = x + shares[:, i] * row[:, i:i + T]               # (B, T, C)
        return x


class Block(nn.Module):
    """One layer of the transformer: attention brings in what matters from other positions, the MLP
    works on it. In the first half of the blocks a look at what has just been goes before each; in
    the second half it gains nothing. All of them add to x, none replaces it (residuals, He et al.
    2015): so the gradient reaches every block directly."""

    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        self.looks_back = layer < config.n_layer / 2
        if self.looks_back:
            self.look_back = LookBack(config)
            self.look_back_again = LookBack(config)
        self.attention = Attention(config, layer)
        self.mlp = MLP(config)
        self.dropout = config.dropout

    def forward(self, x, cos, sin, cache=None):
        if self.looks_back:
            x = self.look_back(x, cache)
        x = x + self.drop(self.attention(norm(x), cos, sin, cache))
        if self.looks_back:
            x = self.look_back_again(x, cache)
        x = x + self.drop(self.mlp(norm(x)))
        return x

    def drop(self, y: torch.Tensor) -> torch.Tensor:
        """In training, some channels of y (B, T, C) become 0 and the others that much larger, so
        that none is relied upon (dropout, Srivastava et al. 2014): the same ones at all positions
        of a row (Gal and Ghahramani 2016), since to draw for each takes a tenth of a step."""
        if not self.training:
            return y
        return F.dropout1d(y.mT, self.dropout).mT


# ------------------------------------------------------------------ what follows from ids so far

class State(NamedTuple):
    """What ids leave behind for those that come after, and these can't see by themselves. Times
    are by the clock and count from the last beat before the window; in a cache they run on."""
    clock: torch.Tensor       # (B,) where the clock stands
    down: torch.Tensor        # (B, K) how many ids hold each key down
    end: torch.Tensor         # (B,) when the piece is to end; not told: inf


class Told(NamedTuple):
    """What of the state after each id the model is told."""
    place: torch.Tensor       # (B, T) in the beat
    level: torch.Tensor       # (B, T) of END_LEVELS: how far it is to the end
    down: torch.Tensor        # (B, T, K) 1 for a key that is down, else 0


# How far it still is to the end is told as one of 16 levels, the farther the coarser: from 0, 10,
# 24, 44, 72 ... steps on, the last from 45 bars of 4/4 on. A seventeenth says that nothing is told.
END_LEVELS = [24 * (2 ** (level / 2) - 1) for level in range(16)] + [float('inf')]


def let_go(kernel: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """How much speaks for letting go of each key, (B, T, K).

    An interval sounds alike wherever it lies, so it goes by distance: kernel (B, T, K), from the
    last block, says how much a key that is d higher counts, and down (B, T, K) has 1 for a key
    that is down, else 0. For every key k

        score[k] = sum of down[k + d] * kernel[d]

    over all d, round the keyboard (its ends are too far apart to be confused).
    """
    T, K = down.shape[1:]
    if T == 1:
        twice_round = torch.cat((down, down), dim=2)[:, 0]       # (B, 2 K)
        from_each = twice_round.unfold(1, K, 1)[:, :K]           # (B, K, K): down[k + d] at k, d
        return torch.bmm(from_each, kernel.mT).mT
    # Such a correlation is a product of spectra, which for many positions is much faster.
    spectrum = torch.fft.rfft(down) * torch.fft.rfft(kernel).conj()
    return torch.fft.irfft(spectrum, K)


# ------------------------------------------------------------------------------------ the model

class Transformer(nn.Module):
    """Embedding, blocks, head. It computes in `dtype`; the weights stay in float32.

    `tables` has `clock` (V) and `keys` (V, K) of the module's docstring, as lists or tensors;
    without them the clock counts ids and no id moves a key. They are saved with the weights.
    Raises ValueError for a table of another shape.
    """

    def __init__(self, config: ModelConfig, tables: dict | None = None):
        super().__init__()
        self.config = config
        self.dtype = torch.float32
        V, K, C = config.vocab_size, config.n_keys, config.n_embd
        # at the input: the id, the place in the beat, how far it is to the end, the keys
        self.embedding = nn.Parameter(torch.empty(V, C))
        self.place = nn.Parameter(torch.empty(config.beat, C))
        self.ending = nn.Parameter(torch.empty(len(END_LEVELS), C))
        self.held = nn.Parameter(torch.empty(K, C))
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        # at the output: a score for each id, one for each place in the beat, and a kernel of keys
        self.n_places = config.beat if config.beat > 1 else 0    # if one, nothing to choose from
        self.head = matrix(C, V + self.n_places + K)
        self.add_tables(tables or {'clock': torch.ones(V), 'keys': torch.zeros(V, K)})
        self.init_weights()

    def add_tables(self, tables: dict):
        """Keep the two tables, and what follows from them and from the shape of the model."""
        V, K, beat = self.config.vocab_size, self.config.n_keys, self.config.beat
        for name, shape in (('clock', (V,)), ('keys', (V, K))):
            table = torch.as_tensor(tables[name], dtype=torch.float)
            if table.shape != shape:
                raise ValueError(f'{name} is {tuple(table.shape)}: must be {shape}')
            self.register_buffer(name, table)
        place = torch.arange(beat)
        # which ids move on by 0, 1, 2 ... places in the beat (a wait of 30 in a beat of 24: by 6)
        moves_on_by = (self.clock % beat == place[:, None])[:self.n_places]      # (n_places, V)
        lets_go = self.keys.T < 0                                                # (K, V)
        position = torch.arange(self.config.context)
        by_id, by_clock = head_frequencies(self.config.n_head,
                                           self.config.n_embd // self.config.n_head)
        derived = {
            'leads_to': (place[:, None] + place) % beat,         # (beat, beat)
            'speaks_for': torch.cat((moves_on_by, lets_go)).float(),     # (n_places + K, V)
            'end_levels': torch.tensor(END_LEVELS[1:]),          # where the second and so on begin
            'angles_by_id': position[:, None, None] * by_id,     # (context, H, D)
            'angle_a_unit': by_clock}                            # (H, D)
        for name, table in derived.items():
            self.register_buffer(name, table, persistent=False)          # not saved

    @torch.no_grad()
    def init_weights(self):
        """Draw all weights. What is 0 at first says nothing until training finds a use for it."""
        unit = self.config.n_embd ** -0.5            # x of size 1 times such a matrix is of size 1
        nn.init.normal_(self.embedding)
        nn.init.zeros_(self.place)
        nn.init.zeros_(self.ending)
        nn.init.normal_(self.held, std=0.1)
        nn.init.zeros_(self.head)
        V = self.config.vocab_size
        nn.init.normal_(self.head[:, :V], std=0.5 * unit)        # nearly flat: about ln V at first
        for block in self.blocks:
            # Muon's steps have a fixed size: small weights are soon what it makes of them
            nn.init.normal_(block.attention.qkv, std=0.25 * unit)
            nn.init.normal_(block.mlp.up, std=0.25 * unit)
            # each block begins as the identity
            nn.init.zeros_(block.attention.proj)
            nn.init.zeros_(block.mlp.down)
            if block.looks_back:
                nn.init.zeros_(block.look_back.shares)
                nn.init.zeros_(block.look_back_again.shares)

    def beginning(self, batch: int) -> State:
        """The state before a piece: nothing has come, no key is down, no end is told."""
        zeros = self.clock.new_zeros(batch)
        return State(clock=zeros, down=self.clock.new_zeros(batch, self.config.n_keys),
                     end=zeros + float('inf'))

    def follow(self, ids: torch.Tensor, state: State) -> State:
        """The state after each of ids (B, T), `state` being that before them: its tensors have a
        further axis, (B, T, ...)."""
        clock = state.clock[:, None] + self.clock[ids].cumsum(dim=1)             # (B, T)
        down = state.down[:, None] + self.keys[ids].cumsum(dim=1)                # (B, T, K)
        end = state.end[:, None].expand_as(clock)
        return State(clock, down, end)

    @torch.no_grad()
    def state_after(self, ids: torch.Tensor, state: State | None = None) -> State:
        """What ids (B, T) leave behind for a window that begins after them; `state` is what they
        found. Exact if no key is let go more often than pressed before; a count below 0 is 0."""
        state = state or self.beginning(len(ids))
        clock = state.clock + self.clock[ids].sum(dim=1)
        in_beat = clock % self.config.beat
        # how often each of the V ids came says how often each key was moved, at less cost
        counts = self.head.new_zeros(len(ids), self.config.vocab_size)
        counts = counts.scatter_add(1, ids, torch.ones_like(ids, dtype=counts.dtype))
        down = (state.down + counts @ self.keys).clamp(min=0)
        return State(clock=in_beat, down=down, end=state.end - (clock - in_beat))

    def tell(self, now: State) -> Told:
        """The states (B, T, ...) after each of some ids, in the form in which they are told."""
        place = (now.clock % self.config.beat).long()
        left = now.end - now.clock                               # until the piece is to end
        if self.training:
            # a window may run past the end, into a piece of which nothing is told
            left = torch.where(left < 0, float('inf'), left)
        else:
            # a wish whose time is up stands until it is fulfilled
            left = left.clamp(min=0)
        level = torch.bucketize(left, self.end_levels, right=True)
        return Told(place, level, down=now.down.clamp(0, 1))

    def embed(self, ids: torch.Tensor, told: Told) -> torch.Tensor:
        """What the first block reads (B, T, C): ids (B, T), and what is told after each."""
        x = F.embedding(ids, self.embedding)
        x = x + F.embedding(told.place, self.place)
        x = x + F.embedding(told.level, self.ending)
        x = x + told.down @ self.held                            # the sum over the keys held down
        return norm(x)

    def angles(self, clock: torch.Tensor, start: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Clock (B, T) at positions from `start` on -> cos and sin of the angles by which all heads
        turn, (B, T, 1, H, D) each, in the model's precision. The axis of 1: q and k turn alike."""
        by_id = self.angles_by_id[start:start + clock.size(1)]
        angles = by_id + clock[..., None, None] * self.angle_a_unit      # (B, T, H, D)
        angles = angles.unsqueeze(2)
        return angles.cos().to(self.dtype), angles.sin().to(self.dtype)

    def unembed(self, x: torch.Tensor, told: Told) -> torch.Tensor:
        """x (B, T, C), of the last block, and what was told -> logits (B, T, V)."""
        V, K = self.config.vocab_size, self.config.n_keys
        logits, arrivals, kernel = linear(x, self.head).split((V, self.n_places, K), dim=-1)
        scores = []
        if self.n_places:
            # An id is scored by the place in the beat where it would lead, too: one that leaves
            # the beat is known for it, however rarely it was seen. (Place 20 of 24 and 6: place 2.)
            places = self.leads_to[told.place]                   # (B, T, beat): moving on
            scores.append(arrivals.gather(2, places))            # ... by 0, 1, 2 ... places
        if K:
            scores.append(let_go(kernel.float(), told.down).to(x.dtype))         # (B, T, K)
        if scores:
            logits = logits + linear(torch.cat(scores, dim=-1), self.speaks_for)
        return logits

    def forward(self, ids: torch.Tensor, cache: 'Cache | None' = None,
                state: State | None = None) -> torch.Tensor:
        """ids (B, T) -> logits (B, T, V).

        With a cache, ids are those that come after what it holds. Without one, `state` is what the
        ids before the window left behind, from `state_after`; None at the beginning of a piece.
        Raises ValueError for more ids than the context.
        """
        T = ids.size(1)
        start = cache.length if cache is not None else 0
        if start + T > self.config.context:
            raise ValueError(f'{start + T} ids, more than the context of {self.config.context}')
        if cache is not None:
            state = cache.state
        now = self.follow(ids, state or self.beginning(len(ids)))        # a state for each id
        told = self.tell(now)
        x = self.embed(ids, told).to(self.dtype)                         # (B, T, C)
        cos, sin = self.angles(now.clock, start)
        for block in self.blocks:
            x = block(x, cos, sin, cache)
        if cache is not None:
            cache.length += T
            cache.state = State(now.clock[:, -1], now.down[:, -1], state.end)
        return self.unembed(norm(x), told)

    @torch.inference_mode()
    def generate(self, ids: torch.Tensor, stop: int | None = None, grammar=None,
                 length: torch.Tensor | None = None, cached: bool = True, **drawing):
        """Go on from ids (B, T): yield the next id of each row, (B,) at a time, without end or
        until every row has drawn `stop` (a finished row repeats it). `drawing` is handed on to
        `draw`: temperature, top_k and so on.

        `length` (B,), if given, is how far by the clock each row should go, the ids given included.
        The model was told this in training and tends to comply; nothing enforces it.
        `grammar`, if given, is a guard: see `draw_by_grammar`.
        When the context is full, its later half is read again as a new beginning, after the state
        that all ids before it left: any length can be drawn, and from then on each id has at least
        half a context before it.
        `cached=False` is the plain path, to read and to test against: more work, and the same ids
        but for rounding (none differed in float32). The model is in eval mode afterwards.
        """
        self.eval()
        context = self.config.context
        state = self.beginning(len(ids))
        if length is not None:
            state = state._replace(end=length.to(state.end))
        window = ids
        if ids.size(1) > context:
            state = self.state_after(ids[:, :-context], state)
            window = ids[:, -context:]
        cache = Cache(self, len(ids), state) if cached else None
        done = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        new = window                                             # what the cache has not seen
        while True:
            if cached:
                logits = self(new, cache)
            else:
                logits = self(window, state=state)
            logits = logits[:, -1].float()                       # (B, V)
            if grammar is None:
                id = draw(logits, **drawing)
            else:
                id = draw_by_grammar(logits, grammar, done, **drawing)
            if stop is not None:
                id = torch.where(done, stop, id)
                done |= id == stop
            if grammar is not None:
                grammar.advance(id.tolist())
            yield id
            if stop is not None and done.all():
                return
            new = id[:, None]
            window = torch.cat((window, new), dim=1)
            if window.size(1) > context:
                keep = context // 2
                state = self.state_after(window[:, :-keep], state)
                window = new = window[:, -keep:]
                if cached:
                    cache.restart(state)


class Cache:
    """What a model needs of the positions seen so far: their keys k and values v, in arrays
    allocated once, what each LookBack read at the last of them, and the state that they left.

    With it a new id costs one position of work instead of the whole context again.
    """

    def __init__(self, model: Transformer, batch: int, state: State | None = None):
        config = model.config
        shape = (batch, config.n_head, config.context, config.n_embd // config.n_head)
        like = {'dtype': model.dtype, 'device': model.clock.device}
        self.k = [torch.zeros(shape, **like) for _ in model.blocks]
        self.v = [torch.zeros(shape, **like) for _ in model.blocks]
        self.restart(state or model.beginning(batch))

    def restart(self, state: State):
        """Forget all positions; the next ids come after `state`."""
        self.length = 0                                          # positions filled
        self.state = state
        self.recent = {}                                         # of each LookBack

    def append(self, layer: int, k: torch.Tensor, v: torch.Tensor):
        """Write k, v (B, H, T, D) after what is there; return all (B, H, length + T, D)."""
        T = k.size(2)
        all_k, all_v = self.k[layer], self.v[layer]
        all_k.narrow(2, self.length, T).copy_(k)
        all_v.narrow(2, self.length, T).copy_(v)
        return all_k.narrow(2, 0, self.length + T), all_v.narrow(2, 0, self.length + T)

    def recall(self, reader: LookBack, x: torch.Tensor) -> torch.Tensor:
        """What `reader` read at the LOOK_BACK positions before x (B, T, C), which it reads now."""
        before = self.recent.get(reader)
        if before is None:
            before = x.new_zeros(x.size(0), LOOK_BACK, x.size(2))
        self.recent[reader] = torch.cat((before, x), dim=1)[:, -LOOK_BACK:]
        return before


# -------------------------------------------------------------------------------------- drawing

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
    p = (logits / temperature).softmax(dim=-1)
    kept = p
    if min_p > 0:
        kept = kept.masked_fill(p < min_p * p.amax(dim=-1, keepdim=True), 0)
    if top_k > 0 or top_p < 1:
        ranked, ids = p.sort(dim=-1, descending=True)
        late = torch.zeros_like(p, dtype=torch.bool)             # in the order of ranks
        if top_k > 0:
            late[:, top_k:] = True
        if top_p < 1:
            late |= ranked.cumsum(dim=-1) - ranked >= top_p      # those before it reach it already
        kept = kept.masked_fill(late.scatter(1, ids, late), 0)   # in the order of ids
    # A race: each id takes a random time, 1 / p on average. Then each wins as often as p says.
    times = torch.empty_like(p).exponential_(generator=generator) / kept
    return times.argmin(dim=-1)


def draw_by_grammar(logits: torch.Tensor, grammar, done: torch.Tensor, **drawing) -> torch.Tensor:
    """Draw from logits (B, V) -> (B,); a row whose draw is forbidden draws again among what is
    allowed, unless it is `done` (B,). The first draw is free, which shows how often the guard is
    needed.

    `grammar.allowed()` is a (B, V) mask of the ids that may come, and `grammar.refuse(rows)` is
    told which rows (B,) had to draw twice.
    """
    id = draw(logits, **drawing)
    allowed = torch.as_tensor(grammar.allowed(), device=logits.device)   # (B, V)
    refused = ~allowed.gather(1, id[:, None])[:, 0] & ~done
    if refused.any():
        again = draw(logits.masked_fill(~allowed, float('-inf')), **drawing)
        id = torch.where(refused, again, id)
        grammar.refuse(refused.tolist())
    return id


# --------------------------------------------------------------------------------- save and load

FORMAT = 7               # of a checkpoint: what another version of this repo would not understand
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
        model = Transformer(config, checkpoint['model'])         # both tables are among its tensors
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
