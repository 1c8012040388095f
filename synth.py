"""MIDI notes -> the sound of a harpsichord in a small room, in numpy.

Pluck: a plectrum lifts the string and lets it go. String: the pluck runs to and fro in a loop
(Karplus & Strong 1983); each round it comes back a period later and a little duller,
y[n] = pluck[n] + dull(y[n - period]). Seen by frequency, "a period later and duller" is a
multiplication by `trip`, and all the rounds together are a geometric series:

    pluck * (1 + trip + ... + trip**(rounds - 1)) = pluck * (1 - trip**rounds) / (1 - trip)

So a string is one division and one inverse FFT; and in tune, as no period is rounded to samples.
Body: a knock of wood and the rustle it leaves. Place: the bass stands to the left, the treble to
the right. Room: what the walls send back, other noise at the left ear than at the right, that fades
within a second, the treble first (Moorer 1979).
"""

import math
import os
import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np

SAMPLE_RATE = 44100      # Hz; = (2 * 3 * 5 * 7)**2, so that whole seconds make quick FFTs
LONGEST = 7200           # seconds of a piece at most
SHORTEST = 0.03          # seconds that a key is down at least
RELEASE = 0.08           # seconds that the damper takes
RING = 12                # seconds of a string that are kept at most

# Each colour: its choirs of strings (tuning, level, plucking point), how long they ring, and where
# the pluck loses its treble, in Hz. In the harpsichord a key plucks two strings at its pitch (8'),
# a hair apart so that they beat, and one an octave up. The lute stop presses felt on one string.
COLOURS = {'harpsichord': ([(1.0, 1.0, 0.12), (1.0006, 0.6, 0.17), (2.0, 0.4, 0.21)], 1.0, 3000),
         'lute': ([(1.0, 1.0, 0.12)], 0.15, 1400)}

WIDTH = 0.6              # how far apart bass and treble stand: 0 in the middle, 1 at the ears
WALLS = 1.0              # seconds in which the room fades by 60 dB
FIRST = 0.012            # seconds until the nearest wall answers
WET = 0.25               # loudness of the room beside that of the strings


# ---- a key

def string(hz, point, length, f, ringing=1.0, treble=3000):
    """Spectrum (F,) at f Hz of `length` seconds of a string of hz, plucked at `point` (0 to 1)."""
    ring = ringing * min(10, 8 * math.sqrt(131 / hz))    # seconds to fade by 60 dB: bass longest
    fade = math.log(1000) / ring + 1.5e-7 * f ** 2       # per second: the treble goes first
    log_trip = -(fade + 2j * np.pi * f) / hz             # one round takes 1 / hz seconds
    # One wave leaves each way; an end returns one upside down, so what has a node there is mute.
    pluck = (1 - np.exp(-2j * np.pi * f * point / hz)) / (1 + 1j * f / treble) ** 2
    rounds = math.ceil(length * hz)
    return pluck * (1 - np.exp(rounds * log_trip)) / (1 - np.exp(log_trip))


def voice(pitch, length, colour='harpsichord'):
    """A key held for `length` seconds, RING at most: float32 (N,), as loud as any other key."""
    choirs, ringing, treble = COLOURS[colour]
    hz = 440 * 2 ** ((pitch - 69) / 12)
    length = min(length, RING)
    n = SAMPLE_RATE * math.ceil(length + 0.3)            # room for the last round, too
    f = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)              # Hz, (F,) with F = N // 2 + 1
    strings = 0
    for tuning, level, point in choirs:
        strings = strings + level * string(hz * tuning, point, length, f, ringing, treble)

    # the body: a knock, and the rustle it leaves
    t = np.arange(SAMPLE_RATE // 10) / SAMPLE_RATE
    rustle = np.random.default_rng(1685).standard_normal(t.size) * np.exp(-t / 0.015)
    wood = 5 * (t == 0) + rustle
    sound = np.fft.irfft(strings * np.fft.rfft(wood, n), n)[:int(length * SAMPLE_RATE)]
    loudness = np.sqrt(np.mean(sound[:t.size] ** 2))
    return (sound / loudness).astype(np.float32)


def place(pitch):
    """How loud a key is at the left and at the right ear (2,): together always as loud."""
    side = min(1, max(-1, (pitch - 60) / 36))            # -1 three octaves below middle C
    angle = np.pi / 4 * (1 + WIDTH * side)
    return np.array([math.cos(angle), math.sin(angle)], np.float32)


# ---- a piece

def seconds(score):
    """The notes of a Score as they sound: [(start s, duration s, pitch, velocity)]."""
    steps, bpm = zip((0, 120), *score.tempos, (10 ** 9, 120))   # 24 steps to the quarter
    times = np.cumsum([0, *np.diff(steps) * 60 / 24 / np.array(bpm)[:-1]])
    when = np.interp([[n.start, n.start + n.duration] for n in score.notes], steps, times)
    return [(a, b - a, n.pitch, n.velocity) for (a, b), n in zip(when.tolist(), score.notes)]


def plucks_of(notes):
    """Notes -> {pitch: [(start s, end s, velocity)]} in the order of time. Raises ValueError for a
    note that is out of bounds."""
    keys = {}
    for start, duration, pitch, velocity in sorted(map(tuple, notes)):
        end = start + max(duration, SHORTEST)
        if not (0 <= start < end <= LONGEST and 0 <= pitch <= 127 and 1 <= velocity <= 127):
            raise ValueError(f'note of {start:g} to {end:g} s, pitch {pitch}, velocity {velocity}:'
                             f' drop it, it leaves 0..{LONGEST} s, pitch 0..127 or velocity 1..127')
        keys.setdefault(pitch, []).append((start, end, velocity))
    return keys


def pluck(mix, pitch, plucks, colour):
    """Add all that one key plays, [(start s, end s, velocity)], to the mix (N, 2)."""
    longest = max(end - start for start, end, _ in plucks)
    sound = voice(pitch, longest + RELEASE, colour)
    damper = np.linspace(1, 0, int(RELEASE * SAMPLE_RATE), dtype=np.float32) ** 3
    ears = place(pitch)
    held = 0
    nexts = [start for start, *_ in plucks[1:]] + [math.inf]
    for (start, end, velocity), again in zip(plucks, nexts):
        held = max(held, end)
        until = min(held, again)         # the last finger lets go, or the key is struck again
        if until <= start:
            continue                     # the same stroke as the next: two voices in unison
        note = sound[:int((until - start + RELEASE) * SAMPLE_RATE)] * (velocity / 127) ** 0.5
        note[-damper.size:] *= damper
        mix[int(start * SAMPLE_RATE):][:len(note)] += note[:, None] * ears


def walls():
    """What the room answers to one click, (N, 2): noise that fades by 60 dB in WALLS seconds and
    grows duller; each ear has its own."""
    t = np.arange(int(WALLS * SAMPLE_RATE)) / SAMPLE_RATE
    noise = np.random.default_rng(1750).standard_normal((t.size, 2))
    f = np.fft.rfftfreq(t.size, 1 / SAMPLE_RATE)[:, None]
    answer = np.zeros((t.size, 2))
    for cut, life in ((6000, 0.3), (2500, 0.6), (1000, 1.0)):    # what is below `cut` Hz lives so
        band = np.fft.irfft(np.fft.rfft(noise, axis=0) / (1 + (f / cut) ** 4), t.size, axis=0)
        answer += band * np.exp(-math.log(1000) * t / (life * WALLS))[:, None]
    answer[t < FIRST] = 0
    # a small room has no bass, and what it had would pull the lowest strings out of tune
    low = 1 / (1 + (200 / np.maximum(f, 1)) ** 4)
    answer = np.fft.irfft(np.fft.rfft(answer, axis=0) * low, t.size, axis=0)
    return (answer / np.sqrt((answer ** 2).sum(axis=0))).astype(np.float32)


def add_room(mix):
    """Add to the mix (N, 2), in place, what the room answers to it: a convolution, by FFT and a few
    seconds at a time, each of which leaves something to those after it."""
    answer = walls()
    block = 8 * SAMPLE_RATE
    size = block + SAMPLE_RATE                           # enough that nothing wraps around
    spectrum = np.fft.rfft(answer, size, axis=0)
    left_over = np.zeros((size - block, 2), np.float32)
    for start in range(0, len(mix), block):
        part = mix[start:start + block]
        heard = np.fft.rfft(part.mean(axis=1), size)[:, None]
        wet = WET * np.fft.irfft(heard * spectrum, size, axis=0).astype(np.float32)
        wet[:len(left_over)] += left_over
        part += wet[:len(part)]
        left_over = wet[block:]


def render(notes, colour='harpsichord', room=True):
    """Notes (start s, duration s, pitch 0..127, velocity 1..127) -> float32 (N, 2), left and right,
    peak at -1 dBFS. No notes are half a second of silence. `colour` is one of COLOURS; without
    `room` there are the strings alone. ValueError names a note that is out of bounds, or the
    colours."""
    if colour not in COLOURS:
        raise ValueError(f'colour = {colour}: must be one of {", ".join(COLOURS)}')
    keys = plucks_of(notes)
    ends = [end for plucks in keys.values() for _, end, _ in plucks]
    length = max([0.5] + [end + RELEASE + room * WALLS for end in ends])
    mix = np.zeros((math.ceil(length * SAMPLE_RATE), 2), np.float32)
    for pitch, plucks in keys.items():
        pluck(mix, pitch, plucks, colour)
    if room and keys:
        add_room(mix)
    peak = max(mix.max(), -mix.min(), 1e-9)
    mix *= 10 ** (-1 / 20) / peak
    return mix


# ---- files

def write_wav(path, samples):
    """Samples in [-1, 1], (N,) mono or (N, 2) stereo -> 16-bit PCM, renamed when complete: never
    half a file."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with open(f'{path}.part', 'wb') as file, wave.open(file) as wav:
        wav.setparams((channels, 2, SAMPLE_RATE, len(samples), 'NONE', ''))
        for start in range(0, len(samples), SAMPLE_RATE):
            block = samples[start:start + SAMPLE_RATE]
            wav.writeframes((block.clip(-1, 1) * 32767).round().astype('<i2').tobytes())
    os.replace(f'{path}.part', path)


def fluidsynth(midi_path, wav_path, soundfont):
    """MIDI -> WAV by the program FluidSynth; ValueError if that, or the soundfont, fails us."""
    if not shutil.which('fluidsynth'):
        raise ValueError('fluidsynth is not installed: apt install fluidsynth (Linux), '
                         'brew install fluid-synth (macOS), choco install fluidsynth (Windows)')
    if not os.path.isfile(soundfont):
        raise ValueError(f'{soundfont}: no such soundfont; give the path of an .sf2 file')
    part = Path(f'{wav_path}.part')
    run = subprocess.run(['fluidsynth', '-n', '-i', '-g', '1', '-T', 'wav', '-F', part, soundfont,
                          midi_path], capture_output=True, text=True, errors='replace')
    if run.returncode or 'error' in run.stderr:      # it may write silence and return 0
        part.unlink(missing_ok=True)
        raise ValueError('fluidsynth: ' + (run.stderr.strip() or 'it failed').splitlines()[-1])
    part.replace(wav_path)
