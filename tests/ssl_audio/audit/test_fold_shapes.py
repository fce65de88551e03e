"""Other people's folds: every shape gives the same folds, other things one line."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from ssl_audio.audit.command import Request, audit
from ssl_audio.audit.dealt_rows import Dealing
from ssl_audio.audit.names import ClipNames
from ssl_audio.audit.others_splits import read_folds
from ssl_audio.data.manifest import Clip, write_manifest
from ssl_audio.errors import UserError

CLIPS = [
    Clip(clip_id=f"s{speaker}-{number}", path=f"Actor_{speaker}/s{speaker}-{number}.flac")
    for speaker in range(3)
    for number in range(4)
]
NAMES = [clip.clip_id for clip in CLIPS]
FOLDS = {
    str(number + 1): {
        "train": [name for name in NAMES if name[1] != str(number)],
        "test": [name for name in NAMES if name[1] == str(number)],
    }
    for number in range(3)
}


def read(path, **columns):
    folds, num_lost = read_folds(path, ClipNames(CLIPS), columns)
    assert num_lost == 0
    return {
        str(fold.number): {"train": list(fold.train), "test": list(fold.test)}
        for fold in folds.folds
    }


def with_columns(mark):
    """A column for each fold."""
    columns = {f"fold{k}": [mark(n in f["test"]) for n in NAMES] for k, f in FOLDS.items()}
    return pd.DataFrame({"filename": NAMES, **columns})


def write_text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


JSON = {
    "named folds": {f"fold{number}": fold for number, fold in FOLDS.items()},
    "a list of folds": list(FOLDS.values()),
    "wrapped": {"folds": list(FOLDS.values())},
    "wrapped beside a number": {"seed": 1, "note": "x", "folds": list(FOLDS.values())},
    "other names": [{"Training": f["train"], "eval": f["test"]} for f in FOLDS.values()],
    "objects": [
        {part: [{"wav": f"x/{name}.wav", "emo": "sad"} for name in f[part]] for part in f}
        for f in FOLDS.values()
    ],
    "own clips": {f"fold{number}": fold["test"] for number, fold in FOLDS.items()},
    "lists of own clips": [fold["test"] for fold in FOLDS.values()],
}


@pytest.mark.parametrize("name", JSON)
def test_json(tmp_path, name):
    path = tmp_path / "folds.json"
    path.write_text(json.dumps(JSON[name]))
    assert read(path) == FOLDS


def test_json_of_one_fold(tmp_path):
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": NAMES[:4], "validation": NAMES[4:8], "test": NAMES[8:]}))
    (fold,) = read_folds(path, ClipNames(CLIPS), {})[0].folds
    assert (fold.train, fold.validation) == (tuple(NAMES[:4]), tuple(NAMES[4:8]))
    assert fold.test == tuple(NAMES[8:])


MARKS = {
    "parts": lambda is_test: "test" if is_test else "train",
    "1 is test": lambda is_test: int(is_test),
    "0 is test": lambda is_test: int(not is_test),
    "True is test": bool,
    "False is test": lambda is_test: not is_test,
}


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_column_for_each_fold(tmp_path, mark, ending):
    path = tmp_path / f"wide.{ending}"
    table = with_columns(MARKS[mark])
    table.to_csv(path, index=False) if ending == "csv" else table.to_parquet(path)
    assert read(path) == FOLDS


FOLD_NAMES = {
    "text": ([f"fold{k}" for k in range(1, 13)], range(1, 13)),
    "floats": ([f"{k}.0" for k in range(1, 12)], range(1, 12)),
    "no last numbers": ([f"{k}th" for k in range(1, 13)], range(1, 13)),
    "one last number": ([f"{k}/0" for k in (1, 2, 10)], (1, 2, 3)),
    "no number": (["b", "a", "²"], (2, 1, 3)),
    "too long to be one": (["1" * 5000, "2" * 5000], (1, 2)),
}


@pytest.mark.parametrize("name", FOLD_NAMES)
def test_numbers_of_folds(name):
    names, numbers = FOLD_NAMES[name]
    places = Dealing(names, None).places(Path("folds.csv"))
    tested = {number: parts["test"].tolist() for number, parts in places.items()}
    assert tested == {number: [place] for place, number in enumerate(numbers)}
    assert list(places) == sorted(numbers)


def write_emobox(root):
    """As EmoBox lays them out, its other files beside them."""
    for number, fold in FOLDS.items():
        for part, names in fold.items():
            stem = root / f"fold_{number}" / f"emo2_{part}_fold_{number}"
            lines = [
                {"key": f"emo2-{name}", "wav": f"downloads/x/Actor_{name[1]}/{name}.wav", "emo": ""}
                for name in names
            ]
            write_text(stem.with_suffix(".jsonl"), "\n".join(map(json.dumps, lines)))
            write_text(stem.with_suffix(".json"), json.dumps({n["key"]: n for n in lines}))
    write_text(root / "emo2.jsonl", json.dumps({"key": "x", "wav": "nowhere.wav"}))
    write_text(root / "label_map.json", "{}")


def write_parts(form, header="clip_id\n"):
    def write(root):
        for number, fold in FOLDS.items():
            for part, names in fold.items():
                text = header + "\n".join(names)
                write_text(root / form.format(part=part, number=number), text)

    return write


def write_split_columns(root):
    for number, fold in FOLDS.items():
        rows = [f"{name},{part}" for part in fold for name in fold[part]]
        write_text(root / f"fold{number}.csv", "\n".join(["path,split", *rows]))
    write_text(root / "notes.csv", "a,b\n1,2\n")


def write_own_clips(root):
    for number, fold in FOLDS.items():
        write_text(root / f"fold-{number}.txt", "\n".join(fold["test"]))
    write_text(root / "README.txt", "three folds")


FOLDERS = {
    "EmoBox": write_emobox,
    "part_1.csv": write_parts("{part}_{number}.csv"),
    "1_part.tsv": write_parts("{number}_{part}.tsv"),
    "part1.txt": write_parts("x3_{part}{number}.txt", ""),
    "part/fold1.csv": write_parts("{part}/fold{number}.csv"),
    "1/part.txt": write_parts("{number}/{part}.txt", ""),
    "split-01": write_parts("deep/split-0{number}/{part}.csv"),
    "cv3/fold": write_parts("cv3/fold_{number}/{part}.txt", ""),
    "split/session0": write_parts("split_{number}/session0_{part}.txt", ""),
    "fold/fold": write_parts("fold_{number}/fold_{number}/{part}_9.txt", ""),
    "a table per fold": write_split_columns,
    "a list per fold": write_own_clips,
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders(tmp_path, name):
    FOLDERS[name](tmp_path / "folds")
    write_text(tmp_path / "folds" / ".hidden_test_1.csv", "clip_id\nnowhere\n")
    assert read(tmp_path / "folds") == FOLDS


DOUBLES = {
    "a test list for all": (
        {"fold0/train.txt": 0, "fold0/test.txt": 1, "fold1/train.txt": 1, "test_all.txt": 2},
        r"test_all\.txt: expected the number of a fold in its name",
    ),
    "speakers": (
        {"train_1.csv": 0, "test_1.csv": 1, "train_speakers.txt": 2},
        r"train_speakers\.txt: expected the number of a fold",
    ),
    "one fold": (
        {"train.csv": 0, "test.csv": 1, "train_speakers.txt": 2},
        r"train_speakers\.txt: expected one list for train of fold 1, got \S+train\.csv too",
    ),
    "one number": (
        {"fold1/train.txt": 0, "fold1/test.txt": 1, "fold1/train_b.txt": 2},
        r"train_b\.txt: expected one list for train of fold 1, got \S+train\.txt too",
    ),
    "own clips": (
        {"fold1.txt": 0, "fold2.txt": 1, "fold2_b.txt": 2},
        r"fold2_b\.txt: expected one list for the clips of fold 2, got \S+fold2\.txt too",
    ),
}


@pytest.mark.parametrize("name", DOUBLES)
def test_lists_are_not_merged(tmp_path, name):
    speakers, message = DOUBLES[name]
    for path, speaker in speakers.items():
        names = [clip for clip in NAMES if clip[1] == str(speaker)]
        header = ["clip_id"] if path.endswith(".csv") else []
        write_text(tmp_path / path, "\n".join(header + names))
    with pytest.raises(UserError, match=message) as told:
        read(tmp_path)
    assert "\n" not in str(told.value)


def test_map_looks_at_lists_alone(tmp_path):
    write_parts("fold{number}/{part}.csv")(tmp_path / "folds")
    write_text(tmp_path / "folds" / ".x.parquet", "no parquet")
    request = Request(source=tmp_path / "nowhere", folds=tmp_path / "folds")
    for columns in ({}, {"clip_id": "clip_id"}):
        with pytest.raises(UserError, match="nowhere"):
            audit(replace(request, columns=columns))
    with pytest.raises(UserError, match="no table has this column, got clip_id"):
        audit(replace(request, columns={"clip_id": "x"}))


def test_a_folder_of_one_fold(tmp_path):
    for part, names in (("training", NAMES[:6]), ("dev", NAMES[6:8]), ("test", NAMES[8:])):
        write_text(tmp_path / "x" / f"emo_{part}.txt", "\n".join(names))
    (fold,) = read_folds(tmp_path / "x", ClipNames(CLIPS), {})[0].folds
    assert [len(fold.train), len(fold.validation), len(fold.test)] == [6, 2, 4]


MISTAKES = {
    "empty folder": (None, "expected a table with a column fold or split .* got a folder without"),
    "a.json": ("{", "can't be read as JSON"),
    "b.json": ('{"a": 1}', r"expected a table .* JSON \{\"train\": .* got dict \{\"a\": 1\}"),
    "c.json": ("3", "got int 3"),
    "d.json": ('{"train": [1, 2], "test": [3]}', "expected names of clips, or objects .* got 1"),
    "e.json": ("[]", "got list"),
    "f.json": ('[["s0-0"]]', "needs at least 2 folds, got 1"),
    "g.json": ('{"train": ["s0-0", "x"], "test": ["s1-0"]}', "1 of 3 names match no clip"),
    "h.csv": ("path,fold1,fold2\ns0-0,1,1\ns1-0,0,1\n", "expected one 1 per clip"),
    "i.csv": ("path,fold1,fold2\ns0-0,train,x\n", "expected parts train, validation and test"),
    "k.json": ('[["s0-0"], [], ["s1-0"]]', "expected clips in every fold, got none in fold '2'"),
    "l.json": ('{"train": [], "test": []}', "expected clips in every fold, got none"),
    "m.json": ("[[], []]", "expected clips in every fold, got none in fold '1'"),
    "n.json": (
        '{"a": {"train": ["s0-0"], "test": ["s1-0"]}, "b": {"train": [], "test": []}}',
        "got none in fold 'b'",
    ),
    "o.csv": (
        "path,fold1,split1\ns0-0,train,test\n",
        "expected one column for fold 1, got fold1 and split1",
    ),
    "p.csv": ("path,fold1,fold01\ns0-0,train,test\n", "got fold1 and fold01"),
    "j.csv": ("path,x\ns0-0,1\n", "got a table with path, x: say which column with --map fold="),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line(tmp_path, name):
    content, message = MISTAKES[name]
    path = tmp_path / name
    path.mkdir() if content is None else path.write_text(content)
    with pytest.raises(UserError, match=message) as told:
        read(path)
    assert "\n" not in str(told.value)


def test_a_column_called_fold_may_hold_parts(tmp_path):
    parts = ["test" if name.startswith("s0") else "train" for name in NAMES]
    pd.DataFrame({"path": NAMES, "fold": parts}).to_csv(tmp_path / "folds.csv", index=False)
    assert read(tmp_path / "folds.csv") == {"1": FOLDS["1"]}


def test_fold_minus_one_is_never_tested(tmp_path):
    """As in scikit-learn's PredefinedSplit."""
    numbers = [int(name[1]) - 1 for name in NAMES]
    pd.DataFrame({"path": NAMES, "fold": numbers}).to_csv(tmp_path / "folds.csv", index=False)
    assert read(tmp_path / "folds.csv") == {"0": FOLDS["2"], "1": FOLDS["3"]}


@pytest.mark.parametrize("ending", [".txt", ".yaml"])
def test_other_endings_are_told_what_is_read(tmp_path, ending):
    (tmp_path / f"folds{ending}").write_text("x\n")
    with pytest.raises(UserError, match=r"JSON .* a folder of train and test lists, ending in"):
        read(tmp_path / f"folds{ending}")


def test_clips_that_the_folds_leave_out_are_told(tmp_path):
    write_manifest(CLIPS, tmp_path / "manifest.parquet")
    parts = ["" if "-3" in name else "test" if name[1] == "0" else "train" for name in NAMES]
    pd.DataFrame({"path": NAMES, "split": parts}).to_csv(tmp_path / "folds.csv", index=False)
    source = tmp_path / "manifest.parquet"
    audited = audit(Request(source=source, folds=tmp_path / "folds.csv"))
    assert "3 clips that the split leaves out" in audited.missed
