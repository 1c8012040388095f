"""The ladder: from guessing to model.py, one idea a rung. To be read from top to bottom, and run:

    python lesson/ladder.py           all rungs
    python lesson/ladder.py 4         one of them: a head of attention
    python lesson/ladder.py --text    the same for plays by Shakespeare, after
                                      python prepare.py shakespeare --vocab_size=512 --name=plays

A rung is a class that inherits everything from the one before, but for one idea: what stands in the
class is all that changes. Each is trained on the Goldberg Variations for minutes at most, says how
many bits a held-out note costs it, and goes on from the same four bars. What it makes of them lies
in out-ladder/, to hear and to see: index.html.

Shapes: B rows, T positions, C channels, H heads, D = C / H, V words in the vocabulary.
"""

import argparse
import inspect
import math
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import torch                                                            # noqa: E402
import torch.nn as nn                                                   # noqa: E402
import torch.nn.functional as F                                         # noqa: E402

import train                                                            # noqa: E402
from lib import synth                                                   # noqa: E402
from lib.corpus import load_corpora                                     # noqa: E402
from lib.heldout import losses_of                                       # noqa: E402
from lib.page import Piece, write_page                                  # noqa: E402
from lib.prompt import read_prompt                                      # noqa: E402
from lib.score import Score, write_midi                                 # noqa: E402
from lib.tokenizer import columns_of_told                               # noqa: E402
from model import (ModelConfig, attend, load, norm, rotate, rotations_by_clock,    # noqa: E402
                   rotations_by_ids)
from sample import load_tokenizer                                       # noqa: E402

OUT = ROOT / 'out-ladder'
PROMPT = ROOT / 'data' / 'goldberg' / '10-variatio-10.mid'       # held out: no rung has seen it
CONTEXT, C, H = 128, 96, 4
BATCH = 16
BARS = 6                         # to compose after the prompt's four
MOST = 500                       # ids to draw, the prompt's among them


# ------------------------------------------------------------------------------- without learning

class Guess(nn.Module):
    """Guessing. Every word gets the same score, so every word is as likely as any other. With V
    words that is log2(V) bits a word."""

    def __init__(self, corpus: dict):
        super().__init__()
        self.V = corpus['vocab_size']
        self.config = ModelConfig(self.V, CONTEXT, **corpus['shape_of_told'])
        self.scores = nn.Parameter(torch.zeros(self.V))

    def forward(self, ids, told):
        """ids (B, T) -> a score for each word to be the next one, at each position (B, T, V)."""
        return self.scores.expand(*ids.shape, -1)

    def learn(self, corpus: dict, seed: int):
        """Nothing."""


class Count(Guess):
    """Counting pairs. How often did each word come after each other word? The shares of all times
    are the probabilities, and their logarithms the scores."""

    def learn(self, corpus, seed):
        ids = torch.tensor(corpus['train'].astype(int))
        counts = torch.full((self.V, self.V), 0.1)               # what never came may come yet
        counts.index_put_((ids[:-1], ids[1:]), torch.ones(len(ids) - 1), accumulate=True)
        self.table = (counts / counts.sum(1, keepdim=True)).log()        # (V, V)

    def forward(self, ids, told):
        return self.table[ids]


# ---------------------------------------------------------------------------------- by gradients

def matrix(inputs: int, outputs: int) -> nn.Parameter:
    """Random weights, so small that x (..., inputs) @ matrix has about the size of x."""
    return nn.Parameter(torch.randn(inputs, outputs) * inputs ** -0.5)


def batch_of(corpus: dict, transposed: bool, generator) -> tuple:
    """Random crops: ids, the next ids (B, T), and what the listener told (B, T, W)."""
    table = torch.tensor(corpus['augment'])
    as_it_is = torch.arange(corpus['vocab_size'])[None]
    return train.get_batch([corpus], [1.0], BATCH, CONTEXT, table if transposed else as_it_is,
                           generator)


def adamw(weights, rate: float) -> tuple:
    """Makes a step about equally large for every weight, against the mean of its last gradients."""
    return torch.optim.AdamW(weights, weight_decay=0.1), rate


def descend(model, corpus: dict, seed: int, optimizers: list):
    """Training, the same for all rungs from here on: again and again, take a batch, ask in which
    direction each weight has to go to make its next words likelier, and go a small step there. How
    small is said beside each optimizer, for the first step; it falls to 0."""
    generator = torch.Generator().manual_seed(seed)
    for step in range(model.steps):
        ids, next_ids, told = batch_of(corpus, model.transposed, generator)
        scores = model(ids, told)                                # (B, T, V)
        loss = F.cross_entropy(scores.flatten(0, 1), next_ids.flatten())
        model.zero_grad()
        loss.backward()
        for optimizer, rate in optimizers:
            for group in optimizer.param_groups:
                group['lr'] = rate * (1 - step / model.steps)
            optimizer.step()


class Learn(Guess):
    """The same, learned. Each word is a row of C numbers (its embedding), and so is what may come
    after it; the score is their product. Nothing is counted."""
    steps, rate = 400, 0.003         # the rate is AdamW's
    transposed = False

    def __init__(self, corpus):
        super().__init__(corpus)
        self.embedding = nn.Parameter(torch.randn(self.V, C))
        self.head = nn.Parameter(torch.zeros(C, self.V))

    def forward(self, ids, told):
        x = self.embed(ids, told)                                # (B, T, C)
        x = self.look_back(x, told)                              # (B, T, C)
        return self.score(x, told)                               # (B, T, V)

    def embed(self, ids, told):
        return self.embedding[ids]

    def look_back(self, x, told):
        return x                                                 # no word knows of the others yet

    def score(self, x, told):
        return norm(x) @ self.head

    def learn(self, corpus, seed):
        descend(self, corpus, seed, [adamw(self.parameters(), self.rate)])


class Mean(Learn):
    """The mean of the past. To the numbers of each word the mean of all words up to it is added:
    the first look beyond the last word. It says which words there were, not when."""

    def look_back(self, x, told):
        T = x.size(1)
        shares = torch.ones(T, T).tril()                         # row t: 1 for 0 ... t, 0 for later
        shares = shares / shares.sum(1, keepdim=True)            # a row adds up to 1
        return x + shares @ x


class Attend(Mean):
    """One head of attention. The same mean, but each word decides how much of it each other word
    gets: by how well its query matches the other's key. And what is added is not the other word's
    row, but something made of it, its value."""

    def __init__(self, corpus):
        super().__init__(corpus)
        self.q, self.k, self.v = matrix(C, C), matrix(C, C), matrix(C, C)

    def look_back(self, x, told):
        q, k, v = x @ self.q, x @ self.k, x @ self.v             # (B, T, C) each
        q, k = self.turn(q, told), self.turn(k, told)            # (the next rung)
        scores = q @ k.mT / C ** 0.5                             # (B, T, T)
        later = torch.full(scores.shape[1:], -math.inf).triu(1)  # nobody sees what comes later
        shares = (scores + later).softmax(-1)                    # (B, T, T), a row adds up to 1
        return x + shares @ v

    def turn(self, q, told):
        return q


class Positions(Attend):
    """Positions. Up to here the words could stand in any order: a mean does not know one. Now
    queries and keys are turned, the farther on the more. So how well they match depends on the
    distance, too, and a head can look at the word three words ago."""

    def turn(self, q, told):
        cosines_and_sines = rotations_by_ids(q.size(-2), q.size(-1))     # (T, D)
        cos, sin = cosines_and_sines.chunk(2, dim=-1)            # (T, D / 2)
        return rotate(q, cos, sin)


class Transpose(Positions):
    """Transposition. Every row of a batch is moved to another key: twelve times the music, and
    nothing can be learned by heart in one key only. Without it, larger models than this one only
    learn more by heart."""
    transposed = True


class Orthogonal(Transpose):
    """A better step. The matrices between the embedding and the head learn by Muon, whose steps
    move all directions of a matrix about equally far, the faint ones, too."""

    def learn(self, corpus, seed):
        inner, others = [], []
        for name, weights in self.named_parameters():
            # (there will be blocks from the next rung on)
            is_inner = name in ('q', 'k', 'v') or name.startswith('blocks')
            (inner if is_inner else others).append(weights)
        descend(self, corpus, seed, [(train.Muon(inner, weight_decay=0.1), 0.02),
                                      adamw(others, self.rate)])


class Block(nn.Module):
    """Attention brings in what matters from other words, an MLP works on it. Both add to x: at
    first 0, by matrices of zeros, so that a new block changes nothing. The bend of the MLP is
    squared: so it learns better (So et al. 2021)."""

    def __init__(self):
        super().__init__()
        self.qkv, self.proj = matrix(C, 3 * C), nn.Parameter(torch.zeros(C, C))
        self.up, self.down = matrix(C, 4 * C), nn.Parameter(torch.zeros(4 * C, C))

    def forward(self, x, turn, told):
        qkv = (norm(x) @ self.qkv).unflatten(-1, (3, H, C // H))     # (B, T, 3, H, D)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)                         # (B, H, T, D) each
        y = attend(turn(q, told), turn(k, told), v)                  # as above, for all heads
        x = x + y.transpose(1, 2).flatten(2) @ self.proj             # (B, T, C)
        return x + (norm(x) @ self.up).relu().square() @ self.down


class Heads(Orthogonal):
    """A block: several heads and an MLP. Four heads look for four things at once. The MLP does with
    what they found what a mean can't: if this and that, then the other. Both read x normed."""
    depth = 1

    def __init__(self, corpus):
        super(Attend, self).__init__(corpus)         # as Mean: without the q, k and v of Attend
        self.blocks = nn.ModuleList(Block() for _ in range(self.depth))

    def look_back(self, x, told):
        for block in self.blocks:
            x = block(x, self.turn, told)
        return x


class Deep(Heads):
    """Three blocks. The second one looks for what the first has found. (With AdamW alone three
    blocks, and even one, learn no more than the head of attention before.)"""
    depth = 3


class Told(Deep):
    """The beat and the keys that are down. Both follow from the words, by adding up waits and
    crossing off releases: hard to work out for a small model. So they are told, and half of the
    heads measure distance in time."""

    def __init__(self, corpus):
        super().__init__(corpus)
        self.place_of = columns_of_told(self.config.columns)
        self.to_bar = nn.Parameter(torch.zeros(self.config.bar_steps, C))
        self.held = nn.Parameter(torch.zeros(self.V, C))

    def embed(self, ids, told):
        to_bar, held = told[..., self.place_of['to_bar']], told[..., self.place_of['held']]
        return super().embed(ids, told) + self.to_bar[to_bar].sum(2) + self.held[held].sum(2)

    def turn(self, q, told):
        by_ids = rotations_by_ids(q.size(-2), C // H).expand(len(q), -1, -1)     # (B, T, D)
        clock = told[..., 0]                                                     # (B, T)
        by_clock = rotations_by_clock(C // H)[clock]                             # (B, T, D)
        of_heads = torch.stack((by_ids, by_ids, by_clock, by_clock), dim=1)      # (B, H, T, D)
        cos, sin = of_heads.chunk(2, dim=-1)
        return rotate(q, cos, sin)


class Recall(Told):
    """Recall. The listener also says which words came next when a voice last moved as it does now,
    and how well the two match. The scores of these words are raised: by how much, the match and x
    decide (times 10: it learns faster)."""

    def __init__(self, corpus):
        super().__init__(corpus)
        self.trust = nn.Parameter(torch.zeros(C, self.config.columns['recalled']))
        # at first: the better the match, the more
        self.by_match = nn.Parameter(0.05 * torch.arange(self.config.matches))

    def score(self, x, told):
        recalled = told[..., self.place_of['recalled']]          # (B, T, R)
        match = told[..., self.place_of['match']]                # (B, T, one for each voice)
        match = match.repeat_interleave(recalled.size(-1) // match.size(-1), dim=-1)
        raised = 10 * (norm(x) @ self.trust + self.by_match[match]) * (recalled > 0)
        # scatter_add: the score of each recalled id grows by what belongs to it; id 0, of empty
        # columns, by 0
        return super().score(x, told).scatter_add(2, recalled, raised)


RUNGS = [Guess, Count, Learn, Mean, Attend, Positions, Transpose, Orthogonal, Heads, Deep, Told,
         Recall]
LAST = len(RUNGS)                # model.py itself, as train.py has trained it
LISTEN = [                       # what is to be heard on each rung, with seed 1
    'Any key, for any time, also those that no keyboard has.',
    'Notes and waits take turns now. But it hits any key, and hardly lets go of one.',
    "The keys lie where Bach's do. They still stay down, more and more of them.",
    'No better: it knows which words there were, not when.',
    'No better yet: what it looks for, it finds anywhere in the past.',
    'Here and there a short run: it knows what came just before.',
    'Much the same. But what it has learned of one key, it knows of all.',
    'More notes end when they should.',
    'Fewer keys hang. Between them short figures are to be heard.',
    'Moments in two voices, until another key is left lying.',
    'It lets go of what it presses: all at once there are voices.',
    'Long chords this time: no better by ear than the rung before, but in bits.',
    'Runs, a bass, voices that answer each other.',
]


def bits_a_unit(model, corpus: dict) -> float:
    """What a held-out note costs (of text, a byte), measured as train.py does."""
    nats = losses_of(model, corpus['val'], corpus['val_told']).sum()
    return float(nats) / math.log(2) / corpus['units']['val']


def climb(number: int, corpus: dict, seed: int) -> tuple[nn.Module, str]:
    """The model of a rung, trained, and what there is to say of it."""
    if number == LAST:
        folder = 'out-goldberg' if corpus['unit'] == 'note' else f'out-{corpus["name"]}'
        model, _ = load(ROOT / folder / 'ckpt.pt')
        name, lines, how = 'model.py', '', f'trained before, in {folder}'
    else:
        torch.manual_seed(seed)
        model = RUNGS[number](corpus)
        began = time.perf_counter()
        model.learn(corpus, seed)
        how = f'{time.perf_counter() - began:.0f} s'
        name, lines = RUNGS[number].__name__, inspect.getsource(RUNGS[number])
        if RUNGS[number] is Heads:
            lines = inspect.getsource(Block) + lines
    count = sum(parameter.numel() for parameter in model.parameters())
    bits = bits_a_unit(model.eval(), corpus)
    print(f'\n{lines}\n{number} {name}: {bits:.2f} bits a held-out {corpus["unit"]}, '
          f'{count:,} weights, {how}', flush=True)
    return model, f'{bits:.2f} bits a held-out {corpus["unit"]}'


# ---------------------------------------------------------------------------------------- heard

@torch.no_grad()
def go_on(model, tokenizer, prompt: list[int], seed: int, last_step: float = math.inf) -> list[int]:
    """Draw the next ids, each with the probability that the model gives it, up to a step of time,
    and MOST at most. Nothing is forbidden: a rung may press a key that is held."""
    generator = torch.Generator().manual_seed(seed)
    listener = tokenizer.listener()
    context = model.config.context
    ids = list(prompt)
    told = [listener.hear(id) for id in ids]
    while len(ids) < MOST and getattr(listener, 'now', 0) < last_step:
        scores = model(torch.tensor([ids[-context:]]), torch.tensor([told[-context:]]))[0, -1]
        id = torch.multinomial(scores.softmax(dim=-1), 1, generator=generator).item()
        if id == tokenizer.end:
            break
        ids.append(id)
        told.append(listener.hear(id))
    return ids


def play(name: str, model, tokenizer, facts: dict, seed: int, folder: Path) -> Piece:
    """The prompt, continued: as MIDI and sound in a folder, and for the page."""
    prompt = read_prompt(tokenizer, str(PROMPT), bars=4)
    last_step = prompt.until * (4 + BARS) // 4
    score = tokenizer.decode(go_on(model, tokenizer, prompt.ids, seed, last_step))
    composed = [note for note in score.notes if prompt.until <= note.start < last_step]
    notes = prompt.score.notes
    score = Score(notes + composed, prompt.score.tempos, prompt.score.metres)
    write_midi(score, folder / f'{name}.mid')
    synth.write_wav(folder / f'{name}.wav', synth.sound_of(score))
    return Piece(name, score, given=len(notes), facts=facts)


def climb_all(numbers, corpus: dict, seed: int, folder: Path) -> list[Piece]:
    """Climb some rungs, and let each be heard, or, if it writes text, be read."""
    tokenizer = load_tokenizer(corpus['tokenizer'])
    folder.mkdir(exist_ok=True)
    pieces = []
    for number in numbers:
        try:
            model, figure = climb(number, corpus, seed)
        except ValueError as error:
            print(f'{number} is model.py itself: {error}')
            continue
        if tokenizer.is_music:
            facts = {'its idea': idea(number), 'measured': figure,
                     'heard with seed 1': LISTEN[number]}
            pieces.append(play(f'rung-{number}', model, tokenizer, facts, seed, folder))
        else:
            print(tokenizer.decode(go_on(model, tokenizer, tokenizer.encode('ROMEO:\n'), seed)))
    return pieces


def idea(number: int) -> str:
    """What is new on a rung, in a few words."""
    return RUNGS[number].__doc__.split('.')[0] if number < LAST else 'all of model.py'


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('rung', nargs='?', type=int, choices=range(LAST + 1))
    parser.add_argument('--text', action='store_true', help='plays instead of Bach')
    parser.add_argument('--seed', type=int, default=1)
    given = parser.parse_args()
    name = 'goldberg'
    if given.text:
        name = 'plays'
        Learn.steps, Learn.rate = 1200, 0.01         # there is more of it to be learned
    try:
        corpus = load_corpora(name)[0]
    except ValueError as error:
        sys.exit(f'{error}\nwith --text, as the first lines of lesson/ladder.py say')
    numbers = range(LAST + 1) if given.rung is None else [given.rung]
    pieces = climb_all(numbers, corpus, given.seed, OUT)
    if pieces:
        write_page(OUT / 'index.html', 'The ladder', {}, pieces)
        print(f'open {OUT / "index.html"}')


if __name__ == '__main__':
    main()
