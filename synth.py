"""MIDI notes -> the sound of a harpsichord, in numpy: no room, no stereo, no pedal.

A plucked string is a burst in a loop (Karplus & Strong, 1983): each round it comes back a period
later and a little duller, y[n] = pluck[n] + dull(y[n - period]). Seen by frequency, "a period later
and duller" is a multiplication by `trip`, and all the rounds together are a geometric series:
    pluck * (1 + trip + ... + trip**(rounds - 1)) = pluck * (1 - trip**rounds) / (1 - trip)
So a string is one division and one inverse FFT; and in tune, as no period is rounded to samples."""

import math
import os
import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np

SAMPLE_RATE = 44100  # Hz; = (2 * 3 * 5 * 7)**2, so that whole seconds make quick FFTs
LONGEST, SHORTEST, RELEASE = 7200, 0.03, 0.08  # seconds: a piece at most, a key at least, a damper
# A key plucks two strings at its pitch (8'), a hair apart so that they beat, and one an octave up.
CHOIRS = (1.0, 1.0, 0.12), (1.0006, 0.6, 0.17), (2.0, 0.4, 0.21)  # tuning, level, plucking point


def string(hz, point, length, f):
    """Spectrum (F,) at f Hz of `length` seconds of a string of hz, plucked at `point` (0 to 1)."""
    ring = min(10, 8 * math.sqrt(131 / hz))          # seconds to fade by 60 dB: longest in the bass
    fade = math.log(1000) / ring + 1.5e-7 * f ** 2   # per second: the treble goes first
    log_trip = -(fade + 2j * np.pi * f) / hz         # one round takes 1 / hz seconds
    # One wave leaves each way; an end returns one upside down, so what has a node there is mute.
    pluck = (1 - np.exp(-2j * np.pi * f * point / hz)) / (1 + 1j * f / 3000) ** 2
    return pluck * (1 - np.exp(math.ceil(length * hz) * log_trip)) / (1 - np.exp(log_trip))


def voice(pitch, length):
    """A key held for `length` seconds, 12 at most: float32 (N,), as loud as any other key."""
    hz, length = 440 * 2 ** ((pitch - 69) / 12), min(length, 12)
    n = SAMPLE_RATE * math.ceil(length + 0.3)       # room for the last round, too
    f = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)          # Hz, (F,) with F = N // 2 + 1
    strings = sum(level * string(hz * tuning, point, length, f) for tuning, level, point in CHOIRS)
    t = np.arange(SAMPLE_RATE // 10) / SAMPLE_RATE   # the body: a knock, and the rustle it leaves
    wood = 5 * (t == 0) + np.random.default_rng(1685).standard_normal(t.size) * np.exp(-t / 0.015)
    sound = np.fft.irfft(strings * np.fft.rfft(wood, n), n)[:int(length * SAMPLE_RATE)]
    return (sound / np.sqrt(np.mean(sound[:t.size] ** 2))).astype(np.float32)


def seconds(score):
    """The notes of a Score as they sound: [(start s, duration s, pitch, velocity)]."""
    steps, bpm = zip((0, 120), *score.tempos, (10 ** 9, 120))   # 24 steps to the quarter
    times = np.cumsum([0, *np.diff(steps) * 60 / 24 / np.array(bpm)[:-1]])
    when = np.interp([[n.start, n.start + n.duration] for n in score.notes], steps, times)
    return [(a, b - a, n.pitch, n.velocity) for (a, b), n in zip(when.tolist(), score.notes)]


def render(notes):
    """Notes (start s, duration s, pitch 0..127, velocity 1..127) -> float32 (N,), peak at -1 dBFS.
    No notes are half a second of silence. ValueError names a note that is out of bounds."""
    keys, length = {}, 0.5
    for start, duration, pitch, velocity in sorted(map(tuple, notes)):
        end = start + max(duration, SHORTEST)
        if not (0 <= start < end <= LONGEST and 0 <= pitch <= 127 and 1 <= velocity <= 127):
            raise ValueError(f'note of {start:g} to {end:g} s, pitch {pitch}, velocity {velocity}:'
                             f' drop it, it leaves 0..{LONGEST} s, pitch 0..127 or velocity 1..127')
        keys.setdefault(pitch, []).append((start, end, velocity))
        length = max(length, end + RELEASE)
    mix = np.zeros(math.ceil(length * SAMPLE_RATE), np.float32)
    damper = np.linspace(1, 0, int(RELEASE * SAMPLE_RATE), dtype=np.float32) ** 3
    for pitch, plucks in keys.items():
        sound, held = voice(pitch, max(end - start for start, end, _ in plucks) + RELEASE), 0
        for (start, end, velocity), (again, *_) in zip(plucks, plucks[1:] + [(math.inf,)]):
            stop = min(held := max(held, end), again)  # the last finger lets go, or it is restruck
            if stop > start:
                note = sound[:int((stop - start + RELEASE) * SAMPLE_RATE)] * (velocity / 127) ** 0.5
                note[-damper.size:] *= damper
                mix[int(start * SAMPLE_RATE):][:note.size] += note
    return np.multiply(mix, 10 ** (-1 / 20) / max(mix.max(), -mix.min(), 1e-9), out=mix)


def write_wav(path, samples):
    """Samples (N,) in [-1, 1] -> 16-bit mono PCM, renamed when complete: never half a file."""
    with open(f'{path}.part', 'wb') as file, wave.open(file) as wav:
        wav.setparams((1, 2, SAMPLE_RATE, len(samples), 'NONE', ''))
        for block in np.split(samples, range(SAMPLE_RATE, len(samples), SAMPLE_RATE)):
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
