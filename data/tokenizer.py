"""What a tokenizer owes to the rest of the repo. To add one: a class with these methods, and its
kind in `load_tokenizer`; model.py and train.py need not know of it."""

from abc import ABC, abstractmethod


class Tokenizer(ABC):
    """Something (a text, a piece of music) <-> ids, which are the numbers from 0 to vocab_size - 1.

    What is written out here is right where ids are all alike, as in text; the MIDI tokenizer says
    more. prepare.py writes the three tables into meta.json, for train.py and model.py.
    """
    vocab_size: int
    end: int                 # the id that ends a document or a piece
    unit: str                # what bits are counted by: 'byte' or 'note'
    beat = 1                 # by the clock: how long a beat is; 1: there is none

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

    def clock_table(self) -> list[int]:
        """(V): how far each id moves the clock."""
        return [1] * self.vocab_size

    def keys_table(self) -> list[list[int]]:
        """(V, K): which of K keys each id presses (1) or lets go (-1), one at most."""
        return [[]] * self.vocab_size

    @abstractmethod
    def to_dict(self) -> dict:
        """All there is to it, in plain JSON values; with its `kind`."""

    @classmethod
    @abstractmethod
    def from_dict(cls, d: dict):
        """The inverse of `to_dict`. Raises ValueError for what that would not give."""


def load_tokenizer(d: dict) -> Tokenizer:
    """The tokenizer that a checkpoint or a meta.json carries. ValueError if it is of no kind."""
    from tokenizer_bpe import BPETokenizer           # here, since they import this module
    from tokenizer_midi import MidiTokenizer
    kinds = {'midi': MidiTokenizer, 'bpe': BPETokenizer}
    if d.get('kind') not in kinds:
        raise ValueError(f'no tokenizer of kind {d.get("kind")!r}: made by a newer version?')
    return kinds[d['kind']].from_dict(d)
