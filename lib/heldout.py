"""What each id of a text or a piece costs a model: every id is scored once."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from lib.tokenizer import columns_of_told

AT_ONCE = 32             # windows


def stack(rows: list) -> torch.Tensor:
    """B arrays (T, ...) of whole numbers -> a tensor (B, T, ...) of int64."""
    return torch.from_numpy(np.stack(rows).astype(np.int64))


def find_windows(count: int, context: int) -> list[tuple[int, int]]:
    """The windows in which `count` targets are scored: (where the window starts, how many of its
    targets are scored already). Each target is scored once. Before it stands at least half a
    context, or, near the beginning, all that there is.

        ids      0 1 2 3 4 5 6 7 8 9        9 targets, context 4
        window   0 1 2 3 4                  scored: 1 2 3 4     (0, 0)
        window       2 3 4 5 6                          5 6     (2, 2)
        window           4 5 6 7 8                      7 8     (4, 2)
        window             5 6 7 8 9                    9       (5, 3)
    """
    windows = []
    scored = 0
    while scored < count:
        new = context // 2 if scored else context
        end = min(count, scored + new)
        start = max(0, end - context)
        windows.append((start, scored - start))
        scored = end
    return windows


@torch.no_grad()
def losses_of(model, ids: np.ndarray, told: np.ndarray, rank: int = 0,
              world: int = 1) -> np.ndarray:
    """Nats of each of the ids (N) but the first, (N - 1,), given those before it and what the
    listener told (N, W), how far it is to the end being hidden. Of `world` processes, each scores
    some windows, and returns theirs."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    context = model.config.context
    to_end = columns_of_told(model.config.columns)['to_end']
    windows = find_windows(len(ids) - 1, context)[rank::world]
    losses = [np.zeros(0)]                           # there may be no window for this process
    for i in range(0, len(windows), AT_ONCE):
        some = windows[i:i + AT_ONCE]
        rows = stack([ids[start:start + context + 1] for start, _ in some]).to(device)
        rows_told = stack([told[start:start + context] for start, _ in some]).to(device)
        rows_told[:, :, to_end] = 0
        logits = model(rows[:, :-1], rows_told[:, :rows.size(1) - 1]).float()    # (B, T, V)
        nats = F.cross_entropy(logits.transpose(1, 2), rows[:, 1:], reduction='none')
        for row, (_, scored) in zip(nats.cpu().numpy(), some):
            losses.append(row[scored:])
    model.train(was_training)
    return np.concatenate(losses)


def surprise(model, tokenizer, ids: list[int]) -> list[float]:
    """Bits of each id of one piece, given those before it; 0 for the first, which is given."""
    if len(ids) < 2:
        return [0.0] * len(ids)
    nats = losses_of(model, np.array(ids), tokenizer.listen(ids))
    return [0.0, *(nats / math.log(2)).tolist()]
