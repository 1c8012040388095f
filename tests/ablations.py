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
from config.settings import read_config                                          # noqa: E402
from data.corpus import load_corpus, load_pieces, open_corpora          # noqa: E402
from evaluate import bits_by_kind                                       # noqa: E402
from lib.form import describe                                           # noqa: E402
from lib.judge import ENOUGH, count_pieces, judge                       # noqa: E402
from model import (MLP, Attention, LookBack, Transformer, attend,       # noqa: E402
                   let_go, linear, matrix, norm, rotate)
from data.tokenizer import load_tokenizer                               # noqa: E402
from data.prompt import read_prompt                                     # noqa: E402
from sample import Config, draw_pieces                                  # noqa: E402


# ---- what is taken away

class CountsIdsOnly(Transformer):
    """All heads measure distance in ids."""

    def add_tables(self, tables):
        super().add_tables(tables)
        self.angles_by_id[:] = self.angles_by_id[:, :1]
        self.angle_a_unit.zero_()


class ReadsTheClockOnly(Transformer):
    """All heads measure distance by the clock."""

    def add_tables(self, tables):
        super().add_tables(tables)
        self.angles_by_id.zero_()
        self.angle_a_unit[:] = self.angle_a_unit[-1]


class HearsNoBeat(Transformer):
    """The place in the beat is not told, nor where in the beat each id would lead."""

    def add_tables(self, tables):
        super().add_tables(tables)
        self.place.requires_grad_(False)             # 0, as it begins
        self.speaks_for[:self.n_places] = 0


class NoKeyboard(Transformer):
    """Nothing is told of the keys."""

    def tell(self, now):
        told = super().tell(now)
        return told._replace(down=0 * told.down)


class NoNames(Transformer):
    """The input is not told which keys are down."""

    def embed(self, ids, told):
        return super().embed(ids, told._replace(down=0 * told.down))


class OffsByHead(Transformer):
    """What is let go gets no score by what lies around it."""

    def unembed(self, x, told):
        return super().unembed(x, told._replace(down=0 * told.down))


class NoLookBack(LookBack):
    """No share of the positions just before."""

    def __init__(self, config):
        super().__init__(config)
        self.shares = nn.Parameter(torch.empty(0))

    def forward(self, x, cache=None):
        return x


class ForgetsTheStart(Transformer):
    """A crop does not know what the ids before it left: a key counts as up until it is pressed."""

    def state_after(self, ids, state=None):
        return self.beginning(len(ids))

    def follow(self, ids, state):
        now = super().follow(ids, state)
        too_many_offs = now.down.cummin(dim=1).values.clamp(max=0)
        return now._replace(down=now.down - too_many_offs)


class IsToldNoEnd(Transformer):
    """The time to the end is never told."""

    def tell(self, now):
        return super().tell(now._replace(end=torch.full_like(now.end, torch.inf)))


# ---- what is added

class OnsByDistance(Transformer):
    """The keys to press get logits by what lies around them, too, from a kernel of their own."""

    def __init__(self, config, tables=None):
        super().__init__(config, tables)
        self.to_press = nn.Parameter(torch.zeros(config.n_embd, config.n_keys))

    def unembed(self, x, told):
        scores = let_go(linear(x, self.to_press).float(), told.down)
        return super().unembed(x, told) + scores @ (self.keys > 0).float().T


class SharedParts(Transformer):
    """Ids that press or let go the same pitch class, or keys of one octave, share a part of their
    embedding."""

    def __init__(self, config, tables=None):
        super().__init__(config, tables)
        K = config.n_keys
        parts = torch.cat((torch.eye(12)[torch.arange(K) % 12],
                           torch.eye(11)[torch.arange(K) // 12]), dim=1)         # (K, 23)
        turned_on, turned_off = self.keys.clamp(min=0), -self.keys.clamp(max=0)
        self.register_buffer('parts', torch.cat((turned_on @ parts, turned_off @ parts), dim=1))
        self.shared = nn.Parameter(0.3 * torch.randn(46, config.n_embd))

    def embed(self, ids, told):
        whole = self.embedding + self.parts @ self.shared
        with mock.patch.dict(self._parameters, embedding=whole):
            return super().embed(ids, told)


class SwiGLU(MLP):
    """SwiGLU (Shazeer 2020) with as many weights, for squared ReLU."""

    def __init__(self, config):
        super().__init__(config)
        width = config.n_embd * 8 // 3
        self.up = matrix(config.n_embd, 2 * width)
        self.down = matrix(width, config.n_embd)

    def forward(self, x):
        gate, value = linear(x, self.up).chunk(2, dim=-1)
        return linear(F.silu(gate) * value, self.down)


class GatedHeads(Attention):
    """A gate on each head's output, computed from the input (Qiu et al. 2025)."""

    def __init__(self, config, layer):
        super().__init__(config, layer)
        self.gate = nn.Parameter(torch.zeros(1, config.n_embd, config.n_head))

    def forward(self, x, cos, sin, cache=None):
        B, T, C = x.shape
        qkv = linear(x, self.qkv).view(B, T, 3, self.n_head, -1)
        q, k = rotate(norm(qkv[:, :, :2]), cos, sin).permute(2, 0, 3, 1, 4).float()
        v = qkv[:, :, 2].transpose(1, 2).float()
        y = attend(q, k, v).transpose(1, 2)
        gate = 2 * torch.sigmoid(x @ self.gate[0].to(x.dtype))                   # (B, T, H)
        return linear((y * gate[..., None]).reshape(B, T, C).to(x.dtype), self.proj)


# name -> settings of train.py, and (module, name of a class, class that stands in for it)
ROWS = {
    'as_it_is': ({}, []),
    'no_clock': ({}, [(train, 'Transformer', CountsIdsOnly)]),
    'clock_only': ({}, [(train, 'Transformer', ReadsTheClockOnly)]),
    'no_beat': ({}, [(train, 'Transformer', HearsNoBeat)]),
    'no_keyboard': ({}, [(train, 'Transformer', NoKeyboard)]),
    'no_names': ({}, [(train, 'Transformer', NoNames)]),
    'offs_by_head': ({}, [(train, 'Transformer', OffsByHead)]),
    'no_look_back': ({}, [(model, 'LookBack', NoLookBack)]),
    'no_state': ({}, [(train, 'Transformer', ForgetsTheStart)]),
    'no_end': ({}, [(train, 'Transformer', IsToldNoEnd)]),
    'ons_by_distance': ({}, [(train, 'Transformer', OnsByDistance)]),
    'shared_parts': ({}, [(train, 'Transformer', SharedParts)]),
    'swiglu': ({}, [(model, 'MLP', SwiGLU)]),
    'gated_heads': ({}, [(model, 'Attention', GatedHeads)]),
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
    corpora, tokenizer = open_corpora(dataset)
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
        for corpus in map(load_corpus, dataset.split(',')):
            bits = bits_by_kind(trained, corpus, load_tokenizer(corpus['tokenizer']))
            split = ', '.join(f'{kind} {value:.3f}' for kind, value in bits.items())
            print(f'{name:18} {corpus["name"]:10} {sum(bits.values()):.3f} bits/note ({split}) '
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
