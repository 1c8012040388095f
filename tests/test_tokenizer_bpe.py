"""Text <-> ids: each test forbids one mistake. The textbook trainer stands here as the oracle."""
import inspect
import json
import random
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))
import tokenizer_bpe
from tokenizer_bpe import EOT, PATTERN, BPETokenizer, as_ids, merge

PROSE = inspect.getsource(tokenizer_bpe) + inspect.getsource(sys.modules[__name__])
WHOLE = '(?s:.+)'       # a pattern that does not cut at all
SCRIPTS = ['Hello world', 'Grüße, señor', 'Привет, мир', 'שלום עולם', 'مرحبا', 'नमस्ते दुनिया', '你好,世界',
           'こんにちは', '안녕하세요', 'สวัสดี', '🎼🎹 👩‍👩‍👧‍👦 🇩🇪', 'e\u0301', 'ſ\'ſ', '\u2028\u00a0\u3000', '\ufeffx']
ODD = ['', ' ', '\n', '\r\n', 'a\r\n\r\nb\r', '\0', 'a\0b', '\t\t  x', 'x   \n   y  ', "it's I'LL they've", '1234567 1,000.50',
       '-' * 100 + '\n' * 100, ' ' * 100 + 'a', '\x1c\x1d\x85', '<|endoftext|>', '\U0010ffff\x7f']


def textbook(text, n_merges, pattern=PATTERN):
    """Recounts every pair of every chunk for every merge: slow, and plainly right."""
    words, merges = [as_ids(chunk) for chunk in BPETokenizer([], pattern).splitter.findall(text)], []
    while len(merges) < n_merges:
        counts = Counter(pair for ids in words for pair in pairwise(ids))
        best = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if best is None or counts[best] < 2:
            break
        words = [merge(ids, best, 256 + len(merges)) for ids in words]
        merges.append(best)
    return merges


def slow_encode(tokenizer, chunk):
    """One merge over the whole chunk for every rank there is, in order."""
    ids = as_ids(chunk)
    for pair, new in tokenizer.merges.items():
        ids = merge(ids, pair, new)
    return ids


@pytest.fixture(scope='module')
def tokenizer():
    return BPETokenizer.train(PROSE, 600)


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# --- training ---

@pytest.mark.parametrize('seed', range(40))
def test_merges_equal_the_textbook_on_random_text(seed):
    """Counts kept up to date by hand drift: overlaps (aaa), ties, repeated chunks."""
    rng = random.Random(seed)
    letters = 'ab' if seed % 2 else 'abcdé \n1.'
    text = ''.join(rng.choices(letters, k=rng.randrange(1, 600)))
    pattern = WHOLE if seed % 4 < 2 else PATTERN
    trained = BPETokenizer.train(text, 257 + 60, pattern)
    assert list(trained.merges) == textbook(text, 60, pattern)


def test_merges_equal_the_textbook_on_prose():
    """A heap with out-of-date counts picks the wrong pair only after many merges of real text."""
    assert list(BPETokenizer.train(PROSE, 257 + 150).merges) == textbook(PROSE, 150)


def test_example_checked_by_hand():
    """aaabdaaabac, the example of Wikipedia's article: aa -> Z; then ab (97, 98), Za (256, 97) stand twice
    each and the smaller pair goes first: ZabdZabac -> ZYdZYac -> XdXac."""
    trained = BPETokenizer.train('aaabdaaabac', 257 + 3)
    assert list(trained.merges) == [(97, 97), (97, 98), (256, 257)]
    assert trained.encode('aaabdaaabac') == [258, 100, 258, 97, 99]


def test_ties_do_not_depend_on_order():
    """Ties broken by which pair was seen first: another order of documents, another vocabulary."""
    texts = ['low lower', ' newest', ' widest', 'low low'] * 2
    assert (BPETokenizer.train(texts, 300).merges == BPETokenizer.train(texts[::-1], 300).merges)


def test_merge_is_from_the_left():
    """Overlapping pairs merged from the wrong side, or twice."""
    assert merge([1] * 5, (1, 1), 9) == [9, 9, 1]
    assert merge([], (1, 1), 9) == [] and merge([1, 2, 1], (2, 1), 9) == [1, 9]


def test_training_stops_with_a_word(capsys):
    """minbpe's max() of an empty sequence on a short text."""
    for text, size in (('', 257), ('a', 257), ('abc', 257), ('abab', 258)):
        assert BPETokenizer.train(text, 300).vocab_size == size
        out = capsys.readouterr().out
        assert out.count('\n') == 1 and f'{size} of 300' in out
    BPETokenizer.train('abab', 258)
    assert capsys.readouterr().out == ''


def test_training_reads_pieces_and_bytes():
    """A str taken for an iterable of letters; bytes refused; chunks that reach across two documents."""
    whole = BPETokenizer.train('the cat. the hat.', 270).merges
    assert whole == BPETokenizer.train(b'the cat. the hat.', 270).merges
    assert whole == BPETokenizer.train(iter(['the cat.', b' the hat.']), 270).merges
    assert not BPETokenizer.train(['a', 'b'] * 9, 270).merges


def test_training_refuses_a_vocabulary_without_room():
    """256 bytes and the special token always fit, or nothing can be spelt."""
    with pytest.raises(ValueError, match='256.*257'):
        BPETokenizer.train('abc', 256)


# --- encoding and decoding ---

@pytest.mark.parametrize('text', SCRIPTS + ODD)
def test_round_trip(tokenizer, text):
    """Any text lost or changed: scripts, emoji, line ends, NUL, blanks."""
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text and tokenizer.decode_bytes(ids) == text.encode()
    assert ''.join(tokenizer.stream(ids)) == text
    assert tokenizer.count_units(ids) == len(text.encode())


def test_round_trip_of_every_code_point(tokenizer):
    """A character that no clause of the pattern takes would be lost."""
    text = ''.join(chr(i) for i in range(0x110000) if not 0xD800 <= i < 0xE000)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_round_trip_of_random_bytes(tokenizer):
    """Bytes that are no UTF-8 replaced by U+FFFD on the way in."""
    rng = random.Random(1)
    for data in [b'\xff', b'\xc3', b'a\xe2\x82', b'\xed\xa0\x80', b'\xf8\x88\x80\x80\x80'] + [
            rng.randbytes(rng.randrange(60)) for _ in range(2000)]:
        ids = tokenizer.encode(data)
        assert tokenizer.decode_bytes(ids) == data
        assert tokenizer.decode(ids) == data.decode('utf-8', 'replace') == ''.join(tokenizer.stream(ids))


def test_lone_surrogates_do_not_pass_silently(tokenizer):
    """Half an emoji (no text) turned into something else without a word."""
    with pytest.raises(ValueError):
        tokenizer.encode('\ud83d')


def test_encoding_equals_the_slow_one(tokenizer):
    """Merges out of order: longest match or first match in place of oldest merge."""
    rng = random.Random(2)
    chunks = tokenizer.splitter.findall(PROSE) + [''.join(rng.choices('the r=', k=30)) for _ in range(99)]
    for chunk in set(chunks):
        assert tokenizer.encode_chunk(chunk) == slow_encode(tokenizer, chunk)


def test_cached_ids_cannot_be_spoilt(tokenizer):
    """A caller that edits the list it got edits the cache."""
    ids = tokenizer.encode(' the')
    before = list(ids)
    ids.append(0)
    assert tokenizer.encode(' the') == before


def test_two_tokenizers_do_not_share_ids():
    """A cache keyed by the chunk alone answers with another tokenizer's ids."""
    one, two = BPETokenizer([(97, 98)]), BPETokenizer([(98, 99), (97, 98)])
    assert one.encode('ab') == [256] and two.encode('ab') == [257]


def test_the_cache_is_bounded():
    """Encoding a large corpus must not fill the memory."""
    blank = BPETokenizer([])
    blank.encode(''.join(f' {chr(i)}' for i in range(0xe000, 0x1f000)))     # all of them different
    assert 0 < len(blank.cache) <= 1 << 16


def test_clauses_of_the_pattern(tokenizer):
    """A change to the pattern changes what every saved id means."""
    cut = tokenizer.splitter.findall
    assert cut("It's 12345 o'clock!\r\n  So ") == ['It', "'s", ' ', '123', '45', ' o', "'clock", '!\r\n', ' ', ' So', ' ']
    assert cut('a \n\n  b') == ['a', ' \n\n', ' ', ' b']
    assert max(map(len, cut('x' * 999 + ' ' * 999 + '-' * 999 + '\n' * 999))) < 70


def test_a_pattern_that_leaves_text_out_loses_none():
    """findall drops whatever its pattern does not match."""
    trained = BPETokenizer.train('a-b-c 1-2', 270, pattern=r'[a-z]+')
    assert trained.decode(trained.encode('x-y\n 1')) == 'x-y\n 1'
    with pytest.raises(ValueError, match=r'\(\?:'):
        BPETokenizer([], pattern='(a)|b')


def test_decode_refuses_foreign_ids(tokenizer):
    """A negative id taken from the end of a list; an id past the end as a bare KeyError."""
    for i in (-1, tokenizer.vocab_size):
        with pytest.raises(ValueError, match=f'{i}.*{tokenizer.vocab_size - 1}'):
            tokenizer.decode([i])


def test_stream_never_shows_half_a_character():
    """Token-by-token decoding prints U+FFFD for a character spread over two tokens."""
    blank, text = BPETokenizer([]), '𝄞 é 你 ok'
    pieces = list(blank.stream(blank.encode(text)))
    assert ''.join(pieces) == text and '\ufffd' not in ''.join(pieces)
    assert pieces[0] == '𝄞'
    assert ''.join(blank.stream([0xC3])) == '\ufffd'            # one that never becomes whole
    endless = blank.stream(iter(lambda: 97, None))
    assert next(endless) == 'a'                                 # yields before its input ends


# --- special tokens ---

def test_special_tokens_only_when_asked(tokenizer):
    """A user who types the name of the end token ends the document."""
    text = f'a{EOT}b'
    assert tokenizer.eot not in tokenizer.encode(text)
    assert tokenizer.encode(text, special=True) == [97, tokenizer.eot, 98]
    assert tokenizer.decode(tokenizer.encode(text, special=True)) == text
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.count_units([97, tokenizer.eot, 98]) == 2
    assert tokenizer.eot == tokenizer.vocab_size - 1 == 256 + len(tokenizer.merges)


def test_special_tokens_that_contain_each_other_or_signs():
    """The shorter name wins over the longer; a name with | or blanks is read as a pattern."""
    several = BPETokenizer([], specials=(EOT, '<a>', '<a> <b>', '.*|'))
    assert several.encode('<a> <b>.*|<a>x', special=True) == [258, 259, 257, 120]
    again = BPETokenizer.from_dict(several.to_dict())
    assert again.encode('<a> <b>.*|<a>x', special=True) == [258, 259, 257, 120]


# --- contract ---

def test_contract(tokenizer):
    """The rest of the repo reads these."""
    assert tokenizer.augment_table() == [list(range(tokenizer.vocab_size))]
    assert tokenizer.grammar() is None
    assert all(type(i) is int for i in tokenizer.encode(PROSE[:999]))


# --- save and load ---

@pytest.mark.parametrize('pattern', [PATTERN, WHOLE, r'\p{Lu}| +|"\\'])
def test_save_and_load_mean_the_same(tmp_path, pattern):
    """minbpe: another pattern was lost in save and load, and the same text got other ids."""
    before = BPETokenizer.train(PROSE[:3000] + 'é你🎼\0\r\n"' * 9, 330, pattern, (EOT, '< x >\n'))
    before.save(tmp_path / 't.json')
    after = BPETokenizer.load(tmp_path / 't.json')
    assert (after.pattern, after.specials, after.merges, after.vocab, after.eot) == (
        before.pattern, before.specials, before.merges, before.vocab, before.eot)
    text = PROSE[3000:6000] + 'é你🎼< x >\n'
    assert after.encode(text, special=True) == before.encode(text, special=True)
    assert after.to_dict() == before.to_dict() == json.loads(json.dumps(before.to_dict(), sort_keys=True))


def test_the_saved_file_is_for_people(tmp_path):
    """A tokenizer that nobody can open and read."""
    BPETokenizer.train('hug hug pug', 259).save(tmp_path / 't.json')
    text = (tmp_path / 't.json').read_text(encoding='utf-8')
    assert '"256 = 117 + 103 \'ug\'"' in text and EOT in text


def edit(d, **changes):
    return {**d, **changes}


REFUSED = {
    'no object': (lambda d: [], 'whole'),
    'foreign file': (lambda d: {'hello': 1}, 'kind'),
    'other kind': (lambda d: edit(d, kind='midi'), 'midi'),
    'unknown version': (lambda d: edit(d, version=2), 'version 2'),
    'no pattern': (lambda d: edit(d, pattern=None), ''),
    'broken pattern': (lambda d: edit(d, pattern='(?:a'), 'error'),
    'no merges': (lambda d: {k: v for k, v in d.items() if k != 'merges'}, 'merges'),
    'missing rank': (lambda d: edit(d, merges=d['merges'][:1] + d['merges'][2:]), '257'),
    'last rank missing': (lambda d: edit(d, merges=d['merges'][:-1]), 'missing'),
    'rank twice': (lambda d: edit(d, merges=d['merges'][:2] + d['merges'][1:]), '257'),
    'pair twice': (lambda d: edit(d, merges=["256 = 97 + 98 'ab'", "257 = 97 + 98 'ab'"]), '256'),
    'id not minted': (lambda d: edit(d, merges=["256 = 97 + 300 'a?'"]), '300'),
    'id of itself': (lambda d: edit(d, merges=["256 = 97 + 256 'a?'"]), '256'),
    'negative id': (lambda d: edit(d, merges=["256 = 97 + -1 'a?'"]), '-1'),
    'another text': (lambda d: edit(d, merges=["256 = 97 + 98 'xy'"]), 'xy'),
    'no merge': (lambda d: edit(d, merges=['nonsense']), ''),
    'merge of lists': (lambda d: edit(d, merges=[[97, 98]]), ''),
    'special moved': (lambda d: edit(d, special_tokens={EOT: 7}), 'special'),
    'special missing': (lambda d: edit(d, special_tokens={}), 'special'),
    'special no dict': (lambda d: edit(d, special_tokens=[EOT]), ''),
    'key unknown': (lambda d: edit(d, more=1), ''),
}


@pytest.mark.parametrize('name', REFUSED)
def test_refusals_are_one_line(tmp_path, name):
    """A damaged file that loads, and encodes differently, or dies in a traceback."""
    change, word = REFUSED[name]
    path = tmp_path / 't.json'
    path.write_text(json.dumps(change(BPETokenizer.train('hug hug pug pug bug bug', 261).to_dict())), encoding='utf-8')
    with pytest.raises(ValueError, match='t.json') as error:
        BPETokenizer.load(path)
    assert word in str(error.value) and '\n' not in str(error.value) and len(str(error.value)) < 400


def test_truncated_files_are_refused(tmp_path):
    """Half a file, at any length, or one that is not text at all."""
    BPETokenizer.train('hug hug pug é é', 260).save(tmp_path / 't.json')
    data = (tmp_path / 't.json').read_bytes()
    for part in [data[:n] for n in range(len(data) - 1)] + [b'\xff\xfe', b'[' * 100_000]:
        (tmp_path / 't.json').write_bytes(part)
        with pytest.raises(ValueError) as error:
            BPETokenizer.load(tmp_path / 't.json')
        assert '\n' not in str(error.value)


# --- time ---

@pytest.mark.parametrize('pattern', [PATTERN, WHOLE])
@pytest.mark.parametrize('unit', ['a', ' ', '-', '\n', '你', ' \n', 'ab'])
def test_time_grows_with_the_length(unit, pattern):
    """Quadratic blow-up on a line without a blank, or on a run of one character."""
    short, long = unit * 20_000, unit * 160_000
    small = BPETokenizer.train(short, 300, pattern)

    def encode(text):
        small.cache.clear()
        assert small.decode(small.encode(text)) == text

    for work in (encode, lambda text: BPETokenizer.train(text, 300, pattern)):
        few = min(seconds(lambda: work(short)) for _ in range(2))
        assert seconds(lambda: work(long)) < 30 * few + 0.2     # 8 times the text; quadratic is 64


def test_megabytes_without_a_blank(tokenizer):
    """A long line that is one chunk, and so never ends."""
    text = 'sphinxofblackquartz' * 110_000
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text


# --- showing the work ---

def test_explain_agrees_with_encode(tokenizer):
    """The lesson shows other ids than the tokenizer gives."""
    text = "Hello, it's the tokenizer\n é"
    shown = tokenizer.explain(text).splitlines()
    ids = [json.loads(line.split('ids ')[1]) for line in shown if line.startswith('    ids [')]
    assert sum(ids, []) == tokenizer.encode(text)
    assert any('74 68 65' in line for line in shown)


def run(*args):
    path = Path(tokenizer_bpe.__file__)
    return subprocess.run([sys.executable, path.name, *args], cwd=path.parent, capture_output=True, encoding='utf-8',
                          env={'PYTHONIOENCODING': 'utf-8'})


def test_command_line():
    """A missing corpus ends in a traceback; a plain text shows nothing."""
    good = run('the tokenizer, é')
    assert good.returncode == 0 and 'bytes' in good.stdout and 'ids [' in good.stdout and not good.stderr
    bad = run('text', '--dataset=no_such_corpus')
    assert bad.returncode == 1 and bad.stdout == '' and bad.stderr.count('\n') == 1
    assert 'no_such_corpus' in bad.stderr and 'prepare.py' in bad.stderr
