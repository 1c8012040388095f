"""Text <-> ids: each test forbids one mistake. The oracle is a textbook BPE of its own: only the
pattern of the cuts is shared with the module."""
import inspect
import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import regex

sys.path.insert(0, str(Path(__file__).parent.parent))
import tokenizer_bpe
from tokenizer_bpe import (EOT, PATTERN, BPETokenizer, learn_merges, learn_merges_slowly, merge,
                           pretokenize)

PROSE = inspect.getsource(tokenizer_bpe) + inspect.getsource(sys.modules[__name__])
SCRIPTS = ['Hello world', 'Grüße, señor', 'Привет, мир', 'שלום עולם', 'مرحبا', 'नमस्ते दुनिया',
           '你好,世界', 'こんにちは', '안녕하세요', 'สวัสดี', '🎼🎹 👩‍👩‍👧‍👦 🇩🇪', 'e\u0301', 'ſ\'ſ',
           '\u2028\u00a0\u3000', '\ufeffx']
ODD = ['', ' ', '\n', '\r\n', 'a\r\n\r\nb\r', '\0', 'a\0b', '\t\t  x', 'x   \n   y  ', EOT,
       "it's I'LL they've", '1234567 1,000.50', '-' * 100 + '\n' * 100, ' ' * 100 + 'a',
       '\x1c\x1d\x85', '\U0010ffff\x7f']


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


@pytest.mark.parametrize('seed', range(40))
def test_merges_equal_the_textbook_on_random_text(seed):
    """Counts that drift: overlaps (aaa), ties, repeated chunks, a heap out of date."""
    rng = random.Random(seed)
    text = ''.join(rng.choices('ab' if seed % 2 else 'abcdé \n1.', k=rng.randrange(1, 900)))
    trained = BPETokenizer.train([text], 257 + 60)
    assert merges_of(trained) == textbook_train(text, 60)
    assert learn_merges_slowly(Counter(pretokenize(text)), 60) == textbook_train(text, 60)
    assert trained.encode(text) == textbook_encode(merges_of(trained), text)


def test_merges_equal_the_textbook_on_prose():
    text = PROSE[:9000]
    trained = BPETokenizer.train([text], 257 + 150)
    assert merges_of(trained) == textbook_train(text, 150)
    assert trained.encode(text) == textbook_encode(merges_of(trained), text)


def test_example_checked_by_hand():
    """aaabdaaabac, of Wikipedia's article: aa -> Z; then ab and Za stand twice each and the
    smaller pair of ids goes first: ZabdZabac -> ZYdZYac -> XdXac."""
    trained = BPETokenizer.train('aaabdaaabac', 257 + 3)
    assert merges_of(trained) == [(97, 97), (97, 98), (256, 257)]
    assert trained.encode('aaabdaaabac') == [258, 100, 258, 97, 99]


def test_examples_of_the_docstrings():
    """An example that is not what the code does; a pair that overlaps with itself."""
    assert merge([1, 2, 3, 1, 2], (1, 2), 9) == [9, 3, 9]
    assert merge([1, 1, 1, 1, 1], (1, 1), 9) == [9, 9, 1]
    for learn in (learn_merges, learn_merges_slowly):
        assert learn({'hug': 3, 'pug': 2}, 2) == [(117, 103), (104, 256)]
    assert pretokenize('Oh, dear!') == ['Oh', ',', ' dear', '!']
    assert pretokenize(b'\xff') == ['\udcff']


def test_ties_do_not_depend_on_order():
    """Ties broken by which pair was seen first: another order of documents, another vocabulary."""
    texts = ['low lower', ' newest', ' widest', 'low low'] * 2
    one, two = BPETokenizer.train(texts, 300), BPETokenizer.train(texts[::-1], 300)
    assert one.to_dict() == two.to_dict()


def test_training_stops_early():
    """minbpe's max() of an empty sequence on a short text."""
    for text, size in (('', 257), ('a', 257), ('abc', 257), ('abab', 258)):
        assert BPETokenizer.train([text], 300).vocab_size == size


def test_training_reads_pieces_and_bytes():
    """A str taken for an iterable of letters; bytes refused; a chunk across two documents."""
    whole = merges_of(BPETokenizer.train('the cat. the hat.', 270))
    assert whole and whole == merges_of(BPETokenizer.train(b'the cat. the hat.', 270))
    assert whole == merges_of(BPETokenizer.train(iter(['the cat.', b' the hat.']), 270))
    assert not merges_of(BPETokenizer.train(['a', 'b'] * 9, 270))


def test_training_refuses_a_vocabulary_without_room():
    """256 bytes and the special token always fit, or nothing can be spelt."""
    with pytest.raises(ValueError, match='256.*257'):
        BPETokenizer.train('abc', 256)


@pytest.mark.parametrize('text', SCRIPTS + ODD)
def test_round_trip(tokenizer, text):
    """Any text lost or changed: scripts, emoji, line ends, NUL, blanks."""
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text and tokenizer.decode_bytes(ids) == text.encode()
    assert ''.join(tokenizer.stream(ids)) == text
    assert tokenizer.count_units(ids) == len(text.encode())
    assert all(type(i) is int for i in ids)


def test_round_trip_of_every_code_point():
    """A character that no clause of the pattern takes would be lost; the cache fills the memory."""
    text = ''.join(chr(i) for i in range(0x110000) if not 0xD800 <= i < 0xE000)
    assert ''.join(regex.findall(PATTERN, text)) == text
    blank, text = BPETokenizer(), ''.join(f' {c}' for c in text[:90_000])
    assert blank.decode(blank.encode(text)) == text and len(blank.cache) <= 1 << 16


def test_round_trip_of_random_bytes(tokenizer):
    """Bytes that are no UTF-8 replaced by U+FFFD on the way in."""
    rng = random.Random(1)
    odd = [b'\xff', b'\xc3', b'a\xe2\x82', b'\xed\xa0\x80', b'\xf8\x88\x80\x80\x80']
    for data in odd + [rng.randbytes(rng.randrange(60)) for _ in range(1000)]:
        ids, shown = tokenizer.encode(data), data.decode('utf-8', 'replace')
        assert tokenizer.decode_bytes(ids) == data
        assert tokenizer.decode(ids) == shown == ''.join(tokenizer.stream(ids))


def test_lone_surrogates_do_not_pass_silently(tokenizer):
    """Half an emoji (no text) turned into something else without a word."""
    with pytest.raises(ValueError):
        tokenizer.encode('\ud83d')


def test_encoding_again_gives_the_same(tokenizer):
    """A caller edits the list it got, and thereby the cache; two tokenizers share one cache."""
    before = tokenizer.encode(' the')
    tokenizer.encode(' the').append(0)
    assert tokenizer.encode(' the') == before
    one, two = BPETokenizer.train('ab' * 9, 258), BPETokenizer.train('bc' * 9, 258)
    assert one.encode('ab') == two.encode('bc') == [256] and two.encode('ab') == [97, 98]


def test_clauses_of_the_pattern():
    """A change to the pattern changes what every saved id means."""
    chunks = regex.findall(PATTERN, "It's 12345 o'clock!\r\n  So a \n\n  b")
    assert chunks == ['It', "'s", ' ', '123', '45', ' o', "'clock", '!\r\n', ' ', ' So', ' a',
                      ' \n\n', ' ', ' b']


def test_no_chunk_is_longer_than_the_limit():
    """A limit that refuses what training can make."""
    texts = [' ' + '𝄞' * 32 + '\n' * 99, ' ' + '𐐷' * 99, '\u3000' * 99 + '\n', '\U0001d7ff' * 9]
    longest = max(len(c.encode()) for text in texts for c in regex.findall(PATTERN, text))
    assert longest == tokenizer_bpe.LONGEST_CHUNK


def test_decode_refuses_foreign_ids(tokenizer):
    """A negative id taken from the end of a list."""
    for i in (-1, tokenizer.vocab_size):
        pytest.raises(KeyError, tokenizer.decode, [i])


def test_stream_never_shows_half_a_character():
    """Token-by-token decoding prints U+FFFD for a character spread over two tokens."""
    blank, text = BPETokenizer(), '𝄞 é 你 ok'
    pieces = list(blank.stream(blank.encode(text)))
    assert ''.join(pieces) == text and pieces[0] == '𝄞'
    assert ''.join(blank.stream([0xC3])) == '\ufffd'            # one that never becomes whole
    assert next(blank.stream(iter(lambda: 97, None))) == 'a'    # yields before its input ends


@pytest.mark.parametrize('kind', [str, bytes])
def test_special_token_only_when_asked(tokenizer, kind):
    """A user who types the name of the end token ends the document."""
    text = f'a {EOT}{EOT}b' if kind is str else f'a {EOT}{EOT}b'.encode()
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
    text = PROSE + 'é你🎼' + EOT
    assert after.encode(text, special=True) == before.encode(text, special=True)
    shown = (tmp_path / 't.json').read_text('utf-8')
    assert regex.search(r"\"\d+ = \d+ \+ \d+ 'hug'\"", shown) and '你' in shown and EOT in shown


def bomb(d):
    """Each token twice as long as the one before."""
    rows = ["256 = 97 + 97 'aa'"] + [f"{i} = {i - 1} + {i - 1} 'aa'" for i in range(257, 297)]
    return {**d, 'merges': rows}


REFUSED = {      # how a file is damaged, and a word that the message must have
    'no object': (lambda d: [], 'to_dict'),
    'foreign file': (lambda d: {'hello': 1}, 'to_dict'),
    'other kind': (lambda d: {**d, 'kind': 'midi'}, "of kind 'midi'"),
    'unknown version': (lambda d: {**d, 'version': 2}, 'to_dict'),
    'other pattern': (lambda d: {**d, 'pattern': '(a+)+b'}, 'to_dict'),
    'no merges': (lambda d: {k: v for k, v in d.items() if k != 'merges'}, 'to_dict'),
    'missing rank': (lambda d: {**d, 'merges': d['merges'][:1] + d['merges'][2:]}, 'to_dict'),
    'order': (lambda d: {**d, 'merges': d['merges'][::-1]}, 'to_dict'),
    'last rank missing': (lambda d: {**d, 'merges': d['merges'][:-1]}, 'to_dict'),
    'rank twice': (lambda d: {**d, 'merges': d['merges'][:2] + d['merges'][1:]},
                   'needs a new pair'),
    'pair twice': (lambda d: {**d, 'merges': ["256 = 97 + 98 'ab'", "257 = 97 + 98 'ab'"]},
                   '257 = 97 + 98: needs a new pair'),
    'not minted': (lambda d: {**d, 'merges': ["256 = 97 + 300 'a?'"]}, 'below 256'),
    'huge id': (lambda d: {**d, 'merges': ["256 = 97 + 99999999999 'a?'"]}, 'to_dict'),
    'another text': (lambda d: {**d, 'merges': ["256 = 97 + 98 'xy'"]}, 'to_dict'),
    'merge of lists': (lambda d: {**d, 'merges': [[97, 98]]}, 'to_dict'),
    'bomb': (bomb, 'bytes at most'),
    'special moved': (lambda d: {**d, 'special_tokens': {EOT: 7}}, 'to_dict'),
    'key unknown': (lambda d: {**d, 'more': 1}, 'to_dict'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_refusals_are_one_line(tmp_path, name):
    """A damaged file that loads, and encodes differently, or dies in a traceback."""
    change, word = REFUSED[name]
    good = BPETokenizer.train('hug hug pug pug bug bug', 260).to_dict()
    with pytest.raises(ValueError) as error:
        BPETokenizer.from_dict(change(good))
    (tmp_path / 't.json').write_text(json.dumps({'tokenizer': change(good)}), 'utf-8')
    with pytest.raises(ValueError, match='t.json') as again:
        BPETokenizer.load(tmp_path / 't.json')
    for message in map(str, (error.value, again.value)):
        assert word in message and 'train' in message and '\n' not in message


def test_truncated_files_are_refused(tmp_path):
    """Half a file, at any length, or one that is not text at all."""
    path = tmp_path / 't.json'
    BPETokenizer.train('hug hug pug é é', 260).save(path)
    data = path.read_bytes()
    for part in [data[:n] for n in range(0, len(data) - 1, 5)] + [b'\xff\xfe', b'[' * 100_000]:
        path.write_bytes(part)
        with pytest.raises(ValueError, match='t.json.*make it') as error:
            BPETokenizer.load(path)
        assert '\n' not in str(error.value)


@pytest.mark.parametrize('letters', ['a', 'abcdefghijklmnopqrstuvwxyz', ' ', '0123456789'])
def test_time_grows_with_the_length(letters):
    """Quadratic blow-up on a run of one letter, of random letters, of blanks, of digits."""
    rng = random.Random(3)
    short, long = (''.join(rng.choices(letters, k=k)) for k in (8_000, 64_000))

    def seconds(work, text):
        best = 9e9
        for _ in range(3):
            start = time.process_time()
            work(text)
            best = min(best, time.process_time() - start)
        return best

    def encode(text):
        BPETokenizer.train('hug hug abab 11 11', 300).encode(text)

    for work in (encode, lambda text: BPETokenizer.train([text], 300)):
        assert seconds(work, long) <= 16 * seconds(work, short)


def test_a_megabyte_without_a_blank(tokenizer):
    """A long line that is one chunk, and so never ends."""
    text = ''.join(random.Random(4).choices('abcdefghij', k=1_000_000))
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_explain_agrees_with_encode(tokenizer):
    """The lesson shows other ids than the tokenizer gives."""
    text = "Hello, it's the tokenizer\n é"
    shown = tokenizer.explain(text).splitlines()
    ids = [json.loads(line.split('ids ')[1]) for line in shown if line.startswith('    ids [')]
    assert sum(ids, []) == tokenizer.encode(text)
    assert any('74 68 65' in line for line in shown) and "    't' 'h' 'e'" not in shown[:1]


def test_command_line():
    """A missing corpus ends in a traceback; a plain text shows nothing."""
    def run(*args):
        return subprocess.run([sys.executable, tokenizer_bpe.__file__, *args], text=True,
                              capture_output=True, encoding='utf-8')
    good, bad = run('the tokenizer, é'), run('text', '--dataset=no_such_corpus')
    assert good.returncode == 0 and 'ids [' in good.stdout and not good.stderr
    assert bad.returncode == 1 and not bad.stdout and bad.stderr.count('\n') == 1
    assert 'no_such_corpus' in bad.stderr and 'prepare.py' in bad.stderr
