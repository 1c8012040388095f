"""A prepared corpus is read whole or not at all."""

import json
import shutil

import numpy as np
import pytest

from lib.corpus import check_corpora, load_corpora, load_corpus, load_trained_on
from lib.tokenizer import columns_of_told
from sample import load_tokenizer


def test_columns_of_told():
    """Forbids a column taken for another, or an id that is overlooked when ids are transposed."""
    columns = columns_of_told({'clock': 1, 'to_end': 0, 'match': 2, 'home': 1, 'recalled': 2,
                               'held': 3})
    row = np.array('clock match match home recalled recalled held held held'.split())
    for name, column in columns.items():
        assert (row[column] == name).all() or name == 'ids'
    assert len(row[columns['to_end']]) == 0 and len(row[columns['held']]) == 3
    assert row[columns['ids']].tolist() == row[3:].tolist()


# what becomes of the bytes of a file
DAMAGES = {'cut': lambda content: content[:200], 'odd': lambda content: content[:-1],
           'empty': lambda content: b'', 'other': lambda content: content[:-2] + b'\xff\xff',
           'longer': lambda content: content * 2, 'no dictionary': lambda content: b'[1]',
           'no text': lambda content: b'\xff', 'deep': lambda content: b'[' * 99_999}


@pytest.mark.parametrize('file', ['train.bin', 'train_told.bin', 'val.bin', 'val_told.bin',
                                  'meta.json'])
def test_a_damaged_file(corpus, file):
    """Forbids a traceback, or training on what is left (fewer ids than were written: a better score
    for nothing), on ids of no word, or on what was told of other ids or has no row in a table."""
    path = corpus / 'toy' / file
    whole = path.read_bytes()
    for damage in DAMAGES.values():
        path.write_bytes(damage(whole))
        with pytest.raises(ValueError) as error:
            load_corpus('toy')
        assert str(error.value) == ('data/toy: its files are damaged or missing: run python '
                                    'prepare.py again')
    path.unlink()
    with pytest.raises(ValueError, match='run python prepare.py|no such corpus'):
        load_corpus('toy')


def test_what_meta_json_counts(corpus):
    """Forbids the tokens or notes of a part that are taken for those of the whole."""
    toy = load_corpus('toy')
    for split in ('train', 'val'):
        assert toy['tokens'][split] == len(toy[split]) == len(toy[f'{split}_told'])
        assert toy['units'][split] == sum(piece['units'] for piece in toy['pieces'][split])


@pytest.mark.parametrize('format', [2, None])
def test_another_version(corpus, format):
    """Forbids a corpus that is read although its ids mean something else."""
    path = corpus / 'toy' / 'meta.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'format': format}))
    with pytest.raises(ValueError, match='another version of this repo: run python prepare.py ag'):
        load_corpus('toy')


@pytest.mark.parametrize('names, says', [('none', 'python prepare.py none'), ('..', 'no such'),
                                         ('toy,toy', 'twice'), ('toy,,none', 'none'),
                                         ('toy\0', 'no such corpus')])
def test_names(corpus, names, says):
    """Forbids a traceback, or a corpus twice, for a name that is wrong."""
    with pytest.raises(ValueError, match=says):
        load_corpora(names)


@pytest.mark.parametrize('trained', [{'dataset': 'louder'},
                                     {'dataset': 'toy', 'extra': 'louder'}])
def test_what_a_model_was_trained_on_has_changed(corpus, trained):
    """Forbids pieces, of an extra corpus, too, that are read with another tokenizer than they were
    written with: samples would be looked up in nonsense; and held-out pieces of an extra corpus
    that say how much is shared by chance."""
    toy = load_corpus('toy')
    tokenizer = load_tokenizer(toy['tokenizer'])
    shutil.copytree(corpus / 'toy', corpus / 'louder')
    checkpoint = {'train_config': trained, 'tokenizer': toy['tokenizer']}
    pieces = load_trained_on(checkpoint, tokenizer)
    assert len(pieces['train']) == (14 if 'extra' in trained else 7)
    assert len(pieces['val']) == 1
    path = corpus / 'louder' / 'meta.json'
    meta = json.loads(path.read_text())
    meta['tokenizer']['velocity'] = True
    path.write_text(json.dumps(meta))
    with pytest.raises(ValueError, match='data/louder does not go with the model'):
        load_trained_on(checkpoint, tokenizer)
    with pytest.raises(ValueError, match='other training pieces than .*: prepare it as it was'):
        load_trained_on({**checkpoint, 'train_config': {'dataset': 'toy'},
                         'corpora': {'toy': toy['sha256']['val']}}, tokenizer)


def test_corpora_that_do_not_go_together(corpus):
    """Forbids learning from what is held out elsewhere, two vocabularies, or too few ids."""
    toy = load_corpus('toy')
    leaking = {**toy, 'pieces': {'train': toy['pieces']['val'], 'val': []}}
    louder = {**toy, 'tokenizer': {**toy['tokenizer'], 'velocity': True}}
    shortest = min(len(toy['train']), len(toy['val']))
    check_corpora([toy], 100)
    check_corpora([toy], shortest - 1)           # and one more, to be predicted
    for corpora, context, says in (([toy, leaking], 100, 'held out in another'),
                                   ([leaking, toy], 100, 'held out in another'),
                                   ([toy, louder], 100, '--velocity'),
                                   ([toy], shortest, 'lower --context'),
                                   ([toy], 1000, 'lower --context')):
        with pytest.raises(ValueError, match=says):
            check_corpora(corpora, context)
