"""What a model looked at when it wrote each note, or each id of a text: attention, for the page.

A note is decided at the position before its `on`. From there each head looked back, at each
position with some share (model.attend). What it took from the two words of another note, the one
that presses and the one that releases it, it took from that note. Notes, or ids of text, are called
units here, as by the tokenizer.
"""

from dataclasses import dataclass

import numpy as np
import torch

from lib.heldout import find_windows, stack
from lib.tokenizer import columns_of_told

MOST = 8                 # units that are kept, for each head
LIKELIEST = 5            # ids


@dataclass
class Look:
    """How one unit was decided."""
    heads: list[list[tuple[int, float]]]     # for each head, layer by layer: (unit, share), the
                                             # most first; the rest went to waits and other words
    likeliest: list[tuple[str, float]]       # the likeliest words there, and their probabilities
    recalled: list[str]                      # the words that the listener recalled there


@torch.no_grad()
def find_shares(model, attend, ids: torch.Tensor, told: torch.Tensor):
    """What each head of each layer looks at from each position, (heads, T, T), and the logits
    (T, V), of ids (1, T) and what is told (1, T, W). Written-out attention gives the shares: the
    mean of rows that are 1 in a place of their own, weighted by the shares, is the shares."""
    kept = []

    def keep(q, k, v):
        own_places = torch.eye(k.size(-2), dtype=k.dtype, device=k.device)
        kept.append(attend(q, k, own_places.expand(*k.shape[:2], -1, -1))[0])
        return attend(q, k, v)
    usual = [block.attention.attend for block in model.blocks]
    try:
        for block in model.blocks:
            block.attention.attend = keep
        device = model.head.device
        logits = model(ids.to(device), told.to(device))[0]
    finally:
        for block, before in zip(model.blocks, usual):
            block.attention.attend = before
    return torch.cat(kept).float().cpu(), logits.float().cpu()


def look(model, attend, tokenizer, ids: list[int]) -> list[Look]:
    """A Look for each unit. (As in validation, at least half a context stands before each, or all
    that there is.)"""
    model.eval()
    told = tokenizer.listen(ids)
    units = tokenizer.units(ids)
    recalled = columns_of_told(model.config.columns)['recalled']
    unit_of = np.full(len(ids), len(units))                  # the last: of no unit
    decided_at = {}                                          # position -> the unit decided there
    for number, places in enumerate(units):
        unit_of[places] = number
        decided_at[places[0] - 1] = number
    looks = [None] * len(units)
    for start, scored in find_windows(len(ids) - 1, model.config.context):
        end = min(start + model.config.context, len(ids) - 1)
        shares, logits = find_shares(model, attend, stack([ids[start:end]]),
                                     stack([told[start:end]]))
        chances = logits.softmax(-1)
        units_there = torch.from_numpy(unit_of[start:end])
        for position in range(scored, end - start):
            number = decided_at.get(start + position)
            if number is None:
                continue
            by_unit = torch.zeros(len(shares), len(units) + 1)
            by_unit.index_add_(1, units_there, shares[:, position])
            heads = [most_of(row, MOST) for row in by_unit[:, :-1]]
            likeliest = [(tokenizer.say(id), chance)
                         for id, chance in most_of(chances[position], LIKELIEST)]
            ids_recalled = told[start + position, recalled].tolist()
            looks[number] = Look(heads, likeliest, [tokenizer.say(id) for id in ids_recalled if id])
    return looks


def most_of(row: torch.Tensor, count: int) -> list[tuple[int, float]]:
    """(N,) -> the places of the largest numbers, and these, but for zeros."""
    best = row.topk(min(count, len(row)))
    pairs = zip(best.indices.tolist(), best.values.tolist())
    return [(place, round(number, 6)) for place, number in pairs if number > 0]


def name_heads(model) -> list[str]:
    """The names of all heads, in the order in which a Look has them."""
    by_ids = model.config.n_head - model.config.n_head // 2
    names = []
    for layer in range(model.config.n_layer):
        for head in range(model.config.n_head):
            how = 'counts ids' if head < by_ids else 'reads the clock'
            names.append(f'layer {layer + 1}, head {head + 1}, which {how}')
    return names
