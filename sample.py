"""Let a trained model compose or write: python sample.py --out_dir out-goldberg

Pieces become MIDI and WAV files and a page to listen to; text streams to the terminal.
"""

import html
import math
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

import synth
from config import run
from model import load
from tokenizer_bpe import BPETokenizer
from tokenizer_midi import WHOLE, Grammar, MidiTokenizer, Score, read_midi, write_midi

PAGE = """<!doctype html><meta charset="utf-8"><title>{0}</title><h1>{0}</h1>
<style>body {{ font: 16px/1.5 sans-serif; margin: 2em auto; max-width: 60em }}
audio {{ width: 100% }} svg {{ width: 100%; height: 12em; background: #f4f1ea }}</style>{1}"""


@dataclass
class Config:
    out_dir: str = 'out'            # folder of the checkpoint; samples go there, too
    num_samples: int = 3            # how many, drawn side by side
    bars: int = 32                  # music: about how many bars to compose; 0 leaves it open
    max_tokens: int = 4000          # ids a sample at most, should it not end before
    start: str = ''                 # begin with this: text, FILE:prompt.txt, or a MIDI file
    start_tokens: int = 200         # music: ids that are taken of the MIDI file in `start`
    temperature: float = 1.0        # below 1: likelier, above: wilder, 0: the likeliest always
    top_k: int = 0                  # draw from the k likeliest ids only, 0 for all
    top_p: float = 1.0              # ... from the likeliest that together have this probability
    min_p: float = 0.002            # ... from those at least this share as likely as the likeliest
    seed: int = 1                   # another seed, another piece
    checkpoint: str = 'ckpt.pt'     # or last.pt
    soundfont: str = ''             # an .sf2 file: FluidSynth plays instead of our harpsichord
    device: str = 'cpu'             # cuda or mps pay for many samples at once only


def load_tokenizer(d: dict):
    """The tokenizer that a checkpoint or a meta.json carries. ValueError if it is of no kind."""
    kinds = {'midi': MidiTokenizer, 'bpe': BPETokenizer}
    if d.get('kind') not in kinds:
        raise ValueError(f'no tokenizer of kind {d.get("kind")!r}: made by a newer version?')
    return kinds[d['kind']].from_dict(d)


def bars(score: Score) -> int:
    end = max((note.start + note.duration for note in score.notes), default=0)
    metres = [(0, 4, 4)] + score.metres + [(end, 4, 4)]
    return sum(math.ceil(max(0, until - step) * unit / (WHOLE * beats))
               for (step, beats, unit), (until, *_) in zip(metres, metres[1:]))


def draw_rows(model, start, config: Config, stop: int, generator, grammar=None, length=None):
    """Yield the next ids of all rows of `start` (B, T), a tensor (B,) at a time, max_tokens times
    at most."""
    drawn = model.generate(start, config.temperature, config.top_k, config.top_p, config.min_p,
                           stop, grammar, length, generator)
    return islice(drawn, config.max_tokens)


def draw_pieces(model, tokenizer: MidiTokenizer, prompt: list[int], config: Config):
    """Go on from the prompt: the ids of each piece, the prompt's among them, and the grammar."""
    generator = torch.Generator(config.device).manual_seed(config.seed)
    grammar = Grammar(tokenizer, config.num_samples)
    for id in prompt:
        grammar.advance([id] * config.num_samples)      # it must know what the prompt holds down
    rows = torch.tensor([prompt] * config.num_samples, device=config.device)
    length = None
    if config.bars:
        if len(prompt) == 1:                             # how long a bar is, the first word says
            first = next(draw_rows(model, rows, config, tokenizer.end, generator, grammar))
            rows = torch.cat((rows, first[:, None]), dim=1)
        length = torch.tensor([length_of(row, tokenizer, config.bars) for row in rows.tolist()])
        grammar.earliest = 3 * length.numpy() // 4       # the model is told, but may slip
    drawn = list(draw_rows(model, rows, config, tokenizer.end, generator, grammar, length))
    return torch.cat((rows, torch.stack(drawn, dim=1)), dim=1).tolist(), grammar


def length_of(row: list[int], tokenizer: MidiTokenizer, bars: int) -> int:
    """Steps of a piece that begins with `row` and has `bars` bars more, of the last metre in it."""
    score = tokenizer.decode(row)
    beats, unit = score.metres[-1][1:] if score.metres else (4, 4)
    so_far = sum(tokenizer.words[id][1] for id in row if tokenizer.words[id][0] == 'shift')
    return so_far + bars * WHOLE * beats // unit


def compose(model, tokenizer: MidiTokenizer, config: Config):
    """Draw pieces side by side; write each as MIDI and WAV, and a page to hear and see them."""
    given = read_midi(config.start) if config.start else Score()
    prompt = tokenizer.encode(given)[:-1][:config.start_tokens]
    began = time.perf_counter()
    rows, grammar = draw_pieces(model, tokenizer, prompt, config)
    speed = (len(rows[0]) - len(prompt)) * len(rows) / (time.perf_counter() - began)
    figures = []
    for number, row in enumerate(rows, 1):
        score = tokenizer.decode(row)
        path = Path(config.out_dir) / f'sample-{number}'
        write_midi(score, f'{path}.mid')
        notes = synth.seconds(score)
        if config.soundfont:
            synth.fluidsynth(f'{path}.mid', f'{path}.wav', config.soundfont)
        else:
            synth.write_wav(f'{path}.wav', synth.render(notes))
        length = max((start + duration for start, duration, *_ in notes), default=0)
        ended = 'ended by itself' if tokenizer.end in row else 'cut off by max_tokens'
        line = (f'{path}.mid and .wav: {bars(score)} bars, {len(notes)} notes, {length:.0f} s, '
                f'{ended}, drawn at {speed:,.0f} tokens/s, grammar stepped in '
                f'{grammar.refused[number - 1]} times')
        print(line)
        figures.append(figure(path.name, line, notes, length))
    page = Path(config.out_dir) / 'samples.html'
    page.write_text(PAGE.format(html.escape(config.out_dir), ''.join(figures)), 'utf-8')
    print(f'listen: open {page}')


def figure(name: str, line: str, notes: list, length: float) -> str:
    """A piece on the page: its piano roll (time to the right, pitch upwards) and a player."""
    low, high = (edge((n[2] for n in notes), default=60) for edge in (min, max))
    roll = ''.join(f'<rect x="{start:.2f}" y="{high - pitch}" width="{duration:.2f}" height="1"/>'
                   for start, duration, pitch, _ in notes)
    return (f'<p>{html.escape(line)}</p><svg viewBox="0 0 {length or 1:.2f} {high - low + 1}" '
            f'preserveAspectRatio="none">{roll}</svg><audio controls src="{name}.wav"></audio>')


def recite(model, tokenizer: BPETokenizer, config: Config):
    """Stream texts to the terminal, one after the other, as they are drawn."""
    text = config.start
    text = Path(text[5:]).read_text('utf-8') if text[:5] == 'FILE:' else text
    prompt = torch.tensor([[tokenizer.end] + tokenizer.encode(text)], device=config.device)
    for number in range(config.num_samples):
        print(f'--- {number + 1} of {config.num_samples}\n{text}', end='')
        generator = torch.Generator(config.device).manual_seed(config.seed + number)
        drawn = (id.item() for id in draw_rows(model, prompt, config, tokenizer.end, generator))
        for piece in tokenizer.stream(id for id in drawn if id != tokenizer.end):
            print(piece, end='', flush=True)
        print()


def main(config: Config):
    if min(config.num_samples, config.max_tokens, config.start_tokens) < 1:
        raise ValueError('num_samples, max_tokens and start_tokens must be at least 1')
    if config.bars < 0:
        raise ValueError(f'bars = {config.bars}: must be at least 0')
    if config.device != 'cpu' and not torch.accelerator.is_available():
        raise ValueError(f'device = {config.device}: this machine has none, use cpu')
    torch.set_num_threads(1)                    # the work of one id is too little to be shared
    model, checkpoint = load(f'{config.out_dir}/{config.checkpoint}', config.device)
    tokenizer = load_tokenizer(checkpoint['tokenizer'])
    (compose if isinstance(tokenizer, MidiTokenizer) else recite)(model, tokenizer, config)


if __name__ == '__main__':
    run(main, Config)
