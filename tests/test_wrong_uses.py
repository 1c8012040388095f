"""What people get wrong, and what they are told: one line, exit code 1, nothing lost, no traceback.

W stands for a folder with a prepared corpus of music (toy) and one of text (plays), a small model
of each (music, text), and files of all kinds. The scripts run in this process, as `python
script.py` would run them: importing torch for each of so many would take minutes.
"""

import importlib
import os
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, checkpoint_of
import lib.corpus
from lib.corpus import load_corpus
from lib.score import Note, Score, write_midi
from lib.settings import run
from model import ModelConfig, Transformer, save
import prepare

TOY = '--dataset=toy --n_layer=1 --n_embd=16 --n_head=1 --context=32 --max_steps=2 --dtype=float32 '
NEW = TOY + '--out_dir=W/new '

MUSIC, TEXT = '--out_dir=W/music ', '--out_dir=W/text '

# script -> what it must say -> to which commands
ROWS = {
    'train.py': {
        # what is typed wrong
        'did you mean --n_layer=3?': ['n_layer=3', '-n_layer=3'],
        'did you mean n_layer?': ['--n_layers=3', '--nlayer 3'],
        'did you mean context?': ['--block_size=64'],
        'did you mean config/goldberg.py?': ['goldberg', 'config/goldberg', 'goldberg.py'],
        'config: a folder, no config file; did you mean --out_dir=config?': ['config'],
        'no config file (No such file': ['config/none.py'],
        'not a config file': ['data/goldberg/00-aria.mid'],
        'typo.py:2: unknown setting n_layr: did you mean n_layer?': ['W/typo.py'],
        # values out of range
        'needs a': ['--n_layer=2.5', '--dropout=nan', '--muon_lr=inf'],
        'at least 0': ['--dropout=-0.1', '--max_steps=-5', '--muon_lr=-1', '--weight_decay=-1',
                       '--warmup_steps=-1', '--fading=-1', '--seed=-1'],
        'at least 1': ['--n_layer=0', '--n_head=-2', '--eval_every=0', '--log_every=0',
                       '--patience=0', '--batch_size=0'],
        'at least 2': ['--n_embd=0', '--context=1'],
        'at most': ['--max_steps=1e30', '--adam_lr=1e6', NEW + '--n_layer=100000'],
        'below': ['--dropout=1', '--seed=1e30'],
        'must be one of auto, ': ['--compile=yes', '--dtype=float16', '--device=gpu', '--device='],
        'device = mps: not on this machine, use cpu': [NEW + '--device=mps'],
        'divisible by 2 * n_head': [NEW + '--n_head=3'],
        # what can't fit
        'GB of memory': [NEW + '--batch_size=1e9', NEW + '--n_layer=9999 --n_embd=4000',
                         NEW + '--n_embd=10000000'],
        'lower --context': [NEW + '--context=1000000'],
        # corpora
        'python prepare.py none': ['--dataset=none', NEW + '--dataset=toy,none',
                                   NEW + '--extra=none'],
        'dataset is empty': ['--dataset=', '--dataset=,'],
        'named twice': [NEW + '--dataset=toy,toy', NEW + '--extra=toy'],
        'no such corpus': [NEW + '--dataset=..'],
        # folders and checkpoints
        'out_dir is empty': [TOY + '--out_dir='],
        'a file, name a folder': [TOY + '--out_dir=README.md', TOY + '--out_dir=W/note.txt'],
        '--overwrite': [TOY + '--out_dir=W/music'],
        'nothing to resume': [NEW + '--resume'],
        'no such checkpoint': [NEW + '--init_from=none'],
        'give its folder': [NEW + '--init_from=W/music/ckpt.pt'],
        'their tokenizers differ': [NEW + '--dataset=toy,plays', NEW + '--init_from=W/text',
                                    TOY + '--out_dir=W/music --resume --dataset=plays'],
        'was trained with n_layer = 1': [NEW + '--init_from=W/music --n_layer=2'],
        'was trained with seed = 1': [TOY + '--out_dir=W/music --resume --seed=2'],
        'init_from': [TOY + '--out_dir=W/music --resume --init_from=W/music'],
    },
    'sample.py': {
        # what is typed wrong
        'no such checkpoint': ['--out_dir=none', MUSIC + '--checkpoint=none.pt'],
        'out_dir is empty': ['--out_dir='],
        'give its folder': ['--out_dir=W/music/ckpt.pt'],
        'damaged, or no checkpoint': [MUSIC + '--checkpoint=../note.txt'],
        'did you mean --out_dir=W/music?': ['W/music'],
        # values out of range
        'at least 0': ['--bars=-1', '--temperature=-1', '--top_k=-1', '--min_p=-0.1', '--seed=-1',
                       '--tempo=-3'],
        'at least 1': ['--num_samples=0', '--max_tokens=0', '--prompt_bars=0'],
        'above 0': ['--top_p=0'],
        'at most': ['--num_samples=1e9', '--bars=1e19', '--max_tokens=1e19', '--temperature=1e30',
                    '--top_p=1.5', '--min_p=2', '--transpose=100', '--tempo=1000'],
        'below': ['--seed=1e30'],
        'needs a': ['--temperature=hot', '--top_k=0.5'],
        'must be one of': ['--device=meta', '--colour=red'],
        'not on this machine': [MUSIC + '--device=mps'],
        '20 to 320': [MUSIC + '--tempo=5'],
        'such as 3/4': [MUSIC + '--metre=3', MUSIC + '--metre=3/5', MUSIC + '--metre=99/4',
                        MUSIC + '--metre=0/4'],
        'must be a key such as G, Bb, F#m or "C minor"': [
            MUSIC + '--key=H', MUSIC + '--key=g-moll', MUSIC + '--start=W/note.mid --key=H'],
        # what can't be gone on from, or played
        'a folder': [MUSIC + '--start=data', MUSIC + '--start=W/'],
        'no such file, and a model of music goes on from a MIDI file': [
            MUSIC + '--start=ROMEO:', MUSIC + '--start=FILE:W/note.mid',
            MUSIC + '--start=W/gone.mid'],
        'not a MIDI file': [MUSIC + '--start=W/note.txt'],
        'leave it out': [MUSIC + '--start=W/note.mid --metre=3/4'],
        'raise --prompt_bars': [MUSIC + '--start=W/late.mid'],
        'gone.sf2: no such soundfont': [MUSIC + '--soundfont=W/gone.sf2'],
        'ffmpeg is not installed': [] if shutil.which('ffmpeg') else [MUSIC + '--sound=mp3'],
        'writes text': [TEXT + '--start=W/note.mid', TEXT + '--start=song.mid',
                        TEXT + '--start=FILE:W/note.mid'],
        'gone.txt': [TEXT + '--start=FILE:W/gone.txt'],
        'W/latin.txt: not in UTF-8': [TEXT + '--start=FILE:W/latin.txt'],
        'start: not in UTF-8': [TEXT + '--start=caf\udce9'],
        'binary.txt: not text': [TEXT + '--start=FILE:W/binary.txt'],
        'is for music': [TEXT + '--soundfont=W/gone.sf2', TEXT + '--metre=3/4', TEXT + '--tempo=90',
                         TEXT + '--key=G', TEXT + '--transpose=2'],
    },
    'evaluate.py': {
        'no such checkpoint': ['--out_dir=none'],
        'give its folder': ['--out_dir=W/music/ckpt.pt'],
        'python prepare.py none': [MUSIC + '--dataset=none'],
        'does not go with the model': [MUSIC + '--dataset=plays'],
        'none of 0 samples could be read': [MUSIC + '--samples=W/none'],
        'the quiz is for music': [TEXT + '--quiz'],
    },
    'prepare.py': {
        'required: source': [''],
        'which corpus': ['""'],
        'no such file or folder': ['none'],
        'did you mean goldberg?': ['Goldberg'],
        'no file that could be read': ['W/empty', 'W/music'],
        'empty.txt: empty': ['W/empty.txt'],
        'only one piece': ['W/note.mid', 'W/note.RMI'],
        'unpack it first': ['W/note.mid.gz', 'W/note.zip'],
        'export it as MIDI first': ['W/note.musicxml', 'W/note.MXL'],
        'not text': ['W/binary.txt'],
        'too short': ['W/one.txt'],
        'below 1': ['goldberg --val=1', 'goldberg --val=50'],
        'above 0': ['goldberg --val=-1'],
        'at least 257': ['goldberg --vocab_size=10'],
        'at least 0': ['goldberg --jobs=-1'],
        'is taken': ['goldberg --name=wtc', 'config/goldberg.py'],
        'must be one of auto, ': ['goldberg --kind=midi', 'goldberg --velocity=loud'],
        'no regular expression': ['W/pieces --hold_out=('],
        'holds out no piece': ['W/pieces --hold_out=nobody'],
        'holds out all': ['W/pieces --hold_out=.'],
        'only letters, digits': ['W/pieces --name=.', 'W/pieces --name=..', 'W/pieces --name=a/b'],
        'made of something else': ['W/pieces --name=toy'],
    },
    'tokenizer_midi.py': {
        'required: midi': [''],
        'No such file': ['W/gone.mid'],
        'not a MIDI file': ['W/note.txt'],
        'Is a directory': ['W/'],
        'at least 1': ['W/note.mid --rows=-1'],
    },
    'tokenizer_bpe.py': {
        'required: text': [''],
        'data/none: no such corpus': ['hello --dataset=none'],
        'not of text': ['hello --dataset=W/toy'],
        'unexpected argument world': ['hello world'],
    },
}
CASES = [(script, line, says) for script, answers in ROWS.items()
         for says, lines in answers.items() for line in lines]


@pytest.fixture(scope='module')
def workspace(prepared, tmp_path_factory):
    """The folder W, and the settings of where data lies."""
    home = tmp_path_factory.mktemp('w')
    files = {'note.txt': b'some words', 'empty.txt': b'', 'binary.txt': b'\0\1\2' * 99,
             'one.txt': b'a', 'latin.txt': 'café '.encode('latin-1'),
             **dict.fromkeys(('note.mid.gz', 'note.zip', 'note.musicxml', 'note.MXL'), b'any'),
             'typo.py': b'n_head = 1\nn_layr = 2'}
    for name, content in files.items():
        (home / name).write_bytes(content)
    (home / 'empty').mkdir()
    for name in ('note.mid', 'note.RMI'):
        write_midi(Score([Note(0, 60, 24)]), home / name)
    write_midi(Score([Note(960, 60, 24)]), home / 'late.mid')
    (home / 'pieces').mkdir()
    (home / 'toy').symlink_to(prepared / 'toy')
    for i in range(3):
        write_midi(Score([Note(0, 60, 24), Note(24, 61 + i, 24)]), home / 'pieces' / f'{i}.mid')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, 'DATA', prepared)
        (home / 'plays').mkdir()
        for name in 'abcde':
            (home / 'plays' / f'{name}.txt').write_text(f'{name}: to be, or not to be. ' * 40)
        prepare.main(prepare.Config(str(home / 'plays'), vocab_size=280, jobs=1))
        patch.setattr(lib.corpus, 'DATA', prepared)
        for name, dataset in (('music', 'toy'), ('text', 'plays')):
            meta = load_corpus(dataset)
            model = Transformer(ModelConfig(meta['vocab_size'], 32, 1, 1, 16,
                                            **meta['shape_of_told']))
            trained = {'dataset': dataset, 'n_layer': 1, 'n_head': 1, 'n_embd': 16, 'context': 32}
            (home / name).mkdir()
            for file in ('ckpt.pt', 'last.pt'):
                save(home / name / file, checkpoint_of(model, meta['tokenizer'],
                                                       train_config=trained))
        yield home, prepared


def contents(*folders) -> dict:
    """What lies in folders: {path: (size, when it was written)}."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns)
            for folder in folders for path in folder.rglob('*') if path.is_file()}


@pytest.mark.parametrize('script, line, says', CASES)
def test_one_line(script, line, says, workspace, monkeypatch):
    """Forbids a traceback, silence, two lines, a riddle, or something lost for a wrong use."""
    home, corpora = workspace
    before = contents(home, corpora)
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, 'argv', [script, *shlex.split(line.replace('W/', f'{home}/'))])
    module = importlib.import_module(script.removesuffix('.py'))
    main = getattr(module, 'main', None) or module.explain
    with pytest.raises(SystemExit) as error:
        run(main, module.Config)
    message = error.value.code
    assert isinstance(message, str), f'exit code {message}, and nothing said'
    assert message.startswith(f'{script}: ') and '\n' not in message
    assert says in message.replace(str(home), 'W')
    assert contents(home, corpora) == before


@pytest.mark.parametrize('script', ['train.py', 'evaluate.py', 'prepare.py', 'tests/bench.py',
                                    'tests/ablations.py'])
def test_as_a_script(script, monkeypatch):
    """Forbids a script whose last lines don't answer as the functions in it do."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, 'argv', [script, 'this'])
    with pytest.raises(SystemExit, match=f'^{Path(script).name}: .*this'):
        runpy.run_path(script, run_name='__main__')


@pytest.mark.parametrize('script', ['prepare.py', 'train.py', 'sample.py', 'evaluate.py'])
def test_outside_of_the_environment(script):
    """Forbids a traceback for who forgot to activate the environment: -S is a Python without
    packages."""
    done = subprocess.run([sys.executable, '-S', script], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 1 and done.stderr.count('\n') == 1
    assert done.stderr.startswith(f'{script}: numpy is not installed here: activate')


def test_as_a_process():
    """Forbids a different answer of the real command: exit code, the line, and nothing else."""
    done = subprocess.run([sys.executable, 'sample.py', '--out_dir=none'], cwd=ROOT, text=True,
                          capture_output=True, env={**os.environ, 'PYTHONIOENCODING': 'ascii'})
    assert done.returncode == 1 and done.stdout == ''
    assert done.stderr.startswith('sample.py: ') and done.stderr.count('\n') == 1
