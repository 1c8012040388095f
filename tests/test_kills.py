"""A run that is killed again and again ends where one that was left alone ends, bit for bit.

In the tests a few kills; `KILLS=200 python -m pytest tests/test_kills.py` for as many as you like.
"""

import os
import random
import resource
import signal
import time

import torch

from conftest import begin, with_fork
from lib.page import read_curve
from model import save
import train
from train import Config

KILLS = int(os.environ.get('KILLS', 3))
SETTINGS = {'dataset': 'toy', 'n_layer': 1, 'n_head': 1, 'n_embd': 16, 'context': 32,
            'batch_size': 2, 'dtype': 'float32', 'max_steps': 24, 'eval_every': 4, 'log_every': 2}

pytestmark = with_fork


def in_a_process(job, kill_if=lambda: False) -> int:
    """Run job() in a process of its own, which is killed as soon as kill_if() is true; how it
    ended: 0, 1, or -9 if killed."""
    child = begin(job)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if kill_if():
            os.kill(child, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        time.sleep(0.001)


def go_on(folder):
    """Begin, or go on where the last one was killed, as a user would."""
    train.train(Config(out_dir=str(folder), resume=(folder / 'last.pt').exists(), **SETTINGS))


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
    assert in_a_process(lambda: go_on(corpus / 'whole')) == 0
    weights, rows = outcome(corpus / 'whole')
    assert len(rows) == 12 + 7                      # every second step, and every validation
    random.seed(1)
    kills = runs = 0
    while kills < KILLS:
        folder = corpus / f'killed-{runs}'
        runs += 1
        # each time it comes a bit further, until it is through
        while True:
            kill_if = after_lines(folder / 'log.csv', random.randrange(2, 2 * len(rows)))
            ended = in_a_process(lambda: go_on(folder), kill_if)
            if ended == 0:
                break
            assert ended == -signal.SIGKILL          # and not an error of its own
            kills += 1
        again, logged = outcome(folder)
        assert logged == rows
        for name, tensor in weights.items():
            assert torch.equal(tensor, again[name]), name


def after_lines(path, lines: int):
    """A condition that is true a moment after a log has so many lines: a random moment of the step,
    the validation or the save that comes then."""
    moment = random.uniform(0, 0.03)
    seen = None

    def is_time():
        nonlocal seen
        if seen is None and path.exists() and path.read_bytes().count(b'\n') >= lines:
            seen = time.monotonic()
        return seen is not None and time.monotonic() > seen + moment
    return is_time


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
    """Forbids a checkpoint that is half of an old and half of a new one when the disk is full."""
    folder = corpus / 'run'
    assert in_a_process(lambda: go_on(folder)) == 0
    whole = (folder / 'last.pt').read_bytes()

    def with_little_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) // 2, -1))
        train.train(Config(out_dir=str(folder), resume=True, **{**SETTINGS, 'max_steps': 30}))
    assert in_a_process(with_little_room) == 1
    assert (folder / 'last.pt').read_bytes() == whole
