"""Figures, not tests: python tests/bench.py [NAME ...]

Each row pairs ours with a peer, run in turns in the same minutes, and gives the median and the
ratio: on a shared machine only the ratio means something. A peer that is not installed is named.
"""

import argparse
import contextlib
import importlib.util
import os
import random
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
from test_synth import piece                                            # noqa: E402
from test_tokenizer_bpe import merges_of, textbook_train                # noqa: E402

from lib.machine import pick_dtype                                   # noqa: E402
from lib.corpus import load_corpora, load_corpus, load_pieces          # noqa: E402
from lib.machine import Processes                                       # noqa: E402
from lib.prompt import read_prompt                                     # noqa: E402
from lib.score import read_midi                                        # noqa: E402
from lib.form import describe                                           # noqa: E402
from lib.heldout import stack                                           # noqa: E402
from lib.judge import count_pieces, judge                               # noqa: E402
from model import ModelConfig, Transformer, load                        # noqa: E402
from sample import Config, draw_pieces, load_tokenizer                  # noqa: E402
from lib.synth import SAMPLE_RATE, render                                   # noqa: E402
from tokenizer_bpe import EOT, PATTERN, BPETokenizer                    # noqa: E402
from tokenizer_midi import MidiTokenizer                                # noqa: E402
from train import make_optimizers, validate                            # noqa: E402

SHAPE = {'context': 256, 'n_layer': 4, 'n_head': 4, 'n_embd': 128}
TOKENIZER = MidiTokenizer()
VOCAB = TOKENIZER.vocab_size
BATCH = 16


def missing(package: str) -> bool:
    if importlib.util.find_spec(package):
        return False
    print(f'{package}: not installed, no row for it (pip install {package})')
    return True


def in_turns(jobs: dict, rounds: int = 7, clock=time.perf_counter) -> dict:
    """{name: job} -> {name: median seconds}, each job once a round after one round of warm-up."""
    times = {name: [] for name in jobs}
    for _ in range(rounds + 1):
        for name, job in jobs.items():
            began = clock()
            job()
            times[name].append(clock() - began)
    return {name: statistics.median(seconds[1:]) for name, seconds in times.items()}


def matmul(dtype):
    a = torch.ones(2048, 2048, dtype=dtype)
    return lambda: a @ a


def music_model(**config) -> Transformer:
    """An untrained model of music."""
    return Transformer(ModelConfig(VOCAB, **{**SHAPE, **config}, **TOKENIZER.shape_of_told()))


def music_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """The beginnings of movements of the Goldberg, (B, T + 1), and what is told after each."""
    length = SHAPE['context'] + 1
    pieces = [movement(number) for number in range(BATCH)]
    ids = torch.tensor([ids[:length] for ids, _ in pieces])
    return ids, stack([told[:length] for _, told in pieces])


def our_step(dtype, dropout):
    """A training step as in train.py: forward, loss, backward, Muon and AdamW."""
    model = music_model(dropout=dropout)
    model.dtype = dtype
    optimizers = make_optimizers(model, 0.1, dtype)
    ids, told = music_batch()

    def step():
        logits = model(ids[:, :-1], told[:, :-1])
        loss = F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return step


def gpt2_step(dtype, dropout):
    """The same step of transformers' GPT-2: equal layers, width, heads, context, batch, vocabulary
    and dropout, its default attention, AdamW; in float32 or under bfloat16 autocast."""
    from transformers import GPT2Config, GPT2LMHeadModel
    model = GPT2LMHeadModel(GPT2Config(
        vocab_size=VOCAB, n_positions=SHAPE['context'], n_embd=SHAPE['n_embd'],
        n_layer=SHAPE['n_layer'], n_head=SHAPE['n_head'], bos_token_id=0, eos_token_id=0,
        resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout))
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
    """Tokens a second, against GPT-2 of the same shape, and the share of the matmul peak. GPT-2 as
    it ships computes in float32 with dropout 0.1; both are also turned to its advantage."""
    best = pick_dtype('auto', 'cpu', SHAPE['n_embd'])
    precisions = {'float32': torch.float32}
    if best == 'bfloat16':
        precisions['bfloat16'] = torch.bfloat16
    else:
        print('bfloat16: slower than float32 on this processor, no row for it')
    has_peer = not missing('transformers')
    jobs = {}
    for name, dtype in precisions.items():
        jobs['matmul', name, ''] = matmul(dtype)
        for dropout in (0.1, 0.0):
            jobs['ours', name, dropout] = our_step(dtype, dropout)
            if has_peer:
                jobs['GPT-2', name, dropout] = gpt2_step(dtype, dropout)
    seconds = in_turns(jobs)
    tokens = BATCH * SHAPE['context']
    layers, width, context = SHAPE['n_layer'], SHAPE['n_embd'], SHAPE['context']
    weights = 12 * layers * width ** 2 + width * VOCAB
    flops = 6 * weights + 6 * layers * width * context        # a token; attention is causal
    for (who, name, dropout), took in seconds.items():
        if who == 'matmul':
            print(f'matmul {name:9} {2 * 2048 ** 3 / took / 1e9:18,.0f} GFLOP/s')
        else:
            share = flops * tokens / took / (2 * 2048 ** 3 / seconds['matmul', name, ''])
            print(f'{who:6} {name:9} dropout {dropout} {tokens / took:7,.0f} tokens/s, '
                  f'{share:.0%} of the matmul peak')
    for who, name, dropout in seconds:
        if who == 'GPT-2':
            ratio = seconds[who, name, dropout] / seconds['ours', best, dropout]
            print(f'ours in {best} is {ratio:.2f} times as fast as GPT-2 in {name}, both with '
                  f'dropout {dropout}')


def our_ids(rows: int, cached: bool):
    """Draw as many ids as a context holds, by an untrained model of music, with its guard."""
    model = music_model()

    def run():
        start = torch.zeros(rows, 1, dtype=torch.long)
        listeners = [TOKENIZER.listener() for _ in range(rows)]
        for number, _ in enumerate(model.generate(start, listeners, cached=cached), 2):
            if number == SHAPE['context']:
                break
    return run


def gpt2_ids(rows: int, cached: bool):
    """The same of transformers' GPT-2 of equal shape."""
    from transformers import GPT2Config, GPT2LMHeadModel
    model = GPT2LMHeadModel(GPT2Config(
        vocab_size=VOCAB, n_positions=SHAPE['context'], n_embd=SHAPE['n_embd'],
        n_layer=SHAPE['n_layer'], n_head=SHAPE['n_head'], bos_token_id=0, eos_token_id=None)).eval()
    start = torch.ones(rows, 1, dtype=torch.long)            # 0 would be taken for padding
    return lambda: model.generate(start, do_sample=True, use_cache=cached, pad_token_id=0,
                                  top_k=0, max_new_tokens=SHAPE['context'] - 1)


def sampling():
    """Ids a second of one sequence, with the cache and without, and of eight at once; against GPT-2
    of the same shape. One thread each."""
    torch.set_num_threads(1)
    jobs = {}
    kinds = [(1, True), (1, False), (8, True)]
    has_peer = not missing('transformers')
    for rows, cached in kinds:
        jobs['ours', rows, cached] = our_ids(rows, cached)
        if has_peer:
            jobs['GPT-2', rows, cached] = gpt2_ids(rows, cached)
    seconds = in_turns(jobs, rounds=5)
    for (who, rows, cached), took in seconds.items():
        line = (f'{who:6} {rows} at once, {"cached" if cached else "plain":7}'
                f'{rows * SHAPE["context"] / took:9,.0f} ids/s')
        if who == 'GPT-2':
            line += f'; ours {took / seconds["ours", rows, cached]:.2f} times as fast'
        print(line)
    gain = seconds['ours', 1, False] / seconds['ours', 1, True]
    print(f'the cache makes {SHAPE["context"]} ids {gain:.1f} times as fast')


def validation():
    """Held-out tokens a second, beside those of training without dropout."""
    try:
        corpus = load_corpus('goldberg')
    except ValueError as error:
        return print(error)
    best = pick_dtype('auto', 'cpu', SHAPE['n_embd'])
    model = music_model()
    model.dtype = getattr(torch, best)
    seconds = in_turns({'validation': lambda: validate(model, corpus, Processes()),
                        'training': our_step(model.dtype, 0.0)}, rounds=3)
    print(f'validation {len(corpus["val"]) / seconds["validation"]:9,.0f} tokens/s in {best}')
    print(f'training   {BATCH * SHAPE["context"] / seconds["training"]:9,.0f} tokens/s')


def reading():
    """MIDI files to ids, all of data/goldberg, against miditok (whose reader is written in C++)."""
    paths = sorted((ROOT / 'data' / 'goldberg').glob('*.mid'))
    tokenizer = MidiTokenizer()
    jobs = {'ours': lambda: [tokenizer.encode(read_midi(str(path))) for path in paths]}
    if not missing('miditok'):
        import miditok
        peer = miditok.MIDILike()
        jobs['miditok'] = lambda: [peer(path) for path in paths]
    seconds = in_turns(jobs, rounds=3)
    size = sum(path.stat().st_size for path in paths) / 1e3
    for who, took in seconds.items():
        print(f'{who:8} {size / took:9,.0f} kB/s')


def rendering():
    """Seconds of sound that the synth makes in one second, of a dense piece."""
    notes = piece(800, 48)
    seconds = in_turns({'ours': lambda: render(notes)}, rounds=3)
    print(f'{len(render(notes)) / SAMPLE_RATE / seconds["ours"]:.0f} times as fast as it plays')


# temperature, top_p, min_p; the first is what sample.py does by default
CHOICES = [(1.0, 1.0, 0.001), (1.0, 1.0, 0.0), (1.0, 1.0, 0.002), (1.0, 1.0, 0.01),
           (1.0, 1.0, 0.04), (0.95, 1.0, 0.0), (0.9, 1.0, 0.0), (1.0, 0.98, 0.0), (1.0, 0.95, 0.0)]
PIECES = 48              # drawn of each choice


def choosing():
    """How to draw: for each choice of temperature, top_p and min_p, what the judge says of PIECES
    pieces by each of out-goldberg and out-bach that is trained, and what can go wrong in them."""
    torch.set_num_threads(1)
    for folder in ('out-goldberg', 'out-bach'):
        try:
            model, checkpoint = load(ROOT / folder / 'ckpt.pt')
        except ValueError as error:
            print(error)
            continue
        corpora = load_corpora(checkpoint['train_config']['dataset'])
        tokenizer = load_tokenizer(checkpoint['tokenizer'])
        pieces = load_pieces(corpora, tokenizer)
        bach = count_pieces(pieces['train'] + pieces['val'])
        pitches = [note.pitch for _, score in pieces['train'] for note in score.notes]
        lowest, highest = min(pitches) - 5, max(pitches) + 6     # in any key that it was trained in
        prompt = read_prompt(tokenizer)
        print(f'{folder}, {PIECES} pieces of 32 bars, seed 1')
        for temperature, top_p, min_p in CHOICES:
            config = Config(num_samples=PIECES, temperature=temperature, top_p=top_p,
                            min_p=min_p)
            rows, listeners = draw_pieces(model, tokenizer, prompt, config)
            scores = [tokenizer.decode(row) for row in rows]
            scores = [score for score in scores if score.notes]
            samples = [(f'sample {number}', score) for number, score in enumerate(scores)]
            verdict = judge(bach, count_pieces(samples))
            print(f'temperature {temperature}, top_p {top_p}, min_p {min_p}: the judge prefers '
                  f'Bach in {verdict.prefers:.1f} of 100 pairs, give or take '
                  f'{verdict.give_or_take:.1f}')
            for name, value in describe(scores).items():
                print(f'    {name}: {value:.3f}')
            beyond = sum(not lowest <= note.pitch <= highest
                         for score in scores for note in score.notes)
            print(f'    notes beyond the compass of the training pieces: {beyond}')
            taken = sum(listener.forbidden for listener in listeners)
            print(f'    what the guard took away: {taken:.1f} draws', flush=True)


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
    seconds = in_turns({'ours': lambda: BPETokenizer.train(text, 4096),
                        'peer': lambda: peer.train_from_iterator(lines, trainer)}, 3)
    print(f'ours {seconds["ours"]:.2f} s, tokenizers {seconds["peer"]:.2f} s: '
          f'{seconds["ours"] / seconds["peer"]:.2f} times its time')


def tiktoken():
    """BPE encoding, our cache empty at the start, against tiktoken with our merges; then whether
    the ids agree on every code point and random bytes (as text, and uncut: tiktoken cuts text)."""
    if missing('tiktoken'):
        return
    import tiktoken as peer_package
    text = plays()
    tokenizer = BPETokenizer.train(text, 4096)
    ranks = {token: id for id, token in tokenizer.vocab.items() if id != tokenizer.end}
    peer = peer_package.Encoding('ours', pat_str=PATTERN, mergeable_ranks=ranks,
                                 special_tokens={EOT: tokenizer.end})

    def ours():
        tokenizer.cache.clear()
        tokenizer.encode(text)
    seconds = in_turns({'ours': ours, 'peer': lambda: peer.encode_ordinary(text)}, 5,
                       time.process_time)
    size = len(text.encode()) / 1e6
    print(f'ours {size / seconds["ours"]:.1f} MB/s, tiktoken {size / seconds["peer"]:.1f} MB/s: '
          f'{seconds["peer"] / seconds["ours"]:.2f} of its speed')
    points = [chr(i) for i in range(0x110000) if not 0xD800 <= i < 0xE000]     # no surrogates
    cases = [text, *points, *(f'the {point}the' for point in points)]
    chance = random.Random(0)
    rows = [chance.randbytes(chance.randrange(1, 200)) for _ in range(10_000)]
    cases += [row.decode('latin-1') for row in rows]
    differ = sum(tokenizer.encode(case) != peer.encode_ordinary(case) for case in cases)
    for row in rows:
        ids = list(tokenizer.encode_chunk(row.decode('utf-8', 'surrogateescape')))
        differ += ids != peer._encode_single_piece(row)
    print(f'{differ} of {len(cases) + len(rows):,} texts and byte strings have other ids')


def textbook_large():
    """The same with 1 MB and 1,024 merges: minutes."""
    textbook(1_000_000, 1024)


BENCHES = [training, validation, sampling, reading, rendering, choosing, textbook, rust, tiktoken,
           textbook_large]


def main():
    by_name = {bench.__name__: bench for bench in BENCHES}
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.error = lambda message: sys.exit(f'bench.py: {message}')     # one line, no usage
    parser.add_argument('names', nargs='*', metavar='NAME',
                        help=f'any of: {", ".join(by_name)}; if none is given, all but the two '
                             'that take long, choosing and textbook_large')
    names = parser.parse_args().names
    for name in names:
        if name not in by_name:
            parser.error(f'{name}: there is {", ".join(by_name)}')
    quick = [name for name in by_name if name not in ('choosing', 'textbook_large')]
    for name in names or quick:
        print(f'--- {name}: {by_name[name].__doc__}', flush=True)
        by_name[name]()


if __name__ == '__main__':
    main()
