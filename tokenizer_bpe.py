"""Text <-> ids: byte-level byte-pair encoding (BPE), by hand.

Every text is a row of bytes, so 256 tokens can spell anything. BPE finds the pair of neighbours
that occurs most often, mints one token for it, puts that in the pair's place and looks again:
't' 'h' -> 'th', 'th' 'e' -> 'the'. Training yields the list of merges, encoding replays it on
any text, oldest merge first, and decoding looks up the bytes of each token. After Gage 1994 (the
algorithm), Sennrich et al. 2016, arXiv:1508.07909 (for language), GPT-2 (bytes for an alphabet;
cut before you merge) and GPT-4 (the pattern). What goes in comes out, byte for byte: it does not
normalise, pad, or add a special token unasked. `python tokenizer_bpe.py "some text"` shows how.
"""
import argparse
import codecs
import json
import sys
from collections import Counter, defaultdict
from heapq import heappop, heappush
from itertools import pairwise
from pathlib import Path

import regex

EOT = '<|endoftext|>'  # ends a document

# Text is first cut into chunks, and no token reaches across a cut; else 'dog.', 'dog!' and 'dog?'
# would each claim a place in the vocabulary. The first clause that matches wins. Each takes about
# 32 characters at most: thus the work grows with the text, even on a line without a blank.
PATTERN = '|'.join((
    r"'(?i:[sdmt]|ll|ve|re)",                # what English hangs on a word: it's, I'LL, they've
    r'[^\r\n\p{L}\p{N}]?\p{L}{1,32}',        # a word, any script, and the blank or mark before it
    r'\p{N}{1,3}',                           # few digits: no token for every year and price
    r' ?[^\s\p{L}\p{N}]{1,32}[\r\n]{0,32}',  # marks, and the line ends after them: ' --', '.\n'
    r'\s{0,32}[\r\n]',                       # blanks, up to the last line end among them
    r'\s{1,32}(?!\S)',                       # blanks but the last, which goes with a word
    r'\s',                                   # the blank that is left, before a digit
))


def as_text(data: str | bytes) -> str:
    r"""A byte that is not UTF-8 becomes a lone surrogate (PEP 383): b'a\xff' -> 'a\udcff'."""
    return data if isinstance(data, str) else data.decode('utf-8', 'surrogateescape')


def as_ids(chunk: str) -> list:
    r"""Its bytes, those of lone surrogates too: 'a\udcff' -> [97, 255]."""
    return list(chunk.encode('utf-8', 'surrogateescape'))


def merge(ids: list, pair: tuple, new: int) -> list:
    """[1, 2, 3, 1, 2], (1, 2), 9 -> [9, 3, 9], from the left: [1, 1, 1], (1, 1), 9 -> [9, 1]."""
    (a, b), out = pair, []
    for i in ids:
        if i == b and out and out[-1] == a:
            out[-1] = new
        else:
            out.append(i)
    return out


def learn_merges(chunks: Counter, n_merges: int) -> list:
    """{'hug': 3, 'pug': 2}, 2 -> [(117, 103), (104, 256)]: 'ug' occurs 5 times, then 'hug' 3.

    The most frequent pair goes first; of equals, the smallest pair of ids. Stops at a pair that
    occurs once: merging that would learn the text by heart."""
    words = [(as_ids(chunk), count) for chunk, count in chunks.items()]
    counts, where = Counter(), defaultdict(set)     # of each pair: how often, in which words
    for w, (ids, n) in enumerate(words):
        for pair in pairwise(ids):
            counts[pair] += n
            where[pair].add(w)
    heap = sorted((-count, pair) for pair, count in counts.items())     # smallest first: a heap
    merges = []
    while heap and len(merges) < n_merges and heap[0][0] < -1:
        count, pair = heappop(heap)
        if -count != counts[pair]:                  # has fallen since: back with what is left
            heappush(heap, (-counts[pair], pair))
            continue
        new, born = 256 + len(merges), set()
        merges.append(pair)
        for w in where.pop(pair):                   # only these words change, and their pairs
            ids, n = words[w]
            words[w] = merge(ids, pair, new), n
            for old in pairwise(ids):
                counts[old] -= n
            for p in pairwise(words[w][0]):
                counts[p] += n
                if new in p:
                    where[p].add(w)
                    born.add(p)
        for p in born:                              # no other pair has risen
            heappush(heap, (-counts[p], p))
    return merges


class BPETokenizer:
    """Ids: 0-255 the bytes, then one for each merge in the order learnt, then the specials."""

    def __init__(self, merges, pattern=PATTERN, specials=()):
        self.merges = {pair: new for new, pair in enumerate(merges, 256)}   # (117, 103) -> 256
        self.vocab = {i: bytes([i]) for i in range(256)}                    # 256 -> b'ug'
        for (a, b), new in self.merges.items():
            self.vocab[new] = self.vocab[a] + self.vocab[b]
        names = dict.fromkeys((EOT, *specials))                             # each once, EOT first
        self.specials = {name: i for i, name in enumerate(names, len(self.vocab))}
        self.vocab |= {i: name.encode() for name, i in self.specials.items()}
        self.vocab_size, self.eot = len(self.vocab), self.specials[EOT]
        self.pattern, self.cache = pattern, {}                              # chunk -> its ids
        self.splitter = regex.compile('(?:' + pattern + ')|(?s:.)')   # and so no text is lost
        if self.splitter.groups:
            raise ValueError(f'pattern {pattern!r:.60} has (...): write (?:...) instead')

    @classmethod
    def train(cls, texts, vocab_size, pattern=PATTERN, specials=()):
        """From a text or an iterable of texts, read once; memory holds the distinct chunks only."""
        blank, chunks = cls([], pattern, specials), Counter()
        if vocab_size < blank.vocab_size:
            raise ValueError(f'vocab_size {vocab_size}: give at least {blank.vocab_size}')
        for text in [texts] if isinstance(texts, (str, bytes)) else texts:
            chunks.update(blank.splitter.findall(as_text(text)))
        tokenizer = cls(learn_merges(chunks, vocab_size - blank.vocab_size), pattern, specials)
        if tokenizer.vocab_size < vocab_size:
            print(f'vocabulary: {tokenizer.vocab_size} of {vocab_size}, no pair left occurs twice')
        return tokenizer

    def merge_steps(self, chunk: str):
        """Yields the ids of a chunk: its bytes, then the row after every merge, oldest first."""
        ids = as_ids(chunk)
        yield ids
        while found := [pair for pair in pairwise(ids) if pair in self.merges]:
            pair = min(found, key=self.merges.get)
            ids = merge(ids, pair, self.merges[pair])
            yield ids

    def encode_chunk(self, chunk: str) -> list:
        *_, ids = self.merge_steps(chunk)
        if len(self.cache) >= 1 << 16:          # the cache has a bound, and no book-keeping
            self.cache.clear()
        self.cache[chunk] = ids
        return ids

    def encode(self, text: str | bytes, special: bool = False) -> list[int]:
        """The name of a special token in a text is mere text, unless `special` is set."""
        ids, names = [], '|'.join(map(regex.escape, self.specials))
        parts = regex.split(f'(?p)({names})', as_text(text)) if special else [as_text(text)]
        for n, part in enumerate(parts):        # text, name, text, ..., name, text
            if n % 2:
                ids.append(self.specials[part])
            else:
                for chunk in self.splitter.findall(part):
                    ids += self.cache.get(chunk) or self.encode_chunk(chunk)
        return ids

    def decode_bytes(self, ids) -> bytes:
        """The exact bytes. ValueError at an id that is not in the vocabulary."""
        try:
            return b''.join([self.vocab[i] for i in ids])
        except KeyError as error:
            raise ValueError(f'id {error}: this vocabulary ends at {self.vocab_size - 1}; '
                             'decode with the tokenizer that encoded') from None

    def decode(self, ids) -> str:
        """The text, with U+FFFD where the bytes are not UTF-8."""
        return self.decode_bytes(ids).decode('utf-8', 'replace')

    def stream(self, ids):
        """Yields text as ids come in; holds half a character back until the rest is there."""
        decoder = codecs.getincrementaldecoder('utf-8')('replace')
        yield from filter(None, (decoder.decode(self.decode_bytes([i])) for i in ids))
        yield decoder.decode(b'', final=True)

    def count_units(self, ids) -> int:
        """Bytes of text; a special token has none."""
        return len(self.decode_bytes(i for i in ids if i not in self.specials.values()))

    def augment_table(self) -> list:
        return [list(range(self.vocab_size))]   # text is not transposed: the identity alone

    def grammar(self) -> None:
        """Any token may follow any token."""

    def show(self, i: int) -> str:
        r"""For the eye: 256 -> "'ug'", and half a character -> "'\\xc3'"."""
        return repr(self.vocab[i].decode('utf-8', 'backslashreplace'))

    def explain(self, text: str | bytes) -> str:
        """The work of `encode`: each chunk, its bytes, the row after every merge, its ids."""
        lines = []
        for chunk in self.splitter.findall(as_text(text)):
            steps = list(self.merge_steps(chunk))
            rows = ['    ' + ' '.join(map(self.show, ids)) for ids in steps]
            lines += [f'{chunk!r}: bytes {bytes(steps[0]).hex(" ")}', *rows, f'    ids {steps[-1]}']
        return '\n'.join(lines)

    def to_dict(self) -> dict:
        """Plain JSON values; a merge reads "256 = 117 + 103 'ug'"."""
        merges = [f'{new} = {a} + {b} {self.show(new)}' for (a, b), new in self.merges.items()]
        return {'kind': 'bpe', 'version': 1, 'pattern': self.pattern,
                'special_tokens': self.specials, 'merges': merges}

    @classmethod
    def from_dict(cls, d: dict):
        """The same tokenizer again; ValueError for anything that `to_dict` would not write."""
        try:
            if (d['kind'], d['version']) != ('bpe', 1):
                raise ValueError(f"is {d['kind']!r:.9} version {d['version']!r:.9}, not 'bpe' 1")
            pairs = [tuple(map(int, row.split()[2:5:2])) for row in d['merges']]
            specials = d['special_tokens']
            tokenizer = cls(pairs, d['pattern'], sorted(specials, key=specials.get))
        except (KeyError, TypeError, AttributeError, regex.error) as error:
            raise ValueError(f'not a whole BPE tokenizer: {error!r:.60}') from None
        if d != (due := tokenizer.to_dict()):
            odd = [pair for pair in zip(d['merges'], due['merges']) if pair[0] != pair[1]]
            raise ValueError(f'found merge {odd[0][0]!r:.60} where {odd[0][1]!r:.60} is due' if odd
                             else 'keys, merges or special tokens are missing or repeated')
        return tokenizer

    def save(self, path):
        """One JSON file, open to any reader: a line for each merge."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False)
        Path(path).write_text(text, encoding='utf-8')

    @classmethod
    def load(cls, path):
        """What `save` wrote; ValueError, one line on what is wrong, for any other file."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding='utf-8')))
        except (ValueError, RecursionError) as error:
            raise ValueError(f'{path}: {error}; train it again or copy it anew') from None


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Shows how a text becomes ids, merge by merge.')
    parser.add_argument('text')
    parser.add_argument('--dataset', help='use its tokenizer; else one is trained on this file')
    args, here = parser.parse_args(), Path(__file__)
    sys.stdout.reconfigure(errors='backslashreplace')      # any terminal can show any text
    try:
        if not args.dataset:
            tokenizer = BPETokenizer.train(here.read_text('utf-8'), 512)
        else:
            meta = json.loads((here.parent / f'data/{args.dataset}/meta.json').read_text('utf-8'))
            tokenizer = BPETokenizer.from_dict(meta['tokenizer'])
    except (OSError, KeyError, TypeError, ValueError) as error:
        sys.exit(f'--dataset={args.dataset}: {error}; make it with python prepare.py')
    print(tokenizer.explain(args.text))
