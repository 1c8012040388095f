"""Sampling: only valid music is drawn, nothing sticks, what is written can be read and heard."""

import json
import wave
from itertools import islice

import mido
import numpy as np
import pytest
import torch

from assets import make
from conftest import ROOT, checkpoint_of
from lib.corpus import load_trained_on
from lib.prompt import read_prompt, words_until
from lib.score import Note, Score, bars_of, find_bars, read_midi, write_midi
from lib.report import ProgressLine
from lib.tonality import midi_key, parse_key, raised
from model import ModelConfig, Transformer, load, save
import sample
from sample import Config, load_tokenizer
from tokenizer_bpe import BPETokenizer
from tokenizer_midi import MidiTokenizer

TEXT = 'To be, or not to be, that is the question: whether it is nobler in the mind to suffer. ' * 9


def small_model(tokenizer) -> Transformer:
    return Transformer(ModelConfig(tokenizer.vocab_size, 64, 1, 2, 16, **tokenizer.shape_of_told()))


def checkpoint(folder, tokenizer):
    """A model that knows nothing, saved as train.py does."""
    torch.manual_seed(0)
    model = small_model(tokenizer)
    torch.nn.init.normal_(model.head, std=0.5)
    folder.mkdir(exist_ok=True)
    save(folder / 'ckpt.pt', checkpoint_of(model, tokenizer.to_dict()))


@pytest.fixture
def mute(monkeypatch):
    """No sound is made, which takes longer than the music."""
    monkeypatch.setattr(sample.synth, 'render', lambda notes, colour: np.zeros(9, np.float32))


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


def test_pieces_are_written_and_can_be_heard(tmp_path, capsys, monkeypatch):
    """Forbids a sample without a file, a silent or clipped WAV, other music from the same seed, and
    another seed that overwrites it."""
    checkpoint(tmp_path / 'out', MidiTokenizer())
    runs = []
    for seed in (1, 1, 2):
        sample.main(Config(out_dir=str(tmp_path / 'out'), num_samples=2, max_tokens=60, seed=seed))
        paths = [tmp_path / 'out' / f'sample-{seed}-{n}' for n in (1, 2)]
        notes = [read_midi(f'{path}.mid').notes for path in paths]
        with wave.open(f'{paths[0]}.wav') as wav:
            sound = np.frombuffer(wav.readframes(wav.getnframes()), '<i2')
            assert wav.getframerate() == 44100
            assert runs or 3000 < abs(sound.astype(int)).max() < 32767
        assert notes[0] != notes[1] and 'bars' in capsys.readouterr().out
        runs.append(notes)
        monkeypatch.setattr(sample.synth, 'render', lambda *given: sound[:9] / 32768)  # heard
    assert runs[0] == runs[1] and runs[0] != runs[2]
    assert read_midi(tmp_path / 'out' / 'sample-1-1.mid').notes == runs[0][0]
    page = (tmp_path / 'out' / 'index.html').read_text('utf-8')
    assert page.count('<audio') == 2 and 'sample-2-1.wav' in page
    assert page.count('data-tip="') == len(runs[2][0]) + len(runs[2][1])


@pytest.mark.parametrize('kind', ['music', 'text'])
def test_options_reach_the_draw(tmp_path, mute, monkeypatch, kind):
    """Forbids an option of drawing that is read and not used, and texts that are all drawn from one
    seed."""
    tokenizer = MidiTokenizer() if kind == 'music' else BPETokenizer.train([TEXT], 300)
    checkpoint(tmp_path / 'out', tokenizer)
    wished = {'temperature': 0.7, 'top_k': 9, 'top_p': 0.8, 'min_p': 0.02}
    seeds, generate = [], Transformer.generate

    def overheard(model, ids, listeners, generator, **given):
        assert wished.items() <= given.items()
        seeds.append(generator.initial_seed())
        return generate(model, ids, listeners, generator=generator, **given)
    monkeypatch.setattr(Transformer, 'generate', overheard)
    sample.main(Config(out_dir=str(tmp_path / 'out'), num_samples=3, max_tokens=30, seed=7,
                       **wished))
    assert seeds == ([7] if kind == 'music' else [7, 8, 9])


def test_the_colour_is_heard(tmp_path, monkeypatch):
    """Forbids a harpsichord where a lute was asked for."""
    heard = []

    def render(notes, colour):
        heard.append(colour)
        return np.zeros(9, np.float32)
    monkeypatch.setattr(sample.synth, 'render', render)
    checkpoint(tmp_path / 'out', MidiTokenizer())
    sample.main(Config(out_dir=str(tmp_path / 'out'), num_samples=1, max_tokens=30, colour='lute'))
    assert heard == ['lute']


def test_what_was_given_is_not_called_copied(corpus, mute, capsys):
    """Forbids a prompt from a training piece that counts as recited by the model."""
    checkpoint(corpus / 'out', MidiTokenizer())
    start = str(corpus / 'toy' / '01-variatio-1.mid')
    sample.main(Config(out_dir=str(corpus / 'out'), num_samples=1, max_tokens=60, start=start))
    assert 'longest run in the training pieces none' in capsys.readouterr().out


def test_a_prompt_is_cut_at_its_bar_line():
    """Forbids words beyond the bar line, or a gap before it, wherever the next note stands."""
    tokenizer = MidiTokenizer()
    for step in (47, 49, 50, 200):
        ids = words_until(48, Score([Note(0, 60, 24), Note(step, 62, 24)]), tokenizer)
        words = [tokenizer.words[id] for id in ids]
        assert sum(value for kind, value in words if kind == 'shift') == 48
        assert (('on', 62) in words) == (step < 48)


def test_a_prompt_is_transposed(path):
    """Forbids a transposition of which only the file is told, or only the model."""
    write_midi(Score([Note(0, 60, 24), Note(24, 64, 24)]), path)
    prompt = read_prompt(MidiTokenizer(), str(path), semitones=-3)
    assert [note.pitch for note in prompt.score.notes] == [57, 61]
    assert MidiTokenizer().ids['on', 57] in prompt.ids


def test_the_page_knows_the_judgement(tmp_path, mute):
    """Forbids a page that hides how good the samples are, once that is known."""
    checkpoint(tmp_path / 'out', MidiTokenizer())
    judged = {'judge': {'prefers': {'samples': 89.6, 'held-out': None}}}
    (tmp_path / 'out' / 'evaluate.json').write_text(json.dumps(judged))
    sample.main(Config(out_dir=str(tmp_path / 'out'), num_samples=1, max_tokens=60, top_k=5))
    page = (tmp_path / 'out' / 'index.html').read_text('utf-8')
    assert 'the judge preferred Bach in 90 of 100 pairs' in page
    assert '<dt>top_k</dt><dd>5</dd>' in page and '<dt>seed</dt><dd>1</dd>' in page


@pytest.fixture
def overheard(monkeypatch) -> list[dict]:
    """What listeners were made with."""
    made, listener = [], MidiTokenizer.listener

    def overhear(tokenizer, **wishes):
        made.append(wishes)
        return listener(tokenizer, **wishes)
    monkeypatch.setattr(MidiTokenizer, 'listener', overhear)
    return made


def test_each_piece_has_a_listener_of_its_own(tmp_path, overheard):
    """Forbids bars that nobody is told of, or that are counted from another step than the bar line
    where the prompt is over, wishes that get lost on the way, and one listener for two pieces."""
    tokenizer = MidiTokenizer()
    model = small_model(tokenizer)
    path = tmp_path / 'a.mid'
    write_midi(Score([Note(0, 60, 100), Note(72, 62, 100), Note(200, 62, 24)],
                     metres=[(0, 3, 4)]), path)
    prompt = read_prompt(tokenizer, str(path), bars=2)
    config = Config(num_samples=3, drafts=2, max_tokens=9, bars=5)
    rows, listeners = sample.draw_pieces(model, tokenizer, prompt, config)
    assert overheard == [{'bars': 5, 'prompt_end': 144, 'lasting': {(72, 62): [172]}}] * 6
    assert len(rows) == len(set(listeners)) == 3
    nothing = read_prompt(tokenizer, metre='3/8', tempo=20.0, key='Bb')
    config = Config(num_samples=1, max_tokens=9, bars=0)
    sample.draw_pieces(model, tokenizer, nothing, config)
    assert overheard[-1] == {'bars': 0, 'prompt_end': 0, 'lasting': {}, 'metre': (3, 8),
                             'tempo': 0, 'home': (10, 'major')}


def test_the_draft_that_comes_home_is_taken(monkeypatch):
    """Forbids a draft in another key that is taken where one comes home, one in fewer voices than
    it says where one has as many, drafts of one piece that are taken for another's, and a piece
    without any."""
    tokenizer = MidiTokenizer()

    def piece(first: int, last: int, voices: int = 1) -> list[int]:
        """One voice: 28 notes in major above one tonic, 28 above another."""
        scale = [0, 2, 4, 5, 7, 5, 4, 2, 0, 4, 7, 12, 7, 4] * 2
        pitches = [first + step for step in scale] + [last + step for step in scale]
        return tokenizer.encode(Score([Note(12 * i, p, 12) for i, p in enumerate(pitches)],
                                      voices=voices))[1:]
    away, home, thin = piece(60, 66), piece(60, 60), piece(62, 62, voices=3)
    drafts = [away, thin, home, piece(64, 64), away, away, thin, away,
              away, piece(61, 65), away, piece(61, 65)]

    def drawn(model, rows, listeners, config, **given):
        for ids in zip(*drafts):
            yield torch.tensor(ids)
    monkeypatch.setattr(sample, 'draw_rows', drawn)
    config = Config(num_samples=3, drafts=4)
    rows, listeners = sample.draw_pieces(small_model(tokenizer), tokenizer,
                                         read_prompt(tokenizer), config)
    assert [row[1:] for row in rows] == [home, thin, away] and len(listeners) == 3


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


@pytest.mark.parametrize('bars', [1, 4, 10 ** 12])
@pytest.mark.parametrize('number', ['01-variatio-1', '13-variatio-13', '16-variatio-16'])
def test_the_prompt_comes_back(tmp_path, mute, number, bars):
    """Forbids a continuation that drops, shortens, prolongs or changes a note that it was given,
    adds one before the bar line, or takes more or fewer bars of the file than it was told."""
    checkpoint(tmp_path / 'out', MidiTokenizer())
    whole = read_midi(ROOT / 'data' / 'goldberg' / f'{number}.mid')
    lines = bars_of(whole.metres)
    until = [next(lines).start for _ in range(min(bars, len(find_bars(whole))) + 1)][-1]
    given = [note for note in whole.notes if note.start < until]
    sample.main(Config(out_dir=str(tmp_path / 'out'), num_samples=2, max_tokens=120,
                       start=str(ROOT / 'data' / 'goldberg' / f'{number}.mid'), prompt_bars=bars))
    for sampled in ('sample-1-1.mid', 'sample-1-2.mid'):
        score = read_midi(tmp_path / 'out' / sampled)
        assert [note for note in score.notes if note.start < until] == given
        assert len(score.notes) > len(given)
        assert round(score.tempos[0][1], 2) == round(whole.tempos[0][1], 2)


def test_the_model_hears_what_the_prompt_holds(tmp_path):
    """Forbids a model that goes on from other notes than those that are written: a tied note ends
    in its ids when it ends in the file."""
    tokenizer = MidiTokenizer()
    checkpoint(tmp_path / 'out', tokenizer)
    model, _ = load(tmp_path / 'out' / 'ckpt.pt')
    tied = [Note(0, 60, 24), Note(72, 64, 50), Note(90, 67, 60)]
    write_midi(Score(tied), tmp_path / 'tied.mid')
    prompt = read_prompt(tokenizer, str(tmp_path / 'tied.mid'), bars=1)
    config = Config(num_samples=5, max_tokens=400, bars=4)
    rows, _ = sample.draw_pieces(model, tokenizer, prompt, config)
    for row in rows:
        assert set(tied) <= set(tokenizer.decode(row).notes)


def test_metre_tempo_and_key_are_wishes_that_count(tmp_path, mute):
    """Forbids a piece in another time signature or at another speed than was asked for, and a
    transposition that moves nothing."""
    checkpoint(tmp_path / 'out', MidiTokenizer())
    common = dict(out_dir=str(tmp_path / 'out'), num_samples=1, max_tokens=200)
    pieces = []
    for seed, transpose in ((1, 0), (2, 5)):
        sample.main(Config(**common, metre='12/8', tempo=61.0, transpose=transpose, bars=3))
        pieces.append(read_midi(tmp_path / 'out' / 'sample-1-1.mid'))
        assert pieces[-1].metres[0] == (0, 12, 8) and round(pieces[-1].tempos[0][1], 2) == 61
    low, high = ([note.pitch for note in piece.notes] for piece in pieces)
    assert len(low) == len(high) and sum(high) > sum(low)
    assert {(b - a) % 12 for a, b in zip(sorted(low), sorted(high))} >= {5}


def key_signatures(path) -> set[str]:
    """Those of the tracks that have notes."""
    _, *tracks = mido.MidiFile(path).tracks
    found = [[message.key for message in track if message.type == 'key_signature']
             for track in tracks]
    assert found and all(len(signatures) == 1 for signatures in found)
    return {signatures[0] for signatures in found}


@pytest.mark.parametrize('key, name, written, home', [
    ('G', 'G major', 'G', (7, 'major')), ('Bb', 'Bb major', 'Bb', (10, 'major')),
    ('f# minor', 'F# minor', 'F#m', (6, 'minor'))])
def test_a_key_is_a_wish_that_counts(tmp_path, mute, capsys, overheard, key, name, written, home):
    """Forbids a key that the model is not asked for, that the file does not show, or of which the
    listener is told another than the musician; and that --transpose makes another of it."""
    checkpoint(tmp_path / 'out', MidiTokenizer())
    for transpose in (0, 3):
        sample.main(Config(out_dir=str(tmp_path / 'out'), num_samples=1, max_tokens=80, key=key,
                           transpose=transpose))
        assert overheard[0]['home'] == raised(home, -transpose)
        overheard.clear()
        assert f'key {name}' in capsys.readouterr().out
        assert key_signatures(tmp_path / 'out' / 'sample-1-1.mid') == {written}


def test_the_key_of_a_prompt(tmp_path, mute, capsys):
    """Forbids a prompt whose key is not heard, is not transposed with it, or counts for more than
    the one that was asked for."""
    checkpoint(tmp_path / 'out', MidiTokenizer())
    start = str(ROOT / 'data' / 'goldberg' / '00-aria.mid')
    for wished, written, name in (({}, 'G', 'G major'), ({'transpose': 2}, 'A', 'A major'),
                                  ({'transpose': 2, 'key': 'F#m'}, 'F#m', 'F# minor')):
        prompt = read_prompt(MidiTokenizer(), start, 4, key=wished.get('key', ''),
                             semitones=wished.get('transpose', 0))
        words = [MidiTokenizer().words[id] for id in prompt.ids]
        assert ('home', parse_key(written)) in words[:4]
        sample.main(Config(out_dir=str(tmp_path / 'out'), num_samples=1, max_tokens=60, start=start,
                           **wished))
        assert f'key {name}' in capsys.readouterr().out
        assert key_signatures(tmp_path / 'out' / 'sample-1-1.mid') == {written}


def test_a_key_without_a_wish(tmp_path, mute, capsys):
    """Forbids a key in the file that is not the model's own word."""
    checkpoint(tmp_path / 'out', MidiTokenizer())
    model, _ = load(tmp_path / 'out' / 'ckpt.pt')
    config = Config(out_dir=str(tmp_path / 'out'), num_samples=2, max_tokens=60)
    rows, _ = sample.draw_pieces(model, MidiTokenizer(), read_prompt(MidiTokenizer()), config)
    sample.main(config)
    for number, row in enumerate(rows, 1):
        home = MidiTokenizer().decode(row).home
        assert key_signatures(tmp_path / 'out' / f'sample-1-{number}.mid') == {midi_key(*home)}


def test_the_guard_is_said_to_take_away_what_it_took(tmp_path, mute, monkeypatch, capsys):
    """Forbids a share that grows after the end of a piece, while the others go on."""
    checkpoint(tmp_path / 'out', MidiTokenizer())
    sample.main(Config(out_dir=str(tmp_path / 'out'), num_samples=4, bars=4, max_tokens=2000))
    shares = [float(word.split('%')[0]) for word in
              capsys.readouterr().out.split('the guard took away ')[1:]]
    assert len(shares) >= 3 and 0 < min(shares) and max(shares) < 100    # (one may have no notes)


def test_transposing():
    """Forbids a pitch that leaves the keys of MIDI."""
    score = Score([Note(0, 126, 5), Note(1, 3, 5, 9)], [(0, 99.0)], [(0, 3, 4)])
    assert sample.transposed(score, 5).notes == [Note(0, 119, 5), Note(1, 8, 5, 9)]
    assert sample.transposed(score, -5).notes == [Note(0, 121, 5), Note(1, 10, 5, 9)]
    assert sample.transposed(score, 5).metres == [(0, 3, 4)]


class Stopped:
    """Ctrl-C after so many ids."""

    def __init__(self, after):
        self.after = after

    def __call__(self, model, start, listeners, config, **given):
        given['stop'] = None                     # nothing ends by itself before
        for count, ids in enumerate(DRAW_ROWS(model, start, listeners, config, **given)):
            if count == self.after:
                raise KeyboardInterrupt
            yield ids


DRAW_ROWS = sample.draw_rows


def test_an_interrupt_keeps_what_was_composed(tmp_path, mute, monkeypatch, capsys):
    """Forbids Ctrl-C that throws away the music or the text drawn so far."""
    monkeypatch.setattr(sample, 'draw_rows', Stopped(after=60))
    checkpoint(tmp_path / 'out', MidiTokenizer())
    sample.main(Config(out_dir=str(tmp_path / 'out'), num_samples=2, max_tokens=500, metre='4/4'))
    assert 'stopped' in capsys.readouterr().out
    for number in (1, 2):
        assert read_midi(tmp_path / 'out' / f'sample-1-{number}.mid').notes
    checkpoint(tmp_path / 'text', BPETokenizer.train([TEXT], 300))
    sample.main(Config(out_dir=str(tmp_path / 'text'), num_samples=2, max_tokens=500, start='To'))
    assert 'stopped' in capsys.readouterr().out
    written = (tmp_path / 'text' / 'sample-1-1.txt').read_text('utf-8')
    assert written.startswith('To') and len(written) > 30
    assert not (tmp_path / 'text' / 'sample-1-2.txt').exists()


def test_progress_is_for_terminals(capsys, monkeypatch):
    """Forbids carriage returns in a log file, and a terminal that is told nothing."""
    tokenizer = MidiTokenizer()
    listeners = [tokenizer.listener(), tokenizer.listener()]
    for listener, steps in zip(listeners, (72, 90)):
        listener.hear(tokenizer.ids['metre', (3, 8)])
        listener.hear(tokenizer.ids['shift', steps])
    ProgressLine(listeners, 8).show()
    assert capsys.readouterr().out == ''
    monkeypatch.setattr('sys.stdout.isatty', lambda: True)
    ProgressLine(listeners, 8).show()                 # of the piece that is farthest behind
    assert 'bar 3 of about 8' in capsys.readouterr().out
    ProgressLine(listeners, 0).show()
    assert 'bar 3 \n' in capsys.readouterr().out + '\n'


def test_text_streams(tmp_path, capsys):
    """Forbids a text that loses its start, ids printed for the end of text, half characters, and a
    file with another text than the terminal."""
    checkpoint(tmp_path / 'out', BPETokenizer.train([TEXT], 300))
    (tmp_path / 'p.txt').write_text('FROM A FILE: ü\n', encoding='utf-8')
    cases = ('ROMEO: é', 'ROMEO: é'), (f'FILE:{tmp_path}/p.txt', 'FROM A FILE: ü\n')
    for start, shown in cases:
        sample.main(Config(out_dir=str(tmp_path / 'out'), num_samples=2, max_tokens=40,
                           start=start))
        out = capsys.readouterr().out
        assert out.count(shown) == 2 and len(out) > 2 * len(shown) + 60 and 'endoftext' not in out
        for number in (1, 2):
            text = (tmp_path / 'out' / f'sample-1-{number}.txt').read_bytes().decode('utf-8')
            assert text in out
        page = (tmp_path / 'out' / 'index.html').read_text('utf-8')
        assert page.count('<blockquote>') == 2 and shown.split()[0] in page


def test_bars():
    """Forbids bars counted in 4/4 when the metre says otherwise."""
    note = Note(0, 60, 1)
    for metres, steps, want in (([], 96, 1), ([], 97, 2), ([(0, 3, 8)], 72, 2),
                                ([(0, 12, 16)], 72, 1),
                                ([(0, 4, 4), (96, 3, 4)], 96 + 72 * 2, 3), ([(0, 4, 4)], 1, 1)):
        assert len(find_bars(Score([note, Note(0, 61, steps)], metres=metres))) == want


def test_bar_lines():
    """Forbids bars that run on over a change of the time signature, or from a wrong beginning."""
    def first(count, *metres):
        bars = bars_of(list(metres))
        return [next(bars).start for _ in range(count)]
    assert first(3) == [0, 96, 192]
    assert first(4, (0, 3, 8), (60, 4, 4)) == [0, 36, 60, 156]
    assert first(3, (24, 2, 4), (0, 4, 4)) == [0, 24, 72]
    assert first(4, (0, 1, 64)) == [0, 1.5, 3, 4.5]


@pytest.mark.parametrize('wrong, word', [
    ({'num_samples': 0}, 'num_samples'), ({'temperature': -1.0}, 'temperature'),
    ({'top_p': 0.0}, 'top_p'), ({'start': 'missing.mid'}, 'missing.mid'),
    ({'checkpoint': 'no.pt'}, 'no.pt'), ({'prompt_bars': 0}, 'prompt_bars'), ({'bars': -1}, 'bars'),
    ({'key': 'H'}, 'key'), ({'metre': '5'}, 'metre'), ({'metre': '3/5'}, 'metre'),
    ({'metre': '24/16'}, 'metre'),
    ({'tempo': 5.0}, 'tempo'), ({'colour': 'organ'}, 'colour'), ({'transpose': 99}, 'transpose'),
    ({'device': 'gpu'}, 'device')])
def test_clear_errors(tmp_path, wrong, word):
    """Forbids a traceback, or silence, for a setting that cannot be."""
    checkpoint(tmp_path / 'out', MidiTokenizer())
    with pytest.raises((ValueError, OSError)) as error:
        sample.main(Config(out_dir=str(tmp_path / 'out'), max_tokens=5, **wrong))
    assert '\n' not in str(error.value) and word in str(error.value)


def test_prompts_that_cannot_be(tmp_path):
    """Forbids a traceback, or music in place of an answer, for a prompt of the wrong kind, a file
    without notes in its first bars, or one that is no MIDI file."""
    checkpoint(tmp_path / 'music', MidiTokenizer())
    checkpoint(tmp_path / 'text', BPETokenizer.train([TEXT], 300))
    (tmp_path / 'words.txt').write_text('no music')
    write_midi(Score([Note(960, 60, 24)]), tmp_path / 'late.mid')
    for folder, start, word in (('text', str(tmp_path / 'late.mid'), 'text'),
                                ('music', 'ROMEO:', 'MIDI file'),
                                ('music', str(tmp_path / 'words.txt'), 'not a MIDI file'),
                                ('music', str(tmp_path / 'late.mid'), 'prompt_bars')):
        with pytest.raises(ValueError, match=word) as error:
            sample.main(Config(out_dir=str(tmp_path / folder), max_tokens=5, start=start))
        assert '\n' not in str(error.value)


def test_unknown_tokenizer_is_refused():
    """Forbids fluent garbage from the wrong tokenizer."""
    for foreign in ({}, {'kind': 'gpt2'}, {'kind': 'midi', 'version': 1, 'velocity': False}):
        with pytest.raises(ValueError, match='tokenizer'):
            load_tokenizer(foreign)


def test_the_assets_are_chosen(corpus, tmp_path, monkeypatch):
    """Forbids a maker of the committed samples that no longer fits the rest of the repo, or that
    takes a piece without an end, one that recites, or one farther from held-out Bach first."""
    tokenizer = MidiTokenizer()
    torch.manual_seed(3)
    model = small_model(tokenizer)
    (tmp_path / 'out').mkdir()
    save(tmp_path / 'out' / 'ckpt.pt', checkpoint_of(
        model, tokenizer.to_dict(), train_config={'dataset': 'toy', 'extra': ''}))
    pieces = load_trained_on({'dataset': 'toy'}, tokenizer)
    recited = tokenizer.encode(pieces['train'][0][1])
    fine = [tokenizer.encode(score) for _, score in pieces['val']]
    chord = tokenizer.encode(Score([Note(0, 40 + 3 * i, 12) for i in range(12)]))

    def drawn(model, tokenizer, prompt, config):
        assert config.num_samples == 16 and prompt.ids
        return [recited, chord, fine[0][:-1], fine[0]], None
    monkeypatch.setattr(make, 'draw_pieces', drawn)
    monkeypatch.setattr(make, 'HERE', tmp_path / 'assets')
    found = list(make.choose('out', 16))
    assert sorted(number for number, *_ in found) == [2, 4]
    distances = [abs(bits - goal) for _, _, bits, goal, _, _ in found]
    assert distances == sorted(distances)
