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


# what is done to meta.json, and a word of the answer
META = {
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
    'no augment row': (lambda meta: {**meta, 'augment': []}, 'damaged: augment')}
# what becomes of the bytes of a file
BYTES = {'cut': lambda content: content[:200], 'odd': lambda content: content[:-1],
         'empty': lambda content: b'', 'foreign': lambda content: content[:-2] + b'\xff\xff',
         'longer': lambda content: content * 2, 'gone': None}
# the file, what is done to it, and a word of the answer
DAMAGES = [*[('meta.json', kind, says) for kind, (_, says) in META.items()],
           ('val.bin', 'cut', '200 bytes'), ('val.bin', 'odd', 'belong there'),
           ('val.bin', 'gone', 'damaged or missing'), ('val.bin', 'empty', ' 0 bytes'),
           ('val.bin', 'foreign', 'not in the vocabulary'),
           ('val_told.bin', 'cut', '200 bytes'), ('val_told.bin', 'odd', 'belong there'),
           ('val_told.bin', 'gone', 'damaged or missing'), ('val_told.bin', 'empty', ' 0 bytes'),
           ('val_told.bin', 'foreign', 'val_told.bin is damaged'),
           ('val_told.bin', 'longer', 'belong there')]


@pytest.mark.parametrize('file, kind, says', DAMAGES)
def test_a_damaged_file(corpus, file, kind, says):
    """Forbids a traceback, or training on what is left (fewer ids than were written: a better score
    for nothing), on ids of no word, or on what was told of other ids or has no row in a table."""
    path = corpus / 'toy' / file
    if file == 'meta.json':
        changed = META[kind][0](json.loads(path.read_text()))
        path.write_text(path.read_text()[:-50] if changed is None else json.dumps(changed))
    elif kind == 'gone':
        path.unlink()
    else:
        path.write_bytes(BYTES[kind](path.read_bytes()))
    with pytest.raises(ValueError) as error:
        load_corpus('toy')
    assert says in str(error.value) and '\n' not in str(error.value)
    assert str(error.value).startswith('data/toy') and 'prepare.py again' in str(error.value)


@pytest.mark.parametrize('names, says', [('none', 'python prepare.py none'), ('..', 'no such'),
                                         ('toy,toy', 'twice'), ('toy,,none', 'none'),
                                         ('toy\0', 'no such corpus')])
def test_names(corpus, names, says):
    """Forbids a traceback, or a corpus twice, for a name that is wrong."""
    with pytest.raises(ValueError, match=says):
        load_corpora(names)


@pytest.mark.parametrize('kind', ['to_bar', 'to_end', 'match', 'ids'])
def test_told_beyond_its_table(corpus, kind):
    """Forbids a number that is told and is looked up in the row of another table."""
    toy = load_corpus('toy')
    shape = toy['shape_of_told']
    rows = {'to_bar': shape['bar_steps'], 'to_end': shape['end_levels'],
            'match': shape['matches'], 'ids': toy['vocab_size']}[kind]
    column = columns_of_told(shape['columns'])[kind].start
    told = np.array(toy['val_told'])
    for number, is_whole in ((rows - 1, True), (rows, False)):
        told[5, column] = number
        told.tofile(corpus / 'toy' / 'val_told.bin')
        if is_whole:
            load_corpus('toy')
        else:
            with pytest.raises(ValueError, match='a number is too large'):
                load_corpus('toy')


@pytest.mark.parametrize('trained', [{'dataset': 'louder'},
                                     {'dataset': 'toy', 'extra': 'louder'}])
def test_what_a_model_was_trained_on_has_changed(corpus, trained):
    """Forbids pieces, of an extra corpus, too, that are read with another tokenizer than they were
    written with: samples would be looked up in nonsense; and held-out pieces of an extra corpus
    that say how much is shared by chance."""
    tokenizer = load_tokenizer(load_corpus('toy')['tokenizer'])
    shutil.copytree(corpus / 'toy', corpus / 'louder')
    pieces = load_trained_on(trained, tokenizer)
    assert len(pieces['train']) == (14 if 'extra' in trained else 7)
    assert len(pieces['val']) == 1
    path = corpus / 'louder' / 'meta.json'
    meta = json.loads(path.read_text())
    meta['tokenizer']['velocity'] = True
    path.write_text(json.dumps(meta))
    with pytest.raises(ValueError, match='data/louder is not as it was when the model learned'):
        load_trained_on(trained, tokenizer)


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
