"""The lesson: its code runs and prints what stands below it, and every rung of the ladder holds."""

import ast
import code
import inspect
import re
import sys
import textwrap
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

import train
from conftest import ROOT, all_as_prepared
from lesson import ladder, make, wrong
from lib.score import read_midi
from sample import load_tokenizer

LECTURE = (ROOT / 'lesson' / 'README.md').read_text('utf-8')


def test_the_lecture_prints_what_it_says(monkeypatch):
    """Forbids a block of code that does not run, and a number below one that it does not print."""
    monkeypatch.chdir(ROOT)
    for said, printed in zip(LECTURE.splitlines(), make.run_blocks(LECTURE)[0].splitlines(),
                             strict=True):
        assert said == printed


def test_blocks_can_be_pasted():
    """Forbids a block that Python's prompt refuses: there an empty line has to end what is indented
    before something else begins."""
    class Prompt(code.InteractiveConsole):
        def runcode(self, compiled):
            """Only whether it compiles is asked here."""

        def showsyntaxerror(self, filename=None, **more):
            raise sys.exc_info()[1]
    for block, _ in make.BLOCK.findall(LECTURE):
        prompt = Prompt()
        for line in block.splitlines():
            prompt.push(line)


def test_the_ladder_is_told_once():
    """Forbids a chapter that ends with another figure than the table of chapter 13 has, or with the
    sound of another rung; and a rung that no chapter explains."""
    row = r'^\| \[\d+\]\((.*)\) .* \| ([\d.]+) \| [\d.]+ \|$'
    table = dict(re.findall(row, LECTURE, re.MULTILINE))
    told = {}
    for line in re.findall(r'^\*On the ladder:\* (.*)$', LECTURE, re.MULTILINE):
        told |= re.findall(r'\((rung-\d+\.mp3)\)[^\d]* (\d+\.\d\d)', line)
    assert told == {sound: bits for sound, bits in table.items() if sound != 'rung-12.mp3'}
    assert len(told) == ladder.LAST


def test_the_pictures_and_links_are_there():
    """Forbids a picture or a section that the lecture points to and that is not there."""
    headings = re.findall(r'^## (.*)$', LECTURE, re.MULTILINE)
    anchors = {re.sub(r'[^\w -]', '', heading).lower().replace(' ', '-') for heading in headings}
    for target in re.findall(r'\]\(([^)]*)\)', LECTURE):
        if target.startswith('#'):
            assert target[1:] in anchors
        else:
            assert (ROOT / 'lesson' / target).exists(), target


def code_lines(kind) -> int:
    """Lines of a class without those that are blank, a comment or a docstring."""
    source = textwrap.dedent(inspect.getsource(kind))
    documented = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            documented.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(source.splitlines(), 1)
    return sum(number not in documented and line.strip()[:1] not in ('', '#')
               for number, line in lines)


@pytest.mark.parametrize('number', range(1, ladder.LAST))
def test_a_rung(number, toy):
    """Forbids a rung that sees what comes later, one that changes more than 20 lines, one that is
    not the rung before with something more, one that learns from other keys before the rung whose
    idea it is, or only from one after it, and one that learns nothing: after a few steps it has to
    be better than guessing."""
    rung = ladder.RUNGS[number]
    assert issubclass(rung, ladder.RUNGS[number - 1 if number != 2 else 0])
    lines = code_lines(rung) + (code_lines(ladder.Block) if rung is ladder.Heads else 0)
    assert lines <= 20
    torch.manual_seed(0)
    model = rung(toy)
    model.learn(toy, seed=0)
    ids, _, told = ladder.batch_of(toy, rung.transposed if number > 1 else False,
                                   torch.Generator().manual_seed(0))
    assert all_as_prepared(ids, toy) == (not issubclass(rung, ladder.Transpose))
    with torch.no_grad():
        scores = model(ids, told)
        ids[:, -1] = ids[:, -1] + 1
        assert torch.equal(model(ids, told)[:, :-1], scores[:, :-1])
    assert scores.shape == (*ids.shape, toy['vocab_size'])
    assert ladder.bits_a_unit(model, toy) < ladder.bits_a_unit(ladder.Guess(toy), toy) - 0.3


def test_counting(toy):
    """Forbids shares of anything but the times when a word came after this one."""
    model = ladder.Count(toy)
    model.learn(toy, seed=0)
    ids = toy['train'].tolist()
    pairs, words = Counter(zip(ids, ids[1:])), Counter(ids[:-1])
    shares = model(torch.arange(toy['vocab_size'])[None], None)[0].exp()
    for (one, other), count in pairs.items():
        due = (count + 0.1) / (words[one] + 0.1 * toy['vocab_size'])
        assert shares[one, other].item() == pytest.approx(due, 1e-3)


def test_what_is_recalled_is_raised(toy):
    """Forbids a score that is raised where nothing was recalled, also if the voice has a match, and
    one of a recalled word that stays as it is."""
    torch.manual_seed(0)
    model = ladder.Recall(toy)
    ids, _, told = ladder.batch_of(toy, False, torch.Generator().manual_seed(0))
    recalled, match = told[..., model.place_of['recalled']], told[..., model.place_of['match']]
    assert ((match > 0).any(dim=-1) & (recalled == 0).any(dim=-1)).any()
    with torch.no_grad():
        model.by_match[:] = 1.0
        raised = model(ids, told)
        model.by_match[:] = 0.0
        changed = raised != model(ids, told)
    due = torch.zeros_like(changed).scatter(2, recalled, True)
    due[..., 0] = False                                          # of empty columns
    assert torch.equal(changed, due)


def test_a_rung_goes_on_for_so_long(toy, monkeypatch):
    """Forbids ids that are drawn beyond the most, the prompt's among them, and a prompt that is
    lost."""
    monkeypatch.setattr(ladder, 'MOST', 50)
    prompt = toy['train'][:40].tolist()
    ids = ladder.go_on(ladder.Guess(toy), load_tokenizer(toy['tokenizer']), prompt, seed=1)
    assert len(ids) == 50 and ids[:40] == prompt


def test_the_first_note_is_heard(toy, tmp_path, monkeypatch):
    """Forbids notes that a rung composes on the very bar line where the prompt is over, and that
    are not heard."""
    monkeypatch.setattr(ladder.synth, 'sound_of', lambda score: np.zeros(9))
    tokenizer = load_tokenizer(toy['tokenizer'])
    model = ladder.Guess(toy)
    with torch.no_grad():
        model.scores[:] = -100.0
        for pitch in range(60, 72):                              # it presses each of these keys,
            model.scores[tokenizer.ids['on', pitch]] = 3.0
        model.scores[tokenizer.ids['shift', 24]] = 0.0           # before it waits
    piece = ladder.play('a', model, tokenizer, {}, 1, tmp_path)
    assert piece.score.notes[piece.given].start == 4 * 96
    starts = [note.start for note in read_midi(tmp_path / 'a.mid').notes]
    assert starts.count(4 * 96) > 1


@pytest.mark.parametrize('given, numbers', [([], range(13)), (['0'], [0]), (['12'], [12])])
def test_rungs_are_chosen(toy, monkeypatch, given, numbers):
    """Forbids a quarter of an hour for all rungs where the first alone was asked for."""
    climbed = []
    monkeypatch.setattr(ladder, 'load_corpora', lambda name: [toy])
    monkeypatch.setattr(ladder, 'climb_all', lambda numbers, *more: climbed.extend(numbers))
    monkeypatch.setattr('sys.argv', ['ladder.py', *given])
    ladder.main()
    assert climbed == list(numbers)


def test_the_mean(toy):
    """Forbids a mean of other words than all up to this one."""
    x = torch.randn(2, 6, ladder.C)
    added = ladder.Mean(toy).look_back(x, None) - x
    for place in range(6):
        assert torch.allclose(added[:, place], x[:, :place + 1].mean(1), atol=1e-5)


def test_a_rung_is_heard(toy, tmp_path, monkeypatch, capsys):
    """Forbids a piece without the prompt's notes, one that is longer than it should be, and a page
    that does not show it."""
    monkeypatch.setattr(ladder, 'OUT', tmp_path / 'out')
    monkeypatch.setattr(ladder, 'load_corpora', lambda name: [toy])
    monkeypatch.setattr(ladder, 'MOST', 150)
    monkeypatch.setattr('sys.argv', ['ladder.py', '1'])
    ladder.main()
    assert re.search(r'1 Count: \d+\.\d\d bits a held-out note', capsys.readouterr().out)
    notes = read_midi(tmp_path / 'out' / 'rung-1.mid').notes
    prompt = [note for note in read_midi(ladder.PROMPT).notes if note.start < 4 * 96]
    assert [note[:2] for note in notes[:len(prompt)]] == [note[:2] for note in prompt]
    assert len(prompt) < len(notes) and notes[-1].start < (4 + ladder.BARS) * 96
    assert 'Counting pairs' in (tmp_path / 'out' / 'index.html').read_text('utf-8')
    assert (tmp_path / 'out' / 'rung-1.wav').stat().st_size > 100_000


def test_mistakes(toy, tmp_path, monkeypatch):
    """Forbids a mistake that is none: a mask that still hides what comes later, ids that are
    shifted; one that stays in train.py when its run is over; and a picture that lacks a run."""
    monkeypatch.setattr(wrong, 'RIGHT', replace(
        wrong.RIGHT, dtype='float32', n_layer=1, n_embd=16, context=16, batch_size=2, max_steps=4))
    monkeypatch.setattr(wrong, 'OUT', tmp_path)
    monkeypatch.setattr(make, 'HERE', tmp_path)
    get_batch, curves = train.get_batch, []
    for name in wrong.RUNS:
        trained, curve = wrong.train_wrongly(name, 'toy')
        curves.append(curve)
        ids, _, told = ladder.batch_of(toy, False, torch.Generator().manual_seed(0))
        ids, told = ids[:, :16], told[:, :16]
        for block in trained.blocks:
            torch.nn.init.normal_(block.attention.proj)
        with torch.no_grad():
            before = trained(ids, told)
            ids[:, 15] = ids[:, 15] + 1
            same = torch.equal(before[:, :15], trained(ids, told)[:, :15])
        assert same == (name != 'mask')
    assert train.get_batch is get_batch
    x, y, _ = wrong.batch_not_shifted([toy], [1.0], 2, 16, torch.tensor(toy['augment']),
                                      torch.Generator())
    assert torch.equal(x, y)
    wrong.draw(curves, 'toy')
    picture = (tmp_path / 'wrong.svg').read_text('utf-8')
    assert all(title in picture for title, *_ in wrong.RUNS.values())


def test_the_colours_of_the_curves(tmp_path, monkeypatch):
    """Forbids a picture whose blue curve is not of what it learns from, or whose orange one is not
    of held-out pieces: here the first lies below the other."""
    monkeypatch.setattr(make, 'HERE', tmp_path)
    curve = [{'step': step, 'loss': 0.5} for step in (10, 20)]
    curve += [{'step': step, 'nats_toy': 2.0} for step in (0, 20)]
    wrong.draw([curve] * len(wrong.RUNS), 'toy')
    picture = (tmp_path / 'wrong.svg').read_text('utf-8')
    assert 'blue: what it learns from; orange: held-out pieces' in picture
    assert '--one: #2f6a96; --other: #d9611e' in picture         # blue, orange
    heights = {}
    for kind in ('one', 'other'):
        points = re.findall(f'<polyline class="{kind}" .*? points="([^"]*)"', picture)
        assert len(points) == len(wrong.RUNS)
        heights[kind] = float(points[0].split(',')[-1])
    assert heights['one'] > heights['other']                     # y grows downwards
