"""What the machine offers to a run: its device and precision, its memory, its processes, Ctrl-C."""

import os
import signal
import time

import torch
import torch.distributed as dist

# ---- device and precision


def pick_device(device: str) -> str:
    """Replace `auto` by the best device there is. Raises ValueError for one that is not there."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    best = accelerator.type if accelerator else 'cpu'
    if device == 'auto':
        return best
    if device not in ('cpu', best):
        there = 'cpu' if best == 'cpu' else f'cpu or {best}'
        raise ValueError(f'device = {device}: not on this machine, use {there}')
    return device


def pick_dtype(dtype: str, device: str, width: int) -> str:
    """Replace `auto` by the faster precision on this device, measured on a product like those of
    training: (4096, width) times (width, 4096)."""
    if dtype != 'auto':
        return dtype
    seconds = {}
    for name in ('float32', 'bfloat16') * 3:                     # the last round counts
        a = torch.ones(4096, width, dtype=getattr(torch, name), device=device)
        began = time.perf_counter()
        products = [a @ a.T for _ in range(4)]
        products[-1][0, 0].item()                                # wait for the device
        seconds[name] = time.perf_counter() - began
    return min(seconds, key=seconds.get)


def compiled(model, choice: str, device: str):
    """The model as the loop calls it. On a CPU torch.compile gains less than its minute of
    compiling costs. With auto, what it can't compile runs as it is."""
    if choice == 'false' or (choice == 'auto' and device != 'cuda'):
        return model
    if choice == 'auto':
        torch._dynamo.config.suppress_errors = True
    return torch.compile(model)


def memory_of(device: str) -> float:
    """Bytes of memory that the device has in all; infinite where that can't be asked."""
    if device == 'cuda':
        return torch.cuda.get_device_properties(0).total_memory
    try:
        return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    except (AttributeError, ValueError, OSError):                # Windows
        return float('inf')


def check_memory(config, vocab_size: int, device: str):
    """Raise ValueError for sizes that cannot fit, before the machine tries: counted are the weights
    with what the optimizers keep of them, and a few of the arrays that a batch leaves."""
    in_blocks = 12 * config.n_layer * config.n_embd ** 2         # 4 for attention, 8 for the MLP
    weights = in_blocks + 2 * vocab_size * config.n_embd         # and embedding and head
    positions = config.batch_size * config.context
    activations = positions * (10 * config.n_layer * config.n_embd + 2 * vocab_size)
    # bytes: of each weight itself, its gradient and two means, in float32; the rest in bfloat16
    needed = 16 * weights + 2 * activations
    there = memory_of(device)
    if needed > there:
        raise ValueError(f'a model and a batch of this size need over {needed / 1e9:,.0f} GB of '
                         f'memory, and there are {there / 1e9:,.0f}: lower batch_size, context, '
                         'n_embd or n_layer')


# ---- several processes

class Processes:
    """The processes of a run, which torchrun starts and tells who they are: this is number `rank`
    of `world`. A script that is run by itself is the only one: then none of this does anything."""

    def __init__(self):
        self.rank, self.world = 0, 1
        if 'RANK' in os.environ:
            if torch.cuda.is_available():
                torch.cuda.set_device(int(os.environ['LOCAL_RANK']))     # a GPU for each
            dist.init_process_group()
            self.rank, self.world = dist.get_rank(), dist.get_world_size()

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum of the tensors that all processes give."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def agree(self, value):
        """What the first process has for `value`, in all of them."""
        values = [value]
        if self.world > 1:
            dist.broadcast_object_list(values)
        return values[0]

    def leave(self):
        """Wait for the others, so that nobody leaves while they still talk, and leave."""
        if self.world > 1:
            dist.barrier()
            dist.destroy_process_group()


# ---- Ctrl-C

class Interrupt:
    """Ctrl-C asks the loop to save and end; another one, a second or more later, ends at once. (Two
    in one second are one: torchrun passes on what the terminal has sent to each process already.)
    """

    def __enter__(self):
        self.pressed_at = 0.0                                    # not yet
        self.previous = signal.signal(signal.SIGINT, self.press)
        return self

    def press(self, number, frame):
        now = time.monotonic()
        if not self.pressed_at:
            self.pressed_at = now
            # not print: a signal may come in the middle of one
            os.write(2, b'\nstopping after this step or validation; once more: at once\n')
        elif now > self.pressed_at + 1:
            raise KeyboardInterrupt

    def __exit__(self, *error):
        signal.signal(signal.SIGINT, self.previous)
