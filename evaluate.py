"""How good is a model, and does it compose or recite: python evaluate.py --out_dir=out-goldberg

The model is judged by the bits that held-out pieces cost it (a note of music, a byte of text), and
by what they are spent on. An n-gram, which only counts, stands beside it.

Its samples of music stand before a *judge* (lib/judge.py), who is given eight bars by Bach and
eight by the model, and says which is which from what can be counted in them: it prefers Bach in so
many of 100 pairs, 50 if it cannot tell. "Bach" is whoever wrote the corpus. Beside the samples

    held-out    pieces that the model never saw, against those in training: what is possible
    shuffled    the same pieces, their pitches shuffled among the notes
    n-gram      pieces that the n-gram drew

and what gave the samples away. Then their form, which eight bars cannot show (lib/form.py): whether
themes come back, whether a piece ends in the key in which it began.

A piece learned by heart is as good as Bach. So all samples, text too, are looked up in the training
pieces: what they share with them, and whether that is more than held-out pieces share. Then they
recite, and the source is named.
"""

import glob
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from lib.settings import Settings, check_flags, run, setting


@dataclass
class Config(Settings):
    out_dir: str = setting('out', 'folder of the checkpoint; evaluate.json goes there, too')
    samples: str = setting('', 'folder or pattern of files; else those in out_dir that were made '
                           'with the settings of the newest')
    dataset: str = setting('', 'corpora to compare with, else those of the checkpoint; with '
                           'samples and dataset both given, no checkpoint is read')
    checkpoint: str = setting('ckpt.pt', 'or last.pt')
    quiz: bool = setting(False, 'make a page instead, quiz.html: "Bach or machine?"')
    pairs: int = setting(10, 'of excerpts in the quiz', at_least=1, at_most=100)


check_flags(Config)      # before torch is imported, which takes seconds

import numpy as np

from lib.corpus import check_corpora, check_unchanged, load_corpora, load_pieces
from lib.files import files
from lib.form import describe, lag_curve
from lib.heldout import losses_of
from lib.judge import judge_sides
from lib.ngram import NGram, count_ngrams, draw_ngram
from lib.originality import (Origin, find_words, index_training, originality,
                             originality_of_text)
from lib.quiz import make_quiz
from lib.score import Score, read_midi
from lib.shelf import Group, find_groups, in_order
from lib.tables import print_bits, print_form, print_judge, print_originality
from model import load
from sample import load_tokenizer

JUDGED = 400             # pieces of a split that the judge hears, at most


# ---- the model: bits on what is held out

def held_out_bits(model, corpus: dict) -> np.ndarray:
    """(N,) bits of each held-out id given those before it, as validation scores them. The first id,
    before which there is nothing, is given: 0 bits. `corpus` is what load_corpus returns."""
    nats = losses_of(model, corpus['val'], corpus['val_told'])
    return np.concatenate(([0.0], nats / math.log(2)))


def spend(tokenizer, ids: np.ndarray, bits: np.ndarray, units: int) -> dict[str, float]:
    """Bits a note of music, or a byte of text, by what they are spent on: the tokenizer's
    `questions`. Their sum is train.py's figure."""
    spent = dict.fromkeys(tokenizer.questions, 0.0)
    for id, cost in zip(ids.tolist(), bits.tolist()):
        spent[tokenizer.question(id)] += cost
    return {question: total / units for question, total in spent.items()}


def bits_by_piece(corpus: dict, tokenizer, bits: np.ndarray) -> dict[str, dict]:
    """Name -> bits a unit of each held-out piece, as `spend` splits them; `bits` (N,) are those of
    all held-out ids."""
    ids = np.array(corpus['val'])
    found, begin = {}, 0
    ends = np.flatnonzero(ids == corpus['end'])
    for piece, end in zip(corpus['pieces']['val'], ends, strict=True):
        mine = slice(begin, end + 1)
        found[piece['name']] = spend(tokenizer, ids[mine], bits[mine], piece['units'])
        begin = end + 1
    return found


# ---- the n-gram

def judge_ngram(ngram: NGram, corpora: list[dict], tokenizer) -> dict:
    """The bits that the best order spends on each corpus, as `spend` splits them. That order is
    chosen on the held-out pieces themselves: a little favour, which the model does not get."""
    costs = np.zeros(len(ngram.tables))                     # of each order
    bits = {}
    for corpus in corpora:
        bits[corpus['name']] = ngram.bits(np.array(corpus['val']))
        bits[corpus['name']][:, 0] = 0                      # the first id is given
        costs += bits[corpus['name']].sum(axis=1) / corpus['units']['val']
    best = int(np.argmin(costs))
    spent = {}
    for corpus in corpora:
        mine = bits[corpus['name']][best]
        spent[corpus['name']] = spend(tokenizer, corpus['val'], mine, corpus['units']['val'])
    return {'order': best + 1, 'bits': spent}


# ---- what to compare, and with what

def newest_group(folder: Path, suffix: str) -> list[Path]:
    """The samples in a folder that were made with the settings of the newest. If there are others,
    it says what they are."""
    newest, *others = find_groups(folder, suffix) or [Group({})]
    if others:
        words = ', '.join(f'{name} {value}' for name, value in newest.settings.items())
        count = sum(len(group.paths) for group in others)
        print(f'samples: {len(newest.paths):,} made with {words or "settings unknown"}; not '
              f'{count:,} made with others, which --samples=PATTERN would take')
    return newest.paths


def read_samples(config: Config, music: bool) -> list[tuple[str, Score | str]]:
    """The MIDI or text files to judge, with their names. Says which can't be read; raises
    ValueError if that is all."""
    suffixes = ('.mid', '.midi') if music else ('.txt',)
    folder = Path(config.samples or config.out_dir)
    if not config.samples:
        paths = newest_group(folder, suffixes[0])
    elif folder.is_dir():
        paths = files(folder, suffixes)
    else:
        paths = [Path(path) for path in glob.glob(config.samples)]
    samples, paths = [], sorted(paths, key=in_order)
    for path in paths:
        name = path.relative_to(folder) if path.is_relative_to(folder) else path
        try:
            piece = read_midi(path) if music else path.read_text(encoding='utf-8', errors='replace')
            samples.append((name.as_posix(), piece))
        except (ValueError, OSError) as error:
            print(f'left out: {error}')
    if not samples:
        raise ValueError(f'{config.samples or config.out_dir}: none of {len(paths)} samples could '
                         'be read: run sample.py first, or give --samples=FOLDER')
    return samples


# ---- the judgement

def judge_model(model, corpora: list[dict], tokenizer) -> dict:
    """Held-out bits a unit of each corpus, and of each of its pieces."""
    found = {'bits': {}, 'pieces': {}}
    for corpus in corpora:
        bits = held_out_bits(model, corpus)
        units = corpus['units']['val']
        found['bits'][corpus['name']] = spend(tokenizer, corpus['val'], bits, units)
        found['pieces'][corpus['name']] = bits_by_piece(corpus, tokenizer, bits)
    return found


def judge_music(samples: list, pieces: dict, drawn: list) -> dict:
    """What the judge says, and the form of all sides, of lists of (name, Score)."""
    sides = {'training': pieces['train'], 'held-out': pieces['val'], 'n-gram': drawn,
             'samples': samples}
    form, curves = {}, {}
    for side, named in sides.items():
        scores = [score for _, score in thin(named)]
        form[side] = describe(scores)
        curves[side] = lag_curve(scores)
    verdict = judge_sides(samples, thin(pieces['train']), thin(pieces['val']), drawn)
    return {'judge': verdict, 'form': form, 'lag_curve': curves}


def thin(named: list) -> list:
    """Of a large corpus, JUDGED pieces at equal distances: all would take long, and say no more."""
    every = math.ceil(len(named) / JUDGED)
    return named[::max(1, every)]


def judge_originality(samples: list, pieces: dict, drawn: list, music: bool) -> dict:
    """What each sample shares with the training pieces, and what the held-out pieces do."""
    index, least, held_out = index_training(pieces, music)
    look_up = originality if music else originality_of_text
    origins = [look_up(piece, index, least) for _, piece in samples]
    sides = {'held-out': sum_up(pieces['val'], held_out)}
    if drawn:
        sides['n-gram'] = sum_up(drawn, [look_up(piece, index, least) for _, piece in drawn])
    sides['samples'] = sum_up(samples, origins)
    each = {}
    for (name, piece), origin in zip(samples, origins):
        each[name] = {**asdict(origin), **say_copied(piece, origin),
                      'recites': origin.longest >= least}
    return {'unit': 'note' if music else 'word', 'least': least, 'sides': sides, 'samples': each}


def count_units(piece: Score | str) -> int:
    """The notes of a piece of music, the words of a text."""
    if isinstance(piece, Score):
        return len(piece.notes)
    return sum(1 for _ in find_words(piece))


def sum_up(named: list[tuple[str, Score | str]], origins: list[Origin]) -> dict:
    """Of all pieces of a side: the shares of all their windows, and their longest runs."""
    shares = {}
    for units in origins[0].shares:
        found, windows = 0, 0
        for (_, piece), origin in zip(named, origins):
            size = count_units(piece)
            many = max(0, size - units + 1)
            found += origin.shares[units] * many
            windows += many
        shares[units] = found / max(1, windows)
    longest = [origin.longest for origin in origins]
    return {'shares': shares, 'median': float(np.median(longest)), 'longest': max(longest)}


def say_copied(piece: Score | str, origin: Origin) -> dict:
    """`copied` as stretches (from, to) of notes or of characters, and what share of all they are.
    """
    stretches = origin.copied
    if isinstance(piece, Score):
        edges = np.flatnonzero(np.diff([False, *origin.copied, False]))
        stretches = edges.reshape(-1, 2).tolist()
    units = len(piece.notes) if isinstance(piece, Score) else len(piece)
    share = sum(end - begin for begin, end in stretches) / max(1, units)
    return {'copied': stretches, 'copied_share': share}


def main(config: Config):
    # ---- what there is: a model (or none), corpora, pieces
    if not config.out_dir:
        raise ValueError('out_dir is empty: name the folder of a trained model')
    model = None
    trained = {'dataset': config.dataset}
    if not (config.samples and config.dataset):
        path = f'{config.out_dir}/{config.checkpoint}'
        model, checkpoint = load(path)
        trained = checkpoint['train_config']
    dataset = config.dataset or trained['dataset']
    corpora = load_corpora(dataset)
    check_corpora(corpora, model.config.context if model else 1)
    tokenizer = load_tokenizer(corpora[0]['tokenizer'])
    music = tokenizer.is_music
    if model:
        check_unchanged(corpora, checkpoint)
    if config.quiz:
        if not music:
            raise ValueError(f'{dataset} is text: the quiz is for music')
        pieces = load_pieces(corpora, tokenizer)
        return make_quiz(read_samples(config, music), pieces['val'], thin(pieces['train']),
                         Path(config.out_dir), config.pairs)

    # ---- the model and the n-gram
    result = {'dataset': dataset, 'unit': corpora[0]['unit']}
    if model:
        result |= judge_model(model, corpora, tokenizer)
    ngram = count_ngrams(corpora)
    result['ngram'] = judge_ngram(ngram, corpora, tokenizer)
    print_bits(result)

    # ---- the samples
    samples = read_samples(config, music)
    pieces = load_pieces(corpora, tokenizer)
    drawn = []
    if music:
        drawn = draw_ngram(ngram, result['ngram']['order'], tokenizer)
        result |= judge_music(samples, pieces, drawn)
        print_judge(result['judge'])
        print_form(result['form'], result['lag_curve'])
    extra = load_corpora(trained.get('extra', ''))               # learned from, too
    check_corpora(corpora + extra, 1)
    learned = {**pieces, 'train': pieces['train'] + load_pieces(extra, tokenizer)['train']}
    result['originality'] = judge_originality(samples, learned, drawn, music)
    print_originality(result['originality'])

    path = Path(config.out_dir) / 'evaluate.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + '\n', encoding='utf-8')
    print(f'all of this: {path}')


if __name__ == '__main__':
    run(main, Config)
