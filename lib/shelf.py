"""The samples that lie in a folder: their names, what is known of each, and what belongs together.

    sample-1-2.mid          the second piece of seed 1, with the default settings
    sample-1-2.wav          its sound
    sample-1-2.json         what the page says of it
    sample-1-2-key=G.mid    the second piece of seed 1 with --key=G
    sample-1-2.2.mid        another piece of a name that was taken: the model has learned more, say

So the same command writes the same files again, and no piece is lost by another command.
"""

import json
import re
from dataclasses import dataclass, fields
from itertools import count
from pathlib import Path

from lib.page import Piece, Text
from lib.score import read_midi
from lib.settings import Settings

# settings that are no wish of how it is to sound; the seed is in every name
NOT_NAMED = ('out_dir', 'seed', 'num_samples', 'max_tokens', 'device', 'attention', 'sound')
SOUNDS = ('wav', 'mp3', 'flac', 'ogg')       # the first that lies beside a piece is played
LONGEST = 24                                 # characters of a setting in a name


@dataclass
class Group:
    """Samples that were made with the same settings, by the same model."""
    settings: dict[str, str]
    paths: list[Path]                        # those of the last run first
    newest: float = 0.0                      # when that was, in seconds since 1970


def named_settings(config: Settings) -> dict[str, str]:
    """The settings of a run of sample.py that are not the defaults, those of NOT_NAMED left out."""
    values = {field.name: (getattr(config, field.name), field.default) for field in fields(config)}
    return {name: str(value) for name, (value, default) in values.items()
            if value != default and name not in NOT_NAMED}


def stem_of(config: Settings, number: int) -> str:
    """What the files of a sample are called, without a suffix. Of a path its last part is told."""
    words = [f'sample-{config.seed}-{number}']
    for name, value in named_settings(config).items():
        if name in ('start', 'soundfont'):
            value = Path(value).stem
        words.append(f'{name}={re.sub(r"[^-+.#=0-9A-Za-z]+", "-", value)[:LONGEST]}')
    return '-'.join(words)


def free_place(folder: Path, stem: str, suffix: str, content: bytes) -> Path:
    """folder/stem, or folder/stem.2 and so on if a file of that name and suffix holds something
    else than `content`."""
    for number in count(1):
        name = stem if number == 1 else f'{stem}.{number}'
        file = folder / f'{name}{suffix}'
        if not file.exists() or file.read_bytes() == content:
            return folder / name


# ---- what is known of a sample

def write_facts(sample: Piece | Text, folder: Path, settings: dict[str, str], made: float):
    """Keep what a page says of a sample beside it (what it looked at is too large for that). `made`
    is when its run was, in seconds since 1970."""
    about = {'made': made, 'settings': settings, 'facts': sample.facts, 'copied': sample.copied}
    if isinstance(sample, Piece):
        about |= {'given': sample.given, 'bits': sample.bits}
    else:
        about |= {'prompt': sample.prompt}
    (folder / f'{sample.name}.json').write_text(json.dumps(about) + '\n', 'utf-8')


def read_facts(path: Path) -> dict:
    """What is known of the sample that lies at this path; {} if nothing is."""
    try:
        about = json.loads(path.with_name(f'{path.stem}.json').read_text('utf-8'))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def read_sample(path: Path) -> Piece | Text:
    """A sample as it was when it was made. Of one that was changed since, or of which nothing is
    known, only what its file says. Raises ValueError if that can't be read."""
    about = read_facts(path)
    if path.suffix == '.txt':
        text = path.read_bytes().decode('utf-8', 'replace')
        prompt = about.get('prompt', '')
        if not text.startswith(prompt):
            return Text(path.stem, '', text)
        copied = [(start, stop) for start, stop in about.get('copied', [])]
        return Text(path.stem, prompt, text.removeprefix(prompt), copied, about.get('facts', {}))
    score = read_midi(str(path))
    beside = [sound for sound in SOUNDS if path.with_name(f'{path.stem}.{sound}').exists()]
    sound = beside[0] if beside else ''
    try:
        return Piece(path.stem, score, about.get('given', 0), about.get('bits'),
                     about.get('copied'), about.get('facts', {}), sound)
    except ValueError:                       # it has another number of notes now
        return Piece(path.stem, score, sound=sound)


def in_order(path: Path) -> list:
    """Sorts sample-2 before sample-10: words by their letters, numbers by their size."""
    parts = re.split(r'(\d+)', path.as_posix())
    return [int(part) if part.isdigit() else part for part in parts]


def find_groups(folder: Path, suffix: str) -> list[Group]:
    """The samples in a folder, those with one suffix, by their settings; the newest first."""
    groups, made = {}, {}
    for path in sorted(folder.glob(f'sample-*{suffix}'), key=in_order):
        about = read_facts(path)
        made[path] = about.get('made', path.stat().st_mtime)
        settings = about.get('settings', {})
        group = groups.setdefault(json.dumps(settings, sort_keys=True), Group(settings, []))
        group.paths.append(path)
        group.newest = max(group.newest, made[path])
    for group in groups.values():
        group.paths.sort(key=made.get, reverse=True)     # stable: those of a run stay in order
    return sorted(groups.values(), key=lambda group: group.newest, reverse=True)


def earlier_samples(folder: Path, just_made: list[Piece | Text], suffix: str) -> list[tuple]:
    """What else lies in a folder, by its settings: (settings, samples), the newest first. Says what
    can't be read."""
    names = {sample.name for sample in just_made}
    earlier = []
    for group in find_groups(folder, suffix):
        found = []
        for path in group.paths:
            if path.stem in names:
                continue
            try:
                found.append(read_sample(path))
            except (OSError, ValueError) as error:
                print(f'not on the page: {error}')
        if found:
            earlier.append((group.settings, found))
    return earlier
