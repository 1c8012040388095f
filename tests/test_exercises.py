"""The exercises: each answer applies, runs, and does what it says."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys

import pytest
import torch

from conftest import ROOT, movement
from lesson import ladder, make
from lib.heldout import stack
from lib.score import read_midi
from sample import load_tokenizer
from tokenizer_midi import MidiTokenizer

EXERCISES = (ROOT / 'lesson' / 'exercises.md').read_text('utf-8')
ANSWERS = re.findall(r'```diff\n(.*?)```', EXERCISES, re.DOTALL)


@pytest.fixture
def answer(tmp_path):
    """answer(word): a copy of the repo, changed as the one diff says in which the word occurs."""
    def apply(word: str):
        [diff] = [diff for diff in ANSWERS if word in diff]
        for path in [*ROOT.glob('*.py'), *ROOT.glob('lib/*'), *ROOT.glob('lib/page_parts/*'),
                     *ROOT.glob('data/*.py'), *ROOT.glob('lesson/*.py')]:
            if path.is_file():
                copy = tmp_path / path.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
        subprocess.run(['git', 'apply', '-'], input=diff, text=True, cwd=tmp_path, check=True)
        return tmp_path
    if not shutil.which('git'):
        pytest.skip('no git: install it to see whether the answers of the exercises apply')
    return apply


def load_from(folder, name: str):
    """The module folder/name.py, beside the one of the repo."""
    spec = importlib.util.spec_from_file_location(f'answer_{name}', folder / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_without_a_mask(answer, toy):
    """Forbids an answer that hides what comes later still."""
    model = load_from(answer('shares = scores.softmax') / 'lesson', 'ladder').Attend(toy)
    ids, _, told = ladder.batch_of(toy, False, torch.Generator().manual_seed(0))
    torch.nn.init.normal_(model.head)
    with torch.no_grad():
        before = model(ids, told)[:, 0]
        ids[:, -1] = ids[:, -1] + 1
        assert not torch.allclose(model(ids, told)[:, 0], before)


def test_one_batch_by_heart(answer, toy, capsys):
    """Forbids an answer that draws other batches, or prints no loss."""
    changed = load_from(answer('at step') / 'lesson', 'ladder')
    drawn = []
    batch_of = changed.batch_of
    changed.batch_of = lambda *given: drawn.append(1) or batch_of(*given)
    changed.Learn.steps, changed.BATCH = 60, 2
    changed.Learn(toy).learn(toy, 0)
    first, later = map(float, re.findall(r'at step \d+: ([\d.]+)', capsys.readouterr().out))
    assert later < first - 0.5 and len(drawn) == 1


def test_top_k(answer, toy):
    """Forbids an answer that draws less likely ids, or always the same one."""
    changed = load_from(answer('TOP_K') / 'lesson', 'ladder')
    model = ladder.Count(toy)
    model.learn(toy, 0)
    tokenizer = load_tokenizer(toy['tokenizer'])
    ids = changed.go_on(model, tokenizer, [0], seed=0)
    ranks = [(model.table[a] > model.table[a, b]).sum().item() for a, b in zip(ids, ids[1:])]
    assert len(ids) > 50 and max(ranks) < 8 and len(set(ranks)) > 4


def test_without_positions(answer):
    """Forbids an answer in which one layer still knows the order of the ids."""
    model = load_from(answer('q, k = norm'), 'model')
    shape = MidiTokenizer().shape_of_told()
    lost = model.Transformer(model.ModelConfig(545, 16, 1, 2, 16, **shape)).eval()
    ids, told = stack([movement(1)[0][:16]]), stack([movement(1)[1][:16]])
    for parameter in lost.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    order = torch.tensor([3, 0, 2, 1, *range(4, 16)])
    with torch.no_grad():
        assert torch.allclose(lost(ids, told)[:, -1], lost(ids[:, order], told[:, order])[:, -1],
                              atol=1e-4)


def test_a_new_corpus(answer):
    """Forbids a corpus that prepare.py does not make."""
    folder = answer('scales')
    done = subprocess.run([sys.executable, 'prepare.py', 'scales', '--jobs=1'], cwd=folder,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pieces = json.loads((folder / 'data' / 'scales' / 'meta.json').read_text('utf-8'))['pieces']
    assert [piece['name'] for piece in pieces['val']] == ['2.mid', '5.mid']
    assert len(pieces['train']) == 5


def test_the_answers_in_python_run(tmp_path, monkeypatch):
    """Forbids an answer that does not run, or prints something else than it says."""
    monkeypatch.chdir(tmp_path)
    assert make.run_blocks(EXERCISES)[0] == EXERCISES
    assert len(read_midi(tmp_path / 'out-theme.mid').notes) == 16
