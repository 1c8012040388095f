"""What the scripts stand on. Whoever runs one outside of its environment is told so."""

import sys
from importlib.util import find_spec

for package in ('numpy', 'mido', 'regex', 'torch'):
    if find_spec(package) is None:
        sys.exit(f'{sys.argv[0]}: {package} is not installed here: activate the environment '
                 '(README.md), then pip install -r requirements.txt')
