"""A folder that no other process writes to. The lock is on a file that stays in it; the system
frees it when the process ends, also after a kill."""

import contextlib
import glob
import os
import shutil
import tempfile
from pathlib import Path


@contextlib.contextmanager
def own_folder(folder: str):
    """Make a folder, if need be, and keep other processes out. Raises ValueError if one is in. A
    folder that was made here and in which nothing was written is deleted again."""
    folder = Path(folder)
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / '.lock', 'a') as file:
        if not try_lock(file):
            raise ValueError(f'{folder}: another run is writing there; wait for it, or give '
                             'another --out_dir')
        try:
            yield
        finally:
            if is_new and os.listdir(folder) == ['.lock']:
                with contextlib.suppress(OSError):               # Windows keeps what is open
                    (folder / '.lock').unlink()
                    folder.rmdir()


@contextlib.contextmanager
def work_folder(beside: Path):
    """A new folder to make something in, `beside`.XXXX.part, which is deleted at the end. What
    killed processes have left of this kind is deleted, too."""
    beside.parent.mkdir(parents=True, exist_ok=True)
    for left in beside.parent.glob(f'{glob.escape(beside.name)}.????????.part'):
        if is_left(left):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f'{beside.name}.', suffix='.part', dir=beside.parent,
                                     ignore_cleanup_errors=True) as work:
        with open(Path(work) / '.lock', 'a') as file:
            try_lock(file)
            yield Path(work)


def is_left(folder: Path) -> bool:
    """Whether nobody is at work in a folder any more."""
    try:
        with open(folder / '.lock', 'r+') as file:
            return try_lock(file)
    except OSError:
        return False                                             # it is being made right now


def try_lock(file) -> bool:
    """Lock an open file until it is closed; False if another process has it."""
    try:
        if os.name == 'nt':
            import msvcrt
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass                                                     # a file system without locks
    return True
