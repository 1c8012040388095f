"""What came next at moments like this one. Bach repeats himself, at other pitches and in other
voices; a small model does not find that by itself, so it is told.

The notes are joined to voices. At every step, earlier moments of all voices that are like this one
vote for the interval that came then: attention, done by hand.
"""

from collections import defaultdict
from dataclasses import dataclass

from data.score import STEPS


def scale_step(interval: int) -> int:
    """Semitones -> steps of a scale, major or minor alike: 3 and 4 (thirds) -> 2, 5 and 6 (fourth
    and tritone) -> 3, -12 -> -7."""
    octaves, rest = divmod(abs(interval), 12)
    step = 7 * octaves + (0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6)[rest]
    return step if interval >= 0 else -step


def of_one_step(interval: int) -> list[int]:
    """An interval and the other one of as many scale steps: 3 -> [3, 4]. A fifth, an octave and 0
    have no other: 7 -> [7]."""
    others = [other for other in (interval - 1, interval + 1)
              if scale_step(other) == scale_step(interval)]
    return [interval, *others]


@dataclass
class Voice:
    """A line of notes, of which each begins when the one before is over."""
    pitch: int                   # of its last note
    start: int                   # the step at which that was struck
    end: int | None = None       # the step at which it was released; None: it is still held
    moves: tuple = ()            # the last moves: (wait, scale steps up or down)
    # what is recalled: how sure that is, 1 to Recall.LEVELS (0: nothing), and to which pitches the
    # voice may go now
    match: int = 0
    pitches: tuple = ()


class Recall:
    """Follows the voices of a piece, and remembers what each of them did.

    A note that is struck goes on with a voice whose key was released, a quarter ago at most: with
    the nearest, an octave away at most. What a voice did are its moves, each the wait from note to
    note and how many scale steps it went up, so that a sequence on another degree of the scale looks
    the same. A moment is like another if the last moves of the voice are the same, and the wait
    after them. It has 1 vote for one move, 3 for two, 7 for three ... 255 for eight; five times
    that at the same place in the bar.

        heard         C4 12 D4 12 E4 12 F4 60 | G4 12 A4 12 B4 12      (the numbers are waits)
        last moves    (12, +1) (12, +1), then a wait of 12
        like it       D4 12 E4 12, a bar ago: two moves, 5 * 3 votes for F4, a semitone higher
                      C4 12 D4 12: one move, 1 vote for E4, two semitones higher
        recalled      the release of B4; one scale step up: C5, or C#5, which is one as well
    """
    LONGEST = 8          # the most moves that are compared
    SAME_PLACE = 4       # how much more a moment counts that stood at the same place in the bar
    DOUBT = 16           # votes that nobody gets: a few votes make nobody sure
    LEVELS = 8
    FARTHEST = 12        # semitones between two notes of a voice
    REST = STEPS         # a voice that was silent for longer is over

    def __init__(self):
        self.now = 0             # steps since the beginning
        self.place = 0.0         # steps since the last bar line
        self.voices = []
        self.memory = {}         # one way to be like a moment -> {interval that came: how often}

    def likenesses(self, voice: Voice) -> list[tuple]:
        """All ways to be like this moment of a voice, each with its votes."""
        wait = self.now - voice.start
        found = []
        for length in range(1, len(voice.moves) + 1):
            alike = voice.moves[-length:], wait
            votes = 2 ** (length - 1)            # who is like it in two moves is so in one: 2 + 1
            found.append((alike, votes))
            found.append(((*alike, self.place), self.SAME_PLACE * votes))
        return found

    def wait(self, now: int, place: float):
        """Time moves on to the step `now`. What is recalled then stays until a voice moves."""
        self.now, self.place = now, place
        self.voices = [voice for voice in self.voices
                       if voice.end is None or now - voice.end <= self.REST]
        for voice in self.voices:
            voice.match, voice.pitches = self.propose(voice)

    def propose(self, voice: Voice) -> tuple[int, tuple]:
        """How sure it is where a voice goes now, and the pitches: those of the scale step that has
        most of the votes, first the one with more of them. (0, ()) without any vote."""
        votes = defaultdict(int)                 # interval -> votes
        by_step = defaultdict(int)               # scale step -> votes
        for likeness, weight in self.likenesses(voice):
            for interval, times in self.memory.get(likeness, {}).items():
                votes[interval] += weight * times
                by_step[scale_step(interval)] += weight * times
        if not votes:
            return 0, ()
        step = max(by_step, key=by_step.get)
        share = by_step[step] / (sum(by_step.values()) + self.DOUBT)
        of_step = [interval for interval in votes if scale_step(interval) == step]
        intervals = of_one_step(max(of_step, key=votes.get))
        pitches = [voice.pitch + interval for interval in intervals]
        return 1 + int(share * self.LEVELS), tuple(p for p in pitches if 0 <= p < 128)

    def press(self, pitch: int):
        """A note is struck: find its voice, and remember what came after the moves of that."""
        near = [voice for voice in self.voices
                if voice.end is not None and abs(pitch - voice.pitch) <= self.FARTHEST]
        if not near:
            self.voices.append(Voice(pitch, self.now))
            return
        # one that was expected to go there; else the nearest, of two the one released last
        voice = min(near, key=lambda one: (pitch not in one.pitches, abs(pitch - one.pitch),
                                           -one.end))
        interval = pitch - voice.pitch
        for likeness, _ in self.likenesses(voice):
            came = self.memory.setdefault(likeness, {})
            came[interval] = came.get(interval, 0) + 1
        move = self.now - voice.start, scale_step(interval)
        moves = (*voice.moves, move)[-self.LONGEST:]
        self.voices.remove(voice)
        self.voices.append(Voice(pitch, self.now, moves=moves))

    def release(self, pitch: int):
        for voice in self.voices:
            if voice.pitch == pitch and voice.end is None:
                voice.end = self.now
                break
