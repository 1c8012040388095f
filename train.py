"""Train the transformer on any prepared corpus: python train.py config/goldberg.py

It knows ids only: what they mean stands in the corpus's meta.json, which goes into the checkpoint.
"""

import csv
import json
import math
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from config import run
from model import ModelConfig, Transformer, load, save

DATA = Path(__file__).parent / 'data'


@dataclass
class Config:
    # data
    dataset: str = 'goldberg'       # folder under data/, or several: goldberg,wtc
    augment: bool = True            # transpose every row of a batch at random (music)
    # model
    n_layer: int = 4                # blocks
    n_head: int = 4                 # attention heads
    n_embd: int = 128               # channels
    context: int = 256              # ids that the model looks back over
    dropout: float = 0.1            # share of each block's output dropped in training
    # optimization
    max_steps: int = 600            # optimizer steps; the learning rate decays over them to 0
    batch_size: int = 16            # rows of `context` ids a step
    muon_lr: float = 0.02           # learning rate of the matrices inside the blocks
    adam_lr: float = 0.003          # learning rate of the embedding and the head
    weight_decay: float = 0.0       # of all weights, a share of the learning rate
    warmup_steps: int = 20          # steps over which the learning rate rises
    # run
    out_dir: str = 'out'            # where ckpt.pt (best), last.pt and log.csv go
    init_from: str = ''             # folder of a trained model to start from
    resume: bool = False            # go on from out_dir/last.pt, exactly
    eval_every: int = 50            # steps between validations
    log_every: int = 10             # steps between log lines
    patience: int = 6               # validations without improvement after which to stop
    seed: int = 1                   # of weights, batches and dropout
    device: str = 'auto'            # cuda, mps, cpu or auto
    dtype: str = 'auto'             # float32, bfloat16 or auto: what is faster here
    compile: bool = False           # torch.compile (needs a C++ compiler)


def load_corpus(name: str) -> dict:
    """meta.json of data/<name>, with `train` and `val` as memory-mapped ids."""
    try:
        meta = json.loads((DATA / name / 'meta.json').read_text(encoding='utf-8'))
        ids = {split: np.memmap(DATA / name / f'{split}.bin', meta['dtype'], 'r')
               for split in ('train', 'val')}
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f'data/{name}: no prepared corpus ({type(error).__name__}): run '
                         f'python prepare.py {name}') from None
    return {**meta, **ids, 'name': name}


def get_batch(ids: list, rows: int, context: int, table, generator: torch.Generator):
    """Random crops (B, T) and their next ids (B, T), each row in a key drawn from `table`."""
    sizes = torch.tensor([float(len(part) - context) for part in ids])   # all ids equally likely
    crops = []
    for part in torch.multinomial(sizes, rows, replacement=True, generator=generator).tolist():
        start = int(torch.randint(len(ids[part]) - context, (1,), generator=generator))
        crops.append(torch.from_numpy(ids[part][start:start + context + 1].astype(np.int64)))
    crops = torch.stack(crops)                                           # (B, T + 1)
    key = torch.randint(len(table), (rows, 1), generator=generator)
    crops = table[key, crops]
    return crops[:, :-1], crops[:, 1:]


@torch.no_grad()
def validate(model, ids, context: int, batch: int = 32) -> float:
    """Mean loss in nats over the whole split: every id but the first is scored once, with at least
    half a context before it (those of the first context have all there is)."""
    model.eval()
    windows, scored, last = [], 0, len(ids) - 1
    while scored < last:
        end = min(last, scored + (context // 2 if scored else context))
        windows.append((max(0, end - context), scored))                  # (start, first new id)
        scored = end
    total, device = 0.0, next(model.parameters()).device
    for i in range(0, len(windows), batch):
        rows = [ids[start:start + context + 1].astype(np.int64) for start, _ in windows[i:i + batch]]
        rows = torch.from_numpy(np.stack(rows)).to(device)               # (B, T + 1)
        loss = F.cross_entropy(model(rows[:, :-1]).float().flatten(0, 1), rows[:, 1:].flatten(),
                               reduction='none').view(len(rows), -1)     # (B, T)
        total += sum(row[scored - start:].sum().item()
                     for row, (start, scored) in zip(loss, windows[i:i + batch]))
    model.train()
    return total / last


def schedule(step: int, config: Config) -> float:
    """Learning rate as a share of its peak: a linear rise, then a linear decay to 0."""
    rise = (step + 1) / max(1, config.warmup_steps)
    return min(1.0, rise, 1 - step / config.max_steps)


def pick_device(device: str, dtype: str, width: int) -> tuple[str, str]:
    """Replace `auto`: the best device there is, and bfloat16 where it is faster. On a CPU that is
    measured, on a product of the size that training is made of."""
    if device == 'auto':
        device = 'cuda' if torch.cuda.is_available() else \
                 'mps' if torch.backends.mps.is_available() else 'cpu'
    if dtype == 'auto' and device == 'cpu':
        times = {}
        for kind in ('float32', 'bfloat16') * 3:                         # the last round counts
            a = torch.ones(4096, width, dtype=getattr(torch, kind))
            began = time.perf_counter()
            for _ in range(4):
                a @ a.T
            times[kind] = time.perf_counter() - began
        dtype = min(times, key=times.get)
    elif dtype == 'auto':
        dtype = 'bfloat16' if device == 'mps' or torch.cuda.is_bf16_supported() else 'float32'
    if dtype not in ('float32', 'bfloat16'):
        raise ValueError(f'dtype = {dtype}: must be float32, bfloat16 or auto')
    return device, dtype


def make_optimizers(model: Transformer, config: Config) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the matrices between activations, AdamW for the rest."""
    ends = [model.embedding.weight, model.head.weight]
    return [torch.optim.Muon(model.blocks.parameters(), lr=config.muon_lr,
                             weight_decay=config.weight_decay),
            torch.optim.AdamW(ends, lr=config.adam_lr, betas=(0.9, 0.95),
                              weight_decay=config.weight_decay)]


def check(corpora: list[dict], context: int):
    """Raise ValueError for corpora that don't go together or are too small for the context."""
    held_out = {piece['fingerprint'] for corpus in corpora for piece in corpus['pieces']['val']}
    for corpus in corpora:
        if corpus['tokenizer'] != corpora[0]['tokenizer']:
            raise ValueError(f'data/{corpus["name"]} and data/{corpora[0]["name"]} have different '
                             'tokenizers: train on one of them')
        for split in ('train', 'val'):
            if len(corpus[split]) <= context:
                raise ValueError(f'data/{corpus["name"]}: {len(corpus[split])} ids in {split}, too '
                                 f'few for context = {context}: lower --context or add pieces')
        for piece in corpus['pieces']['train']:
            if piece['fingerprint'] in held_out:
                raise ValueError(f'data/{corpus["name"]} trains on {piece["name"]}, which is held '
                                 'out in another corpus: take it out and prepare again')


def start(config: Config, meta: dict, device: str) -> tuple[Transformer, dict]:
    """The model to train, and the checkpoint to go on from ({} in a new run)."""
    shape = {'vocab_size': meta['vocab_size'], 'dropout': config.dropout}
    shape |= {name: getattr(config, name) for name in ('context', 'n_layer', 'n_head', 'n_embd')}
    if not config.resume and not config.init_from:
        return Transformer(ModelConfig(**shape)).to(device), {}
    path = f'{config.out_dir}/last.pt' if config.resume else f'{config.init_from}/ckpt.pt'
    model, checkpoint = load(path, device, config.dropout)
    if checkpoint['tokenizer'] != meta['tokenizer']:
        raise ValueError(f'{path} has another tokenizer than data/{meta["name"]}: start anew')
    had, has = checkpoint['model_config'], {**shape, 'dropout': checkpoint['model_config']['dropout']}
    if config.resume:                              # what may differ without making it another run
        free = ('resume', 'max_steps', 'eval_every', 'patience', 'out_dir', 'device', 'compile')
        had = checkpoint['train_config']
        has = {name: value for name, value in asdict(config).items() if name not in free}
    for name in has:
        if had[name] != has[name]:
            raise ValueError(f'{path} has {name} = {had[name]}: cannot go on with {has[name]}')
    return model, checkpoint if config.resume else {}


def open_log(path: Path, columns: list[str], step: int):
    """A csv.DictWriter on `path`, after the rows up to `step` that are there already."""
    rows = []
    if step and path.exists():
        with open(path, newline='') as file:
            rows = [row for row in csv.DictReader(file) if int(row['step']) <= step]
    writer = csv.DictWriter(open(path, 'w', newline='', buffering=1), columns, extrasaction='ignore')
    writer.writeheader()
    writer.writerows(rows)
    return writer


def train(config: Config):
    # ---- the corpora, the model, the optimizers
    corpora = [load_corpus(name) for name in config.dataset.split(',')]
    check(corpora, config.context)
    meta, unit = corpora[0], corpora[0]['unit']
    table = torch.tensor(meta['augment'] if config.augment else [list(range(meta['vocab_size']))])
    device, dtype = pick_device(config.device, config.dtype, config.n_embd)
    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)               # draws the batches
    model, last = start(config, meta, device)
    model.dtype = getattr(torch, last.get('dtype', dtype))
    forward = torch.compile(model) if config.compile else model
    optimizers = make_optimizers(model, config)
    step, evaluated, best, best_step, seconds = 0, -1, math.inf, 0, 0.0
    if last:                                                             # go on, exactly
        step, evaluated, best, best_step, seconds = last['progress']
        for optimizer, state in zip(optimizers, last['optimizers']):
            optimizer.load_state_dict(state)
        torch.set_rng_state(last['rng'][0].cpu())
        generator.set_state(last['rng'][1].cpu())
        if device == 'cuda':
            torch.cuda.set_rng_state(last['rng'][2].cpu())
    out = Path(config.out_dir)
    out.mkdir(parents=True, exist_ok=True)
    scores = [f'{what}_{corpus["name"]}' for corpus in corpora for what in ('nats', 'bits')]
    log = open_log(out / 'log.csv',
                   ['step', 'loss', 'lr', 'tokens_per_second', 'seconds'] + scores, step)
    print(f'{sum(p.numel() for p in model.parameters()):,} parameters on {device} in {model.dtype}, '
          f'{sum(len(c["train"]) for c in corpora):,} ids, {config.batch_size * config.context:,} a '
          'step'.replace('torch.', ''))

    def snapshot() -> dict:
        rng = [torch.get_rng_state(), generator.get_state()]
        rng += [torch.cuda.get_rng_state()] if device == 'cuda' else []
        return {'format': 1, 'model': model.state_dict(), 'model_config': asdict(model.config),
                'train_config': asdict(config), 'tokenizer': meta['tokenizer'], 'rng': rng,
                'optimizers': [optimizer.state_dict() for optimizer in optimizers],
                'dtype': str(model.dtype).removeprefix('torch.'),
                'progress': [step, evaluated, best, best_step, seconds]}

    # ---- Ctrl-C asks the loop to save and end; a second one ends it at once
    interrupted = []

    def interrupt(number, frame):
        interrupted.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
    previous = signal.signal(signal.SIGINT, interrupt)

    # ---- the loop
    losses, clock, logged = [], time.perf_counter(), step
    while True:
        if step > evaluated and (step % config.eval_every == 0 or step == config.max_steps):
            evaluated, row = step, {'step': step, 'seconds': round(seconds, 1)}
            for corpus in corpora:
                nats = validate(forward, corpus['val'], config.context)
                bits = nats * (len(corpus['val']) - 1) / math.log(2) / corpus['units']['val']
                row |= {f'nats_{corpus["name"]}': nats, f'bits_{corpus["name"]}': bits}
                print(f'step {step:5} | val {corpus["name"]}: {nats:.3f} nats/token, '
                      f'{bits:.3f} bits/{unit}')
            log.writerow(row)
            mean = sum(row[f'bits_{corpus["name"]}'] for corpus in corpora) / len(corpora)
            if mean < best:
                best, best_step = mean, step
                save(out / 'ckpt.pt', snapshot())
            save(out / 'last.pt', snapshot())
            clock = time.perf_counter()
        stale = step - best_step >= config.patience * config.eval_every
        if step >= config.max_steps or stale or interrupted:
            break

        x, y = get_batch([corpus['train'] for corpus in corpora], config.batch_size, config.context,
                         table, generator)
        logits = forward(x.to(device))                                   # (B, T, V)
        loss = F.cross_entropy(logits.float().flatten(0, 1), y.to(device).flatten())
        loss.backward()
        for optimizer, peak in zip(optimizers, (config.muon_lr, config.adam_lr)):
            optimizer.param_groups[0]['lr'] = peak * schedule(step, config)
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.item())
        step += 1

        if step % config.log_every == 0:
            now = time.perf_counter()
            seconds, spent, clock = seconds + now - clock, (now - clock) / len(losses), now
            speed = config.batch_size * config.context / spent
            left = divmod(int((config.max_steps - step) * spent), 60)
            row = {'step': step, 'loss': sum(losses) / len(losses), 'tokens_per_second': speed,
                   'lr': optimizers[0].param_groups[0]['lr'], 'seconds': seconds}
            print(f'step {step:5} | loss {row["loss"]:.3f} | lr {row["lr"]:.4f} | '
                  f'{speed:7,.0f} tokens/s | {left[0]}:{left[1]:02} left')
            log.writerow(row)
            losses = []
    signal.signal(signal.SIGINT, previous)
    save(out / 'last.pt', snapshot())
    print(f'{"interrupted" if interrupted else "stopped early, no better since" if stale else "done"}'
          f'{"" if interrupted or not stale else f" step {best_step}"}: best {best:.3f} bits/{unit} at step {best_step}')
    print(f'next: python sample.py --out_dir {config.out_dir}')


if __name__ == '__main__':
    run(train, Config)
