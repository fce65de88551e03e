"""Damaged files and tables give samples or a reason, and nothing else.

The small profile runs always, on the same examples; the large one is marked slow.
"""

import csv
import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from ssl_audio.data.audio import decode, open_audio
from ssl_audio.data.corpora import CORPORA
from ssl_audio.data.corpora.csv import USUAL_COLUMNS
from ssl_audio.data.corpora.tables import TABLES
from ssl_audio.data.manifest import Clip, read_manifest, write_manifest
from ssl_audio.errors import DataError, UserError

MOST_BYTES = 7000
"""Of an example: longer ones could not be shown."""
UNHURRIED = {"deadline": None, "suppress_health_check": list(HealthCheck)}
SMALL = settings(max_examples=40, derandomize=True, database=None, **UNHURRIED)
LARGE = settings(max_examples=3000, database=None, **UNHURRIED)
FORMATS = (
    *(("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "IMA_ADPCM"), ("WAVEX", "PCM_24")),
    *(
        ("RF64", "PCM_16"),
        ("W64", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("AU", "ULAW"),
        ("CAF", "ALAC_16"),
    ),
    *(("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("MP3", "MPEG_LAYER_III")),
    *(("OGG", "VORBIS"), ("OGG", "OPUS")),
)


def encode(format, subtype):
    samples = 0.3 * np.random.default_rng(0).standard_normal((1500, 1)).clip(-1, 1)
    file = io.BytesIO()
    sf.write(file, samples, 16_000, format=format, subtype=subtype)
    return file.getvalue()


FILES = tuple(encode(*names) for names in FORMATS)
EXTREMES = tuple(
    number.to_bytes(width, order)
    for width, numbers in ((4, (0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1)), (2, (0, 1, 2**16 - 1)))
    for number in numbers
    for order in ("little", "big")
)


@st.composite
def damaged(draw, contents):
    """One of some files after a few accidents, which prefer its start, where the header is."""
    content = bytearray(draw(st.sampled_from(contents)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, min(99, len(content))) | st.integers(0, len(content)))
        length = draw(st.integers(0, 64) | st.integers(0, max(len(content) - place, 0)))
        accident = draw(
            st.sampled_from(["byte", "extreme", "cut", "lose", "repeat", "insert", "splice"])
        )
        if accident == "byte":
            content[place : place + 1] = bytes([draw(st.integers(0, 255))])
        elif accident == "extreme":
            number = draw(st.sampled_from(EXTREMES))
            content[place : place + len(number)] = number
        elif accident == "cut":
            del content[place:]
        elif accident == "lose":
            del content[place : place + length]
        elif accident == "repeat":
            content[place:place] = content[place : place + length]
        elif accident == "insert":
            content[place:place] = draw(st.binary(max_size=64))
        else:
            content[place:] = draw(st.sampled_from(contents))[place:]
    return bytes(content[:MOST_BYTES])


def check_audio(content):
    try:
        audio = decode(content)
        assert audio.samples.dtype == np.int16 and audio.samples.ndim == 1 and len(audio.samples)
        event("read")
    except DataError as error:
        event("set aside")
        assert str(error) and "\n" not in str(error)
    with tempfile.TemporaryFile() as file:
        file.write(content)
        try:
            with open_audio(file) as (_, blocks):
                assert all(len(block) for block in blocks)
        except DataError:
            pass


@SMALL
@given(damaged(FILES) | st.binary(max_size=300))
def test_damaged_audio(content):
    check_audio(content)


@pytest.mark.slow
@LARGE
@given(damaged(FILES) | st.binary(max_size=300))
def test_much_damaged_audio(content):
    check_audio(content)


CELLS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
VALUES = st.recursive(CELLS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
COLUMNS = st.sampled_from([*USUAL_COLUMNS, "Label", "path ", "", "ä", "x\ny"]) | st.text(max_size=5)
PATHS = st.sampled_from(
    ["a.wav", "b.wav", "./a.wav", "x\\a.wav", "..", "/", "a.wav\0", "~", "x" * 999]
)
ROWS = st.lists(
    st.dictionaries(COLUMNS, VALUES, max_size=4).flatmap(
        lambda row: st.just(row) | PATHS.map(lambda path: {**row, "path": path})
    ),
    max_size=5,
)


@st.composite
def separated(draw):
    """Text with separators: rows of any length, any quoting, any encoding."""
    rows = draw(st.lists(st.lists(COLUMNS | PATHS | st.text(max_size=5), max_size=5), max_size=5))
    if draw(st.integers(0, 3)):
        header = ["path", *draw(st.lists(COLUMNS, max_size=3, unique=True))]
        filled = draw(st.lists(st.tuples(PATHS, st.text(max_size=5)), max_size=4))
        rows = [header, *rows, *filled]
    file = io.StringIO()
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
    delimiter = draw(st.sampled_from(",;\t|"))
    csv.writer(file, quoting=quoting, delimiter=delimiter).writerows(rows)
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1"]))
    return file.getvalue().encode(encoding, errors="replace")


@st.composite
def parquet(draw):
    """Columns of any names and of one type each, mostly with one of paths."""
    kinds = st.sampled_from(["path", "int", "float", "list"])
    columns = draw(st.dictionaries(COLUMNS, kinds, max_size=4))
    columns |= draw(st.sampled_from([{}, {"path": "path"}, {"File": "path"}]))
    cells = {"path": PATHS | st.none(), "int": st.integers(-9, 9), "float": st.floats() | st.none()}
    cells["list"] = st.lists(st.integers(-9, 9), max_size=2)
    num_rows = draw(st.integers(0, 4))
    table = {
        name: draw(st.lists(cells[kind], min_size=num_rows, max_size=num_rows))
        for name, kind in columns.items()
    }
    file = io.BytesIO()
    pq.write_table(pa.table(table), file)
    return file.getvalue()


def write_lines(rows):
    return "\n".join(json.dumps(row) for row in rows).encode()


def under(contents, *endings):
    """Tables, whole or damaged, each with an ending."""
    return st.tuples(
        contents | contents.flatmap(lambda content: damaged([content])), st.sampled_from(endings)
    )


LINES = ROWS.map(write_lines)
NAMED_TABLES = st.one_of(
    under(separated(), ".csv", ".tsv", ".tab"),
    under(LINES, ".jsonl", ".ndjson"),
    under(parquet(), ".parquet", ".pq"),
    under(separated() | LINES | parquet() | st.binary(max_size=200), *TABLES),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz")
    for name in ("a.wav", "b.wav"):
        (root / name).write_bytes(FILES[0])
    (root / "TrainAudioFiles").mkdir()
    return root


def check_table(folder, content, ending, columns):
    path = folder / f"t{ending}"
    path.write_bytes(content)
    try:
        listing = CORPORA["csv"].read(path, columns)
        event(f"{ending} listed, {'some' if listing.clips else 'no'} clips")
    except UserError as error:
        event(f"{ending} refused")
        assert str(error)
        listing = None
    finally:
        path.unlink()
    for clip in listing.clips if listing else ():
        said = [clip.clip_id, clip.path, clip.speaker, clip.emotion, clip.text, clip.split]
        assert clip.clip_id and all(isinstance(text, str | None) for text in said)
        "".join(text or "" for text in said).encode()
    if ending == ".csv":
        (folder / "train.csv").write_bytes(content)
        try:
            CORPORA["hackerearth"].read(folder, {})
        except UserError:
            pass


MAPS = st.dictionaries(st.sampled_from(list(USUAL_COLUMNS)), COLUMNS, max_size=2)


@SMALL
@given(NAMED_TABLES, st.just({}) | MAPS)
def test_tables(folder, table, columns):
    check_table(folder, *table, columns)


@pytest.mark.slow
@LARGE
@given(NAMED_TABLES, st.just({}) | MAPS)
def test_many_tables(folder, table, columns):
    check_table(folder, *table, columns)


def manifest_bytes():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.parquet"
        write_manifest(
            [Clip(clip_id=f"c{n}", path=f"c{n}.wav", num_samples=n) for n in range(9)], path
        )
        return path.read_bytes()


MANIFESTS = damaged([manifest_bytes()]) | parquet()


def check_manifest(folder, content):
    path = folder / "manifest.parquet"
    path.write_bytes(content)
    try:
        clips = read_manifest(path)
        event("read")
        assert all(isinstance(clip.clip_id, str) for clip in clips)
    except DataError:
        event("refused")


@SMALL
@given(MANIFESTS)
def test_manifests(folder, content):
    check_manifest(folder, content)


@pytest.mark.slow
@LARGE
@given(MANIFESTS)
def test_many_manifests(folder, content):
    check_manifest(folder, content)
