"""The harpsichord of lib/synth.py, heard with numbers."""
import subprocess
import sys
import tracemalloc
import wave
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from lib import synth  # noqa: E402
from lib.score import Note, Score  # noqa: E402
from lib.synth import RELEASE, SAMPLE_RATE, fluidsynth, render, write_wav  # noqa: E402

PEAK = 10 ** (-1 / 20)


def spectrum(sound, pad=1):
    """Magnitudes and their frequencies in Hz, under a Hann window, zero-padded `pad` times."""
    size = pad * len(sound)
    return (np.abs(np.fft.rfft(sound * np.hanning(len(sound)), size)),
            np.fft.rfftfreq(size, 1 / SAMPLE_RATE))


def brightness(sound):
    """The centre of gravity of the power spectrum, in Hz."""
    magnitude, f = spectrum(sound)
    return np.sum(f * magnitude ** 2) / np.sum(magnitude ** 2)


def decibel(sound, start, end):
    """RMS level between two times in seconds."""
    part = sound[round(start * SAMPLE_RATE):round(end * SAMPLE_RATE)].astype(float)
    return 10 * np.log10(np.mean(part ** 2) + 1e-20)


def dry(notes):
    """The strings without the room, both ears together: (N,)"""
    return render(notes, room=False).mean(axis=1)


def piece(n_notes, seconds, seed=0):
    """Random notes over the range of a harpsichord, as dense as asked for."""
    rng = np.random.default_rng(seed)
    return [(float(rng.uniform(0, seconds - 1.5)), float(rng.uniform(0.1, 1.5)),
             int(rng.integers(29, 90)), int(rng.integers(40, 128))) for _ in range(n_notes)]


@pytest.fixture(scope="module")
def dense():
    """A few seconds in which many keys sound at once: the notes, and their sound."""
    notes = piece(20, 3)
    return notes, render(notes)


# ------------------------------------------------------------------------------------ the string

@pytest.mark.parametrize("pitch", range(21, 109, 8))
def test_in_tune(pitch):
    """Forbids the classic fault of plucked strings: a period of whole samples, so a sour treble;
    and a room that pulls the bass out of tune."""
    hz = 440 * 2 ** ((pitch - 69) / 12)
    sound = render([(0, 1, pitch, 80)])[:SAMPLE_RATE].mean(axis=1)
    magnitude, f = spectrum(sound, pad=4)
    near = np.flatnonzero(np.abs(f / hz - 1) < 0.03)
    k = near[np.argmax(magnitude[near])]
    a, b, c = np.log(magnitude[k - 1:k + 2])         # a parabola through the top of the peak
    found = (k + 0.5 * (a - c) / (a - 2 * b + c)) * f[1]
    assert abs(1200 * np.log2(found / hz)) < 2


def test_bass_rings_longer_than_treble():
    """Forbids strings that all fade alike, as one loss a second for all of them gives."""
    falls = []
    for pitch in (36, 60, 84, 108):
        sound = dry([(0, 1.1, pitch, 80)])
        falls.append(decibel(sound, 0, 0.1) - decibel(sound, 0.9, 1.1))
    assert falls == sorted(falls) and falls[0] < 15 < 30 < falls[-1]


@pytest.mark.parametrize("pitch", (36, 54, 72))
def test_bright_pluck_then_mellow(pitch):
    """Forbids an organ: the sound must start bright and lose its treble first."""
    sound = dry([(0, 1.2, pitch, 80)])
    first, later = brightness(sound[:4410]), brightness(sound[SAMPLE_RATE:SAMPLE_RATE + 8820])
    assert 800 < first < 3500 and later < 0.85 * first


def test_the_lute_stop():
    """Forbids a second colour that is the first: felt is duller and dies away at once."""
    harpsichord, lute = (render([(0, 1, 60, 90)], colour).mean(axis=1) for colour in synth.COLOURS)
    assert brightness(lute[:8820]) < 0.7 * brightness(harpsichord[:8820])
    falls = [decibel(sound, 0, 0.1) - decibel(sound, 0.9, 1) for sound in (harpsichord, lute)]
    assert falls[0] < 25 and falls[1] > 40
    with pytest.raises(ValueError, match='colour = organ: must be one of harpsichord, lute'):
        render([(0, 1, 60, 80)], colour='organ')


# -------------------------------------------------------------------------------------- the notes

def test_notes_sound_at_their_tempo():
    """Forbids a tempo map that is ignored, begins late, or forgets what came before a change."""
    notes = [Note(0, 60, 24), Note(24, 60, 48), Note(96, 60, 24, 100)]
    assert synth.seconds(Score(notes)) == [(0, 0.5, 60, 80), (0.5, 1, 60, 80), (2, 0.5, 60, 100)]
    slower = synth.seconds(Score(notes, tempos=[(0, 120.0), (48, 60.0)]))
    assert [note[:2] for note in slower] == [(0, 0.5), (0.5, 1.5), (3, 1)]


def test_no_notes_are_half_a_second_of_silence():
    """Forbids dividing silence by its peak, and the max() of nothing."""
    sound = render(synth.seconds(Score()))
    assert sound.shape == (SAMPLE_RATE // 2, 2) and sound.dtype == np.float32 and not sound.any()


def test_peak_is_one_decibel_below_full_scale(dense):
    """Forbids clipping when many notes add up, and whispering when there is one soft note."""
    for sound in (dense[1], render([(0, 1, 60, 1)])):
        assert sound.dtype == np.float32 and np.abs(sound).max() == pytest.approx(PEAK, rel=1e-3)


def test_every_pitch_sounds():
    """Forbids a key that is mute, infinite or louder than its neighbours: 0 and 127 included."""
    levels = []
    for pitch in (*range(0, 128, 6), 127):
        [sound] = synth.voice(pitch, 0.3)
        assert np.isfinite(sound).all()
        levels.append(decibel(sound, 0, 0.1))
    assert np.ptp(levels) < 0.1


@pytest.mark.parametrize("pitch", (24, 48, 69, 96))
def test_a_note_stops(pitch):
    """Forbids the stuck note, and a damper that takes its time: 80 ms and nothing is left."""
    sound = dry([(0.2, 0.5, pitch, 90), (1, 0.1, 60, 90)])
    held, damped = decibel(sound, 0.6, 0.7), decibel(sound, 0.7 + RELEASE / 2, 0.7 + RELEASE)
    assert damped < held - 20
    assert not sound[:int(0.2 * SAMPLE_RATE)].any()
    assert not sound[int((0.7 + RELEASE) * SAMPLE_RATE) + 1:SAMPLE_RATE].any()


@pytest.mark.parametrize("pitch, duration", ((0, 0.05), (0, 1.7), (28, 0.3331), (60, 0.05),
                                             (60, 30), (127, 0.3331), (127, 1.7)))
def test_no_click(pitch, duration):
    """Forbids a note that is chopped: after the pluck no step is as steep as those of the string
    itself just before, not at the note's end, nor where the stored string ends."""
    sound = dry([(0, duration, pitch, 100)])
    steps = np.abs(np.diff(sound, append=0))
    end = int(min(duration, 12 - RELEASE) * SAMPLE_RATE)
    before = steps[max(end - 8000, 100):end - 20].max()
    assert steps[end - 20:].max() <= 1.05 * before and steps[-1] < 1e-6


def test_one_string_is_one_string():
    """Forbids a unison of two voices that is twice as loud, a key held by one voice that the other
    voice silences, and a string that goes on below its own next pluck."""
    long, short = (0, 1, 60, 80), (0.5, 0.1, 60, 80)
    assert np.array_equal(dry([long, long, (0, 0.5, 60, 80)]), dry([long]))
    assert decibel(dry([long, short]), 0.8, 0.95) > -40
    again = dry([long, (0.5, 0.5, 60, 80)])
    assert np.allclose(again, dry([(0, 0.5, 60, 80), (0.5, 0.5, 60, 80)]), atol=1e-6)


@pytest.mark.parametrize("duration", (0, -1, 1e-12, float("-inf")))
def test_shortest_note(duration):
    """Forbids a note without a length that crashes, disappears or sounds backwards."""
    sound = dry([(0.1, duration, 60, 80)])
    assert len(sound) == SAMPLE_RATE // 2 and np.abs(sound).max() > 0.8


def test_hands_are_no_clock():
    """Forbids a chord like a guillotine, or like an arpeggio; a pulse that is exact, or wanders off
    from the page's cursor; a unison that is struck twice; notes that end early or late."""
    chords = [(0.5 * number, 0.5, pitch, 80) for number in range(80) for pitch in (48, 60, 60, 64)]
    played = synth.play(reversed(chords))
    assert played == synth.play(chords)
    starts = np.array([start for start, *_ in played]).reshape(80, 4)
    late = starts - starts[:, :1]
    assert (late[:, 1] == late[:, 2]).all() and (0 <= late).all() and late.max() < 0.008
    assert np.ptp(late[:, 1]) > 0.005
    offsets = starts[:, 0] - 0.5 * np.arange(80)
    assert starts[0, 0] == 0 and 0.004 < np.ptp(offsets) and np.abs(offsets).max() < 0.01
    assert 0.002 < np.abs(np.diff(offsets)).max() / 0.5 <= 0.005
    ends = np.array([start + duration for start, duration, *_ in played]).reshape(80, 4)
    assert ends[:-1] == pytest.approx(starts[1:, :1].repeat(4, axis=1))


def test_a_score_is_played():
    """Forbids a score that sounds in another colour than was asked for, or like a clock."""
    score = Score([Note(0, 60, 12), Note(0, 67, 12), Note(12, 64, 12)])
    played = synth.play(synth.seconds(score))
    for colour in synth.COLOURS:
        assert np.array_equal(synth.sound_of(score, colour), render(played, colour))


def test_a_key_that_comes_up_is_heard():
    """Forbids a note that ends as if faded by a machine, and a key that is as loud coming up as
    going down."""
    mixes = np.zeros((2, SAMPLE_RATE, 2), np.float32)
    for mix, brush in zip(mixes, (0, synth.BRUSH)):
        synth.pluck(mix, 72, [(0.0, 0.5, 100)], 'harpsichord', brush)
    without, extra = mixes[0].mean(axis=1), (mixes[1] - mixes[0]).mean(axis=1)
    assert not extra[:SAMPLE_RATE // 2 - 1].any()
    long = render([(0, 14, 48, 100)])                    # it has faded before
    assert decibel(long, 11.9, 12) < decibel(long, 11, 11.1)
    assert 24 < decibel(without, 0, 0.02) - decibel(extra, 0.5, 0.52) < 36


def test_lute_and_harpsichord_are_as_loud():
    """Forbids a listener who has to reach for the knob when the colour changes, and a limiter that
    pumps: it leaves quiet moments alone, and keeps its limit without a jump."""
    notes = piece(20, 4, seed=1)
    levels = [decibel(render(notes, colour), 0, 4) for colour in synth.COLOURS]
    assert abs(levels[0] - levels[1]) < 1
    quiet = 0.1 * np.sin(np.arange(3 * SAMPLE_RATE) / 50)
    mix = np.stack([quiet, quiet], axis=1).astype(np.float32)
    mix[SAMPLE_RATE:SAMPLE_RATE + 3000] *= 10
    before = mix.copy()
    synth.turn_down(mix, 4)
    assert np.abs(mix).max() == pytest.approx(10 ** (-4 / 20), rel=0.01)
    assert np.array_equal(mix[:SAMPLE_RATE - 2048], before[:SAMPLE_RATE - 2048])
    assert np.array_equal(mix[SAMPLE_RATE + 6000:], before[SAMPLE_RATE + 6000:])
    gain = mix[:, 0] / np.where(before[:, 0] == 0, 1, before[:, 0])
    assert np.abs(np.diff(gain[before[:, 0] != 0])).max() < 0.001


def test_the_bass_is_full():
    """Forbids a harpsichord that is thin: of these notes .15 of the power was below 250 Hz once."""
    magnitude, f = spectrum(dry(piece(20, 4)))
    assert 0.2 < (magnitude[f < 250] ** 2).sum() / (magnitude ** 2).sum() < 0.4


def test_repeated_notes_differ():
    """Forbids a note that sounds like a machine when it is repeated, bit by bit the same; and one
    that sounds like another note, or is louder."""
    repeated = dry([(number, 0.5, 60, 100) for number in range(4)])
    first, second, third, fourth = (repeated[number * SAMPLE_RATE:][:20_000] for number in range(4))
    assert np.array_equal(first, fourth)
    for one, other in ((first, second), (second, third), (first, third)):
        likeness = (one @ other) / np.sqrt((one @ one) * (other @ other))
        assert 0.8 < likeness < 0.999
        assert 0.9 < np.std(one) / np.std(other) < 1.1


def test_deterministic(dense):
    """Forbids noise from a shared generator: same notes, same samples, whatever their order."""
    notes, sound = dense
    np.random.seed(7)
    assert np.array_equal(sound, render(note for note in reversed(notes)))


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("note", [
    (1e9, 1, 60, 80), (0, 1e9, 60, 80), (1e300, 1e300, 60, 80), (-0.1, 1, 60, 80),
    (NAN, 1, 60, 80), (0, NAN, 60, 80), (INF, -INF, 60, 80), (0, INF, 60, 80),
    (0, 1, NAN, 80), (0, 1, 60, NAN), (0, 1, -1, 80), (0, 1, 128, 80), (0, 1, 60, 0),
    (0, 1, 60, 128)], ids=str)
def test_garbage_is_refused(note):
    """Forbids a note at 10^9 seconds that takes all memory, and NaN that becomes noise."""
    with pytest.raises(ValueError, match=f"^note of .*: drop it, it leaves 0..{synth.LONGEST} s"):
        render([(0, 1, 60, 80), note])


def test_memory_is_the_piece_and_a_string(monkeypatch):
    """Forbids memory that grows with the notes (all strings kept, or a buffer a note), and a room
    that takes a long piece at once. At a tenth of the rate all is a tenth as large."""
    monkeypatch.setattr(synth, "SAMPLE_RATE", SAMPLE_RATE // 10)
    notes = [(3 * number, 10, 30 + number, 80) for number in range(40)]
    tracemalloc.start()
    sound = render(notes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(sound) < 130 * synth.SAMPLE_RATE and peak < sound.nbytes + 6e6


# --------------------------------------------------------------------------------------- the room

def test_bass_left_treble_right():
    """Forbids a keyboard that is heard from behind, ears of which one is deaf, and a key that is
    louder than another because of where it stands."""
    shares = []
    for pitch in (24, 48, 60, 72, 108):
        power = (render([(0, 0.1, pitch, 80)], room=False).astype(float) ** 2).sum(axis=0)
        shares.append(power[1] / power.sum())
        assert synth.place(pitch) @ synth.place(pitch) == pytest.approx(1)
    assert shares == sorted(shares) and shares[2] == pytest.approx(0.5, abs=1e-3)
    assert 0.05 < shares[0] < 0.3 and 0.7 < shares[-1] < 0.95


def test_the_room_rings_on_and_fades():
    """Forbids a note that ends as if cut with scissors, a room that rings like a bell or forever,
    and two ears that hear the same wall."""
    sound = render([(0, 0.5, 60, 100)])
    levels = [decibel(sound, start, start + 0.1) for start in np.arange(0.6, 1.5, 0.1)]
    assert levels[0] > decibel(sound, 0, 0.1) - 40
    assert all(later < earlier - 2 for earlier, later in zip(levels, levels[1:]))
    assert levels[-1] < levels[0] - 35
    tail = sound[int(0.6 * SAMPLE_RATE):]
    assert abs(np.corrcoef(tail.T)[0, 1]) < 0.5


def test_left_and_right_add_up(dense):
    """Forbids ears that cancel each other on one loudspeaker, and a hum at 0 Hz."""
    sound = dense[1].astype(float)
    both = (sound.sum(axis=1) ** 2).sum() / (2 * (sound ** 2).sum())
    assert both > 0.5 and abs(sound.mean(axis=0)).max() < 1e-4


def test_a_long_piece_has_the_room_of_a_short_one(monkeypatch):
    """Forbids a seam every few seconds, where a block of the convolution begins. (The seconds are
    short here: of 1,000 samples.)"""
    monkeypatch.setattr(synth, "SAMPLE_RATE", 1000)
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((20_099, 2)).astype(np.float32)
    wet = mix.copy()
    synth.add_room(wet)
    size = 2 * len(mix)
    answer = np.fft.rfft(synth.walls(), size, axis=0)
    heard = np.fft.rfft(mix.mean(axis=1), size)[:, None]
    whole = mix + synth.WET * np.fft.irfft(heard * answer, size, axis=0)[:len(mix)]
    assert np.allclose(wet, whole, atol=1e-3)


# -------------------------------------------------------------------------------------- the files

LOUD = np.array([*np.linspace(-1, 1, 2 * SAMPLE_RATE + 7), 2, -2], np.float32)
STEREO = np.array([[0.1, -0.1], [0.2, -0.2], [0.3, -0.3]], np.float32)


@pytest.mark.parametrize("samples", (LOUD, LOUD[:0], STEREO), ids=("loud", "empty", "stereo"))
def test_wav_is_what_was_rendered(samples, tmp_path):
    """Forbids the wrong rate, channels, byte order or scale, loud samples that wrap around, and
    left and right exchanged, or one after the other."""
    write_wav(tmp_path / "a.wav", samples)
    with wave.open(str(tmp_path / "a.wav")) as wav:
        assert wav.getparams()[:4] == (samples.ndim, 2, SAMPLE_RATE, len(samples))
        read = np.frombuffer(wav.readframes(len(samples)), "<i2") / 32767
    assert len(read) == samples.size and np.allclose(read, samples.clip(-1, 1).flat, atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_wav_is_never_half_written(tmp_path, monkeypatch):
    """Forbids half a file under the good name when the disk is full, and losing the old one."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"the old one")

    def full(*_):
        raise OSError("no space left on device")
    monkeypatch.setattr(wave.Wave_write, "writeframes", full)
    with pytest.raises(OSError, match="no space"):
        write_wav(path, render([]))
    assert path.read_bytes() == b"the old one" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("fails", (OSError("killed"), KeyboardInterrupt(), 1))
def test_a_small_sound_is_never_half_written(tmp_path, monkeypatch, fails):
    """Forbids half an MP3 that the page plays, a large WAV that is left beside it, and losing the
    old one, when ffmpeg fails or is stopped."""
    (tmp_path / "a.mp3").write_bytes(b"the old one")
    (tmp_path / "a.part.wav").write_bytes(b"samples")

    def run(command, **_):
        Path(command[-1]).write_bytes(b"half")
        if isinstance(fails, BaseException):
            raise fails
        return subprocess.CompletedProcess(command, fails, "", "no room\n")
    monkeypatch.setattr(synth.shutil, "which", lambda name: name)
    monkeypatch.setattr(synth.subprocess, "run", run)
    with pytest.raises((ValueError, OSError, KeyboardInterrupt)):
        synth.compress(tmp_path / "a.part.wav", tmp_path / "a.mp3")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"the old one"]
    fails = 0
    (tmp_path / "a.part.wav").write_bytes(b"samples")
    synth.compress(tmp_path / "a.part.wav", tmp_path / "a.mp3")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"half"]


def test_missing_fluidsynth_is_explained(tmp_path, monkeypatch):
    """Forbids a bare FileNotFoundError for the people who have no FluidSynth. (What those are told
    who have no soundfont stands in test_wrong_uses.py.)"""
    monkeypatch.setattr(synth.shutil, "which", lambda _: None)
    (tmp_path / "b.sf2").write_bytes(b"sounds")
    with pytest.raises(ValueError, match="apt .*Linux.*brew .*macOS.*choco .*Windows"):
        fluidsynth(Score(), tmp_path / "a.wav", tmp_path / "b.sf2")


@pytest.mark.parametrize("code, stderr, message", [
    (0, "", ""),
    (1, "", "fluidsynth: it failed"),
    (255, "error: x\nNo midi file specified!\n", "fluidsynth: No midi file specified!"),
    (0, "fluidsynth: error: x\nFailed to load it\n", "fluidsynth: Failed to load it")])
def test_fluidsynth_that_fails(tmp_path, monkeypatch, code, stderr, message):
    """Forbids a silent WAV for a good one: given a bad soundfont FluidSynth complains, but goes on
    and returns 0. And forbids what is left of it, next to the MIDI file."""
    font, out = tmp_path / "a.sf2", tmp_path / "a.wav"
    font.write_bytes(b"RIFF")

    def run(command, **_):
        write_wav(command[command.index("-F") + 1], np.array([[0.1, -0.2], [0.0, 0.1]]))
        return subprocess.CompletedProcess(command, code, "", stderr)
    monkeypatch.setattr(synth.shutil, "which", lambda name: name)
    monkeypatch.setattr(synth.subprocess, "run", run)
    said = ""
    try:
        fluidsynth(Score(), out, font)
    except ValueError as error:
        said = str(error)
    assert said == message and out.exists() == (not message)
    if not message:                                  # as loud as ours, whatever the soundfont is
        with wave.open(str(out)) as wav:
            samples = np.frombuffer(wav.readframes(9), "<i2") / 32768
        assert samples.tolist() == pytest.approx([0.446, -0.891, 0, 0.446], abs=1e-3)
    assert not list(tmp_path.glob("*.part"))


def test_import_is_light():
    """Forbids a synthesizer that loads a deep-learning framework before it can hum."""
    code = ("import sys; from lib import synth; "
            "print([m for m in ('torch', 'mido', 'scipy') if m in sys.modules])")
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr
