"""Sampling: only valid music is drawn, nothing sticks, what is written can be read and heard."""

import wave

import mido
import numpy as np
import pytest
import torch

import sample
from model import ModelConfig, Transformer, load, save
from sample import Config, bars, load_tokenizer
from tokenizer_bpe import BPETokenizer
from tokenizer_midi import Grammar, MidiTokenizer, Note, Score, read_midi

TEXT = 'To be, or not to be, that is the question: whether it is nobler in the mind to suffer. ' * 9


def checkpoint(folder, tokenizer, **config):
    """A model that knows nothing, saved as train.py does."""
    torch.manual_seed(0)
    model = Transformer(ModelConfig(tokenizer.vocab_size, 64, 1, 2, 16, **config))
    torch.nn.init.normal_(model.head.weight, std=0.5)
    folder.mkdir(exist_ok=True)
    save(folder / 'ckpt.pt', {'model': model.state_dict(), 'model_config': model.config.__dict__,
                              'tokenizer': tokenizer.to_dict()})


def draw_at_random(tokenizer, rows, length, seed):
    """Rows of ids drawn uniformly among those that the grammar allows."""
    grammar, random = Grammar(tokenizer, rows), np.random.default_rng(seed)
    grammar.advance([0] * rows)
    drawn = []
    for _ in range(length):
        allowed = grammar.allowed()
        assert allowed.any(axis=1).all()
        drawn.append((allowed * random.random(allowed.shape)).argmax(axis=1).tolist())
        grammar.advance(drawn[-1])
    return np.array(drawn).T


@pytest.mark.parametrize('velocity', [False, True])
def test_a_hundred_samples_are_valid(tmp_path, velocity):
    """Forbids an invalid transition, a stuck note, a note without length or a file that mido can't
    read, in 100 samples of 1,000 tokens from the wildest model there is."""
    tokenizer = MidiTokenizer(velocity)
    for row in draw_at_random(tokenizer, 100, 1000, seed=velocity).tolist():
        words, down, now = [tokenizer.words[id] for id in row], {}, 0
        for (kind, value), (before, last) in zip(words, [('begin', 0)] + words):
            if before == 'end':
                assert kind == 'end'
                continue
            assert (kind in Grammar.FOLLOW[before].split()
                    or (before, last, kind) == ('shift', 96, 'shift'))
            now += value if kind == 'shift' else 0
            assert kind != 'end' or not down
            if kind == 'on':
                assert value not in down and (before == 'velocity') == velocity
                down[value] = now
            elif kind == 'off':
                assert now > down.pop(value)
            assert not down or now - min(down.values()) <= Grammar.MAX_HOLD + 96
        score = tokenizer.decode(row)
        assert score.notes == tokenizer.decode(tokenizer.encode(score)).notes
        from tokenizer_midi import write_midi
        write_midi(score, tmp_path / 'a.mid')
        file = mido.MidiFile(tmp_path / 'a.mid')
        ends = sum(m.type == 'note_on' and not m.velocity for m in file)
        assert ends == len(score.notes) == tokenizer.count_units(row)
        assert not score.notes or read_midi(tmp_path / 'a.mid').notes == score.notes


def test_no_piece_ends_too_early():
    """Forbids a slip that ends a piece long before the length that was asked for, and a grammar
    that never lets it end after that."""
    tokenizer = MidiTokenizer()
    grammar = Grammar(tokenizer, 2)
    grammar.earliest = np.array([100, 0])
    words = [('begin', 0), ('on', 60), ('shift', 24), ('off', 60)]
    for word in words:
        grammar.advance([tokenizer.ids[word]] * 2)
    assert grammar.allowed()[:, tokenizer.end].tolist() == [False, True]
    for word in [('shift', 76), ('on', 60), ('shift', 24), ('off', 60)]:
        grammar.advance([tokenizer.ids[word]] * 2)
    assert grammar.allowed()[:, tokenizer.end].tolist() == [True, True]


def test_the_grammar_allows_all_of_bach():
    """Forbids a grammar stricter than the music: apart from voices in unison on one key, every
    token of every movement must be allowed where it stands."""
    from conftest import ROOT
    tokenizer, refused, total = MidiTokenizer(), 0, 0
    for path in sorted((ROOT / 'data' / 'goldberg').glob('*.mid'))[::4]:
        grammar = Grammar(tokenizer, 1)
        ids = tokenizer.encode(read_midi(path))
        grammar.advance(ids[:1])
        for id in ids[1:]:
            refused += not grammar.allowed()[0, id]
            total += 1
            grammar.advance([id])
    assert total > 10_000 and refused < total / 300


def test_pieces_are_written_and_can_be_heard(tmp_path, capsys):
    """Forbids a sample without a file, a silent or clipped WAV, other music from the same seed."""
    checkpoint(tmp_path / 'out', MidiTokenizer())
    runs = []
    for _ in range(2):
        sample.main(Config(out_dir=str(tmp_path / 'out'), num_samples=2, max_tokens=200))
        notes = [read_midi(tmp_path / 'out' / f'sample-{n}.mid').notes for n in (1, 2)]
        with wave.open(str(tmp_path / 'out' / 'sample-1.wav')) as wav:
            sound = np.frombuffer(wav.readframes(wav.getnframes()), '<i2')
            assert wav.getframerate() == 44100 and 3000 < abs(sound.astype(int)).max() < 32767
        assert notes[0] != notes[1] and 'bars' in capsys.readouterr().out
        runs.append(notes)
    assert runs[0] == runs[1]
    page = (tmp_path / 'out' / 'samples.html').read_text()
    assert page.count('<audio') == 2 and page.count('<rect') == len(notes[0]) + len(notes[1])


def test_a_length_in_bars_is_asked_for(tmp_path, monkeypatch):
    """Forbids --bars that the model is never told, or told in bars of another metre than the first
    word of each piece says, bars that count a prompt, and one luck for two draws."""
    tokenizer = MidiTokenizer()
    checkpoint(tmp_path / 'out', tokenizer)
    generate, calls = Transformer.generate, []

    def overheard(model, ids, *args):
        calls.append((ids, args[6], args[7]))
        return generate(model, ids, *args)
    monkeypatch.setattr(Transformer, 'generate', overheard)
    model, _ = load(tmp_path / 'out' / 'ckpt.pt')
    begin = tokenizer.ids['begin', 0]
    sample.draw_pieces(model, tokenizer, [begin], Config(num_samples=40, max_tokens=9, bars=10))
    (_, nothing, generator), (rows, lengths, same_generator) = calls
    assert nothing is None and generator is same_generator
    asked = set()
    for row, length in zip(rows.tolist(), lengths.tolist()):
        kind, value = tokenizer.words[row[1]]
        beats, unit = value if kind == 'metre' else (4, 4)
        waited = value if kind == 'shift' else 0
        assert length == waited + 10 * 96 * beats // unit
        asked.add(length)
    assert len(asked) > 4
    score = Score([Note(0, 60, 72), Note(72, 62, 72)], metres=[(0, 3, 4)])
    prompt = tokenizer.encode(score)
    assert sample.length_of(prompt, tokenizer, 2) == 144 + 2 * 72
    sample.draw_pieces(model, tokenizer, [begin], Config(num_samples=1, max_tokens=9, bars=0))
    assert calls[-1][1] is None


def test_go_on_from_a_midi_file(tmp_path):
    """Forbids a continuation that drops or changes the music it goes on from."""
    from conftest import ROOT
    start = ROOT / 'data' / 'goldberg' / '01-variatio-1.mid'
    checkpoint(tmp_path / 'out', MidiTokenizer())
    sample.main(Config(out_dir=str(tmp_path / 'out'), num_samples=1, max_tokens=50,
                       start=str(start), start_tokens=100))
    begun = MidiTokenizer().decode(MidiTokenizer().encode(read_midi(start))[:100]).notes
    assert set(begun[:30]) <= set(read_midi(tmp_path / 'out' / 'sample-1.mid').notes)


def test_text_streams(tmp_path, capsys):
    """Forbids a text that loses its start, ids printed for the end of text, half characters."""
    checkpoint(tmp_path / 'out', BPETokenizer.train([TEXT], 300))
    (tmp_path / 'p.txt').write_text('FROM A FILE: ü\n', encoding='utf-8')
    for start, shown in (('ROMEO: é', 'ROMEO: é'), (f'FILE:{tmp_path}/p.txt', 'FROM A FILE: ü\n')):
        sample.main(Config(out_dir=str(tmp_path / 'out'), num_samples=2, max_tokens=40,
                           start=start))
        out = capsys.readouterr().out
        assert out.count(shown) == 2 and len(out) > 2 * len(shown) + 60 and 'endoftext' not in out


def test_bars():
    """Forbids bars counted in 4/4 when the metre says otherwise."""
    note = Note(0, 60, 1)
    for metres, steps, want in (([], 96, 1), ([], 97, 2), ([(0, 3, 8)], 72, 2),
                                ([(0, 12, 16)], 72, 1),
                                ([(0, 4, 4), (96, 3, 4)], 96 + 72 * 2, 3), ([(0, 4, 4)], 1, 1)):
        assert bars(Score([note, Note(0, 61, steps)], metres=metres)) == want


@pytest.mark.parametrize('wrong', [{'num_samples': 0}, {'temperature': -1.0}, {'top_p': 0.0},
                                   {'start': 'missing.mid'}, {'checkpoint': 'no.pt'}])
def test_clear_errors(tmp_path, wrong):
    """Forbids a traceback, or silence, for a setting that cannot be."""
    checkpoint(tmp_path / 'out', MidiTokenizer())
    with pytest.raises((ValueError, OSError)) as error:
        sample.main(Config(out_dir=str(tmp_path / 'out'), max_tokens=5, **wrong))
    assert '\n' not in str(error.value)


def test_unknown_tokenizer_is_refused():
    """Forbids fluent garbage from the wrong tokenizer."""
    for foreign in ({}, {'kind': 'gpt2'}, {'kind': 'midi', 'version': 2, 'velocity': False}):
        with pytest.raises(ValueError, match='tokenizer'):
            load_tokenizer(foreign)
