"""The two hands of lib/hands.py, and the tracks that to_midi makes of them."""

import io
import random

import mido
import pytest

from conftest import ROOT
from lib.hands import LEFT, RIGHT, find_hands
from lib.score import Note, Score, read_midi, to_midi

TWO_MANUALS = {5, 8, 11, 14, 17, 20, 23, 26, 28}         # Goldberg: where the hands cross at will


def staves_of(path) -> list[tuple[int, int, int, int]]:
    """(start, pitch, duration, hand) of each note of an edition, by its tracks."""
    found = []
    for track in mido.MidiFile(path).tracks:
        hand = {'upper': RIGHT, 'lower': LEFT}.get(track.name)
        now, down = 0, {}
        for message in track:
            now += message.time
            if message.type == 'note_on' and message.velocity > 0:
                down.setdefault(message.note, []).append(now)
            elif message.type in ('note_on', 'note_off'):
                start = down[message.note].pop(0)
                found.append((start, message.note, now - start, hand))
    return sorted(found)


def test_the_hands_of_an_edition():
    """Forbids hands that read worse than a keyboard cut at middle C (.87)."""
    right = count = 0
    for path in sorted((ROOT / 'data' / 'goldberg').glob('*.mid')):
        if int(path.name[:2]) in TWO_MANUALS:
            continue
        notes = staves_of(path)
        hands = find_hands(notes)
        right += sum(hand == note[3] for hand, note in zip(hands, notes))
        count += len(notes)
    assert right / count > 0.92


def test_two_voices_are_two_hands():
    """Forbids two high voices in one hand, while the other rests; a hand that spans two octaves;
    and hands in another order than that of the notes given."""
    voices = [Note(24 * step, 60 + step, 24) for step in range(16)]
    voices += [Note(24 * step, 76 + step % 3, 24) for step in range(16)]
    hands = find_hands(voices)
    assert hands == [LEFT] * 16 + [RIGHT] * 16
    assert find_hands(voices[::-1]) == hands[::-1]
    chord = [Note(0, pitch, 24) for pitch in (40, 47, 64, 71)]
    assert find_hands(chord) == [LEFT, LEFT, RIGHT, RIGHT]
    assert find_hands([]) == []


@pytest.mark.parametrize('notes, hands', [
    ([(200, 40, 96), (200, 69, 96), (224, 57, 24)], [LEFT, RIGHT, RIGHT]),    # out of reach
    ([(0, 40, 24), (0, 69, 24), (24, 57, 24)], [LEFT, RIGHT, LEFT]),      # now it can
    ([(0, 48, 24), (0, 58, 24), (0, 65, 24)], [LEFT, LEFT, RIGHT]),       # within an octave
    ([(0, 72, 96), (24, 64, 24)], [RIGHT, LEFT]),                         # under a held note
    ([(0, 72, 24), (24, 64, 24)], [RIGHT, RIGHT])])                       # one voice
def test_what_a_hand_holds_counts(notes, hands):
    """Forbids a hand that stretches over what it holds, thirds torn apart, and a second voice in
    the hand that holds the first."""
    assert find_hands(notes) == hands


def heard_by_channel(data: bytes) -> list[tuple]:
    """The notes as an instrument plays them, which knows channels, but no tracks: an end is the end
    of its key. (start, pitch, duration), in steps."""
    file = mido.MidiFile(file=io.BytesIO(data))
    heard, down, now = [], {}, 0
    for message in mido.merge_tracks(file.tracks):
        now += message.time
        if message.type == 'note_on':
            key = message.channel, message.note
            if message.velocity > 0:
                assert key not in down
                down[key] = now
            else:
                start = down.pop(key)
                heard.append((start // 20, message.note, (now - start) // 20))
    return sorted(heard)


def random_score(seed: int) -> Score:
    """Notes in a narrow range, so that unisons and repeated notes are many."""
    rng = random.Random(seed)
    return Score(sorted(Note(6 * rng.randrange(60), rng.randrange(55, 70), 6 * rng.randrange(1, 5))
                        for _ in range(150)))


@pytest.mark.parametrize('score', [
    *[random_score(seed) for seed in range(8)],
    *[read_midi(path) for path in sorted((ROOT / 'data' / 'goldberg').glob('0[0-3]*.mid'))]])
def test_an_instrument_plays_the_file(score):
    """Forbids an end that is heard as that of another note: of one that the other hand holds, or
    has just struck."""
    assert heard_by_channel(to_midi(score)) == sorted(note[:3] for note in score.notes)


def test_the_tracks_of_a_file():
    """Forbids both hands in one track, a track that is empty, the hands the wrong way round, hands
    on two channels, which notation programs take for two instruments, a note out of its hand's
    track because it is repeated, and a track without the key, which would be a staff without it."""
    both = [Note(0, 40, 24), Note(0, 80, 24)]
    for notes, pitches in ((both, [[], [80], [40]]), (both[1:], [[], [80]]),
                           ([*both, Note(24, 80, 24)], [[], [80, 80], [40]]),
                           ([*both, Note(12, 80, 24)], [[], [80], [40], [80]])):
        score = Score(sorted(notes), home=(7, 'major'))
        tracks = mido.MidiFile(file=io.BytesIO(to_midi(score))).tracks
        for track in tracks:
            assert [event.key for event in track if event.type == 'key_signature'] == ['G']
        assert [[message.note for message in track if message.type == 'note_on'
                 and message.velocity > 0] for track in tracks] == pitches
        channels = [{message.channel for message in track if not message.is_meta}
                    for track in tracks[1:]]
        assert channels == [{0}, {0}, {1}][:len(channels)]
