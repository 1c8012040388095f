"""Keys in the musician's sense, such as G major: which one a stretch of music is in, its name, what
lies in its scale, and how far two of them are apart."""

import re

import numpy as np

# How often the 12 degrees of a major and a minor key occur, from the tonic upwards (Albrecht and
# Shanahan 2013). The profiles have mean 0 and spread 1: the largest product correlates best.
DEGREES = np.array([[.238, .006, .111, .006, .137, .094, .016, .214, .009, .080, .008, .081],
                    [.220, .006, .104, .123, .019, .103, .012, .214, .062, .022, .061, .052]])
PROFILES = (DEGREES - DEGREES.mean(axis=1, keepdims=True)) / DEGREES.std(axis=1, keepdims=True)
# the profile of each of 24 keys: row 0 to 11 C major to B major, row 12 to 23 C minor to B minor
ALL_PROFILES = np.stack([np.roll(profile, tonic) for profile in PROFILES for tonic in range(12)])

MODES = ('major', 'minor')
# as they are written, from C upwards
NAMES = {'major': 'C Db D Eb E F F# G Ab A Bb B'.split(),
         'minor': 'C C# D Eb E F F# G G# A Bb B'.split()}
SCALES = {'major': (0, 2, 4, 5, 7, 9, 11),
          'minor': (0, 2, 3, 5, 7, 8, 10, 11, 9)}    # the last two: raised seventh and sixth


def find_key(pitches, durations) -> tuple[int, str]:
    """The tonic, 0 (C) to 11, and the mode of the key whose profile correlates best with how long
    each of the 12 pitch classes sounds (the method of Krumhansl and Schmuckler)."""
    heard = np.bincount(np.asarray(pitches) % 12, weights=durations, minlength=12)
    best = int(np.argmax(ALL_PROFILES @ heard))
    return best % 12, MODES[best // 12]


def name_of(tonic: int, mode: str) -> str:
    """(7, 'major') -> 'G major'."""
    return f'{NAMES[mode][tonic]} {mode}'


def midi_key(tonic: int, mode: str) -> str:
    """As MIDI libraries write it: (7, 'major') -> 'G', (6, 'minor') -> 'F#m'."""
    return NAMES[mode][tonic] + ('m' if mode == 'minor' else '')


def parse_key(text: str) -> tuple[int, str]:
    """'G' -> (7, 'major'), 'F# minor', 'f#m' -> (6, 'minor'). Raises ValueError for no key."""
    found = re.fullmatch(r'([A-Ga-g])([#b]?)\s*(major|maj|minor|min|m|)', text.strip())
    if not found:
        raise ValueError(f'key = {text}: must be a key such as G, Bb, F#m or "C minor"')
    letter, sign, mode = found.groups()
    tonic = 'C D EF G A B'.index(letter.upper()) + {'': 0, '#': 1, 'b': -1}[sign]
    return tonic % 12, 'minor' if mode in ('minor', 'min', 'm') else 'major'


def raised(key: tuple[int, str], semitones: int) -> tuple[int, str]:
    """The key so much higher: (7, 'major'), 2 -> (9, 'major')."""
    tonic, mode = key
    return (tonic + semitones) % 12, mode


def transpose(pitch: int, semitones: int) -> int:
    """The pitch, so much higher; if that leaves MIDI's 128, back by octaves: (126, 5) -> 119."""
    pitch += semitones
    while pitch > 127:
        pitch -= 12
    while pitch < 0:
        pitch += 12
    return pitch


def home_key(notes) -> tuple[int, str]:
    """The key in which a piece is at home: that of its first and last eighth, by time. notes: those
    of a Score, of (start, pitch, duration, ...) in the order of time; C major if there are none."""
    if not notes:
        return 0, 'major'
    notes = np.array([note[:3] for note in notes])
    starts, pitches, durations = notes.T
    first, last = starts.min(), starts.max()
    eighth = (last - first) / 8
    outer = (starts <= first + eighth) | (starts >= last - eighth)
    return find_key(pitches[outer], durations[outer])


def scale_table() -> np.ndarray:
    """(24, 12), True for the pitch classes of each key's scale, in the order of ALL_PROFILES. A
    minor one has both sevenths, but not the raised sixth: of nine pitch classes in twelve, nearly
    all music would be in some key."""
    table = np.zeros((24, 12), bool)
    for number, mode in enumerate(MODES):
        for tonic in range(12):
            for degree in SCALES[mode][:8]:
                table[12 * number + tonic, (tonic + degree) % 12] = True
    return table


ALL_SCALES = scale_table()


def in_key(pitches, key: tuple[int, str]) -> np.ndarray:
    """Pitches (N,) -> (N,), True for those of the key's scale."""
    tonic, mode = key
    return ALL_SCALES[12 * MODES.index(mode) + tonic, np.asarray(pitches) % 12]


def time_in_scale(heard: np.ndarray) -> np.ndarray:
    """How long each pitch class sounds, (bars, 12) -> (bars,) how long those of the scale do that
    fits best."""
    return (heard @ ALL_SCALES.T).max(axis=1)


def keys_apart(one: tuple[int, str], other: tuple[int, str]) -> int:
    """How many sharps or flats two keys differ by, 0 to 6: C major and A minor by none."""
    fifths = []
    for tonic, mode in (one, other):
        relative = tonic if mode == 'major' else tonic + 3       # the major key of the same signs
        fifths.append(7 * relative % 12)
    apart = (fifths[0] - fifths[1]) % 12
    return min(apart, 12 - apart)
