"""A decoder-only transformer in one file: network, key/value cache, sampling, save and load.

It turns ids into logits, bottom-up, and knows no music, text, data or training. But it can count.
Two tables, which the tokenizer writes, say what each id does outside the row of ids:

    clock (V)       how far the id moves a clock
    keys (V, K)     which of a row of K switches the id turns on (1) or off (-1), one at most

and the model is told their running sums at every position. For music the clock counts musical
time, its beat is a quarter note of 24, and the switches are the keys of a keyboard:

    id             on C4      shift 12      on E4           off C4      shift 12
    clock          0          12            12              12          24
    in the beat    0          12            12              12          0
    keys down      C4         C4            C4 E4           E4          E4
    the hand       C4         C4            E4              C4          C4

Half of the attention heads measure distance by the clock, so that "a bar ago" is one angle,
whatever was played since. The place in the beat is added to the embedding, so that no piece slips
off it. So are the keys that are down, and those that were pressed of late: by name, so that none
is forgotten, and as the hand sees them that moved last, so that a third is a third wherever it
lies (class Keyboard). For text the clock counts ids, without a beat, and K is 0: the same code.

Otherwise it differs from GPT-2 in this: positions are rotary, queries and keys are normed, norms
and matrices have no gain and no bias, the MLP squares its ReLU, and the blocks of the first half
mix in what stood at the three positions before (class LookBack).

Legend for shapes: B batch, T time, S time with the cache's, C channels (n_embd), H heads, D head
size (C / H), K switches, W switches that are seen from one (2 * SPAN + 1), V vocabulary.
"""

import os
import pickle
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
    n_keys: int = 0       # switches in a row that ids turn on and off
    beat: int = 1         # units of the clock after which its beat comes round

    def __post_init__(self):
        smallest = {'context': 2, 'n_keys': 0}
        for name, value in asdict(self).items():
            least = smallest.get(name, 1)
            if name != 'dropout' and value < least:
                raise ValueError(f'{name} = {value}: must be at least {least}')
        if self.n_embd % (2 * self.n_head):
            raise ValueError(f'n_embd = {self.n_embd}: no even multiple of n_head = {self.n_head}')
        if not 0 <= self.dropout < 1:
            raise ValueError(f'dropout = {self.dropout}: must be at least 0 and below 1')


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


# Times are by the clock, in music 24 to the quarter note. The heads that read it have wavelengths
# from a sixteenth to 64 bars of 4/4; and how far a piece still goes is told as one of 16 levels,
# the farther the coarser: from 0, 10, 24, 44, 72 ... steps on, the last from 45 bars of 4/4 on. A
# seventeenth, endless, stands for a piece of which nothing is told.
SHORTEST, LONGEST = 6, 6144
END_LEVELS = [24 * (2 ** (level / 2) - 1) for level in range(16)] + [float('inf')]


def head_frequencies(n_head: int, head_size: int) -> torch.Tensor:
    """How fast each head turns its channels: (2, H, D), in radians an id and in radians a unit of
    the clock, one of which is 0. The two channels of a pair turn alike; the sign in the first half
    is the one that `rotate` wants.

    The first half of the heads measures distance in ids, with the wavelengths of Su et al. 2021;
    the others measure it by the clock, with wavelengths from SHORTEST to LONGEST.
    """
    steps = torch.linspace(0, 1, head_size // 2 + 1)[:-1]
    by_ids = 10000.0 ** -steps
    steps = torch.linspace(0, 1, head_size // 2)
    by_clock = 2 * torch.pi / SHORTEST * (SHORTEST / LONGEST) ** steps
    frequencies = torch.zeros(2, n_head, head_size // 2)
    heads_by_ids = n_head - n_head // 2
    frequencies[0, :heads_by_ids] = by_ids
    frequencies[1, heads_by_ids:] = by_clock
    return torch.cat((-frequencies, frequencies), dim=-1)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions (Su et al. 2021): turn each pair of channels by an angle that grows with
    time, so that query . key depends on how far apart the two are and not on where they stand.

    x (..., D): channel i and channel i + D/2, a and b, become a cos - b sin and a sin + b cos.
    cos and sin (..., D) are those of the angles, which are negative in the first half.
    """
    partner = x.roll(x.size(-1) // 2, dims=-1)                   # b where a was, and a where b was
    return x * cos + partner * sin


class State(NamedTuple):
    """What ids leave behind for those that come after: all that these can't see by themselves.
    Times are by the clock and count from the last beat before the window; in a cache they run on.
    """
    clock: torch.Tensor       # (B,) where the clock stands
    keys: torch.Tensor        # (B, K) how many ids hold each switch on
    pressed: torch.Tensor     # (B, K) when each switch was last turned on; never: -inf
    hand: torch.Tensor        # (B,) the switch that was turned last, on or off; none yet: -1
    end: torch.Tensor         # (B,) when the piece is to end; not told: inf


SPAN = 24        # switches that are seen to each side of one: for keys, two octaves
FADE = 24        # the trace of a switch turned on falls to 1/e in this time: in music, a quarter


def traces_of(state: State) -> torch.Tensor:
    """State after each of T ids -> (B, T, 2, K): 1 where a switch is on, 0 where it is off; and how
    lately it was turned on, 1 if just now, then less and less."""
    age = state.clock[..., None] - state.pressed
    return torch.stack((state.keys.clamp(0, 1), torch.exp(-age / FADE)), dim=2)


def carry_on(values: torch.Tensor) -> torch.Tensor:
    """(B, T) -> the same, each -1 replaced by the last other value before it, if there is one."""
    position = torch.arange(values.size(1), device=values.device)
    latest = torch.where(values < 0, 0, position).cummax(dim=1).values
    return values.gather(1, latest)


class Keyboard(nn.Module):
    """What the traces of the switches (B, T, 2, K) tell the model.

    An interval sounds alike wherever it lies, so most of it goes by distance: seen from one switch,
    the traces of the W around it are 2 * W numbers, and what is learned of them holds for all.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.around = 2 * (2 * SPAN + 1)
        self.by_name = nn.Parameter(torch.empty(config.n_keys, config.n_embd))
        self.from_hand = nn.Parameter(torch.empty(self.around, config.n_embd))
        self.from_each = Linear(config.n_embd, self.around)

    def look(self, traces: torch.Tensor, hand: torch.Tensor) -> torch.Tensor:
        """What the input is told, (B, T, C): which switches are on, and the traces around the one
        that was turned last, `hand` (B, T)."""
        window = torch.arange(2 * SPAN + 1, device=hand.device)
        hand = hand.clamp(min=0)             # before the first press there is nothing to see anyway
        places = hand[:, :, None, None] + window                         # (B, T, 1, W)
        padded = F.pad(traces, (SPAN, SPAN))                             # (B, T, 2, K + W - 1)
        seen = padded.gather(3, places.expand(-1, -1, 2, -1))            # (B, T, 2, W)
        return traces[:, :, 0] @ self.by_name + seen.flatten(2) @ self.from_hand

    def turn_off(self, x: torch.Tensor, traces: torch.Tensor) -> torch.Tensor:
        """How much speaks for turning each switch off, (B, T, K). x (B, T, C), of the last block,
        asks for one kernel (2, W), and every switch weighs what is around it by that:

            scores[k] = sum of traces[n, k + d] * kernel[n, SPAN + d] for n in 0, 1, |d| <= SPAN

        Such a correlation is a product of spectra, and ten times as fast as the sum written out.
        """
        K = traces.size(-1)
        kernel = self.from_each(x).float().unflatten(-1, (2, -1))        # (B, T, 2, W)
        size = K + 2 * SPAN                                      # enough that nothing wraps around
        product = torch.fft.rfft(traces, size) * torch.fft.rfft(kernel, size).conj()
        scores = torch.fft.irfft(product.sum(dim=2), size)       # of k + SPAN, (B, T, K + W - 1)
        return scores.roll(SPAN, dims=-1)[..., :K]


LOOK_BACK = 3    # positions before each that a block of the first half mixes in


class Cache:
    """What a model needs of the positions seen so far: their keys and values, in arrays allocated
    once, what each LookBack read at the last of them, and the state that they left.

    With it a new id costs one position of work instead of the whole context again.
    """

    def __init__(self, model: 'Transformer', batch: int, state: State | None = None):
        config, like = model.config, model.head.weight
        shape = (batch, config.n_head, config.context, config.n_embd // config.n_head)
        layers = range(config.n_layer)
        self.keys = [like.new_zeros(shape, dtype=model.dtype) for _ in layers]
        self.values = [like.new_zeros(shape, dtype=model.dtype) for _ in layers]
        self.restart(state or model.beginning(batch))

    def restart(self, state: State):
        """Forget all positions; the next ids come after `state`."""
        self.length = 0                                          # positions filled
        self.state = state
        self.recent = {}                                         # of each LookBack

    def append(self, layer: int, k: torch.Tensor, v: torch.Tensor):
        """Write k, v (B, H, T, D) after what is there; return all (B, H, length + T, D)."""
        keys, values, end = self.keys[layer], self.values[layer], self.length + k.size(2)
        keys[:, :, self.length:end] = k
        values[:, :, self.length:end] = v
        return keys[:, :, :end], values[:, :, :end]

    def recall(self, reader: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """x (B, T, C) with what `reader` read at the LOOK_BACK positions before, in one row."""
        if reader not in self.recent:
            self.recent[reader] = x.new_zeros(x.size(0), LOOK_BACK, x.size(2))
        row = torch.cat((self.recent[reader], x), dim=1)         # (B, LOOK_BACK + T, C)
        self.recent[reader] = row[:, -LOOK_BACK:]
        return row


class LookBack(nn.Module):
    """Every position takes a share of each of the three before it, channel by channel: a causal
    convolution, which Allen-Zhu 2025 calls a canon layer. What happened just now is then at hand,
    and attention is free to look for what lies further back."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        # farthest first, for each position: no matrix between activations, so none for Muon
        self.shares = nn.Parameter(torch.empty(LOOK_BACK, 1, config.n_embd))

    def forward(self, x, cache=None):
        T = x.size(1)
        row = cache.recall(self, x) if cache else F.pad(x, (0, 0, LOOK_BACK, 0))
        shares = self.shares.to(x.dtype)                         # (LOOK_BACK, 1, C)
        if T == 1:                                               # the loop below in one sum
            return x + (row[:, :LOOK_BACK] * shares[:, 0]).sum(dim=1, keepdim=True)
        for first, share in enumerate(shares):
            x = x + share * row[:, first:first + T]              # (B, T, C)
        return x


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attention (Vaswani et al. 2017) written out: softmax(q k' / sqrt(D)) v, each query seeing the
    keys up to its own.

    q (B, H, T, D) are the last T of the S positions of k and v (B, H, S, D) -> (B, H, T, D).
    """
    (T, D), S = q.shape[2:], k.size(2)
    later = torch.full((T, S), float('-inf'), dtype=q.dtype, device=q.device).triu(S - T + 1)
    scores = (q * D ** -0.5) @ k.mT + later                      # (B, H, T, S)
    return scores.softmax(dim=-1) @ v


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
        S = k.size(2)
        if T not in (1, S) or (x.is_cpu and x.dtype == torch.bfloat16):
            y = attend(q, k, v)
        else:            # the same from PyTorch: faster, but for bfloat16 on a CPU
            y = F.scaled_dot_product_attention(q, k, v, is_causal=T == S)
        return self.proj(y.transpose(1, 2).reshape(B, T, C))


class MLP(nn.Module):
    """Each position by itself: widen fourfold, squared ReLU (So et al. 2021), and back."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.up = Linear(config.n_embd, 4 * config.n_embd)
        self.down = Linear(4 * config.n_embd, config.n_embd)

    def forward(self, x):
        return self.down(F.relu(self.up(x)).square())            # (B, T, C) -> 4C -> (B, T, C)


class Block(nn.Module):
    """Attention looks for what matters, the MLP thinks about it; in the first half of the blocks, a
    look at what has just been goes before each (in the second half it gains nothing). All of them
    add to x."""

    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        self.looks_back = layer < config.n_layer / 2
        if self.looks_back:
            self.look_back = LookBack(config)
            self.look_back_again = LookBack(config)
        self.attention = Attention(config, layer)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x, cos, sin, cache=None):
        if self.looks_back:
            x = self.look_back(x, cache)
        x = x + self.dropout(self.attention(norm(x), cos, sin, cache))
        if self.looks_back:
            x = self.look_back_again(x, cache)
        x = x + self.dropout(self.mlp(norm(x)))
        return x


class Transformer(nn.Module):
    """Embedding, blocks, head. It computes in `dtype`; the weights stay in float32.

    `tables` has `clock` (V) and `keys` (V, K) of the module's docstring, as lists or tensors;
    without them the clock counts ids and no id turns a switch. They are saved with the weights.
    Raises ValueError for a table of another shape.
    """

    def __init__(self, config: ModelConfig, tables: dict | None = None):
        super().__init__()
        self.config, self.dtype = config, torch.float32
        V, K, C = config.vocab_size, config.n_keys, config.n_embd
        self.embedding = nn.Embedding(V, C)
        self.keyboard = Keyboard(config) if K else None
        self.place = nn.Parameter(torch.empty(config.beat, C))   # in the beat
        self.ending = nn.Parameter(torch.empty(len(END_LEVELS), C))    # how far it is
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.head = Linear(C, V)
        self.arrival = Linear(C, config.beat)                    # at each place in the beat
        blank = {'clock': torch.ones(V), 'keys': torch.zeros(V, K)}
        for name, empty in blank.items():
            table = torch.as_tensor((tables or blank)[name], dtype=torch.float)
            if table.shape != empty.shape:
                raise ValueError(f'{name} is {tuple(table.shape)}: must be {tuple(empty.shape)}')
            self.register_buffer(name, table)
        # what follows from the two tables: which switch each id turns, on or off (none: -1), which
        # it turns off, and which ids have each length, but for whole beats; and the place in the
        # beat to which each length leads from each place
        number = torch.arange(1, K + 1, dtype=torch.float)
        length = self.clock.long() % config.beat
        place = torch.arange(config.beat)
        derived = {'switch': (self.keys.abs() @ number).long() - 1,              # (V)
                   'turns_off': (self.keys < 0).float(),                         # (V, K)
                   'has_length': F.one_hot(length, config.beat).float().T,       # (beat, V)
                   'leads_to': (place[:, None] + place) % config.beat}           # (beat, beat)
        for name, table in derived.items():
            self.register_buffer(name, table, persistent=False)
        self.register_buffer('end_levels', torch.tensor(END_LEVELS), persistent=False)
        self.register_buffer('frequencies', head_frequencies(config.n_head, C // config.n_head),
                             persistent=False)
        self.init_weights()

    @torch.no_grad()
    def init_weights(self):
        unit = self.config.n_embd ** -0.5            # keeps the size of what a matrix is fed
        nn.init.normal_(self.embedding.weight)
        for added in (self.place, self.ending):
            nn.init.zeros_(added)                    # nothing, until it helps
        if self.keyboard:
            nn.init.normal_(self.keyboard.by_name, std=0.1)
            nn.init.zeros_(self.keyboard.from_hand)
            nn.init.zeros_(self.keyboard.from_each.weight)
        nn.init.normal_(self.head.weight, std=0.5 * unit)    # nearly flat: first loss about ln V
        nn.init.zeros_(self.arrival.weight)
        for block in self.blocks:
            for linear in (block.attention.qkv, block.mlp.up):
                nn.init.normal_(linear.weight, std=0.25 * unit)   # small, for Muon to overwrite
            for linear in (block.attention.proj, block.mlp.down):
                nn.init.zeros_(linear.weight)        # each block starts as the identity
            if block.looks_back:
                nn.init.zeros_(block.look_back.shares)
                nn.init.zeros_(block.look_back_again.shares)

    def beginning(self, batch: int) -> State:
        """The state before a piece: nothing has come, every switch is off, no end is told."""
        zeros = self.clock.new_zeros
        keys = zeros(batch, self.config.n_keys)
        return State(clock=zeros(batch), keys=keys, pressed=keys - float('inf'),
                     hand=zeros(batch, dtype=torch.long) - 1, end=zeros(batch) + float('inf'))

    def follow(self, ids: torch.Tensor, state: State) -> State:
        """The state after each of ids (B, T), `state` being that before them: its tensors have a
        further axis, (B, T, ...)."""
        clock = state.clock[:, None] + self.clock[ids].cumsum(dim=1)
        change = self.keys[ids]                                  # (B, T, K)
        keys = state.keys[:, None] + change.cumsum(dim=1)
        pressed = torch.where(change > 0, clock[..., None], float('-inf'))
        pressed = torch.cat((state.pressed[:, None], pressed), dim=1).cummax(dim=1).values[:, 1:]
        hand = carry_on(torch.cat((state.hand[:, None], self.switch[ids]), dim=1))[:, 1:]
        end = state.end[:, None].expand_as(clock)
        return State(clock, keys, pressed, hand, end)

    @torch.no_grad()
    def state_after(self, ids: torch.Tensor, state: State | None = None) -> State:
        """What ids (B, T) leave behind for a window that begins after them; `state` is what they
        found. Exact if no switch is turned off more often than on before; a count below 0 is 0.

        It is the last state of `follow`, at less cost: only how often each of the V ids came is
        wanted, and when last.
        """
        state = state or self.beginning(len(ids))
        clock = state.clock[:, None] + self.clock[ids].cumsum(dim=1)             # (B, T)
        now = clock[:, -1:] % self.config.beat                   # (B, 1), in the beat
        passed = clock[:, -1:] - now                             # whole beats
        none = clock.new_zeros(len(ids), self.config.vocab_size)
        counts = none.scatter_add(1, ids, torch.ones_like(clock))                # (B, V)
        latest = (none + float('-inf')).scatter_reduce(1, ids, clock, 'amax')    # (B, V)
        pressed = torch.where(self.keys > 0, latest[..., None], float('-inf')).amax(dim=1)
        hand = carry_on(torch.cat((state.hand[:, None], self.switch[ids]), dim=1))
        return State(clock=now[:, 0],
                     keys=(state.keys + counts @ self.keys).clamp(min=0),
                     pressed=torch.maximum(state.pressed, pressed) - passed,
                     hand=hand[:, -1],
                     end=state.end - passed[:, 0])

    def embed(self, ids: torch.Tensor, now: State, traces: torch.Tensor) -> torch.Tensor:
        """What the first block reads (B, T, C): ids (B, T), the states after each and the traces of
        those."""
        left = now.end - now.clock                               # (B, T) until the piece is to end
        if self.training:
            # a window may run past the end, into a piece of which nothing is told
            left = torch.where(left < 0, float('inf'), left)
        else:
            # a wish whose time is up stands until it is fulfilled
            left = left.clamp(min=0)
        level = torch.bucketize(left, self.end_levels, right=True) - 1
        x = self.embedding(ids) + F.embedding(self.place_in_beat(now.clock), self.place)
        x = x + F.embedding(level, self.ending)
        if self.keyboard:
            x = x + self.keyboard.look(traces, now.hand)
        return norm(x)

    def place_in_beat(self, clock: torch.Tensor) -> torch.Tensor:
        return (clock % self.config.beat).long()

    def angles(self, clock: torch.Tensor, start: int) -> torch.Tensor:
        """Clock (B, T) at positions from `start` on -> the angles of all heads (B, T, H, D)."""
        count = torch.arange(start, start + clock.size(1), device=clock.device)
        an_id, a_unit = self.frequencies
        return count[:, None, None] * an_id + clock[..., None, None] * a_unit

    def forward(self, ids: torch.Tensor, cache: Cache | None = None,
                state: State | None = None) -> torch.Tensor:
        """ids (B, T) -> logits (B, T, V).

        With a cache, ids are those that come after what it holds. Without one, `state` is what the
        ids before the window left behind, from `state_after`; None at the beginning of a piece.
        """
        start, T = (cache.length if cache else 0), ids.size(1)
        if start + T > self.config.context:
            raise ValueError(f'{start + T} ids, more than the context of {self.config.context}')
        before = cache.state if cache else state or self.beginning(len(ids))
        now = self.follow(ids, before)                           # a state for each id
        traces = traces_of(now)                                  # (B, T, 2, K)
        x = self.embed(ids, now, traces).to(self.dtype)       # (B, T, C)
        angles = self.angles(now.clock, start)[:, :, None]       # (B, T, 1, H, D)
        cos, sin = angles.cos().to(self.dtype), angles.sin().to(self.dtype)
        for block in self.blocks:
            x = block(x, cos, sin, cache)
        if cache:
            cache.length += T
            cache.state = State(*(after_each[:, -1] for after_each in now))
        x = norm(x)
        logits = self.head(x)                                    # (B, T, V)
        if self.config.beat > 1:
            # where each id would lead: so one that leaves the beat is known for it, however rare
            places = self.leads_to[self.place_in_beat(now.clock)]          # (B, T, beat)
            arrivals = self.arrival(x).gather(2, places)         # after each length
            logits = logits + arrivals @ self.has_length.to(x.dtype)
        if self.keyboard:
            scores = self.keyboard.turn_off(x, traces).to(x.dtype)
            logits = logits + scores @ self.turns_off.to(x.dtype).T
        return logits

    @torch.inference_mode()
    def generate(self, ids: torch.Tensor, temperature: float = 1.0, top_k: int = 0,
                 top_p: float = 1.0, min_p: float = 0.0, stop: int | None = None, grammar=None,
                 length: torch.Tensor | None = None, generator: torch.Generator | None = None,
                 cached: bool = True):
        """Go on from ids (B, T): yield the next id of each row, (B,) at a time, without end or
        until every row has drawn `stop` (a row that has, repeats it).

        `length` (B,), if given, is how far by the clock each row should go, the ids given included.
        The model was told this in training and tends to comply; nothing enforces it.
        `grammar`, if given, is a guard: `grammar.allowed()` is a (B, V) mask of the ids that may
        come, and a row whose draw is forbidden draws again among those. `grammar.advance(ids)` is
        told what was drawn and `grammar.refuse(rows)` which rows (B,) had to draw twice.
        When the context is full, its later half is read again as a new beginning, after the state
        that all ids before it left: any length can be drawn, and from then on each id has at least
        half a context before it.
        `cached=False` is the plain path, to read and to test against: same ids, more work.
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
        while not done.all():
            if cached:
                logits = self(window[:, cache.length:], cache)
            else:
                logits = self(window, state=state)
            logits = logits[:, -1].float()                       # (B, V)
            id = draw(logits, temperature, top_k, top_p, min_p, generator)
            if grammar is not None:
                allowed = torch.as_tensor(grammar.allowed(), device=ids.device)    # (B, V)
                refused = ~allowed.gather(1, id[:, None])[:, 0] & ~done
                if refused.any():
                    logits = logits.masked_fill(~allowed, float('-inf'))
                    again = draw(logits, temperature, top_k, top_p, min_p, generator)
                    id = torch.where(refused, again, id)
                    grammar.refuse(refused.tolist())
            if stop is not None:
                id = torch.where(done, stop, id)
                done |= id == stop
            if grammar is not None:
                grammar.advance(id.tolist())
            yield id
            window = torch.cat((window, id[:, None]), dim=1)
            if window.size(1) > context:
                keep = max(1, context // 2)
                state = self.state_after(window[:, :-keep], state)
                window = window[:, -keep:]
                if cached:
                    cache.restart(state)


def draw(logits: torch.Tensor, temperature: float, top_k: int, top_p: float, min_p: float = 0.0,
         generator: torch.Generator | None = None) -> torch.Tensor:
    """One id a row from logits (B, V) -> (B,). Temperature 0 takes the likeliest; top_k keeps the k
    likeliest (0: all); top_p the likeliest that together reach p (Holtzman et al. 2020); min_p
    those that are at least min_p times as likely as the likeliest (Nguyen et al. 2024)."""
    for name, value in (('temperature', temperature), ('top_k', top_k)):
        if value < 0:
            raise ValueError(f'{name} = {value}: must be at least 0')
    if not 0 < top_p <= 1:
        raise ValueError(f'top_p = {top_p}: must be above 0, at most 1')
    if not 0 <= min_p <= 1:
        raise ValueError(f'min_p = {min_p}: must be at least 0, at most 1')
    if temperature == 0:
        return logits.argmax(dim=-1)
    p = (logits / temperature).softmax(dim=-1)
    if top_k == 0 and top_p == 1 and min_p == 0:             # nothing to cut, so nothing to sort
        return torch.multinomial(p, 1, generator=generator)[:, 0]
    p, ids = p.sort(dim=-1, descending=True)
    enough = torch.zeros_like(p, dtype=torch.bool)
    if top_p < 1:
        enough |= p.cumsum(dim=-1) - p >= top_p                  # what comes before reaches top_p
    if min_p > 0:
        enough |= p < min_p * p[:, :1]
    if top_k > 0:
        enough[:, top_k:] = True
    p = p.masked_fill(enough, 0)
    return ids.gather(1, torch.multinomial(p, 1, generator=generator))[:, 0]


FORMAT = 5               # of a checkpoint: what another version of this repo would not understand


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
        version = checkpoint.get('format', FORMAT)
        if version != FORMAT:
            raise ValueError(f'format {version}, and this version reads {FORMAT}: train again')
        config = ModelConfig(**{**checkpoint['model_config'], 'dropout': dropout})
        model = Transformer(config, checkpoint['model'])
        model.load_state_dict(checkpoint['model'])
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, LookupError, TypeError,
            AttributeError, ValueError) as e:
        raise ValueError(f'{path}: broken, or not a checkpoint of this repo ({e!r:.80})') from None
    return model.to(device), checkpoint
