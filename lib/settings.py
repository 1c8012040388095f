"""The settings of every script: defaults < config file < flags, each typed and checked.

A script declares its settings with their defaults, calls `check_flags(Config)` before its slow
imports, if it has any, and ends in `run(main, Config)`:

    @dataclass
    class Config(Settings):
        max_steps: int = setting(600, 'optimizer steps', at_least=0)

Then `python train.py config/goldberg.py --max_steps=1e3` reads the file's `name = value` lines,
which are never executed, and then the flags. A setting without a default is a positional argument.
"""

import argparse
import ast
import dataclasses
import difflib
import math
import operator
import os
import sys
from dataclasses import dataclass
from pathlib import Path

# what each limit of a setting asks of its value, and how that is said
LIMITS = {'at_least': (operator.ge, 'at least'), 'at_most': (operator.le, 'at most'),
          'above': (operator.gt, 'above'), 'below': (operator.lt, 'below')}
NEEDS = {int: 'a whole number', float: 'a number', bool: 'true or false', str: 'text'}
# what nanoGPT, whose users come here, calls it -> what we do
NANOGPT = {'block_size': 'context', 'max_iters': 'max_steps', 'learning_rate': 'adam_lr',
           'eval_interval': 'eval_every', 'log_interval': 'log_every',
           'max_new_tokens': 'max_tokens'}
BOOLS = {'true': True, '1': True, 'false': False, '0': False}


def setting(default=dataclasses.MISSING, help: str = '', *, one_of: tuple = (), **limits):
    """A field of a Config: its default, what --help says of it, and which values it may have: one
    of some, or within LIMITS."""
    metadata = {'help': help, 'one_of': one_of, 'limits': limits}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass
class Settings:
    """The base of every Config. Raises ValueError for a value out of range, also in Python."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            check_range(field, getattr(self, field.name))


def check_range(field: dataclasses.Field, value):
    """Raise ValueError if a setting may not have this value."""
    one_of = field.metadata['one_of']
    if one_of and value not in one_of:
        raise ValueError(f'{field.name} = {value}: must be one of {", ".join(one_of)}')
    for name, limit in field.metadata['limits'].items():
        holds, words = LIMITS[name]
        if not holds(value, limit):
            raise ValueError(f'{field.name} = {value}: must be {words} {limit:,}')


def convert(name: str, kind: type, value):
    """A flag's text or a file's literal as `kind`: (int, '1e4') -> 10000, (float, 1) -> 1.0.
    Raises ValueError where nothing but a guess would do: (int, 5.5), (bool, 2), (float, 'nan')."""
    if kind is bool and str(value).lower() in BOOLS:
        return BOOLS[str(value).lower()]
    if kind is str and isinstance(value, str):
        return value
    may_be_number = isinstance(value, (int, float, str)) and not isinstance(value, bool)
    if kind in (int, float) and may_be_number:
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number) and (kind is float or number.is_integer()):
            return kind(number)
    raise ValueError(f'{name} needs {NEEDS[kind]}, not {value!r:.60}')


# ------------------------------------------------------------------------------- a config file

def read_config(path: str):
    """Yield (place, name, value) for each line of a config file. Raises ValueError, with the file
    and the line, for anything but `name = value` and docstrings."""
    try:
        with open(path, encoding='utf-8-sig') as file:
            lines = ast.parse(file.read(), path).body
    except OSError as error:
        raise ValueError(f'{path}: {no_config(path, error)}') from None
    except SyntaxError as error:
        raise ValueError(f'{path}:{error.lineno or 1}: not a config file ({error.msg})') from None
    except (ValueError, RecursionError, MemoryError):
        raise ValueError(f'{path}: not a config file') from None
    seen = set()
    for node in lines:
        place = f'{path}:{node.lineno}: '
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue                                             # a docstring
        try:
            (target,) = node.targets
            name = target.id
            value = ast.literal_eval(node.value)
        except (AttributeError, TypeError, ValueError, RecursionError, MemoryError):
            raise ValueError(f'{place}only lines of the kind name = value are read, with a number, '
                             'a text, True or False') from None
        if name in seen:
            raise ValueError(f'{place}{name} is set a second time')
        seen.add(name)
        yield place, name, value


def no_config(path: str, error: OSError) -> str:
    """Why there is no config file at `path`, and which one may be meant."""
    if Path(path).is_dir():
        return f'a folder, no config file; did you mean --out_dir={path}?'
    meant = Path('config') / f'{Path(path).stem}.py'
    if meant.is_file() and meant != Path(path):
        return f'no config file; did you mean {meant.as_posix()}?'
    return f'no config file ({error.strerror})'


# --------------------------------------------------------------------------------- the flags

def configure(cls, argv: list[str], description: str = ''):
    """An instance of `cls`, a subclass of Settings, as the command line says. Raises ValueError, in
    one line, for what can't be read or is out of range."""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    parser = make_parser(fields, description)
    flags, unknown = parser.parse_known_args(complete_bools(argv, fields))
    if unknown:
        raise ValueError(not_understood(unknown[0], fields))
    flags = vars(flags)
    path = flags.pop('config', None)
    given = []                                                   # (place, name, value), in order
    if path is not None:
        if '=' in path and not os.path.exists(path):
            raise ValueError(not_understood(path, fields))
        given += read_config(path)
    given += [('', name, value) for name, value in flags.items()]
    settings = {}
    for place, name, value in given:
        if name not in fields:
            raise ValueError(f'{place}unknown setting {name}: {suggest(name, fields)}')
        shown = name if place or fields[name].default is dataclasses.MISSING else f'--{name}'
        if fields[name].metadata['one_of']:
            value = str(value).lower()               # --compile=False is --compile=false
        settings[name] = convert(place + shown, fields[name].type, value)
        try:
            check_range(fields[name], settings[name])
        except ValueError as error:
            raise ValueError(f'{place}{error}') from None
    return cls(**settings)


def make_parser(fields: dict, description: str) -> argparse.ArgumentParser:
    """A parser that knows all settings, gives texts, and leaves out what was not given."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False,
                                     argument_default=argparse.SUPPRESS)

    def error(message):
        raise ValueError(message)
    parser.error = error                             # argparse would print its usage and exit
    positional = [field for field in fields.values() if field.default is dataclasses.MISSING]
    if not positional:
        parser.add_argument('config', nargs='?', help='a config file, such as config/goldberg.py')
    for name, field in fields.items():
        help = field.metadata['help'].replace('%', '%%')         # argparse formats it
        if field in positional:
            parser.add_argument(name, help=help)
        else:
            values = '|'.join(field.metadata['one_of']) or field.type.__name__
            parser.add_argument(f'--{name}', metavar=values, help=f'{help} [{field.default!r}]')
    return parser


def complete_bools(argv: list[str], fields: dict) -> list[str]:
    """['--resume', 'config/goldberg.py'] -> ['--resume=true', 'config/goldberg.py']: a flag that is
    true or false stands alone, and must not take the next word for its value."""
    bare = {f'--{name}' for name, field in fields.items() if field.type is bool}
    return [f'{word}=true' if word in bare else word for word in argv]


def not_understood(word: str, fields: dict) -> str:
    """What to say of a word on the command line that is neither a flag nor expected."""
    name = word.lstrip('-').split('=')[0]
    if not word.startswith('-') and '=' not in word:
        return f'unexpected argument {word}: see --help'
    if name in fields:
        return f'{word}: did you mean --{word.lstrip("-")}?'
    return f'unknown setting {name}: {suggest(name, fields)}'


def suggest(name: str, fields: dict) -> str:
    near = difflib.get_close_matches(name, fields, 1)
    if NANOGPT.get(name) in fields:
        near = [NANOGPT[name]]
    return f'did you mean {near[0]}?' if near else 'see --help'


# ------------------------------------------------------------------------------------- a script

def check_flags(cls):
    """Answer --help and wrong flags at once. A script that imports torch, which takes seconds,
    calls this before; nothing happens if it is imported itself."""
    if cls.__module__ == '__main__':
        run(lambda settings: None, cls)


def run(main, cls):
    """Call `main(settings)`; bad input ends the script with one line and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors='backslashreplace')            # a terminal that can't show a name
    description = (sys.modules[cls.__module__].__doc__ or '').split('\n\n')[0]
    try:
        main(configure(cls, sys.argv[1:], description))
        sys.stdout.flush()
    except BrokenPipeError:                          # nobody reads on: `| head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and 'memory' not in str(error):
            raise                                    # a mistake of ours: show where
        message = ' '.join(str(error).split()) or 'not enough memory'
        sys.exit(f'{Path(sys.argv[0]).name}: {message:.500}')
