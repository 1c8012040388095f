"""Train the transformer on any prepared corpus: python train.py config/goldberg.py

This file knows ids, not words. What they mean, the tokenizer knows, and that is copied from the
corpus's meta.json into the checkpoint. On N GPUs, run it with torchrun:

    torchrun --nproc_per_node=N train.py config/bach_gpu.py

Every process trains on rows of its own, and the result is, but for dropout and rounding, that of
one process whose batch is N times as large.

In this order: settings, batches, validation, the optimizers, the model to begin with, the loop.
"""

import math
import os
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from lib.settings import Settings, check_flags, run, setting


@dataclass
class Config(Settings):
    # data
    dataset: str = setting('goldberg', 'folder under data/, or several: goldberg,wtc')
    extra: str = setting('', 'corpora to learn from at first, less and less, to none')
    fading: float = setting(2.0, 'their share is (1 - step / max_steps) to this power',
                            at_least=0, at_most=100)
    augment: bool = setting(True, 'transpose every row of a batch at random (music)')
    # model
    n_layer: int = setting(4, 'blocks', at_least=1, at_most=10_000)
    n_head: int = setting(4, 'attention heads', at_least=1, at_most=10_000)
    n_embd: int = setting(128, 'channels', at_least=2)
    context: int = setting(256, 'ids that the model looks back over', at_least=2)
    dropout: float = setting(0.0, 'share dropped, in training, of what a block adds',
                             at_least=0, below=1)
    # optimization
    max_steps: int = setting(600, 'optimizer steps; the learning rate decays over them to 0',
                             at_least=0, at_most=10 ** 9)
    batch_size: int = setting(16, 'rows of `context` ids a step, in each process', at_least=1)
    muon_lr: float = setting(0.02, 'learning rate of the matrices inside the blocks',
                             at_least=0, at_most=1)
    adam_lr: float = setting(0.003, 'learning rate of all other weights', at_least=0, at_most=1)
    weight_decay: float = setting(0.0, 'each step shrinks every weight by learning rate * this',
                                  at_least=0, at_most=10)
    warmup_steps: int = setting(20, 'steps over which the learning rate rises', at_least=0)
    # run
    out_dir: str = setting('out', 'where ckpt.pt (best), last.pt and log.csv go')
    init_from: str = setting('', 'folder of a trained model to start from')
    resume: bool = setting(False, 'go on from out_dir/last.pt, exactly')
    overwrite: bool = setting(False, 'start anew in a folder that holds a trained model')
    eval_every: int = setting(50, 'steps between validations', at_least=1)
    log_every: int = setting(10, 'steps between log lines', at_least=1)
    patience: int = setting(6, 'validations without improvement after which to stop', at_least=1)
    seed: int = setting(1, 'of weights, batches and dropout', at_least=0, below=2 ** 32)
    device: str = setting('auto', 'where to compute; auto: the best there is',
                          one_of=('auto', 'cpu', 'cuda', 'mps'))
    dtype: str = setting('auto', 'precision; auto: the faster one here',
                         one_of=('auto', 'float32', 'bfloat16'))
    compile: str = setting('auto', 'torch.compile; auto: on CUDA only',
                           one_of=('auto', 'true', 'false'))


check_flags(Config)      # before torch is imported, which takes seconds

import torch
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

from lib.corpus import check_corpora, how_they_differ, load_corpora
from lib.heldout import losses_of, stack
from lib.log import Log
from lib.machine import (Interrupt, Processes, check_memory, compiled, pick_device,
                         pick_dtype)
from lib.tokenizer import columns_of_told
from model import FORMAT, ModelConfig, Transformer, load, save

ADVICE = 'lower muon_lr and adam_lr (what was best before is in ckpt.pt)'


# ---- batches

def draw_places(corpora: list[dict], shares: list[float], rows: int, context: int,
                generator: torch.Generator) -> list[tuple[dict, int]]:
    """Where to crop: for each row a corpus, drawn in proportion to its size times its share, and a
    place in its training part, (corpus, start)."""
    n_starts = torch.tensor([len(corpus['train']) - context for corpus in corpora])
    numbers = torch.multinomial(n_starts * torch.tensor(shares), rows, replacement=True,
                                generator=generator)
    fractions = torch.rand(rows, dtype=torch.double, generator=generator)
    starts = (fractions * n_starts[numbers]).long()
    return [(corpora[number], start) for number, start in zip(numbers.tolist(), starts.tolist())]


def get_batch(corpora: list[dict], shares: list[float], rows: int, context: int,
              transpositions: torch.Tensor, generator: torch.Generator, rank: int = 0,
              world: int = 1):
    """Random crops of the training parts, each transposed by a distance of its own.
    `transpositions` (12, V) has a map of the vocabulary for each distance: map m turns id i into
    transpositions[m, i]. Without `augment`, and for text, there is one map (1, V), and it changes
    nothing. Of `world` processes, whose generators are alike, each draws the whole batch and keeps
    its own rows.

    Returns the ids (B, T), the next ids (B, T), and what the listener told after each of the ids
    (B, T, W). How far it is to the end is told in half of the rows only, so that the model works
    with and without a wish for a length.
    """
    mine = slice(rank * rows, (rank + 1) * rows)
    all_rows = world * rows
    places = draw_places(corpora, shares, all_rows, context, generator)[mine]
    which = torch.randint(len(transpositions), (all_rows, 1), generator=generator)[mine]
    end_is_told = torch.rand(all_rows, generator=generator)[mine] < 0.5

    crops = [corpus['train'][start:start + context + 1] for corpus, start in places]
    tolds = [corpus['train_told'][start:start + context] for corpus, start in places]
    ids = transpositions[which, stack(crops)]                    # (B, T + 1)
    told = stack(tolds)                                          # (B, T, W)
    # The columns of `told` that hold ids are transposed, too; 0, which says nothing, stays 0.
    # place_of['to_end'] is where the columns of that kind are; place_of['ids'], where all are that
    # hold ids
    place_of = columns_of_told(corpora[0]['shape_of_told']['columns'])
    told_ids = told[:, :, place_of['ids']]
    told[:, :, place_of['ids']] = transpositions[which[..., None], told_ids]
    told[~end_is_told, :, place_of['to_end']] = 0
    return ids[:, :-1], ids[:, 1:], told


# ---- validation

def validate(model, corpus: dict, processes: Processes) -> float:
    """Mean loss in nats of the held-out part. (`losses_of` turns dropout off meanwhile, and does
    not tell the end.) Each process scores some of it, and all get the whole."""
    losses = losses_of(model, corpus['val'], corpus['val_told'], processes.rank, processes.world)
    total = torch.tensor(losses.sum(), dtype=torch.float32)
    return processes.sum(total).item() / (len(corpus['val']) - 1)


def bits_per_unit(nats: float, corpus: dict) -> float:
    """Nats a token -> bits a note (or a byte of text): the bits of all tokens over the number of
    notes. Unlike nats a token, that can be compared between tokenizers."""
    tokens = len(corpus['val']) - 1
    return nats / math.log(2) * tokens / corpus['units']['val']


# ---- the optimizers

class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal (Jordan et al. 2024), for the matrices that stand
    between activations. All directions of a matrix then learn at one speed, where a plain gradient
    serves the few that are loudest.

    Matrices (inputs, outputs) of one shape are stacked to (N, inputs, outputs) and done at once.
    `dtype` is the precision of the Newton-Schulz steps, for which bfloat16 is enough.
    """

    def __init__(self, matrices, weight_decay: float = 0.0, dtype=torch.float32):
        by_shape = defaultdict(list)
        for matrix in matrices:
            by_shape[matrix.shape].append(matrix)
        groups = [{'params': same} for same in by_shape.values()]
        # (the training loop sets lr at every step)
        super().__init__(groups, {'lr': 0.02, 'beta': 0.95, 'weight_decay': weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            matrices, lr = group['params'], group['lr']
            gradient = torch.stack([matrix.grad for matrix in matrices])
            state = self.state[matrices[0]]                  # one tensor for the whole stack
            if not state:
                state['mean'] = torch.zeros_like(gradient)
            mean = state['mean'].lerp_(gradient, 1 - group['beta'])      # of the gradients so far
            ahead = gradient.lerp(mean, group['beta'])       # Nesterov's look ahead
            update = orthogonalize(ahead.to(self.dtype)).to(gradient.dtype)
            inputs, outputs = gradient.shape[1:]
            # The columns (each has the weights of one output) of a tall or square update have
            # length 1, those of a wide one sqrt(inputs / outputs) on average. This factor makes up
            # for it: all columns move equally far, by lr.
            step_size = lr * max(1, outputs / inputs) ** 0.5
            for matrix, direction in zip(matrices, update):
                matrix.mul_(1 - lr * group['weight_decay'])
                matrix.add_(direction, alpha=-step_size)


def orthogonalize(g: torch.Tensor) -> torch.Tensor:
    """(N, rows, columns) -> as many matrices with the same singular vectors and all singular values
    near 1 (0.7 to 1.2, but for tiny ones), by five Newton-Schulz steps: each a polynomial that
    pulls singular values from (0, 1] towards 1. Dividing by the norm brings them into (0, 1]."""
    a, b, c = 3.4445, -4.7750, 2.0315                        # Jordan et al. 2024: steep at 0
    tall = g.size(1) > g.size(2)
    x = g.mT if tall else g
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT                                    # (N, rows of x, rows of x)
        factor = square.baddbmm(square, square, beta=b, alpha=c)     # b square + c square @ square
        x = x.baddbmm(factor, x, beta=a)                             # a x + factor @ x
    return x.mT if tall else x


def make_optimizers(model, weight_decay: float, dtype) -> list:
    """Muon for the matrices inside the blocks, AdamW for every other parameter there is."""
    matrices = [p for p in model.blocks.parameters() if p.dim() == 2]
    taken = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in taken]
    return [Muon(matrices, weight_decay, dtype),
            torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=weight_decay, fused=True)]


def schedule(step: int, config: Config) -> float:
    """What the learning rates of the settings are multiplied by at this step: the smaller of a
    linear rise over the warmup and a linear decay to 0 over all steps."""
    rise = (step + 1) / max(1, config.warmup_steps)
    return min(rise, 1 - step / config.max_steps)


# ---- the model to begin with

@dataclass
class Progress:
    """How far a run is. It stands in the checkpoint, so that --resume goes on exactly there."""
    step: int = 0
    evaluated: int = -1              # the last step that was validated
    best: float = math.inf           # bits a unit, the mean over all corpora
    best_step: int = 0
    seconds: float = 0.0             # of training, validation not counted
    losses: list = field(default_factory=list)      # of the steps since the last log line


SHAPE = ('n_layer', 'n_head', 'n_embd', 'context')       # the settings of the model's shape
# settings that may be others when a run is resumed (out_dir: its folder may have been renamed)
MAY_CHANGE = {'resume', 'overwrite', 'max_steps', 'eval_every', 'log_every', 'patience', 'out_dir',
              'device', 'compile'}


def begins_with(config: Config) -> str:
    """The checkpoint whose weights a run begins with; '' if it begins anew."""
    if config.resume:
        return f'{config.out_dir}/last.pt'
    return f'{config.init_from}/ckpt.pt' if config.init_from else ''


def settings_of(checkpoint: dict) -> dict:
    """Those of its run; one that an older checkpoint lacks had its default."""
    return asdict(Config()) | checkpoint['train_config']


def check_settings(path: str, checkpoint: dict, wanted: dict):
    """Raise ValueError if a checkpoint was trained with other settings than these, by name."""
    had = settings_of(checkpoint)
    for name, value in wanted.items():
        if had[name] != value:
            raise ValueError(f'{path} was trained with {name} = {had[name]!r}: it cannot go on '
                             f'with {value!r}')


def take_shape(config: Config) -> Config:
    """The settings, with the shape of the model whose weights a run begins with (`init_from`), so
    that nobody has to say it again. Raises ValueError for another that was asked for."""
    if not config.init_from:
        return config
    path = begins_with(config)
    _, checkpoint = load(path)
    asked = {name: getattr(config, name) for name in SHAPE
             if getattr(config, name) != getattr(Config, name)}
    check_settings(path, checkpoint, asked)
    had = settings_of(checkpoint)
    return replace(config, **{name: had[name] for name in SHAPE})


def init_model(config: Config, meta: dict, device: str) -> tuple[Transformer, dict]:
    """The model to train, and the checkpoint of the run to resume ({} in a new run, also in one
    that begins with the weights of another). Raises ValueError for a checkpoint that does not fit
    the settings or the corpus."""
    path = begins_with(config)
    if not path:
        shape = {name: getattr(config, name) for name in SHAPE}
        model = Transformer(ModelConfig(meta['vocab_size'], dropout=config.dropout, **shape,
                                        **meta['shape_of_told']))
        return model.to(device), {}

    model, checkpoint = load(path, device, config.dropout)
    if checkpoint['tokenizer'] != meta['tokenizer']:
        why = how_they_differ(checkpoint['tokenizer'], meta['tokenizer'])
        raise ValueError(f'{path} cannot go on with data/{meta["name"]}: {why}')
    if not config.resume:
        return model, {}
    check_settings(path, checkpoint, {name: value for name, value in asdict(config).items()
                                      if name not in MAY_CHANGE})
    return model, checkpoint


# ---- the loop

def check_folder(config: Config):
    """Raise ValueError if out_dir holds a run that would be lost, or none to resume."""
    if not config.out_dir:
        raise ValueError('out_dir is empty: name a folder')
    if Path(config.out_dir).exists() and not Path(config.out_dir).is_dir():
        raise ValueError(f'out_dir = {config.out_dir}: a file, name a folder')
    last = Path(config.out_dir) / 'last.pt'
    if config.resume and not last.exists():
        raise ValueError(f'{config.out_dir}: nothing to resume; leave out --resume')
    if last.exists() and not config.resume and not config.overwrite:
        raise ValueError(f'{config.out_dir} holds a trained model: --resume goes on with it, '
                         '--overwrite starts anew, another --out_dir keeps it')


def load_data(config: Config) -> tuple[list[dict], list[dict]]:
    """The corpora to train on and to validate on, and the extra ones, only to train on. Each is a
    dictionary: what its meta.json says, and the arrays `train`, `val`, `train_told` and `val_told`.
    Raises ValueError for corpora that do not go together."""
    corpora = load_corpora(config.dataset)
    if not corpora:
        raise ValueError('dataset is empty: name a corpus, such as goldberg')
    extra = load_corpora(config.extra)
    for corpus in extra:
        if corpus['name'] in [other['name'] for other in corpora]:
            raise ValueError(f'data/{corpus["name"]} is named twice, in dataset and in extra')
    check_corpora(corpora + extra, config.context)
    return corpora, extra


def train(config: Config) -> Transformer:
    """Train until max_steps, patience or Ctrl-C ends it; returns the model as it is then. Raises
    ValueError for settings that do not go together, before anything is overwritten, and for a loss
    or a weight that is no number any more."""
    # ---- where to compute, and what to learn from
    check_folder(config)
    config = take_shape(config)
    out = Path(config.out_dir)
    processes = Processes()
    corpora, extra = load_data(config)
    meta = corpora[0]            # what it says of the tokenizer, all of them say
    unit = meta['unit']
    as_it_is = [list(range(meta['vocab_size']))]
    transpositions = torch.tensor(meta['augment'] if config.augment else as_it_is)
    device = processes.agree(pick_device(config.device))
    check_memory(config, meta['vocab_size'], device)
    if device == 'cuda':
        torch.set_float32_matmul_precision('high')               # TF32 for what stays in float32

    # ---- the model and its optimizers, new or those of a run that goes on
    torch.manual_seed(config.seed)
    model, checkpoint = init_model(config, meta, device)
    dtype = checkpoint.get('dtype')
    if not dtype:
        dtype = processes.agree(pick_dtype(config.dtype, device, config.n_embd))
    model.dtype = getattr(torch, dtype)
    optimizers = make_optimizers(model, config.weight_decay, model.dtype)
    progress = Progress()
    if checkpoint:
        progress = Progress(**checkpoint['progress'])
        progress.losses = [loss.to(device) for loss in progress.losses]
        for optimizer, state in zip(optimizers, checkpoint['optimizers']):
            optimizer.load_state_dict(state)
    forward = model
    if processes.world > 1:
        forward = DistributedDataParallel(model)                 # it averages the gradients
    forward = compiled(forward, config.compile, device)
    log = Log(config, corpora, progress, silent=processes.rank > 0)
    log.say(f'{sum(p.numel() for p in model.parameters()):,} parameters on {device} in {dtype}')
    if checkpoint and checkpoint['train_config']['max_steps'] != config.max_steps:
        log.say(f'max_steps is {config.max_steps} now: the learning rate decays to 0 there, so the '
                'result is not that of one run')

    def save_as(name: str):
        if not all(parameter.isfinite().all() for parameter in model.parameters()):
            raise ValueError(f'a weight is no number at step {progress.step}: {ADVICE}')
        if processes.rank == 0:
            save(out / name, {
                'format': FORMAT, 'model': model.state_dict(), 'model_config': asdict(model.config),
                'train_config': asdict(config), 'tokenizer': meta['tokenizer'], 'dtype': dtype,
                'corpora': {one['name']: one['sha256']['train'] for one in corpora + extra},
                'optimizers': [optimizer.state_dict() for optimizer in optimizers],
                'progress': asdict(progress)})

    def to_device(tensor: torch.Tensor) -> torch.Tensor:
        if device == 'cuda':                                     # pinned: no need to wait for it
            return tensor.pin_memory().to(device, non_blocking=True)
        return tensor.to(device)

    # ---- the loop
    generator = torch.Generator()                                # draws the batches
    counted_until = time.perf_counter()      # training until then is counted in progress.seconds
    with Interrupt() as interrupt:
        while True:
            step = progress.step

            # validate, and keep the best model
            due = step % config.eval_every == 0 or step == config.max_steps
            if due and step > progress.evaluated:                # (not again when resumed)
                began = time.perf_counter()
                progress.seconds += began - counted_until
                nats = [validate(model, corpus, processes) for corpus in corpora]
                bits = [bits_per_unit(loss, corpus) for loss, corpus in zip(nats, corpora)]
                mean = sum(bits) / len(bits)
                stop_if_not_finite(mean, step)
                log.validation(progress, corpora, nats, bits)
                progress.evaluated = step
                if mean < progress.best:
                    progress.best = mean
                    progress.best_step = step
                    save_as('ckpt.pt')
                save_as('last.pt')
                counted_until = time.perf_counter()              # validation is left out
                log.validation_seconds = counted_until - began

            # end?
            stale = step - progress.best_step >= config.patience * config.eval_every
            pressed = float(interrupt.pressed_at > 0)            # Ctrl-C, in this process
            interrupted = processes.sum(torch.tensor(pressed)).item() > 0
            if step >= config.max_steps or stale or interrupted:
                break

            # a batch; what is random in a step depends on the seed and the step alone, so that a
            # resumed run draws what it would have drawn
            seed = 1_000_003 * config.seed + step    # (another in runs of other seeds)
            generator.manual_seed(seed)
            torch.manual_seed(seed + 10 ** 9 * processes.rank)   # dropout: other in each process
            faded = (1 - step / config.max_steps) ** config.fading
            shares = [1.0] * len(corpora) + [faded] * len(extra)
            batch = get_batch(corpora + extra, shares, config.batch_size, config.context,
                              transpositions, generator, processes.rank, processes.world)
            x, y, told = map(to_device, batch)

            # forward: the model and its loss
            logits = forward(x, told)                                              # (B, T, V)
            loss = F.cross_entropy(logits.float().flatten(0, 1), y.flatten())

            # backward: the gradients, and a step against them
            loss.backward()
            rate = schedule(step, config)
            for optimizer, peak in zip(optimizers, (config.muon_lr, config.adam_lr)):
                for group in optimizer.param_groups:
                    group['lr'] = peak * rate
                optimizer.step()
                optimizer.zero_grad()
            progress.losses.append(loss.detach())    # not read here: that would wait for the GPU
            progress.step += 1

            # a line in the log
            if progress.step % config.log_every == 0:
                mean = processes.sum(torch.stack(progress.losses).mean()) / processes.world
                mean = mean.item()
                progress.losses = []
                now = time.perf_counter()
                progress.seconds += now - counted_until
                counted_until = now
                log.training(progress, mean, config.muon_lr * rate,
                             processes.world * config.batch_size)
                stop_if_not_finite(mean, progress.step)

    save_as('last.pt')
    if interrupted:
        why = 'stopped, go on with --resume'
    elif stale:
        why = 'no longer better'
    else:
        why = 'done'
    log.say(f'{why}; best: {progress.best:.3f} bits/{unit} at step {progress.best_step}, '
            f'in {out / "ckpt.pt"}')
    if not interrupted:
        log.say(f'next: python sample.py --out_dir={out}')
    processes.leave()
    return model


def stop_if_not_finite(loss: float, step: int):
    """Raise ValueError for a loss that is no number any more: nothing good comes after it."""
    if not math.isfinite(loss):
        raise ValueError(f'the loss is {loss} at step {step}: {ADVICE}')


def main(config: Config):
    try:
        train(config)
    except RuntimeError as error:
        if 'RANK' not in os.environ:             # torchrun sets it for each of its processes
            raise                                # a mistake of ours
        why = str(error).splitlines()[0]
        raise ValueError('a process of this run has failed, so all end; if there is a last.pt, it '
                         f'is whole, and --resume goes on from there ({why:.200})') from None


if __name__ == '__main__':
    run(main, Config)
