"""Train the transformer on any prepared corpus: python train.py config/goldberg.py

It knows ids only: what they mean stands in the corpus's meta.json, which goes into the checkpoint.
On N GPUs, torchrun --nproc_per_node=N train.py config/bach_gpu.py: every process trains on rows of
its own, and the result is that of one process whose batch is N times as large.
"""

import csv
import json
import math
import os
import signal
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

from config import run
from model import FORMAT, ModelConfig, Transformer, load, save

DATA = Path(__file__).parent / 'data'
FAR = 20_000             # ids from the beginning or to the end of a piece that are looked at


@dataclass
class Config:
    # data
    dataset: str = 'goldberg'       # folder under data/, or several: goldberg,wtc
    extra: str = ''                 # corpora to learn from at first, less and less, to none
    fading: float = 2.0             # the power by which they fade: 1 a straight line, 2 sooner
    augment: bool = True            # transpose every row of a batch at random (music)
    # model
    n_layer: int = 4                # blocks
    n_head: int = 4                 # attention heads
    n_embd: int = 128               # channels
    context: int = 256              # ids that the model looks back over
    dropout: float = 0.1            # share of each block's output dropped in training
    # optimization
    max_steps: int = 600            # optimizer steps; the learning rate decays over them to 0
    batch_size: int = 16            # rows of `context` ids a step, in each process
    muon_lr: float = 0.02           # learning rate of the matrices inside the blocks
    adam_lr: float = 0.003          # learning rate of the embedding and the head
    weight_decay: float = 0.0       # of all weights, a share of the learning rate
    warmup_steps: int = 20          # steps over which the learning rate rises
    # run
    out_dir: str = 'out'            # where ckpt.pt (best), last.pt and log.csv go
    init_from: str = ''             # folder of a trained model to start from
    resume: bool = False            # go on from out_dir/last.pt, exactly
    overwrite: bool = False         # start anew in a folder that holds a trained model
    eval_every: int = 50            # steps between validations
    log_every: int = 10             # steps between log lines
    patience: int = 6               # validations without improvement after which to stop
    seed: int = 1                   # of weights, batches and dropout
    device: str = 'auto'            # cuda, mps, cpu or auto
    dtype: str = 'auto'             # float32, bfloat16 or auto: what is faster here
    compile: str = 'auto'           # torch.compile: true, false or auto, which is on CUDA only


def load_corpus(name: str) -> dict:
    """meta.json of data/<name>, with `train` and `val` as memory-mapped ids, and `ends`: where the
    pieces of `train` end."""
    try:
        meta = json.loads((DATA / name / 'meta.json').read_text(encoding='utf-8'))
        ids = {split: np.memmap(DATA / name / f'{split}.bin', meta['dtype'], 'r')
               for split in ('train', 'val')}
    except (OSError, KeyError, ValueError):
        raise ValueError(f'data/{name}: first python prepare.py {name} (or a path)') from None
    if meta.get('format') != 3:
        raise ValueError(f'data/{name} was prepared by another version: run prepare.py again')
    ends = np.flatnonzero(ids['train'] == meta['end'])
    return {**meta, **ids, 'ends': ends, 'clock': np.array(meta['clock']), 'name': name}


def load_corpora(names: str) -> list[dict]:
    """The corpora of 'goldberg,wtc'."""
    return [load_corpus(name) for name in names.replace(' ', '').split(',') if name]


def piece_before(ids, ends, start: int) -> np.ndarray:
    """What comes before ids[start] in its piece, and the end of the piece before that: all that the
    state at `start` depends on, since a piece leaves no key down. The last FAR ids at most."""
    number = np.searchsorted(ends, start)                    # of the piece
    begin = ends[number - 1] if number else 0
    return ids[max(begin, start - FAR):start]


def pad_left(rows: list, filler: int) -> torch.Tensor:
    """Rows of different lengths -> (B, longest), at least (B, 1), `filler` before the shorter."""
    longest = max(1, *map(len, rows))
    padded = np.full((len(rows), longest), filler, np.int64)
    for to, row in zip(padded, rows):
        to[longest - len(row):] = row
    return torch.from_numpy(padded)


def time_to_end(corpus: dict, start: int) -> int:
    """How far the clock moves from an id of `train` to the end of its piece; for one that is more
    than FAR ids away, how far it moves over those."""
    end = corpus['ends'][np.searchsorted(corpus['ends'], start)]
    return corpus['clock'][corpus['train'][start:min(end, start + FAR)]].sum()


def get_batch(corpora: list[dict], shares: list[float], rows: int, context: int, table,
              generator: torch.Generator, rank: int = 0, world: int = 1):
    """Random crops of the training parts, each transposed as one row of `table` (R, V) says. A
    corpus is drawn as often as its size times its share says. Of `world` processes with generators
    alike, each gets its part of one large batch.

    Returns the ids (B, T), the next ids (B, T), what comes before them in their piece (B, L), and
    how far by the clock the piece still goes (B,), told in half of the rows, else inf: so that
    the model can be asked for a length, and need not be.
    """
    mine = slice(rank * rows, (rank + 1) * rows)
    starts = torch.tensor([len(corpus['train']) - context for corpus in corpora])
    numbers = torch.multinomial(starts * torch.tensor(shares), world * rows, replacement=True,
                                generator=generator)                     # which corpus
    places = torch.rand(world * rows, dtype=torch.double, generator=generator)
    firsts = (places * starts[numbers]).long()                           # where in it
    crops, befores, lengths = [], [], []
    for number, start in zip(numbers[mine].tolist(), firsts[mine].tolist()):
        corpus = corpora[number]
        crops.append(corpus['train'][start:start + context + 1].astype(np.int64))
        befores.append(piece_before(corpus['train'], corpus['ends'], start))
        lengths.append(time_to_end(corpus, start))
    shift = torch.randint(len(table), (world * rows, 1), generator=generator)[mine]
    ids = table[shift, torch.from_numpy(np.stack(crops))]                # (B, T + 1)
    before = table[shift, pad_left(befores, corpora[0]['end'])]
    told = torch.rand(world * rows, generator=generator)[mine] < 0.5
    lengths = torch.where(told, torch.tensor(lengths, dtype=torch.float), torch.inf)
    return ids[:, :-1], ids[:, 1:], before, lengths


@torch.no_grad()
def validation_losses(model, corpus: dict, context: int, rank: int = 0, world: int = 1):
    """Yield (targets, losses in nats), each (N), until every id of the held-out part but the first
    has been scored once, with half a context or all that there is before it. Of `world` processes,
    each yields its share."""
    model.eval()
    device = next(model.parameters()).device
    ids, last = corpus['val'], len(corpus['val']) - 1
    ends = np.flatnonzero(ids == corpus['end'])
    scored, windows = 0, []
    while scored < last:
        end = min(last, scored + (context // 2 if scored else context))
        windows.append((end - context, scored - (end - context)))        # (start, first new id)
        scored = end
    windows = windows[rank::world]
    for i in range(0, len(windows), 32):
        starts = [start for start, _ in windows[i:i + 32]]
        crops = np.stack([ids[start:start + context + 1] for start in starts])
        rows = torch.from_numpy(crops.astype(np.int64)).to(device)       # (B, T + 1)
        before = pad_left([piece_before(ids, ends, start) for start in starts], corpus['end'])
        state = model.state_after(before.to(device))
        logits = model(rows[:, :-1], state=state).float()                # (B, T, V)
        losses = F.cross_entropy(logits.transpose(1, 2), rows[:, 1:], reduction='none')
        for row, targets, (_, new) in zip(losses, rows[:, 1:], windows[i:i + 32]):
            yield targets[new:], row[new:]
    model.train()


def validate(model, corpus: dict, context: int, rank: int = 0, world: int = 1) -> float:
    """Mean loss in nats of the held-out part, the same in every process."""
    total = torch.zeros(())
    for _, losses in validation_losses(model, corpus, context, rank, world):
        total += losses.sum().item()
    return sum_over(world, total).item() / (len(corpus['val']) - 1)


# ---- several processes: torchrun starts them and tells each who it is

def join_processes() -> tuple[int, int]:
    """Which of the processes that torchrun started this is, and how many there are; 0 and 1 without
    torchrun. On CUDA, each takes the GPU of its number on this machine."""
    if 'RANK' not in os.environ:
        return 0, 1
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
    dist.init_process_group()
    return dist.get_rank(), dist.get_world_size()


def sum_over(world: int, tensor: torch.Tensor) -> torch.Tensor:
    """The sum of the tensors that all processes give."""
    if world > 1:
        dist.all_reduce(tensor)
    return tensor


def as_first(world: int, value):
    """What the first process has for `value`: so that all decide alike."""
    values = [value]
    if world > 1:
        dist.broadcast_object_list(values)
    return values[0]


# ---- the optimizers


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal (Jordan et al. 2024), for the matrices that stand
    between activations. All directions of a matrix then learn at one speed, where a plain gradient
    serves the few that are loudest.

    Matrices (rows, columns) of one shape are stacked to (N, rows, columns) and done at once.
    `dtype` is the precision of the Newton-Schulz steps, which stand bfloat16.
    """

    def __init__(self, matrices, weight_decay: float = 0.0, dtype=torch.float32):
        by_shape = defaultdict(list)
        for matrix in matrices:
            by_shape[matrix.shape].append(matrix)
        groups = [{'params': same} for same in by_shape.values()]
        super().__init__(groups, {'lr': 0.02, 'momentum': 0.95, 'weight_decay': weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            matrices, lr = group['params'], group['lr']
            gradient = torch.stack([matrix.grad for matrix in matrices])
            state = self.state[matrices[0]]                  # one tensor for the whole stack
            if not state:
                state['momentum'] = torch.zeros_like(gradient)
            momentum = state['momentum'].lerp_(gradient, 1 - group['momentum'])
            ahead = gradient.lerp(momentum, group['momentum'])           # Nesterov's look ahead
            update = orthogonalize(ahead.to(self.dtype)).to(gradient.dtype)
            rows, columns = gradient.shape[1:]
            step_size = lr * max(1, rows / columns) ** 0.5   # a tall matrix takes larger steps
            for matrix, direction in zip(matrices, update):
                matrix.mul_(1 - lr * group['weight_decay'])
                matrix.add_(direction, alpha=-step_size)


def orthogonalize(g: torch.Tensor) -> torch.Tensor:
    """(N, rows, columns) -> as many matrices with the same singular vectors and all singular values
    near 1, by five Newton-Schulz steps: a polynomial in g that pulls them there from (0, 1]."""
    a, b, c = 3.4445, -4.7750, 2.0315                        # Jordan et al. 2024: steep at 0
    tall = g.size(1) > g.size(2)
    x = g.mT if tall else g
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT                                    # (N, rows, rows), the smaller side
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x


def make_optimizers(model, weight_decay: float, dtype) -> list:
    """Muon for the matrices inside the blocks, AdamW for every other parameter there is."""
    matrices = [p for p in model.blocks.parameters() if p.dim() == 2]
    taken = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in taken]
    return [Muon(matrices, weight_decay, dtype),
            torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=weight_decay, fused=True)]


def schedule(step: int, config: Config) -> float:
    """Learning rate as a share of its peak: a linear rise, then a linear decay to 0."""
    rise = (step + 1) / max(1, config.warmup_steps)
    return min(1.0, rise, 1 - step / config.max_steps)


def pick_device(device: str, dtype: str, width: int) -> tuple[str, str]:
    """Replace `auto` by the best device there is and the faster precision, which is measured there
    on a product like those of training."""
    best = getattr(torch.accelerator.current_accelerator(True), 'type', 'cpu')
    device = best if device == 'auto' else device
    if device not in ('cpu', best) or dtype not in ('auto', 'float32', 'bfloat16'):
        raise ValueError(f'{device}, {dtype}: here it is {best} or cpu; float32, bfloat16 or auto')
    if dtype == 'auto':
        times = {}
        for kind in ('float32', 'bfloat16') * 3:                         # the last round counts
            a = torch.ones(4096, width, dtype=getattr(torch, kind), device=device)
            began = time.perf_counter()
            sum(a @ a.T for _ in range(4))[0, 0].item()
            times[kind] = time.perf_counter() - began
        dtype = min(times, key=times.get)
    return device, dtype


def differ(one: dict, other: dict) -> str:
    """Why a model can't read with both of two tokenizers, and what helps."""
    if 'velocity' in one and {**one, 'velocity': other.get('velocity')} == other:
        return 'only one has velocities; prepare both with the same --velocity=true or false'
    return 'their tokenizers differ'


def check(corpora: list[dict], context: int):
    """Raise ValueError for corpora that don't go together or are too small for the context."""
    held_out = {piece['fingerprint'] for corpus in corpora for piece in corpus['pieces']['val']}
    for corpus in corpora:
        if corpus['tokenizer'] != corpora[0]['tokenizer']:
            raise ValueError(f'data/{corpus["name"]} and data/{corpora[0]["name"]} do not go '
                             f'together: {differ(corpus["tokenizer"], corpora[0]["tokenizer"])}')
        for split in ('train', 'val'):
            if len(corpus[split]) <= context:
                raise ValueError(f'data/{corpus["name"]}: {len(corpus[split])} ids in {split}, too '
                                 f'few for context = {context}: lower --context or add pieces')
        for piece in corpus['pieces']['train']:
            if piece['fingerprint'] in held_out:
                raise ValueError(f'data/{corpus["name"]} trains on {piece["name"]}, which is held '
                                 'out in another corpus: take it out and prepare again')


def start(config: Config, meta: dict, device: str) -> tuple[Transformer, dict]:
    """The model to train, and the checkpoint to go on from, exactly ({} in a new run)."""
    shape = {name: getattr(config, name) for name in ('n_layer', 'n_head', 'n_embd', 'context')}
    if not config.resume and not config.init_from:
        shape |= {'vocab_size': meta['vocab_size'], 'dropout': config.dropout,
                  'n_keys': len(meta['keys'][0]), 'beat': meta['beat']}
        return Transformer(ModelConfig(**shape), meta).to(device), {}
    path = f'{config.out_dir}/last.pt' if config.resume else f'{config.init_from}/ckpt.pt'
    model, checkpoint = load(path, device, config.dropout)
    if checkpoint['tokenizer'] != meta['tokenizer']:
        why = differ(checkpoint['tokenizer'], meta['tokenizer'])
        raise ValueError(f'{path} cannot go on with data/{meta["name"]}: {why}')
    had, wanted = asdict(Config()) | checkpoint['train_config'], shape
    if config.resume:                            # all must be as it was, but for what is harmless
        free = ('resume overwrite max_steps eval_every log_every patience out_dir device '
                'compile').split()
        wanted = {name: value for name, value in asdict(config).items() if name not in free}
    for name in (name for name in wanted if had[name] != wanted[name]):
        raise ValueError(f'{path} has {name} = {had[name]}: cannot go on with {wanted[name]}')
    return model, checkpoint if config.resume else {}


def step_seed(config: Config, step: int) -> int:
    """Of all that is random in a step: a resumed run draws the same."""
    return 1_000_003 * config.seed + step


def compiled(model, config: Config, device: str):
    """The model as the loop calls it. On a CPU torch.compile gains nothing that a minute of
    compiling would not cost; what it can't compile on CUDA, runs as it is."""
    if config.compile not in ('auto', 'true', 'false'):
        raise ValueError(f'compile = {config.compile}: must be auto, true or false')
    if config.compile == 'false' or (config.compile == 'auto' and device != 'cuda'):
        return model
    if config.compile == 'auto':
        torch._dynamo.config.suppress_errors = True
    return torch.compile(model)


def how_long(config: Config, steps: int, a_step: float, a_validation: float) -> str:
    """What a run takes in which `steps` steps are still to come, in words; both times in seconds.
    If that is over ten minutes, what would fit."""
    a_step += a_validation / max(1, config.eval_every)
    minutes = math.ceil(steps * a_step / 60)
    words = f'about {minutes} minutes from here on this machine' if minutes > 1 else \
        'about a minute from here on this machine'
    if minutes <= 10:
        return words
    fit = round(600 / a_step, -2) or round(600 / a_step)             # no figure is that exact
    return f'{words}; with --max_steps={fit:.0f}, ten, and a somewhat weaker model'


class Log:
    """out_dir/log.csv and the terminal, of the first process; the others keep silent. A run that
    goes on from `step` leaves out what a killed one wrote of later steps: they come again."""

    def __init__(self, config: Config, corpora: list[dict], rank: int, step: int):
        self.silent = rank > 0
        if self.silent:
            return
        path = Path(config.out_dir) / 'log.csv'
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = ['step', 'loss', 'lr', 'tokens_per_second', 'seconds']
        for corpus in corpora:
            columns += [f'nats_{corpus["name"]}', f'bits_{corpus["name"]}']
        kept = [','.join(columns)]
        if config.resume and path.exists():
            *whole_lines, _ = path.read_text('utf-8').split('\n')        # the last may be cut
            for line in whole_lines[1:]:
                if int(line.split(',')[0]) <= step:
                    kept.append(line)
        Path(f'{path}.part').write_text('\n'.join(kept) + '\n', 'utf-8')
        os.replace(f'{path}.part', path)
        self.file = open(path, 'a', newline='', buffering=1, encoding='utf-8')
        self.table = csv.DictWriter(self.file, columns, lineterminator='\n')

    def say(self, line: str):
        if not self.silent:
            print(line, flush=True)

    def write(self, row: dict):
        if not self.silent:
            self.table.writerow(row)


class Interrupt:
    """Ctrl-C asks the loop to save and end; another one, a second or more later, ends at once. (Two
    in one second are one: torchrun passes on what the terminal has sent to each process already.)
    """

    def __enter__(self):
        self.pressed = 0.0                                   # when; not yet: 0
        self.previous = signal.signal(signal.SIGINT, self.press)
        return self

    def press(self, number, frame):
        now = time.monotonic()
        if self.pressed and now > self.pressed + 1:
            raise KeyboardInterrupt
        self.pressed = self.pressed or now

    def __exit__(self, *error):
        signal.signal(signal.SIGINT, self.previous)


def train(config: Config) -> Transformer:
    """Train until max_steps, patience or Ctrl-C ends it; returns the model as it is then."""
    # ---- the processes, the corpora, the device
    rank, world = join_processes()
    corpora = load_corpora(config.dataset)
    extra = load_corpora(config.extra)                   # trained on, not validated on
    check(corpora + extra, config.context)
    meta, unit = corpora[0], corpora[0]['unit']
    table = torch.tensor(meta['augment'] if config.augment else [list(range(meta['vocab_size']))])
    device, dtype = as_first(world, pick_device(config.device, config.dtype, config.n_embd))
    if device == 'cuda':
        torch.set_float32_matmul_precision('high')       # TF32 for what stays in float32

    if (Path(config.out_dir) / 'last.pt').exists() and not config.resume and not config.overwrite:
        raise ValueError(f'{config.out_dir} holds a trained model: --resume goes on with it, '
                         '--overwrite starts anew, another --out_dir keeps it')

    # ---- the model and its optimizers, new or those of a run that goes on
    torch.manual_seed(config.seed)
    model, last = start(config, meta, device)
    dtype = last.get('dtype', dtype)
    model.dtype = getattr(torch, dtype)
    optimizers = make_optimizers(model, config.weight_decay, model.dtype)
    step, evaluated, best, best_step, seconds = 0, -1, math.inf, 0, 0.0
    if last:
        step, evaluated, best, best_step, seconds = last['progress']
        for optimizer, state in zip(optimizers, last['optimizers']):
            optimizer.load_state_dict(state)
    forward = model
    if world > 1:                                        # it averages the gradients
        forward = DistributedDataParallel(model)
    forward = compiled(forward, config, device)
    generator = torch.Generator()                        # draws the batches

    out = Path(config.out_dir)
    log = Log(config, corpora, rank, step)
    log.say(f'{sum(p.numel() for p in model.parameters()):,} parameters on {device} in {dtype}')

    def save_as(name: str):
        if rank == 0:
            save(out / name, {
                'format': FORMAT, 'model': model.state_dict(), 'model_config': asdict(model.config),
                'train_config': asdict(config), 'tokenizer': meta['tokenizer'], 'dtype': dtype,
                'optimizers': [optimizer.state_dict() for optimizer in optimizers],
                'progress': [step, evaluated, best, best_step, seconds]})

    def to_device(tensor: torch.Tensor) -> torch.Tensor:
        if device == 'cuda':                             # pinned, the copy need not be waited for
            return tensor.pin_memory().to(device, non_blocking=True)
        return tensor.to(device)

    # ---- the loop
    first, promised, validating = step, False, 0.0
    clock, losses = time.perf_counter(), []              # since the last log line
    with Interrupt() as interrupt:
        while True:
            # validate
            due = step % max(1, config.eval_every) == 0 or step == config.max_steps
            if due and step > evaluated:
                began, evaluated, row = time.perf_counter(), step, {'step': step}
                for corpus in corpora:
                    name, count = corpus['name'], len(corpus['val']) - 1
                    nats = validate(model, corpus, config.context, rank, world)
                    bits = nats * count / math.log(2) / corpus['units']['val']
                    row |= {f'nats_{name}': nats, f'bits_{name}': bits}
                    log.say(f'step {step:5} | val {name}: {nats:.3f} nats/token, '
                            f'{bits:.3f} bits/{unit}')
                mean = sum(row[f'bits_{corpus["name"]}'] for corpus in corpora) / len(corpora)
                if not math.isfinite(mean):
                    raise ValueError(f'the loss is {mean} at step {step}: lower the learning rates')
                log.write(row | {'seconds': round(seconds + began - clock, 1)})
                if mean < best:
                    best, best_step = mean, step
                    save_as('ckpt.pt')
                save_as('last.pt')
                validating = time.perf_counter() - began
                clock += validating                      # validation is not counted

            # end
            stale = step - best_step >= config.patience * config.eval_every
            interrupted = sum_over(world, torch.tensor(interrupt.pressed)).item() > 0
            if step >= config.max_steps or stale or interrupted:
                break

            # a batch and its loss
            generator.manual_seed(step_seed(config, step))
            torch.manual_seed(step_seed(config, step) + 10 ** 9 * rank)            # dropout
            faded = (1 - step / config.max_steps) ** config.fading
            shares = [1.0] * len(corpora) + [faded] * len(extra)
            x, y, before, lengths = map(to_device, get_batch(
                corpora + extra, shares, config.batch_size, config.context, table, generator, rank,
                world))
            state = model.state_after(before)
            state = state._replace(end=state.clock + lengths)
            logits = forward(x, state=state)                                       # (B, T, V)
            loss = F.cross_entropy(logits.float().flatten(0, 1), y.flatten())

            # a step
            loss.backward()
            rate = schedule(step, config)
            for optimizer, peak in zip(optimizers, (config.muon_lr, config.adam_lr)):
                for group in optimizer.param_groups:
                    group['lr'] = peak * rate
                optimizer.step()
                optimizer.zero_grad()
            losses.append(loss.detach())                 # read at log lines only: a GPU runs ahead
            step += 1

            # a line in the log
            if step % max(1, config.log_every) == 0:
                mean = sum_over(world, torch.stack(losses).mean()).item() / world
                now = time.perf_counter()
                seconds, spent, clock = seconds + now - clock, (now - clock) / len(losses), now
                speed = round(config.batch_size * config.context * world / spent)
                log.say(f'step {step:5} | loss {mean:.3f} | lr {config.muon_lr * rate:.4f} | '
                        f'{speed:7,} tokens/s | {(config.max_steps - step) * spent:.0f} s left')
                if not promised and step >= first + 10:
                    log.say(how_long(config, config.max_steps - step, spent, validating))
                    promised = True
                log.write({'step': step, 'loss': mean, 'seconds': round(seconds, 1),
                           'lr': config.muon_lr * rate, 'tokens_per_second': speed})
                losses = []

    save_as('last.pt')
    why = 'stopped, go on with --resume' if interrupted else 'no longer better' if stale else 'done'
    log.say(f'{why}; best: {best:.3f} bits/{unit} at step {best_step}, in {out / "ckpt.pt"}')
    if world > 1:
        dist.barrier()                                   # nobody leaves while others still talk
        dist.destroy_process_group()
    return model


def main(config: Config):
    try:
        train(config)
    except RuntimeError as error:
        if 'RANK' not in os.environ:
            raise
        why = str(error).splitlines()[0]
        raise ValueError('a process of this run has failed, so all end; last.pt is whole, --resume '
                         f'goes on from there ({why:.200})') from None


if __name__ == '__main__':
    run(main, Config)
