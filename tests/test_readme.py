"""The README: every command of it runs, or is at least understood; every file and flag is there."""

import functools
import importlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT
import lib.corpus
from lib.score import STEPS, TEMPOS, read_midi
from lib.settings import configure, read_config
from lib.tonality import name_of
import prepare
from tokenizer_midi import NAMES, MidiTokenizer, quarters_a_minute

README = (ROOT / 'README.md').read_text('utf-8')


def commands() -> list[str]:
    """All commands, from code blocks and from text, without their comments."""
    found = re.findall(r'^    (python [^\n#]*)', README, re.MULTILINE)
    found += re.findall(r'`((?:python|torchrun) [^`]*)`', README)
    return [command.strip() for command in found]


def options() -> list[tuple[str, str]]:
    """(script, flags) of the table of sampling's options, and flags named alone in the text."""
    found = [('sample.py', flags) for row in re.findall(r'^\| (`--.*?`) \|', README, re.MULTILINE)
             for flags in re.findall(r'`([^`]*)`', row)]
    return found


def test_there_are_commands():
    """Forbids a pattern that finds nothing, so that nothing is tested."""
    assert len(commands()) >= 20 and len(options()) >= 9
    for face in ('python prepare.py goldberg', 'python train.py config/goldberg.py',
                 'python sample.py --out_dir out-goldberg'):
        assert face in commands()


@functools.cache
def help_of(script: str) -> str:
    done = subprocess.run([sys.executable, ROOT / script, '--help'], capture_output=True, text=True)
    assert done.returncode == 0
    return done.stdout


@pytest.mark.parametrize('command', sorted(set(commands())))
def test_commands_are_understood(command):
    """Forbids a script, a config file or a flag that is not there, or a value out of range."""
    words = shlex.split(command.replace('--nproc_per_node=N ', ''))
    script = words[1]
    if script == '-m':
        assert words[2] in ('venv', 'pytest')
        return
    assert (ROOT / script).is_file()
    if script.startswith('tests/'):
        assert all(word in help_of(script) or word == 'NAME' for word in words[2:])
        return
    module = importlib.import_module(script.removesuffix('.py'))
    given = [str(ROOT / word) if word.startswith(('config/', 'data/')) else word
             for word in words[2:]]
    configure(module.Config, given)
    for word in words[2:]:
        if word.startswith('data/'):
            assert (ROOT / word).is_file()


@pytest.mark.parametrize('script, flags', options())
def test_options_are_there(script, flags):
    """Forbids an option in a table that the script does not have."""
    module = importlib.import_module(script.removesuffix('.py'))
    configure(module.Config, shlex.split(flags))


def test_every_flag_is_one_of_ours():
    """Forbids a flag in the text that no script has."""
    known = {'nproc_per_node', 'help', 'name'}
    for script in ('train', 'sample', 'prepare', 'evaluate', 'tokenizer_midi', 'tokenizer_bpe'):
        known |= set(importlib.import_module(script).Config.__dataclass_fields__)
    for flag in re.findall(r'--(\w+)', README):
        assert flag in known, flag


def test_files_are_there():
    """Forbids a link or a name of a file that does not exist."""
    for name in re.findall(r'\]\(([^)]+)\)', README):
        if not name.startswith('http'):
            assert (ROOT / name).is_file(), name
    for name in re.findall(r'`((?:assets|config|data|lib|tests)/[\w./-]+)`', README):
        assert (ROOT / name).exists(), name
    for row in re.findall(r'^\| (`\w+\.py`(?:, `\w+[./]\w*`)*) \|', README, re.MULTILINE):
        for name in re.findall(r'`([^`]+)`', row):
            assert (ROOT / name).exists(), name


def test_it_is_short_and_true():
    """Forbids a README of over 1,800 words, and facts in it that the code contradicts."""
    assert len(README.split()) <= 1800
    text = ' '.join(README.split())
    assert f'a tempo over {quarters_a_minute(TEMPOS - 1):.0f} is halved' in text
    assert f'grid of {STEPS} steps to a quarter' in text
    held_out = [name for name in range(1, 31) if re.match(prepare.HELD_OUT['goldberg'],
                                                         f'{name:02}-variatio-{name}.mid')]
    assert f'variations {", ".join(map(str, held_out))} and' in text
    first_bar = README[README.index('    begin  metre'):README.index('Each word is a number')]
    assert first_bar.split('...')[0].split() == words_of_the_aria()[:len(first_bar.split()) - 1]


def words_of_the_aria() -> list[str]:
    """Its words as the README writes them: 'on', 'G3', 'shift', '24' ..."""
    tokenizer = MidiTokenizer()
    written = []
    for id in tokenizer.encode(read_midi(str(ROOT / 'data' / 'goldberg' / '00-aria.mid'))):
        kind, value = tokenizer.words[id]
        written.append(kind)
        if kind == 'metre':
            written.append(f'{value[0]}/{value[1]}')
        elif kind == 'tempo':
            written.append(f'{quarters_a_minute(value):.0f}')
        elif kind in ('on', 'off'):
            written.append(f'{NAMES[value % 12]}{value // 12 - 1}')
        elif kind == 'home':
            written += name_of(*value).split()
        elif kind in ('shift', 'voices'):
            written.append(str(value))
    return written


def test_the_three_commands(tmp_path, monkeypatch, capsys):
    """Forbids a README whose commands, in its order, don't end in music; at toy size."""
    toy = {'train.py': ['--n_layer=1', '--n_embd=16', '--n_head=1', '--context=32',
                        '--max_steps=3', '--eval_every=3', '--dtype=float32'],
           'sample.py': ['--max_tokens=60', '--num_samples=1', '--bars=1']}
    shutil.copytree(ROOT / 'data' / 'goldberg', tmp_path / 'goldberg',
                    ignore=shutil.ignore_patterns('*.bin', 'meta.json'))
    monkeypatch.setattr(prepare, 'DATA', tmp_path)
    monkeypatch.setattr(lib.corpus, 'DATA', tmp_path)
    out = tmp_path / 'out-goldberg'
    block = README[README.index('    python prepare.py goldberg'):]
    for line in block.splitlines()[:3]:
        script, *words = shlex.split(line)[1:]
        module = importlib.import_module(script.removesuffix('.py'))
        words = [str(out) if word == 'out-goldberg' else word for word in words]
        if script == 'train.py':
            words[0] = str(ROOT / words[0])
            words.append(f'--out_dir={out}')
        elif script == 'prepare.py':
            words.append('--jobs=1')
        module.main(configure(module.Config, words + toy.get(script, [])))
    said = capsys.readouterr().out
    assert 'val goldberg' in said and 'next: python sample.py' in said
    for name in ('index.html', 'sample-1-1.mid', 'sample-1-1.wav', 'ckpt.pt'):
        assert (out / name).stat().st_size > 100, name
    assert dict((name, value) for _, name, value in read_config(
        str(ROOT / 'config' / 'goldberg.py')))['out_dir'] == 'out-goldberg'
