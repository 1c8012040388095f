"""What a tokenizer owes to the rest of the repo. To add one: a class with these methods, and its
kind in TOKENIZERS of sample.py; model.py and train.py need not know of it."""

from abc import ABC, abstractmethod

import numpy as np


class Tokenizer(ABC):
    """Something (a text, a piece of music) <-> ids, which are the numbers from 0 to vocab_size - 1.

    prepare.py writes into meta.json what train.py and model.py need of it.
    """
    vocab_size: int
    end: int                 # the id that ends a document or a piece
    unit: str                # what bits are counted by: 'byte' or 'note'
    is_music: bool

    @abstractmethod
    def encode(self, what) -> list[int]:
        """A text, or a Score -> its ids."""

    @abstractmethod
    def decode(self, ids):
        """The inverse of `encode`."""

    @abstractmethod
    def count_units(self, ids) -> int:
        """How many bytes of text, or notes of music, ids stand for."""

    def augment_table(self) -> list[list[int]]:
        """(R, V): in each row, the id that stands for each id after some change that makes no
        difference to how good the thing is, such as a transposition; one row changes nothing."""
        return [list(range(self.vocab_size))]

    @abstractmethod
    def listener(self, **wishes):
        """One that hears the ids of a piece and says what follows from them: see `Listener` in
        tokenizer_midi.py and in tokenizer_bpe.py."""

    def listen(self, ids) -> np.ndarray:
        """(N, W): what a listener says after each of the ids (N) of a whole piece."""
        listener = self.listener()
        return np.array([listener.hear(id) for id in ids])

    @abstractmethod
    def shape_of_told(self) -> dict:
        """What ModelConfig has to know of the numbers that a listener says: its field `columns`,
        and others."""

    @abstractmethod
    def to_dict(self) -> dict:
        """All there is to it, in plain JSON values; with its `kind`."""

    @classmethod
    @abstractmethod
    def from_dict(cls, d: dict):
        """The inverse of `to_dict`. Raises ValueError for what that would not give."""


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
