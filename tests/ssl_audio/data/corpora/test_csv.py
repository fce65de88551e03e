import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssl_audio.data.corpora import CORPORA
from ssl_audio.data.corpora.csv import USUAL_COLUMNS
from ssl_audio.errors import DataError, UserError

ROWS = [
    {"path": "x/1.wav", "emotion": "sad", "speaker": 1, "gender": "F", "text": 'says "a, b"'},
    {"path": "x/2.wav", "emotion": None, "speaker": 2, "gender": "?", "text": "größer"},
]


def write_csv(path, delimiter=",", encoding="utf-8"):
    lines = [delimiter.join(ROWS[0])]
    for row in ROWS:
        cells = ["" if cell is None else str(cell) for cell in row.values()]
        lines.append(delimiter.join('"' + cell.replace('"', '""') + '"' for cell in cells))
    path.write_text("\r\n".join(lines), encoding=encoding)


def write_jsonl(path):
    path.write_text("\n\n".join(map(json.dumps, ROWS)), encoding="utf-8")


def write_parquet(path):
    pq.write_table(pa.Table.from_pylist(ROWS), path)


KINDS = {
    "csv": write_csv,
    "tsv": lambda path: write_csv(path, "\t"),
    "CSV": lambda path: write_csv(path, ";", "utf-8-sig"),
    "tab": lambda path: write_csv(path, "\t", "utf-16"),
    "jsonl": write_jsonl,
    "ndjson": write_jsonl,
    "parquet": write_parquet,
}


@pytest.fixture
def root(tmp_path, write_noise):
    for number in (1, 2):
        write_noise(tmp_path / "x" / f"{number}.wav")
    return tmp_path


def read(table, **columns):
    return CORPORA["csv"].read(table, columns)


def reasons(listing):
    return {item.path: item.reason for item in listing.quarantined}


@pytest.mark.parametrize("ending", KINDS)
def test_every_kind_of_table_says_the_same(ending, root):
    table = root / f"t.{ending}"
    KINDS[ending](table)
    listing = read(table)
    first, second = listing.clips
    assert (first.clip_id, first.path, first.emotion) == ("x/1", "x/1.wav", "sad")
    assert (first.speaker, first.gender, first.text) == ("1", "female", 'says "a, b"')
    assert (second.emotion, second.speaker, second.gender, second.text) == (
        *(None, "2"),
        *(None, "größer"),
    )
    assert listing.quarantined == ()


def test_every_field_and_a_name_of_its_own(root):
    table = root / "t.jsonl"
    row = {field: f"the {field}" for field in USUAL_COLUMNS} | {"path": "x/1.wav", "gender": "m"}
    table.write_text(f"{json.dumps(row)}\n{json.dumps({'path': 'x/2.wav', 'clip_id': None})}\n")
    first, second = read(table).clips
    assert (first.clip_id, first.parent) == ("the clip_id", "the parent")
    assert (first.intensity, first.repetition) == ("the intensity", "the repetition")
    assert (first.split, first.gender) == ("the split", "male")
    assert second.clip_id == "x/2"


def test_files_that_differ_in_their_ending_are_both_kept(root, write_noise):
    write_noise(root / "x" / "1.flac")
    table = root / "t.csv"
    table.write_text("path,emotion\nx/1.wav,sad\nx/1.flac,happy\nx/2.wav,sad\nx/2.wav,happy\n")
    assert [clip.clip_id for clip in read(table).clips] == ["x/1.wav", "x/1.flac", "x/2", "x/2"]


def test_numbers_that_became_floats_and_unknown_ones(root):
    table = root / "t.parquet"
    columns = {"path": ["x/1.wav", "x/2.wav"], "speaker": [3.0, math.nan], "label": [0.5, None]}
    pq.write_table(pa.table(columns), table)
    first, second = read(table).clips
    assert (first.speaker, first.emotion) == ("3", "0.5")
    assert (second.speaker, second.emotion) == (None, None)


def test_only_columns_of_use_are_read_from_parquet(root):
    table = root / "t.parquet"
    columns = {"path": ["x/1.wav", "x/2.wav"], "embedding": [[1.0] * 9] * 2}
    pq.write_table(pa.table(columns), table)
    assert len(read(table).clips) == 2
    assert set(reasons(read(table, text="embedding")).values()) == {
        "expected text or a number, got a list"
    }


def test_files_in_no_row(root, write_noise):
    table = root / "x" / "t.csv"
    table.write_text("path\n1.wav\n")
    (root / "x" / "notes.txt").touch()
    assert reasons(read(table)) == {"2.wav": "in no row of t.csv"}
    write_noise(root / "x" / "3.wav")
    listing = read(table)
    assert listing.quarantined == ()
    assert "t.csv is a selection: 2 audio files beside those that it names" in listing.notes[-1]


def test_rows_of_no_use_are_set_aside(root):
    table = root / "t.csv"
    table.write_text(
        "path,emotion\nx/1.wav,sad,and more\nx/2.wav,sad,,\nx/2.wav\n\nx/3.wav,sad\na\0b.wav,c\n"
        + f"{'y' * 300}.wav,sad\n"
    )
    listing = read(table)
    assert [clip.path for clip in listing.clips] == ["x/2.wav", "x/2.wav"]
    found = reasons(listing)
    assert found.pop("t.csv, line 2") == "expected 2 cells, got 3: quote its commas"
    assert found.pop("x/3.wav") == "no such file"
    assert found.pop("x/1.wav") == "in no row of t.csv"
    assert "no such file" in found["a\0b.wav"] or "can't be opened" in found.pop("a\0b.wav")
    ((path, reason),) = [item for item in found.items() if item[0] != "a\0b.wav"]
    assert path.startswith("yyy") and "File name too long" in reason


def test_lines_of_no_use_are_set_aside(root):
    lines = ['{"path": "x/1.wav"}', "{half", "[1]", '{"path": {"a": 1}}', "[" * 99_999]
    lines += ['{"path": "x/2.wav", "emotion": "\\ud800"}', "9" * 5000]
    table = root / "t.jsonl"
    table.write_text("\n".join(lines))
    listing = read(table)
    assert [clip.path for clip in listing.clips] == ["x/1.wav"]
    found = reasons(listing)
    assert "is not JSON: Expecting property name" in found["t.jsonl, line 2"]
    assert found["t.jsonl, line 3"] == "expected a JSON object, got a list"
    assert found["t.jsonl, line 4"] == "expected text or a number, got a dict"
    assert "is not JSON" in found["t.jsonl, line 5"]
    assert "not Unicode" in found["t.jsonl, line 6"]
    assert set(found) == {f"t.jsonl, line {n}" for n in range(2, 8)} | {"x/2.wav"}


MISTAKES = {
    "t.csv": (
        b'path,text\na.wav,"two\nlines"\nb.wav,"open\nc.wav,x\n',
        "can't be read as CSV: unexpected end of data in the row that starts on line 4: close the",
    ),
    "closed later.csv": (
        b'path,text\na.wav,"open\nb.wav,"x"\n',
        "expected after '\"' in the row that starts on line 2: close the quote",
    ),
    "twice.csv": (b"path,emotion,emotion\na,b,c\n", "several columns called 'emotion'"),
    "latin.tsv": ("path\ngrö.wav\n".encode("latin-1"), "can't be read as CSV in UTF-8"),
    "latin.jsonl": (b'{"path": "\xf6"}', "can't be read as JSON Lines in UTF-8"),
    "t.jsonl": (b'{"a": 1}', "expected a column path .* got a:"),
    "t.parquet": (b"PAR1 no", "can't be read as parquet"),
    "t.xlsx": (b"PK", "expected a table ending in .csv, .tsv"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name, tmp_path):
    content, message = MISTAKES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read(tmp_path / name)


def test_a_folder_is_no_table(tmp_path):
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(DataError, match="Is a directory"):
        read(tmp_path / "t.csv")


CSV_HEADERS = {
    "path,emotion,speaker,gender,text,split": {},
    "Filename,Label,Speaker,GENDER,Text,Split": {},
    "wav,mood,who,sex,said,part": {
        "path": "wav",
        "emotion": "mood",
        "speaker": "who",
        "gender": "sex",
        "text": "said",
        "split": "part",
    },
}


@pytest.mark.parametrize("header", CSV_HEADERS)
def test_columns(header, tmp_path, write_noise):
    for name in ("x/1.wav", "x/2.wav"):
        write_noise(tmp_path / name)
    table = tmp_path / "t.csv"
    table.write_text(f"\ufeff{header}\nx/1.wav,sad,s1,F,hello,train\nx\\2.wav,,,other,,\n")
    first, second = read(table, **CSV_HEADERS[header]).clips
    assert (first.clip_id, first.path, first.emotion) == ("x/1", "x/1.wav", "sad")
    assert (first.speaker, first.gender, first.text, first.split) == (
        "s1",
        "female",
        "hello",
        "train",
    )
    assert (second.clip_id, second.emotion, second.speaker, second.gender) == ("x/2", *[None] * 3)


def test_says_what_it_did_not_find(tmp_path, write_noise):
    write_noise(tmp_path / "1.wav")
    table = tmp_path / "t.csv"
    table.write_text("path,mood,speaker\n1.wav,sad,s1\n")
    (note,) = read(table).notes
    assert note == (
        "emotion unknown: no column emotion or label among path, mood, speaker; "
        "if it has another name, say --map emotion=COLUMN"
    )
    assert read(table, emotion="mood").notes == ()


def test_sets_missing_files_aside(tmp_path, write_noise):
    write_noise(tmp_path / "audio" / "1.wav")
    (tmp_path / "tables").mkdir()
    table = tmp_path / "tables" / "t.csv"
    table.write_text("path,emotion\n../audio/1.wav,sad\n../audio/2.wav,sad\n,sad\n.,sad\n")
    listing = read(table)
    assert [clip.clip_id for clip in listing.clips] == ["../audio/1"]
    ((_, samples),) = listing.decode(listing.clips[0])
    assert len(samples) == 800
    assert [(item.path, item.reason) for item in listing.quarantined] == [
        ("../audio/2.wav", "no such file"),
        ("t.csv, line 4", "names no file"),
        (".", "is a folder"),
    ]


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        (b"", {}, "expected a column path .* got no columns"),
        (b"path,emotion\n", {}, "got no rows"),
        (
            b"name,emotion\na.wav,sad\n",
            {},
            r"expected a column path or filename or file or file_name, got name, emotion: .*"
            r"path=COLUMN .*emotion=COLUMN the label, if it is not called emotion or label",
        ),
        (b"path,emotion\na.wav,sad\n", {"emotion": "Emo"}, "has no column 'Emo', it has path"),
        (b"path,emotion\na\xff.wav,sad\n", {}, "can't be read as CSV in UTF-8"),
    ],
)
def test_tables_of_no_use(content, columns, message, tmp_path):
    table = tmp_path / "t.csv"
    table.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read(table, **columns)
