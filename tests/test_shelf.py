"""Samples in a folder: none is lost, and each is shown as it was made."""

import html
import json
import os
import re
import shutil

import mido
import numpy as np
import pytest

from lib import page
from lib.page import Passage, Piece, Text
from lib.score import Note, Score, write_midi
from lib.shelf import (find_groups, free_stem, read_about, read_sample, stem_of,
                       write_about)
import sample
from conftest import ROOT
from sample import Config
from test_sample import checkpoint, colours, compose, newest, out, text_out      # noqa: F401
from tokenizer_midi import MidiTokenizer


def samples_in(folder) -> dict:
    """The samples that lie in a folder: {name: bytes}."""
    return {path.name: path.read_bytes() for path in folder.glob('sample-*')}


def read_back(path):
    return read_sample(path, read_about(path))


def test_no_sample_is_lost(out, colours):                                        # noqa: F811
    """Forbids a piece that another command overwrites, with other settings, fewer pieces, or a
    model that has learned more; and copies of a piece when the same command runs again."""
    compose(out, num_samples=2)
    first = samples_in(out)
    compose(out, num_samples=2)
    assert samples_in(out).keys() == first.keys() and len(first) == 6
    compose(out, num_samples=2, key='G')
    compose(out, num_samples=2, key='G', seed=2)
    compose(out, num_samples=1)                      # another piece, of the same name
    checkpoint(out, MidiTokenizer(), seed=1)
    compose(out, num_samples=2)
    after = samples_in(out)
    kept = {name: content for name, content in first.items() if name.endswith('.mid')}
    assert kept.items() <= after.items()
    pieces = {name: content for name, content in after.items() if name.endswith('.mid')}
    assert len(pieces) == len(set(pieces.values())) == 2 + 2 + 2 + 1 + 2
    assert {'sample-1-2-drafts=1.mid', 'sample-2-2-key=G-drafts=1.mid'} <= pieces.keys()
    midi = mido.MidiFile(out / 'sample-2-2-key=G-drafts=1.mid')
    assert midi.tracks[0].name == 'sample-2-2-key=G-drafts=1'    # the title


def test_all_samples_are_on_the_page(out, colours, monkeypatch, capsys):         # noqa: F811
    """Forbids a page without the pieces of other commands, in another order than the newest first,
    under other settings than theirs, or as nothing was known of them; one that can't be read that
    keeps all others from the page; and pieces without end."""
    for key in ('', 'G', 'D'):
        compose(out, num_samples=2, key=key)
    (out / 'sample-broken.mid').write_bytes(b'broken')
    (out / 'sample-lost.mid').symlink_to('nowhere')
    (out / 'sample-1²3.mid').mkdir()
    compose(out, key='D', seed=5)
    assert 'not on the page' in capsys.readouterr().out
    text = (out / 'index.html').read_text('utf-8')
    parts = re.split('<h2 class="group">', text)
    assert [part.count('<section>') for part in parts] == [1, 2, 2, 2]
    heads = [html.unescape(part[:part.index('<')]) for part in parts[1:]]
    assert ['key D' in head for head in heads] == [True, False, False]
    assert ['key' in head for head in heads] == [True, True, False]
    assert all('held out 9.000 bits/note' in head for head in heads)
    assert text.count('--bits:') > 50 and text.count('<dt>surprise') == 7
    monkeypatch.setattr(page, 'SHOWN', 2)        # fewer than the group has that comes first
    compose(out, key='D', seed=6)
    text = (out / 'index.html').read_text('utf-8')
    assert text.count('<section>') == 1 + 2
    assert text.count('<li>sample-') == 8 - 3 and text.count('.mid"') == 8


def test_a_sample_comes_back_as_it_was(tmp_path):
    """Forbids a sample that is shown otherwise when it is read again; one that was changed with
    marks that are another's; and a file of facts that keeps it from being shown."""
    score = Score([Note(0, 60, 24), Note(0, 64, 12), Note(24, 62, 24)], [(0, 90.0)], [(0, 3, 4)],
                  (7, 'major'))
    piece = Piece('sample-1-1', score, 1, [np.nan, 1.5, 2.25], [False, True, False],
                  {'bars': '1'}, 'flac', Passage(1.5, 3.0, 'bar 2', 'aria, bar 9',
                                             'sample-1-1.source.flac'))
    write_midi(score, tmp_path / 'sample-1-1.mid')
    (tmp_path / 'sample-1-1.flac').touch()
    (tmp_path / 'sample-1-1.source.flac').touch()
    content = (tmp_path / 'sample-1-1.mid').read_bytes()
    write_about(piece, content, tmp_path, {'key': 'G'}, 1.0)
    back = read_back(tmp_path / 'sample-1-1.mid')
    assert back.score.notes == score.notes and back.score.metres == score.metres
    assert (back.name, back.given, back.copied, back.facts, back.sound, back.shared) == (
        'sample-1-1', 1, [False, True, False], {'bars': '1'}, 'flac', piece.shared)
    assert np.array_equal(back.bits, piece.bits, equal_nan=True)
    os.utime(tmp_path / 'sample-1-1.flac', (1, 1))
    (tmp_path / 'sample-1-1.mp3').touch()                        # asked for since
    assert read_back(tmp_path / 'sample-1-1.mid').sound == 'mp3'
    write_midi(Score([note._replace(pitch=30) for note in score.notes]),
               tmp_path / 'sample-1-1.mid')
    back = read_back(tmp_path / 'sample-1-1.mid')
    assert (back.bits, back.copied, back.facts, back.given) == (None, None, {}, 0)
    text = Text('sample-1-2', 'To bé', ' or not\r\n', [(1, 3)], {'characters': '8'})
    content = 'To bé or not\r\n'.encode()
    (tmp_path / 'sample-1-2.txt').write_bytes(content)
    write_about(text, content, tmp_path, {}, 1.0)
    assert read_back(tmp_path / 'sample-1-2.txt') == text
    (tmp_path / 'sample-1-2.txt').write_text('Other words')
    assert read_back(tmp_path / 'sample-1-2.txt') == Text('sample-1-2', '', 'Other words')


def test_samples_of_the_same_settings_belong_together(tmp_path):
    """Forbids groups that are mixed, split by seed, or not in the order of time."""
    made = [('sample-1-1', 5, {'key': 'G'}), ('sample-1-2', 5, {'key': 'G'}),
            ('sample-1-1.2', 4, {}), ('sample-2-1', 2, {'key': 'G'}), ('sample-3-1', 6, None),
            ('sample-4-1', 3, {'key': 'D'})]
    for name, seconds, settings in made:
        write_midi(Score([Note(0, 60, 24)]), tmp_path / f'{name}.mid')
        os.utime(tmp_path / f'{name}.mid', (seconds, seconds))
        if settings is not None:
            content = (tmp_path / f'{name}.mid').read_bytes()
            write_about(Piece(name, Score()), content, tmp_path, settings, seconds)
    groups = find_groups(tmp_path, '.mid')
    assert [[path.stem for path in group.paths] for group in groups] == [
        ['sample-1-1', 'sample-1-2', 'sample-2-1'], ['sample-1-1.2', 'sample-3-1'],
        ['sample-4-1']]
    assert [group.settings for group in groups] == [{'key': 'G'}, {}, {'key': 'D'}]


WRONG = [None, True, 7, -1.5, 'word', [], ['word'], [[1]], {}, {'a': 1}, {'a': [2]}, '\ud800']


@pytest.mark.parametrize('kind', ['mid', 'txt'])
def test_facts_that_are_none(tmp_path, kind):
    """Forbids a file of facts, whatever is in it, that keeps the page from being made."""
    score = Score([Note(0, 60, 24), Note(24, 62, 24)])
    path = tmp_path / f'sample-1.{kind}'
    if kind == 'mid':
        write_midi(score, path)
        one = Piece('sample-1', score, 1, [1.0, 2.0], [False, True], {'bars': '1'})
    else:
        path.write_text('To be')
        one = Text('sample-1', 'To', ' be', [(0, 2)], {'characters': '3'})
    write_about(one, path.read_bytes(), tmp_path, {'key': 'G'}, 1.0)
    facts = tmp_path / 'sample-1.json'
    whole = json.loads(facts.read_text())
    texts = ['', '{', '[]', '7', '"', '[' * 9000, 'null', '{}']
    texts += [json.dumps({**whole, field: wrong}) for field in whole for wrong in WRONG]
    texts += [json.dumps({name: whole[name] for name in whole if name != field})
              for field in whole]
    for text in texts:
        facts.write_text(text)
        [group] = find_groups(tmp_path, f'.{kind}')
        page.write_page(tmp_path / 'index.html', 'x', {}, [],
                        earlier=[(group.settings, [read_sample(path, group.abouts[path])])])


@pytest.mark.parametrize('settings, name', [
    ({}, 'sample-1-3'), ({'seed': 7, 'num_samples': 9, 'max_tokens': 5, 'out_dir': 'x'},
                         'sample-7-3'),
    ({'metre': '3/4', 'key': 'F#m'}, 'sample-1-3-metre=3-4-key=F#m'),
    ({'start': '../my music/theme no.1.mid'}, 'sample-1-3-start=theme-no.1'),
    ({'start': 'What? "No": *never* <again>, he said'},
     'sample-1-3-start=What-No-never-again-he-s'),
    ({'transpose': -2, 'top_p': 0.9}, 'sample-1-3-transpose=-2-top_p=0.9')])
def test_a_name_says_what_differs(tmp_path, settings, name):
    """Forbids a name that some system can't write, that is without end, or that does not say how
    the piece was asked for."""
    assert stem_of(Config(**settings), 3) == name
    assert free_stem(tmp_path, name, '.mid', b'1') == name
    (tmp_path / f'{name}.mid').write_bytes(b'1')
    assert free_stem(tmp_path, name, '.mid', b'1') == name
    assert free_stem(tmp_path, name, '.mid', b'2') == f'{name}.2'
    (tmp_path / f'{name}.2.wav').touch()                 # whose piece was moved away
    assert free_stem(tmp_path, name, '.mid', b'2') == f'{name}.3'


@pytest.mark.parametrize('sound', ['none', 'flac', 'mp3'])
def test_sounds(out, colours, monkeypatch, sound):                               # noqa: F811
    """Forbids a WAV file where none was wanted, a page with a player of no sound, one without the
    roll, and an answer after minutes that ffmpeg is not there."""
    if sound != 'none' and not shutil.which('ffmpeg'):
        pytest.skip('ffmpeg is not there: apt install ffmpeg')
    compose(out, sound=sound)
    names = {path.suffix for path in out.glob('sample-*')}
    assert names == {'.mid', '.json'} | ({f'.{sound}'} if sound != 'none' else set())
    text = (out / 'index.html').read_text('utf-8')
    assert ('<audio' in text) == (sound != 'none') and 'class="composed"' in text
    assert '--bits:' in text and ('class="hint' in text) == (sound != 'none')
    kept = newest(out).with_suffix('.wav')
    kept.write_bytes(b'of another run')
    compose(out, sound=sound)
    assert kept.read_bytes() == b'of another run'
    monkeypatch.setattr(sample.synth.shutil, 'which', lambda program: None)
    if sound != 'none':
        with pytest.raises(ValueError, match=f'sound = {sound}: ffmpeg is not installed'):
            compose(out, sound=sound)


def test_an_interrupt(out, colours, monkeypatch, capsys):                         # noqa: F811
    """Forbids Ctrl-C that loses pieces, or the page, while they are turned into sound; and a
    traceback before the first word is drawn."""
    def stop(*given, **more):
        raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(sample.synth, 'write_wav', stop)
        compose(out, num_samples=2)
    assert 'stopped: not all pieces have their sound' in capsys.readouterr().out
    assert {path.suffix for path in out.glob('sample-*')} == {'.mid', '.json'}
    assert (out / 'index.html').read_text('utf-8').count('<section>') == 2
    monkeypatch.setattr(sample, 'draw_rows', stop)
    compose(out, start=str(ROOT / 'data' / 'goldberg' / '00-aria.mid'))
    assert 'the pieces end here' in capsys.readouterr().out
    compose(out)
    assert 'no notes, so no file' in capsys.readouterr().out


def test_texts(text_out):                                                        # noqa: F811
    """Forbids texts that vanish when others are written, and a page that forgets them."""
    for temperature in (1.0, 0.5):
        sample.main(Config(str(text_out), num_samples=1, max_tokens=20, temperature=temperature))
    assert {path.name for path in text_out.glob('*.txt')} == {
        'sample-1-1.txt', 'sample-1-1-temperature=0.5.txt'}
    text = (text_out / 'index.html').read_text('utf-8')
    assert text.count('<blockquote>') == 2 and text.count('class="group"') == 1
    about = json.loads((text_out / 'sample-1-1-temperature=0.5.json').read_text())
    assert about['settings']['temperature'] == '0.5'
