"""The source archive of `music21` 1.9.3, the last with all of its music: pieces -> MIDI files.

Nothing of music21 itself is used. The encodings in it are other people's: to fetch and learn from,
not to publish again.
"""

import os
import re
import tarfile
from pathlib import Path

from lib.fetch import fetch
from lib.score import Score, write_midi

CCARH = '(c) CCARH, Stanford'


def members(folder: Path, count: int, pattern: str, owners: str):
    """Yield (match, bytes) of every file of the archive whose path ends like the pattern. None if
    the folder has `count` pieces."""
    if len(list(folder.glob('*.mid'))) == count:
        return
    archive = fetch('music21==1.9.3', ['--no-binary=:all:'], 'music21-1.9.3.tar.gz',
                    '1f40ac38e7da10a675fc0807a608f22c61d47804e6ad8e7759696b21f29f599e',
                    f'check the network, or put {count} MIDI files into data/{folder.name}')
    print(f'encodings {owners}: to learn from, not to publish again')
    with tarfile.open(archive) as tar:
        for member in tar:
            found = re.search(f'corpus/{pattern}$', member.name)
            if found:
                yield found, tar.extractfile(member).read()


def write_whole(score: Score, path: Path):
    """Write a MIDI file, which is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_midi(score, f'{path}.part')
    os.replace(f'{path}.part', path)
