"""A run that is killed again and again ends where one that was left alone ends, bit for bit.

In the tests a few kills; `KILLS=200 python -m pytest tests/test_kills.py` for as many as you like.
"""

import os
import random
import resource
import signal
import time

import pytest
import torch

from conftest import begin, with_fork
from lib.page import read_curve
from model import save
import train
from train import Config

KILLS = int(os.environ.get('KILLS', 3))
SETTINGS = {'dataset': 'toy', 'n_layer': 1, 'n_head': 1, 'n_embd': 16, 'context': 32,
            'batch_size': 2, 'dtype': 'float32', 'eval_every': 4, 'log_every': 2}

pytestmark = with_fork


def in_a_process(job, seconds=None) -> int:
    """Run job() in a process of its own, which is killed after so many seconds, if it still runs;
    how it ended: 0, 1, or -9 if killed."""
    child = begin(job)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def go_on(folder, max_steps=12):
    """Begin, or go on where the last one was killed, as a user would."""
    train.train(Config(out_dir=str(folder), resume=(folder / 'last.pt').exists(),
                       max_steps=max_steps, **SETTINGS))


def outcome(folder) -> tuple[dict, list]:
    """The weights, and the rows of the log but for what depends on the clock."""
    last = torch.load(folder / 'last.pt', weights_only=True)
    rows = read_curve(folder / 'log.csv')
    timeless = [{name: value for name, value in row.items()
                 if name not in ('seconds', 'tokens_per_second')} for row in rows]
    return last['model'], timeless


def test_killed_at_any_moment(corpus):
    """Forbids a checkpoint lost to a kill, steps that are done twice or not at all, and a log that
    has a line twice, or half of one."""
    in_a_process(lambda: None)                      # imports what is slow, only once
    began = time.monotonic()
    assert in_a_process(lambda: go_on(corpus / 'whole')) == 0
    seconds = time.monotonic() - began
    weights, rows = outcome(corpus / 'whole')
    assert len(rows) == 6 + 4                       # every second step, and every validation
    random.seed(1)
    kills = runs = 0
    while kills < KILLS:
        folder = corpus / f'killed-{runs}'
        runs += 1
        for _ in range(2):
            ended = in_a_process(lambda: go_on(folder), random.uniform(0, seconds))
            assert ended in (-signal.SIGKILL, 0)     # and no error of its own
            kills += ended < 0
        assert in_a_process(lambda: go_on(folder)) == 0
        again, logged = outcome(folder)
        assert logged == rows
        for name, tensor in weights.items():
            assert torch.equal(tensor, again[name]), name


def test_killed_between_writing_and_renaming(tmp_path):
    """Forbids a checkpoint lost because the machine went down while the next one was written."""
    path = tmp_path / 'a.pt'
    save(path, {'step': 1})

    def goes_down():
        os.fsync = lambda file: os._exit(9)         # when all is written, and nothing renamed
        save(path, {'step': 2, 'weights': torch.zeros(100_000)})
    assert in_a_process(goes_down) == 9
    assert torch.load(path, weights_only=True) == {'step': 1}


def test_a_full_disk(corpus):
    """Forbids a checkpoint that is half of an old and half of a new one when the disk is full, and
    an error that does not say so."""
    folder = corpus / 'run'
    assert in_a_process(lambda: go_on(folder, max_steps=0)) == 0
    whole = (folder / 'last.pt').read_bytes()

    def with_little_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) // 2, -1))
        with pytest.raises(OSError, match='too large|No space'):
            go_on(folder, max_steps=2)
    assert in_a_process(with_little_room) == 0
    assert (folder / 'last.pt').read_bytes() == whole
