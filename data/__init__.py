"""Corpora: a folder holds what `prepare.py` made of one, a module knows where one comes from."""
