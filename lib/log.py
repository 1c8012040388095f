"""What a training run says of itself, on the terminal and in log.csv."""

import csv
import math
from pathlib import Path

from lib.settings import Settings


def how_long(config: Settings, steps: int, step_seconds: float, validation_seconds: float) -> str:
    """What the `steps` steps to come will take, in words. If that is over ten minutes, how many
    would fit into them."""
    step_seconds += validation_seconds / config.eval_every
    minutes = math.ceil(steps * step_seconds / 60)
    words = 'less than a minute' if minutes <= 1 else f'about {minutes} minutes'
    words += ' from here on this machine'
    if minutes <= 10:
        return words
    fit = config.max_steps - steps + 600 / step_seconds
    fit = round(fit, -2) or math.ceil(fit)                       # in hundreds
    return f'{words}; with --max_steps={fit:.0f} ten minutes, and a somewhat weaker model'


class Log:
    """Writes out_dir/log.csv and the terminal, in the first process; the others keep silent. Of a
    step that a resumed run takes again, the last line counts (`lib.page.read_curve`)."""

    def __init__(self, config: Settings, corpora: list[dict], progress, silent: bool):
        self.config = config
        self.first_step = progress.step
        self.line_step, self.line_seconds = progress.step, progress.seconds  # at the last line
        self.validation_seconds = 0.0                            # that one takes
        self.said_how_long = False
        self.silent = silent
        if silent:
            return
        columns = ['step', 'loss', 'lr', 'tokens_per_second', 'seconds']
        for corpus in corpora:
            columns += [f'nats_{corpus["name"]}', f'bits_{corpus["name"]}']
        path = Path(config.out_dir) / 'log.csv'
        path.parent.mkdir(parents=True, exist_ok=True)
        goes_on = config.resume and path.exists()
        self.file = open(path, 'a' if goes_on else 'w', newline='', buffering=1, encoding='utf-8')
        self.table = csv.DictWriter(self.file, columns, lineterminator='\n')
        if goes_on:
            self.file.write('\n')                                # a kill may have cut the last line
        else:
            self.table.writeheader()

    def say(self, line: str):
        if not self.silent:
            print(line, flush=True)

    def write(self, row: dict):
        if not self.silent:
            self.table.writerow(row)

    def validation(self, progress, corpora: list[dict], nats: list[float],
                   bits: list[float]):
        """A line on each corpus: its mean loss a token, and bits a unit."""
        row = {'step': progress.step, 'seconds': round(progress.seconds, 1)}
        for corpus, loss, of_unit in zip(corpora, nats, bits):
            name = corpus['name']
            row |= {f'nats_{name}': loss, f'bits_{name}': of_unit}
            self.say(f'step {progress.step:5} | val {name}: {loss:.3f} nats/token, '
                     f'{of_unit:.3f} bits/{corpus["unit"]}')
        self.write(row)

    def training(self, progress, loss: float, lr: float, rows: int):
        """A line about the steps since the last line, of `rows` rows each: their mean loss, the
        last learning rate of Muon, how fast they went; and once, how long the rest will take."""
        steps_left = self.config.max_steps - progress.step
        step_seconds = (progress.seconds - self.line_seconds) / (progress.step - self.line_step)
        self.line_step, self.line_seconds = progress.step, progress.seconds
        tokens = round(rows * self.config.context / step_seconds)
        self.say(f'step {progress.step:5} | loss {loss:.3f} | lr {lr:.4f} | {tokens:7,} tokens/s | '
                 f'{steps_left * step_seconds:.0f} s left')
        self.write({'step': progress.step, 'loss': loss, 'lr': lr, 'tokens_per_second': tokens,
                    'seconds': round(progress.seconds, 1)})
        if not self.said_how_long and progress.step >= self.first_step + 10:
            self.say(how_long(self.config, steps_left, step_seconds, self.validation_seconds))
            self.said_how_long = True
