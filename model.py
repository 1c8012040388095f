"""A decoder-only transformer in one file: the network, drawing from it, saving and loading it.

It reads ids (numbers that stand for words) and gives every id a score for being the next:

    ids -> embedding -> block -> block -> ... -> norm -> head -> logits
                        |
                        x + attention(norm(x))    every position looks at itself and those before
                        x + mlp(norm(x))          every position by itself

x is a row of C numbers for each position, to which every block adds something. The logits turn into
probabilities (softmax), from which `generate` draws one id, appends it, and asks again.

What differs from GPT-2, and why:

- Rotary positions: how well a query matches a key depends on how far apart the two are, not on
  where they stand.
- Two kinds of distance: half of the heads (the larger half, if their number is odd) measure it in
  ids, the others by a clock. For music the clock counts time. For text it counts ids, too: there
  these heads differ from the others in their wavelengths only.
- Besides the ids, the model is told what follows from them, which a small model works out badly.
  After each id a listener (of the tokenizer) says where the clock stands, how far it is to the
  next bar line, the home key, in how many voices the piece is, which keys of the keyboard are held,
  how the music went on when it last moved like this (it *recalls* that), and which note would make
  parallel fifths or octaves, which Bach avoids. Also how far the end is: that does not follow from
  the ids, so the listener is given it.
- At the output, something is added to the scores of some ids:

      to the score of ...    there is added what depends on ...
      a recalled id          how far to trust the recall
      releasing a key        its intervals to the keys that are held
      pressing a key         the same; how far it lies above the first note of the home scale;
                             whether it would make parallels

- Queries and keys are normed, so that no attention score explodes at high learning rates.
- The MLP squares its ReLU. No norm has a gain, no matrix a bias: nothing is lost without them.

Legend for shapes: B batch, T positions read now, S those and the cached ones, C channels (n_embd),
H heads, D head size (C / H), V vocabulary; W numbers are told after an id, R of them for recalled
ids, K for the keys that are held. A score is a logit, or a part that is added to one; within
attention it says how well a query matches a key. (In other files a `Score` is music.) "Key" has
three meanings: beside a query or a value, it is attention's, and called k in the code; a major,
minor or home key is a tonality; any other is a key of the keyboard.
"""

import io
import os
import zipfile
from dataclasses import asdict, dataclass, field
from functools import partial

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


# the kinds of things that the listener tells, in this order; Transformer says what each is
KINDS = ('clock', 'to_bar', 'to_end', 'match', 'home', 'voices', 'recalled', 'parallel', 'held')


@dataclass
class ModelConfig:
    vocab_size: int
    context: int = 256    # longest stretch of ids the model attends over
    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128
    dropout: float = 0.0
    # how many of the W numbers are of each of KINDS; by default only the clock's
    columns: dict = field(default_factory=lambda: {kind: int(kind == 'clock') for kind in KINDS})
    bar_steps: int = 1    # the numbers of kind `to_bar` are below this
    end_levels: int = 1   # ... and of `to_end`
    matches: int = 1      # ... and of `match`
    keys: int = 0         # how many keys the keyboard has, the lowest of which is a C; 0 for text
    # the id that presses the lowest key; ids first_on ... first_on + keys - 1 press the keys, and
    # the same number of ids just before first_on release them, in the same order
    first_on: int = 0
    first_home: int = 0   # the id of C major; then C sharp major ... B major, C minor ... B minor

    def __post_init__(self):
        for name, value in asdict(self).items():
            least = {'context': 2, 'keys': 0, 'first_on': 0, 'first_home': 0}.get(name, 1)
            if name not in ('dropout', 'columns') and value < least:
                raise ValueError(f'{name} = {value}: must be at least {least}')
        if tuple(self.columns) != KINDS:
            raise ValueError(f'columns = {list(self.columns)}: must be {list(KINDS)}')
        if self.n_embd % (2 * self.n_head):
            raise ValueError(f'n_embd = {self.n_embd}: must be divisible by 2 * n_head = '
                             f'{2 * self.n_head}, since rotary positions turn pairs of channels')
        if not 0 <= self.dropout < 1:
            raise ValueError(f'dropout = {self.dropout}: must be at least 0 and below 1')


# --------------------------------------------------------------------------- layers of a block

def norm(x: torch.Tensor) -> torch.Tensor:
    """Shift and scale the numbers along the last axis to mean 0 and variance 1 (LayerNorm, Ba et
    al. 2016, without gain and bias). RMSNorm learns no worse, but PyTorch's is slower on a CPU."""
    return torch.layer_norm(x, x.shape[-1:])


def weights(*shape: int, std: float = 0.0) -> nn.Parameter:
    """Weights to be learned, random with this standard deviation; or, by default, all 0: then they
    have no effect until training finds a use for them."""
    return nn.Parameter(std * torch.randn(shape))


def linear(x: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """x (..., inputs) times matrix (inputs, outputs) -> (..., outputs), in the precision of x. The
    weights stay in float32: the optimizer's small steps would be rounded away in bfloat16."""
    return x @ matrix.to(x.dtype)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions (Su et al. 2021): turn each pair of channels by an angle that grows with the
    position. Then query . key depends on how far apart the two are and not on where they stand.
    Each pair turns at a speed of its own. Its wavelength is the distance over which it turns once:
    short ones tell near positions apart, long ones far ones.

    x (..., D): channel i and channel i + D/2, a and b, become a cos - b sin and b cos + a sin.
    cos and sin (..., D / 2) are those of the angles.
    """
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


# The wavelengths of the heads that read the clock, in its units (for music 1/24 of a quarter note,
# for text an id): from a sixteenth (6) to 64 bars of 4/4 (64 * 4 * 24). Where it would reach
# LONGEST, the clock says 0 again.
SHORTEST, LONGEST = 6, 6144


def rotations(positions: int, frequencies: torch.Tensor) -> torch.Tensor:
    """(positions, D): D / 2 cosines of the angles at each position, then as many sines.
    frequencies (D / 2) are in radians per position."""
    # in float64, since they get large
    angles = torch.arange(positions).double()[:, None] * frequencies
    return torch.cat((angles.cos(), angles.sin()), dim=1).float()


def rotations_by_ids(context: int, head_size: int) -> torch.Tensor:
    """(context, D): with the wavelengths of Su et al. 2021."""
    pairs = torch.arange(head_size // 2)
    return rotations(context, 10000.0 ** (-pairs / len(pairs)))


def rotations_by_clock(head_size: int) -> torch.Tensor:
    """(LONGEST, D): with wavelengths from LONGEST down to SHORTEST. The clock runs to
    LONGEST - 1 and then from 0 again: a whole number of each wave fits in, so that no angle jumps
    there."""
    pairs = head_size // 2
    # how many waves fit into LONGEST; of 8 pairs: 1 3 7 20 53 141 380 1024
    fit = ((LONGEST / SHORTEST) ** torch.linspace(0, 1, pairs).double()).round()
    return rotations(LONGEST, 2 * torch.pi / LONGEST * fit)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attention (Vaswani et al. 2017): softmax(q k^T / sqrt(D)) v, each query seeing the positions
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
    # shares that sum to 1, and with them the weighted mean of the values
    shares = (scores + later).softmax(dim=-1)                    # (B, H, T, S)
    return shares @ v                                            # (B, H, T, D)


def attend_fast(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """The same from PyTorch, which does not keep the scores of all pairs in memory. It is right
    only if T is S or 1: the model needs no other case. (`attend` is to be read; a test compares
    the two.)
    """
    assert q.size(-2) in (1, k.size(-2))
    return F.scaled_dot_product_attention(q, k, v, is_causal=q.size(-2) > 1)


class Attention(nn.Module):
    """Every position looks for what it needs in itself and all positions before it, through H heads
    at once. Its query says what it looks for, a position's key what it has to offer, its value what
    it gives."""

    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        self.n_head = config.n_head
        self.layer = layer                                       # its place in the cache
        self.attend = attend_fast                                # or attend: the same
        # random, but small: each step of the optimizer (Muon, in train.py) is equally large, so
        # that after a few of them the weights are what was learned and hardly what was random
        self.qkv = weights(config.n_embd, 3 * config.n_embd, std=0.25 * config.n_embd ** -0.5)
        self.proj = weights(config.n_embd, config.n_embd)        # at first it adds nothing

    def forward(self, x, cos, sin, cache=None):
        B, T, C = x.shape
        qkv = linear(x, self.qkv).view(B, T, 3, self.n_head, -1)         # (B, T, 3, H, D)
        qkv = qkv.permute(2, 0, 3, 1, 4)                         # (3, B, H, T, D)
        q, k = rotate(norm(qkv[:2]), cos, sin)                   # (B, H, T, D) each
        v = qkv[2]
        if cache is not None:
            k, v = cache.write(self.layer, k, v)                 # (B, H, S, D), S >= T
        y = self.attend(q, k, v)                                 # (B, H, T, D)
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
    works on it. Both add to x, neither replaces it (residuals, He et al. 2015): so the gradient
    reaches every block directly. At first both add 0."""

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

# AdamW, which trains all weights outside the blocks (see train.py), moves each by about the same
# small step, whatever the gradient. A score that is a sum over C channels moves by C such steps at
# once. One that is a single weight (press_interval, parallel_score, trust_by_match) would learn too
# slowly: so it is multiplied by this where it is used.
FASTER = 10


class Transformer(nn.Module):
    """Embedding, blocks, head.

    What the model is told stands in one tensor (B, T, W), a row of numbers after each id:

        clock       where the clock stands, below LONGEST: for music the time, for text how many ids
        to_bar      the time to the next bar line, in units of the clock
        to_end      how far it is to the end, as a level from 1 (now) up; 0: not told. In training
                    the real distance, but 0 in half of the rows of each batch. In validation 0. In
                    composing the distance to the end that is wished for, if any
        match       how well the past matches what has just been heard, as a level: 1, 2 ..., the
                    better the higher; 0: nothing is recalled. How far to trust each level is
                    learned. For music three columns, for up to three voices, the best match first.
                    For text one: 1 if the last two ids stood side by side before, 2 if the last
                    three did, and so on
        home        the id of the home word, such as G major; 0 before it has come
        voices      the id of the word that says in how many voices the piece is; likewise
        recalled    ids that may be next. For text one: what came after the same ids before. For
                    music three for each voice in `match`: two that press, one that releases. (A
                    voice is a line of notes. Ids do not say which note goes on from which: the
                    listener guesses, see lib/recall.py.) Earlier voices that moved like this one
                    went on by some interval, a second up, say. That may be one semitone or two: so
                    there are two keys to press. The key to release is the one that this voice
                    holds: it lets go of that first
        parallel    the id that would make parallel fifths or octaves of the outer voices. It serves
                    the output alone, to be avoided
        held        for each key that is held (the latest K of them, in the order in which they were
                    pressed), the id of the word that releases it

    Where there is less to say than there are columns, the rest of them hold 0. No word that is told
    has that id: in music it is `begin`. (In a text it is a byte, which therefore can't be
    recalled.) An example: a piece in 3/4, G major and three voices, after two quarters. One voice
    holds B4 and may go to C5 or C#5; another holds G3. The ids: 170 is G major, 189 three voices;
    489 presses C5, 490 C#5; 360 releases B4, 344 G3.

        clock 48  to_bar 24  to_end 7  match 5 0 0  home 170  voices 189
        recalled 489 490 360 0 0 0 0 0 0  parallel 0  held 344 360 0 0 0 0 0 0 0 0 0 0

    For text only clock, match and recalled are told. The other kinds have no column, and what is
    computed from them is empty or 0.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.dtype = torch.float32               # of blocks and logits; train.py may change it
        V, C = config.vocab_size, config.n_embd
        R = config.columns['recalled']
        # tables for the input: a vector for each id, and for each thing that may be told
        self.embedding = weights(V, C, std=1)
        self.to_bar_table = weights(config.bar_steps, C)
        self.to_end_table = weights(config.end_levels, C)
        # for each column of `match` and of `recalled` a table of its own, stacked: that of column i
        # begins at row i * matches, or i V
        self.match_table = weights(config.columns['match'] * config.matches, C)
        self.recalled_table = weights(R * V, C)
        # a second vector for each id, for when it is told as home, voices or held (not for text):
        # these three share a table, since no id is of two of these kinds. (std: not tuned)
        self.told_table = weights(V if config.keys else 1, C, std=0.1)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        # for the output: the score of each id, and what is added to some of them
        # (small at first: apart from what is added, all ids are about equally likely)
        self.head = weights(C, V, std=0.5 * C ** -0.5)
        self.degree_score = weights(C, 24 if config.keys else 0)         # 12 in major, 12 in minor
        self.release_interval = weights(C, config.keys)
        # the same in every context. (When x decided them, the pieces were learned by heart.)
        self.press_interval = weights(config.keys)
        self.parallel_score = weights(1)
        # the trust in a recalled id is the sum of two numbers: one decided by x, and one looked up
        # by its column and its match m. score_recalled multiplies both by FASTER (the first needs
        # it less, but one factor for both is simpler). The second then begins at 0.5 m: from 0 it
        # learns too slowly.
        self.trust = weights(C, R)
        by_match = 0.5 / FASTER * torch.arange(config.matches).repeat(R, 1)      # (R, matches)
        self.trust_by_match = nn.Parameter(by_match)
        head_size = C // config.n_head
        by_ids = rotations_by_ids(config.context, head_size)
        by_clock = rotations_by_clock(head_size)
        self.register_buffer('by_ids', by_ids, persistent=False)         # not saved
        self.register_buffer('by_clock', by_clock, persistent=False)
        # the ids that press the keys, and those that release them; none, if there are no keys
        self.presses = slice(config.first_on, config.first_on + config.keys)
        self.releases = slice(config.first_on - config.keys, config.first_on)
        # how many semitones a pressed key (column) lies above a held one (row): see score_presses
        key = torch.arange(config.keys)
        above_held = (key - key[:, None]) % max(1, config.keys)  # (keys, keys); not % 0
        self.register_buffer('above_held', above_held, persistent=False)

    def embed(self, ids, to_bar, to_end, match, home, voices, recalled, held):
        """What the first block reads (B, T, C): the ids (B, T), and most of what is told after
        each, (B, T, columns of that kind)."""
        config = self.config
        match_column = torch.arange(match.size(-1), device=ids.device)
        recalled_column = torch.arange(recalled.size(-1), device=ids.device)
        x = F.embedding(ids, self.embedding)
        # sum(2): over the columns. A 0, too, adds a row of the table that it is looked up in, which
        # is learned like any other: if 10 columns of `held` are empty, 10 times
        x = x + F.embedding(to_bar, self.to_bar_table).sum(2)
        x = x + F.embedding(to_end, self.to_end_table).sum(2)
        x = x + F.embedding(match + match_column * config.matches, self.match_table).sum(2)
        x = x + F.embedding(recalled + recalled_column * config.vocab_size,
                            self.recalled_table).sum(2)
        x = x + F.embedding(torch.cat((home, voices, held), -1), self.told_table).sum(2)
        return norm(x)                           # so all positions begin on one scale

    def cos_and_sin(self, clock: torch.Tensor, start: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Clock (B, T, 1) at positions from `start` on -> cos and sin of the angles by which all
        heads turn, (B, H, T, D / 2) each, in the model's precision. The first heads measure
        distance in ids, the others by the clock."""
        B, T, _ = clock.shape
        by_ids = self.by_ids[start:start + T].expand(B, T, -1)           # (B, T, D)
        by_clock = F.embedding(clock[..., 0], self.by_clock)             # (B, T, D)
        n_by_clock = self.config.n_head // 2
        n_by_ids = self.config.n_head - n_by_clock
        by_head = torch.stack([by_ids] * n_by_ids + [by_clock] * n_by_clock, dim=1)
        return by_head.to(self.dtype).chunk(2, dim=-1)           # cosines first, then sines

    def score_degrees(self, x, home) -> torch.Tensor:
        """x (B, T, C), normed, and the id of the home word (B, T, 1) -> what is added to the score
        of pressing each key (B, T, keys), by its degree: how many semitones it lies above the tonic
        of the home key, octaves aside (F# in D major: 4), and 12 more if that is minor. So what is
        learned in one home key serves in all. Before the home word has come, nothing is added.
        """
        tonality = home - self.config.first_home         # 0..11 major, 12..23 minor; below 0: none
        known = tonality >= 0
        key = torch.arange(self.config.keys, device=x.device)
        degree = (key - tonality) % 12 + 12 * (tonality // 12)         # (B, T, keys)
        degree = torch.where(known, degree, 0)           # any degree: it is masked below
        scores = linear(x, self.degree_score).gather(2, degree)        # (B, T, 24) -> (B, T, keys)
        return scores.masked_fill(~known, 0)

    # An interval sounds alike wherever it lies. So in the next two functions the score of a key
    # that may be pressed or released is a sum: each held key adds a number, looked up by how many
    # semitones the pressed or released key lies above the held one. There are `keys` such numbers
    # (128), for presses always the same, for releases decided by x. For a key that lies below, they
    # are counted from the end: one semitone below has number 127, the last. (127 semitones above
    # would have it, too, but no hand plays that.)

    def score_presses(self, held) -> torch.Tensor:
        """What is held (B, T, K) -> what is added to the score of pressing each key (B, T, keys).

            C4 is held:  E4 gets press_interval[4], A3 press_interval[keys - 3], FASTER times
        """
        marked = torch.zeros(*held.shape[:2], self.config.vocab_size, dtype=self.dtype,
                             device=held.device)
        marked = marked.scatter(2, held, 1)                      # (B, T, V): 1 for an id in `held`
        # one for each key; id 0, of empty columns, falls away
        is_held = marked[:, :, self.releases]                    # (B, T, keys)
        by_key = (FASTER * self.press_interval)[self.above_held]     # (keys held, keys pressed)
        return linear(is_held, by_key)

    def score_releases(self, x, held) -> torch.Tensor:
        """x (B, T, C), normed, and what is held (B, T, K) -> what is added to the scores of
        releasing each (B, T, K).

            C4 and E4 are held:  C4 gets interval[0] + interval[keys - 4], E4 interval[4] +
                                 interval[0]
        """
        interval = linear(x, self.release_interval)                      # (B, T, keys)
        # the ids that release keys are numbered as the keys are: their difference is in semitones
        released, other = held[..., :, None], held[..., None, :]
        semitones = (released - other) % max(1, self.config.keys)        # (B, T, K, K); not % 0
        added = interval.gather(2, semitones.flatten(2)).view(semitones.shape)   # by each held key
        scores = added.masked_fill(other == 0, 0).sum(-1)                # (B, T, K)
        return scores.masked_fill(held == 0, 0)

    def score_recalled(self, x, match, recalled) -> torch.Tensor:
        """x (B, T, C), normed, and what is told -> what is added to the scores of the recalled ids
        (B, T, R): for each a number that is fixed for its column and its match, and one that
        depends on x."""
        R = recalled.size(-1)
        per_match = R // max(1, match.size(-1))                  # (not / 0, if there is no column)
        match = match.repeat_interleave(per_match, dim=-1)       # (B, T, R)
        column = torch.arange(R, device=x.device)
        fixed = self.trust_by_match[column, match]               # (B, T, R)
        scores = FASTER * (fixed + linear(x, self.trust))
        return scores.masked_fill(recalled == 0, 0)

    def forward(self, ids: torch.Tensor, told: torch.Tensor, cache: 'Cache | None' = None):
        """ids (B, T) and what the listener told after each (B, T, W) -> logits (B, T, V).

        With a cache that is not empty, T is 1: the next id. Raises ValueError for more ids than
        the context.
        """
        return self.score(self.read(ids, told, cache), told)

    def by_kind(self, told: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What is told (B, T, W), by KINDS: (B, T, 0 or more) each."""
        return told.split(list(self.config.columns.values()), dim=-1)

    def read(self, ids, told, cache=None) -> torch.Tensor:
        """What `forward` reads -> what the last block leaves at each position, normed (B, T, C)."""
        T = ids.size(1)
        start = cache.length if cache is not None else 0
        if start + T > self.config.context:
            raise ValueError(f'{start + T} ids, more than the context of {self.config.context}')
        clock, to_bar, to_end, match, home, voices, recalled, _, held = self.by_kind(told)
        x = self.embed(ids, to_bar, to_end, match, home, voices, recalled, held).to(self.dtype)
        cos, sin = self.cos_and_sin(clock, start)
        for block in self.blocks:
            x = block(x, cos, sin, cache)                        # (B, T, C)
        if cache is not None:
            cache.length += T
        return norm(x)

    def score(self, x, told) -> torch.Tensor:
        """x (B, T, C), normed, and what is told -> logits (B, T, V)."""
        return self.add_up(*self.score_parts(x, told))

    def score_parts(self, x, told) -> tuple[torch.Tensor, ...]:
        """What `add_up` adds up: the head's logits; what is added for pressing each key, by its
        degree and by its intervals; for recalled ids; for releasing what is held; against
        parallels. And the ids to which the last three are added (B, T, R + K + 1)."""
        _, _, _, match, home, _, recalled, parallel, held = self.by_kind(told)
        return (linear(x, self.head), self.score_degrees(x, home), self.score_presses(held),
                self.score_recalled(x, match, recalled), self.score_releases(x, held),
                FASTER * self.parallel_score * (parallel > 0),
                torch.cat((recalled, held, parallel), dim=-1))

    def add_up(self, logits, degrees, presses, recalled, releases, avoided, added_to,
               recall: float = 1.0, home_scale: float = 1.0, parallels: float = 1.0):
        """The parts -> logits (B, T, V). Three factors multiply what is added for recalled ids, for
        the degrees of the home key's scale, and against parallels."""
        behind = logits.size(-1) - self.presses.stop             # ids after those that press
        logits = logits + F.pad(home_scale * degrees + presses, (self.presses.start, behind))
        scores = torch.cat((recall * recalled, releases, parallels * avoided), dim=-1)
        # (empty columns add 0 to id 0)
        return logits.scatter_add(2, added_to, scores.to(logits.dtype))

    def score_stronger(self, x, told, **factors) -> torch.Tensor:
        """`score` with factors other than 1. More recall makes presses likelier, and something else
        less likely. That may be waiting: if waits were made up for it, pieces would grow thin. It
        may not be releasing: at one step all releases come before the first press, so after a press
        too early the other voices can't move any more. Hence all presses together stay as likely,
        compared with all releases together, as the model has learned."""
        parts = self.score_parts(x, told)
        learned = self.add_up(*parts)
        logits = self.add_up(*parts, **factors)

        def gain(ids: slice) -> torch.Tensor:                    # (B, T, 1)
            return (logits[:, :, ids].logsumexp(-1, keepdim=True)
                    - learned[:, :, ids].logsumexp(-1, keepdim=True))
        logits[:, :, self.releases] += gain(self.presses) - gain(self.releases)
        return logits

    @torch.inference_mode()
    def generate(self, ids: torch.Tensor, listeners: list, stop: int | None = None,
                 stronger: dict | None = None, cached: bool = True, **drawing):
        """Go on from ids (B, T): yield the next ids, one for each row (B,), without end or until
        every row has drawn `stop` (a finished row repeats it). `stronger` is handed on to
        `score_stronger`, `drawing` to `draw`: temperature, top_k and so on.

        Each row has a listener. hear(id) gives the W numbers that the model is told after that id;
        allowed() says which ids may come next, as an array (V,) of True and False, or None for all.
        When the context is full, its later half is read again as a new beginning: any length can be
        drawn, and from then on each id has at least half a context before it.
        `cached=False` is the plain path, to read and to test against: more work, and the same ids,
        except where rounding decides. The model is in eval mode afterwards.
        """
        self.eval()
        context = self.config.context
        score = partial(self.score_stronger, **stronger) if stronger else self.score
        told = [[listener.hear(one) for one in row]
                for listener, row in zip(listeners, ids.tolist())]
        told = ids.new_tensor(told)                              # (B, T, W)
        ids, told = ids[:, -context:], told[:, -context:]
        cache = Cache(self, len(ids)) if cached else None
        done = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        new = ids.size(1)                                        # how many the cache has not seen
        while True:
            if cached:
                x = self.read(ids[:, -new:], told[:, -new:], cache)
            else:
                x = self.read(ids, told)
            logits = score(x[:, -1:], told[:, -1:])[:, 0].float()        # (B, V)
            logits = forbid(logits, listeners)
            id = draw(logits, **drawing)
            if stop is not None:
                id = torch.where(done, stop, id)
                done |= id == stop
            yield id
            if done.all():                                       # (never, without `stop`)
                return
            last = [[listener.hear(one)] for listener, one in zip(listeners, id.tolist())]
            ids = torch.cat((ids, id[:, None]), dim=1)
            told = torch.cat((told, told.new_tensor(last)), dim=1)
            new = 1
            if ids.size(1) > context:                            # begin anew with the later half
                kept = context // 2
                ids, told = ids[:, -kept:], told[:, -kept:]
                new = kept
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
        self.length = 0          # positions filled: `read` adds to it when all layers have written

    def write(self, layer: int, k: torch.Tensor, v: torch.Tensor):
        """Write k, v (B, H, T, D) after what is there; return all (B, H, length + T, D)."""
        end = self.length + k.size(2)
        self.k[layer][:, :, self.length:end] = k
        self.v[layer][:, :, self.length:end] = v
        return self.k[layer][:, :, :end], self.v[layer][:, :, :end]


# -------------------------------------------------------------------------------------- drawing

def forbid(logits: torch.Tensor, listeners: list) -> torch.Tensor:
    """logits (B, V) with -inf for the ids that may not come next, as the listener of each row says.
    The probability that they would have had, at temperature 1, is added to `listener.forbidden`:
    sample.py says how much that was."""
    masks = [listener.allowed() for listener in listeners]       # (V,) each
    if masks[0] is None:                                         # for text: all may come
        return logits
    may_come = torch.from_numpy(np.stack(masks)).to(logits.device)       # (B, V)
    lost = logits.softmax(-1).masked_fill(may_come, 0).sum(-1)           # (B,)
    for listener, share in zip(listeners, lost.tolist()):
        listener.forbidden += share
    return logits.masked_fill(~may_come, float('-inf'))


def draw(logits: torch.Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0,
         min_p: float = 0.0, generator: torch.Generator | None = None) -> torch.Tensor:
    """One id a row from logits (B, V) -> (B,). Temperature 0 takes the likeliest. An id
    is drawn only if these three filters keep it. Each judges by the same probabilities, whatever
    the others leave, and keeps the likeliest (so that one is left):

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
    # from the likeliest id down: column r is rank r
    p, ids = (logits / temperature).softmax(dim=-1).sort(dim=-1, descending=True)
    kept = p >= min_p * p[:, :1]
    if top_k > 0:
        kept[:, top_k:] = False
    if top_p < 1:
        kept &= p.cumsum(dim=-1) - p < top_p     # the likelier ones together are below top_p
    rank = torch.multinomial(p * kept, 1, generator=generator)   # (B, 1)
    return ids.gather(1, rank)[:, 0]


# --------------------------------------------------------------------------------- save and load

FORMAT = 12              # of checkpoints: one more whenever older ones can't be read any more
CONTENTS = {'model': dict, 'model_config': dict, 'train_config': dict, 'tokenizer': dict,
            'dtype': str, 'optimizers': list, 'progress': dict}


def save(path: str, checkpoint: dict):
    """Write tensors and plain values under a temporary name, then rename: whatever interrupts it,
    `path` holds the old checkpoint or the new one, whole."""
    whole = io.BytesIO()                 # first in memory: torch hides that a disk is full
    torch.save(checkpoint, whole)
    with open(f'{path}.part', 'wb') as file:
        file.write(whole.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    os.replace(f'{path}.part', path)


def load(path: str, device: str = 'cpu', dropout: float = 0.0) -> tuple[Transformer, dict]:
    """The model of a checkpoint, and the checkpoint. Raises ValueError, in one line, for a file
    that is missing, damaged, foreign, of another version, or with weights that are not finite. No
    code in it is run. The model drops out as `dropout` says, whatever it was trained with."""
    if not os.path.isfile(path):
        raise ValueError(f'{path}: no such checkpoint; train a model first, and give its folder')
    try:
        with zipfile.ZipFile(path) as archive:       # that is what torch.save writes
            damaged = archive.testzip()              # the first member with a wrong checksum
        if damaged:
            raise ValueError('a checksum is wrong')      # (caught below, like all of them)
        checkpoint = torch.load(path, map_location='cpu', weights_only=True)
        check_contents(checkpoint)
        config = ModelConfig(**{**checkpoint['model_config'], 'dropout': dropout})
        model = Transformer(config)
        model.load_state_dict(checkpoint['model'])
    except Exception as error:                       # a damaged file may raise any
        reason = ' '.join(str(error).split())[:80]
        raise ValueError(f'{path}: damaged, or no checkpoint of this version ({reason})') from None
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise ValueError(f'{path}: some weights are not finite: train again, with lower learning '
                         'rates')
    return model.to(device), checkpoint


def check_contents(checkpoint):
    """Raise ValueError unless it has what train.py puts into a checkpoint."""
    if not isinstance(checkpoint, dict):
        raise ValueError('it is not a dictionary')
    version = checkpoint.get('format')
    if version != FORMAT:
        raise ValueError(f'format {version}, and this version reads {FORMAT}: train again')
    for name, kind in CONTENTS.items():
        if not isinstance(checkpoint.get(name), kind):
            raise ValueError(f'{name} is missing or of another type')
