"""What a model looked at: the arcs of the page are its attention."""

import json

import pytest
import torch

from conftest import movement
from lib.heldout import stack
from lib.looks import look, name_heads
from lib.page import Piece, write_page
from model import ModelConfig, Transformer, attend, attend_fast, norm, rotate
from tokenizer_midi import MidiTokenizer

TOKENIZER = MidiTokenizer()


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    shape = TOKENIZER.shape_of_told()
    model = Transformer(ModelConfig(TOKENIZER.vocab_size, 64, 2, 2, 16, **shape)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def test_a_share_is_what_attention_gave(model):
    """Forbids an arc that is not the model's own attention at the position that decided the note:
    another position's, another head's, or only one of the note's two words. The first layer is
    worked out here a second time; beyond the context, positions are counted anew."""
    ids = movement(1)[0][:150]
    looks = look(model, attend, TOKENIZER, ids)
    notes = TOKENIZER.find_notes(ids)
    assert len(looks) == len(notes) > 50 and len(name_heads(model)) == 4
    assert all(block.attention.attend is attend_fast for block in model.blocks)
    # two windows, of which the second scores its later half
    for start, first, last in ((0, 0, 64), (32, 64, 96)):
        told = stack([TOKENIZER.listen(ids)[start:start + 64]])
        clock, to_bar, to_end, match, home, voices, recalled, _, held = model.by_kind(told)
        with torch.no_grad():
            x = model.embed(stack([ids[start:start + 64]]), to_bar, to_end, match, home, voices,
                            recalled, held)
            qkv = norm(x) @ model.blocks[0].attention.qkv
            q, k, _ = qkv.view(64, 3, 2, 8).permute(1, 2, 0, 3)          # (2, 64, 8) each
            cos, sin = model.cos_and_sin(clock, 0)
            q, k = rotate(norm(q), cos[0], sin[0]), rotate(norm(k), cos[0], sin[0])
        for number, (_, places) in enumerate(notes):
            if not first < places[0] <= last:
                continue
            at = places[0] - 1 - start                       # here it was decided
            for head in (0, 1):
                shares = (q[head, at] @ k[head, :at + 1].T / 8 ** 0.5).softmax(-1)
                found = looks[number].heads[head]
                assert len(found) == min(8, number)
                for other, share in found:
                    seen = [place - start for place in notes[other][1] if 0 <= place - start <= at]
                    assert abs(share - sum(shares[place] for place in seen)) < 1e-5


def test_likeliest_and_recalled(model):
    """Forbids probabilities of another position, and recalled words that were not told there, also
    beyond the first context (of 64 ids)."""
    ids = movement(1)[0][:150]
    told = TOKENIZER.listen(ids)
    with torch.no_grad():
        chances = model(stack([ids[:64]]), stack([told[:64]]))[0].softmax(-1)
    columns = list(model.config.columns.values())
    begin = sum(columns[:6])
    for one, (_, places) in zip(look(model, attend, TOKENIZER, ids), TOKENIZER.find_notes(ids)):
        before = places[0] - 1
        if before < 64:
            want = chances[before].topk(5)
            assert [word for word, _ in one.likeliest] == [TOKENIZER.say(id) for id in want.indices]
            assert [p for _, p in one.likeliest] == pytest.approx(want.values.tolist(), abs=1e-5)
        recalled = told[before, begin:begin + 9]
        assert one.recalled == [TOKENIZER.say(id) for id in recalled if id]


def test_the_page_carries_them(model, tmp_path):
    """Forbids a page without the numbers, or whose notes can't be told from each other."""
    ids = movement(1)[0][:60]
    piece = Piece('x', TOKENIZER.decode(ids), looks=look(model, attend, TOKENIZER, ids),
                  heads=name_heads(model))
    write_page(tmp_path / 'index.html', 'x', {}, [piece])
    page = (tmp_path / 'index.html').read_text('utf-8')
    stored = page.split('<script type="application/json">')[1].split('</script>')[0]
    assert [len(one['heads']) for one in json.loads(stored)] == [4] * len(piece.score.notes)
    for number in range(len(piece.score.notes)):
        assert page.count(f'data-unit="{number}"') == 1
    assert page.count('<option value') == 1 + 4 and 'layer 2, head 2, which reads the clock' in page
