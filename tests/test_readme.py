"""The README: every command of it runs, or is at least understood; every file and flag is there."""

import importlib
import re
import shlex
import shutil

import pytest

import ablations
from conftest import ROOT
import lib.corpus
from lib.score import STEPS, TEMPOS
from lib.settings import configure
import prepare
import tokenizer_midi

README = (ROOT / 'README.md').read_text('utf-8')
FACE = ['python prepare.py goldberg', 'python train.py config/goldberg.py',
        'python sample.py --out_dir out-goldberg']


def commands() -> list[str]:
    """All commands, from code blocks, from text, and from the table of sampling's options, without
    their comments."""
    found = re.findall(r'^    (python [^\n#]*)', README, re.MULTILINE)
    found += re.findall(r'`((?:python|torchrun) [^`]*)`', README)
    for row in re.findall(r'^\| (`--.*?`) \|', README, re.MULTILINE):
        found += [f'python sample.py {flags}' for flags in re.findall(r'`([^`]*)`', row)]
    return [command.strip() for command in found]


def script_of(name: str):
    return importlib.import_module(name.removesuffix('.py'))


def test_there_are_commands():
    """Forbids a pattern that finds nothing, so that nothing is tested."""
    assert len(commands()) >= 30 and set(FACE) <= set(commands())


@pytest.mark.parametrize('command', sorted(set(commands())))
def test_commands_are_understood(command):
    """Forbids a script, a config file or a flag that is not there, or a value out of range."""
    script, *words = shlex.split(command.replace('--nproc_per_node=N ', ''))[1:]
    if script == '-m':
        assert words[0] in ('venv', 'pytest')
        return
    assert (ROOT / script).is_file()
    if script.startswith('tests/'):
        assert set(words) <= {'NAME', *ablations.ROWS}
        return
    for number, word in enumerate(words):
        if word.startswith(('config/', 'data/')):
            assert (ROOT / word).is_file()
            words[number] = str(ROOT / word)
    configure(script_of(script).Config, words)


def test_every_flag_is_one_of_ours():
    """Forbids a flag in the text that no script has."""
    known = {'nproc_per_node', 'help', 'name'}
    for script in ('train', 'sample', 'prepare', 'evaluate', 'tokenizer_midi', 'tokenizer_bpe'):
        known |= set(script_of(script).Config.__dataclass_fields__)
    assert set(re.findall(r'--(\w+)', README)) <= known


def test_files_are_there():
    """Forbids a link or a name of a file that does not exist."""
    names = re.findall(r'\]\((?!http)([^)]+)\)', README)
    workflow = '../../actions/workflows/'            # of the page on GitHub, from this file
    names = [re.sub(rf'^{workflow}([\w.]+).*', r'.github/workflows/\1', name) for name in names]
    names += re.findall(r'`((?:assets|config|data|lib|tests)/[\w./-]*|\w+\.py)`', README)
    assert len(names) >= 20
    for name in names:
        assert (ROOT / name).exists(), name


def test_it_is_short_and_true(capsys):
    """Forbids a README of over 1,800 words, and facts in it that the code contradicts."""
    assert len(README.split()) <= 1800
    text = ' '.join(README.split())
    fastest = tokenizer_midi.quarters_a_minute(TEMPOS - 1)
    assert f'a tempo over {fastest:.0f} is halved' in text
    assert f'grid of {STEPS} steps to a quarter' in text
    held_out = [name for name in range(1, 31) if re.match(prepare.HELD_OUT['goldberg'],
                                                         f'{name:02}-variatio-{name}.mid')]
    assert f'variations {", ".join(map(str, held_out))} and' in text

    # the Aria's first words, as the script shows them
    aria = str(ROOT / 'data' / 'goldberg' / '00-aria.mid')
    tokenizer_midi.explain(tokenizer_midi.Config(aria))
    rows = capsys.readouterr().out.splitlines()[1:20]            # without `begin`
    shown = [re.split('  +', row)[1] for row in rows]
    (first_bar,) = re.findall(r'    begin  (metre .*?) \.\.\.', README, re.DOTALL)
    assert ' '.join(shown).startswith(' '.join(first_bar.split()))


def test_the_three_commands(tmp_path, monkeypatch, capsys):
    """Forbids a README whose commands, in its order, don't end in music; at toy size."""
    (tmp_path / 'data' / 'goldberg').mkdir(parents=True)
    for number in (1, 5, 7):
        name = f'data/goldberg/{number:02}-variatio-{number}.mid'
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr(prepare, 'DATA', tmp_path / 'data')
    monkeypatch.setattr(lib.corpus, 'DATA', tmp_path / 'data')
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'config').symlink_to(ROOT / 'config')
    toy = {'prepare.py': ['--jobs=1'],
           'train.py': ['--n_layer=1', '--n_embd=16', '--n_head=1', '--context=32',
                        '--max_steps=3', '--eval_every=3', '--dtype=float32'],
           'sample.py': ['--max_tokens=60', '--num_samples=1', '--bars=1']}
    block = README[README.index('    ' + FACE[0]):].splitlines()[:3]
    assert [line.strip() for line in block] == FACE
    for command in FACE:
        script, *words = shlex.split(command)[1:]
        module = script_of(script)
        module.main(configure(module.Config, words + toy[script]))
    said = capsys.readouterr().out
    assert 'val goldberg' in said and 'next: python sample.py' in said
    for name in ('index.html', 'sample-1-1-bars=1.mid', 'sample-1-1-bars=1.wav', 'ckpt.pt'):
        assert (tmp_path / 'out-goldberg' / name).stat().st_size > 100, name
