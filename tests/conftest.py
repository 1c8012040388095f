"""What the tests share: the repo on the path, one thread, a small corpus and a small model."""

import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
torch.set_num_threads(1)            # the models of the tests are too small to share out


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A prepared corpus `toy` (8 movements of the Goldberg) in a data folder of its own."""
    import shutil

    import prepare
    import train
    source = tmp_path / 'toy'
    source.mkdir()
    for path in sorted((ROOT / 'data' / 'goldberg').glob('*.mid'))[:8]:
        shutil.copy(path, source)
    monkeypatch.setattr(prepare, 'DATA', tmp_path)
    monkeypatch.setattr(train, 'DATA', tmp_path)
    prepare.main(prepare.Config(str(source), jobs=1))
    return tmp_path
