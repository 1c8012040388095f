"""The samples in this folder: python assets/make.py

Three pieces, two by config/goldberg.py and one by config/bach.py, both trained before with the seed
that they have. Of 16 pieces that `sample.py --num_samples=16` draws, those are taken whose mean
surprise lies nearest to that of held-out Bach: not the likeliest, not the strangest, and not by
taste. One that recites, or does not end, is left out. The program ffmpeg makes the sound small.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import torch                                                            # noqa: E402

from lib import synth                                                            # noqa: E402
from lib.originality import load_learned, originality                  # noqa: E402
from lib.prompt import read_prompt                                     # noqa: E402
from lib.heldout import surprise                                        # noqa: E402
from model import load                                                  # noqa: E402
from lib.page import Piece, piano_roll, write_page                          # noqa: E402
from lib.report import say_run                                          # noqa: E402
from sample import Config, draw_pieces, load_tokenizer                  # noqa: E402
from lib.score import find_bars, write_midi                            # noqa: E402

WANTED = {'out-goldberg': 2, 'out-bach': 1}      # folder -> how many of its pieces
LARGEST = 480_000                                # bytes of sound


def mean_bits(model, tokenizer, ids: list[int]) -> float:
    """The mean surprise of the notes of a piece."""
    bits = tokenizer.note_bits(ids, surprise(model, tokenizer, ids))
    return sum(bits) / len(bits)


def choose(folder: str, count: int):
    """Yield pieces of a model by the rule of this module's docstring: its number among the 16, its
    score, its mean surprise, that of held-out Bach, what it shares with the training pieces, and
    how much would be recitation."""
    model, checkpoint = load(HERE.parent / folder / 'ckpt.pt')
    tokenizer = load_tokenizer(checkpoint['tokenizer'])
    learned = load_learned(checkpoint, tokenizer)
    least = learned.recites_from
    held_out = [mean_bits(model, tokenizer, tokenizer.encode(score))
                for _, score in learned.pieces['val']]
    goal = sum(held_out) / len(held_out)
    config = Config(num_samples=16)
    rows, _ = draw_pieces(model, tokenizer, read_prompt(tokenizer), config, learned)
    distances = []
    for number, row in enumerate(rows, 1):
        row = row[:row.index(tokenizer.end) + 1] if tokenizer.end in row else row
        score = tokenizer.decode(row)
        origin = originality(score, learned.index, least)
        if tokenizer.end in row and origin.longest < least:
            bits = mean_bits(model, tokenizer, row)
            distances.append((abs(bits - goal), number, score, bits, origin))
    for _, number, score, bits, origin in sorted(distances, key=lambda found: found[0])[:count]:
        yield number, score, bits, goal, origin, least


def compress(wav: Path, mp3: Path, seconds: float, largest: int = LARGEST):
    """WAV -> MP3 of so many bytes at most."""
    rate = min(96, int(8 * largest / seconds / 1000))
    synth.compress(wav, mp3, '-b:a', f'{rate}k')


def main():
    torch.set_num_threads(1)
    pieces = []
    for folder, count in WANTED.items():
        name = folder.removeprefix('out-')
        for place, found in enumerate(choose(folder, count), 1):
            number, score, bits, goal, origin, least = found
            path = HERE / f'{name}-{place}'
            write_midi(score, f'{path}.mid')
            sound = synth.sound_of(score)
            synth.write_wav(f'{path}.wav', sound)
            compress(path.with_suffix('.wav'), path.with_suffix('.mp3'),
                     len(sound) / synth.SAMPLE_RATE)
            facts = {'made by': f'sample.py --out_dir={folder} --num_samples=16, number {number}',
                     'bars': str(len(find_bars(score))), 'notes': str(len(score.notes)),
                     'surprise': f'{bits:.2f} bits/note (held-out Bach {goal:.2f})',
                     'longest run in the training pieces': say_run(origin, least)}
            piece = Piece(path.name, score, facts=facts, sound='mp3')
            path.with_suffix('.svg').write_text(piano_roll(piece, pace=32, bars=16), 'utf-8')
            pieces.append(piece)
            print(path.name, facts)
    write_page(HERE / 'index.html', 'Three samples', {}, pieces)


if __name__ == '__main__':
    main()
