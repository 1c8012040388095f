"""An n-gram of ids: what counting alone can know. A model should beat it."""

import numpy as np

from lib.originality import hash_windows
from lib.tokenizer import Tokenizer

ORDERS = 6               # n-grams of 1 to this many ids are tried
COUNTED = 8_000_000      # ids that they are counted on at most, all transpositions together
NGRAM_PIECES = 16        # pieces that the best of them draws
NGRAM_IDS = 1200         # ids in each: some 400 notes
SEED = 1                 # of what is drawn


class NGram:
    """Interpolated n-grams (Witten and Bell 1991): in a context that was seen C times, with T
    different ids after it, `id` has the probability

        (times seen here + T * its probability after one id less) / (C + T)

    and that after one id less is made alike, down to 1 / V. So a context asks the shorter ones, and
    listens to them the more, the fewer times it was seen and the more different ids followed.

    A table for each length of context holds its (context, id) pairs as sorted numbers, a hash of
    the context above and the id in the lowest bits: what follows a context lies side by side.
    """

    def __init__(self, rows: list[np.ndarray], vocab_size: int, longest: int = ORDERS):
        """Count the ids of `rows`, arrays (N,), for n-grams of 1 to `longest` ids."""
        self.vocab_size = vocab_size
        self.low = np.uint64((1 << vocab_size.bit_length()) - 1)        # the bits of an id
        self.tables = []
        for length in range(longest):
            pairs = np.concatenate([self.pairs(row, length) for row in rows])
            pairs, counts = np.unique(pairs, return_counts=True)
            before = np.concatenate(([0], np.cumsum(counts)))           # counts of all pairs before
            self.tables.append((pairs, before))

    def pairs(self, ids: np.ndarray, length: int) -> np.ndarray:
        """(N,) -> (N - length,): each id that has a context of that length, with it."""
        contexts = hash_windows(ids, length)[:max(0, len(ids) - length)]
        return contexts & ~self.low | ids[length:].astype(np.uint64)

    def bits(self, ids: np.ndarray) -> np.ndarray:
        """(N,) -> (orders, N): what each id costs by the n-gram of each order."""
        chance = np.full(len(ids), 1 / self.vocab_size)
        rows = []
        for length, (pairs, before) in enumerate(self.tables):
            wanted = self.pairs(ids, length)                            # (N - length,)
            first = np.searchsorted(pairs, wanted & ~self.low)
            past = np.searchsorted(pairs, wanted | self.low)
            kinds = past - first
            count = before[past] - before[first]
            this = np.searchsorted(pairs, wanted)
            next = np.searchsorted(pairs, wanted, 'right')
            seen = before[next] - before[this]
            known = np.flatnonzero(kinds)                               # contexts ever seen
            shorter = chance[length:][known]
            chance[length:][known] = ((seen[known] + kinds[known] * shorter)
                                      / (count[known] + kinds[known]))
            rows.append(-np.log2(chance))
        return np.stack(rows)

    def chances(self, context: list[int], order: int) -> np.ndarray:
        """(V,) probabilities of what comes after the context, by the n-gram of that order."""
        chances = np.full(self.vocab_size, 1 / self.vocab_size)
        for length, (pairs, before) in enumerate(self.tables[:min(order, len(context) + 1)]):
            context_hash = hash_windows(np.array(context[len(context) - length:]), length)[:1]
            first = np.searchsorted(pairs, context_hash & ~self.low)[0]
            past = np.searchsorted(pairs, context_hash | self.low)[0]
            if past > first:
                followers = (pairs[first:past] & self.low).astype(int)
                counts = np.diff(before[first:past + 1])
                chances *= past - first
                chances[followers] += counts
                chances /= counts.sum() + past - first
        return chances


def count_ngrams(corpora: list[dict]) -> NGram:
    """The n-grams of all training parts, in all the keys that the model is trained in. Of very
    large corpora, the beginning of each."""
    table = np.array(corpora[0]['augment'])
    total = len(table) * sum(len(corpus['train']) for corpus in corpora)
    share = min(1, COUNTED / total)
    rows = []
    for corpus in corpora:
        ids = np.array(corpus['train'][:int(share * len(corpus['train']))])
        for transposition in table:
            rows.append(transposition[ids])
    return NGram(rows, corpora[0]['vocab_size'])


def draw_ngram(ngram: NGram, order: int, tokenizer: Tokenizer) -> list:
    """Pieces of music that it draws, (name, Score), of NGRAM_IDS ids each; none ends before."""
    generator = np.random.default_rng(SEED)
    pieces = []
    for number in range(1, NGRAM_PIECES + 1):
        ids = [tokenizer.begin]
        while len(ids) < NGRAM_IDS:
            chances = ngram.chances(ids[-order:], order)
            chances[tokenizer.end] = 0
            ids.append(int(generator.choice(len(chances), p=chances / chances.sum())))
        pieces.append((f'n-gram {number}', tokenizer.decode(ids)))
    return pieces
