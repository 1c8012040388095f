"""What each idea of the recipe is worth: python tests/ablations.py NAME [NAME ...]

Each row trains the model of config/goldberg.py with one thing changed, and prints its bits/note on
the held-out variations after the last step, split into what, when and how long. `all` runs every
row; --steps=N, --seed=N and --dataset=goldberg,wtc change all of them. With --judge, 24 pieces are
drawn of each and judged, too.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import torch                                                            # noqa: E402
import torch.nn as nn                                                   # noqa: E402
import torch.nn.functional as F                                         # noqa: E402

import model                                                            # noqa: E402
import train                                                            # noqa: E402
from lib.settings import read_config                                 # noqa: E402
from lib.corpus import load_corpora, load_pieces                       # noqa: E402
from lib.prompt import read_prompt                                     # noqa: E402
from evaluate import judge_model                                        # noqa: E402
from lib.form import describe                                           # noqa: E402
from lib.judge import ENOUGH, count_pieces, judge                       # noqa: E402
from model import MLP, Block, Transformer, linear, weights              # noqa: E402
from sample import Config, draw_pieces, load_tokenizer                  # noqa: E402


# ---- what is taken away

class CountsIdsOnly(Transformer):
    """All heads measure distance in ids."""

    def cos_and_sin(self, clock, start):
        by_ids = self.by_ids[start:start + clock.size(1)].to(self.dtype)
        return by_ids.chunk(2, dim=-1)


class ReadsTheClockOnly(Transformer):
    """All heads measure distance by the clock."""

    def cos_and_sin(self, clock, start):
        by_clock = F.embedding(clock[..., 0], self.by_clock)[:, None]        # (B, 1, T, D)
        return by_clock.to(self.dtype).chunk(2, dim=-1)


def without(*names: str, at_input: bool = True, at_output: bool = True):
    """A Transformer that is not told these kinds of numbers: at its input, at its output."""

    class Told(Transformer):
        def embed(self, ids, *told):
            return super().embed(ids, *silent(READ, told, names if at_input else ()))

        def score_recalled(self, x, match, recalled):
            is_told = 'recalled' not in names or not at_output
            return super().score_recalled(x, match, recalled) * is_told

        def score_releases(self, x, held):
            is_told = 'held' not in names or not at_output
            return super().score_releases(x, held * is_told)
    return Told


READ = ('to_bar', 'to_end', 'match', 'home', 'voices', 'recalled', 'held')       # by `embed`


def silent(kinds, numbers, names) -> list:
    return [0 * these if kind in names else these for kind, these in zip(kinds, numbers)]


class NoScale(Transformer):
    """What is pressed gets no score by its place in the home scale."""

    def score_degrees(self, x, home):
        return 0 * super().score_degrees(x, home)


class NoIntervals(Transformer):
    """What is pressed gets no score by its intervals to the keys that are held."""

    def score_presses(self, held):
        return 0 * super().score_presses(held)


class AvoidsNothing(Transformer):
    """A note that would make parallels gets no score for it."""

    def __init__(self, config):
        super().__init__(config)
        self.parallel_score.requires_grad_(False)


# ---- what is changed or added

class SwiGLU(MLP):
    """SwiGLU (Shazeer 2020) with as many weights, for squared ReLU."""

    def __init__(self, config):
        super().__init__(config)
        C, width = config.n_embd, config.n_embd * 8 // 3
        self.up = weights(C, 2 * width, std=0.25 * C ** -0.5)
        self.down = weights(width, C)

    def forward(self, x):
        gate, value = linear(x, self.up).chunk(2, dim=-1)
        return linear(F.silu(gate) * value, self.down)


class LookBack(nn.Module):
    """Every position takes a share of each of the three before it, channel by channel: a causal
    convolution, which Allen-Zhu 2025 calls a canon layer. (For training: it knows no cache.)"""

    def __init__(self, config):
        super().__init__()
        # farthest first; with three axes, so that Muon does not take it for a matrix
        self.shares = weights(1, 3, config.n_embd)

    def forward(self, x):
        T = x.size(1)
        row = F.pad(x, (0, 0, 3, 0))                                         # (B, 3 + T, C)
        for i in range(3):
            x = x + self.shares[:, i].to(x.dtype) * row[:, i:i + T]
        return x


class LooksBack(Block):
    """In the first half of the blocks, a look back before attention and before the MLP."""

    def __init__(self, config, layer):
        super().__init__(config, layer)
        looks = layer < config.n_layer / 2
        self.before = LookBack(config) if looks else nn.Identity()
        self.between = LookBack(config) if looks else nn.Identity()

    def forward(self, x, cos, sin, cache=None):
        x = self.before(x)
        x = x + self.dropout(self.attention(model.norm(x), cos, sin, cache))
        x = self.between(x)
        return x + self.dropout(self.mlp(model.norm(x)))


def rms_norm(x):
    """RMSNorm (Zhang and Sennrich 2019), without a gain."""
    return F.rms_norm(x, x.shape[-1:])


def adamw_only(net, weight_decay, dtype) -> list:
    """AdamW for every weight; for the matrices inside the blocks at muon_lr."""
    matrices = [p for p in net.blocks.parameters() if p.dim() == 2]
    taken = {id(p) for p in matrices}
    others = [p for p in net.parameters() if id(p) not in taken]
    return [torch.optim.AdamW(some, betas=(0.9, 0.95), weight_decay=weight_decay, fused=True)
            for some in (matrices, others)]


# name -> settings of train.py, and (module, name of a class or function, what stands in for it)
ROWS = {
    'as_it_is': ({}, []),
    'no_clock': ({}, [(train, 'Transformer', CountsIdsOnly)]),
    'clock_only': ({}, [(train, 'Transformer', ReadsTheClockOnly)]),
    'no_keyboard': ({}, [(train, 'Transformer', without('held'))]),
    'offs_by_head': ({}, [(train, 'Transformer', without('held', at_input=False))]),
    'no_recall': ({}, [(train, 'Transformer', without('match', 'recalled'))]),
    'recall_input_only': ({}, [(train, 'Transformer',
                                without('match', 'recalled', at_input=False))]),
    'recall_output_only': ({}, [(train, 'Transformer',
                                 without('match', 'recalled', at_output=False))]),
    'no_home': ({}, [(train, 'Transformer', without('home'))]),
    'no_scale': ({}, [(train, 'Transformer', NoScale)]),
    'no_intervals': ({}, [(train, 'Transformer', NoIntervals)]),
    'no_parallels': ({}, [(train, 'Transformer', AvoidsNothing)]),
    'no_voices': ({}, [(train, 'Transformer', without('voices'))]),
    'no_bar': ({}, [(train, 'Transformer', without('to_bar'))]),
    'no_end': ({}, [(train, 'Transformer', without('to_end'))]),
    'look_back': ({}, [(model, 'Block', LooksBack)]),
    'swiglu': ({}, [(model, 'MLP', SwiGLU)]),
    'rmsnorm': ({}, [(model, 'norm', rms_norm)]),
    'adamw_0.001': ({'muon_lr': 0.001}, [(train, 'make_optimizers', adamw_only)]),
    'adamw_0.003': ({'muon_lr': 0.003}, [(train, 'make_optimizers', adamw_only)]),
    'adamw_0.01': ({'muon_lr': 0.01}, [(train, 'make_optimizers', adamw_only)]),
    'no_transposition': ({'augment': False}, []),
    'dropout_0': ({'dropout': 0.0}, []),
    'dropout_0.2': ({'dropout': 0.2}, []),
    'weight_decay_0': ({'weight_decay': 0.0}, []),
    'weight_decay_0.5': ({'weight_decay': 0.5}, []),
    'weight_decay_1': ({'weight_decay': 1.0}, []),
    'context_512': ({'context': 512, 'batch_size': 8}, []),
    'batch_32': ({'batch_size': 32}, []),
    'layers_4': ({'n_layer': 4}, []),
    'layers_8': ({'n_layer': 8}, []),
    'width_192': ({'n_embd': 192}, []),
    'heads_4': ({'n_head': 4}, []),
    'heads_8': ({'n_head': 8}, []),
    'muon_lr_half': ({'muon_lr': 0.01}, []),
    'muon_lr_double': ({'muon_lr': 0.04}, []),
    'adam_lr_half': ({'adam_lr': 0.0015}, []),
    'adam_lr_double': ({'adam_lr': 0.006}, []),
}


BASE = train.Config(**{name: value for _, name, value in
                       read_config(str(ROOT / 'config' / 'goldberg.py'))})


def judged(trained, dataset: str) -> str:
    """The verdict on ENOUGH pieces, drawn as sample.py does by default, and a few figures."""
    corpora = load_corpora(dataset)
    tokenizer = load_tokenizer(corpora[0]['tokenizer'])
    prompt = read_prompt(tokenizer)
    trained.dtype = torch.float32
    rows, _ = draw_pieces(trained, tokenizer, prompt, Config(num_samples=ENOUGH))
    scores = [tokenizer.decode(row) for row in rows]
    samples = [(f'sample {number}', score) for number, score in enumerate(scores)]
    pieces = load_pieces(corpora, tokenizer)
    verdict = judge(count_pieces(pieces['train'] + pieces['val']), count_pieces(samples))
    figures = ', '.join(f'{name} {value:.3f}' for name, value in describe(scores).items())
    return f'Bach preferred in {verdict.prefers:.1f} of 100 pairs; {figures}'


def run_row(name: str, steps: int, seed: int, dataset: str, heard: bool):
    """Train one row and print its line."""
    settings, stand_ins = ROWS[name]
    config = replace(BASE, **settings)
    with tempfile.TemporaryDirectory() as folder:
        config = replace(config, dataset=dataset, max_steps=steps, seed=seed, eval_every=steps,
                         log_every=50, out_dir=folder)
        began = time.perf_counter()
        patches = [mock.patch.object(*stand_in) for stand_in in stand_ins]
        for patch in patches:
            patch.start()
        trained = train.train(config)
        seconds = time.perf_counter() - began
        corpora = load_corpora(dataset)
        tokenizer = load_tokenizer(corpora[0]['tokenizer'])
        for corpus, bits in judge_model(trained, corpora, tokenizer)['bits'].items():
            split = ', '.join(f'{kind} {value:.3f}' for kind, value in bits.items())
            print(f'{name:18} {corpus:10} {sum(bits.values()):.3f} bits/note ({split}) '
                  f'step {steps}, seed {seed}, {seconds:.0f} s', flush=True)
        if heard:
            print(f'{name:18} {judged(trained, dataset)}', flush=True)
        for patch in patches:
            patch.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.error = lambda message: sys.exit(f'ablations.py: {message}')     # one line, no usage
    parser.add_argument('names', nargs='+', metavar='NAME', choices=['all', *ROWS],
                        help=f'all, or any of: {", ".join(ROWS)}')
    parser.add_argument('--steps', type=int, default=BASE.max_steps)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--dataset', default='goldberg')
    parser.add_argument('--judge', action='store_true', help='draw pieces and judge them')
    args = parser.parse_args()
    for name in ROWS if 'all' in args.names else args.names:
        run_row(name, args.steps, args.seed, args.dataset, args.judge)


if __name__ == '__main__':
    main()
