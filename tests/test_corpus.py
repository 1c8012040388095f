"""A prepared corpus is read whole or not at all."""

import json

import numpy as np
import pytest

from lib.corpus import check_corpora, load_corpora, load_corpus
from lib.tokenizer import columns_of_told
from sample import load_tokenizer


def test_what_is_read(corpus):
    """Forbids ids, or places where pieces end, that are not those of the files."""
    found = load_corpus('toy')
    meta = json.loads((corpus / 'toy' / 'meta.json').read_text())
    for split in ('train', 'val'):
        ids = np.fromfile(corpus / 'toy' / f'{split}.bin', np.uint16)
        assert np.array_equal(found[split], ids) and len(ids) == meta['tokens'][split]
        assert (ids == meta['end']).sum() == len(meta['pieces'][split])
    assert len(meta['pieces']['train']) == 7 and found['name'] == 'toy'


def test_what_is_told_is_read(corpus):
    """Forbids what is told of another id, piece or split: it is what a listener says that hears the
    pieces one by one."""
    found = load_corpus('toy')
    tokenizer = load_tokenizer(found['tokenizer'])
    assert found['shape_of_told'] == tokenizer.shape_of_told()
    for split in ('train', 'val'):
        ends = np.flatnonzero(found[split] == found['end']) + 1
        pieces = np.split(np.array(found[split]), ends)[:-1]
        told = []
        for piece in pieces:
            told.append(tokenizer.listen(piece.tolist()))
        assert np.array_equal(found[f'{split}_told'], np.concatenate(told))


def test_columns_of_told():
    """Forbids a column taken for another, or an id that is overlooked when ids are transposed."""
    columns = columns_of_told({'clock': 1, 'to_end': 0, 'match': 2, 'home': 1, 'recalled': 2,
                               'held': 3})
    row = np.array('clock match match home recalled recalled held held held'.split())
    for name, column in columns.items():
        assert (row[column] == name).all() or name == 'ids'
    assert len(row[columns['to_end']]) == 0 and len(row[columns['held']]) == 3
    assert row[columns['ids']].tolist() == row[3:].tolist()


# what is done to meta.json, and a word of the answer
DAMAGES = {
    'cut': (lambda meta: None, 'damaged or missing'),
    'a list': (lambda meta: [meta], 'meta.json is damaged'),
    'another format': (lambda meta: {**meta, 'format': 2}, 'another version'),
    'no format': (lambda meta: {**meta, 'format': None}, 'another version'),
    **{f'no {field}': (lambda meta, field=field: {k: v for k, v in meta.items() if k != field},
                       f'damaged: {field}')
       for field in ('tokenizer', 'vocab_size', 'dtype', 'unit', 'units', 'tokens', 'pieces', 'end',
                     'augment', 'shape_of_told')},
    'dtype': (lambda meta: {**meta, 'dtype': 'uint99'}, 'damaged: dtype'),
    'wider dtype': (lambda meta: {**meta, 'dtype': 'uint32'}, 'belong there'),
    'end': (lambda meta: {**meta, 'end': meta['vocab_size']}, 'damaged: end'),
    'no units': (lambda meta: {**meta, 'units': {'train': 9, 'val': 0}}, 'damaged: units of val'),
    'units a list': (lambda meta: {**meta, 'units': [1, 2]}, 'damaged: units'),
    'tokens': (lambda meta: {**meta, 'tokens': {**meta['tokens'], 'val': 99}}, '198 belong there'),
    'pieces': (lambda meta: {**meta, 'pieces': {'train': [1], 'val': []}}, 'pieces of train'),
    'augment': (lambda meta: {**meta, 'augment': [[meta['vocab_size']] * meta['vocab_size']]},
                'damaged: augment'),
    'narrow augment': (lambda meta: {**meta, 'augment': [[0]]}, 'damaged: augment'),
    'no told': (lambda meta: {**meta, 'shape_of_told': {}}, 'damaged: shape_of_told'),
    'no augment row': (lambda meta: {**meta, 'augment': []}, 'damaged: augment'),
}


@pytest.mark.parametrize('kind', DAMAGES)
def test_damaged_meta(corpus, kind):
    """Forbids a traceback, or training on what is left, when meta.json is not what was written."""
    change, says = DAMAGES[kind]
    path = corpus / 'toy' / 'meta.json'
    changed = change(json.loads(path.read_text()))
    path.write_text(path.read_text()[:-50] if changed is None else json.dumps(changed))
    with pytest.raises(ValueError) as error:
        load_corpus('toy')
    assert says in str(error.value) and '\n' not in str(error.value)
    assert str(error.value).startswith('data/toy') and 'prepare.py' in str(error.value)


@pytest.mark.parametrize('kind, says', [('cut', '200 bytes'), ('odd', 'belong there'),
                                        ('gone', 'damaged or missing'), ('empty', ' 0 bytes'),
                                        ('foreign', 'not in the vocabulary')])
def test_damaged_ids(corpus, kind, says):
    """Forbids fewer ids than were written (a better score for nothing), or ids of no word."""
    path = corpus / 'toy' / 'val.bin'
    content = path.read_bytes()
    if kind == 'gone':
        path.unlink()
    else:
        path.write_bytes({'cut': content[:200], 'odd': content[:-1], 'empty': b'',
                          'foreign': b'\xff\xff' + content[2:]}[kind])
    with pytest.raises(ValueError, match=says):
        load_corpus('toy')


@pytest.mark.parametrize('kind, says', [('cut', 'belong there'), ('odd', 'belong there'),
                                        ('gone', 'damaged or missing'), ('empty', ' 0 bytes'),
                                        ('foreign', 'val_told.bin is damaged'),
                                        ('of train', 'belong there')])
def test_damaged_told(corpus, kind, says):
    """Forbids a traceback, or training on what was told of other ids, for a file of it that is cut,
    gone, or says what no table of a model has a row for."""
    path = corpus / 'toy' / 'val_told.bin'
    content = path.read_bytes()
    if kind == 'gone':
        path.unlink()
    else:
        path.write_bytes({'cut': content[:-2], 'odd': content[:-1], 'empty': b'',
                          'foreign': content[:-2] + b'\xff\xff',
                          'of train': path.with_name('train_told.bin').read_bytes()}[kind])
    with pytest.raises(ValueError, match=says) as error:
        load_corpus('toy')
    assert '\n' not in str(error.value) and 'prepare.py again' in str(error.value)


@pytest.mark.parametrize('names, says', [('none', 'python prepare.py none'), ('..', 'no such'),
                                         ('toy,toy', 'twice'), ('toy,,none', 'none'),
                                         ('toy\0', 'no such corpus')])
def test_names(corpus, names, says):
    """Forbids a traceback, or a corpus twice, for a name that is wrong."""
    with pytest.raises(ValueError, match=says):
        load_corpora(names)


def test_corpora_that_do_not_go_together(corpus):
    """Forbids learning from what is held out elsewhere, two vocabularies, or too few ids."""
    toy = load_corpus('toy')
    leaking = {**toy, 'pieces': {'train': toy['pieces']['val'], 'val': []}}
    louder = {**toy, 'tokenizer': {**toy['tokenizer'], 'velocity': True}}
    check_corpora([toy], 100)
    for corpora, context, says in (([toy, leaking], 100, 'held out in another'),
                                   ([toy, louder], 100, '--velocity'),
                                   ([toy], 1000, 'lower --context')):
        with pytest.raises(ValueError, match=says):
            check_corpora(corpora, context)
