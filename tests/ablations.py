"""What each idea of the recipe is worth: python tests/ablations.py NAME [NAME ...]

Each row trains the model of config/goldberg.py with one thing changed, and prints its bits/note on
the held-out variations after the last step, split into what, when and how long. `all` runs every
row; --steps=N, --seed=N and --dataset=goldberg,wtc change all of them.
"""

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import torch                                                            # noqa: E402
import torch.nn.functional as F                                         # noqa: E402

import model                                                            # noqa: E402
import train                                                            # noqa: E402
from evaluate import judge_model                                        # noqa: E402
from lib.corpus import load_corpora                                     # noqa: E402
from lib.settings import read_config                                    # noqa: E402
from model import MLP, Transformer, linear, weights                     # noqa: E402
from sample import load_tokenizer                                       # noqa: E402
from train import make_optimizers                                       # noqa: E402


# ---- what is taken away

class CountsIdsOnly(Transformer):
    """All heads measure distance in ids."""

    def cos_and_sin(self, clock, start):
        by_ids = self.by_ids[start:start + clock.size(1)].to(self.dtype)
        return by_ids.chunk(2, dim=-1)


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


def adamw_alone(model, weight_decay, dtype):
    """AdamW for the matrices of the blocks, too, at a rate of its own."""
    muon, adamw = make_optimizers(model, weight_decay, dtype)
    matrices = [matrix for group in muon.param_groups for matrix in group['params']]
    return [torch.optim.AdamW(matrices, betas=(0.9, 0.95), weight_decay=weight_decay), adamw]


# name -> the Transformer that stands in for ours
TRANSFORMERS = {
    'no_clock': CountsIdsOnly,
    'no_keyboard': without('held'),
    'offs_by_head': without('held', at_input=False),
    'no_recall': without('match', 'recalled'),
    'recall_input_only': without('match', 'recalled', at_input=False),
    'recall_output_only': without('match', 'recalled', at_output=False),
    'no_home': without('home'),
    'no_scale': NoScale,
    'no_intervals': NoIntervals,
    'no_parallels': AvoidsNothing,
    'no_voices': without('voices'),
    'no_bar': without('to_bar'),
    'no_end': without('to_end'),
}
# name -> settings of train.py, and (module, name of a class or function, what stands in for it)
ROWS = {
    'as_it_is': ({}, []),
    **{name: ({}, [(train, 'Transformer', stands_in)]) for name, stands_in in TRANSFORMERS.items()},
    'swiglu': ({}, [(model, 'MLP', SwiGLU)]),
    'no_transposition': ({'augment': False}, []),
    'dropout_0': ({'dropout': 0.0}, []),
    'layers_6': ({'n_layer': 6}, []),
    'heads_4': ({'n_head': 4}, []),
    'muon_lr_half': ({'muon_lr': 0.01}, []),
    'adamw': ({'muon_lr': 0.003}, [(train, 'make_optimizers', adamw_alone)]),
}


BASE = train.Config(**{name: value for _, name, value in
                       read_config(str(ROOT / 'config' / 'goldberg.py'))})


def run_row(name: str, steps: int, seed: int, dataset: str):
    """Train one row and print its line."""
    settings, stand_ins = ROWS[name]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for stand_in in stand_ins:
            stack.enter_context(mock.patch.object(*stand_in))
        config = replace(BASE, **settings, dataset=dataset, max_steps=steps, seed=seed,
                         eval_every=steps, log_every=50, out_dir=folder)
        began = time.perf_counter()
        trained = train.train(config)
        seconds = time.perf_counter() - began
        corpora = load_corpora(dataset)
        tokenizer = load_tokenizer(corpora[0]['tokenizer'])
        for corpus, bits in judge_model(trained, corpora, tokenizer)['bits'].items():
            split = ', '.join(f'{kind} {value:.3f}' for kind, value in bits.items())
            print(f'{name:18} {corpus:10} {sum(bits.values()):.3f} bits/note ({split}) '
                  f'step {steps}, seed {seed}, {seconds:.0f} s', flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.error = lambda message: sys.exit(f'ablations.py: {message}')     # one line, no usage
    parser.add_argument('names', nargs='+', metavar='NAME', choices=['all', *ROWS],
                        help=f'all, or any of: {", ".join(ROWS)}')
    parser.add_argument('--steps', type=int, default=BASE.max_steps)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--dataset', default='goldberg')
    args = parser.parse_args()
    for name in ROWS if 'all' in args.names else args.names:
        run_row(name, args.steps, args.seed, args.dataset)


if __name__ == '__main__':
    main()
