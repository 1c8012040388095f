"""Settings for every script: defaults < config file < flags, each typed and checked.

A script declares a dataclass of commented defaults and ends in `run(main, Config)`: then
`python train.py config/goldberg.py --max_steps=1e3` reads the file's `name = literal` lines, never
executed, then the flags. A field without a default is a positional argument.
"""

import argparse
import ast
import dataclasses
import difflib
import inspect
import math
import re
import sys


def convert(name: str, kind: type, value):
    """A flag's text or a file's literal as `kind`: (int, '1e4') -> 10000, (float, 1) -> 1.0.
    Raises ValueError where nothing but a guess would do: (int, 5.5), (bool, 2), (float, 'nan')."""
    try:
        if kind is bool:
            return {'true': True, '1': True, 'false': False, '0': False}[str(value).lower()]
        if kind is str and isinstance(value, str):
            return value
        if kind in (int, float) and not isinstance(value, bool):
            number = float(value)
            if math.isfinite(number) and (kind is float or number.is_integer()):
                return kind(number)
    except (KeyError, TypeError, ValueError):
        pass
    need = {int: 'a whole number', float: 'a number', bool: 'true or false', str: 'text'}
    raise ValueError(f'{name} needs {need[kind]}, not {value!r}')


def read_config(path: str):
    """Yield (place, name, value) for each line of a config file."""
    with open(path, encoding='utf-8-sig') as file:
        lines = ast.parse(file.read(), path).body
    for node in lines:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue                                        # a docstring
        try:
            yield f'{path}:{node.lineno}: ', node.targets[0].id, ast.literal_eval(node.value)
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f'{path}:{node.lineno}: only name = literal lines, please') from None


def configure(cls, argv: list[str], description: str = ''):
    """An instance of the dataclass `cls`; ValueError with one line for what it can't read."""
    def error(message):
        raise ValueError(message)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    comments = dict(re.findall(r'^ +(\w+): .*?# (.*)$', inspect.getsource(cls), re.MULTILINE))
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False,
                                     argument_default=argparse.SUPPRESS)
    parser.error = error
    if not any(field.default is dataclasses.MISSING for field in fields.values()):
        parser.add_argument('config', nargs='?', help='a config file, such as config/goldberg.py')
    for name, field in fields.items():
        if field.default is dataclasses.MISSING:
            parser.add_argument(name, help=comments.get(name))
        else:
            bare = {'nargs': '?', 'const': 'true'} if field.type is bool else {}
            parser.add_argument(f'--{name}', metavar=field.type.__name__,
                                help=f'{comments.get(name)} [{field.default!r}]', **bare)
    flags, unknown = parser.parse_known_args(argv)
    given = [('', word.split('=')[0], '') for word in unknown]
    given += read_config(flags.config) if 'config' in flags and not unknown else []
    given += [('', f'--{name}', value) for name, value in vars(flags).items() if name in fields]
    settings = {}
    for place, name, value in given:
        field = fields.get(name.lstrip('-'))
        if field is None:
            near = difflib.get_close_matches(name, fields, 1)
            raise ValueError(f'{place}unknown setting {name}: ' +
                             (f'did you mean {near[0]}?' if near else 'see --help'))
        settings[field.name] = convert(place + name, field.type, value)
    return cls(**settings)


def run(main, cls):
    """Call `main(settings)`; bad input ends the script with one line."""
    sys.stdout.reconfigure(errors='backslashreplace')       # a terminal that can't show a name
    try:
        main(configure(cls, sys.argv[1:], (main.__globals__['__doc__'] or '').split('\n\n')[0]))
    except (ValueError, OSError, SyntaxError) as error:
        sys.exit(f'{sys.argv[0]}: {error}')
    except KeyboardInterrupt:
        sys.exit(130)
