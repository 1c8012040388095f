"""A text file -> its documents, in UTF-8. Says what it does not take: what is no text.

A file whose first bytes say so (UTF-16, UTF-32) is decoded; any other is taken byte by byte, be it
valid UTF-8 or not. Documents end at `<|endoftext|>`; in a .jsonl file, each line is one.
"""

import codecs
import json
from pathlib import Path

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
        except (ValueError, KeyError, AttributeError):
            raise ValueError(f'{path}:{number}: no line of JSON with a "text" in it') from None


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
