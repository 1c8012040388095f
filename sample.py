"""Let a trained model compose or write: python sample.py --out_dir out-goldberg

Music becomes MIDI and WAV files; text streams to the terminal and becomes text files. A page shows
and plays them: out-goldberg/index.html. Stripped of all options, `compose` is this:

    model, checkpoint = load('out-goldberg/ckpt.pt')
    tokenizer = load_tokenizer(checkpoint['tokenizer'])
    prompt = torch.tensor([[tokenizer.begin]])                   # (B, T), one row of one id
    drawn = model.generate(prompt, [tokenizer.listener()], stop=tokenizer.end)
    ids = [id.item() for id in drawn]
    Path('piece.mid').write_bytes(to_midi(tokenizer.decode(ids)))
"""

import tempfile
import time
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from lib import synth
from lib.score import MOST_VOICES, Score, count_voices, cut_bars, find_bars, to_midi
from lib.settings import Settings, check_flags, run, setting


@dataclass
class Config(Settings):
    out_dir: str = setting('out', 'folder of the checkpoint; samples go there, too')
    num_samples: int = setting(3, 'how many', at_least=1, at_most=10_000)
    seed: int = setting(1, 'another seed, another piece; with another num_samples, too',
                        at_least=0, below=2 ** 32)
    # what to begin with
    start: str = setting('', 'text, FILE:prompt.txt, or a MIDI file to continue')
    prompt_bars: int = setting(4, 'music: bars that are taken from the MIDI file', at_least=1)
    metre: str = setting('', 'music without a file: such as 3/4; else the model chooses')
    tempo: float = setting(0.0, 'music: quarters a minute, 20 to 320; 0: the model chooses',
                           at_least=0, at_most=320)
    key: str = setting('', 'music: such as G, Bb or F#m, where it begins and ends; else the model '
                       'chooses')
    voices: int = setting(0, 'music: how many, 1 to 6; 0: the model chooses', at_least=0,
                          at_most=MOST_VOICES)
    transpose: int = setting(0, 'music: how many semitones higher it is played',
                             at_least=-24, at_most=24)
    # how much
    bars: int = setting(32, 'music: about how many bars to compose; 0 leaves it open', at_least=0,
                        at_most=1_000_000)
    max_tokens: int = setting(4000, 'ids a sample at most, should it not end before', at_least=1,
                              at_most=10_000_000)
    drafts: int = setting(6, 'music: drafts of each piece, of which one is taken: it recites '
                          'nothing, ends in its first key, and its themes return',
                          at_least=1, at_most=100)
    # how bold
    recall: float = setting(1.5, 'music: how much it makes of what it recalls; 1: as it learned',
                            at_least=0, at_most=10)
    scale: float = setting(1.2, 'music: how closely it keeps to the home scale; 1: as it learned',
                           at_least=0, at_most=10)
    temperature: float = setting(1.0, 'below 1: likelier, above: wilder, 0: the likeliest always',
                                 at_least=0, at_most=100)
    top_k: int = setting(0, 'draw from the k likeliest ids only, 0 for all', at_least=0)
    top_p: float = setting(1.0, '... from the likeliest that together have this probability',
                           above=0, at_most=1)
    min_p: float = setting(0.001, '... from those at least this share as likely as the likeliest',
                           at_least=0, at_most=1)
    # with what
    checkpoint: str = setting('ckpt.pt', 'ckpt.pt is the best one, last.pt the last')
    colour: str = setting('harpsichord', 'sound; lute: a harpsichord with felt on its strings',
                          one_of=tuple(synth.COLOURS))
    soundfont: str = setting('', 'an .sf2 file: FluidSynth plays instead of our own sound')
    sound: str = setting('wav', 'mp3 and flac are smaller, and need the program ffmpeg',
                         one_of=('wav', 'mp3', 'flac', 'none'))
    attention: bool = setting(False, 'the page shows what each note or word was looking at')
    device: str = setting('cpu', 'where to compute; a GPU pays for many samples at once only',
                          one_of=('auto', 'cpu', 'cuda', 'mps'))


check_flags(Config)      # before torch is imported, which takes seconds

import torch

from lib.form import is_at_home, merits
from lib.heldout import surprise
from lib.looks import look, name_heads
from lib.machine import pick_device
from lib.originality import (NOTHING, Learned, load_learned, originality,
                             originality_of_text)
from lib.page import Piece, Text, read_curve, write_page
from lib.prompt import Prompt, read_prompt, read_text_prompt, transposed
from lib.report import (ProgressLine, describe, describe_drawing, facts_of_model,
                        shared_passage)
from lib.shelf import (as_file_name, earlier_samples, find_sounds, free_stem, named_settings,
                       stem_of, write_about)
from lib.tokenizer import Tokenizer
from model import attend, load
from tokenizer_bpe import BPETokenizer
from tokenizer_midi import MidiTokenizer

TOKENIZERS = {'midi': MidiTokenizer, 'bpe': BPETokenizer}        # by the kind in their to_dict()


def load_tokenizer(d: dict) -> Tokenizer:
    """The tokenizer that a checkpoint or a meta.json carries. ValueError if it is of no kind."""
    if d.get('kind') not in TOKENIZERS:
        raise ValueError(f'no tokenizer of kind {d.get("kind")!r}: made by a newer version?')
    return TOKENIZERS[d['kind']].from_dict(d)


def draw_rows(model, start: torch.Tensor, listeners: list, config: Config, **given):
    """Yield the next ids of all rows of `start` (B, T), a tensor (B,) at a time, max_tokens times
    at most."""
    drawn = model.generate(start, listeners, temperature=config.temperature, top_k=config.top_k,
                           top_p=config.top_p, min_p=config.min_p, **given)
    return islice(drawn, config.max_tokens)


# ---- music

# While a model learns, what came before is Bach, who keeps to his themes and his key and avoids
# parallels. While it composes, that is its own, which is vaguer, and so it drifts. Against that
# three things that it learned are made stronger: by --recall, by --scale, and what it learned
# against parallels by this factor.
AGAINST_PARALLELS = 8


def draw_pieces(model, tokenizer: MidiTokenizer, prompt: Prompt, config: Config,
                learned: Learned = NOTHING):
    """Go on from the prompt: the ids of num_samples pieces, each with the prompt's at its
    beginning, and their listeners. All drafts of all pieces are drawn side by side, and of each
    piece the draft is taken that has most `promises_kept`; of several, the one with most `merits`.
    Ctrl-C ends all of them where they are.
    """
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(config.seed)
    wishes = {'bars': config.bars, 'prompt_end': prompt.until, 'lasting': prompt.lasting(),
              **prompt.wishes}
    count = config.num_samples * config.drafts
    listeners = [tokenizer.listener(**wishes) for _ in range(count)]
    rows = torch.tensor([prompt.ids] * count, device=device)
    stronger = {'recall': config.recall, 'home_scale': config.scale, 'parallels': AGAINST_PARALLELS}
    progress = ProgressLine(listeners, config.bars)
    drawn = []
    try:
        for ids in draw_rows(model, rows, listeners, config, stop=tokenizer.end,
                             stronger=stronger, generator=generator):
            drawn.append(ids)
            progress.show()
    except KeyboardInterrupt:
        print('\nstopped: the pieces end here')
    progress.close()
    rows = torch.cat((rows, *(ids[:, None] for ids in drawn)), dim=1).tolist()
    scores = [tokenizer.decode(row) for row in rows]
    kept = [promises_kept(score, prompt.until, learned) for score in scores]
    merit = merits(scores)
    taken = []
    for first in range(0, count, config.drafts):
        drafts = range(first, first + config.drafts)
        taken.append(max(drafts, key=lambda number: (kept[number], merit[number])))
    return [rows[number] for number in taken], [listeners[number] for number in taken]


def promises_kept(score: Score, prompt_end: int, learned: Learned) -> int:
    """How good a draft is. 0: it recites a training piece; 1: it does not; 2: besides, it ends in
    the key in which it began; 3: besides, it has as many voices as its opening says. (The voices
    are asked for because the pieces that come home tend to be thin.)"""
    composed = Score([note for note in score.notes if note.start >= prompt_end])
    if learned.index and originality(composed, learned.index).longest >= learned.recites_from:
        return 0
    if not is_at_home(score):
        return 1
    return 3 if count_voices(score.notes) == score.voices else 2


def finish(row: list[int], bits: list[float], prompt: Prompt, tokenizer: MidiTokenizer,
           config: Config) -> tuple[Score, list[float]]:
    """The ids of a piece and the surprise of each -> its score and the surprise of each note.
    Ids say tempos and velocities only roughly. So what was in the prompt is taken from the prompt
    itself (which was transposed when it was read)."""
    score = tokenizer.decode(row)
    bits = tokenizer.note_bits(row, bits)
    if not prompt.score.notes:
        if config.tempo:                         # exactly, in place of the word for it
            score.tempos[:1] = [(0, config.tempo)]
        return transposed(score, config.transpose), bits
    composed = [note for note in score.notes if note.start >= prompt.until]
    tempos = [tempo for tempo in score.tempos if tempo[0] >= prompt.until]
    metres = [metre for metre in score.metres if metre[0] >= prompt.until]
    return Score(prompt.score.notes + composed, prompt.score.tempos + tempos,
                 prompt.score.metres + metres, prompt.score.home), bits


def write_sounds(scores: dict[str, Score], config: Config):
    """Turn each score into sound, in a file of its name. Ctrl-C leaves the others without."""
    if config.sound == 'none':
        return
    try:
        for name, score in scores.items():
            write_sound(score, name, config)
    except KeyboardInterrupt:
        print('\nstopped: not all pieces have their sound')


def write_sound(score: Score, name: str, config: Config):
    """Turn a score into sound: the file `name` with the suffix of its kind."""
    path = f'{config.out_dir}/{name}'
    wav = f'{path}.wav' if config.sound == 'wav' else f'{path}.part.wav'
    if config.soundfont:
        synth.fluidsynth(score, wav, config.soundfont)
    else:
        synth.write_wav(wav, synth.sound_of(score, config.colour))
    if config.sound != 'wav':
        synth.compress(wav, f'{path}.{config.sound}')


def choose_held_out(model, tokenizer: MidiTokenizer, held_out: list, config: Config) -> Piece:
    """A held-out piece, for the page; it is written as a MIDI file, too. Taken is one of about as
    many bars as were asked for; if there are several, another seed takes another."""
    first = config.seed % len(held_out)
    name, score = min(held_out[first:] + held_out[:first], key=lambda named: abs(
        len(find_bars(named[1])) - (config.bars or Config.bars)))
    ids = tokenizer.encode(score)
    bits = tokenizer.note_bits(ids, surprise(model, tokenizer, ids))
    name = as_file_name(f'held-out-{Path(name).stem}')
    (Path(config.out_dir) / f'{name}.mid').write_bytes(to_midi(score, name))
    return Piece(name, score, bits=bits, facts=describe(score, bits))


def compose(model, tokenizer: MidiTokenizer, learned: Learned, config: Config,
            keep) -> tuple[list[Piece], dict[str, Score]]:
    """Draw pieces side by side and write each as a MIDI file; `keep(piece, midi)` writes what is
    known of it. Returns the pieces, and what is to be heard of them: name of a sound -> Score."""
    # encode what they begin with
    prompt = read_prompt(tokenizer, config.start, config.prompt_bars, config.metre, config.tempo,
                         config.key, config.voices, config.transpose)

    # generate
    print(f'composing {config.num_samples:,}, {config.drafts:,} drafts of each, side by side ...',
          flush=True)
    began = time.perf_counter()
    rows, listeners = draw_pieces(model, tokenizer, prompt, config, learned)
    drawn = (len(rows[0]) - len(prompt.ids)) * config.num_samples * config.drafts
    speed = drawn / (time.perf_counter() - began)
    print(f'drawn at {speed:,.0f} tokens/s', flush=True)

    # decode, write, and say what there is to say
    pieces = []
    scores = {}
    for number, row in enumerate(rows, 1):
        ended = tokenizer.end in row
        if ended:
            row = row[:row.index(tokenizer.end) + 1]
        score, bits = finish(row, surprise(model, tokenizer, row), prompt, tokenizer, config)
        stem = stem_of(config, number)
        if not score.notes:
            print(f'{stem}: no notes, so no file')
            continue
        given = len(prompt.score.notes)
        origin = None
        if learned.index:
            composed = Score(score.notes[given:], metres=score.metres)
            origin = originality(composed, learned.index, learned.recites_from)
        forbidden = listeners[number - 1].forbidden / max(1, len(row) - len(prompt.ids))
        facts = describe(score, bits[given:])
        facts |= describe_drawing(origin, learned.recites_from, ended, forbidden)
        copied = ([False] * given + origin.copied) if origin else None
        midi = to_midi(score, stem)
        name = free_stem(Path(config.out_dir), stem, '.mid', midi)
        piece = Piece(name, score, given, bits, copied, facts)
        if origin and origin.longest:
            piece.shared = shared_passage(score, origin)
            _, source = learned.pieces['train'][origin.source_number]
            scores[f'{name}.source'] = cut_bars(source, origin.source_bar, origin.source_last_bar)
        scores[name] = score
        (Path(config.out_dir) / f'{name}.mid').write_bytes(midi)
        keep(piece, midi)
        words = ', '.join(f'{fact} {value}' for fact, value in facts.items())
        print(f'{config.out_dir}/{name}.mid: {words}', flush=True)
        if config.attention:
            piece.looks = look(model, attend, tokenizer, row)
            piece.heads = name_heads(model)
        pieces.append(piece)
    return pieces, scores


# ---- text

def keep_in(kept: list[int], drawn, end: int):
    """Yield the ids that are drawn, one a row, and keep them; the end is left out."""
    for one in drawn:
        id = one.item()
        if id != end:
            kept.append(id)
            yield id


def write_texts(model, tokenizer: BPETokenizer, learned: Learned, config: Config,
                keep) -> list[Text]:
    """Stream texts to the terminal, one after the other, as they are drawn, and write them.
    `keep(text, content)` writes what is known of each. Ctrl-C ends the one that is being drawn, and
    with it the rest."""
    start = read_text_prompt(config.start)
    device = next(model.parameters()).device
    # As in training, a text begins after the end of another. (There the listener of the other text
    # heard that end, here the listener of this one does. So its clock is one ahead from here on,
    # which changes no distance within the text.)
    prompt = torch.tensor([[tokenizer.begin] + tokenizer.encode(start)], device=device)
    texts = []
    for number in range(1, config.num_samples + 1):
        print(f'--- {number} of {config.num_samples}\n{start}', end='')
        # far from the seeds that a user would take next; torch looks at 32 bits of it
        seed = (config.seed + 1_000_003 * (number - 1)) % 2 ** 32
        generator = torch.Generator(device).manual_seed(seed)
        drawn = draw_rows(model, prompt, [tokenizer.listener()], config, stop=tokenizer.end,
                          generator=generator)
        drawn_ids = []
        text = ''
        stopped = False
        try:
            for piece in tokenizer.stream(keep_in(drawn_ids, drawn, tokenizer.end)):
                print(piece, end='', flush=True)
                text += piece
        except KeyboardInterrupt:
            stopped = True
        print()
        content = (start + text).encode()
        name = free_stem(Path(config.out_dir), stem_of(config, number), '.txt', content)
        path = Path(config.out_dir) / f'{name}.txt'
        path.write_bytes(content)
        facts = {'characters': f'{len(text):,}'}
        copied = []
        if learned.index:
            origin = originality_of_text(text, learned.index, learned.recites_from)
            copied = origin.copied
            facts['longest run in the training text'] = f'{origin.longest} words'
        sample = Text(name, start, text, copied, facts)
        keep(sample, content)
        if config.attention:
            row = [tokenizer.begin, *tokenizer.encode(start), *drawn_ids]
            sample.tokens = tokenizer.pieces(row[1:])
            sample.looks = look(model, attend, tokenizer, row)
            sample.heads = name_heads(model)
        texts.append(sample)
        if stopped:
            print(f'stopped: what was written is in {path}')
            break
    return texts


FOR_MUSIC = ('prompt_bars metre tempo key voices transpose bars drafts recall scale colour '
             'soundfont sound').split()


def check(config: Config, music: bool):
    """Raise ValueError for settings that are of no use with this model, or impossible."""
    if not music:
        for name in FOR_MUSIC:
            if getattr(config, name) != getattr(Config, name):
                raise ValueError(f'{name} is for music, and this model writes text: leave it out')
    if 0 < config.tempo < 20:
        raise ValueError(f'tempo = {config.tempo:g}: must be 20 to 320 quarters a minute')
    if config.soundfont:
        synth.check_soundfont(config.soundfont)
        if config.colour != Config.colour:
            raise ValueError(f'colour = {config.colour} is of our own sound: leave it out, or the '
                             'soundfont')
    if config.sound in ('mp3', 'flac'):
        synth.check_ffmpeg(config.sound)


def show(folder: Path, facts: dict[str, str], samples: list, suffix: str, held_out=None):
    """Write the page."""
    for piece in [*samples, held_out]:
        if isinstance(piece, Piece):
            find_sounds(piece, folder)
    page = folder / 'index.html'
    write_page(page, str(folder), facts, samples, read_curve(folder / 'log.csv'),
               earlier_samples(folder, samples, suffix), held_out)
    print(f'open {page}')


def main(config: Config):
    if not config.out_dir:
        raise ValueError('out_dir is empty: name the folder of a trained model')
    device = pick_device(config.device)
    torch.set_num_threads(1)                    # the work of one id is too little to be shared
    model, checkpoint = load(f'{config.out_dir}/{config.checkpoint}', device)
    tokenizer = load_tokenizer(checkpoint['tokenizer'])
    music = tokenizer.is_music
    check(config, music)
    # whether the folder can be written is asked before the music is composed, not after
    tempfile.TemporaryFile(dir=config.out_dir).close()
    learned = load_learned(checkpoint, tokenizer)
    folder = Path(config.out_dir)
    model_facts = facts_of_model(config.out_dir, checkpoint, tokenizer.unit)
    settings = {'held out': model_facts['held out'], **named_settings(config)}
    keep = partial(write_about, folder=folder, settings=settings, made=time.time())
    facts = {**model_facts, 'seed': str(config.seed), **named_settings(config)}
    if not music:
        texts = write_texts(model, tokenizer, learned, config, keep)
        show(folder, facts, texts, '.txt')
        return
    pieces, scores = compose(model, tokenizer, learned, config, keep)
    held_out = None
    try:
        if learned.index:
            held_out = choose_held_out(model, tokenizer, learned.pieces['val'], config)
            scores[held_out.name] = held_out.score
        write_sounds(scores, config)
    finally:                                    # there is a page, even if there is not all sound
        show(folder, facts, pieces, '.mid', held_out)


if __name__ == '__main__':
    run(main, Config)
