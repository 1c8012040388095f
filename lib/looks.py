"""What a model looked at when it wrote each note: attention, to be seen on the page.

A note is decided at the position before its `on`. From there each head looked back, at each
position with some share (model.attend). What it took from the two words of another note, the one
that presses and the one that releases it, it took from that note.
"""

from dataclasses import dataclass

import numpy as np
import torch

from lib.heldout import find_windows, stack
from lib.tokenizer import columns_of_told

MOST = 8                 # notes that are kept, for each head
LIKELIEST = 5            # ids


@dataclass
class Look:
    """How one note was decided."""
    heads: list[list[tuple[int, float]]]     # for each head, layer by layer: (note, share), the
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
        kept.append(attend(q, k, torch.eye(k.size(-2)).expand(*k.shape[:2], -1, -1))[0])
        return attend(q, k, v)
    usual = [block.attention.attend for block in model.blocks]
    try:
        for block in model.blocks:
            block.attention.attend = keep
        logits = model(ids, told)[0]
    finally:
        for block, before in zip(model.blocks, usual):
            block.attention.attend = before
    return torch.cat(kept), logits


def look(model, attend, tokenizer, ids: list[int]) -> list[Look]:
    """A Look for each note of a piece, in the order of decode(ids).notes. (As in validation, at
    least half a context stands before each, or all that there is.)"""
    model.eval()
    told = tokenizer.listen(ids)
    notes = tokenizer.find_notes(ids)
    recalled = columns_of_told(model.config.columns)['recalled']
    # (position, note): 1 where a word of the note stands
    stands = np.zeros((len(ids), len(notes)), np.float32)
    note_at = {}                                             # position of an `on` -> its note
    for number, (_, places) in enumerate(notes):
        stands[places, number] = 1
        note_at[places[0]] = number
    looks = [None] * len(notes)
    for start, scored in find_windows(len(ids) - 1, model.config.context):
        end = min(start + model.config.context, len(ids) - 1)
        shares, logits = find_shares(model, attend, stack([ids[start:end]]),
                                     stack([told[start:end]]))
        by_note = shares @ torch.from_numpy(stands[start:end])           # (heads, T, notes)
        chances = logits.float().softmax(-1)
        for position in range(scored, end - start):
            number = note_at.get(start + position + 1)
            if number is None:
                continue
            heads = [most_of(row, MOST) for row in by_note[:, position]]
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
