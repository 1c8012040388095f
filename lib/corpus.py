"""A prepared corpus, data/<name>/: write it, read it, check that it is whole, check that several go
together, read it back as pieces.

meta.json says all there is to know of the ids in train.bin and val.bin, and of what the listener
says after each, in train_told.bin and val_told.bin.
"""

import json
import os
from pathlib import Path

import numpy as np

from lib.files import say
from lib.tokenizer import Tokenizer, columns_of_told

DATA = Path(__file__).parent.parent / 'data'
FORMAT = 9               # of a corpus: what another version of this repo would not understand
FIELDS = {'tokenizer': dict, 'vocab_size': int, 'dtype': str, 'unit': str, 'units': dict,
          'tokens': dict, 'pieces': dict, 'end': int, 'augment': list, 'shape_of_told': dict}
SPLITS = ('train', 'val')


# ---- written by prepare.py

def write_corpus(folder: Path, tokenizer, pieces: list[dict], stream) -> dict:
    """Write the ids of both splits, NAME.bin, and what the listener says of them, NAME_told.bin;
    return what belongs in meta.json. stream(pieces) yields the ids (N) of a part of a piece, and
    what is told after each (N, W)."""
    dtype = 'uint16' if tokenizer.vocab_size <= 1 << 16 else 'uint32'
    unit = tokenizer.unit
    meta = {'format': FORMAT, 'tokenizer': tokenizer.to_dict(), 'vocab_size': tokenizer.vocab_size,
            'dtype': dtype, 'unit': unit, 'units': {}, 'tokens': {},
            'pieces': {}, 'shape_of_told': tokenizer.shape_of_told(),
            'end': tokenizer.end, 'augment': tokenizer.augment_table()}
    for split in ('train', 'val'):
        mine = [piece for piece in pieces if piece['split'] == split]
        tokens = 0
        with open(folder / f'{split}.bin', 'wb') as file, \
                open(folder / f'{split}_told.bin', 'wb') as told_file:
            for ids, told in stream(mine):
                file.write(ids.astype(dtype).tobytes())
                told_file.write(told.astype(dtype).tobytes())
                tokens += len(ids)
        units = sum(piece['units'] for piece in mine)
        meta['units'][split] = units
        meta['tokens'][split] = tokens
        meta['pieces'][split] = [{key: piece[key] for key in ('name', 'units', 'fingerprint')}
                                 for piece in mine]
        word = 'piece ' if len(mine) == 1 else 'pieces'
        say(f'{split:5} {len(mine):6,} {word} {units:12,} {unit}s {tokens:12,} tokens, '
            f'{tokens / units:.2f} a {unit}')
    return meta


def publish(work: Path, folder: Path, meta: dict):
    """Move a corpus from the folder where it was made to its place; meta.json last, since without
    it there is no corpus."""
    (work / 'meta.json').write_text(json.dumps(meta), 'utf-8')
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'meta.json').unlink(missing_ok=True)
    for name in ('train.bin', 'train_told.bin', 'val.bin', 'val_told.bin', 'meta.json'):
        os.replace(work / name, folder / name)
    say(f'vocabulary of {meta["vocab_size"]:,}, all in {folder}')


def made_elsewhere(folder: Path, origin: str) -> bool:
    """Whether a corpus of this name is there that was made of another file or folder."""
    try:
        meta = json.loads((folder / 'meta.json').read_text('utf-8'))
        return meta.get('source', origin) != origin
    except (OSError, ValueError, AttributeError):
        return False


# ---- read

def load_corpus(name: str) -> dict:
    """meta.json of data/<name>, with `train` and `val` as memory-mapped ids (N), `train_told` and
    `val_told` (N, W): what the listener said after each, and its `name`. Raises ValueError if it is
    missing or damaged."""
    folder = DATA / name
    if not name or '\0' in name or not (folder / 'meta.json').is_file():
        raise ValueError(f'data/{name}: no such corpus: first run python prepare.py {name} (or a '
                         'path)')
    try:
        meta = json.loads((folder / 'meta.json').read_text(encoding='utf-8'))
        if isinstance(meta, dict) and meta.get('format') != FORMAT:
            raise Damaged('it was prepared by another version of this repo')
        check_meta(meta)
        arrays = {}
        for split in SPLITS:
            arrays[split] = read_ids(folder / f'{split}.bin', split, meta)
            arrays[f'{split}_told'] = read_told(folder / f'{split}_told.bin', split, meta)
    except PermissionError as error:
        raise ValueError(f'{error.filename}: permission denied') from None
    except (OSError, ValueError, RecursionError) as error:
        why = error if isinstance(error, Damaged) else 'its files are damaged or missing'
        raise ValueError(f'data/{name}: {why}: run python prepare.py again') from None
    return {**meta, **arrays, 'name': name}


def load_corpora(names: str) -> list[dict]:
    """The corpora of 'goldberg,wtc'. Raises ValueError for one that is named twice."""
    wanted = [name.strip() for name in names.split(',') if name.strip()]
    for name in wanted:
        if wanted.count(name) > 1:
            raise ValueError(f'data/{name} is named twice in {names}')
    return [load_corpus(name) for name in wanted]


# ---- is it whole?

class Damaged(ValueError):
    """What is wrong with a corpus, in words."""


def check_meta(meta):
    """Raise Damaged if meta.json is not what prepare.py writes."""
    if not isinstance(meta, dict):
        raise Damaged('meta.json is damaged')
    for field, kind in FIELDS.items():
        if not isinstance(meta.get(field), kind):
            raise Damaged(f'meta.json is damaged: {field}')
    V = meta['vocab_size']
    if meta['dtype'] not in ('uint16', 'uint32'):
        raise Damaged('meta.json is damaged: dtype')
    if not 0 <= meta['end'] < V:
        raise Damaged('meta.json is damaged: end')
    for split in SPLITS:
        for field in ('units', 'tokens'):
            count = meta[field].get(split)
            if not isinstance(count, int) or count < 1:
                raise Damaged(f'meta.json is damaged: {field} of {split}')
        pieces = meta['pieces'].get(split)
        if not isinstance(pieces, list) or not all(is_piece(piece) for piece in pieces):
            raise Damaged(f'meta.json is damaged: pieces of {split}')
    check_table(meta, 'augment', (None, V), V)
    columns = meta['shape_of_told'].get('columns')
    if not isinstance(columns, dict) or 'home' not in columns:
        raise Damaged('meta.json is damaged: shape_of_told')


def is_piece(piece) -> bool:
    return isinstance(piece, dict) and {'name', 'units', 'fingerprint'} <= piece.keys()


def check_table(meta: dict, name: str, shape: tuple, ids: int):
    """Raise Damaged unless a table is of numbers in this shape (None: any length), and below `ids`
    if that is not -1."""
    try:
        table = np.array(meta[name], dtype=float)
    except (TypeError, ValueError):
        raise Damaged(f'meta.json is damaged: {name}') from None
    fits = len(table.shape) == len(shape) and len(table) > 0
    for length, wanted in zip(table.shape, shape):
        fits = fits and wanted in (length, None)
    if fits and ids > 0:
        fits = table.size > 0 and table.min() >= 0 and table.max() < ids
    if not fits:
        raise Damaged(f'meta.json is damaged: {name}')


def map_numbers(path: Path, count: int, meta: dict) -> np.ndarray:
    """The numbers of a .bin file, mapped into memory, not read. Raises Damaged if they are not so
    many."""
    size = path.stat().st_size
    want = count * np.dtype(meta['dtype']).itemsize
    if size != want:
        raise Damaged(f'{path.name} has {size:,} bytes, and {want:,} belong there')
    return np.memmap(path, meta['dtype'], 'r')


def read_ids(path: Path, split: str, meta: dict) -> np.ndarray:
    """(N,) the ids of a split. Raises Damaged if they are not as many as meta.json says, or not all
    of the vocabulary."""
    ids = map_numbers(path, meta['tokens'][split], meta)
    if ids.max() >= meta['vocab_size']:
        raise Damaged(f'{path.name} is damaged: an id is not in the vocabulary')
    return ids


def read_told(path: Path, split: str, meta: dict) -> np.ndarray:
    """(N, W) what the listener said after each of the ids (N). Raises Damaged if these are not as
    many, or a number is none that a listener says."""
    shape = meta['shape_of_told']
    count = meta['tokens'][split]
    width = sum(shape['columns'].values())
    told = map_numbers(path, count * width, meta).reshape(count, width)
    place_of = columns_of_told(shape['columns'])
    limits = {'to_bar': shape.get('bar_steps', 1), 'to_end': shape.get('end_levels', 1),
              'match': shape.get('matches', 1), 'ids': meta['vocab_size']}
    largest = told.max(axis=0)
    for name, limit in limits.items():
        if (largest[place_of[name]] >= limit).any():
            raise Damaged(f'{path.name} is damaged: a number is too large')
    return told


# ---- do they go together?

def check_corpora(corpora: list[dict], context: int):
    """Raise ValueError for corpora that a model can't learn together, that share a piece across the
    held-out line, or that are too small for the context."""
    held_out = {piece['fingerprint'] for corpus in corpora for piece in corpus['pieces']['val']}
    for corpus in corpora:
        name = corpus['name']
        if corpus['tokenizer'] != corpora[0]['tokenizer']:
            why = how_they_differ(corpus['tokenizer'], corpora[0]['tokenizer'])
            raise ValueError(f'data/{name} and data/{corpora[0]["name"]} do not go together: {why}')
        for split in SPLITS:
            if len(corpus[split]) <= context:
                raise ValueError(f'data/{name}: {len(corpus[split])} ids in {split}, too few for '
                                 f'context = {context}: lower --context or add pieces')
        for piece in corpus['pieces']['train']:
            if piece['fingerprint'] in held_out:
                raise ValueError(f'data/{name} trains on {piece["name"]}, which is held out in '
                                 'another corpus: take it out and prepare again')


def how_they_differ(one: dict, other: dict) -> str:
    """Why a model can't read with both of two tokenizers, and what helps."""
    if 'velocity' in one and {**one, 'velocity': other.get('velocity')} == other:
        return 'only one has velocities; prepare both with the same --velocity=true or false'
    return 'their tokenizers differ'


# ---- read back as pieces

def load_pieces(corpora: list[dict], tokenizer: Tokenizer) -> dict[str, list]:
    """The pieces of prepared corpora, `train` and `val`: (name, Score) of each, or (name, text)."""
    pieces = {'train': [], 'val': []}
    for corpus in corpora:
        for split, found in pieces.items():
            ids = np.array(corpus[split])
            ends = np.flatnonzero(ids == corpus['end'])
            rows = np.split(ids, ends + 1)[:-1]                 # nothing is after the last
            for piece, row in zip(corpus['pieces'][split], rows, strict=True):
                row = row[:-1].tolist()                         # without the end
                found.append((piece['name'], tokenizer.decode(row)))
    return pieces


def load_trained_on(trained: dict, tokenizer: Tokenizer) -> dict[str, list]:
    """The pieces that a model has learned from, as in load_pieces, `train` with those of the extra
    corpora. `trained` is the train_config of its checkpoint. Raises ValueError if they are not
    there, or were prepared for another tokenizer."""
    corpora = load_corpora(trained['dataset'])
    extra = load_corpora(trained.get('extra', ''))
    for corpus in corpora + extra:
        if corpus['tokenizer'] != tokenizer.to_dict():
            why = how_they_differ(corpus['tokenizer'], tokenizer.to_dict())
            raise ValueError(f'data/{corpus["name"]} is not as it was when the model learned: '
                             f'{why}')
    pieces = load_pieces(corpora, tokenizer)
    pieces['train'] += load_pieces(extra, tokenizer)['train']
    return pieces
