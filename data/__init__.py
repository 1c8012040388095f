"""Corpora: a folder holds what `prepare.py` made of one, a module knows where one comes
from: `python prepare.py wtc` runs data/wtc.py."""
