"""Keys in the musician's sense. Each test forbids one mistake."""

import mido
import pytest

from lib.score import Note, Score, read_midi, write_midi
from lib.tonality import (MODES, NAMES, SCALES, find_key, home_key, midi_key, name_of, parse_key,
                          raised)
from test_score import GOLDBERG
from tokenizer_midi import HOMES

MINOR = (15, 21, 25)                             # the variations in G minor


@pytest.mark.parametrize('key', HOMES)
def test_a_cadence_is_in_its_key(key):
    """Forbids a key whose chords are taken for another's, at any of the 24: I IV V I, with the
    leading note in minor; and a piece transposed that is not in the key transposed."""
    tonic, mode = key
    third = 4 if mode == 'major' else 3
    chords = [(0, third, 7), (5, 5 + third, 12), (7, 11, 14), (0, third, 7, 12)]
    pitches = [48 + tonic + step for chord in chords for step in chord]
    assert find_key(pitches, [24] * len(pitches)) == key
    scale = [48 + tonic + step for step in SCALES[mode]] + [48 + tonic]
    assert find_key(scale, [24] * len(scale)) == key
    assert name_of(*key) == f'{NAMES[mode][tonic]} {mode}' and raised(key, 12) == key


def test_long_notes_count_for_more():
    """Forbids a key that ornaments decide: the durations weigh."""
    pitches = [60, 64, 67, 61, 66, 68, 70]
    assert find_key(pitches, [96, 96, 96, 1, 1, 1, 1]) == (0, 'major')
    assert find_key(pitches, [1, 1, 1, 96, 96, 96, 96]) != (0, 'major')
    assert home_key([]) == (0, 'major')


@pytest.mark.parametrize('number', range(32))
def test_the_goldberg_is_at_home_in_g(number):
    """Forbids another home than Bach's, and one that does not move with the music."""
    notes = read_midi(str(GOLDBERG[number])).notes
    home = 7, 'minor' if number in MINOR else 'major'
    assert home_key(notes) == home
    moved = [note._replace(pitch=note.pitch - 5) for note in notes]
    assert home_key(moved) == raised(home, -5)


def test_home_is_where_a_piece_begins_and_ends():
    """Forbids a long middle in another key that gives its name to the whole, also of a piece that
    begins late."""
    def scale(tonic, start):
        return [Note(start + 12 * i, 60 + tonic + step, 12)
                for i, step in enumerate((0, 2, 4, 5, 7, 9, 11, 12))]
    notes = scale(0, 0) + [note for i in range(1, 7) for note in scale(6, 96 * i)] + scale(0, 672)
    assert home_key(notes) == (0, 'major')
    assert find_key([note.pitch for note in notes], [note.duration for note in notes]) == (
        6, 'major')
    later = [note._replace(start=note.start + 10_000) for note in notes]
    assert home_key(later) == (0, 'major')


GOOD = {'G': (7, 'major'), 'g': (7, 'major'), 'Bb': (10, 'major'), 'b': (11, 'major'),
        'bb': (10, 'major'), 'F#m': (6, 'minor'), 'f# minor': (6, 'minor'), 'Cb': (11, 'major'),
        'B#': (0, 'major'), 'Db maj': (1, 'major'), ' C minor ': (0, 'minor'),
        'Abmin': (8, 'minor'), 'E  major': (4, 'major')}


@pytest.mark.parametrize('text', GOOD)
def test_keys_that_are_understood(text):
    """Forbids a name that musicians write and that is refused or taken for another key."""
    assert parse_key(text) == GOOD[text]


@pytest.mark.parametrize('text', ['', 'H', 'G##', 'Gbb', '#', 'm', 'G moll', 'G-dur', 'GG', 'G 7',
                                  'minor', 'C dorian', '7', 'Gmajor!', 'C\u266f'])
def test_keys_that_are_none(text):
    """Forbids a traceback, or a key, for what is none: one line that names it."""
    with pytest.raises(ValueError) as error:
        parse_key(text)
    assert str(error.value) == f'key = {text}: must be a key such as G, Bb, F#m or "C minor"'


@pytest.mark.parametrize('key', HOMES)
def test_every_key_has_a_name_in_files_and_for_people(path, key):
    """Forbids a key that a MIDI file can't hold, or whose name is read as another one: it stands at
    the beginning of all tracks, since some programs look only in the first and some in the others.
    """
    assert parse_key(name_of(*key)) == parse_key(midi_key(*key)) == key
    assert len(HOMES) == 24 and key[1] in MODES
    write_midi(Score([Note(0, 60, 24), Note(0, 60, 12)], [(0, 90.0)], home=key), path)
    tracks = mido.MidiFile(path).tracks
    assert len(tracks) == 3
    for track in tracks:
        signatures = [message.key for message in track if message.type == 'key_signature']
        assert signatures == [midi_key(*key)] and track[0].type == 'key_signature'
