"""How good is a model, and does it compose or recite: python evaluate.py --out_dir=out-goldberg

The model is judged by the bits that held-out pieces cost it (a note of music, a byte of text), and
by what they are spent on. An n-gram, which only counts, stands beside it.

Its samples of music are judged by the *grade*, which compares habits: in windows of 250 notes it
counts how long notes are, how many keys are down, how far apart and so on (eight histograms), and
measures how far the samples' mean lies from that of the training pieces. Beside them stand

    held-out    pieces that the model never saw: as near as music of this style comes
    shuffled    the same pieces, their pitches shuffled among the notes: the grade 1.0
    n-gram      pieces that the n-gram drew

A grade says nothing of form, nor of copying: a piece learned by heart has an excellent grade. So
all samples, text too, are looked up in the training pieces: what they share with them, and whether
that is more than held-out pieces share. Then they recite, and the source is named.
"""

import glob
import json
import math
import re
from bisect import bisect
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import synth
from config.settings import Settings, run, setting
from data.corpus import check_corpora, load_corpora
from model import load
from page import Excerpt, Pair, write_quiz
from prepare import files
from tokenizer_bpe import BPETokenizer
from data.score import STEPS, WHOLE, Note, Score, bars_of, find_bars, read_midi
from tokenizer_midi import MidiTokenizer
from train import validation_losses

WINDOW = 250             # notes in a window
SHORTEST = 100           # notes that a piece must have to be a (shorter) window by itself
COMPARED = 6             # windows compared at a time, at most: three samples have as many
DRAWS = 15               # draws of that many windows; the median of their distances counts
SEED = 1                 # of all that is drawn here: same pieces, same figures
LONG = 3 * WHOLE // 2    # steps; a note that lasts longer was probably forgotten

ORDERS = 6               # n-grams of 1 to this many ids are tried
COUNTED = 8_000_000      # ids that they are counted on at most, all transpositions together
NGRAM_PIECES = 16        # pieces that the best of them draws
NGRAM_IDS = 1200         # ids in each: some 400 notes

SHOWN = 30               # held-out pieces of a corpus that the table shows; evaluate.json has all

RUN = 8                  # notes (or words) in a row that a run has at least
DIFFERENT = 4            # different intervals (or words) that they have at least
LONGEST_PERIOD = 64      # notes (or words) in what is played again at once, at most
RECITED = 16             # notes in a row that are recited, or more if held-out pieces share as many
RECITED_WORDS = 12       # words. (Held-out Bach shares no more than 12 notes, Shakespeare 9 words.)

# How often the 12 degrees of a major and a minor key occur, from the tonic upwards (Albrecht and
# Shanahan 2013). The profiles have mean 0 and spread 1: the largest product correlates best.
DEGREES = np.array([[.238, .006, .111, .006, .137, .094, .016, .214, .009, .080, .008, .081],
                    [.220, .006, .104, .123, .019, .103, .012, .214, .062, .022, .061, .052]])
PROFILES = (DEGREES - DEGREES.mean(axis=1, keepdims=True)) / DEGREES.std(axis=1, keepdims=True)

QUIZ_PAIRS = 10          # pairs of excerpts in "Bach or machine?"
QUIZ_BARS = 8            # bars in an excerpt
QUIZ_NOTES = 24          # notes that it has at least
QUIZ_TEMPO = 80          # quarters a minute, for both sides

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)      # 2 ** 64 by the golden ratio (Knuth): for hashes


@dataclass
class Config(Settings):
    out_dir: str = setting('out', 'folder of the checkpoint; evaluate.json goes there, too')
    samples: str = setting('', 'folder or pattern of files, else out_dir/sample-*.mid or .txt')
    dataset: str = setting('', 'corpora to compare with, else those of the checkpoint; with samples '
                           'and dataset both given, no checkpoint is read')
    checkpoint: str = setting('ckpt.pt', 'or last.pt')
    quiz: bool = setting(False, 'make a page instead, quiz.html: "Bach or machine?"')


# ---- the model: bits on what is held out

def held_out_bits(model, corpus: dict, context: int) -> np.ndarray:
    """(N,) bits of each held-out id given those before it, as validation scores them. The first id,
    before which there is nothing, is given: 0 bits. `corpus` is what load_corpus returns."""
    bits = [np.zeros(1)]
    for _, losses in validation_losses(model, corpus, context):
        bits.append(losses.cpu().numpy() / math.log(2))
    return np.concatenate(bits)


def surprise(model, ids: list[int], end: int) -> list[float]:
    """Bits of each id of one piece given all before it; 0 for the first, which is given. `end` is
    the id that ends a piece. The windows are those of validation: half a context before each id
    at least, or all that there is."""
    if len(ids) < 2:
        return [0.0] * len(ids)
    context = min(model.config.context, len(ids) - 1)
    piece = {'val': np.array(ids), 'end': end}
    return held_out_bits(model, piece, context).tolist()


def note_bits(tokenizer: MidiTokenizer, ids: list[int], bits: list[float]) -> list[float]:
    """Bits of each note, in the order of decode(ids).notes: those of its `on`, that is, of its
    pitch when all is known that came before. What it costs to wait for it and to let it go is
    left out: the first is shared by the notes of a chord, the second comes later."""
    notes, now = [], 0
    for id, cost in zip(ids, bits):
        kind, value = tokenizer.words[id]
        if kind == 'shift':
            now += value
        elif kind == 'on':
            notes.append((now, value, cost))
        elif kind == 'end':
            break
    notes.sort(key=lambda note: note[:2])           # of two alike, the first let go stays first
    return [cost for _, _, cost in notes]


def spend(tokenizer, ids: np.ndarray, bits: np.ndarray, units: int) -> dict[str, float]:
    """Bits a note of music, by what they are spent on: `what` (which key is pressed), `how long`
    (which key is let go) and `when` (how long to wait, and the few words between); their sum is
    train.py's figure. Of text, `all` bits a byte."""
    if not isinstance(tokenizer, MidiTokenizer):
        return {'all': float(bits.sum()) / units}
    questions = {'on': 'what', 'off': 'how long'}
    spent = {'what': 0.0, 'when': 0.0, 'how long': 0.0}
    for id, cost in zip(ids.tolist(), bits.tolist()):
        kind, _ = tokenizer.words[id]
        spent[questions.get(kind, 'when')] += cost
    return {question: total / units for question, total in spent.items()}


def bits_by_kind(model, corpus: dict, tokenizer) -> dict[str, float]:
    """Held-out bits a unit of a whole corpus, as `spend` splits them."""
    bits = held_out_bits(model, corpus, model.config.context)
    return spend(tokenizer, corpus['val'], bits, corpus['units']['val'])


def bits_by_piece(corpus: dict, tokenizer, bits: np.ndarray) -> dict[str, dict]:
    """Name -> bits a unit of each held-out piece, as `spend` splits them; `bits` (N,) are those of
    all held-out ids."""
    ids = np.array(corpus['val'])
    found, begin = {}, 0
    ends = np.flatnonzero(ids == corpus['end'])
    for piece, end in zip(corpus['pieces']['val'], ends, strict=True):
        mine = slice(begin, end + 1)
        found[piece['name']] = spend(tokenizer, ids[mine], bits[mine], piece['units'])
        begin = end + 1
    return found


# ---- the n-gram: what counting alone can know

def hash_windows(codes: np.ndarray, length: int) -> np.ndarray:
    """(N,) whole numbers -> (N - length + 1,): 64 bits for every `length` in a row, the same for
    the same numbers and, as good as always, other bits for others."""
    hashes = np.zeros(max(0, len(codes) - length + 1), np.uint64)
    for place in range(length):
        code = codes[place:place + len(hashes)].astype(np.uint64)
        hashes = (hashes + code + np.uint64(1)) * MULTIPLIER
    return hashes


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


def judge_ngram(ngram: NGram, corpora: list[dict], tokenizer) -> dict:
    """The bits that the best order spends on each corpus, as `spend` splits them. That order is
    chosen on the held-out pieces themselves: a little favour, which the model does not get."""
    costs, bits = 0, {}
    for corpus in corpora:
        bits[corpus['name']] = ngram.bits(np.array(corpus['val']))
        bits[corpus['name']][:, 0] = 0                      # the first id is given
        costs += bits[corpus['name']].sum(axis=1) / corpus['units']['val']
    best = int(np.argmin(costs))
    spent = {}
    for corpus in corpora:
        mine = bits[corpus['name']][best]
        spent[corpus['name']] = spend(tokenizer, corpus['val'], mine, corpus['units']['val'])
    return {'order': best + 1, 'bits': spent}


def draw_ngram(ngram: NGram, order: int, tokenizer: MidiTokenizer) -> list:
    """Pieces that the n-gram draws, (name, Score), of NGRAM_IDS ids each; none ends before."""
    generator = np.random.default_rng(SEED)
    pieces = []
    for number in range(1, NGRAM_PIECES + 1):
        ids = [tokenizer.ids['begin', 0]]
        while len(ids) < NGRAM_IDS:
            chances = ngram.chances(ids[-order:], order)
            chances[tokenizer.end] = 0
            ids.append(int(generator.choice(len(chances), p=chances / chances.sum())))
        pieces.append((f'n-gram {number}', tokenizer.decode(ids)))
    return pieces


# ---- windows and their histograms

def cut(scores: list[Score]) -> list[np.ndarray]:
    """Windows (WINDOW, 3) of start, pitch and duration that follow one another; the rest of a piece
    is left out. A piece too short for one is a shorter window (N, 3), if it has SHORTEST notes."""
    windows = []
    for score in scores:
        notes = np.array([note[:3] for note in sorted(score.notes)])
        if SHORTEST <= len(notes) < WINDOW:
            windows.append(notes)
        for start in range(0, len(notes) - WINDOW + 1, WINDOW):
            windows.append(notes[start:start + WINDOW])
    return windows


def shuffle_pitches(scores: list[Score]) -> list[Score]:
    """Each piece with its own pitches and its own rhythm, but other pitches on other notes."""
    generator = np.random.default_rng(SEED)
    shuffled = []
    for score in scores:
        pitches = generator.permutation([note.pitch for note in score.notes])
        pairs = zip(score.notes, pitches.tolist())
        shuffled.append(Score([note._replace(pitch=pitch) for note, pitch in pairs]))
    return shuffled


def keys_down(window: np.ndarray, onsets: np.ndarray) -> np.ndarray:
    """(onsets, 128), True where a key is down. One let go at an onset is no longer down."""
    starts, pitches, durations = window.T
    first = np.searchsorted(onsets, starts)
    past = np.searchsorted(onsets, starts + durations)
    down = np.zeros((len(onsets), 128), bool)
    for note, pitch in enumerate(pitches):
        down[first[note]:past[note], pitch] = True
    return down


def find_key(pitches: np.ndarray, durations: np.ndarray) -> tuple[int, str]:
    """The tonic, 0 (C) to 11, and the mode of the key whose profile correlates best with how long
    each of the 12 pitch classes sounds (the method of Krumhansl and Schmuckler)."""
    heard = np.bincount(pitches % 12, weights=durations, minlength=12)
    fits = {}
    for tonic in range(12):
        degrees = np.roll(heard, -tonic)                        # of a key on this tonic
        for mode, fit in zip(('major', 'minor'), PROFILES @ degrees):
            fits[tonic, mode] = fit
    return max(fits, key=fits.get)


def histogram(values: np.ndarray, low: int, high: int) -> np.ndarray:
    """Shares (high - low + 2,) of low..high, what lies beyond counted as the nearest of them. The
    last bin is for a window that has nothing to count: no intervals, when no two keys meet."""
    counts = np.bincount(np.clip(values, low, high) - low, minlength=high - low + 2)
    if len(values) == 0:
        counts[-1] = 1
    return counts / counts.sum()


def histograms(window: np.ndarray) -> dict[str, np.ndarray]:
    """The eight histograms of a window (N, 3). Times are in steps, pitches in semitones."""
    starts, pitches, durations = window.T
    onsets, onset = np.unique(starts, return_inverse=True)      # onset: the index of each note's
    down = keys_down(window, onsets)                            # (onsets, 128)
    bass = down.argmax(axis=1)                                  # the lowest key, (onsets,)
    top = 127 - down[:, ::-1].argmax(axis=1)                    # the highest

    # each note, when it starts, against every key that is down; itself, 0 apart, doesn't count
    note, key = np.nonzero(down[onset])
    apart = abs(pitches[note] - key)
    above = pitches - bass[onset]
    melody = pitches[pitches == top[onset]]                     # the notes that start on top
    tonic, _ = find_key(pitches, durations)

    # octaves are folded: a tenth is as consonant as a third
    return {
        'time between onsets': histogram(np.diff(onsets), 1, WHOLE + 1),
        'duration': histogram(durations, 1, LONG + 1),
        'place in the quarter': histogram(onsets % STEPS, 0, STEPS - 1),
        'keys down': histogram(down.sum(axis=1), 1, 10),
        'intervals': histogram(apart[apart > 0] % 12, 0, 11),
        'intervals above the bass': histogram(above[above > 0] % 12, 0, 11),
        'step of the top voice': histogram(np.diff(melody), -12, 12),
        'scale degree': histogram((pitches - tonic) % 12, 0, 11),
    }


# ---- the grade and the plain figures

def measure(side: str, scores: list[Score]) -> dict[str, np.ndarray]:
    """Name -> (windows, bins) of each histogram. Raises ValueError if there is no window."""
    windows = [histograms(window) for window in cut(scores)]
    if not windows:
        raise ValueError(f'{side}: no piece out of {len(scores)} has {SHORTEST} notes, the fewest '
                         'that can be graded: use longer pieces')
    return {name: np.stack([window[name] for window in windows]) for name in windows[0]}


def distance(shares: np.ndarray, goal: np.ndarray, count: int) -> float:
    """Total variation distance, 0 to 1, from the mean of `count` windows of `shares` (windows,
    bins) to the mean histogram `goal` (bins,): the median of DRAWS draws."""
    generator = np.random.default_rng(SEED)
    distances = []
    for _ in range(DRAWS):
        drawn = generator.choice(len(shares), count, replace=False)
        distances.append(abs(shares[drawn].mean(axis=0) - goal).sum() / 2)
    return float(np.median(distances))


def grade(samples: list[Score], train: list[Score], val: list[Score],
          ngram: list[Score] | None = None) -> dict:
    """How near samples lie to the training pieces. `grade` is 1.0 for held-out pieces with their
    pitches shuffled, about 0.5 for the held-out pieces themselves; `grades` has all
    sides (an n-gram's pieces only if they are given), `distances` what they come from. Raises
    ValueError if a side has no piece that is long enough.
    """
    training = measure('training', train)
    sides = {'held-out': measure('held-out', val),
             'shuffled': measure('shuffled', shuffle_pitches(val)),
             'n-gram': measure('n-gram', ngram) if ngram else None,
             'samples': measure('samples', samples)}
    sides = {side: measured for side, measured in sides.items() if measured}
    sizes = {side: len(measured['duration']) for side, measured in sides.items()}
    # the fewer windows, the further their mean lies from any other, by chance alone: so as many
    # are drawn from each side, and no more from thirty samples than from three
    count = min(COMPARED, *sizes.values())
    distances = {}
    ratios = {side: [] for side in sides}
    for name, shares in training.items():
        goal = shares.mean(axis=0)
        row = {side: distance(measured[name], goal, count) for side, measured in sides.items()}
        # less than one note of a window is no difference, and nothing to divide by
        unit = max(row['held-out'], 1 / WINDOW)
        for side in sides:
            ratios[side].append(row[side] / unit)
        distances[name] = row
    scale = np.mean(ratios['shuffled'])
    grades = {side: float(np.mean(ratios[side]) / scale) for side in sides}
    return {'grade': grades['samples'], 'grades': grades, 'distances': distances,
            'windows': sizes, 'compared': count,
            'too_short': sum(len(score.notes) < SHORTEST for score in samples)}


def describe(scores: list[Score]) -> dict:
    """Plain figures of all notes, those of short pieces, too."""
    starts, _, durations, _ = np.concatenate([score.notes for score in scores]).T
    quarters = 0
    for score in scores:
        quarters += max(note.start + note.duration for note in score.notes) / STEPS
    off_grid = (starts % (STEPS // 4) > 0) & (starts % (STEPS // 3) > 0)
    return {'pieces': len(scores), 'notes': len(starts), 'notes a quarter': len(starts) / quarters,
            f'longer than {LONG} steps, %': 100 * float(np.mean(durations > LONG)),
            'off 16ths and triplets, %': 100 * float(np.mean(off_grid))}


# ---- originality: what stands in a training piece, too

# A run of notes is found whatever its key, for it is read as moves from each note to the next: the
# time between them and the interval. Notes that start together go from the lowest up, here and in
# the training pieces, so that a chord reads the same wherever it stands. What this does not find:
# one voice of a piece under other voices, and a piece at another speed.

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
    source_bar: int              # the bar in which it begins there, from 1; of text, the line
    bar: int                     # ... and here
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

    def __init__(self, names: list[str], rows: list[Row], windows: tuple, between: int):
        self.names, self.rows, self.between = names, rows, between
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

    def where(self, place: int) -> tuple[str, int]:
        """A place in `codes` -> the name of the piece and the bar (or line)."""
        number = bisect(self.begins, place) - 1
        return self.names[number], int(self.rows[number].bars[place - self.begins[number]])

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
    """(N,) False where a code repeats, as do as many as its period before it or four at least, what
    stood right before them: a trill, a broken chord over and over, a bar played twice. True for
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
    origin = Origin(shares, 0, '', 0, 0, np.zeros(len(row.bars), bool))
    for begin, place, length in index.find_runs(row, is_telling(row, fresh, RUN - index.between)):
        units = int(np.count_nonzero(fresh[begin:begin + length])) + index.between
        if units >= least:
            origin.copied[begin:begin + length + index.between] = True
        if units > origin.longest:
            origin.longest = units
            origin.source, origin.source_bar = index.where(place)
            origin.bar = int(row.bars[begin])
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
    index = Index([name for name, _ in texts], rows, (8,), between=0)
    index.numbers = numbers
    return index


def originality_of_text(text: str, index: Index, least: int = RECITED) -> Origin:
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


# ---- what to compare, and with what

def open_corpora(dataset: str) -> tuple[list[dict], MidiTokenizer | BPETokenizer]:
    """Prepared corpora, such as goldberg,wtc, and the tokenizer that they share. Raises ValueError
    if they don't go together."""
    corpora = load_corpora(dataset)
    check_corpora(corpora, context=1)
    saved = corpora[0]['tokenizer']
    kind = MidiTokenizer if saved.get('kind') == 'midi' else BPETokenizer
    return corpora, kind.from_dict(saved)


def load_pieces(corpora: list[dict], tokenizer) -> dict[str, list[tuple[str, Score | str]]]:
    """The pieces of prepared corpora, `train` and `val`, each with its name."""
    pieces = {'train': [], 'val': []}
    for corpus in corpora:
        for split, found in pieces.items():
            ids = np.array(corpus[split])
            ends = np.flatnonzero(ids == corpus['end'])
            rows = np.split(ids, ends + 1)[:-1]                 # nothing is after the last
            for piece, row in zip(corpus['pieces'][split], rows, strict=True):
                row = row[:-1].tolist()                         # without the end
                found.append((piece['name'], tokenizer.decode(row)))
    return pieces


def load_trained_on(dataset: str, extra: str) -> dict[str, list[tuple[str, Score | str]]]:
    """The pieces of the corpora of a training run, `train` with those of its extra corpora."""
    pieces = load_pieces(*open_corpora(dataset))
    if extra:
        pieces['train'] += load_pieces(*open_corpora(extra))['train']
    return pieces


def load_scores(dataset: str) -> tuple[list[Score], list[Score]]:
    """The training and the held-out pieces of prepared corpora of music, such as goldberg,wtc."""
    corpora, tokenizer = open_corpora(dataset)
    if not isinstance(tokenizer, MidiTokenizer):
        raise ValueError(f'data/{dataset} is text: only music is graded, give another --dataset')
    pieces = load_pieces(corpora, tokenizer)
    return tuple([score for _, score in pieces[split]] for split in ('train', 'val'))


def in_order(path: Path) -> list:
    """Sorts sample-2 before sample-10: words by their letters, numbers by their size."""
    parts = re.split(r'(\d+)', path.as_posix())
    return [int(part) if part.isdigit() else part for part in parts]


def read_samples(config: Config, music: bool) -> list[tuple[str, Score | str]]:
    """The MIDI or text files to judge, with their names. Says which can't be read; raises
    ValueError if that is all."""
    suffixes = ('.mid', '.midi') if music else ('.txt',)
    folder = Path(config.samples or config.out_dir)
    if not config.samples:
        paths = folder.glob(f'sample-*{suffixes[0]}')
    elif folder.is_dir():
        paths = files(folder, suffixes)
    else:
        paths = [Path(path) for path in glob.glob(config.samples)]
    samples, paths = [], sorted(paths, key=in_order)
    for path in paths:
        name = path.relative_to(folder) if path.is_relative_to(folder) else path
        try:
            piece = read_midi(path) if music else path.read_text(encoding='utf-8', errors='replace')
            samples.append((name.as_posix(), piece))
        except (ValueError, OSError) as error:
            print(f'left out: {error}')
    if not samples:
        raise ValueError(f'{config.samples or config.out_dir}: none of {len(paths)} samples could '
                         'be read: run sample.py first, or give --samples=FOLDER')
    return samples


# ---- the judgement

def judge_model(model, corpora: list[dict], tokenizer) -> dict:
    """Held-out bits a unit of each corpus, and of each of its pieces."""
    found = {'bits': {}, 'pieces': {}}
    for corpus in corpora:
        bits = held_out_bits(model, corpus, model.config.context)
        units = corpus['units']['val']
        found['bits'][corpus['name']] = spend(tokenizer, corpus['val'], bits, units)
        found['pieces'][corpus['name']] = bits_by_piece(corpus, tokenizer, bits)
    return found


def judge_music(samples: list, pieces: dict, drawn: list) -> dict:
    """The grade and the plain figures, of lists of (name, Score)."""
    sides = {'training': pieces['train'], 'held-out': pieces['val'], 'n-gram': drawn,
             'samples': samples}
    scores = {side: [score for _, score in named] for side, named in sides.items()}
    graded = grade(scores['samples'], scores['training'], scores['held-out'], scores['n-gram'])
    return {'grade': graded, 'figures': {side: describe(scores[side]) for side in sides}}


def index_training(pieces: dict, music: bool) -> tuple[Index, int, list[Origin]]:
    """The training pieces, ready to look up samples; from how many notes (or words) on a run is
    recited: it is longer than any of the held-out pieces', and than any that Bach (or Shakespeare)
    shares with himself by chance; and what the held-out pieces share."""
    index = index_of(pieces['train']) if music else index_of_text(pieces['train'])
    look_up = originality if music else originality_of_text
    held_out = [look_up(piece, index) for _, piece in pieces['val']]
    longest = max(origin.longest for origin in held_out)
    return index, max(RECITED if music else RECITED_WORDS, longest + 1), held_out


def judge_originality(samples: list, pieces: dict, drawn: list, music: bool) -> dict:
    """What each sample shares with the training pieces, and what the held-out pieces do."""
    index, least, held_out = index_training(pieces, music)
    look_up = originality if music else originality_of_text
    origins = [look_up(piece, index, least) for _, piece in samples]
    sides = {'held-out': sum_up(pieces['val'], held_out)}
    if drawn:
        sides['n-gram'] = sum_up(drawn, [look_up(piece, index, least) for _, piece in drawn])
    sides['samples'] = sum_up(samples, origins)
    each = {}
    for (name, piece), origin in zip(samples, origins):
        each[name] = {**asdict(origin), **say_copied(piece, origin),
                      'recites': origin.longest >= least}
    return {'unit': 'note' if music else 'word', 'least': least, 'sides': sides, 'samples': each}


def count_units(piece: Score | str) -> int:
    """The notes of a piece of music, the words of a text."""
    if isinstance(piece, Score):
        return len(piece.notes)
    return sum(1 for _ in find_words(piece))


def sum_up(named: list[tuple[str, Score | str]], origins: list[Origin]) -> dict:
    """Of all pieces of a side: the shares of all their windows, and their longest runs."""
    shares = {}
    for units in origins[0].shares:
        found, windows = 0, 0
        for (_, piece), origin in zip(named, origins):
            size = count_units(piece)
            many = max(0, size - units + 1)
            found += origin.shares[units] * many
            windows += many
        shares[units] = found / max(1, windows)
    longest = [origin.longest for origin in origins]
    return {'shares': shares, 'median': float(np.median(longest)), 'longest': max(longest)}


def say_copied(piece: Score | str, origin: Origin) -> dict:
    """`copied` as stretches (from, to) of notes or of characters, and what share of all they are.
    """
    stretches = origin.copied
    if isinstance(piece, Score):
        edges = np.flatnonzero(np.diff([False, *origin.copied, False]))
        stretches = edges.reshape(-1, 2).tolist()
    units = len(piece.notes) if isinstance(piece, Score) else len(piece)
    share = sum(end - begin for begin, end in stretches) / max(1, units)
    return {'copied': stretches, 'copied_share': share}


# ---- "Bach or machine?"

def cut_bars(score: Score, first: int, bars: int) -> Score:
    """So many bars from the bar `first` (0 is the first of all) on, as an excerpt from step 0 whose
    tempo and loudness tell nothing. A note that goes on at the last bar line ends there."""
    lines = [bar.start for bar in islice(bars_of(score.metres), first + bars + 1)]
    begin, end = round(lines[first]), round(lines[-1])
    notes = [Note(note.start - begin, note.pitch, min(note.duration, end - note.start))
             for note in score.notes if begin <= note.start < end]
    metres = [(max(0, step - begin), beats, unit) for step, beats, unit in score.metres
              if step < end]
    before = [metre for metre in metres if metre[0] == 0][-1:]
    return Score(notes, [(0, QUIZ_TEMPO)], before + [metre for metre in metres if metre[0] > 0])


def find_excerpts(named: list[tuple[str, Score]], generator) -> list[tuple[str, Score]]:
    """(source, excerpt) of all pieces, in random order: QUIZ_BARS bars each, which do not overlap,
    with QUIZ_NOTES notes at least."""
    found = []
    for name, score in named:
        whole = len(find_bars(score)) - QUIZ_BARS
        for first in range(0, whole + 1, QUIZ_BARS):
            excerpt = cut_bars(score, first, QUIZ_BARS)
            if len(excerpt.notes) >= QUIZ_NOTES:
                source = f'{Path(name).stem}, bars {first + 1} to {first + QUIZ_BARS}'
                found.append((source, excerpt))
    return [found[number] for number in generator.permutation(len(found))]


def make_quiz(samples: list, held_out: list, folder: Path):
    """quiz.html in the folder, and its sounds. Raises ValueError if there is too little music."""
    generator = np.random.default_rng(SEED)
    sides = {'Bach': find_excerpts(held_out, generator),
             'the model': find_excerpts(samples, generator)}
    for side, excerpts in sides.items():
        if len(excerpts) < QUIZ_PAIRS:
            raise ValueError(f'{len(excerpts)} excerpts of {QUIZ_BARS} bars by {side}, '
                             f'{QUIZ_PAIRS} are needed: run sample.py with --num_samples=10')
    pairs = []
    for number in range(QUIZ_PAIRS):
        order = ['Bach', 'the model'] if generator.random() < 0.5 else ['the model', 'Bach']
        both = []
        for letter, side in zip('ab', order):
            source, score = sides[side][number]
            sound = f'quiz-{number + 1}{letter}.wav'
            synth.write_wav(folder / sound, synth.render(synth.seconds(score)))
            both.append(Excerpt(sound, score, f'{side}: {source}'))
        pairs.append(Pair(*both, bach='ab'[order.index('Bach')]))
    write_quiz(folder / 'quiz.html', pairs)
    print(f'open {folder / "quiz.html"}')


# ---- the tables

def print_row(name: str, values):
    """A row of words or numbers; those that are not whole with three digits after the point."""
    line = f'{name:28}'
    for value in values:
        form = '.3f' if isinstance(value, float) else ''
        line += f'{value:>13{form}}'
    print(line)


def print_bits(result: dict):
    """The bits a unit of each corpus: of the model, if there is one, and of the n-gram; then of
    each piece by the model. With what they are spent on, if that is told apart."""
    ngram = result['ngram']
    questions = list(next(iter(ngram['bits'].values())))
    parts = questions if len(questions) > 1 else []
    print_row(f'held-out bits/{result["unit"]}', ['all', *parts])

    def print_spent(name, spent):
        print_row(name, [sum(spent.values()), *(spent[question] for question in parts)])

    for name, spent in ngram['bits'].items():
        if 'bits' in result:
            print_spent(name, result['bits'][name])
        print_spent(f'{name}, n-gram of {ngram["order"]} ids', spent)
        pieces = result.get('pieces', {}).get(name, {})
        for piece, spent_there in list(pieces.items())[:SHOWN]:
            print_spent(f'  {piece}', spent_there)
        if len(pieces) > SHOWN:
            print(f'  ... and {len(pieces) - SHOWN} more')
    print()


def print_grade(result: dict):
    """The distances with the grades in their last row, then the plain figures."""
    found = result['grade']
    print_row('distance to training pieces', found['grades'])
    for name, row in found['distances'].items():
        print_row(name, row.values())
    print_row('grade', found['grades'].values())
    print('{} windows at a time; there are {held-out} held-out ones and {samples} of the samples'
          .format(found['compared'], **found['windows']))
    if found['compared'] < COMPARED:
        print(f'fewer than {COMPARED}: compare this grade only with others of as few')
    if found['too_short']:
        print(f'{found["too_short"]} samples of under {SHORTEST} notes are not in the grade')
    print()
    print_row('all notes', result['figures'])
    for name in result['figures']['samples']:
        print_row(name, [figures[name] for figures in result['figures'].values()])
    print()


def print_originality(found: dict):
    """The shares and the longest runs; then, in words, who recites what."""
    unit, least, sides = found['unit'], found['least'], found['sides']
    sizes = list(sides['held-out']['shares'])
    columns = [f'{size} {unit}s, %' for size in sizes] + ['longest run', 'copied, %']
    print_row('found in training pieces', columns)
    for side, row in sides.items():
        print_row(side, [*(100 * row['shares'][size] for size in sizes), row['longest']])
    for name, row in found['samples'].items():
        shares = [100 * row['shares'][size] for size in sizes]
        print_row(f'  {name}', [*shares, row['longest'], 100 * row['copied_share']])
    print(f'held-out pieces share at most {sides["held-out"]["longest"]} {unit}s in a row; {least} '
          'or more are recited')
    recited = [name for name, row in found['samples'].items() if row['recites']]
    bar = 'bar' if unit == 'note' else 'line'
    for name in recited:
        row = found['samples'][name]
        print(f'{Path(name).stem} recites: {row["longest"]} {unit}s from {bar} {row["bar"]} are '
              f'those of {Path(row["source"]).stem} from {bar} {row["source_bar"]}')
    count = len(found['samples'])
    if recited:
        print(f'recitation: {len(recited)} of {count} samples')
    else:
        print(f'no recitation: none of {count} samples')


def main(config: Config):
    # ---- what there is: a model (or none), corpora, pieces
    model, dataset, extra = None, config.dataset, ''
    if not (config.samples and config.dataset):
        path = f'{config.out_dir}/{config.checkpoint}'
        model, checkpoint = load(path)
        dataset = dataset or checkpoint['train_config']['dataset']
        extra = checkpoint['train_config'].get('extra', '')
    corpora, tokenizer = open_corpora(dataset)
    music = isinstance(tokenizer, MidiTokenizer)
    if model:
        check_corpora(corpora, model.config.context)
        if corpora[0]['tokenizer'] != checkpoint['tokenizer']:
            raise ValueError(f'data/{corpora[0]["name"]} has another tokenizer than {path}: give '
                             'another --dataset')

    if config.quiz:
        if not music:
            raise ValueError(f'{dataset} is text: the quiz is for music')
        held_out = load_pieces(corpora, tokenizer)['val']
        return make_quiz(read_samples(config, music), held_out, Path(config.out_dir))

    # ---- the model and the n-gram
    result = {'dataset': dataset, 'unit': corpora[0]['unit']}
    if model:
        result |= judge_model(model, corpora, tokenizer)
    ngram = count_ngrams(corpora)
    result['ngram'] = judge_ngram(ngram, corpora, tokenizer)
    print_bits(result)

    # ---- the samples
    samples = read_samples(config, music)
    pieces = load_pieces(corpora, tokenizer)
    drawn = []
    if music:
        drawn = draw_ngram(ngram, result['ngram']['order'], tokenizer)
        result |= judge_music(samples, pieces, drawn)
        print_grade(result)
    trained_on = load_trained_on(dataset, extra)
    result['originality'] = judge_originality(samples, trained_on, drawn, music)
    print_originality(result['originality'])

    path = Path(config.out_dir) / 'evaluate.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + '\n', encoding='utf-8')
    print(f'all of this: {path}')


if __name__ == '__main__':
    run(main, Config)
