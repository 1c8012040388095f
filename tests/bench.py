"""Figures, not tests: python tests/bench.py [training] [sampling] [bpe] ...

Each row pairs ours with a peer, run in turns in the same minutes, and gives the median and the
ratio: on a shared machine only the ratio means something. A peer that is not installed is named.
"""

import contextlib
import importlib.util
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parent.parent))

from model import ModelConfig, Transformer                        # noqa: E402

SHAPE = {'context': 256, 'n_layer': 4, 'n_head': 4, 'n_embd': 128}
VOCAB, BATCH = 515, 16


def missing(package: str) -> bool:
    if importlib.util.find_spec(package):
        return False
    print(f'{package}: not installed, no row for it (pip install {package})')
    return True


def in_turns(jobs: dict, rounds: int = 7) -> dict:
    """{name: job} -> {name: median seconds}, each job once a round after one round of warm-up."""
    times = {name: [] for name in jobs}
    for _ in range(rounds + 1):
        for name, job in jobs.items():
            began = time.perf_counter()
            job()
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(seconds[1:]) for name, seconds in times.items()}


def matmul(dtype):
    a = torch.ones(2048, 2048, dtype=dtype)
    return lambda: a @ a


def our_step(dtype):
    """A training step as in train.py: forward, loss, backward, Muon and AdamW."""
    model = Transformer(ModelConfig(VOCAB, **SHAPE))
    model.dtype = dtype
    optimizers = [torch.optim.Muon(model.blocks.parameters(), lr=0.01),
                  torch.optim.AdamW([model.embedding.weight, model.head.weight], lr=1e-3)]
    ids = torch.randint(VOCAB, (BATCH, SHAPE['context'] + 1))

    def step():
        loss = F.cross_entropy(model(ids[:, :-1]).float().flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return step


def gpt2_step(dtype):
    """The same step of transformers' GPT-2: equal layers, width, heads, context, batch, vocabulary;
    no dropout, its default attention, AdamW; in float32 or under bfloat16 autocast."""
    from transformers import GPT2Config, GPT2LMHeadModel
    model = GPT2LMHeadModel(GPT2Config(
        VOCAB, SHAPE['context'], SHAPE['n_embd'], SHAPE['n_layer'], SHAPE['n_head'],
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=0, eos_token_id=0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    ids = torch.randint(VOCAB, (BATCH, SHAPE['context']))

    def step():
        cast = torch.autocast('cpu', torch.bfloat16) if dtype == torch.bfloat16 else \
            contextlib.nullcontext()
        with cast:
            loss = model(ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return step


def training():
    """Tokens a second, against GPT-2 of the same shape, and the share of the matmul peak."""
    jobs = {}
    for name, dtype in (('float32', torch.float32), ('bfloat16', torch.bfloat16)):
        jobs |= {f'matmul {name}': matmul(dtype), f'ours {name}': our_step(dtype)}
        if not missing('transformers'):
            jobs[f'GPT-2 {name}'] = gpt2_step(dtype)
    seconds, tokens = in_turns(jobs), BATCH * SHAPE['context']
    layers, width, context = SHAPE['n_layer'], SHAPE['n_embd'], SHAPE['context']
    weights = 12 * layers * width ** 2 + width * VOCAB
    flops = 6 * weights + 6 * layers * width * context        # a token; attention is causal
    for name, took in seconds.items():
        if name.startswith('matmul'):
            peak = 2 * 2048 ** 3 / took
            print(f'{name:16} {peak / 1e9:9,.0f} GFLOP/s')
        else:
            share = flops * tokens / took / (2 * 2048 ** 3 / seconds[f'matmul {name.split()[1]}'])
            print(f'{name:16} {tokens / took:9,.0f} tokens/s, {share:.0%} of the matmul peak')
    best = {who: min(took for name, took in seconds.items() if name.startswith(who))
            for who in ('ours', 'GPT-2') if any(name.startswith(who) for name in seconds)}
    if len(best) == 2:
        print(f'ours trains {best["GPT-2"] / best["ours"]:.2f} times as fast (best of each)')


def sampling(length: int = 1024):
    """Tokens a second of one sequence of 1,024 ids, with the cache and without."""
    torch.set_num_threads(1)
    model = Transformer(ModelConfig(VOCAB, **{**SHAPE, 'context': length}))
    torch.nn.init.normal_(model.head.weight, std=0.02)

    def run(cached):
        generator = torch.Generator().manual_seed(0)
        ids = torch.zeros(1, 1, dtype=torch.long)
        return [id.item() for id, _ in zip(model.generate(ids, generator=generator, cached=cached),
                                           range(length))]
    assert run(True)[:200] == run(False)[:200]
    seconds = in_turns({'cached': lambda: run(True), 'plain': lambda: run(False)}, rounds=2)
    for name, took in seconds.items():
        print(f'{name:16} {length / took:9,.0f} tokens/s')
    print(f'the cache makes it {seconds["plain"] / seconds["cached"]:.1f} times as fast')


if __name__ == '__main__':
    benches = {'training': training, 'sampling': sampling}
    for name in sys.argv[1:] or benches:
        print(f'--- {name}: {benches[name].__doc__}')
        benches[name]()
