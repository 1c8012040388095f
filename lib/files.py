"""The files below a folder, work on many of them at once, and a word to the user meanwhile."""

import hashlib
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

# what people have and we don't read -> what to do with it
OTHERS = {**dict.fromkeys(('.gz', '.zip', '.7z', '.rar', '.tar', '.bz2', '.xz'), 'unpack it'),
          **dict.fromkeys(('.musicxml', '.mxl', '.mscz', '.mscx', '.krn', '.abc', '.sib'),
                          'export it as MIDI')}


def say(*words):
    """Print. Where nobody reads on (`| head -1`), go on in silence: the corpus is wanted still."""
    try:
        print(*words, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def files(folder: Path, suffixes: tuple) -> list[Path]:
    """All files with these suffixes, at any depth, in the same order on every system. What is
    hidden, or put into archives by macOS, is passed over. A path to a file gives that file."""
    if folder.is_file():
        return [folder] if folder.suffix.lower() in suffixes else []
    found = []
    for place, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not is_hidden(name)]
        found += [Path(place) / name for name in names
                  if not is_hidden(name) and Path(name).suffix.lower() in suffixes
                  and not (Path(place) / name).is_fifo()]        # to read one is to wait for ever
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def tell_others(source: Path):
    """Say what to do with files that are not read. Raises ValueError if `source` is one."""
    if source.is_file():
        advice = OTHERS.get(source.suffix.lower())
        if advice:
            raise ValueError(f'{source}: not read: {advice} first')
        return
    by_advice = {}
    for path in files(source, tuple(OTHERS)):
        by_advice.setdefault(OTHERS[path.suffix.lower()], []).append(path.relative_to(source))
    for advice, paths in by_advice.items():
        say(f'not read: {len(paths):,} such as {paths[0]}: {advice} first')


def is_hidden(name: str) -> bool:
    return name.startswith('.') or name == '__MACOSX'


def unreadable(error: OSError):
    say(f'left out: {error.filename}: {error.strerror}')


def parallel(function, tasks: list, jobs: int):
    """Yield function(task) of every task, in order; say how far it is if that takes long."""
    if jobs == 1:
        yield from tell_progress(map(function, tasks), len(tasks))
        return
    ignore = signal.SIGINT, signal.SIG_IGN              # Ctrl-C ends this process, which ends those
    with multiprocessing.Pool(jobs, signal.signal, ignore) as pool:
        yield from tell_progress(pool.imap(function, tasks, 4), len(tasks))


def tell_progress(results, count: int):
    """Yield what there is, and say how much of all it is every two seconds."""
    shown = time.time()
    for number, result in enumerate(results, 1):
        if time.time() > shown + 2:
            say(f'{number:,} of {count:,} ...')
            shown = time.time()
        yield result
