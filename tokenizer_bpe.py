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

from config.settings import Settings, run, setting

EOT = '<|endoftext|>'                        # ends a document: the one special token
UTF8 = 'utf-8', 'surrogateescape'            # keeps a byte that is not UTF-8: b'\xff' <-> '\udcff'
# Text is first cut into chunks, and no token reaches across a cut; else 'dog.', 'dog!' and 'dog?'
# would each claim a place in the vocabulary. The first clause that matches wins. Each takes about
# 32 characters at most: thus the work grows with the text, even on a line without a blank.
PATTERN = '|'.join((
    r"'(?i:[sdmt]|ll|ve|re)",                # what English hangs on a word: it's, I'LL, they've
    r'[^\r\n\p{L}\p{N}]?\p{L}{1,32}',        # a word, any script, and the blank or mark before it
    r'\p{N}{1,3}',                           # few digits: no token for every year and price
    r' ?[^\s\p{L}\p{N}]{1,32}[\r\n]{0,32}',  # marks, and the line ends after them: ' --', '.\n'
    r'\s{0,32}[\r\n]',                       # blanks, up to the last line end among them
    r'\s{1,32}(?!\S)|\s',                    # blanks but the last, which goes with a word if it can
))
LONGEST = 1 + 32 * 4 + 32                    # bytes of the longest chunk: a blank, marks, line ends


def cut(text: str | bytes) -> list[str]:
    """'Oh, dear!' -> ['Oh', ',', ' dear', '!']"""
    return regex.findall(PATTERN, text if isinstance(text, str) else text.decode(*UTF8))


def as_row(chunk: str) -> str:
    r"""A row of tokens, one character chr(id) each; at first, the bytes: 'é' -> '\xc3\xa9'."""
    return chunk.encode(*UTF8).decode('latin-1')


def learn_merges(chunks: Counter, n_merges: int) -> list[tuple]:
    """{'hug': 3, 'pug': 2}, 2 -> [('u', 'g'), ('h', chr(256))]: 'ug' occurs 5 times, then 'hug' 3.
    The most frequent pair goes first; of equals, the smallest pair of ids. Stops at a pair that
    occurs once: merging that would learn the text by heart."""
    rows, times = [as_row(chunk) for chunk in chunks], list(chunks.values())
    where, merges = defaultdict(set), []            # where: pair -> the rows that it is in
    for i, row in enumerate(rows):
        for pair in pairwise(row):
            where[pair].add(i)
    heap = sorted((-math.inf, pair) for pair in where)
    while heap and len(merges) < n_merges and heap[0][0] < -1:
        bound, pair = heappop(heap)                 # it occurs at most -bound times; in truth, n:
        n = sum(times[i] * list(pairwise(rows[i])).count(pair) for i in where[pair])
        if n < -bound:
            heappush(heap, (-n, pair))
            continue
        merges.append(pair)
        new = chr(255 + len(merges))
        for i in where.pop(pair):
            rows[i] = rows[i].replace(''.join(pair), new)
            for born in pairwise(rows[i]):
                if new in born:
                    if born not in where:
                        heappush(heap, (-n, born))
                    where[born].add(i)
    return merges


class BPETokenizer:
    """Ids: 0-255 the bytes, then one for each merge in the order learnt, then EOT."""

    def __init__(self, merges=()):
        self.merges, self.vocab = {}, {i: bytes([i]) for i in range(256)}
        for new, (a, b) in enumerate(merges, 256):
            token = self.vocab.get(ord(a), b'') + self.vocab.get(ord(b), b'')
            if max(ord(a), ord(b)) >= new or (a, b) in self.merges or len(token) > LONGEST:
                raise ValueError(f'merge {new} = {ord(a)} + {ord(b)}: needs a new pair of ids '
                                 f'below {new}, {LONGEST} bytes at most; train again')
            self.merges[a, b] = chr(new)                        # ('u', 'g') -> chr(256)
            self.vocab[new] = token                             # 256 -> b'ug'
        self.end, self.vocab_size = len(self.vocab), len(self.vocab) + 1
        self.vocab[self.end] = EOT.encode()
        self.beat = 1                             # text has none: every id is like the other
        self.cache = {}                                         # chunk -> its ids

    @classmethod
    def train(cls, texts, vocab_size: int):
        """From an iterable of str or bytes, read once; memory holds the distinct chunks only."""
        if vocab_size < 257:
            raise ValueError(f'vocab_size {vocab_size}: give at least 257, for all bytes and EOT')
        chunks = Counter()
        for text in [texts] if isinstance(texts, (str, bytes)) else texts:
            chunks.update(cut(text))
        tokenizer = cls(learn_merges(chunks, vocab_size - 257))
        if tokenizer.vocab_size < vocab_size:
            print(f'{tokenizer.vocab_size} tokens are enough: no pair is left that occurs twice')
        return tokenizer

    def merge_steps(self, chunk: str):
        """Yield the row of a chunk: its bytes, then what each merge makes of it, oldest first."""
        yield (row := as_row(chunk))
        while found := {self.merges[pair]: pair for pair in pairwise(row) if pair in self.merges}:
            new = min(found)
            yield (row := row.replace(''.join(found[new]), new))

    def encode(self, text: str | bytes, special: bool = False) -> list[int]:
        """EOT in a text is mere text, unless `special` is set."""
        ids, end = [], EOT if isinstance(text, str) else EOT.encode()
        for n, part in enumerate(text.split(end) if special else [text]):
            ids += [self.end] if n else []
            for chunk in cut(part):
                if chunk not in self.cache:
                    *_, row = self.merge_steps(chunk)
                    self.cache[chunk] = list(map(ord, row))
                ids += self.cache[chunk]
        if len(self.cache) > 1 << 16:               # it has a bound, and no book-keeping
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

    def count_units(self, ids) -> int:
        """Bytes of text; EOT has none."""
        return len(self.decode_bytes(i for i in ids if i != self.end))

    def augment_table(self) -> list[list[int]]:
        return [list(range(self.vocab_size))]   # text is not transposed: the identity alone

    def clock_table(self) -> list[int]:
        return [1] * self.vocab_size            # the clock of a text counts ids

    def keys_table(self) -> list[list[int]]:
        return [[]] * self.vocab_size           # and no id turns a switch: (V, 0)

    def show(self, row: str) -> str:
        r"""For the eye: chr(104) + chr(256) -> "'h' 'ug'", half a character -> "'\\xc3'"."""
        return ' '.join(repr(self.vocab[ord(c)].decode('utf-8', 'backslashreplace')) for c in row)

    def explain(self, text: str | bytes) -> str:
        """The work of `encode`: each chunk, its bytes, the row after every merge, its ids."""
        lines = []
        for chunk in cut(text):
            rows = ['    ' + self.show(row) for row in self.merge_steps(chunk)]
            start, end = chunk.encode(*UTF8).hex(' '), self.encode(chunk)
            lines += [f'{chunk!r}: bytes {start}', *rows, f'    ids {end}']
        return '\n'.join(lines)

    def to_dict(self) -> dict:
        """Plain JSON values; a merge reads "256 = 117 + 103 'ug'"."""
        merges = [f'{ord(new)} = {ord(a)} + {ord(b)} {self.show(new)}'
                  for (a, b), new in self.merges.items()]
        return {'kind': 'bpe', 'version': 1, 'pattern': PATTERN,
                'special_tokens': {EOT: self.end}, 'merges': merges}

    @classmethod
    def from_dict(cls, d: dict):
        """The same tokenizer again; ValueError, in one line, for what `to_dict` would not give."""
        rows = regex.findall(r' = (\d{1,6}) \+ (\d{1,6}) ', str(dict(d).get('merges')))
        tokenizer = cls([(chr(int(a)), chr(int(b))) for a, b in rows])
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
            raise ValueError(f'{path}: {error!r:.200}; make it with prepare.py or save') from None


@dataclass
class Config(Settings):
    text: str = setting(help='the text to take apart')
    dataset: str = setting('', 'by the tokenizer of this corpus in data/; else by one learned on '
                           'this file')


def main(config: Config):
    meta = Path(__file__).parent / 'data' / config.dataset / 'meta.json'
    tokenizer = (BPETokenizer.load(meta) if config.dataset else
                 BPETokenizer.train(Path(__file__).read_text('utf-8'), 512))
    print(tokenizer.explain(config.text))


if __name__ == '__main__':
    run(main, Config)
