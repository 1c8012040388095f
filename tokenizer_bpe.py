"""Text <-> ids: byte-level byte-pair encoding (BPE), by hand.

Every text is a row of bytes, so 256 tokens can spell anything. Training finds the pair of
neighbours that occurs most often, mints a token for it, puts that in its place and looks again:
't' 'h' -> 'th', 'th' 'e' -> 'the'. Encoding replays these merges, oldest first; decoding gives
back every byte. After Gage 1994, Sennrich et al. 2016, GPT-2 (bytes; cut before you merge) and
GPT-4 (where to cut).
"""

import codecs
import json
import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise
from pathlib import Path

import regex

from lib.settings import Settings, run, setting
from lib.tokenizer import Listener, Tokenizer

EOT = '<|endoftext|>'                        # ends a document: the one special token

# Text is first split into chunks (pre-tokenization), and no token reaches across a border; else
# 'dog.', 'dog!' and 'dog?' would each claim a place in the vocabulary. The first clause that
# matches wins. Each takes 65 characters at most, so the work grows no faster than the text, even on
# a line without whitespace.
PATTERN = '|'.join((
    r"'(?i:[sdmt]|ll|ve|re)",                # English contractions: it's, I'LL, they've
    r'[^\r\n\p{L}\p{N}]?\p{L}{1,32}',        # a word in any script; a space or '(' before it
    r'\p{N}{1,3}',                           # few digits: no token for every year and price
    r' ?[^\s\p{L}\p{N}]{1,32}[\r\n]{0,32}',  # punctuation, and the line breaks after it: '.\n'
    r'\s{0,32}[\r\n]',                       # whitespace, up to the last line break in it
    r'\s{1,32}(?!\S)|\s',                    # whitespace; its last space is left to the next word
))
LONGEST_CHUNK = 1 + 32 * 4 + 32  # bytes: a space, punctuation, line breaks


def pretokenize(text: str | bytes) -> list[str]:
    """'Oh, dear!' -> ['Oh', ',', ' dear', '!']. A byte that is not UTF-8 becomes a lone surrogate,
    and a byte again in `to_bytes`: b'\\xff' <-> '\\udcff'."""
    if isinstance(text, bytes):
        text = text.decode('utf-8', errors='surrogateescape')
    return regex.findall(PATTERN, text)


def to_bytes(chunk: str) -> bytes:
    return chunk.encode('utf-8', errors='surrogateescape')


# ------------------------------------------------------------------------------------- training

def merge(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """[1, 2, 3, 1, 2], (1, 2), 9 -> [9, 3, 9]"""
    merged = []
    for id in ids:
        if merged and (merged[-1], id) == pair:
            merged[-1] = new
        else:
            merged.append(id)
    return merged


def learn_merges_slowly(chunks: Counter, n_merges: int) -> list[tuple[int, int]]:
    """BPE as the textbooks have it: count all pairs, merge the most frequent one, begin again.

    {'hug': 3, 'pug': 2}, 2 -> [(117, 103), (104, 256)]: 'ug' occurs 5 times, then 'h' 'ug' 3 times.
    Of pairs that are equally frequent, the smallest goes first. It stops at a pair that occurs
    once: merging that would be learning the text by heart. This is to be read and to test the fast
    one by.
    """
    rows = [(list(to_bytes(chunk)), times) for chunk, times in chunks.items()]
    merges = []
    while len(merges) < n_merges:
        counts = Counter()
        for ids, times in rows:
            for pair in pairwise(ids):
                counts[pair] += times
        best = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if best is None or counts[best] < 2:
            break
        rows = [(merge(ids, best, 256 + len(merges)), times) for ids, times in rows]
        merges.append(best)
    return merges


def to_row(chunk: str) -> str:
    r"""A row of ids as a string, one character chr(id) each; at first, the bytes:
    'é' -> '\xc3\xa9'. So str.replace can merge, which is much faster than a loop in Python."""
    return to_bytes(chunk).decode('latin-1')         # which is chr of every byte


def learn_merges(chunks: Counter, n_merges: int) -> list[tuple[int, int]]:
    """The same merges as `learn_merges_slowly`, much faster on long texts: on 200 kB 240 times.

    A pair only gets rarer, since merges break pairs up and make none but with the new token. So the
    last count of a pair is an upper bound ever after, and only the pair with the largest bound has
    to be counted again: if it still is as frequent as that, no other can be more frequent.
    """
    rows = [to_row(chunk) for chunk in chunks]
    times = list(chunks.values())
    where = defaultdict(set)                         # pair -> the rows that may have it
    for i, row in enumerate(rows):
        for pair in pairwise(row):
            where[pair].add(i)
    # a heap has its smallest entry first, so the bounds are negative; nothing is counted as yet
    heap = [(-math.inf, pair) for pair in sorted(where)]
    merges = []
    while heap and len(merges) < n_merges:
        minus_bound, pair = heappop(heap)
        bound = -minus_bound
        if bound < 2:
            break                                    # none is left that occurs twice
        count = 0
        for i in where[pair]:
            count += times[i] * list(pairwise(rows[i])).count(pair)
        if count < bound:
            heappush(heap, (-count, pair))
            continue
        new = chr(256 + len(merges))
        merges.append((ord(pair[0]), ord(pair[1])))
        for i in where.pop(pair):
            rows[i] = rows[i].replace(''.join(pair), new)
            for born in pairwise(rows[i]):
                if new in born:
                    # a pair with the new token is no more frequent than that: `count` is its bound
                    if born not in where:
                        heappush(heap, (-count, born))
                    where[born].add(i)
    return merges


# ---------------------------------------------------------------------------------- the tokenizer

class BPETokenizer(Tokenizer):
    """Ids: 0-255 the bytes, then one for each merge in the order learned, then EOT."""
    unit = 'byte'

    def __init__(self, merges=()):
        """merges: [(117, 103), ...], of which number i makes the id 256 + i."""
        self.merges = list(merges)
        self.vocab = {id: bytes([id]) for id in range(256)}      # id -> what it stands for
        # the same merges with characters for ids, as `to_row` writes them
        self.joined = {}                             # ('u', 'g') -> 'Ā'
        self.pairs = {}                              # 'Ā' -> 'ug'
        for new, (a, b) in enumerate(self.merges, 256):
            self.vocab[new] = self.vocab[a] + self.vocab[b]
            self.joined[chr(a), chr(b)] = chr(new)
            self.pairs[chr(new)] = chr(a) + chr(b)
        self.begin = self.end = len(self.vocab)      # a text begins after the end of another
        self.vocab[self.end] = EOT.encode()
        self.vocab_size = len(self.vocab)
        self.cache = {}                              # chunk -> its ids, (N,)

    @classmethod
    def train(cls, texts, vocab_size: int):
        """From an iterable of str or bytes, read once; memory holds the distinct chunks only."""
        if vocab_size < 257:
            raise ValueError(f'vocab_size {vocab_size}: give at least 257, for all bytes and EOT')
        chunks = Counter()
        for text in [texts] if isinstance(texts, (str, bytes)) else texts:
            chunks.update(pretokenize(text))
        tokenizer = cls(learn_merges(chunks, vocab_size - 257))
        if tokenizer.vocab_size < vocab_size:
            print(f'{tokenizer.vocab_size} tokens are enough: no pair is left that occurs twice')
        return tokenizer

    def merge_oldest(self, row: str) -> str | None:
        """The row after the oldest merge that it has a pair for; None if it has none."""
        known = [self.joined[pair] for pair in pairwise(row) if pair in self.joined]
        if not known:
            return None
        oldest = min(known)                          # the ids count up as the merges were learned
        return row.replace(self.pairs[oldest], oldest)

    def encode_chunk(self, chunk: str) -> tuple[int, ...]:
        if chunk in self.cache:
            return self.cache[chunk]
        row = to_row(chunk)
        merged = self.merge_oldest(row)
        while merged is not None:
            row = merged
            merged = self.merge_oldest(row)
        ids = tuple(ord(token) for token in row)     # a tuple: nobody can change it in the cache
        self.cache[chunk] = ids
        return ids

    def encode(self, text: str | bytes, special: bool = False) -> list[int]:
        """EOT in a text is mere text, unless `special` is set."""
        ids = []
        if special:
            mark = EOT if isinstance(text, str) else EOT.encode()
            first, *others = text.split(mark)
            ids += self.encode(first)
            for part in others:
                ids.append(self.end)
                ids += self.encode(part)
            return ids
        for chunk in pretokenize(text):
            ids += self.encode_chunk(chunk)
        if len(self.cache) > 1 << 16:                # bounded, and without bookkeeping
            self.cache.clear()
        return ids

    def decode_bytes(self, ids) -> bytes:
        """The exact bytes; KeyError for an id that is not in the vocabulary."""
        return b''.join([self.vocab[i] for i in ids])

    def decode(self, ids) -> str:
        """The text, with U+FFFD where the bytes are not UTF-8."""
        return self.decode_bytes(ids).decode('utf-8', 'replace')

    def stream(self, ids):
        """Text as ids come in; half a character is held back until the rest is there."""
        return codecs.iterdecode((self.decode_bytes([i]) for i in ids), 'utf-8', 'replace')

    def pieces(self, ids) -> list[str]:
        """The text of each id; that of a character in several ids stands at the last of them."""
        decoder = codecs.getincrementaldecoder('utf-8')('replace')
        return [decoder.decode(self.decode_bytes([id])) for id in ids]

    def count_units(self, ids) -> int:
        """Bytes of text; EOT has none."""
        return len(self.decode_bytes(i for i in ids if i != self.end))

    def show(self, row: str) -> str:
        r"""For the eye: chr(104) + chr(256) -> "'h' 'ug'", half a character -> "'\\xc3'"."""
        tokens = [self.vocab[ord(token)].decode('utf-8', 'backslashreplace') for token in row]
        return ' '.join(map(repr, tokens))

    def explain(self, text: str | bytes) -> str:
        """The work of `encode`: each chunk, its bytes, the row after every merge, its ids."""
        lines = []
        for chunk in pretokenize(text):
            lines.append(f'{chunk!r}: bytes {to_bytes(chunk).hex(" ")}')
            row = to_row(chunk)
            while row:
                lines.append('    ' + self.show(row))
                row = self.merge_oldest(row)
            lines.append(f'    ids {list(self.encode_chunk(chunk))}')
        return '\n'.join(lines)

    def listener(self, **wishes) -> 'BPEListener':
        return BPEListener()

    def shape_of_told(self) -> dict:
        lengths = BPEListener.MOST - BPEListener.FEWEST + 1
        return {'columns': BPEListener.TOLD, 'matches': 1 + lengths}        # one of them for none

    def to_dict(self) -> dict:
        """Plain JSON values; a merge reads "256 = 117 + 103 'ug'"."""
        merges = [f'{new} = {a} + {b} {self.show(chr(new))}'
                  for new, (a, b) in enumerate(self.merges, 256)]
        return {'kind': 'bpe', 'version': 1, 'pattern': PATTERN,
                'special_tokens': {EOT: self.end}, 'merges': merges}

    @classmethod
    def from_dict(cls, d: dict):
        """The same tokenizer again; ValueError, in one line, for what `to_dict` would not give."""
        if isinstance(d, dict) and d.get('kind', 'bpe') != 'bpe':
            raise ValueError(f'a tokenizer of kind {d["kind"]!r:.20}, not of text: train one')
        lines = d.get('merges') if isinstance(d, dict) else None
        # a line of another form is skipped here, and found at the end: the tokenizer that is made
        # without it would write another dictionary
        merges = []
        for line in lines if isinstance(lines, list) else ():
            found = regex.match(r'\d+ = (\d{1,6}) \+ (\d{1,6}) ', str(line))
            if found:
                merges.append((int(found[1]), int(found[2])))
        check_merges(merges)
        tokenizer = cls(merges)
        if d != tokenizer.to_dict():
            raise ValueError('kind, version, pattern or merges are not as to_dict writes them: '
                             f'train again ({d!r:.60})')
        return tokenizer

    def save(self, path):
        """One JSON file, open to any reader: a line for each merge."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False)
        Path(path).write_text(text, 'utf-8')

    @classmethod
    def load(cls, path):
        """From what `save` or prepare.py wrote; ValueError, in one line, for any other file."""
        try:
            d = json.loads(Path(path).read_text('utf-8'))
            return cls.from_dict(d.get('tokenizer', d))
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            raise ValueError(f'{path}: {error!s:.200}; make it with prepare.py or save') from None


class BPEListener(Listener):
    """Hears the ids of one document, and says after each what the model is told.

        clock       ids since the beginning; instead of 6,144 (CLOCK_ROUND) it says 0 again
        match       how many of the last ids stood side by side before, less 1: from 1 for two of
                    them (FEWEST) to 7 for eight (MOST); 0: fewer
        recalled    the id that came next, that time
    """
    CLOCK_ROUND = 6144           # as far as the model's wavelengths reach: LONGEST in model.py
    TOLD = {'clock': 1, 'to_bar': 0, 'to_end': 0, 'match': 1, 'home': 0, 'voices': 0,
            'recalled': 1, 'parallel': 0, 'held': 0}
    FEWEST, MOST = 2, 8          # ids that have to be the same
    FORGETS = 1 << 16            # every so many ids its memory is emptied: it stays bounded

    def __init__(self):
        self.heard = 0
        self.last = ()           # the last ids, MOST at most
        self.memory = {}         # ids -> the one that came next

    def hear(self, id: int) -> list[int]:
        """Take note of the next id; returns what the model is told after it."""
        if self.heard % self.FORGETS == 0:
            self.memory = {}
        self.heard += 1
        for length in range(self.FEWEST, len(self.last) + 1):
            self.memory[self.last[-length:]] = id
        self.last = (*self.last, id)[-self.MOST:]
        clock = self.heard % self.CLOCK_ROUND
        for length in range(len(self.last), self.FEWEST - 1, -1):
            recalled = self.memory.get(self.last[-length:])
            if recalled is not None:
                return [clock, length - 1, recalled]
        return [clock, 0, 0]


def check_merges(merges: list[tuple[int, int]]):
    """Raise ValueError for merges that no training gives, before a token grows out of bounds."""
    length = {id: 1 for id in range(256)}            # of each token, in bytes
    seen = set()
    for new, (a, b) in enumerate(merges, 256):
        length[new] = length.get(a, 0) + length.get(b, 0)
        if max(a, b) >= new or (a, b) in seen or length[new] > LONGEST_CHUNK:
            raise ValueError(f'merge {new} = {a} + {b}: needs a new pair of ids below {new}, '
                             f'{LONGEST_CHUNK} bytes at most; train again')
        seen.add((a, b))


@dataclass
class Config(Settings):
    text: str = setting(help='the text to take apart')
    dataset: str = setting('', 'by the tokenizer of this corpus in data/; else by one learned on '
                           'tokenizer_bpe.py itself')


def main(config: Config):
    if config.dataset:
        meta = Path(__file__).parent / 'data' / config.dataset / 'meta.json'
        if not meta.is_file():
            raise ValueError(f'data/{config.dataset}: no such corpus; first prepare.py')
        tokenizer = BPETokenizer.load(meta)
    else:
        tokenizer = BPETokenizer.train(Path(__file__).read_text('utf-8'), 512)
    print(tokenizer.explain(config.text))


if __name__ == '__main__':
    run(main, Config)
