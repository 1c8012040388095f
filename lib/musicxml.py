"""MusicXML -> a Score: the notes of all parts, and where the bars begin.

Everything is played once, as it stands: no repeats, grace notes, ornaments, dynamics or tempos.
Parts are taken to be written as they sound (`transpose` is not read). The form, as far as needed:

    <part> <measure> <note> <pitch> <step>C</step> <alter>1</alter> <octave>4</octave> </pitch>
                            <duration>6</duration> </note>          in `divisions` of a quarter
                     <backup> <duration>12</duration> </backup>     the next voice begins there
"""

import io
import zipfile
from dataclasses import dataclass, field
from fractions import Fraction
from xml.etree import ElementTree

from lib.score import METRES, STEPS, WHOLE, Note, Score

SEMITONES = {'C': 0, 'D': 2, 'E': 4, 'F': 5, 'G': 7, 'A': 9, 'B': 11}


@dataclass
class Part:
    """What has to be known of a part from measure to measure. Times are in steps."""
    divisions: int = 1                         # of a quarter, the unit of durations
    tied: dict = field(default_factory=dict)   # (pitch, where it goes on) -> where it began
    notes: list = field(default_factory=list)  # (start, pitch, end)


def read_musicxml(data: bytes) -> Score:
    """A file, .xml or .mxl (a .xml in a zip) -> Score, at 80 quarters a minute."""
    pages = ElementTree.fromstring(unpack(data)).findall('part')
    parts = [Part() for _ in pages]
    measures = []                              # (start, beats, beat unit)
    now, metre = Fraction(0), (4, 4)
    for row in zip(*[page.findall('measure') for page in pages]):        # one measure of all parts
        metre = find_metre(row[0]) or metre
        measures.append((now, *metre))
        ends = [read_measure(measure, part, now) for measure, part in zip(row, parts)]
        playing = [end for measure, end in zip(row, ends) if measure.find('note/pitch') is not None]
        now = max(playing or ends)             # a part that rests says a whole bar even in a pickup
    notes = [note for part in parts for note in part.notes + untied(part)]
    strokes = {(round(start), pitch): round(end) for start, pitch, end in sorted(notes)}
    return Score([Note(start, pitch, max(1, end - start))    # two voices in unison: once
                  for (start, pitch), end in sorted(strokes.items())], [(0, 80.0)],
                 find_metres(measures, now))


def unpack(data: bytes) -> bytes:
    """The .xml of a .mxl file; a .xml file as it is."""
    if not data.startswith(b'PK'):
        return data
    with zipfile.ZipFile(io.BytesIO(data)) as inner:
        name = next(name for name in inner.namelist()
                    if name.endswith('.xml') and not name.startswith('META-INF'))
        return inner.read(name)


def find_metre(measure) -> tuple[int, int] | None:
    """The time signature that stands in a measure, if there is one."""
    time = measure.find('attributes/time')
    if time is None:
        return None
    return int(time.findtext('beats')), int(time.findtext('beat-type'))


def read_measure(measure, part: Part, start: Fraction) -> Fraction:
    """Add the notes of a measure to its part. Returns where the measure ends."""
    onset = now = end = start
    for element in measure:
        length = Fraction(element.findtext('duration', '0')) * STEPS / part.divisions
        if element.tag == 'attributes':
            part.divisions = int(element.findtext('divisions', part.divisions))
        elif element.tag == 'backup':
            now -= length
        elif element.tag == 'forward':
            now += length
        elif element.tag == 'note' and element.find('grace') is None:
            if element.find('chord') is None:                # else it starts with the last one
                onset = now
                now += length
            if element.find('pitch') is not None:            # else it is a rest
                add_note(element, part, onset, onset + length)
        end = max(end, now)
    return end


def add_note(element, part: Part, onset: Fraction, end: Fraction):
    """Add a note, or what goes on from the note that is tied to it."""
    step, alter, octave = [element.findtext(f'pitch/{name}', '0')
                           for name in ('step', 'alter', 'octave')]
    pitch = 12 * (int(octave) + 1) + SEMITONES[step] + int(alter)
    begun = part.tied.pop((pitch, onset), onset)
    if element.find('tie[@type="start"]') is not None:
        part.tied[pitch, end] = begun
    else:
        part.notes.append((begun, pitch, end))


def untied(part: Part) -> list[tuple]:
    """The notes whose tie leads nowhere: they end where it begins."""
    return [(begun, pitch, end) for (pitch, end), begun in part.tied.items()]


def find_metres(measures: list[tuple], end: Fraction) -> list[tuple[int, int, int]]:
    """Measures (start, beats, beat unit) -> the time signatures, where each begins to hold. A
    shorter measure, such as a pickup, gets one of its own length. One that completes the measure
    before it begins no bar: a repeat sign divides the two."""
    bars = []                                  # (start, beats, beat unit)
    stops = [start for start, _, _ in measures[1:]] + [end]
    for (start, beats, unit), stop in zip(measures, stops):
        whole = Fraction(WHOLE * beats, unit)
        if not bars or bars[-1][1:] != (beats, unit) or stop - bars[-1][0] > whole:
            bars.append((start, beats, unit))
    metres = []
    for (start, beats, unit), after in zip(bars, bars[1:] + [None]):
        length = after[0] - start if after else Fraction(WHOLE * beats, unit)
        metre = fit_length(length, unit) or (beats, unit)
        if not metres or metres[-1][1:] != metre:
            metres.append((round(start), *metre))
    return metres


def fit_length(length: Fraction, unit: int) -> tuple[int, int] | None:
    """The time signature of a bar that is so long, in this beat unit or the next smaller one."""
    for smaller in (unit, 2 * unit, 4 * unit, 8 * unit):
        beats = length * smaller / WHOLE
        if (beats, smaller) in METRES:
            return int(beats), smaller
    return None
