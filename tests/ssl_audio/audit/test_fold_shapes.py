"""Other people's folds: every shape gives the same folds, other things one line."""

import json

import pandas as pd
import pytest

from ssl_audio.audit.names import ClipNames
from ssl_audio.audit.others_splits import read_folds
from ssl_audio.data.manifest import Clip
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
}


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_column_for_each_fold(tmp_path, mark, ending):
    path = tmp_path / f"wide.{ending}"
    table = with_columns(MARKS[mark])
    table.to_csv(path, index=False) if ending == "csv" else table.to_parquet(path)
    assert read(path) == FOLDS


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
    "a table per fold": write_split_columns,
    "a list per fold": write_own_clips,
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders(tmp_path, name):
    FOLDERS[name](tmp_path / "folds")
    write_text(tmp_path / "folds" / ".hidden_test_1.csv", "clip_id\nnowhere\n")
    assert read(tmp_path / "folds") == FOLDS


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
