"""The plan of a piece: found, told, borrowed, followed. Each docstring names the mistake that its
test forbids."""

import torch

from data.score import Note, Score
from data.tokenizer import columns_of_told
from lib.plan import FURTHEST, find_plan
from sample import borrow_plan
from tokenizer_midi import Listener, MidiTokenizer

PLAIN = MidiTokenizer()
COLUMNS = columns_of_told(Listener.TOLD)
THEME = (0, 4, 7, 12)            # a bar of quarters
OTHER = (0, 1, 6, 3)


def piece(*bars, metres=((0, 4, 4),), quarter=24) -> Score:
    """Bars of quarters, each (figure, pitch of its first note)."""
    notes = []
    for number, (figure, pitch) in enumerate(bars):
        for place, step in enumerate(figure):
            start = (number * len(figure) + place) * quarter
            notes.append(Note(start, pitch + step, quarter))
    return Score(notes, metres=list(metres))


def test_bars_that_come_again():
    """Forbids a bar that is taken for like one that it is not like, one that comes again at another
    pitch and is overlooked, the farther of two that are as like, and another bar than the one meant
    after a time signature in the middle."""
    score = piece((THEME, 60), (OTHER, 50), (THEME, 67), (OTHER, 45), (THEME, 60), (THEME, 60))
    assert find_plan(score) == [(2, 2, 7), (3, 2, -5), (4, 2, -7), (5, 1, 0)]
    three = piece(((0, 4, 7), 60), ((0, 2, 3), 60), ((0, 4, 7), 62), metres=[(0, 3, 4)])
    assert find_plan(three) == [(2, 2, 2)]
    half_alike = piece((THEME, 60), ((0, 4, 6, 10), 62))
    assert find_plan(half_alike) == [(1, 1, 2)]
    too_little = piece((THEME, 60), ((0, 5, 6, 14), 62))
    assert find_plan(too_little) == []
    assert find_plan(Score()) == []


def test_a_plan_looks_so_far_back_and_no_further():
    """Forbids work that grows with the square of a piece."""
    rest = [(tuple((number * place) % 23 for place in (3, 7, 11, 2)), 40)
            for number in range(FURTHEST)]
    far = piece((THEME, 90), *rest, (THEME, 90))
    assert (FURTHEST + 1, FURTHEST + 1, 0) not in find_plan(far)
    near = piece((THEME, 90), *rest[1:], (THEME, 90))
    assert (FURTHEST, FURTHEST, 0) in find_plan(near)


def planned(listener) -> list[int]:
    """The pitches that the plan proposes now."""
    told = listener.told()
    ids = told[COLUMNS['recalled']][-Listener.PLANNED:]
    lengths = told[COLUMNS['length']][-Listener.PLANNED:]
    assert lengths == [int(id > 0) for id in ids]
    return [PLAIN.words[id][1] for id in ids if id]


def test_what_a_plan_proposes():
    """Forbids notes of another bar or another place in it, notes at their old pitch, a proposal
    after it has come, one in a bar that is to be like none, and one beyond the keyboard."""
    score = piece((THEME, 60), (OTHER, 50), (THEME, 67))
    listener = PLAIN.listener(plan=[(2, 2, 7), (9, 1, 0)])
    found = []
    for id in PLAIN.encode(score)[:-1]:
        kind, value = PLAIN.words[id]
        if kind == 'on':
            found.append((value, planned(listener)))
        listener.hear(id)
        if kind == 'on':
            assert planned(listener) == []
    assert found[:8] == [(note.pitch, []) for note in score.notes[:8]]
    assert found[8:] == [(note.pitch, [note.pitch]) for note in score.notes[8:]]
    high = PLAIN.listener(plan=[(1, 1, 60)])
    proposed = {}
    for id in PLAIN.encode(piece((THEME, 64), (THEME, 64))):
        high.hear(id)
        proposed.setdefault(high.now, planned(high))
    assert proposed == {0: [], 24: [], 48: [], 72: [], 96: [124], 120: [], 144: [], 168: [],
                        192: []}


def test_a_plan_that_cannot_be_followed():
    """Forbids a failure where a borrowed plan refers to a bar before the first."""
    listener = PLAIN.listener(plan=[(0, 3, 0), (1, 2, 0)])
    for id in PLAIN.encode(piece((THEME, 60), (THEME, 60))):
        listener.hear(id)
        assert planned(listener) == []


def test_a_plan_is_borrowed():
    """Forbids a plan that is too short while there is a longer one, the same for every sample, an
    empty one, and a failure where there is none."""
    plans = [[], [(1, 1, 0)], [(31, 1, 5)], [(5, 2, 0), (40, 3, 0)]]
    drawn = []
    for seed in range(30):
        drawn.append(borrow_plan(plans, 32, torch.Generator().manual_seed(seed)))
    assert plans[2] in drawn and plans[3] in drawn
    assert plans[0] not in drawn and plans[1] not in drawn
    short = borrow_plan(plans[:2], 32, torch.Generator())
    assert short == plans[1]
    assert borrow_plan([], 32, torch.Generator()) == []
    assert borrow_plan([[]], 32, torch.Generator()) == []
