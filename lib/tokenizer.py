"""What a tokenizer owes to the rest of the repo. To add one: two classes with these methods, its
kind in TOKENIZERS of sample.py, and, where prepare.py makes a tokenizer, that it makes this one.
model.py and train.py need not know of it."""

from abc import ABC, abstractmethod

import numpy as np


class Tokenizer(ABC):
    """Something (a text, a piece of music) <-> ids, which are the numbers from 0 to vocab_size - 1.

    prepare.py writes into meta.json what train.py and model.py need of it.
    """
    vocab_size: int
    begin: int               # the id from which something new is drawn
    end: int                 # the id that ends a document or a piece
    unit: str                # what bits are counted by: 'byte' or 'note'
    is_music = False
    questions = ('all',)     # what bits may be spent on: see `question`

    @abstractmethod
    def encode(self, what) -> list[int]:
        """A text, or a Score -> its ids."""

    @abstractmethod
    def decode(self, ids):
        """The inverse of `encode`, and something for any other ids, too: a model may draw them."""

    @abstractmethod
    def count_units(self, ids) -> int:
        """How many bytes of text, or notes of music, ids stand for."""

    def question(self, id: int) -> str:
        """Which of `questions` an id answers: evaluate.py says how many bits each costs."""
        return 'all'

    def say(self, id: int) -> str:
        """An id as a person reads it."""
        return repr(self.decode([id]))

    def units(self, ids: list[int]) -> list[list[int]]:
        """The places of the ids that make up each note, in the order of decode(ids).notes. Of text
        each id but the first, where a text begins, is a unit."""
        return [[place] for place in range(1, len(ids))]

    def augment_table(self) -> list[list[int]]:
        """(R, V): in each row, the id that stands for each id after some change that makes no
        difference to how good the thing is, such as a transposition; one row changes nothing."""
        return [list(range(self.vocab_size))]

    @abstractmethod
    def listener(self, **wishes) -> 'Listener':
        """One that hears the ids of a piece. `wishes`, for music: see Listener in
        tokenizer_midi.py."""

    def listen(self, ids) -> np.ndarray:
        """(N, W): what a listener says after each of the ids (N) of a whole piece."""
        listener = self.listener()
        return np.array([listener.hear(id) for id in ids])

    @abstractmethod
    def shape_of_told(self) -> dict:
        """What ModelConfig has to know of the numbers that a listener says: its field `columns`
        (all the KINDS of model.py, in that order), and others."""

    @abstractmethod
    def to_dict(self) -> dict:
        """All there is to it, in plain JSON values; with its `kind`."""

    @classmethod
    @abstractmethod
    def from_dict(cls, d: dict):
        """The inverse of `to_dict`. Raises ValueError for what that would not give."""


class MusicTokenizer(Tokenizer):
    """What one of music owes besides: its `encode` and `decode` are of a Score (lib/score.py)."""
    is_music = True

    @abstractmethod
    def encode_until(self, score, until: int) -> list[int]:
        """The ids of a piece up to a step of time, from which a model may go on: what is held there
        is not released yet. decode() of them has all notes that begin before."""

    @abstractmethod
    def note_bits(self, ids: list[int], bits: list[float]) -> list[float]:
        """The bits of each id -> those of each note, in the order of decode(ids).notes."""


class Listener(ABC):
    """Hears the ids of one piece, one by one, both when a corpus is prepared and when it is drawn.
    """
    forbidden = 0.0          # model.forbid adds the probability that it takes from ids
    now, bar = 0, 1          # of music: steps since the beginning, and steps of a bar

    @abstractmethod
    def hear(self, id: int) -> list[int]:
        """Take note of the next id; returns the W numbers that the model is told after it."""

    def allowed(self) -> np.ndarray | None:
        """(V,) True for the ids that may come next; None: any. At least one may, after the end,
        too: other pieces of the batch go on there, and what is drawn here is thrown away."""
        return None


def columns_of_told(told: dict[str, int]) -> dict[str, slice]:
    """Where each kind of number stands among those that a listener says: {'clock': 1, 'match': 2}
    -> clock in column 0, match in 1 and 2; and `ids`: where all that are ids stand."""
    columns = {}
    begin = 0
    for name, count in told.items():
        columns[name] = slice(begin, begin + count)
        begin += count
    columns['ids'] = slice(columns['home'].start, begin)
    return columns
