"""A prepared corpus, data/<name>/: write it, read it, check that several go together, read it back
as pieces.

meta.json says all there is to know of the ids in train.bin and val.bin, and of what the listener
says after each, in train_told.bin and val_told.bin; and the SHA-256 of these, so that none is taken
that is damaged or another's.
"""

import json
import os
from pathlib import Path

import numpy as np

from lib.files import say, sha256_of
from lib.tokenizer import Tokenizer

DATA = Path(__file__).parent.parent / 'data'
FORMAT = 10              # of a corpus: what another version of this repo would not understand
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
            'pieces': {}, 'sha256': {}, 'shape_of_told': tokenizer.shape_of_told(),
            'end': tokenizer.end, 'augment': tokenizer.augment_table()}
    for split in SPLITS:
        mine = [piece for piece in pieces if piece['split'] == split]
        tokens = 0
        with open(folder / f'{split}.bin', 'wb') as file, \
                open(folder / f'{split}_told.bin', 'wb') as told_file:
            for ids, told in stream(mine):
                file.write(ids.astype(dtype).tobytes())
                told_file.write(told.astype(dtype).tobytes())
                tokens += len(ids)
        for array in (split, f'{split}_told'):
            meta['sha256'][array] = sha256_of(folder / f'{array}.bin')
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
    why = 'its files are damaged or missing'
    arrays = {}
    try:
        meta = json.loads((folder / 'meta.json').read_text(encoding='utf-8'))
        if meta['format'] != FORMAT:
            why = 'it was prepared by another version of this repo'
            raise ValueError
        for array, digest in meta['sha256'].items():
            file = folder / f'{array}.bin'
            if sha256_of(file) != digest:
                raise ValueError
            arrays[array] = np.memmap(file, meta['dtype'], 'r')
        for split in SPLITS:
            told = arrays[f'{split}_told']
            arrays[f'{split}_told'] = told.reshape(len(arrays[split]), -1)
    except PermissionError as error:
        raise ValueError(f'{error.filename}: permission denied') from None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        raise ValueError(f'data/{name}: {why}: run python prepare.py again') from None
    return {**meta, **arrays, 'name': name}


def load_corpora(names: str) -> list[dict]:
    """The corpora of 'goldberg,wtc'. Raises ValueError for one that is named twice."""
    wanted = [name.strip() for name in names.split(',') if name.strip()]
    for name in wanted:
        if wanted.count(name) > 1:
            raise ValueError(f'data/{name} is named twice in {names}')
    return [load_corpus(name) for name in wanted]


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


def check_unchanged(corpora: list[dict], checkpoint: dict):
    """Raise ValueError for a corpus that a model can't read, or one that was another when the model
    learned from it: it may know what is held out now."""
    for corpus in corpora:
        name, digest = corpus['name'], corpus['sha256']['train']
        if corpus['tokenizer'] != checkpoint['tokenizer']:
            why = how_they_differ(corpus['tokenizer'], checkpoint['tokenizer'])
            raise ValueError(f'data/{name} does not go with the model: {why}')
        if checkpoint.get('corpora', {}).get(name, digest) != digest:
            raise ValueError(f'data/{name} has other training pieces than when the model learned: '
                             'prepare it as it was, or train again')


def load_trained_on(checkpoint: dict, tokenizer: Tokenizer) -> dict[str, list]:
    """The pieces that the model of a checkpoint has learned from, as in load_pieces, `train` with
    those of the extra corpora. Raises ValueError if they are not there, or not as they were."""
    corpora = load_corpora(checkpoint['train_config']['dataset'])
    extra = load_corpora(checkpoint['train_config'].get('extra', ''))
    check_unchanged(corpora + extra, checkpoint)
    pieces = load_pieces(corpora, tokenizer)
    pieces['train'] += load_pieces(extra, tokenizer)['train']
    return pieces
