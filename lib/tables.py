"""What evaluate.py has found out, as tables on the terminal."""

from pathlib import Path

from lib.counts import FEWEST
from lib.judge import ENOUGH

SHOWN = 30               # held-out pieces of a corpus that the table shows; evaluate.json has all
SHOWN_LAGS = (1, 2, 4, 8, 16)    # of the lag curve
LONG_NAME = 48           # letters of the names in the judge's tables


def print_row(name: str, values, width: int = 28):
    """A row of words or numbers; those that are not whole with three digits after the point, a
    dash for None. The name has `width` letters."""
    line = f'{name:{width}}'
    for value in values:
        form = '.3f' if isinstance(value, float) else ''
        line += f'{"-" if value is None else value:>13{form}}'
    print(line)


def print_bits(result: dict):
    """The bits a unit of each corpus: of the model, if there is one, and of the n-gram; then of
    each piece by the model. With what they are spent on, if that is told apart."""
    ngram = result['ngram']
    questions = list(next(iter(ngram['bits'].values())))
    parts = questions if len(questions) > 1 else []
    print_row(f'held-out bits/{result["unit"]}', ['all', *parts])

    def print_spent(name, spent):
        print_row(name, [sum(spent.values()), *(spent[question] for question in parts)])

    for name, spent in ngram['bits'].items():
        if 'bits' in result:
            print_spent(name, result['bits'][name])
        print_spent(f'{name}, n-gram of {ngram["order"]} ids', spent)
        pieces = result.get('pieces', {}).get(name, {})
        for piece, spent_there in list(pieces.items())[:SHOWN]:
            print_spent(f'  {piece}', spent_there)
        if len(pieces) > SHOWN:
            print(f'  ... and {len(pieces) - SHOWN} more')
    print()


def print_judge(found: dict):
    """The judge's figures, what they are worth, and what gave the samples away."""
    sides = list(found['prefers'])
    print_row('the judge prefers Bach', sides)
    print_row('... in so many of 100 pairs', [in_tenths(found['prefers'][side]) for side in sides])
    print_row('... give or take', [in_tenths(found['give_or_take'][side]) for side in sides])
    print_row('pieces of eight bars or more', found['pieces'].values())
    print_row('windows of eight bars', found['windows'].values())
    if found['too_short']:
        print(f'{found["too_short"]} samples have no eight bars with {FEWEST} notes: not judged')
    if found['pieces']['samples'] < ENOUGH:
        print(f'too few samples: judged by fewer than {ENOUGH}, the model looks better than it is: '
              f'run sample.py with --num_samples={ENOUGH}')
    print()
    if found['gave_away']:
        print_row('what gave the samples away', ['Bach', 'samples'], LONG_NAME)
    for row in found['gave_away']:
        print_row(f'  {row["count"]}', [row['bach'], row['samples']], LONG_NAME)
    print()


def in_tenths(figure: float | None) -> str:
    """99.51 -> '99.5'; a dash where a side has too few pieces."""
    return '-' if figure is None else f'{figure:.1f}'


def print_form(form: dict, curves: dict):
    """The figures of whole pieces, and the lag curve at a few lags."""
    print_row('piece by piece, the mean', form, LONG_NAME)
    for name in form['samples']:
        print_row(f'  {name}', [form[side][name] for side in form], LONG_NAME)
    for lag in SHOWN_LAGS:
        print_row(f'  like the bar {lag} before', [curves[side][lag - 1] for side in form],
                  LONG_NAME)
    print()


def print_originality(found: dict):
    """The shares and the longest runs; then, in words, who recites what."""
    unit, least, sides = found['unit'], found['least'], found['sides']
    sizes = list(sides['held-out']['shares'])
    columns = [f'{size} {unit}s, %' for size in sizes] + ['longest run', 'copied, %']
    print_row('found in training pieces', columns)
    for side, row in sides.items():
        print_row(side, [*(100 * row['shares'][size] for size in sizes), row['longest']])
    for name, row in found['samples'].items():
        shares = [100 * row['shares'][size] for size in sizes]
        print_row(f'  {name}', [*shares, row['longest'], 100 * row['copied_share']])
    print(f'held-out pieces share at most {sides["held-out"]["longest"]} {unit}s in a row; {least} '
          'or more are recited')
    recited = [name for name, row in found['samples'].items() if row['recites']]
    bar = 'bar' if unit == 'note' else 'line'
    for name in recited:
        row = found['samples'][name]
        print(f'{Path(name).stem} recites: {row["longest"]} {unit}s from {bar} {row["bar"]} are '
              f'those of {Path(row["source"]).stem} from {bar} {row["source_bar"]}')
    count = len(found['samples'])
    if recited:
        print(f'recitation: {len(recited)} of {count} samples')
    else:
        print(f'no recitation: none of {count} samples')
