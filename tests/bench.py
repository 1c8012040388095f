"""Figures, not tests: python tests/bench.py [NAME ...]

Each row pairs ours with a peer, run in turns in the same minutes, and gives the median and the
ratio: on a shared machine only the ratio means something. A peer that is not installed is named.
"""

import argparse
import contextlib
import importlib.util
import os
import statistics
import sys
import time
from pathlib import Path

os.environ |= {'RAYON_NUM_THREADS': '1', 'TOKENIZERS_PARALLELISM': 'false'}     # one, as we are

import torch                                                            # noqa: E402
import torch.nn.functional as F                                         # noqa: E402

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]

from conftest import movement                                           # noqa: E402
from test_tokenizer_bpe import merges_of, textbook_train                # noqa: E402

from lib.heldout import stack                                           # noqa: E402
from lib.machine import pick_dtype                                      # noqa: E402
from lib.score import read_midi                                         # noqa: E402
from model import ModelConfig, Transformer                              # noqa: E402
from tokenizer_bpe import EOT, PATTERN, BPETokenizer                    # noqa: E402
from tokenizer_midi import MidiTokenizer                                # noqa: E402
from train import make_optimizers                                       # noqa: E402

SHAPE = {'context': 256, 'n_layer': 4, 'n_head': 4, 'n_embd': 128}
TOKENIZER = MidiTokenizer()
VOCAB = TOKENIZER.vocab_size
BATCH = 16


def missing(package: str) -> bool:
    if importlib.util.find_spec(package):
        return False
    print(f'{package}: not installed, no row for it (pip install {package})')
    return True


def in_turns(jobs: dict, rounds: int) -> dict:
    """{name: job} -> {name: median seconds}, each job once a round after one round of warm-up."""
    times = {name: [] for name in jobs}
    for _ in range(rounds + 1):
        for name, job in jobs.items():
            began = time.perf_counter()
            job()
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(seconds[1:]) for name, seconds in times.items()}


def compare(what: str, jobs: dict, rounds: int, amount: float, unit: str):
    """Print how much of the amount each job does in a second, and how ours compares."""
    seconds = in_turns(jobs, rounds)
    for who, took in seconds.items():
        line = f'{what:12} {who:10} {amount / took:9,.0f} {unit}/s'
        if who != 'ours':
            line += f'; ours is {took / seconds["ours"]:.2f} times as fast'
        print(line)


def music_model(dropout: float) -> Transformer:
    """An untrained model of music."""
    return Transformer(ModelConfig(VOCAB, **SHAPE, dropout=dropout, **TOKENIZER.shape_of_told()))


def gpt2(**more):
    """transformers' GPT-2 of equal layers, width, heads, context and vocabulary."""
    from transformers import GPT2Config, GPT2LMHeadModel
    return GPT2LMHeadModel(GPT2Config(
        vocab_size=VOCAB, n_positions=SHAPE['context'], n_embd=SHAPE['n_embd'],
        n_layer=SHAPE['n_layer'], n_head=SHAPE['n_head'], bos_token_id=0, **more))


def our_step(dtype, dropout: float):
    """A training step as in train.py: forward, loss, backward, Muon and AdamW; on the beginnings
    of movements of the Goldberg, ids (B, T + 1) and what is told after each."""
    model = music_model(dropout)
    model.dtype = dtype
    optimizers = make_optimizers(model, 0.1, dtype)
    length = SHAPE['context'] + 1
    pieces = [movement(number) for number in range(BATCH)]
    ids = torch.tensor([ids[:length] for ids, _ in pieces])
    told = stack([told[:length] for _, told in pieces])

    def step():
        logits = model(ids[:, :-1], told[:, :-1])
        loss = F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return step


def gpt2_step(dtype, dropout: float):
    """The same step of GPT-2, its default attention, AdamW; in float32 or under bfloat16
    autocast."""
    model = gpt2(eos_token_id=0, resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout)
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
    """Tokens a second, against GPT-2 of the same shape, precision and dropout (it ships with 0.1,
    and is faster without)."""
    precisions = ['float32']
    if pick_dtype('auto', 'cpu', SHAPE['n_embd']) == 'bfloat16':
        precisions.append('bfloat16')
    else:
        print('bfloat16: slower than float32 on this processor, no row for it')
    has_peer = not missing('transformers')
    for precision in precisions:
        dtype = getattr(torch, precision)
        for dropout in (0.1, 0.0):
            jobs = {'ours': our_step(dtype, dropout)}
            if has_peer:
                jobs['GPT-2'] = gpt2_step(dtype, dropout)
            compare(f'{precision} {dropout}', jobs, 7, BATCH * SHAPE['context'], 'tokens')


def our_ids(rows: int):
    """Draw as many ids as a context holds, by an untrained model of music, with its guard."""
    model = music_model(0.0)

    def run():
        start = torch.zeros(rows, 1, dtype=torch.long)
        listeners = [TOKENIZER.listener() for _ in range(rows)]
        for number, _ in enumerate(model.generate(start, listeners), 2):
            if number == SHAPE['context']:
                break
    return run


def gpt2_ids(rows: int):
    """The same of GPT-2."""
    model = gpt2(eos_token_id=None).eval()
    start = torch.ones(rows, 1, dtype=torch.long)            # 0 would be taken for padding
    return lambda: model.generate(start, do_sample=True, pad_token_id=0, top_k=0,
                                  max_new_tokens=SHAPE['context'] - 1)


def sampling():
    """Ids a second of one sequence and of eight at once; against GPT-2 of the same shape. One
    thread each."""
    torch.set_num_threads(1)
    has_peer = not missing('transformers')
    for rows in (1, 8):
        jobs = {'ours': our_ids(rows)}
        if has_peer:
            jobs['GPT-2'] = gpt2_ids(rows)
        compare(f'{rows} at once', jobs, 5, rows * SHAPE['context'], 'ids')


def reading():
    """MIDI files to ids, all of data/goldberg, against miditok (whose reader is written in C++)."""
    paths = sorted((ROOT / 'data' / 'goldberg').glob('*.mid'))
    jobs = {'ours': lambda: [TOKENIZER.encode(read_midi(str(path))) for path in paths]}
    if not missing('miditok'):
        import miditok
        peer = miditok.MIDILike()
        jobs['miditok'] = lambda: [peer(path) for path in paths]
    compare('goldberg', jobs, 3, sum(path.stat().st_size for path in paths) / 1e3, 'kB')


def plays() -> str:
    texts = [path.read_text('utf-8') for path in sorted((ROOT / 'data/shakespeare').glob('*.txt'))]
    return '\n'.join(texts) or sys.exit('no plays: run python prepare.py shakespeare')


def textbook(size: int = 200_000, merges: int = 256):
    """BPE training against the trainer of the textbooks, which recounts all pairs at each merge."""
    text, found = plays()[:size], []
    seconds = in_turns({
        'ours': lambda: found.append(merges_of(BPETokenizer.train(text, 257 + merges)))}, 2)
    began = time.perf_counter()
    assert textbook_train(text, merges) == found[0]
    ratio = (time.perf_counter() - began) / seconds['ours']
    print(f'{size:,} characters, {merges:,} merges: the same merges, {ratio:.0f} times as fast')


def rust():
    """BPE training on all plays, 4,096 tokens, against the Rust library `tokenizers`."""
    if missing('tokenizers'):
        return
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
    text, byte_level = plays(), pre_tokenizers.ByteLevel
    lines = text.splitlines(True)
    peer = Tokenizer(models.BPE())
    peer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), 'isolated'),
        byte_level(add_prefix_space=False, use_regex=False)])
    trainer = trainers.BpeTrainer(vocab_size=4096, show_progress=False, special_tokens=[EOT],
                                  initial_alphabet=byte_level.alphabet())
    compare('plays', {'ours': lambda: BPETokenizer.train(text, 4096),
                      'tokenizers': lambda: peer.train_from_iterator(lines, trainer)},
            3, len(text) / 1e3, 'kB')


BENCHES = [training, sampling, reading, textbook, rust]


def main():
    by_name = {bench.__name__: bench for bench in BENCHES}
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.error = lambda message: sys.exit(f'bench.py: {message}')     # one line, no usage
    parser.add_argument('names', nargs='*', metavar='NAME',
                        help=f'any of: {", ".join(by_name)}; if none is given, all')
    names = parser.parse_args().names
    for name in names:
        if name not in by_name:
            parser.error(f'{name}: there is {", ".join(by_name)}')
    for name in names or by_name:
        print(f'--- {name}: {by_name[name].__doc__}', flush=True)
        by_name[name]()


if __name__ == '__main__':
    main()
