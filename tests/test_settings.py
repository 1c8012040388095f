"""Settings: what is read, in which order, and what is said of what can't be read."""

import runpy
import sys
from dataclasses import dataclass

import pytest

from conftest import ROOT
from lib.settings import Settings, configure, setting
import train


@dataclass
class Config(Settings):
    name: str = setting('bach', 'who')
    steps: int = setting(100, 'how many, 100% of them', at_least=0, at_most=1_000_000)
    rate: float = setting(0.5, 'how fast', above=-5, below=5)
    loud: bool = setting(False, 'or soft')
    where: str = setting('here', 'of two places', one_of=('here', 'there'))


@pytest.mark.parametrize('line, want', [
    ('FILE --rate=3', {'rate': 3.0}), ('--loud FILE', {'loud': True}),
    ('FILE --loud', {'loud': True}), ('--loud FILE --steps=8', {'loud': True, 'steps': 8})])
def test_order(line, want, tmp_path):
    """Forbids a file that wins over a flag, a default that wins over either, and `--resume FILE`
    that takes the file for the value of the flag."""
    file = tmp_path / 'c.py'
    file.write_text('"""Why."""\nsteps = 7\nrate = 2\n')
    config = configure(Config, line.replace('FILE', str(file)).split())
    assert config == Config(**{'steps': 7, 'rate': 2.0, **want})


@pytest.mark.parametrize('flags, want', [
    (['--rate=1'], {'rate': 1.0}), (['--rate', '1'], {'rate': 1.0}),
    (['--rate=-1'], {'rate': -1.0}),
    (['--steps=1e4'], {'steps': 10000}), (['--steps', '5'], {'steps': 5}),
    (['--name=a=b'], {'name': 'a=b'}), (['--name=1685'], {'name': '1685'}),
    (['--name='], {'name': ''}), (['--where=there'], {'where': 'there'}),
    (['--loud'], {'loud': True}), (['--loud=false'], {'loud': False}),
    (['--loud=1'], {'loud': True}), (['--where=There'], {'where': 'there'}),
    (['--loud', '--steps=5'], {'loud': True, 'steps': 5}),
    (['--steps=5', '--steps=6'], {'steps': 6})])
def test_flags(flags, want):
    """Forbids the flags that are natural to type from being refused or read as another type."""
    assert configure(Config, flags) == Config(**want)


@pytest.mark.parametrize('flags, says', [
    (['--step=5'], 'did you mean steps?'), (['--zzz=5'], 'see --help'), (['--steps=5.5'], 'whole'),
    (['--steps=many'], 'whole'), (['--rate=nan'], 'number'), (['--rate=inf'], 'number'),
    (['--steps=1e999'], 'whole'), (['--steps='], 'whole'), (['--loud='], 'true or false'),
    (['--loud=2'], 'true or false'), (['c.py', 'd.py'], 'unexpected argument d.py'),
    (['--rate'], 'expected'), (['steps=5'], 'did you mean --steps=5?'),
    (['-steps=5'], 'did you mean --steps=5?'), (['--Steps=5'], 'did you mean steps?'),
    (['--steps=-1'], 'at least 0'), (['--steps=1e7'], 'at most 1,000,000'),
    (['--rate=5'], 'below 5'), (['--rate=-5'], 'above -5'), (['--where=gone'], 'here, there')])
def test_wrong_flags(flags, says):
    """Forbids a flag that is ignored, guessed at, out of range, or answered with a traceback."""
    with pytest.raises(ValueError) as error:
        configure(Config, flags)
    assert says in str(error.value) and '\n' not in str(error.value)


def test_ranges_hold_in_python():
    """Forbids a value out of range for those who call train(Config(...)) themselves."""
    for wrong in ({'steps': -1}, {'rate': 5.0}, {'where': 'gone'}):
        with pytest.raises(ValueError, match='must be'):
            Config(**wrong)


@pytest.mark.parametrize('file, says', [
    ('stepz = 5', 'c.py:1: .*did you mean steps'), ('steps = 5.5', 'c.py:1: .*whole'),
    ('\nsteps = True', 'c.py:2: .*whole'), ('rate = "1"x', 'c.py:1: not a config file'),
    ('import os', 'c.py:1'), ('steps = 2 ** 9', 'c.py:1: only'), ('name = open("x")', 'only'),
    ('steps += 1', 'only'), ('name = rate = 1', 'only'), ('name: str = "x"', 'only'),
    ('steps = 1\nsteps = 2', 'c.py:2: steps is set a second time'),
    ('steps = -1', 'c.py:1: steps = -1: must be at least 0'),
    ('where = 3', 'c.py:1: .*here, there'),
    ('\0', 'not a config file'), ('(' * 1000, 'not a config file'), ('rate = [1]', 'a number')])
def test_wrong_files(file, says, tmp_path):
    """Forbids a typo in a config file that changes nothing, and code in it that is executed."""
    (tmp_path / 'c.py').write_text(file)
    with pytest.raises(ValueError, match=says) as error:
        configure(Config, [str(tmp_path / 'c.py')])
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('cls, says', [(train.Config, "['goldberg']"),
                                       (Config, 'how many, 100% of them [100]')])
def test_help(cls, says, capsys):
    """Forbids an option without help, a default unsaid, and a % that argparse takes for its own."""
    with pytest.raises(SystemExit) as ended:
        configure(cls, ['--help'])
    told = capsys.readouterr().out
    assert ended.value.code == 0
    for field in cls.__dataclass_fields__:
        assert f'--{field} ' in told
    assert 'None' not in told and says in told


@pytest.mark.parametrize('script', ['train', 'sample', 'evaluate'])
@pytest.mark.parametrize('flag, code', [('--sede=1', 'train.py: unknown setting'), ('--help', 0)])
def test_flags_are_answered_before_torch_is_imported(script, flag, code, monkeypatch):
    """Forbids to wait for seconds before one is told that a flag is wrong, or what there is."""
    monkeypatch.setattr(sys, 'argv', [f'{script}.py', flag])
    for name in [name for name in sys.modules if name.split('.')[0] in ('torch', 'model')]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'torch', None)              # importing it would fail
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / f'{script}.py'), run_name='__main__')
    assert str(end.value.code).startswith(str(code).replace('train', script))
