"""How mistakes look and sound: python lesson/wrong.py

A small model is trained by train.py as it should be, and then with one mistake at a time. Prints
how far each has come, draws the curves (wrong.svg in this folder), and lets each go on from four
bars of Bach: out-wrong/index.html.
"""

import math
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from unittest import mock

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import model                                                            # noqa: E402
import train                                                            # noqa: E402
from lesson.ladder import bits_a_unit, play                             # noqa: E402
from lesson.make import path, picture, words                            # noqa: E402
from lib.corpus import load_corpora                                     # noqa: E402
from lib.page import read_curve, write_page                             # noqa: E402
from sample import load_tokenizer                                       # noqa: E402

OUT = HERE.parent / 'out-wrong'
RIGHT = train.Config(n_layer=2, n_head=2, n_embd=64, context=128, max_steps=300, eval_every=10,
                     patience=1000, weight_decay=0.1, overwrite=True)


# ---- the mistakes

def attend_to_all(q, k, v):
    """Attention without a mask: every position sees those that come later, too."""
    return (q @ k.mT / q.size(-1) ** 0.5).softmax(dim=-1) @ v


get_batch = train.get_batch                      # (it will be replaced)


def batch_not_shifted(*given):
    """The ids themselves in place of the next ids: what is to be guessed has just been read."""
    ids, _, told = get_batch(*given)
    return ids, ids, told


# name -> its title, settings of train.py, and (module, name of a function, what stands in for it)
RUNS = {
    'right': ('as it should be', {}, []),
    'rate': ('rates ten times too high', {'muon_lr': 0.2, 'adam_lr': 0.03}, []),
    'few': ('too few steps', {'max_steps': 30}, []),
    'heart': ('learned by heart', {'augment': False}, []),
    'mask': ('no mask', {}, [(model, 'attend_fast', attend_to_all)]),
    'shift': ('not shifted by one', {}, [(train, 'get_batch', batch_not_shifted)]),
}


def train_wrongly(name: str, corpus: str) -> tuple[model.Transformer, list[dict]]:
    """Train with one mistake: the model, and the curve that train.py has logged."""
    _, settings, stand_ins = RUNS[name]
    folder = str(OUT / name)
    with ExitStack() as stack:
        for stand_in in stand_ins:
            stack.enter_context(mock.patch.object(*stand_in))
        config = replace(RIGHT, **settings, dataset=corpus, out_dir=folder)
        return train.train(config), read_curve(f'{folder}/log.csv')


# ---- the picture

WIDTH, HEIGHT = 210, 170         # of a panel
HIGHEST, LOWEST = 16, 1 / 256    # nats a word


def panel(number: int, title: str, curve: list[dict], held_out: str) -> list[str]:
    """Two curves, the loss against the steps: of the training part, and of the held-out one."""
    left, top = 46 + WIDTH * (number % 3), 34 + HEIGHT * (number // 3)

    def place(step, loss):
        height = math.log(max(loss, LOWEST) / LOWEST) / math.log(HIGHEST / LOWEST)
        return left + (WIDTH - 50) * step / RIGHT.max_steps, top + (HEIGHT - 55) * (1 - height)
    parts = [words(left, top - 10, title, 'start')]
    for label, loss in (('4', 4), ('1', 1), ('1/4', 1 / 4), ('1/16', 1 / 16)):
        parts.append(path([place(0, loss), place(RIGHT.max_steps, loss)], 'line', 1))
        parts.append(words(left - 6, place(0, loss)[1] + 4, label, 'end'))
    for step in (0, 100, 200, 300):
        parts.append(words(place(step, LOWEST)[0], place(step, LOWEST)[1] + 16, str(step)))
    for kind, column in (('one', 'loss'), ('other', held_out)):
        points = [(row['step'], row[column]) for row in curve if column in row]
        parts.append(path([place(*point) for point in points if math.isfinite(point[1])], kind))
    return parts


def draw(curves: list[list[dict]], corpus: str):
    parts = []
    for number, (curve, (title, *_)) in enumerate(zip(curves, RUNS.values())):
        parts += panel(number, title, curve, f'nats_{corpus}')
    width, height = 3 * WIDTH + 20, 2 * HEIGHT + 30
    parts.append(words(width / 2, height - 12, 'nats a word against 300 steps; '
                       'blue: what it learns from; orange: held-out pieces'))
    picture('wrong', width, height, 'Six training runs, five of them with a mistake', parts)


def main():
    corpus = load_corpora('goldberg')[0]
    tokenizer = load_tokenizer(corpus['tokenizer'])
    curves, pieces, lines = [], [], []
    for name, (title, *_) in RUNS.items():
        trained, curve = train_wrongly(name, corpus['name'])
        trained.eval()
        curves.append(curve)
        loss = [row['loss'] for row in curve if 'loss' in row][-1]
        nats = [row[f'nats_{corpus["name"]}'] for row in curve if 'loss' not in row]
        figures = (f'training {loss:5.2f} nats a word, held-out {nats[-1]:5.2f}, '
                   f'{bits_a_unit(trained, corpus):5.2f} bits a note')
        lines.append(f'{title:26} {figures}')
        pieces.append(play(name, trained, tokenizer, {title: figures}, 1, OUT))
    draw(curves, corpus['name'])
    write_page(OUT / 'index.html', 'When it goes wrong', {}, pieces)
    print('\n'.join(lines))
    print(f'open {OUT / "index.html"}')


if __name__ == '__main__':
    main()
