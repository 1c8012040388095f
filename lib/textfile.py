"""A text file -> its documents, in UTF-8; and long ones block by block. Says what it does not take:
what is no text.

A file whose first bytes say so (UTF-16, UTF-32) is decoded; any other is taken byte by byte, be it
valid UTF-8 or not. Documents end at `<|endoftext|>`; in a .jsonl file, each line is one.
"""

import codecs
import hashlib
import json
import re
from collections import Counter
from pathlib import Path

from lib.files import files, say

TEXT = ('.txt', '.md', '.jsonl')
BLOCK = 1 << 20          # bytes (or characters) that are read at a time
SEPARATOR = b'<|endoftext|>'
LONGEST = 64             # bytes at the end of a block that may belong to a separator: it is cut
# the mark at the beginning of a file -> its encoding; the longer marks first
MARKS = {codecs.BOM_UTF32_LE: 'utf-32', codecs.BOM_UTF32_BE: 'utf-32',
         codecs.BOM_UTF16_LE: 'utf-16', codecs.BOM_UTF16_BE: 'utf-16',
         codecs.BOM_UTF8: 'utf-8-sig'}


def read_text(path: Path):
    """Yield a text in UTF-8, block by block. Raises ValueError for what is no text."""
    with open(path, 'rb') as file:
        head = file.read(4)
    encoding = next((name for mark, name in MARKS.items() if head.startswith(mark)), None)
    if encoding:
        file = open(path, encoding=encoding, newline='')
    else:
        file = open(path, 'rb')
    with file:
        try:
            while block := file.read(BLOCK):
                data = block.encode() if encoding else block
                if b'\0' in data:
                    raise ValueError(f'{path}: not text (or UTF-16 without its mark)')
                yield data
        except UnicodeError:
            raise ValueError(f'{path}: begins like {encoding[:6].upper()} and is not') from None


def read_lines(path: Path):
    """Yield the documents of a .jsonl file: each line a string, or an object with a "text"."""
    lines = b''.join(read_text(path)).split(b'\n')
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            text = value['text'] if isinstance(value, dict) else value
            yield text.encode('utf-8', 'surrogatepass')
        except (ValueError, KeyError, AttributeError, RecursionError):
            raise ValueError(f'{path}:{number}: no line of JSON with a "text" in it') from None


def read_texts(source: Path, folder: Path) -> list[dict]:
    """Copy all documents below `source` to one file in UTF-8, and return the pieces: where they
    stand in it. Says what is left out, and why."""
    paths = [source] if source.is_file() else files(source, TEXT)
    pieces = []
    copy = folder / 'text.part'
    with open(copy, 'wb') as out:
        for path in paths:
            try:
                spans = copy_documents(path, out)
            except (ValueError, OSError) as error:
                if len(paths) == 1:
                    raise
                say('left out:', error)
                continue
            name = path.name if source.is_file() else path.relative_to(source).as_posix()
            for number, (start, stop) in enumerate(spans, 1):
                pieces.append({'name': f'{name}:{number}' if len(spans) > 1 else name,
                               'path': str(copy), 'start': start, 'stop': stop})
    if not pieces:
        raise ValueError(f'{source}: no text that could be read')
    kinds = Counter(path.suffix for path in paths)
    say('read ' + ', '.join(f'{count:,} {kind or "text"}' for kind, count in sorted(kinds.items()))
        + f': {len(pieces):,} documents')
    return pieces


def copy_documents(path: Path, out) -> list[tuple[int, int]]:
    """Write the documents of a file to the open file `out`, one after the other. Returns where
    each begins and ends there. Raises ValueError for what is no text; then nothing is written."""
    begin = start = out.tell()
    spans = []

    def end_document():
        nonlocal start
        if out.tell() > start:
            spans.append((start, out.tell()))
        start = out.tell()

    try:
        if path.suffix.lower() == '.jsonl':
            for document in read_lines(path):
                out.write(document)
                end_document()
            blocks = ()
        else:
            blocks = read_text(path)
        rest = b''
        for block in blocks:
            first, *others = (rest + block).split(SEPARATOR)
            for following in others:
                out.write(first.rstrip())
                end_document()
                first = following.lstrip()
            out.write(first[:-LONGEST])
            rest = first[-LONGEST:]
        out.write(rest)
        end_document()
    except ValueError:
        out.seek(begin)
        out.truncate()
        raise
    if not spans:
        raise ValueError(f'{path}: empty')
    return spans


# ---- a piece of text: a stretch of a file, {'path', 'start', 'stop'}, and its name

def read_block(block: tuple) -> bytes:
    """(path, start, stop) -> those bytes of the file."""
    path, start, stop = block
    with open(path, 'rb') as file:
        file.seek(start)
        return file.read(stop - start)


def find_cut(file, start: int, stop: int) -> int:
    """The first good place to cut a text in: after a line, else after a word, else between two
    characters."""
    file.seek(start)
    window = file.read(min(BLOCK, stop - start))
    found = re.search(rb'\n', window) or re.search(rb'\s', window)
    if found:
        return start + found.end()
    inside = re.match(rb'[\x80-\xbf]{0,3}', window)      # the rest of a character in UTF-8
    return start + inside.end() if window else stop


def blocks(piece: dict):
    """The stretches (path, start, stop) of a piece of text, about BLOCK bytes each."""
    start = piece['start']
    with open(piece['path'], 'rb') as file:
        while start + BLOCK < piece['stop']:
            stop = find_cut(file, start + BLOCK, piece['stop'])
            yield piece['path'], start, stop
            start = stop
    if start < piece['stop']:
        yield piece['path'], start, piece['stop']


def cut_in_two(piece: dict, share: float) -> list[dict]:
    """Hold out the end of the only text there is."""
    size = piece['stop'] - piece['start']
    at = piece['start'] + int(size * (1 - share))
    with open(piece['path'], 'rb') as file:
        cut = find_cut(file, at, at + (piece['stop'] - at) // 2)
    if not piece['start'] < cut < piece['stop']:
        raise ValueError(f'{piece["name"]}: too short to hold out {share:.0%} of it')
    return [{**piece, 'stop': cut, 'split': 'train'},
            {**piece, 'start': cut, 'split': 'val', 'name': 'end of ' + piece['name']}]


def fingerprint(piece: dict) -> tuple[str, bool]:
    """A number for the bytes of a piece, in hexadecimal; and whether they are UTF-8."""
    digest = hashlib.sha256()
    in_utf8 = True
    for block in blocks(piece):
        data = read_block(block)
        digest.update(data)
        in_utf8 = in_utf8 and is_utf8(data)
    return digest.hexdigest()[:16], in_utf8


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
