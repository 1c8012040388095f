"""What came next at moments like this one. Bach repeats himself, at other pitches and in other
voices; a small model does not find that by itself, so it is told.

The notes are joined to voices. Whenever time moves on, the earlier moments of all voices that are
like this one vote for what came then: attention, done by hand.
"""

from collections import defaultdict
from dataclasses import dataclass

from lib.score import STEPS         # of time, to a quarter note


def scale_steps(interval: int) -> int:
    """Semitones -> steps of a scale, major or minor alike: 3 and 4 (thirds) -> 2, 5 and 6 (fourth
    and tritone) -> 3, -12 -> -7."""
    octaves, rest = divmod(abs(interval), 12)
    steps = 7 * octaves + (0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6)[rest]
    return steps if interval >= 0 else -steps


def with_its_like(interval: int) -> list[int]:
    """An interval, and the other one of as many scale steps: 3 -> [3, 4]. A fifth, an octave and 0
    have no other: 7 -> [7]."""
    others = [other for other in (interval - 1, interval + 1)
              if scale_steps(other) == scale_steps(interval)]
    return [interval, *others]


@dataclass
class Voice:
    """A line of notes, each of which begins when the one before is over, or a little later."""
    pitch: int                   # of its last note
    start: int                   # when that was struck
    end: int | None = None       # when it was released; None: it is still held
    moves: tuple = ()            # the last moves: (wait, scale steps up or down)
    pitches: tuple = ()          # where it may go now, the likelier first; (): nothing is recalled
    sure: int = 0                # how sure that is, 1 to Recall.LEVELS; 0 without pitches


class Recall:
    """Follows the voices of a piece, and remembers what each of them did.

    A note goes on with a voice that ended a quarter ago at most: with one that was expected there,
    else with the nearest, an octave away at most. (Of notes struck together the lowest chooses
    first.) A voice is known by its moves. A move is how long after the last note the next one was
    struck, and how many scale steps higher: so a sequence on another degree of the scale looks the
    same. An earlier moment of any voice is like this one if the last moves were the same there, and
    then as long a wait. It has 1 vote if one move was the same, 3 if two were, 7 if three were ...
    255 if eight were; five times that at the same place in the bar. The scale step with most votes
    is recalled.

        heard       C4 12 D4 12 E4 12 F4 60 | G4 12 A4 12 B4 12        (the numbers are waits)
        moves       ... (12, +1) (12, +1), then a wait of 12
        like it     C4 12 D4 12 E4 12, a bar ago: 5 * 3 votes for F4, a semitone higher
                    C4 12 D4 12, and G4 12 A4 12: a vote each for E4 and B4, two semitones higher
        recalled    one scale step up, C5 or C#5, with all 17 votes; of 17 + 16 that is half: sure 5
    """
    LONGEST = 8          # the most moves that are compared
    SAME_PLACE = 4       # times its votes are added for the same place in the bar
    DOUBT = 16           # votes that nobody gets: a few votes make nobody sure
    LEVELS = 8
    FARTHEST = 12        # semitones between two notes of a voice
    REST = STEPS         # a voice that was silent for longer is over

    def __init__(self):
        self.now = 0             # steps of time since the beginning
        self.place = 0.0         # ... and since the last bar line
        self.voices = []
        self.memory = {}         # what was alike (see `alike`) -> {interval that came: how often}

    def alike(self, voice: Voice) -> list[tuple]:
        """All that a moment may have in common with this one of a voice, each with its votes: its
        last moves and wait, and these with the place in the bar, too."""
        wait = self.now - voice.start
        found = []
        for length in range(1, len(voice.moves) + 1):
            common = voice.moves[-length:], wait
            votes = 2 ** (length - 1)            # whoever has two in common has one: 2 + 1 votes
            found.append((common, votes))
            found.append(((*common, self.place), self.SAME_PLACE * votes))
        return found

    def move_to(self, now: int, place: float):
        """Time moves on, to this step and this place in the bar: each voice recalls anew."""
        self.now, self.place = now, place
        self.voices = [voice for voice in self.voices
                       if voice.end is None or now - voice.end <= self.REST]
        for voice in self.voices:
            voice.pitches, voice.sure = self.expect(voice)

    def expect(self, voice: Voice) -> tuple[tuple, int]:
        """Where a voice may go now, and how sure that is; (), 0 without any vote. The pitches may
        be off the keyboard."""
        votes = defaultdict(int)                 # interval -> votes
        for common, weight in self.alike(voice):
            for interval, times in self.memory.get(common, {}).items():
                votes[interval] += weight * times
        if not votes:
            return (), 0
        by_steps = defaultdict(int)              # the same for scale steps
        for interval, number in votes.items():
            by_steps[scale_steps(interval)] += number
        steps = max(by_steps, key=by_steps.get)
        candidates = [interval for interval in votes if scale_steps(interval) == steps]
        intervals = with_its_like(max(candidates, key=votes.get))
        share = by_steps[steps] / (sum(votes.values()) + self.DOUBT)
        return tuple(voice.pitch + interval for interval in intervals), 1 + int(share * self.LEVELS)

    def press(self, pitch: int):
        """A note is struck: find its voice, and remember what came after the moves of that."""
        near = [voice for voice in self.voices
                if voice.end is not None and abs(pitch - voice.pitch) <= self.FARTHEST]
        if not near:
            self.voices.append(Voice(pitch, self.now))
            return
        # the best is one that was expected there, then the nearest, then the one released last
        voice = min(near, key=lambda one: (pitch not in one.pitches, abs(pitch - one.pitch),
                                           -one.end))
        interval = pitch - voice.pitch
        for common, _ in self.alike(voice):
            came = self.memory.setdefault(common, {})
            came[interval] = came.get(interval, 0) + 1
        move = self.now - voice.start, scale_steps(interval)
        moves = (*voice.moves, move)[-self.LONGEST:]
        self.voices.remove(voice)
        self.voices.append(Voice(pitch, self.now, moves=moves))

    def release(self, pitch: int):
        for voice in self.voices:
            if voice.pitch == pitch and voice.end is None:
                voice.end = self.now
                break
