"""Which hand plays which note: a guess, since what a model composes does not say.

One chord after the other, what is struck together is parted in two: the lower notes for the left
hand, the others for the right. Where to part it is what costs least just there, in semitones:

- from where each hand was lately to each of its notes
- what a hand spans beyond an octave, with the keys that it holds, times REACH
- IDLE, if one hand has no key while the other has two or more: two voices are for two hands
- how far the left hand is above the right, times CROSSED

In the Goldberg Variations for one manual .93 of the notes are in the staff of that hand; if the
keyboard is cut at middle C, .87. Where the hands cross, on two manuals, it is .73 (and .66).
"""

from itertools import groupby

RIGHT, LEFT = 0, 1       # in the order of tracks and staves
BEGIN = (72, 48)         # pitches where the hands are at first
OCTAVE = 12
FOLLOWS = 0.3            # how much of the way to what it strikes the place of a hand follows
REACH, IDLE, CROSSED = 2, 20, 3      # chosen by that share; twice or half of each loses little


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
                places[hand] += FOLLOWS * (centre - places[hand])
    return [found[number] for number in range(len(notes))]
