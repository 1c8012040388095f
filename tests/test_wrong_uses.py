"""What people get wrong, and what they are told: one line, exit code 1, nothing lost, no traceback.

W stands for a folder with a prepared corpus of music (toy) and one of text (plays), a small model
of each (music, text), and files of all kinds. The scripts run in this process, as `python
script.py` would run them: importing torch for each of so many would take minutes.
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from conftest import ROOT, checkpoint_of
import lib.corpus
from lib.corpus import load_corpus
from lib.score import Note, Score, write_midi
from lib.settings import run
from model import ModelConfig, Transformer, save
import prepare

TOY = '--dataset=toy --n_layer=1 --n_embd=16 --n_head=1 --context=32 --max_steps=2 --dtype=float32 '
NEW = TOY + '--out_dir=W/new '

ROWS = {
    'train.py': [
        # what is typed wrong
        ('n_layer=3', 'did you mean --n_layer=3?'),
        ('-n_layer=3', 'did you mean --n_layer=3?'),
        ('--n_layers=3', 'did you mean n_layer?'),
        ('--nlayer 3', 'did you mean n_layer?'),
        ('--foo=3', 'unknown setting foo'),
        ('goldberg', 'did you mean config/goldberg.py?'),
        ('config/goldberg', 'did you mean config/goldberg.py?'),
        ('goldberg.py', 'did you mean config/goldberg.py?'),
        ('config', 'config: a folder, no config file'),
        ('config/none.py', 'no config file'),
        ('config/goldberg.py config/bach.py', 'unexpected argument config/bach.py'),
        ('data/goldberg/00-aria.mid', 'not a config file'),
        ('train.py', 'only lines of the kind'),
        ('W/binary.py', 'not a config file'),
        ('W/twice.py', 'twice.py:2: n_layer is set a second time'),
        ('W/typo.py', 'typo.py:2: unknown setting n_layr: did you mean n_layer?'),
        ('W/range.py', 'range.py:1: n_layer = 0: must be at least 1'),
        ('W/type.py', "type.py:1: n_layer needs a whole number, not 'three'"),
        ('W/code.py', 'code.py:1: only lines'),
        # values out of range
        ('--n_layer=', 'needs a whole number'),
        ('--n_layer=2.5', 'needs a whole number'),
        ('--n_layer=three', 'needs a whole number'),
        ('--n_layer', 'expected one argument'),
        ('--n_layer=0', 'at least 1'),
        ('--n_head=-2', 'at least 1'),
        ('--n_embd=0', 'at least 2'),
        ('--context=1', 'at least 2'),
        ('--dropout=1', 'below 1'),
        ('--dropout=-0.1', 'at least 0'),
        ('--dropout=nan', 'needs a number'),
        ('--max_steps=-5', 'at least 0'),
        ('--max_steps=1e30', 'at most'),
        (NEW + '--n_layer=100000 --n_embd=2 --n_head=1', 'at most'),
        (TOY + '--out_dir=README.md', 'a file, name a folder'),
        ('--eval_every=-3', 'at least 1'),
        ('--eval_every=0', 'at least 1'),
        ('--log_every=0', 'at least 1'),
        ('--patience=0', 'at least 1'),
        ('--patience=-1', 'at least 1'),
        ('--batch_size=0', 'at least 1'),
        ('--batch_size=-2', 'at least 1'),
        ('--muon_lr=-1', 'at least 0'),
        ('--muon_lr=inf', 'needs a number'),
        ('--adam_lr=1e6', 'at most 1'),
        ('--weight_decay=-1', 'at least 0'),
        ('--warmup_steps=-1', 'at least 0'),
        ('--fading=-1', 'at least 0'),
        ('--seed=-1', 'at least 0'),
        ('--seed=1e30', 'below'),
        ('--seed=99999999999999999999', 'below'),
        ('--augment=maybe', 'true or false'),
        ('--dtype=float16', 'auto, float32, bfloat16'),
        ('--device=gpu', 'auto, cpu, cuda, mps'),
        ('--device=', 'auto, cpu, cuda, mps'),
        ('--compile=yes', 'auto, true, false'),
        (NEW + '--device=mps', 'device = mps: not on this machine, use cpu'),
        (NEW + '--n_head=3', 'divisible by 2 * n_head'),
        # what can't fit
        (NEW + '--batch_size=1e9', 'GB of memory'),
        (NEW + '--n_layer=9999 --n_embd=4000', 'GB of memory'),
        (NEW + '--n_embd=10000000', 'GB of memory'),
        (NEW + '--context=1000000', 'lower --context'),
        # corpora
        ('--dataset=none', 'python prepare.py none'),
        ('--dataset=', 'dataset is empty'),
        ('--dataset=,', 'dataset is empty'),
        (NEW + '--dataset=toy,toy', 'named twice'),
        (NEW + '--dataset=toy,none', 'python prepare.py none'),
        (NEW + '--dataset=toy,plays', 'their tokenizers differ'),
        (NEW + '--extra=toy', 'named twice'),
        (NEW + '--extra=none', 'python prepare.py none'),
        (NEW + '--dataset=..', 'no such corpus'),
        # folders and checkpoints
        (TOY + '--out_dir=', 'out_dir is empty'),
        (TOY + '--out_dir=W/music', '--overwrite'),
        (TOY + '--out_dir=W/note.txt', 'note.txt'),
        (NEW + '--resume', 'nothing to resume'),
        (NEW + '--init_from=none', 'no such checkpoint'),
        (NEW + '--init_from=W/music/ckpt.pt', 'give its folder'),
        (NEW + '--init_from=W/text', 'their tokenizers differ'),
        (NEW + '--init_from=W/music --n_layer=2', 'was trained with n_layer = 1'),
        (TOY + '--out_dir=W/music --resume --seed=2', 'was trained with seed = 1'),
        (TOY + '--out_dir=W/music --resume --dataset=plays', 'their tokenizers differ'),
        (TOY + '--out_dir=W/music --resume --init_from=W/music', 'init_from'),
    ],
    'sample.py': [
        ('--out_dir=none', 'no such checkpoint'),
        ('--out_dir=', 'out_dir is empty'),
        ('--out_dir=W/music/ckpt.pt', 'give its folder'),
        ('--out_dir=W/music --checkpoint=none.pt', 'no such checkpoint'),
        ('--out_dir=W/music --checkpoint=../note.txt', 'damaged, or no checkpoint'),
        ('W/music', 'W/music: a folder, no config file; did you mean --out_dir=W/music?'),
        ('--outdir=W/music', 'did you mean out_dir?'),
        ('--num_samples=0', 'at least 1'),
        ('--num_samples=1e9', 'at most'),
        ('--max_tokens=0', 'at least 1'),
        ('--bars=-1', 'at least 0'),
        ('--bars=1e19', 'at most'),
        ('--max_tokens=1e19', 'at most'),
        ('--out_dir=W/music --start=data', 'a folder'),
        ('--prompt_bars=0', 'at least 1'),
        ('--temperature=-1', 'at least 0'),
        ('--temperature=hot', 'needs a number'),
        ('--temperature=1e30', 'at most'),
        ('--top_k=-1', 'at least 0'),
        ('--top_k=0.5', 'whole number'),
        ('--top_p=0', 'above 0'),
        ('--top_p=1.5', 'at most 1'),
        ('--min_p=-0.1', 'at least 0'),
        ('--min_p=2', 'at most 1'),
        ('--seed=1e30', 'below'),
        ('--seed=-1', 'at least 0'),
        ('--device=gpu', 'auto, cpu, cuda, mps'),
        ('--device=meta', 'auto, cpu, cuda, mps'),
        ('--out_dir=W/music --device=mps', 'not on this machine'),
        ('--colour=red', 'harpsichord, lute'),
        ('--transpose=100', 'at most 24'),
        ('--tempo=1000', 'at most 320'),
        ('--tempo=-3', 'at least 0'),
        ('--out_dir=W/music --tempo=5', '20 to 320'),
        ('--out_dir=W/music --metre=3', 'such as 3/4'),
        ('--out_dir=W/music --metre=3/5', 'such as 3/4'),
        ('--out_dir=W/music --metre=99/4', 'such as 3/4'),
        ('--out_dir=W/music --metre=0/4', 'such as 3/4'),
        ('--out_dir=W/music --key=H', 'must be a key such as G, Bb, F#m or "C minor"'),
        ('--out_dir=W/music --key=g-moll', 'must be a key such as'),
        ('--out_dir=W/music --start=W/note.mid --key=H', 'must be a key such as'),
        ('--out_dir=W/music --start=ROMEO:', 'MIDI file'),
        ('--out_dir=W/music --start=FILE:W/note.mid', 'MIDI file'),
        ('--out_dir=W/music --start=W/gone.mid', 'no such file'),
        ('--out_dir=W/music --start=W/note.txt', 'not a MIDI file'),
        ('--out_dir=W/music --start=W', 'MIDI file'),
        ('--out_dir=W/music --start=W/note.mid --metre=3/4', 'leave it out'),
        ('--out_dir=W/music --start=W/late.mid', 'raise --prompt_bars'),
        ('--out_dir=W/music --soundfont=W/gone.sf2', 'gone.sf2'),
        ('--out_dir=W/text --start=W/note.mid', 'writes text'),
        ('--out_dir=W/text --start=song.mid', 'writes text'),
        ('--out_dir=W/text --start=FILE:W/gone.txt', 'gone.txt'),
        ('--out_dir=W/text --start=FILE:W/note.mid', 'writes text'),
        ('--out_dir=W/text --soundfont=W/gone.sf2', 'soundfont is for music'),
        ('--out_dir=W/text --metre=3/4', 'metre is for music'),
        ('--out_dir=W/text --tempo=90', 'tempo is for music'),
        ('--out_dir=W/text --key=G', 'key is for music'),
        ('--out_dir=W/text --transpose=2', 'transpose is for music'),
    ],
    'evaluate.py': [
        ('--out_dir=none', 'no such checkpoint'),
        ('--out_dir=W/music/ckpt.pt', 'give its folder'),
        ('--out_dir=W/music --dataset=none', 'python prepare.py none'),
        ('--out_dir=W/music --dataset=plays', 'tokenizer'),
        ('--out_dir=W/music --samples=W/none', 'none'),
        ('--out_dir=W/text --quiz', 'quiz'),
        ('--quiz=maybe', 'true or false'),
        ('--sample=W', 'did you mean samples?'),
    ],
    'prepare.py': [
        ('', 'source'),
        ('""', 'which corpus'),
        ('none', 'no such file or folder'),
        ('goldberg wtc', 'unexpected argument wtc'),
        ('Goldberg', 'did you mean goldberg?'),
        ('W/empty', 'no '),
        ('W/empty.txt', 'empty'),
        ('W/note.mid', 'only one piece'),
        ('W/binary.txt', 'not text'),
        ('W/one.txt', 'too short'),
        ('W/music', 'no '),
        ('goldberg --val=1', 'below 1'),
        ('goldberg --val=-1', 'above 0'),
        ('goldberg --val=50', 'below 1'),
        ('goldberg --vocab_size=10', 'at least 257'),
        ('goldberg --jobs=-1', 'at least 0'),
        ('goldberg --name=wtc', "'wtc' is taken"),
        ('goldberg --kind=midi', 'auto, music, text'),
        ('goldberg --velocity=loud', 'auto, true, false'),
        ('W/pieces --hold_out=(', 'no regular expression'),
        ('W/pieces --hold_out=nobody', 'holds out no piece'),
        ('W/pieces --hold_out=.', 'holds out all'),
        ('W/pieces --name=.', 'name'),
        ('W/pieces --name=..', 'name'),
        ('W/pieces --name=a/b', 'name'),
        ('W/pieces --name=toy', 'made of something else'),
        ('config/goldberg.py', "'goldberg' is taken"),
    ],
    'tokenizer_midi.py': [
        ('', 'midi'),
        ('W/gone.mid', 'gone.mid'),
        ('W/note.txt', 'not a MIDI file'),
        ('W', 'Is a directory'),
        ('W/note.mid 5', 'unexpected argument 5'),
        ('W/note.mid --rows=-1', 'at least 1'),
        ('W/note.mid --row=5', 'did you mean rows?'),
    ],
    'tokenizer_bpe.py': [
        ('', 'text'),
        ('hello --dataset=none', 'none'),
        ('hello --dataset=toy', 'toy'),
        ('hello world', 'unexpected argument world'),
    ],
}


@pytest.fixture(scope='module')
def workspace(prepared, tmp_path_factory):
    """The folder W, and the settings of where data lies."""
    home = tmp_path_factory.mktemp('w')
    files = {'note.txt': b'some words', 'empty.txt': b'', 'binary.txt': b'\0\1\2' * 99,
             'one.txt': b'a', 'binary.py': b'\xff\xfe\0', 'twice.py': b'n_layer = 1\nn_layer = 2',
             'typo.py': b'n_head = 1\nn_layr = 2', 'range.py': b'n_layer = 0',
             'type.py': b'n_layer = "three"', 'code.py': b'n_layer = len("abc")'}
    for name, content in files.items():
        (home / name).write_bytes(content)
    (home / 'empty').mkdir()
    write_midi(Score([Note(0, 60, 24)]), home / 'note.mid')
    write_midi(Score([Note(960, 60, 24)]), home / 'late.mid')
    (home / 'pieces').mkdir()
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


CASES = [(script, line, says) for script, rows in ROWS.items() for line, says in rows]


@pytest.mark.parametrize('script, line, says', CASES)
def test_one_line(script, line, says, workspace, monkeypatch, capsys):
    """Forbids a traceback, silence, two lines, a riddle, or something lost for a wrong use."""
    home, corpora = workspace
    before = contents(home, corpora)
    monkeypatch.chdir(ROOT)
    words = [word.replace('W', str(home), 1) if word.split('=')[-1].startswith(('W', 'FILE:W'))
             else word for word in line.split()]
    monkeypatch.setattr(sys, 'argv', [script, *(word.replace('""', '') for word in words)])
    module = importlib.import_module(script.removesuffix('.py'))
    main = getattr(module, 'main', None) or module.explain
    with pytest.raises(SystemExit) as error:
        run(main, module.Config)
    message = error.value.code
    assert isinstance(message, str), f'exit code {message}, and nothing said'
    assert message.startswith(f'{script}: ') and '\n' not in message
    assert says in message.replace(str(home), 'W')
    assert contents(home, corpora) == before


def test_as_a_process():
    """Forbids a different answer of the real command: exit code, the line, and nothing else."""
    commands = (['train.py', 'n_layer=3'], ['sample.py', '--out_dir=none'],
                ['tests/bench.py', 'nope'], ['tests/ablations.py', 'as_it_is', '--steps=many'])
    running = [subprocess.Popen([sys.executable, *command], cwd=ROOT, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env={**os.environ, 'PYTHONIOENCODING': 'ascii'})
               for command in commands]
    for (script, *_), process in zip(commands, running):
        out, told = process.communicate()
        assert process.returncode == 1 and out == ''
        assert told.startswith(f'{Path(script).name}: ') and told.count('\n') == 1


def test_the_table_is_long():
    """Forbids a table that was cut down to what is answered well."""
    assert len(CASES) >= 150
    assert torch.get_num_threads() == 1
