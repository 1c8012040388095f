"""What a piece shares with the training pieces: runs of notes, or of words.

A run of notes is found whatever its key, for it is read as moves from each note to the next: the
time between them and the interval. Notes that start together go from the lowest up, here and in
the training pieces, so that a chord reads the same wherever it stands. What this does not find:
one voice of a piece under other voices, and a piece at another speed.
"""

import re
from bisect import bisect
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lib.corpus import load_trained_on
from lib.score import Score, find_bars
from lib.tokenizer import Tokenizer

RUN = 8                  # notes (or words) in a row that a run has at least
DIFFERENT = 4            # different intervals (or words) that they have at least
LONGEST_PERIOD = 64      # notes (or words) in what is played again at once, at most
RECITED = 16             # notes in a row that are recited, or more if held-out pieces share as many
RECITED_WORDS = 12       # words. (Held-out Bach shares no more than 12 notes, Shakespeare 9 words.)
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)      # 2 ** 64 by the golden ratio (Knuth): for hashes


def hash_windows(codes: np.ndarray, length: int) -> np.ndarray:
    """(N,) whole numbers -> (N - length + 1,): 64 bits for every `length` in a row, the same for
    the same numbers and, as good as always, other bits for others."""
    hashes = np.zeros(max(0, len(codes) - length + 1), np.uint64)
    for place in range(length):
        code = codes[place:place + len(hashes)].astype(np.uint64)
        hashes = (hashes + code + np.uint64(1)) * MULTIPLIER
    return hashes


class Row(NamedTuple):
    """A piece as whole numbers, where what is alike has the same: its moves from each of N notes to
    the next, or its N words."""
    codes: np.ndarray        # (N - 1,) of music, (N,) of text
    kinds: np.ndarray        # as many: the intervals of the moves; the words again
    bars: np.ndarray         # (N,) the bar of each note, the line of each word, from 1


@dataclass
class Origin:
    """What a piece shares with the training pieces. A unit is a note of music, a word of text."""
    shares: dict[int, float]     # units -> share of all windows of so many that are found
    longest: int                 # units of the longest run, what repeats itself counted once
    source: str                  # the training piece that has it, '' if there is no run
    source_number: int           # ... and its place among the training pieces, from 0
    source_bar: int              # the bar in which it begins there, from 1; of text, the line
    source_last_bar: int         # ... and in which it ends
    bar: int                     # the same here
    last_bar: int
    copied: list                 # music: for each of score.notes, whether it is in a run of `least`
                                 # units or more; text: (from, to), stretches of characters


def bars_at(score: Score, steps: np.ndarray) -> np.ndarray:
    """(N,) steps of a piece -> (N,) the bars they are in, from 1."""
    starts = [bar.start for bar in find_bars(score)]
    return np.searchsorted(starts, steps, side='right')


def spell(score: Score) -> Row:
    """Music as its moves."""
    notes = np.array([note[:2] for note in sorted(score.notes)], int).reshape(-1, 2)
    times, intervals = np.diff(notes, axis=0).T
    return Row(256 * times + intervals + 128, intervals, bars_at(score, notes[:, 0]))


def find_words(text: str):
    """An iterator over the matches of all words, such as: it's."""
    return re.finditer(r"\w+(?:['’]\w+)*", text)


def spell_text(text: str, numbers: dict[str, int]) -> Row:
    """Text as its words, whose numbers are given; one without a number is like no other: -2."""
    codes, starts = [], []
    for word in find_words(text):
        codes.append(numbers.get(word.group().lower(), -2))
        starts.append(word.start())
    line_ends = [line_end.start() for line_end in re.finditer('\n', text)]
    lines = 1 + np.searchsorted(line_ends, starts)
    codes = np.array(codes, int)
    return Row(codes, codes, lines)


class Index:
    """Where each window of 8 notes (and of 12) stands in the training pieces, or of 8 words.

    `codes` holds one piece after the other, with a -1 around each, which no piece has: a run ends
    there. `between` is 1 for music, where 8 notes have 7 moves between them, and 0 for text.
    """

    def __init__(self, names: list[str], rows: list[Row], windows: tuple, between: int,
                 numbers: dict[str, int] | None = None):
        self.names, self.rows, self.between = names, rows, between
        self.numbers = numbers                   # of text: word -> its number
        self.begins, parts = [], [[-1]]
        begin = 1
        for row in rows:
            self.begins.append(begin)
            parts += [row.codes, [-1]]
            begin += len(row.codes) + 1
        self.codes = np.concatenate(parts)
        self.windows = {}                        # units -> their hashes, sorted, and their places
        for units in windows:
            hashes = hash_windows(self.codes, units - between)
            places = np.argsort(hashes, kind='stable')
            self.windows[units] = hashes[places], places

    def find(self, row: Row, units: int) -> list[np.ndarray]:
        """The places in `codes` of each window of `units` of the row."""
        hashes, places = self.windows[units]
        wanted = hash_windows(row.codes, units - self.between)
        firsts = np.searchsorted(hashes, wanted)
        pasts = np.searchsorted(hashes, wanted, 'right')
        return [places[first:past] for first, past in zip(firsts, pasts)]

    def where(self, place: int) -> tuple[int, int]:
        """A place in `codes` -> the number of the piece, from 0, and the bar (or line)."""
        number = bisect(self.begins, place) - 1
        return number, int(self.rows[number].bars[place - self.begins[number]])

    def find_runs(self, row: Row, telling: np.ndarray) -> list[tuple[int, int, int]]:
        """(place in the row, place in `codes`, codes) of every run: a window of 8 that is among the
        `telling` and is found, with all that is the same before and after it."""
        runs, compared = [], {}                  # compared: up to where, for each distance
        places = self.find(row, RUN)
        for seed in np.flatnonzero(telling):
            for place in places[seed]:
                apart = place - seed
                if compared.get(apart, 0) > seed:
                    continue                     # this window is in a run that is known
                begin = end = int(seed)
                while begin > 0 and row.codes[begin - 1] == self.codes[begin - 1 + apart]:
                    begin -= 1
                while end < len(row.codes) and row.codes[end] == self.codes[end + apart]:
                    end += 1
                compared[apart] = end
                runs.append((begin, begin + int(apart), end - begin))
        return runs


def find_fresh(codes: np.ndarray) -> np.ndarray:
    """(N,) False for a code in a stretch that is what stood one period earlier, and as long as that
    period, four codes at least: a trill, a broken chord over and over, a bar played twice. True
    the first time."""
    fresh = np.ones(len(codes), bool)
    for period in range(1, min(LONGEST_PERIOD, len(codes) // 2) + 1):
        same = codes[period:] == codes[:-period]
        stretch = max(period, 4)                 # two whole tones up are no repetition yet
        in_a_row = np.concatenate(([0], np.cumsum(same)))
        full = in_a_row[stretch:] - in_a_row[:-stretch] == stretch
        for begin in np.flatnonzero(full) + period:
            fresh[begin:begin + stretch] = False
    return fresh


def is_telling(row: Row, fresh: np.ndarray, length: int) -> np.ndarray:
    """(N - length + 1,) whether it tells anything that a window of `length` codes is found: it has
    four different intervals (or words), and more than half of it is fresh. A scale, a trill and a
    broken chord over and over are nobody's."""
    if len(row.codes) < length:
        return np.zeros(0, bool)
    kinds = np.sort(sliding_window_view(row.kinds, length), axis=1)
    different = 1 + np.count_nonzero(np.diff(kinds, axis=1), axis=1)
    new = np.count_nonzero(sliding_window_view(fresh, length), axis=1)
    return (different >= DIFFERENT) & (2 * new > length)


def trace(row: Row, index: Index, least: int) -> Origin:
    """What the row shares with the index; `copied` (N,) is of its notes or words."""
    fresh = find_fresh(row.codes)
    shares = {}
    for units in index.windows:
        counts = is_telling(row, fresh, units - index.between)
        found = np.array([len(places) > 0 for places in index.find(row, units)], bool)
        shares[units] = float(np.mean(found & counts)) if len(counts) else 0.0
    origin = Origin(shares, 0, '', 0, 0, 0, 0, 0, np.zeros(len(row.bars), bool))
    for begin, place, length in index.find_runs(row, is_telling(row, fresh, RUN - index.between)):
        units = int(np.count_nonzero(fresh[begin:begin + length])) + index.between
        if units >= least:
            origin.copied[begin:begin + length + index.between] = True
        if units > origin.longest:
            origin.longest = units
            last = length + index.between - 1    # the run's last note or word, from its first on
            origin.source_number, origin.source_bar = index.where(place)
            origin.source = index.names[origin.source_number]
            origin.source_last_bar = index.where(place + last)[1]
            origin.bar, origin.last_bar = int(row.bars[begin]), int(row.bars[begin + last])
    return origin


def index_of(pieces: list[tuple[str, Score]]) -> Index:
    """The training pieces and their names, made ready for `originality`."""
    names = [name for name, _ in pieces]
    return Index(names, [spell(score) for _, score in pieces], (8, 12), between=1)


def originality(score: Score, index: Index, least: int = RECITED) -> Origin:
    """What a piece shares with the training pieces. A run of `least` notes or more is copied."""
    origin = trace(spell(score), index, least)
    in_order = sorted(range(len(score.notes)), key=lambda number: score.notes[number])
    copied = [False] * len(score.notes)
    for number, is_copied in zip(in_order, origin.copied.tolist()):
        copied[number] = is_copied
    origin.copied = copied
    return origin


def index_of_text(text: str | list[tuple[str, str]]) -> Index:
    """The same of a text, or of several and their names."""
    texts = [('', text)] if isinstance(text, str) else text
    numbers = {}
    for _, text in texts:
        for word in find_words(text):
            numbers.setdefault(word.group().lower(), len(numbers))
    rows = [spell_text(text, numbers) for _, text in texts]
    return Index([name for name, _ in texts], rows, (8,), between=0, numbers=numbers)


def originality_of_text(text: str, index: Index, least: int = RECITED_WORDS) -> Origin:
    """The same of a text: runs of words, whatever stands between them, capital letters or not."""
    origin = trace(spell_text(text, index.numbers), index, least)
    stretches = []
    copied = [False, *origin.copied.tolist()]
    for number, word in enumerate(find_words(text), 1):
        if copied[number] and copied[number - 1]:
            stretches[-1] = (stretches[-1][0], word.end())
        elif copied[number]:
            stretches.append(word.span())
    origin.copied = stretches
    return origin


@dataclass
class Learned:
    """What a model has learned from, to look up what it composes; nothing, if it is not here."""
    pieces: dict[str, list]      # 'train' and 'val' -> [(name, Score or text)]
    index: Index | None = None   # of the training pieces
    recites_from: int = 0        # units that a run from them has at least if it is recited


NOTHING = Learned({'train': [], 'val': []})


def load_learned(checkpoint: dict, tokenizer: Tokenizer) -> Learned:
    """What the model of a checkpoint has learned from. If it is not here, a line says why."""
    try:
        pieces = load_trained_on(checkpoint, tokenizer)
    except ValueError as error:
        print(f'what is copied is not shown: {error}')
        return NOTHING
    index, recites_from, _ = index_training(pieces, tokenizer.is_music)
    return Learned(pieces, index, recites_from)


def index_training(pieces: dict, music: bool) -> tuple[Index, int, list[Origin]]:
    """The training pieces, ready to look up samples; from how many notes (or words) on a run is
    recited: it is longer than any of the held-out pieces', and than any that Bach (or Shakespeare)
    shares with himself by chance; and what the held-out pieces share."""
    index = index_of(pieces['train']) if music else index_of_text(pieces['train'])
    look_up = originality if music else originality_of_text
    held_out = [look_up(piece, index) for _, piece in pieces['val']]
    longest = max(origin.longest for origin in held_out)
    return index, max(RECITED if music else RECITED_WORDS, longest + 1), held_out
