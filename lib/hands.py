"""Which hand plays which note: a guess, since what a model composes does not say.

Notes that are struck together are parted in two: the lower ones for the left hand, the others for
the right. Of all ways to do so the cheapest is taken, one chord after the other. What costs, in
semitones:

- the way from where a hand was lately to each of its notes
- REACH: what a hand spans beyond an octave, its held keys with it, twice
- IDLE: one hand that holds nothing while the other has two keys or more
- CROSSED: by how much the left hand is above the right, three times

In the Goldberg Variations for one manual, nine notes of ten are in the staff of that hand.
"""

from itertools import groupby

RIGHT, LEFT = 0, 1       # in the order of tracks and staves
BEGIN = (72, 48)         # pitches where the hands are at first
OCTAVE = 12
LATELY = 0.3             # how far the place of a hand follows what it strikes
REACH, IDLE, CROSSED = 2, 20, 3


def cost_of(struck: list[list[int]], held: list[list[int]], places: list[float]) -> float:
    """What it costs that each hand (right, left) strikes some pitches and holds others."""
    down = [new + old for new, old in zip(struck, held)]
    cost = 0.0
    for hand in (RIGHT, LEFT):
        cost += sum(abs(pitch - places[hand]) for pitch in struck[hand])
        if down[hand]:
            cost += REACH * max(0, max(down[hand]) - min(down[hand]) - OCTAVE)
    if all(down):
        cost += CROSSED * max(0, max(down[LEFT]) - min(down[RIGHT]))
    elif sum(map(len, down)) > 1:
        cost += IDLE
    return cost


def find_hands(notes) -> list[int]:
    """RIGHT or LEFT for each note (start, pitch, duration, ...), in the order given."""
    places = list(BEGIN)
    holds = [[], []]                             # of each hand: (pitch, end)
    found = {}                                   # number of a note -> hand
    numbers = sorted(range(len(notes)), key=lambda number: notes[number][:2])
    for start, chord in groupby(numbers, key=lambda number: notes[number][0]):
        chord = list(chord)
        pitches = [notes[number][1] for number in chord]
        holds = [[(pitch, end) for pitch, end in hold if end > start] for hold in holds]
        held = [[pitch for pitch, _ in hold] for hold in holds]
        parted = min(range(len(chord) + 1), key=lambda count: cost_of(
            [pitches[count:], pitches[:count]], held, places))
        for hand, mine in ((RIGHT, chord[parted:]), (LEFT, chord[:parted])):
            for number in mine:
                found[number] = hand
                holds[hand].append((notes[number][1], start + notes[number][2]))
            if mine:
                centre = sum(notes[number][1] for number in mine) / len(mine)
                places[hand] += LATELY * (centre - places[hand])
    return [found[number] for number in range(len(notes))]
