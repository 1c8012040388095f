"""The samples that lie in a folder: their names, what is known of each, and what belongs together.

    sample-1-2.mid          the second piece of seed 1, with the default settings
    sample-1-2.wav          its sound
    sample-1-2.source.wav   that of what it shares with a training piece, if it does
    sample-1-2.json         what the page says of it
    sample-1-2-key=G.mid    the second piece of seed 1 with --key=G
    sample-1-2.2.mid        another piece of a name that was taken: the model has learned more, say

So the same command writes the same files again, and no piece is lost by another command.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import count
from pathlib import Path

from lib.page import Passage, Piece, Text
from lib.score import read_midi
from lib.settings import Settings

# not in a name: the seed, which is in every one, and what is no wish of how it is to sound
NOT_NAMED = ('out_dir', 'seed', 'num_samples', 'max_tokens', 'device', 'attention', 'sound')
SOUNDS = ('wav', 'mp3', 'flac')              # the newest that lies beside a piece is played
LONGEST_SETTING, LONGEST_NAME = 24, 150      # characters


@dataclass
class Group:
    """Samples that were made with the same settings."""
    settings: dict[str, str]
    paths: list[Path] = field(default_factory=list)
    abouts: dict[Path, dict] = field(default_factory=dict)       # what is known of each
    newest: float = 0.0                      # when the newest was made, in seconds since 1970


def named_settings(config: Settings) -> dict[str, str]:
    """The settings of a run of sample.py that are not the defaults, those of NOT_NAMED left out."""
    named = {}
    for setting in fields(config):
        value = getattr(config, setting.name)
        if value != setting.default and setting.name not in NOT_NAMED:
            named[setting.name] = str(value)
    return named


def stem_of(config: Settings, number: int) -> str:
    """What the files of a sample are called, without a suffix. Of a path the last part is told."""
    name = f'sample-{config.seed}-{number}'
    for setting, value in named_settings(config).items():
        if setting in ('start', 'soundfont'):
            value = Path(value).stem
        name += f'-{setting}={as_file_name(value)[:LONGEST_SETTING]}'
    return name[:LONGEST_NAME]


def as_file_name(words: str) -> str:
    """Words, without what a file's name can't have in some system: 'a: b?' -> a-b-"""
    return re.sub(r'[^-+.#=\w]+', '-', words)


def free_stem(folder: Path, stem: str, suffix: str, content: bytes) -> str:
    """`stem`; or stem.2 and so on, if files of that name are there, but not one with the suffix and
    this content."""
    for copy in count(1):
        name = stem if copy == 1 else f'{stem}.{copy}'
        file = folder / f'{name}{suffix}'
        beside = [folder / f'{name}.{other}' for other in ('json', *SOUNDS)]
        if file.exists():
            if file.read_bytes() == content:
                return name
        elif not any(path.exists() for path in beside):
            return name


# ---- what is known of a sample

def digest_of(about: dict, content: bytes) -> str:
    """It tells whether what is known of a sample, or its file, was changed since they were made."""
    return hashlib.sha256(json.dumps(about).encode() + content).hexdigest()[:16]


def write_about(sample: Piece | Text, content: bytes, folder: Path, settings: dict[str, str],
                made: float):
    """Keep what a page says of a sample beside it (but not what it looked at, which is large).
    `content` is that of its file, `made` when its run was, in seconds since 1970."""
    about = {'made': made, 'settings': settings, 'facts': sample.facts, 'copied': sample.copied}
    if isinstance(sample, Piece):
        about |= {'given': sample.given, 'bits': sample.bits, 'shared': None}
        if sample.shared:
            about['shared'] = asdict(replace(sample.shared, sound=''))
    else:
        about |= {'prompt': sample.prompt}
    about['digest'] = digest_of(about, content)
    (folder / f'{sample.name}.json').write_text(json.dumps(about) + '\n', 'utf-8')


def read_about(path: Path) -> dict:
    """What is known of the sample that lies at this path; {} if nothing is, or if one of both files
    was changed since."""
    try:
        about = json.loads(path.with_name(f'{path.stem}.json').read_text('utf-8'))
        is_known = about.pop('digest') == digest_of(about, path.read_bytes())
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return {}
    return about if is_known else {}


def read_sample(path: Path, about: dict) -> Piece | Text:
    """A sample as it was when it was made, by what `read_about` says of it; if that is {}, only
    what its file says. Raises ValueError if that can't be read."""
    if path.suffix == '.txt':
        text = path.read_bytes().decode('utf-8', 'replace')
        prompt = about.get('prompt', '')
        copied = [(start, stop) for start, stop in about.get('copied') or []]
        return Text(path.stem, prompt, text.removeprefix(prompt), copied, about.get('facts', {}))
    score = read_midi(str(path))
    for marks in (about.get('bits'), about.get('copied')):
        if marks is not None and len(marks) != len(score.notes):
            about = {}
    piece = Piece(path.stem, score, about.get('given', 0), about.get('bits'), about.get('copied'),
                  about.get('facts', {}))
    if about.get('shared'):
        piece.shared = Passage(**about['shared'])
    find_sounds(piece, path.parent)
    return piece


def find_sounds(piece: Piece, folder: Path):
    """Let a piece have the sounds that lie in the folder: its own, and that of the passage that it
    shares."""
    def newest(stem: str) -> Path | None:
        found = [folder / f'{stem}.{kind}' for kind in SOUNDS]
        found = [path for path in found if path.exists()]
        return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)
    sound = newest(piece.name)
    piece.sound = sound.suffix[1:] if sound else ''
    if piece.shared:
        source = newest(f'{piece.name}.source')
        piece.shared.sound = source.name if source else ''


# ---- what belongs together

def in_order(path: Path) -> list:
    """Sorts sample-2 before sample-10: words by their letters, numbers by their size."""
    parts = re.split('([0-9]+)', path.as_posix())
    return [int(part) if number % 2 else part for number, part in enumerate(parts)]


def find_groups(folder: Path, suffix: str) -> list[Group]:
    """The samples in a folder, those with one suffix, by their settings; the newest first, and at
    last those of which nothing is known."""
    groups = {}
    for path in sorted(folder.glob(f'sample-*{suffix}'), key=in_order):
        if not path.is_file():
            continue
        about = read_about(path)
        settings = about.get('settings', {})
        group = groups.setdefault(json.dumps(settings, sort_keys=True), Group(settings))
        group.abouts[path] = about
        group.newest = max(group.newest, about.get('made', 0.0))
    for group in groups.values():
        # stable: those of a run stay in order
        group.paths = sorted(group.abouts, reverse=True,
                             key=lambda path: group.abouts[path].get('made', 0.0))
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
                found.append(read_sample(path, group.abouts[path]))
            except (OSError, ValueError) as error:
                print(f'not on the page: {error}')
        if found:
            earlier.append((group.settings, found))
    return earlier
