"""What the tests share: the repo on the path, one thread, a small corpus, and processes to kill."""

import os
import shutil
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
import lib.corpus                                                      # noqa: E402
import prepare                                                          # noqa: E402
from lib.score import read_midi                                        # noqa: E402
from model import FORMAT                                                # noqa: E402
from tokenizer_midi import MidiTokenizer                                # noqa: E402

torch.set_num_threads(1)            # the models of the tests are too small to share out


def checkpoint_of(model, tokenizer: dict, **changed) -> dict:
    """What train.py would save of a model."""
    return {'format': FORMAT, 'model': model.state_dict(), 'model_config': model.config.__dict__,
            'train_config': {'dataset': 'toy'}, 'tokenizer': tokenizer, 'dtype': 'float32',
            'optimizers': [], 'progress': {'best': 9.0}, **changed}


@cache
def movement(number: int) -> tuple[list[int], np.ndarray]:
    """The ids of a movement of the Goldberg (0 the Aria), and what is told after each (N, W)."""
    tokenizer = MidiTokenizer()
    path = sorted((ROOT / 'data' / 'goldberg').glob('*.mid'))[number]
    ids = tokenizer.encode(read_midi(str(path)))
    return ids, tokenizer.listen(ids)


def all_as_prepared(rows: torch.Tensor, corpus: dict) -> bool:
    """Whether all rows of ids (B, T) stand in the training part of a corpus, in the same key."""
    whole = corpus['train'].tobytes()
    return all(row.astype(corpus['dtype']).tobytes() in whole for row in rows.numpy())


with_fork = pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork on this system: run the '
                               'tests on Linux or macOS to see this one')


def begin(job, said=os.devnull) -> int:
    """Run job() in a process of its own, which ends with 0 or, after an error, 1; its number. What
    it says, and the error, goes into the file `said`."""
    import torch._dynamo             # optimizers do, for seconds: here once, not in every process
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        sys.stdout = sys.stderr = open(said, 'w', buffering=1)
        os.dup2(sys.stdout.fileno(), 1)
        os.dup2(sys.stdout.fileno(), 2)
        job()
        code = 0
    except BaseException as error:
        print(f'{type(error).__name__}: {error}')
    finally:
        os._exit(code)


@pytest.fixture(scope='session')
def prepared(tmp_path_factory):
    """A folder with a corpus `toy`: 8 movements of the Goldberg."""
    home = tmp_path_factory.mktemp('prepared')
    source = home / 'source' / 'toy'
    source.mkdir(parents=True)
    for path in sorted((ROOT / 'data' / 'goldberg').glob('*.mid'))[:8]:
        shutil.copy(path, source)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, 'DATA', home)
        prepare.main(prepare.Config(str(source), jobs=1))
    return home


@pytest.fixture
def corpus(prepared, tmp_path, monkeypatch):
    """A data folder of its own with that corpus in it."""
    shutil.copytree(prepared / 'toy', tmp_path / 'toy')
    for path in (prepared / 'source' / 'toy').iterdir():
        shutil.copy(path, tmp_path / 'toy')
    monkeypatch.setattr(prepare, 'DATA', tmp_path)
    monkeypatch.setattr(lib.corpus, 'DATA', tmp_path)
    return tmp_path


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'x.mid'


@pytest.fixture(scope='module')
def toy(prepared):
    """That corpus, and rungs of the lesson's ladder that learn for a few steps only."""
    from lesson import ladder
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lib.corpus, 'DATA', prepared)
        patch.setattr(ladder.Learn, 'steps', 10)
        patch.setattr(ladder, 'BATCH', 2)
        yield lib.corpus.load_corpora('toy')[0]
