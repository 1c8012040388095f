"""Text <-> ids: each test forbids one mistake. The oracle is a textbook BPE of its own: only the
pattern of the cuts is shared with the module."""
import inspect
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import regex

sys.path.insert(0, str(Path(__file__).parent.parent))
import tokenizer_bpe
from tokenizer_bpe import (EOT, LONGEST_CHUNK, PATTERN, BPETokenizer, Config, learn_merges_slowly,
                           main, pretokenize)

PROSE = inspect.getsource(tokenizer_bpe) + inspect.getsource(sys.modules[__name__])
SCRIPTS = ['Hello world', 'Grüße, señor', 'Привет, мир', 'שלום עולם', 'مرحبا', 'नमस्ते दुनिया',
           '你好,世界', 'こんにちは', '안녕하세요', 'สวัสดี', '🎼🎹 👩‍👩‍👧‍👦 🇩🇪', 'e\u0301', 'ſ\'ſ',
           '\u2028\u00a0\u3000', '\ufeffx']
ODD = ['', ' ', '\n', '\r\n', 'a\r\n\r\nb\r', '\0', 'a\0b', '\t\t  x', 'x   \n   y  ', EOT,
       "it's I'LL they've", '1234567 1,000.50', '-' * 100 + '\n' * 100, ' ' * 100 + 'a',
       '\x1c\x1d\x85', '\U0010ffff\x7f']
BYTES = [b'\xff', b'\xc3', b'a\xe2\x82', b'\xed\xa0\x80', b'\xf8\x88\x80\x80\x80',
         random.Random(1).randbytes(5000)]


def replaced(ids, pair, new):
    """Walks by index, from the left."""
    out, i = [], 0
    while i < len(ids):
        hit = tuple(ids[i:i + 2]) == pair
        out.append(new if hit else ids[i])
        i += 1 + hit
    return out


def textbook_train(text, n_merges):
    """Recounts every pair of every chunk for every merge: slow, and plainly right."""
    words = [list(chunk.encode()) for chunk in regex.findall(PATTERN, text)]
    merges = []
    while len(merges) < n_merges:
        counts = Counter(pair for ids in words for pair in zip(ids, ids[1:]))
        best = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if best is None or counts[best] < 2:
            break
        words = [replaced(ids, best, 256 + len(merges)) for ids in words]
        merges.append(best)
    return merges


def textbook_encode(merges, text):
    """One merge after the other over every chunk, in the order learnt."""
    ids = []
    for chunk in regex.findall(PATTERN, text):
        part = list(chunk.encode())
        for new, pair in enumerate(merges, 256):
            part = replaced(part, pair, new)
        ids += part
    return ids


def merges_of(tokenizer):
    """[(117, 103), ...], read off what it saves."""
    return [tuple(map(int, row.split()[2:5:2])) for row in tokenizer.to_dict()['merges']]


@pytest.fixture(scope='module')
def tokenizer():
    return BPETokenizer.train([PROSE], 600)


@pytest.mark.parametrize('seed', range(13))
def test_merges_equal_the_textbook(seed):
    """Counts that drift: overlaps (aaa), ties, repeated chunks, a heap out of date; in prose (seed
    0) and in random text."""
    rng = random.Random(seed)
    text = ''.join(rng.choices('ab' if seed % 2 else 'abcdé \n1.', k=rng.randrange(1, 900)))
    if seed == 0:
        text = PROSE[:3000]
    trained = BPETokenizer.train([text], 257 + 60)
    merges = textbook_train(text, 60)
    assert merges_of(trained) == merges
    assert learn_merges_slowly(Counter(pretokenize(text)), 60) == merges
    assert trained.encode(text) == textbook_encode(merges, text)


@pytest.mark.parametrize('texts, merges', [
    # aaabdaaabac, of Wikipedia's article: aa -> Z; then ab and Za stand twice each and the smaller
    # pair of ids goes first: ZabdZabac -> ZYdZYac -> XdXac
    ('aaabdaaabac', [(97, 97), (97, 98), (256, 257)]),
    (['hug', 'pug', 'hug', 'pug', 'hug'], [(117, 103), (104, 256), (112, 256)]),
    ('', []), ('a', []), ('abc', []), ('abab', [(97, 98)]), (b'abab', [(97, 98)]),
    (iter(['ab', b'ab']), [(97, 98)]), (['a', 'b'] * 9, [])])
def test_examples_checked_by_hand(texts, merges):
    """minbpe's max() of an empty sequence on a short text; a str taken for an iterable of letters;
    bytes refused; a chunk across two documents."""
    assert merges_of(BPETokenizer.train(texts, 257 + 3)) == merges


def test_training_refuses_a_vocabulary_without_room():
    """256 bytes and the special token always fit, or nothing can be spelt."""
    with pytest.raises(ValueError, match='256.*257'):
        BPETokenizer.train('abc', 256)


@pytest.mark.parametrize('text', SCRIPTS + ODD + BYTES)
def test_round_trip(tokenizer, text):
    """Any text lost or changed: scripts, emoji, line ends, NUL, blanks; bytes that are no UTF-8
    replaced by U+FFFD on the way in."""
    data = text if isinstance(text, bytes) else text.encode()
    ids, shown = tokenizer.encode(text), data.decode('utf-8', 'replace')
    assert tokenizer.decode_bytes(ids) == data
    assert tokenizer.decode(ids) == shown == ''.join(tokenizer.stream(ids))
    assert tokenizer.count_units(ids) == len(data)
    assert all(type(i) is int for i in ids)


def test_round_trip_of_every_code_point():
    """A character that no clause of the pattern takes would be lost; the cache fills the memory."""
    text = ''.join(chr(i) for i in range(0x110000) if not 0xD800 <= i < 0xE000)
    assert ''.join(regex.findall(PATTERN, text)) == text
    blank, text = BPETokenizer(), ''.join(f' {c}' for c in text[:70_000])
    assert blank.decode(blank.encode(text)) == text and len(blank.cache) <= 1 << 16


def test_what_is_no_text_and_no_id(tokenizer):
    """Half an emoji turned into something else without a word; a negative id taken from the end of
    a list."""
    with pytest.raises(ValueError):
        tokenizer.encode('\ud83d')
    for i in (-1, tokenizer.vocab_size):
        pytest.raises(KeyError, tokenizer.decode, [i])


def test_encoding_again_gives_the_same(tokenizer):
    """A caller edits the list it got, and thereby the cache; two tokenizers share one cache."""
    before = tokenizer.encode(' the')
    tokenizer.encode(' the').append(0)
    assert tokenizer.encode(' the') == before
    one, two = BPETokenizer.train('ab' * 9, 258), BPETokenizer.train('bc' * 9, 258)
    assert one.encode('ab') == two.encode('bc') == [256] and two.encode('ab') == [97, 98]


def test_clauses_of_the_pattern():
    """A change to the pattern changes what every saved id means."""
    chunks = regex.findall(PATTERN, "'Tis it's 12345 o'clock!\r\n  So a \n\n  b")
    assert chunks == ["'T", 'is', ' it', "'s", ' ', '123', '45', ' o', "'clock", '!\r\n', ' ',
                      ' So', ' a', ' \n\n', ' ', ' b']


def test_no_chunk_is_longer_than_the_limit():
    """A line without a blank, or of nothing else, that is one chunk and so never ends; and a limit
    that refuses what training can make."""
    letters = ''.join(random.Random(4).choices('abcdefghij', k=999))
    texts = [' ' + '𝄞' * 32 + '\n' * 99, ' ' + '𐐷' * 99, '\u3000' * 99 + '\n', '\U0001d7ff' * 9,
             letters, '1' * 999, '-' * 999, ' ' * 999, ' ' * 999 + 'a', '\n' * 999, ' ' * 99 + '\n']
    chunks = [chunk for text in texts for chunk in regex.findall(PATTERN, text)]
    assert max(len(chunk.encode()) for chunk in chunks) == LONGEST_CHUNK
    assert max(len(chunk) for chunk in chunks) == 1 + 32 + 32


def test_stream_never_shows_half_a_character():
    """Token-by-token decoding prints U+FFFD for a character spread over two tokens."""
    blank, text = BPETokenizer(), '𝄞 é 你 ok'
    pieces = list(blank.stream(blank.encode(text)))
    assert ''.join(pieces) == text and pieces[0] == '𝄞'
    assert ''.join(blank.stream([0xC3])) == '\ufffd'            # one that never becomes whole
    assert next(blank.stream(iter(lambda: 97, None))) == 'a'    # yields before its input ends


@pytest.mark.parametrize('text', [f'a {EOT}{EOT}b', f'a {EOT}{EOT}b'.encode()])
def test_special_token_only_when_asked(tokenizer, text):
    """A user who types the name of the end token ends the document."""
    marked = tokenizer.encode(text, special=True)
    assert marked == [97, 32, tokenizer.end, tokenizer.end, 98]
    assert tokenizer.end not in tokenizer.encode(text)
    for ids in (marked, tokenizer.encode(text)):
        assert tokenizer.decode(ids) == f'a {EOT}{EOT}b'
    assert tokenizer.count_units(marked) == 3
    assert tokenizer.end == tokenizer.vocab_size - 1 == 256 + len(tokenizer.merges)
    assert tokenizer.augment_table() == [list(range(tokenizer.vocab_size))]


def test_save_and_load_mean_the_same(tmp_path):
    """A saved tokenizer gives the same text other ids, or cannot be read by a person."""
    before = BPETokenizer.train(PROSE[:3000] + 'é你🎼\0\r\n"' * 9 + 'hug ' * 99, 400)
    before.save(tmp_path / 't.json')
    after = BPETokenizer.load(tmp_path / 't.json')
    assert after.to_dict() == before.to_dict() == json.loads(json.dumps(before.to_dict()))
    text = PROSE[:3000] + 'é你🎼' + EOT
    assert after.encode(text, special=True) == before.encode(text, special=True)
    shown = (tmp_path / 't.json').read_text('utf-8')
    assert regex.search(r"\"\d+ = \d+ \+ \d+ 'hug'\"", shown) and '你' in shown and EOT in shown


GOOD = BPETokenizer.train('hug hug pug pug bug bug', 260).to_dict()
ROWS = GOOD['merges']
BOMB = [f"{i} = {i - 1} + {i - 1} 'aa'" for i in range(257, 297)]        # each twice as long
REFUSED = {      # what a file says, and a word that the message must have
    'no object': ([], 'to_dict'),
    'foreign file': ({'hello': 1}, 'to_dict'),
    'other kind': ({**GOOD, 'kind': 'midi'}, "of kind 'midi'"),
    'unknown version': ({**GOOD, 'version': 2}, 'to_dict'),
    'other pattern': ({**GOOD, 'pattern': '(a+)+b'}, 'to_dict'),
    'special moved': ({**GOOD, 'special_tokens': {EOT: 7}}, 'to_dict'),
    'key unknown': ({**GOOD, 'more': 1}, 'to_dict'),
    'merge of lists': ({**GOOD, 'merges': [[97, 98]]}, 'to_dict'),
    'missing rank': ({**GOOD, 'merges': ROWS[:1] + ROWS[2:]}, 'to_dict'),
    'pair twice': ({**GOOD, 'merges': ["256 = 97 + 98 'ab'", "257 = 97 + 98 'ab'"]},
                   '257 = 97 + 98: needs a new pair'),
    'merge of itself': ({**GOOD, 'merges': ["256 = 256 + 97 '?a'"]}, 'below 256'),
    'not minted': ({**GOOD, 'merges': ["256 = 97 + 300 'a?'"]}, 'below 256'),
    'huge id': ({**GOOD, 'merges': ["256 = 97 + 99999999999 'a?'"]}, 'to_dict'),
    'another text': ({**GOOD, 'merges': [ROWS[0].replace("'ug'", "'xy'"), *ROWS[1:]]}, 'to_dict'),
    'bomb': ({**GOOD, 'merges': ["256 = 97 + 97 'aa'", *BOMB]}, 'bytes at most'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_refusals_are_one_line(tmp_path, name):
    """A damaged file that loads, and encodes differently, or dies in a traceback."""
    damaged, word = REFUSED[name]
    with pytest.raises(ValueError) as error:
        BPETokenizer.from_dict(damaged)
    (tmp_path / 't.json').write_text(json.dumps({'tokenizer': damaged}), 'utf-8')
    with pytest.raises(ValueError, match='t.json') as again:
        BPETokenizer.load(tmp_path / 't.json')
    for message in map(str, (error.value, again.value)):
        assert word in message and 'train' in message and '\n' not in message


def test_truncated_files_are_refused(tmp_path):
    """Half a file, at any length, or one that is not text at all."""
    path = tmp_path / 't.json'
    BPETokenizer.train('hug hug pug é é', 260).save(path)
    data = path.read_bytes()
    for part in [data[:n] for n in range(0, len(data) - 1, 40)] + [b'\xff\xfe', b'[' * 100_000]:
        path.write_bytes(part)
        with pytest.raises(ValueError, match='t.json.*make it') as error:
            BPETokenizer.load(path)
        assert '\n' not in str(error.value)


def test_what_is_recalled():
    """Forbids a run that is told shorter than it is, at the beginning of a text, too, and what came
    the first time, not the last."""
    listener = BPETokenizer().listener()
    told = [listener.hear(id) for id in b'ab1ab2' + b'qrstuvwx3' + b'qrstuvwx4' + b'qrstuvwx']
    assert told[4] == [5, 1, ord('1')]
    assert [(match, chr(id)) for _, match, id in told[-8:]] == [
        (0, '\0'), *zip(range(1, 7), 'stuvwx'), (7, '4')]


def test_the_longest_token_is_read_back():
    """Forbids a tokenizer that is refused for a token that is as long as a chunk may be."""
    ids = [97, *range(256, 263)]                 # of 1, 2, 4 ... 128 letters
    merges = [(id, id) for id in ids[:-1]] + [(262, 260), (263, 97)]
    again = BPETokenizer.from_dict(BPETokenizer(merges).to_dict())
    assert len(again.decode([264])) == LONGEST_CHUNK
    with pytest.raises(ValueError, match='161 bytes at most'):
        BPETokenizer.from_dict(BPETokenizer([*merges, (264, 97)]).to_dict())


def test_explain_agrees_with_encode(capsys):
    """The lesson shows other ids than the tokenizer gives, and not how it came to them."""
    text = "Hello, it's the tokenizer\n é"
    main(Config(text))
    shown = capsys.readouterr().out.splitlines()
    ids = [json.loads(line.split('ids ')[1]) for line in shown if line.startswith('    ids [')]
    trained = BPETokenizer.train(Path(tokenizer_bpe.__file__).read_text('utf-8'), 512)
    assert sum(ids, []) == trained.encode(text)
    the = shown[shown.index("' the': bytes 20 74 68 65"):]
    assert the[1] == "    ' ' 't' 'h' 'e'" and "    ' the'" in the


def test_command_line():
    """A missing corpus ends in a traceback, or as if all were well."""
    done = subprocess.run([sys.executable, tokenizer_bpe.__file__, 'x', '--dataset=no_such_corpus'],
                          text=True, capture_output=True, encoding='utf-8')
    assert done.returncode == 1 and not done.stdout and done.stderr.count('\n') == 1
    assert 'no_such_corpus' in done.stderr and 'prepare.py' in done.stderr
