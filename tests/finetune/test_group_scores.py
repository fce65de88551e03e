import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.group_scores import score_groups, score_multilabel_groups

CLASSES = ("angry", "calm", "happy")
GENDER = {"a": "female", "b": "male", "c": "female", "d": None, None: None}


def draw(seed, num_clips):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, num_clips)
    probabilities = rng.dirichlet(np.ones(3), num_clips)
    speakers = [[*"abcd", None][index] for index in rng.integers(0, 5, num_clips)]
    return labels, probabilities, speakers, [GENDER[speaker] for speaker in speakers]


def slow_rows(labels, probabilities, groups):
    """Name: clips, UAR, WA, recalls; counted clip by clip."""
    rows = {}
    for group in set(groups):
        found = {name: [] for name in CLASSES}
        for label, answer, other in zip(labels, probabilities, groups, strict=True):
            if other == group:
                found[CLASSES[label]].append(max(answer) == answer[label])
        recalls = {name: np.mean(right) for name, right in found.items() if right}
        everything = [right for those in found.values() for right in those]
        name = "unknown" if group is None else group
        rows[name] = (
            len(everything),
            np.mean(list(recalls.values())),
            np.mean(everything),
            recalls,
        )
    return rows


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_tables_equal_a_count_clip_by_clip(seed, num_clips):
    labels, probabilities, speakers, genders = draw(seed, num_clips)
    scores = score_groups(labels, probabilities, speakers, genders, CLASSES)
    for rows, groups in ((scores.genders, genders), (scores.speakers, speakers)):
        expected = slow_rows(labels, probabilities, groups)
        assert {row.group for row in rows} == expected.keys()
        for row in rows:
            num, uar, wa, recalls = expected[row.group]
            assert row.num_clips == num
            assert row.scores == pytest.approx({"uar": uar, "wa": wa})
            assert row.recalls == pytest.approx(recalls)
        names = [row.group for row in rows]
        known = [name for name in names if name != "unknown"]
        assert names == sorted(known) + ["unknown"] * (len(names) - len(known))


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_the_gap_is_over_the_classes_that_both_have(seed, num_clips):
    labels, probabilities, speakers, genders = draw(seed, num_clips)
    scores = score_groups(labels, probabilities, speakers, genders, CLASSES)
    rows = slow_rows(labels, probabilities, genders)
    female, male = (rows.get(gender, (0, 0, 0, {}))[3] for gender in ("female", "male"))
    shared = female.keys() & male.keys()
    if shared:
        gap = np.mean([female[name] - male[name] for name in shared])
        assert scores.gender_gap == pytest.approx(gap)
    else:
        assert scores.gender_gap is None


def test_lines_hold_every_figure_and_stand_in_columns():
    labels = np.array([0, 0, 1, 2])
    probabilities = np.eye(3)[[0, 1, 1, 2]]
    scores = score_groups(
        labels,
        probabilities,
        ["ann", "ann", "zoe", None],
        ["female", "female", "male", None],
        CLASSES,
    )
    assert scores.describe() == [
        "gender   clips    uar     wa  angry   calm  happy",
        "female       2  0.500  0.500  0.500      -      -",
        "male         1  1.000  1.000      -  1.000      -",
        "unknown      1  1.000  1.000      -      -  1.000",
        "",
        "speaker  clips    uar     wa  angry   calm  happy",
        "ann          2  0.500  0.500  0.500      -      -",
        "zoe          1  1.000  1.000      -  1.000      -",
        "unknown      1  1.000  1.000      -      -  1.000",
    ]


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_tables_of_several_classes_equal_a_count_clip_by_clip(seed, num_clips):
    rng = np.random.default_rng(seed)
    targets, decided = rng.integers(0, 2, (2, num_clips, 3))
    speakers = [[*"abcd", None][index] for index in rng.integers(0, 5, num_clips)]
    genders = [GENDER[speaker] for speaker in speakers]
    scores = score_multilabel_groups(targets, decided, speakers, genders, CLASSES)
    for rows, groups in ((scores.genders, genders), (scores.speakers, speakers)):
        for row in rows:
            mine = [n for n, group in enumerate(groups) if (group or "unknown") == row.group]
            recalls, f1 = {}, []
            for column, name in enumerate(CLASSES):
                true = {n for n in mine if targets[n, column]}
                said = {n for n in mine if decided[n, column]}
                if true:
                    recalls[name] = len(true & said) / len(true)
                    f1.append(2 * len(true & said) / (len(true) + len(said)))
            assert row.num_clips == len(mine)
            assert row.recalls == pytest.approx(recalls)
            means = [
                np.mean(values) if values else np.nan for values in (list(recalls.values()), f1)
            ]
            assert list(row.scores) == ["mean_recall", "macro_f1"]
            assert list(row.scores.values()) == pytest.approx(means, nan_ok=True)
    lines = scores.describe()
    assert lines[0].split() == ["gender", "clips", "mean_recall", "macro_f1", *CLASSES]
    with pytest.raises(ValueError, match="2 columns"):
        score_multilabel_groups(targets, decided, speakers, genders, CLASSES[:2])


def test_the_gap_is_told_with_its_sign():
    probabilities = np.eye(3)[[0, 1]]
    scores = score_groups(np.array([0, 0]), probabilities, ["a", "b"], ["male", "female"], CLASSES)
    assert scores.gender_gap == -1
    assert "gap, female - male UAR: -1.000" in scores.describe()


@pytest.mark.parametrize(
    ("numbers", "columns", "message"),
    [
        ((2, 1, 2, 2), 3, r"got \(2, 1, 2, 2\)"),
        ((2, 2, 2, 3), 3, r"got \(2, 2, 2, 3\)"),
        ((0, 0, 0, 0), 3, "at least one"),
        ((1, 1, 1, 1), 2, r"3 columns, got shape \(1, 2\)"),
    ],
)
def test_numbers_that_differ_are_refused(numbers, columns, message):
    labels, clips, speakers, genders = numbers
    with pytest.raises(ValueError, match=message):
        score_groups(
            np.zeros(labels, np.int64),
            np.full((clips, columns), 1 / columns),
            ["a"] * speakers,
            ["female"] * genders,
            CLASSES,
        )
