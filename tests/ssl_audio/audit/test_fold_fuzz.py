"""Folds written by others in any manner are folds of known clips, or are refused.

The small profile runs always, on the same examples; the large one is marked slow.
"""

import json

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from ssl_audio.audit.fold_folder import LISTS
from ssl_audio.audit.names import ClipNames
from ssl_audio.audit.others_splits import read_folds
from ssl_audio.data.folds import PARTS
from ssl_audio.data.manifest import Clip
from ssl_audio.errors import UserError

SMALL = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
LARGE = settings(SMALL, max_examples=3000, derandomize=False)
CLIPS = [Clip(clip_id=f"s{n}", path=f"Actor_{n % 3}/s{n}.wav") for n in range(9)]
KNOWN = {clip.clip_id for clip in CLIPS}

NAMES = st.sampled_from([*sorted(KNOWN), "Actor_1/s1.wav", "x/s2.flac", "s0.mp3"])
WORDS = st.sampled_from(["train", "test", "Validation", "dev", "fold", "fold1", "fold 0", "folds"])
NUMBERS = st.sampled_from(["0", "1", "2", "10", "True", "False", "", "1.0", "nan", "-1", "²"])
PART, FOLD = st.sampled_from(["train", "test"]), st.sampled_from(["1", "2"])
CELLS = NAMES | WORDS | NUMBERS | st.text(max_size=5)
KEYS = WORDS | NUMBERS | st.sampled_from(["path", "wav", "split", "clip_id"]) | st.text(max_size=4)
ITEMS = st.lists(NAMES | st.fixed_dictionaries({"wav": NAMES}), max_size=5)
JSON = st.recursive(
    ITEMS | CELLS | st.none() | st.booleans() | st.floats() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
PART_LISTS = st.dictionaries(st.sampled_from(["train", "test", "val", "eval"]), ITEMS, max_size=3)


@st.composite
def table(draw):
    """Rows of names with columns of folds or parts, and now and then a row of another length."""
    usual = st.sampled_from([["fold"], ["split"], ["fold", "split"], ["fold1", "fold2"]])
    columns = draw(usual | st.lists(KEYS, max_size=3, unique=True))
    kinds = [draw(st.sampled_from([PART, FOLD, NUMBERS, WORDS, CELLS])) for _ in columns]
    rows = [[draw(NAMES), *(draw(kind) for kind in kinds)] for _ in range(draw(st.integers(0, 6)))]
    rows += draw(st.just([]) | st.just([]) | st.lists(st.lists(CELLS, max_size=5), max_size=1))
    separator = draw(st.sampled_from(",\t;"))
    header = [draw(st.sampled_from(["path", "wav", "name", "x"])), *columns]
    return "\n".join(separator.join(row) for row in [header, *rows])


LINES = st.lists(NAMES, min_size=1).map("\n".join)
ODD_LINES = st.lists(NAMES | CELLS, max_size=6).map("\n".join)
FOLDS = st.one_of(PART_LISTS, st.lists(PART_LISTS, max_size=3), st.dictionaries(KEYS, PART_LISTS))
WRITTEN = st.one_of(
    st.tuples(st.just(".json"), (FOLDS | JSON).map(json.dumps) | st.text(max_size=30)),
    st.tuples(st.sampled_from([".csv", ".tsv"]), table()),
    st.tuples(st.sampled_from(LISTS), table() | ODD_LINES),
)
PLACES = st.sampled_from(["", "fold_1/", "fold2/", "x/"])
PAIRS = st.dictionaries(PLACES, st.tuples(LINES, LINES), max_size=2).map(
    lambda folds: {
        f"{fold}{part}.txt": lines
        for fold, pair in folds.items()
        for part, lines in zip(("train", "test"), pair, strict=True)
    }
)
STRAY_FILES = st.dictionaries(
    st.tuples(
        PLACES,
        st.sampled_from(["train", "test", "valid", "fold_1_test", "fold_1_train", "notes"]),
        st.sampled_from([".txt", ".csv", ".tsv", ".json"]),
    ).map("".join),
    table() | ODD_LINES,
    max_size=2,
)
FOLDERS = PAIRS | st.builds(dict.__or__, PAIRS, STRAY_FILES) | STRAY_FILES
MAPS = st.dictionaries(st.sampled_from(["path", "fold", "split"]), KEYS, max_size=2)


def check(path, columns):
    try:
        folds, num_lost = read_folds(path, ClipNames(CLIPS), columns)
    except UserError as error:
        event("refused")
        assert str(error)
        return
    event(f"{len(folds.folds)} folds")
    assert num_lost == 0 and folds.folds
    for fold in folds.folds:
        parts = [set(getattr(fold, part)) for part in PARTS]
        assert set().union(*parts) <= KNOWN
        assert sum(map(bool, parts)) >= 2


def check_file(root, written, columns):
    ending, content = written
    path = root / f"folds{ending}"
    path.write_text(content, encoding="utf-8", errors="replace")
    check(path, columns)


def check_folder(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8", errors="replace")
    check(folder, {})


@SMALL
@given(WRITTEN, st.just({}) | MAPS)
def test_files(tmp_path_factory, written, columns):
    check_file(tmp_path_factory.getbasetemp(), written, columns)


@SMALL
@given(FOLDERS)
def test_folders(tmp_path_factory, files):
    check_folder(tmp_path_factory.mktemp("folds"), files)


@pytest.mark.slow
@LARGE
@given(WRITTEN, st.just({}) | MAPS)
def test_many_files(tmp_path_factory, written, columns):
    check_file(tmp_path_factory.getbasetemp(), written, columns)


@pytest.mark.slow
@LARGE
@given(FOLDERS)
def test_many_folders(tmp_path_factory, files):
    check_folder(tmp_path_factory.mktemp("folds"), files)
