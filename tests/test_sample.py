"""Sampling: only valid music is drawn, nothing sticks, what is written can be read and heard. What
a wrong setting is answered with stands in test_wrong_uses.py."""

import codecs
import html
import json
import random
import re
import wave
from urllib.parse import quote, unquote
from itertools import count, islice
from pathlib import Path

import mido
import numpy as np
import pytest
import torch

from assets import make
from conftest import ROOT, checkpoint_of
from lib.corpus import load_corpus, load_pieces, load_trained_on
from lib.originality import NOTHING, Learned, index_of, originality
from lib.page import sound_times
from lib.prompt import read_prompt
from lib.score import Note, Score, read_midi, write_midi
from lib.report import ProgressLine, describe
from lib.tonality import midi_key, parse_key
from model import ModelConfig, Transformer, save
import sample
from sample import Config, load_tokenizer
from tokenizer_bpe import BPETokenizer
from tokenizer_midi import MidiTokenizer

GOLDBERG = ROOT / 'data' / 'goldberg'
TEXT = 'To be, or not to be, that is the question: whether it is nobler in the mind to suffer. ' * 9


def small_model(tokenizer) -> Transformer:
    return Transformer(ModelConfig(tokenizer.vocab_size, 64, 1, 2, 16, **tokenizer.shape_of_told()))


def checkpoint(folder, tokenizer, seed: int = 0):
    """A model that knows nothing, saved as train.py does."""
    torch.manual_seed(seed)
    model = small_model(tokenizer)
    torch.nn.init.normal_(model.head, std=0.5)
    folder.mkdir(exist_ok=True)
    save(folder / 'ckpt.pt', checkpoint_of(model, tokenizer.to_dict()))


@pytest.fixture
def out(tmp_path):
    """The folder of a model of music."""
    checkpoint(tmp_path / 'out', MidiTokenizer())
    return tmp_path / 'out'


@pytest.fixture
def text_out(tmp_path):
    """The folder of a model of text."""
    checkpoint(tmp_path / 'text', BPETokenizer.train([TEXT], 300))
    return tmp_path / 'text'


def compose(out, **settings):
    """Run sample.py for music; one short piece of one draft, if the settings don't say otherwise.
    """
    small = {'num_samples': 1, 'drafts': 1, 'max_tokens': 60}
    sample.main(Config(**{'out_dir': str(out), **small, **settings}))


def newest(out, number: int = 1, suffix: str = 'mid') -> Path:
    """Of the samples of this number in a folder, whatever their settings, the one written last."""
    return max(out.glob(f'sample-*-{number}*.{suffix}'), key=lambda path: path.stat().st_mtime_ns)


@pytest.fixture
def colours(monkeypatch) -> list[str]:
    """The colours of the sounds asked for. None is made, which takes longer than the music."""
    asked = []

    def sound_of(score, colour):
        asked.append(colour)
        return np.zeros(9, np.float32)
    monkeypatch.setattr(sample.synth, 'sound_of', sound_of)
    return asked


@pytest.fixture
def drawn(monkeypatch) -> list[tuple]:
    """The rows and the listeners of the pieces that are drawn."""
    found, draw_pieces = [], sample.draw_pieces

    def listen_in(*given):
        found.append(draw_pieces(*given))
        return found[-1]
    monkeypatch.setattr(sample, 'draw_pieces', listen_in)
    return found


def key_signatures(path) -> set[str]:
    """Those of the tracks that have notes."""
    _, *tracks = mido.MidiFile(path).tracks
    found = [[message.key for message in track if message.type == 'key_signature']
             for track in tracks]
    assert found and all(len(signatures) == 1 for signatures in found)
    return {signatures[0] for signatures in found}


# ---- what is written

def test_the_head_is_true(tmp_path, monkeypatch):
    """Forbids a lesson at the head of the file that does not run, begins with another word than
    sample.py itself, or writes no music."""
    checkpoint(tmp_path / 'out-goldberg', MidiTokenizer())
    generate = Transformer.generate
    monkeypatch.setattr(Transformer, 'generate', lambda *args, **given: islice(
        generate(*args, **given), 99))                   # (a model that knows nothing may not end)
    monkeypatch.chdir(tmp_path)
    lines = [line[4:] for line in sample.__doc__.splitlines() if line.startswith('    ')]
    names = vars(sample).copy()
    exec('\n'.join(lines), names)
    assert names['prompt'].tolist() == [read_prompt(MidiTokenizer()).ids]
    assert read_midi(tmp_path / 'piece.mid').notes


def test_pieces_are_written_and_can_be_heard(out, capsys, monkeypatch):
    """Forbids a sample without a file, a silent or clipped WAV, other music from the same seed, and
    another seed that overwrites it."""
    runs = []
    for seed in (1, 1, 2):
        compose(out, num_samples=2, drafts=2, max_tokens=40, seed=seed, tempo=300.0)
        paths = [out / f'sample-{seed}-{n}-tempo=300.0-drafts=2' for n in (1, 2)]
        notes = [read_midi(f'{path}.mid').notes for path in paths]
        with wave.open(f'{paths[0]}.wav') as wav:
            sound = np.frombuffer(wav.readframes(wav.getnframes()), '<i2')
            assert wav.getframerate() == 44100
            assert runs or 3000 < abs(sound.astype(int)).max() < 32767
        assert notes[0] != notes[1] and 'bars' in capsys.readouterr().out
        runs.append(notes)
        monkeypatch.setattr(sample.synth, 'sound_of', lambda *given: sound[:9] / 32768)  # heard
    assert runs[0] == runs[1] and runs[0] != runs[2]
    assert read_midi(out / 'sample-1-1-tempo=300.0-drafts=2.mid').notes == runs[0][0]
    page = (out / 'index.html').read_text('utf-8')
    sounds = re.findall('<audio[^>]*src="(.*?)"', page)          # the newest first
    assert [unquote(sound)[:10] for sound in sounds] == [
        'sample-2-1', 'sample-2-2', 'sample-1-1', 'sample-1-2']
    notes = sum(len(notes) for run in runs[1:] for notes in run)
    assert page.count('data-tip="') == notes == len(re.findall('data-tip="[^"]* bits', page))


@pytest.mark.parametrize('kind', ['music', 'text'])
def test_options_reach_the_draw(out, text_out, colours, monkeypatch, kind):
    """Forbids an option of drawing that is read and not used, texts that are all drawn from one
    seed, and a harpsichord of our own where a lute or a soundfont was asked for."""
    wished = {'temperature': 0.7, 'top_k': 9, 'top_p': 0.8, 'min_p': 0.02}
    seeds, generate = [], Transformer.generate

    def listen_in(model, ids, listeners, generator, **given):
        assert wished.items() <= given.items()
        seeds.append(generator.initial_seed())
        return generate(model, ids, listeners, generator=generator, **given)
    monkeypatch.setattr(Transformer, 'generate', listen_in)
    if kind == 'music':
        compose(out, num_samples=3, seed=7, max_tokens=30, colour='lute', **wished)
        assert seeds == [7] and colours == ['lute'] * 3
        fonts = []
        monkeypatch.setattr(sample.synth, 'check_soundfont', lambda path: None)
        monkeypatch.setattr(sample.synth, 'fluidsynth', lambda *given: fonts.append(given))
        compose(out, max_tokens=30, soundfont='a.sf2', **wished)
        [(score, path, font)] = fonts
        assert path == str(newest(out).with_suffix('.wav')) and font == 'a.sf2'
        assert 'soundfont=a.wav' in path and score.notes
        assert len(colours) == 3
        with pytest.raises(ValueError, match='colour = lute is of our own sound'):
            compose(out, soundfont='a.sf2', colour='lute')
    else:
        sample.main(Config(str(text_out), num_samples=3, seed=7, max_tokens=30, **wished))
        assert seeds[0] == 7 and len(set(seeds)) == 3


def test_the_page_knows_the_judgement(corpus, colours, capsys):
    """Forbids a page that hides how good the samples are, once that is known, and a prompt from a
    training piece that counts as recited by the model."""
    checkpoint(corpus / 'out', MidiTokenizer())
    judged = {'judge': {'prefers': {'samples': 89.6, 'held-out': None}}}
    (corpus / 'out' / 'evaluate.json').write_text(json.dumps(judged))
    compose(corpus / 'out', top_k=5, start=str(corpus / 'toy' / '01-variatio-1.mid'))
    page = (corpus / 'out' / 'index.html').read_text('utf-8')
    assert 'the judge preferred Bach in 90 of 100 pairs' in page
    assert '<dt>top_k</dt><dd>5</dd>' in page and '<dt>seed</dt><dd>1</dd>' in page
    assert 'longest run in the training pieces none' in capsys.readouterr().out


@pytest.mark.parametrize('short', [False, True])
def test_what_is_said_after_a_prompt(corpus, colours, capsys, monkeypatch, short):
    """Forbids a prompt whose notes count in the surprise, or move the marks of what is copied; a
    run of so many notes as recites that does not, and a shorter one that does, be it longer than
    what recites where held-out pieces share less."""
    checkpoint(corpus / 'out', MidiTokenizer())
    write_midi(tune(50, 50), corpus / 'prompt.mid')
    learned = sample.load_learned({'train_config': {'dataset': 'toy'},
                                   'tokenizer': MidiTokenizer().to_dict()}, MidiTokenizer())
    learned.recites_from += 4
    recites_from = learned.recites_from
    monkeypatch.setattr(sample, 'load_learned', lambda *given: learned)
    count = recites_from - short
    copy = Score(read_midi(corpus / 'toy' / '01-variatio-1.mid').notes[:count])
    ids = torch.tensor(MidiTokenizer().encode(copy)[1:])
    monkeypatch.setattr(Transformer, 'generate', lambda *given, **also: iter(ids[:, None]))
    compose(corpus / 'out', start=str(corpus / 'prompt.mid'), prompt_bars=4, max_tokens=999)
    said = capsys.readouterr().out
    assert f'{count} notes, of 01-variatio-1, bar 1' in said
    assert ('it recites' in said) == (not short)
    page = (corpus / 'out' / 'index.html').read_text('utf-8').split('To compare')[0]
    tips = re.findall('data-tip="(.*?)"', page)
    composed = [tip for tip in tips if 'prompt' not in tip]
    assert len(composed) == count < len(tips)
    assert sum('copied' in tip for tip in composed) == (0 if short else count)
    bits = [float(re.search(r'([\d.]+) bits', tip)[1]) for tip in composed]
    assert float(re.search('surprise (.*) bits', said)[1]) == pytest.approx(np.mean(bits), abs=0.05)


def test_bach_is_heard_beside_it(corpus, monkeypatch, colours):
    """Forbids a page that says what it shares with a training piece, and lets nobody hear it, or
    other bars than those; one that forgets it when the next samples are made, or the same without
    sound; and no held-out music to compare with, or training music in its place."""
    checkpoint(corpus / 'out', MidiTokenizer())
    source = read_midi(corpus / 'toy' / '01-variatio-1.mid')
    asked = []
    monkeypatch.setattr(sample.synth, 'sound_of', lambda score, colour: (
        asked.append(score), np.zeros(9))[1])
    notes = [Note(72 * bar, 60 + bar, 72) for bar in range(2)]                # bars of its own
    notes += [note._replace(start=note.start - 72 * 4 + 72 * 2)
              for note in source.notes if 72 * 4 <= note.start < 72 * 6]
    ids = torch.tensor(MidiTokenizer().encode(Score(notes, metres=[(0, 3, 4)]))[1:])
    monkeypatch.setattr(Transformer, 'generate', lambda *given, **also: iter(ids[:, None]))
    compose(corpus / 'out', max_tokens=999)
    passage, piece, held_out = asked
    assert [note[:2] for note in passage.notes] == [
        (note.start - 72 * 4, note.pitch) for note in source.notes if 72 * 4 <= note.start < 72 * 6]
    assert passage.tempos[0][1] == pytest.approx(source.tempos[-1][1], rel=0.02)
    assert len(piece.notes) == len(notes)
    [(name, score)] = load_pieces([load_corpus('toy')], MidiTokenizer())['val']
    assert held_out.notes == score.notes
    sounds = {path.name for path in (corpus / 'out').glob('*.wav')}
    assert sounds == {'sample-1-1-drafts=1.wav', 'sample-1-1-drafts=1.source.wav',
                      f'held-out-{Path(name).stem}.wav'}
    [start, end] = sound_times(piece, [72 * 2, 72 * 4])
    button = f'<button data-start="{start:.3f}" data-end="{end:.3f}">here, bars 3 to 4</button>'
    for seed in (1, 2):                          # as just made, then as an earlier one
        page = (corpus / 'out' / 'index.html').read_text('utf-8')
        assert button in page and 'in 01-variatio-1, bars 5 to 6' in page
        for sound in sounds:
            assert f'src="{quote(sound)}"' in page
        compose(corpus / 'out', max_tokens=999, seed=seed + 1)
    (corpus / 'out' / 'sample-1-1-drafts=1.source.wav').unlink()
    compose(corpus / 'out', max_tokens=999, seed=2, sound='none')         # its sounds lie there
    page = (corpus / 'out' / 'index.html').read_text('utf-8')
    assert page.count('class="passage"') == 2    # of seeds 2 and 3
    assert page.count('class="player"') == 4 and '"player' in page.split('To compare')[0]


def test_the_piece_to_compare_with(out, monkeypatch):
    """Forbids one of another length than was asked for, if there is a nearer one, and one that is
    the same for every seed."""
    monkeypatch.setattr(sample, 'surprise', lambda model, tokenizer, ids: [0.0] * len(ids))
    held_out = [(name, Score([Note(96 * bar, 60, 96) for bar in range(bars)]))
                for name, bars in (('short.mid', 4), ('a.mid', 9), ('b.mid', 8), ('long.mid', 40))]
    for bars, names in ((4, {'short'}), (8, {'b'}), (32, {'long'}), (0, {'long'})):
        assert {sample.choose_held_out(None, MidiTokenizer(), held_out, Config(
            str(out), bars=bars, seed=seed)).name for seed in range(5)} == {
            f'held-out-{name}' for name in names}
    equals = [held_out[1], ('c.mid', held_out[1][1])]
    assert {sample.choose_held_out(None, MidiTokenizer(), equals, Config(
        str(out), seed=seed)).name for seed in range(2)} == {'held-out-a', 'held-out-c'}


@pytest.mark.parametrize('trouble', [OSError('no space left'), KeyboardInterrupt()])
def test_the_page_is_made_whatever_becomes_of_the_sound(corpus, monkeypatch, capsys, trouble):
    """Forbids music that was composed and is not on the page, since a sound could not be written or
    Ctrl-C came while the last was."""
    checkpoint(corpus / 'out', MidiTokenizer())
    sounds = [np.zeros(9), np.zeros(9)]

    def sound_of(score, colour):
        if not sounds:
            raise trouble
        return sounds.pop()
    monkeypatch.setattr(sample.synth, 'sound_of', sound_of)
    try:
        compose(corpus / 'out', num_samples=3)
    except OSError as error:
        assert error is trouble
    else:
        assert 'stopped: not all pieces have their sound' in capsys.readouterr().out
    page = (corpus / 'out' / 'index.html').read_text('utf-8')
    assert page.count('class="player"') == 2 and page.count('<section>') == 4


def test_what_is_said_of_a_piece(out, colours, drawn, capsys):
    """Forbids a key in the file that is not the model's own word, and a share of the guard that is
    not of the words up to the end, or that grows after it while other pieces go on."""
    compose(out, num_samples=3, bars=2, max_tokens=1000)
    said = [line for line in capsys.readouterr().out.splitlines() if 'the guard' in line]
    [(rows, listeners)] = drawn
    ends = [row.index(MidiTokenizer().end) for row in rows]
    assert len(said) == len(set(ends)) == 3
    for number, (row, end, listener) in enumerate(zip(rows, ends, listeners)):
        share = listener.forbidden / end
        assert 0 < share < 1 and f'the guard took away {share:.1%}' in said[number]
        home = MidiTokenizer().decode(row[:end]).home
        assert key_signatures(newest(out, number + 1)) == {midi_key(*home)}


@pytest.mark.parametrize('metres, tempos, metre, tempo', [
    ([], [], '4/4', '120'), ([(0, 3, 8)], [(0, 90.4)], '3/8', '90'),
    ([(96, 3, 4)], [(96, 60.0)], '4/4', '120'),
    ([(0, 1, 4), (24, 4, 4)], [(0, 50.0), (24, 60.0)], '4/4', '50')])
def test_what_is_said_of_the_beginning(metres, tempos, metre, tempo):
    """Forbids a metre or a tempo that is said only later in the piece, and that of a pickup."""
    score = Score([Note(24 * i, 60, 24) for i in range(16)], tempos, metres)
    facts = describe(score, [1.0] * 16)
    assert (facts['metre'], facts['tempo']) == (metre, f'{tempo} quarters a minute')


def test_an_interrupt_keeps_what_was_composed(out, text_out, colours, monkeypatch, capsys):
    """Forbids Ctrl-C that throws away the music or the text drawn so far."""
    draw_rows = sample.draw_rows

    def interrupted(*given, **more):
        more['stop'] = None                      # nothing ends by itself before
        yield from islice(draw_rows(*given, **more), 60)
        raise KeyboardInterrupt
    monkeypatch.setattr(sample, 'draw_rows', interrupted)
    compose(out, num_samples=2, max_tokens=500, metre='4/4')
    assert 'stopped' in capsys.readouterr().out
    for number in (1, 2):
        assert read_midi(newest(out, number)).notes
    sample.main(Config(str(text_out), num_samples=2, max_tokens=500, start='To'))
    assert 'stopped' in capsys.readouterr().out
    written = newest(text_out, suffix='txt').read_text('utf-8')
    assert written.startswith('To') and len(written) > 30
    assert not list(text_out.glob('sample-1-2*'))


def test_progress_is_for_terminals(capsys, monkeypatch):
    """Forbids carriage returns in a log file, and a terminal that is told nothing."""
    tokenizer = MidiTokenizer()
    listeners = [tokenizer.listener(), tokenizer.listener()]
    for listener, steps in zip(listeners, (36, 90)):              # one is a bar behind
        listener.hear(tokenizer.ids['metre', (3, 8)])
        listener.hear(tokenizer.ids['shift', steps])
    for is_terminal, bars, said in ((False, 8, ''), (True, 8, '\rbar 2 of about 8 '),
                                    (True, 0, '\rbar 2 ')):
        monkeypatch.setattr('sys.stdout.isatty', lambda: is_terminal)
        ProgressLine(listeners, bars).show()
        assert capsys.readouterr().out == said


def test_text_streams(text_out, tmp_path, capsys):
    """Forbids a text that loses its start, a byte order mark or line ends of a prompt that are not
    as in a corpus, ids printed for the end of text, half characters, and a file with another text
    than the terminal."""
    (tmp_path / 'p.txt').write_text('FROM A FILE: ü\n', encoding='utf-8')
    (tmp_path / 'marked.txt').write_bytes(codecs.BOM_UTF8 + b'FROM WINDOWS:\r\n')
    cases = (('ROMEO: é', 'ROMEO: é'), (f'FILE:{tmp_path}/p.txt', 'FROM A FILE: ü\n'),
             (f'FILE:{tmp_path}/marked.txt', 'FROM WINDOWS:\r\n'))
    for start, shown in cases:
        sample.main(Config(str(text_out), num_samples=2, max_tokens=40, start=start))
        said = capsys.readouterr().out
        assert said.count(shown) == 2 and len(said) > 2 * len(shown) + 60
        assert 'endoftext' not in said
        for number in (1, 2):
            text = newest(text_out, number, 'txt').read_bytes().decode('utf-8')
            assert text in said and text.startswith(shown)
        page = (text_out / 'index.html').read_text('utf-8')
        assert page.count('<blockquote>') >= 2 and shown.split()[0] in page


def test_texts_of_other_seeds_are_others(text_out, monkeypatch):
    """Forbids the second text of one seed that is the first of the next, a first text that depends
    on how many there are, and a second one for which the first has been heard."""
    draw_rows = sample.draw_rows

    def none_heard(model, start, listeners, config, **given):
        assert [listener.heard for listener in listeners] == [0]
        return draw_rows(model, start, listeners, config, **given)
    monkeypatch.setattr(sample, 'draw_rows', none_heard)
    texts = {}
    for seed, many in ((1, 3), (2, 2), (1, 1)):
        sample.main(Config(str(text_out), num_samples=many, max_tokens=30, seed=seed))
        for number in range(1, many + 1):
            written = (text_out / f'sample-{seed}-{number}.txt').read_text('utf-8')
            assert texts.setdefault((seed, number), written) == written
    assert len(set(texts.values())) == len(texts) == 5


# ---- what it begins with

@pytest.mark.parametrize('number, bars, until', [
    ('01-variatio-1', 1, 72), ('13-variatio-13', 4, 288), ('16-variatio-16', 10 ** 12, 2688)])
def test_the_prompt_comes_back(out, path, colours, number, bars, until):
    """Forbids a continuation that drops, shortens, prolongs or changes a note that it was given,
    adds one before the bar line, or takes more or fewer bars of the file than it was told."""
    whole = read_midi(GOLDBERG / f'{number}.mid')
    whole.notes = [note._replace(velocity=50) for note in whole.notes]     # ids don't say it
    write_midi(whole, path)
    given = [note for note in whole.notes if note.start < until]
    compose(out, num_samples=2, start=str(path), prompt_bars=bars)
    for sampled in (1, 2):
        score = read_midi(newest(out, sampled))
        assert [note for note in score.notes if note.start < until] == given
        assert {note.velocity for note in score.notes[len(given):]} == {80}    # composed
        assert round(score.tempos[0][1], 2) == round(whole.tempos[0][1], 2)


def test_a_prompt_is_cut_at_its_bar_line():
    """Forbids words beyond the bar line, or a gap before it, wherever the next note stands."""
    tokenizer = MidiTokenizer()
    for step in (47, 49, 50, 200):
        ids = tokenizer.encode_until(Score([Note(0, 60, 24), Note(step, 62, 24)]), 48)
        words = [tokenizer.words[id] for id in ids]
        assert sum(value for kind, value in words if kind == 'shift') == 48
        assert (('on', 62) in words) == (step < 48)


def test_what_is_set_at_the_bar_line_counts(path):
    """Forbids a tempo, a time signature or a note that is lost since it stands at the very bar line
    where the prompt is over, one of the file's own that is taken along, and an exact tempo of the
    prompt that is rounded."""
    tokenizer = MidiTokenizer()
    write_midi(Score([Note(0, 60, 96, 50), Note(96, 64, 9)], [(0, 61.0), (96, 90.0)], [(0, 4, 4)]),
               path)
    prompt = read_prompt(tokenizer, str(path), bars=1)
    drawn = [('metre', (3, 4)), ('tempo', 24), ('on', 62), ('shift', 24), ('off', 62), ('end', 0)]
    row = prompt.ids + [tokenizer.ids[word] for word in drawn]
    score, bits = sample.finish(row, [1.0] * len(row), prompt, tokenizer, Config())
    assert score.notes == [Note(0, 60, 96, 50), Note(96, 62, 24)] and len(bits) == 2
    assert [(step, round(tempo, 2)) for step, tempo in score.tempos] == [(0, 61), (96, 40)]
    assert score.metres == [(0, 4, 4), (96, 3, 4)]


def test_each_piece_has_a_listener_of_its_own(path, monkeypatch):
    """Forbids bars that nobody is told of, or that are counted from another step than the bar line
    where the prompt is over, wishes that get lost on the way, one listener for two pieces, that of
    another draft than the one that is taken, and a tied note that ends in the ids at another step
    than in the file."""
    tokenizer, overheard, listener = MidiTokenizer(), [], MidiTokenizer.listener
    model = small_model(tokenizer)

    def overhear(tokenizer, **wishes):
        overheard.append(wishes)
        return listener(tokenizer, **wishes)
    monkeypatch.setattr(MidiTokenizer, 'listener', overhear)
    notes = [Note(0, 60, 100), Note(72, 62, 100), Note(200, 62, 24)]
    write_midi(Score(notes, metres=[(0, 3, 4)]), path)
    prompt = read_prompt(tokenizer, str(path), bars=2)
    config = Config(num_samples=3, drafts=2, max_tokens=150, bars=5)
    rows, listeners = sample.draw_pieces(model, tokenizer, prompt, config)
    assert overheard == [{'bars': 5, 'prompt_end': 144, 'lasting': {(72, 62): [172]}}] * 6
    assert len(rows) == len(set(listeners)) == 3
    for row, heard in zip(rows, listeners):
        assert set(notes[:2]) <= set(tokenizer.decode(row).notes)
        own = listener(tokenizer, **overheard[0])
        for id in row[:-1]:                      # (of the last id nobody hears)
            own.hear(id)
        assert heard.told() == own.told()
    assert tokenizer.ids['voices', 5] in read_prompt(tokenizer, str(path), voices=5).ids
    nothing = read_prompt(tokenizer, metre='3/8', tempo=20.0, key='Bb')
    config = Config(num_samples=1, max_tokens=9, bars=0)
    sample.draw_pieces(model, tokenizer, nothing, config)
    assert overheard[-1] == {'bars': 0, 'prompt_end': 0, 'lasting': {}, 'metre': (3, 8),
                             'tempo': 0, 'home': (10, 'major')}


def test_metre_tempo_and_transposition_are_wishes_that_count(out, colours):
    """Forbids a piece in another time signature or at another speed than was asked for, also for a
    prompt that has one of its own, or at two speeds at once, and a transposition that moves
    nothing, or by another interval, or leaves the keys of MIDI."""
    pitches = {}
    for transpose in (0, 5, -5):
        compose(out, metre='12/8', tempo=61.0, transpose=transpose, bars=3)
        score = read_midi(newest(out))
        assert score.metres[0] == (0, 12, 8)
        assert [round(tempo, 2) for step, tempo in score.tempos if step == 0] == [61]
        pitches[transpose] = sorted(note.pitch for note in score.notes)
    assert min(pitches[0]) < 5 and max(pitches[0]) > 122          # some must come back by octaves
    for transpose in (5, -5):
        moved = [pitch + transpose for pitch in pitches[0]]
        moved = [pitch - 12 * (pitch > 127) + 12 * (pitch < 0) for pitch in moved]
        assert pitches[transpose] == sorted(moved)
    compose(out, start=str(GOLDBERG / '00-aria.mid'), prompt_bars=1, tempo=61.0)
    first_bar = [tempo for tempo in read_midi(newest(out)).tempos if tempo[0] < 72]
    assert [(step, round(tempo, 2)) for step, tempo in first_bar] == [(0, 61)]


ARIA = {'start': str(GOLDBERG / '00-aria.mid')}


@pytest.mark.parametrize('wished, heard, written, name', [
    ({'key': 'G'}, 'G', 'G', 'G major'),
    ({'key': 'Bb', 'transpose': 3}, 'G', 'Bb', 'Bb major'),
    ({'key': 'f# minor', 'transpose': 3}, 'D#m', 'F#m', 'F# minor'),
    (ARIA, 'G', 'G', 'G major'),
    ({**ARIA, 'transpose': 2}, 'A', 'A', 'A major'),
    ({**ARIA, 'transpose': 2, 'key': 'F#m'}, 'F#m', 'F#m', 'F# minor')])
def test_a_key_is_a_wish_that_counts(out, colours, drawn, capsys, wished, heard, written, name):
    """Forbids a key that the model is not asked for, that the file does not show, or of which the
    model is told another than the musician; --transpose that makes another of a wish; a prompt
    whose key is not heard, is not transposed with it, or counts for more than the wish; and notes
    of a prompt of which only the file, or only the model, is told that they are transposed."""
    compose(out, **wished)
    [([row], _)] = drawn
    words = [MidiTokenizer().words[id] for id in row[:9]]
    assert ('home', parse_key(heard)) in words[:4]
    assert f'key {name}' in capsys.readouterr().out
    assert key_signatures(newest(out)) == {written}
    if 'start' in wished:
        up = wished.get('transpose', 0)
        assert ('on', 55 + up) in words                         # it begins with G3
        pitches = [note.pitch + up for note in read_midi(ARIA['start']).notes[:20]]
        assert [note.pitch for note in read_midi(newest(out)).notes[:20]] == pitches


# ---- drafts, strengths, the rest

def tune(first: int, last: int, voices: int = 1, scale=(0, 2, 4, 5, 7, 5, 4, 2, 0, 4, 7, 12, 7, 4)):
    """One voice: 28 notes in major above one tonic, 28 above another."""
    pitches = [tonic + step for tonic in (first, last) for _ in range(2) for step in scale]
    return Score([Note(12 * i, pitch, 12) for i, pitch in enumerate(pitches)], voices=voices)


def drafts_taken(monkeypatch, prompt, drafts: list[Score], pieces: int,
                 learned=NOTHING) -> list[int]:
    """Which of the drafts draw_pieces takes, if these are drawn after the prompt."""
    tokenizer = MidiTokenizer()
    rows = [tokenizer.encode(draft)[1:] for draft in drafts]
    longest = max(map(len, rows))
    rows = [row + [tokenizer.end] * (longest - len(row)) for row in rows]
    monkeypatch.setattr(sample, 'draw_rows', lambda *given, **also: map(torch.tensor, zip(*rows)))
    config = Config(num_samples=pieces, drafts=len(drafts) // pieces)

    numbers = count()
    listener = tokenizer.listener

    def numbered(**wishes):
        made = listener(**wishes)
        made.number = next(numbers)
        return made
    tokenizer.listener = numbered
    taken, listeners = sample.draw_pieces(small_model(tokenizer), tokenizer, prompt, config,
                                           learned)
    taken = [row[len(prompt.ids):] for row in taken]
    assert len(taken) == pieces and [rows[listener.number] for listener in listeners] == taken
    return [rows.index(row) for row in taken]


def test_the_draft_that_comes_home_is_taken(path, monkeypatch):
    """Forbids a draft in another key that is taken where one comes home, one in fewer voices than
    it says where one has as many, drafts of one piece that are taken for another's, and a piece
    without any; and a home that is not that of the prompt."""
    drafts = [tune(60, 66), tune(62, 62, voices=3), tune(60, 60), tune(64, 64),
              tune(61, 66), tune(62, 65), tune(63, 63, voices=3), tune(59, 64),
              tune(57, 63), tune(58, 62), tune(59, 66), tune(60, 65)]
    assert drafts_taken(monkeypatch, read_prompt(MidiTokenizer()), drafts, 3) == [2, 6, 8]
    write_midi(tune(60, 60), path)
    prompt = read_prompt(MidiTokenizer(), str(path), bars=2)
    assert drafts_taken(monkeypatch, prompt, [tune(66, 66), tune(66, 60)], 1) == [1]


def test_of_two_that_come_home_the_one_that_returns_is_taken(monkeypatch):
    """Forbids a draft whose figures never return where one that keeps its promises as well has
    them, returning that counts for more than coming home, a draft of few notes that shifts what the
    others are worth, and a thin draft where one that returns as little is fuller."""
    one, other, third = ((0, 4, 2, 7, 5, 9, 7, 12, 11, 7, 9, 5, 4, 0),
                         (0, 2, 7, 4, 9, 5, 11, 12, 7, 2, 5, 4, 9, 0),
                         (0, 7, 4, 12, 9, 11, 7, 5, 2, 9, 4, 7, 2, 0))
    halves = tune(60, 60, scale=other).notes[:28], tune(60, 60, scale=third).notes[28:]
    once, twice, away = Score(sum(halves, []), voices=1), tune(60, 60, scale=one), tune(60, 66)
    nothing = read_prompt(MidiTokenizer())
    assert drafts_taken(monkeypatch, nothing, [once, twice, away], 1) == [1]
    few = Score(away.notes[:9], voices=1)
    assert drafts_taken(monkeypatch, nothing, [few, once, twice, away], 1) == [2]
    assert drafts_taken(monkeypatch, nothing, [few, twice, once, away], 1) == [1]
    assert drafts_taken(monkeypatch, nothing, [away, once], 1) == [1]
    below = [Note(start, pitch - 12, 6) for start, pitch, *_ in once.notes]
    fuller = Score(sorted(once.notes + below), voices=2)
    assert drafts_taken(monkeypatch, nothing, [once, fuller], 1) == [1]


def test_the_draft_that_recites_is_left(path, monkeypatch):
    """Forbids a piece that recites a training piece where a draft does not, even one that ends in
    another key; a run of just so many notes as recite that passes; and notes of the prompt that
    count as recited: then all drafts would recite, and the themes that return would decide."""
    recited, own_away = tune(60, 60), tune(70, 66, scale=(7, 5, 4, 2, 0, 12, 11, 9, 0, 7, 2, 9, 4))
    own_home = tune(70, 70, scale=(7, 5, 4, 2, 0, 12, 11, 9, 0, 7, 2, 9, 4))
    index = index_of([('training piece', tune(50, 50))])
    learned = Learned({}, index, 12)
    nothing = read_prompt(MidiTokenizer())
    drafts = [recited, own_away, own_home, recited, recited, own_away]
    assert drafts_taken(monkeypatch, nothing, drafts, 2, learned) == [2, 1]
    longest = originality(recited, index).longest
    for recites_from, recites in ((longest, True), (longest + 1, False)):
        assert (sample.promises_kept(recited, 0, Learned({}, index, recites_from)) == 0) == recites
    write_midi(tune(50, 50), path)
    prompt = read_prompt(MidiTokenizer(), str(path), bars=2)
    never = tune(70, 66, scale=random.Random(0).choices(range(13), k=56)).notes[:56]  # returns
    drafts = [recited, Score(never, voices=1)]
    assert drafts_taken(monkeypatch, prompt, drafts, 1, learned) == [1]
    assert drafts_taken(monkeypatch, prompt, drafts[::-1], 1, learned) == [0]


def test_recall_and_scale(monkeypatch):
    """Forbids an option that does not reach the model, or arrives as another's number. (What the
    model makes of them, test_model.py asks.)"""
    tokenizer = MidiTokenizer()
    model = small_model(tokenizer)
    seen = []
    score = model.score_stronger

    def overheard(x, told, **stronger):
        seen.append(stronger)
        return score(x, told, **stronger)
    monkeypatch.setattr(model, 'score_stronger', overheard)
    config = Config(num_samples=1, drafts=1, max_tokens=3, recall=2.5, scale=0.5)
    sample.draw_pieces(model, tokenizer, read_prompt(tokenizer), config)
    assert seen == [{'recall': 2.5, 'home_scale': 0.5, 'parallels': sample.AGAINST_PARALLELS}] * 3


def test_unknown_tokenizer_is_refused():
    """Forbids fluent garbage from the wrong tokenizer."""
    for foreign in ({}, {'kind': 'gpt2'}, {'kind': 'midi', 'version': 1, 'velocity': False}):
        with pytest.raises(ValueError, match='tokenizer'):
            load_tokenizer(foreign)


def test_the_assets_are_chosen(corpus, tmp_path, monkeypatch):
    """Forbids a maker of the committed samples that no longer fits the rest of the repo, or that
    takes a piece without an end, one that recites, or one farther from held-out Bach first."""
    tokenizer = MidiTokenizer()
    checkpoint(tmp_path / 'out', tokenizer)
    pieces = load_trained_on(checkpoint_of(small_model(tokenizer), tokenizer.to_dict()), tokenizer)
    recited = tokenizer.encode(pieces['train'][0][1])
    fine = tokenizer.encode(pieces['val'][0][1])
    chord = tokenizer.encode(Score([Note(0, 40 + 3 * i, 12) for i in range(12)]))

    def drawn(model, tokenizer, prompt, config, learned):
        assert config.num_samples == 16 and prompt.ids and learned.index
        return [recited, chord, fine[:-1], fine], None
    monkeypatch.setattr(make, 'draw_pieces', drawn)
    monkeypatch.setattr(make, 'HERE', tmp_path / 'assets')
    found = list(make.choose('out', 16))
    assert sorted(number for number, *_ in found) == [2, 4]
    distances = [abs(bits - goal) for _, _, bits, goal, _, _ in found]
    assert distances == sorted(distances)


def test_attention_of_a_text(text_out):
    """Forbids a page whose tokens are not the text, or lack what the model looked at; a character
    in several tokens stands at the last of them."""
    sample.main(Config(str(text_out), num_samples=1, max_tokens=40, start='To bé', attention=True))
    page = (text_out / 'index.html').read_text('utf-8')
    tokens = re.findall(r'<span data-unit="(\d+)">(.*?)</span>', page, re.DOTALL)
    assert [int(number) for number, _ in tokens] == list(range(len(tokens)))
    written = newest(text_out, suffix='txt').read_text('utf-8')
    assert html.unescape(''.join(text for _, text in tokens)) == written
    looks = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page)[1])
    assert len(looks) == len(tokens) > 40
