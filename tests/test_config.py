"""Settings: what is read, in which order, and what is said of what can't be read."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from config import configure

ROOT = Path(__file__).parent.parent


@dataclass
class Config:
    name: str = 'bach'       # who
    steps: int = 100         # how many, 100% of them
    rate: float = 0.5        # how fast
    loud: bool = False       # or soft


def read(*argv, file=None, tmp_path=None):
    if file is not None:
        (tmp_path / 'c.py').write_text(file)
        argv = (str(tmp_path / 'c.py'), *argv)
    return configure(Config, list(argv))


def test_order(tmp_path):
    """Forbids a file that wins over a flag, or a default that wins over either."""
    config = read('--rate=3', file='"""Why."""\nsteps = 7\nrate = 2\n', tmp_path=tmp_path)
    assert config == Config('bach', 7, 3.0, False)


@pytest.mark.parametrize('flags, want', [
    (['--rate=1'], {'rate': 1.0}), (['--rate', '1'], {'rate': 1.0}),
    (['--rate=-1'], {'rate': -1.0}),
    (['--steps=1e4'], {'steps': 10000}), (['--steps', '5'], {'steps': 5}),
    (['--name=a=b'], {'name': 'a=b'}), (['--name=1685'], {'name': '1685'}),
    (['--name='], {'name': ''}),
    (['--loud'], {'loud': True}), (['--loud=false'], {'loud': False}),
    (['--loud=1'], {'loud': True})])
def test_flags(flags, want):
    """Forbids the flags that are natural to type from being refused or read as another type."""
    assert configure(Config, flags) == Config(**want)


@pytest.mark.parametrize('flags, says', [
    (['--step=5'], 'did you mean steps?'), (['--zzz=5'], 'see --help'), (['--steps=5.5'], 'whole'),
    (['--steps=many'], 'whole'), (['--rate=nan'], 'number'), (['--rate=inf'], 'number'),
    (['--loud=2'], 'true or false'), (['c.py', 'd.py'], 'd.py'), (['--rate'], 'expected')])
def test_wrong_flags(flags, says):
    """Forbids a flag that is ignored, guessed at, or answered with a traceback."""
    with pytest.raises(ValueError, match=says) as error:
        configure(Config, flags)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('file, says', [
    ('stepz = 5', 'c.py:1: .*did you mean steps'), ('steps = 5.5', 'c.py:1: .*whole'),
    ('\nsteps = True', 'c.py:2: .*whole'), ('rate = "1"x', 'syntax'), ('import os', 'c.py:1'),
    ('steps = 2 ** 9', 'literal'), ('name = open("x")', 'literal'), ('steps += 1', 'literal')])
def test_wrong_files(file, says, tmp_path):
    """Forbids a typo in a config file that changes nothing, and code in it that is executed."""
    with pytest.raises((ValueError, SyntaxError), match=says):
        read(file=file, tmp_path=tmp_path)


def test_help_and_errors_of_the_scripts():
    """Forbids an option without help, a default unsaid, a traceback for a person's mistake."""
    def command(*argv):
        return subprocess.run([sys.executable, *argv], cwd=ROOT, capture_output=True, text=True)
    told = command('train.py', '--help')
    assert told.returncode == 0
    import train
    for field in train.Config.__dataclass_fields__:
        assert f'--{field} ' in told.stdout
    assert 'None' not in told.stdout and "['goldberg']" in told.stdout
    for argv, says in ((['train.py', '--max_step=1'], 'max_steps'), 
                       (['train.py', 'no.py'], 'no.py'),
                       (['train.py', '--dataset=none'], 'python prepare.py none'),
                       (['sample.py', '--out_dir=none'], 'no such checkpoint'),
                       (['prepare.py', 'none'], 'no such file'), (['prepare.py'], 'source')):
        failed = command(*argv)
        assert failed.returncode == 1 and says in failed.stderr
        assert failed.stderr.count('\n') == 1 and failed.stdout == ''


def test_config_files_fit_their_script():
    """Forbids a config file that train.py refuses, or that repeats a default."""
    import train
    for path in sorted((ROOT / 'config').glob('[!_]*.py')):
        config = configure(train.Config, [str(path)])
        from config import read_config
        for place, name, value in read_config(path):
            assert getattr(train.Config, name) != value or name == 'dataset' or 'mymidi' in place
        assert config.out_dir.startswith('out')
