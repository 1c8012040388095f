"""What a sample begins with: the first bars of a MIDI file, or wishes; for text, words."""

from dataclasses import dataclass
from pathlib import Path

from lib.score import METRES, Score, opening, read_midi, tempo_number
from lib.textfile import read_text
from lib.tokenizer import Tokenizer
from lib.tonality import find_key, parse_key, raised, transpose


@dataclass
class Prompt:
    score: Score                    # its notes, at their full length
    ids: list[int]                  # its words, up to the bar line where it is over
    until: int                      # that bar line, in steps
    wishes: dict                    # for the beginning of a piece without notes: kind -> value

    def lasting(self) -> dict[tuple[int, int], list[int]]:
        """The notes that last beyond the bar line: (start, pitch) -> their ends, in order; two
        voices in unison may have two."""
        lasting = {}
        for note in self.score.notes:
            end = note.start + note.duration
            if end > self.until:
                lasting.setdefault((note.start, note.pitch), []).append(end)
        return {note: sorted(ends) for note, ends in lasting.items()}


def read_prompt(tokenizer: Tokenizer, file: str = '', bars: int = 4, metre: str = '',
                tempo: float = 0.0, key: str = '', voices: int = 0,
                semitones: int = 0) -> Prompt:
    """The first bars of a MIDI file, so many semitones higher. Without a file, nothing but wishes:
    the metre ('3/4'), the tempo (quarters a minute), the key ('G', 'F# minor') in which the piece
    is at home when it is so many semitones higher, and the number of voices. Raises ValueError for
    a file that gives no note, and for wishes that the vocabulary can't say."""
    if file:
        if metre:
            raise ValueError(f'metre = {metre}: that of {file} counts, leave it out')
        score, until = read_opening(file, bars)
        tell_odd_metres(score, file)
        pitches = [note.pitch for note in score.notes]
        score.home = find_key(pitches, [note.duration for note in score.notes])
        score = transposed(score, semitones)
        score.voices = voices
        if key:
            score.home = parse_key(key)
        if tempo:
            score.tempos = [(0, tempo)]
        return Prompt(score, tokenizer.encode_until(score, until), until, {})
    wishes = {}
    if metre:
        wishes['metre'] = read_metre(metre)
    if tempo:
        wishes['tempo'] = tempo_number(tempo)
    if key:
        wishes['home'] = raised(parse_key(key), -semitones)
    if voices:
        wishes['voices'] = voices
    return Prompt(Score(), [tokenizer.begin], 0, wishes)


def read_opening(file: str, bars: int) -> tuple[Score, int]:
    """The first bars of a MIDI file, and the step at which they are over."""
    if Path(file).is_dir():
        raise ValueError(f'start = {file}: a folder, and a model of music goes on from a MIDI file')
    if not Path(file).is_file():
        raise ValueError(f'start = {file}: no such file, and a model of music goes on from a MIDI '
                         'file')
    score, until = opening(read_midi(file), bars)
    if not score.notes:
        raise ValueError(f'{file}: no note in its first {bars} bars: raise --prompt_bars')
    return score, until


def tell_odd_metres(score: Score, file: str):
    """Say which time signatures of a prompt the model can't be told."""
    for _, beats, unit in score.metres:
        if (beats, unit) not in METRES:
            print(f'{file}: time signature {beats}/{unit} is not in the vocabulary, the model is '
                  'not told')


def read_metre(text: str) -> tuple[int, int]:
    """'3/4' -> (3, 4). ValueError for a time signature that no word can say."""
    beats, _, unit = text.partition('/')
    if not (beats.isdecimal() and unit.isdecimal()) or (int(beats), int(unit)) not in METRES:
        raise ValueError(f'metre = {text}: must be 1 to 16 beats of 2, 4, 8 or 16, such as 3/4')
    return int(beats), int(unit)


def transposed(score: Score, semitones: int) -> Score:
    """The same music so much higher."""
    notes = [note._replace(pitch=transpose(note.pitch, semitones)) for note in score.notes]
    home = raised(score.home, semitones) if score.home else None
    return Score(sorted(notes), score.tempos, score.metres, home)


# ---- text

def read_text_prompt(start: str) -> str:
    """The words of --start, or those of the file in FILE:prompt.txt, as prepare.py would read it:
    its line ends stay, a byte order mark goes. Raises ValueError for what is no text in UTF-8."""
    if start.lower().endswith(('.mid', '.midi')):
        raise ValueError(f'start = {start}: this model writes text, it can\'t go on from music')
    if not start.startswith('FILE:'):
        try:
            start.encode()
        except UnicodeEncodeError:           # a byte of the command line that was none
            raise ValueError('start: not in UTF-8: save it as UTF-8 and give FILE:prompt.txt'
                             ) from None
        return start
    path = Path(start.removeprefix('FILE:'))
    try:
        return b''.join(read_text(path)).decode()
    except UnicodeDecodeError:
        raise ValueError(f'{path}: not in UTF-8: save it as UTF-8') from None
