"""Samples, scores and curves -> one page to hear and see them; piano rolls; "Bach or machine?"

A page is one HTML file that opens from the file system, without a network: its style and script,
which lie in lib/page_parts, are put into it. Only the sound lies beside it. A piano roll is an SVG
with the time in seconds of that sound to the right, whatever the tempo does, and a row for each key
upwards:

    C5 |      ====            prompt, composed, copied: three colours
    B4 |  ====    ==          | is a bar line, and every few of them have a number
    A4 |  ==========|====

In this order: what a sample is, the training curve, the roll, the page, the quiz. What comes from
outside (names, facts, texts) goes through `html.escape`, a file's name in a link through `quote`.
"""

import base64
import csv
import functools
import html
import itertools
import json
import math
from bisect import bisect_right
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from string import Template
from urllib.parse import quote

from lib.hands import LEFT, find_hands
from lib.looks import Look
from lib.score import WHOLE, Bar, Note, Score, find_bars
from lib.synth import seconds

PARTS = Path(__file__).parent / 'page_parts'        # the HTML, CSS and JavaScript of the pages
PACE = 40        # pixels to a second of a piano roll
ROW = 6          # pixels to a semitone
TOP = 18         # pixels above the highest row, for the numbers of the bars
STRONGEST = 12   # percent of the colour of surprise for each bit
SHOWN = 24       # earlier samples that a page shows; of more, it has links only
KEYBOARD = 34    # pixels to the left of a roll, for the keys and their names
NAMES = 'C C# D D# E F F# G G# A A# B'.split()
KINDS = {'prompt': 'prompt', 'composed': 'composed',
         'copied': 'recited from the training pieces'}     # its kind, and the legend's word for it


@dataclass
class Passage:
    """The longest run of notes that a piece shares with a training piece: its bars, to be heard in
    both."""
    start: float         # seconds of the piece's sound from which on it is heard ...
    end: float           # ... and until when
    here: str            # which bars these are: 'bars 7 to 8'
    there: str           # and those of the training piece: '05-variatio-5, bars 3 to 4'
    sound: str = ''      # the file beside the page with the sound of these; '': there is none


@dataclass
class Piece:
    """A sample of music, and what is known of it. Lists are in the order of score.notes."""
    name: str                               # its files, beside the page: name.mid and name.wav
    score: Score
    given: int = 0                          # so many notes, the first, were the prompt's
    bits: list[float] | None = None         # the surprise of each note; nan where it is not known
    copied: list[bool] | None = None        # whether a note lies in a run of the training pieces
    facts: dict[str, str] = field(default_factory=dict)
    sound: str = 'wav'                      # or 'mp3' and so on: name.mp3; '': it has no sound
    shared: Passage | None = None
    looks: list[Look] | None = None         # what the model looked at for each note
    heads: list[str] = field(default_factory=list)      # ... the names of the heads that did

    def __post_init__(self):
        for name in ('bits', 'copied'):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.score.notes):
                raise ValueError(f'{self.name}: {len(values)} {name} for {len(self.score.notes)} '
                                 'notes, one each is needed')

    def kind(self, number: int) -> str:
        """One of KINDS, of a note by its number."""
        if number < self.given:
            return 'prompt'
        if self.copied is not None and self.copied[number]:
            return 'copied'
        return 'composed'


@dataclass
class Text:
    """A sample of text."""
    name: str
    prompt: str
    text: str                               # what was written after the prompt
    copied: list[tuple[int, int]] = field(default_factory=list)    # stretches [from, to) of `text`
    facts: dict[str, str] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)     # prompt and text, cut into its tokens ...
    looks: list[Look] | None = None                     # ... and what the model looked at for each
    heads: list[str] = field(default_factory=list)


@functools.cache
def part(name: str) -> str:
    """A file of PARTS; $places in an .html file are for string.Template."""
    return (PARTS / name).read_text('utf-8')


# ---- the training curve

def read_curve(path) -> list[dict]:
    """The rows of train.py's log.csv: column -> number, without the empty columns. No file, no
    rows. A line that is cut off is left out, and so is what an interrupted run did in vain: steps
    that were taken again when it went on."""
    path = Path(path)
    if not path.exists():
        return []
    text = path.read_text('utf-8', 'replace').replace('\0', '')
    whole_lines = text[:text.rfind('\n') + 1]
    rows = []
    for fields in csv.DictReader(whole_lines.splitlines()):
        row = {}
        for name, value in fields.items():
            try:
                row[name] = float(value)
            except (TypeError, ValueError):          # empty, cut off, or one field too many
                continue
        if 'step' not in row or None in fields.values():        # cut off by a kill
            continue
        if rows and place(row) <= place(rows[-1]):
            rows = [kept for kept in rows if place(kept) < place(row)]
        rows.append(row)
    return rows


def place(row: dict) -> tuple:
    """Where a row stands in the log: of one step, first its loss, then its validation."""
    return row['step'], 'loss' not in row


def find_best(curve: list[dict]) -> dict | None:
    """The row whose model train.py keeps: the fewest bits, in the mean over the corpora."""
    best, fewest = None, math.inf
    for row in curve:
        bits = [value for name, value in row.items() if name.startswith('bits_')]
        if bits and sum(bits) / len(bits) < fewest:
            best, fewest = row, sum(bits) / len(bits)
    return best


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Round numbers from low to high, about `count`: (0, 250) -> [0, 50, 100, 150, 200, 250]"""
    least = max(high - low, 1e-9) / count
    power = 10 ** math.floor(math.log10(least))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """The same for a logarithmic axis: (0.8, 6.4) -> [1, 1.5, 2, 3, 5]"""
    numbers = [digit * 10 ** power for power in range(-6, 7) for digit in (1, 1.5, 2, 3, 5, 7)]
    within = [round(number, 10) for number in numbers if low <= number <= high]
    return within if len(within) > 2 else ticks(low, high)


def draw_curve(curve: list[dict]) -> str:
    """Training and validation loss in nats/token (logarithmic) against steps, as SVG; the best
    validation is marked. '' if nothing is known."""
    # the lines: column -> [(step, loss)]
    lines = {}
    for row in curve:
        for column, loss in row.items():
            is_loss = column == 'loss' or column.startswith('nats_')
            if is_loss and math.isfinite(loss) and loss > 0:
                lines.setdefault(column, []).append((row['step'], loss))
    if not lines:
        return ''

    # the scales
    width, height, left, right, top, bottom = 840, 320, 56, 210, 28, 44
    last = max(1, max(step for points in lines.values() for step, _ in points))
    losses = [loss for points in lines.values() for _, loss in points]
    low, high = min(losses) / 1.05, max(losses) * 1.05

    def x(step):
        return left + (width - left - right) * step / last

    def y(loss):
        share = math.log(loss / low) / math.log(high / low)
        return height - bottom - (height - bottom - top) * share

    # the axes
    parts = []
    for loss in log_ticks(low, high):
        parts.append(f'<path class="grid" d="M{left} {y(loss):.1f}H{width - right}"/>'
                     f'<text x="{left - 8}" y="{y(loss) + 4:.1f}" class="end">{loss:g}</text>')
    for step in ticks(0, last):
        parts.append(f'<text x="{x(step):.1f}" y="{height - bottom + 18}" class="middle">'
                     f'{step:,.10g}</text>')
    parts.append(f'<text x="{(left + width - right) / 2}" y="{height - 6}" class="middle">'
                 'steps</text>'
                 f'<text transform="translate(14 {(height - bottom + top) / 2}) rotate(-90)" '
                 'class="middle">nats/token</text>')

    # the best
    best = find_best(curve)
    if best:
        where = x(best['step'])
        side = 'end' if best['step'] > last / 2 else 'start'
        parts.append(f'<path class="best" d="M{where:.1f} {top}V{height - bottom}"/>'
                     f'<text x="{where:.1f}" y="{top - 10}" class="{side}">best validation: '
                     f'step {best["step"]:,.10g}</text>')

    # the lines; each has its name at its end, and names keep 16 pixels apart
    free = height
    for column, points in sorted(lines.items(), key=lambda line: line[1][-1][1]):
        kind = 'training' if column == 'loss' else 'validation'
        label = kind
        path = 'L'.join(f'{x(step):.1f} {y(loss):.1f}' for step, loss in points)
        parts.append(f'<path class="{kind}" d="M{path}"/>')
        if kind == 'validation':
            label += f': {column.removeprefix("nats_"):.12}'
            for step, loss in points:
                is_best = best is not None and step == best['step']
                parts.append(f'<circle class="{"marked" if is_best else "point"}" '
                             f'cx="{x(step):.1f}" cy="{y(loss):.1f}" r="{4 if is_best else 2}"/>')
        free = min(free - 16, y(points[-1][1]) + 4)
        parts.append(f'<text x="{width - right + 10}" y="{free:.1f}" class="{kind}">'
                     f'{points[-1][1]:.3f} {html.escape(label)}</text>')
    title = 'Training and validation loss in nats/token against steps'
    return (f'<svg class="curve" viewBox="0 0 {width} {height}" role="img" aria-label="{title}">'
            f'{"".join(parts)}</svg>')


# ---- the piano roll

def sound_times(score: Score, steps: list[float]) -> list[float]:
    """When these steps of a piece are, in seconds of its sound."""
    marks = [Note(step, 0, 1) for step in steps]
    return [start for start, *_ in seconds(Score(marks, score.tempos))]


def pitch_name(pitch: int) -> str:
    """60 -> C4"""
    return f'{NAMES[pitch % 12]}{pitch // 12 - 1}'


def tip_of(piece: Piece, number: int, bars: list[Bar]) -> str:
    """F#4 · bar 12, beat 2.5 · 1/8 note · 3.2 bits"""
    note = piece.score.notes[number]
    bar_number = bisect_right(bars, note.start, key=lambda bar: bar.start)
    bar = bars[bar_number - 1]
    beat = round((note.start - bar.start) / bar.beat + 1, 2)
    length = Fraction(note.duration, WHOLE)
    words = [pitch_name(note.pitch), f'bar {bar_number}, beat {beat:g}',
             f'{length.numerator}/{length.denominator} note']
    if piece.bits is not None and math.isfinite(piece.bits[number]):
        words.append(f'{piece.bits[number]:.1f} bits')
    if piece.kind(number) != 'composed':
        words.append(piece.kind(number))
    return ' · '.join(words)


@dataclass
class Roll:
    """A roll's parts as SVG, all `height` pixels high."""
    width: float
    height: float
    ground: str          # the rows of the black keys, the bar lines, the bars' numbers
    notes: str           # a <rect> for each note, in a <g> for each kind
    keyboard: str        # KEYBOARD pixels wide


def number_every(starts: list[float], pace: float) -> int:
    """Every how many bars there is room for a number: 1, 2, 4, 8 ..."""
    every = 1
    if len(starts) > 1:
        bar_width = (starts[-1] - starts[0]) / (len(starts) - 1) * pace
        while every * bar_width < 100 and every < len(starts):
            every *= 2
    return every


def draw_keyboard(low: int, high: int, row: int, width: float) -> tuple[str, str]:
    """The keys from high down to low, KEYBOARD pixels wide, and the rows that the black ones have
    in a roll of this width."""
    rows, black, edges, names = '', '', '', ''
    for pitch in range(low, high + 1):
        y = TOP + (high - pitch) * row
        name = pitch_name(pitch)
        if '#' in name:
            rows += f'M0 {y}h{width}v{row}H0z'
            black += f'M0 {y}h{KEYBOARD * 0.6:g}v{row}H0z'
        if pitch % 12 in (0, 5):                         # C and F: no black key lies below
            edges += f'M0 {y + row}H{KEYBOARD}'
        if pitch % 12 == 0:
            names += f'<text x="{KEYBOARD - 2}" y="{y + row}">{name}</text>'
    height = (high - low + 1) * row
    keyboard = (f'<g class="keyboard"><path class="white" d="M0 {TOP}h{KEYBOARD}v{height}H0z"/>'
                f'<path class="edge" d="{edges}"/><path class="black" d="{black}"/>{names}</g>')
    return keyboard, f'<path class="rows" d="{rows}"/>'


def draw_bars(starts: list[float], pace: float, height: float) -> str:
    """The bar lines, at `starts` in seconds; those that have their number are strong."""
    every = number_every(starts, pace)
    weak, strong, numbers = '', '', ''
    for number, start in enumerate(starts, 1):
        x = f'{start * pace:.1f}'
        if (number - 1) % every:
            weak += f'M{x} {TOP}V{height}'
        else:
            strong += f'M{x} {TOP - 6}V{height}'
            numbers += f'<text x="{x}" y="{TOP - 7}" dx="3">{number}</text>'
    return (f'<path class="bar" d="{weak}"/><path class="bar strong" d="{strong}"/>'
            f'<g class="numbers">{numbers}</g>')


def draw_roll(piece: Piece, pace=PACE, row=ROW, bars=None, tips=False) -> Roll:
    """`pace` is in pixels a second, `row` in pixels a semitone; only the first so many bars, if
    `bars` says how many. With `tips` each note carries what there is to say of it (data-tip)."""
    score = piece.score
    all_bars = find_bars(score)
    shown_bars = all_bars[:bars]
    sounding = seconds(score)
    end = max((start + duration for start, duration, *_ in sounding), default=1)
    if len(shown_bars) < len(all_bars):
        [end] = sound_times(score, [all_bars[len(shown_bars)].start])
    width = round(end * pace, 1)

    # two keys above the highest note and two below the lowest are left free
    pitches = [note.pitch for note in score.notes] or [60, 72]
    low, high = min(pitches) - 2, max(pitches) + 2
    height = TOP + (high - low + 1) * row
    keyboard, rows = draw_keyboard(low, high, row, width)
    starts = sound_times(score, [bar.start for bar in shown_bars])

    # so is a pixel after each note: when it is repeated, one sees that it is struck again
    groups = {kind: '' for kind in KINDS}
    hands = find_hands(score.notes) if tips else []
    for number, (start, duration, pitch, _) in enumerate(sounding):
        if start >= end:
            continue
        until = min(start + duration, end)
        note_width = max((until - start) * pace - 1, 1)
        tip = f' data-tip="{tip_of(piece, number, all_bars)}"' if tips else ''
        if tips and hands[number] == LEFT:
            tip += ' class="left"'
        if tips and piece.looks:
            tip += f' data-unit="{number}"'
        if tips and piece.bits is not None and math.isfinite(piece.bits[number]):
            tip += f' style="--bits:{min(100, STRONGEST * piece.bits[number]):.0f}%"'
        groups[piece.kind(number)] += (
            f'<rect x="{start * pace:.1f}" y="{TOP + (high - pitch) * row}" '
            f'width="{note_width:.1f}" height="{row - 1}"{tip}/>')
    notes = ''.join(f'<g class="{kind}">{rects}</g>' for kind, rects in groups.items())
    return Roll(width, height, rows + draw_bars(starts, pace, height), notes, keyboard)


def piano_roll(piece: Piece, pace=PACE, row=ROW, bars=None) -> str:
    """A piano roll that stands alone, as a file NAME.svg or as an image in another page, light and
    dark. Parameters as in draw_roll."""
    roll = draw_roll(piece, pace, row, bars)
    width = KEYBOARD + roll.width + 4
    label = html.escape(f'Piano roll of {piece.name}')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{roll.height}" '
            f'viewBox="0 0 {width:g} {roll.height}" role="img" aria-label="{label}">'
            f'<style>{part("roll.css")}</style>'
            f'<rect width="100%" height="100%" rx="4" fill="var(--ground)"/>{roll.keyboard}'
            f'<g transform="translate({KEYBOARD})">{roll.ground}{roll.notes}</g></svg>\n')


# ---- the page

HINT = """
<p class="hint for-keys">Click on a roll to hear it from there, drag over it to hear that stretch
again and again. When it has the focus, the space bar plays and pauses, the arrows left and right
move by two seconds, up and down go from note to note; a and b mark where a stretch begins and ends,
escape ends it.</p>
<p class="hint for-touch">Tap a roll to hear it from there, and a note to see what it is.</p>"""
WHAT_COLOURS_SAY = """
<fieldset class="colours"><legend>The colours of the notes say</legend>
<label><input type="radio" name="colours" checked> where each comes from</label>
<label><input type="radio" name="colours" id="hands"> which hand could play it (orange: the left)
</label>$surprise</fieldset>"""
SURPRISE = """
<label><input type="radio" name="colours" id="surprise"> how much it surprised the model: pale what
was expected, orange what was not</label>"""


def player(number: int, name: str, sound: str, piece: Piece, pace=PACE, row=ROW) -> str:
    """The HTML of a player of the file `sound` with the roll of `piece`. `number` is its own."""
    roll = draw_roll(piece, pace, row, tips=True)
    return Template(part('player.html')).substitute(
        number=number, name=html.escape(name), file=html.escape(sound), sound=link(sound),
        pace=pace, length=f'{roll.width / pace:.3f}', width=roll.width, height=roll.height,
        top=TOP, rows=roll.height - TOP, keyboard_width=KEYBOARD, keyboard=roll.keyboard,
        ground=roll.ground, notes=roll.notes)


def silent_roll(piece: Piece) -> str:
    """The HTML of the roll of a piece that has no sound."""
    roll = draw_roll(piece, tips=True)
    return (f'<div class="roll"><svg width="{KEYBOARD}" height="{roll.height}" aria-hidden="true">'
            f'{roll.keyboard}</svg><div class="scroll" tabindex="0" role="group" aria-label='
            f'"Piano roll of {html.escape(piece.name)}"><svg width="{roll.width}" '
            f'height="{roll.height}" viewBox="0 0 {roll.width} {roll.height}">{roll.ground}'
            f'{roll.notes}</svg></div></div>')


def link(file: str) -> str:
    """The address of a file beside the page: 'a "b".mid' -> a%20%22b%22.mid"""
    return quote(file, safe='')


def fact_list(facts: dict[str, str]) -> str:
    if not facts:
        return ''
    rows = ''.join(f'<div><dt>{html.escape(str(name))}</dt><dd>{html.escape(str(value))}</dd></div>'
                   for name, value in facts.items())
    return f'<dl class="facts">{rows}</dl>'


def legend(piece: Piece) -> str:
    """The colours that occur in a roll, and on how many notes. That nothing was copied is said,
    too, if it was looked for."""
    counts = dict.fromkeys(KINDS, 0)
    for number in range(len(piece.score.notes)):
        counts[piece.kind(number)] += 1
    items = ''
    for kind, count in counts.items():
        if count or kind == 'copied' and piece.copied is not None:
            swatch = f'<rect class="{kind}" width="100%" height="100%" rx="2"/>'
            items += (f'<li><svg aria-hidden="true">{swatch}</svg>'
                      f'{KINDS[kind]} ({count:,})</li>')
    return f'<ul class="legend">{items}</ul>'


def section(number: int, sample: Piece | Text) -> str:
    return piece_section(number, sample) if isinstance(sample, Piece) else text_section(sample)


def links_to(sample: Piece | Text) -> str:
    """Links to the files of a sample."""
    suffixes = ['txt']
    if isinstance(sample, Piece):
        suffixes = ['mid', sample.sound] if sample.sound else ['mid']
    links = []
    for suffix in suffixes:
        word = 'MIDI' if suffix == 'mid' else html.escape(suffix.upper())
        links.append(f'<a href="{link(f"{sample.name}.{suffix}")}">{word}</a>')
    return ' · '.join(links)


def file_list(samples: list[Piece | Text]) -> str:
    """Samples for which the page has no room, by their names."""
    if not samples:
        return ''
    items = ''.join(f'<li>{html.escape(sample.name)} {links_to(sample)}</li>' for sample in samples)
    return f'<ul class="files">{items}</ul>'


def piece_section(number: int, piece: Piece) -> str:
    links = f'<span>{links_to(piece)}</span>'
    if piece.sound:
        content = player(number, piece.name, f'{piece.name}.{piece.sound}', piece)
    else:
        content = silent_roll(piece)
    content += legend(piece)
    if piece.sound and piece.shared and piece.shared.sound:
        shared = piece.shared
        content += Template(part('passage.html')).substitute(
            start=f'{shared.start:.3f}', end=f'{shared.end:.3f}', here=html.escape(shared.here),
            there=html.escape(shared.there), sound=link(shared.sound))
    if piece.looks:
        content += looks_part(piece)
    return Template(part('section.html')).substitute(name=html.escape(piece.name), links=links,
                              facts=fact_list(piece.facts), content=content)


def looks_part(sample: Piece | Text) -> str:
    """The switch that shows attention on a roll or a text, with all that there is to show."""
    heads = ''.join(f'<option value="{number}">{html.escape(name)}</option>'
                    for number, name in enumerate(sample.heads))
    is_music = isinstance(sample, Piece)
    hint = 'Play, or choose a note of the roll.' if is_music else 'Choose a word.'
    looks = json.dumps([asdict(look) for look in sample.looks], separators=(',', ':'))
    looks = looks.replace('<', '\\u003c')                         # so that no </script> ends it
    return Template(part('looks.html')).substitute(heads=heads, hint=hint, looks=looks)


def mark_copied(text: str, copied: list[tuple[int, int]]) -> str:
    """The text as HTML with its copied stretches marked; they may touch and overlap."""
    parts, done = [], 0
    for start, end in sorted(copied):
        start = max(start, done)
        if start >= end:
            continue
        parts += [html.escape(text[done:start]), '<mark>', html.escape(text[start:end]), '</mark>']
        done = end
    parts.append(html.escape(text[done:]))
    return ''.join(parts)


def text_section(sample: Text) -> str:
    if sample.looks:
        tokens = ''.join(f'<span data-unit="{number}">{html.escape(token)}</span>'
                         for number, token in enumerate(sample.tokens))
        content = (f'<blockquote tabindex="0" role="group" aria-label="{html.escape(sample.name)}, '
                   f'token by token: arrows left and right">{tokens}</blockquote>'
                   + looks_part(sample))
    else:
        content = (f'<blockquote><b>{html.escape(sample.prompt)}</b>'
                   f'{mark_copied(sample.text, sample.copied)}</blockquote>')
    if sample.copied and not sample.looks:
        content += '<p class="hint"><mark>Marked</mark>: found in the training text.</p>'
    links = f'<span>{links_to(sample)}</span>'
    return Template(part('section.html')).substitute(name=html.escape(sample.name), links=links,
                              facts=fact_list(sample.facts), content=content)


def write_html(path, title: str, body: str, extra: str = ''):
    """A page of its own: `title` is plain text, `body` HTML; styles and scripts are put in, also
    those of an extra, 'quiz' or 'looks'."""
    style = part('roll.css') + part('page.css')
    script = part('player.js')
    if extra:
        style += part(f'{extra}.css')
        script += part(f'{extra}.js')
    page = Template(part('page.html')).substitute(title=html.escape(title), style=style, body=body,
                                                  script=script)
    Path(path).write_text(page, 'utf-8')


def write_page(path, title: str, facts: dict[str, str], samples: list[Piece | Text],
               curve: list[dict] | None = None, earlier: list[tuple[dict, list]] = (),
               held_out: Piece | None = None):
    """The page of a run: what is known of it, its training curve (from read_curve), its samples; to
    compare them with, a held-out piece; and earlier ones, (settings, samples) of each group."""
    body = f'<h1>{html.escape(title)}</h1>{fact_list(facts)}'
    if curve:
        body += ('<div class="scroll" tabindex="0" role="group" aria-label="Training curve">'
                 f'{draw_curve(curve)}</div>')
    pieces = [sample for group in (samples, *(others for _, others in earlier))
              for sample in group if isinstance(sample, Piece)]
    if held_out:
        pieces.append(held_out)
    if any(piece.sound for piece in pieces):
        body += HINT
    if pieces:
        is_known = any(piece.bits is not None for piece in pieces)
        body += Template(WHAT_COLOURS_SAY).substitute(surprise=SURPRISE if is_known else '')
    numbers = itertools.count(1)
    for sample in samples:
        body += section(next(numbers), sample)
    if held_out:
        body += '<h2 class="group">To compare: not composed, but held out from training</h2>'
        body += section(next(numbers), held_out)
    room = SHOWN
    for settings, others in earlier:
        words = ', '.join(f'{name} {value}' for name, value in settings.items())
        head = html.escape(words or 'nothing is known of these')
        body += f'<h2 class="group">Earlier: {head}</h2>'
        for sample in others[:room]:
            body += section(next(numbers), sample)
        body += file_list(others[room:])
        room = max(0, room - len(others))
    has_looks = any(sample.looks for sample in samples)
    write_html(path, title, body, 'looks' if has_looks else '')


# ---- Bach or machine?

@dataclass
class Excerpt:
    """A few bars, cut out so that they begin at step 0: a bar's number would tell where from."""
    sound: str           # the sound's file name, beside the page; it must not tell, either
    score: Score
    source: str          # shown after the answer: 'Variation 15, bars 9 to 16'


@dataclass
class Pair:
    a: Excerpt
    b: Excerpt
    bach: str            # 'a' or 'b'


def chance(right: int, pairs: int) -> str:
    """How often guessing does as well: (8, 10) -> '8 or more of 10 happen by guessing in one case
    of 18.'"""
    ways = sum(math.comb(pairs, hits) for hits in range(right, pairs + 1))
    share = ways / 2 ** pairs
    often = f'one case of {1 / share:,.0f}' if share < 0.3 else f'{100 * share:.0f} cases of 100'
    more = 'or more ' if right < pairs else ''
    return f'{right} {more}of {pairs} happen by guessing in {often}.'


def write_quiz(path, pairs: list[Pair], judged: str = ''):
    """A page of pairs: the reader hears A and B, says which is Bach, and is told. The sources,
    the count, and how the judge did, a sentence, stay folded away until then."""
    body = ('<h1>Bach or machine?</h1>'
            f'<p class="hint">{len(pairs)} pairs of excerpts. In each, one is by Bach, from a '
            'piece that the model never saw, and the other by the model. Listen to both, then say '
            f'which is Bach.</p>{HINT}<p id="score" role="status">No answers yet</p>')
    for number, pair in enumerate(pairs, 1):
        players = []
        for letter, excerpt in (('A', pair.a), ('B', pair.b)):
            name = f'excerpt {number}{letter}'
            players.append(player(f'{number}{letter}', name, excerpt.sound,
                                  Piece(name, excerpt.score), pace=26, row=5))
        body += Template(part('pair.html')).substitute(number=number, a=players[0], b=players[1])
    key = {'pairs': [{'bach': pair.bach, 'a': pair.a.source, 'b': pair.b.source}
                     for pair in pairs],
           'verdicts': [f'{chance(right, len(pairs))} {judged}'.strip()
                        for right in range(len(pairs) + 1)]}
    coded = base64.b64encode(json.dumps(key).encode()).decode()
    body += ('<section><p id="verdict" role="status" hidden></p></section>'
             f'<script type="text/plain" id="key">{coded}</script>')
    write_html(path, 'Bach or machine?', body, 'quiz')
