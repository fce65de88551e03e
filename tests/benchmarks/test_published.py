"""Published figures: read strictly, in columns of their own, never among the recomputed ones."""

import csv
import math
import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from benchmarks.beside import lay_out_beside
from benchmarks.published import FILE, GRADES, Published, load_published
from benchmarks.results import SystemResult, predictions_path, save_predictions
from benchmarks.scoring import score_all
from benchmarks.tables import build_tables
from finetune.predictions import Predictions, Provenance
from ssl_audio.errors import DataError

RAVDESS = "ravdess-speech-8"
EMOBOX = "EmoBox, frozen last layer + small head"


def made_up(protocol, name="Ours", **about):
    rng = np.random.default_rng(0)
    classes = ("angry", "calm")
    frame = pd.DataFrame({"clip_id": [f"c{index:02d}" for index in range(40)]})
    frame["speaker"] = [f"s{index % 8}" for index in range(40)]
    frame["fold"], frame["seed"] = 1 + frame.index % 2, 0
    frame["label"] = [classes[index // 8 % 2] for index in range(40)]
    frame["angry"] = rng.uniform(size=40)
    frame["calm"] = 1 - frame["angry"]
    about = Provenance(system=name, protocol=protocol, classes=classes, **about)
    return Predictions(about, frame)


def sections_of(*predictions):
    return score_all([SystemResult(item.about, item.frame) for item in predictions])


def figure(**changes):
    """The first line of the file with some columns changed."""
    with FILE.open(newline="", encoding="utf-8") as file:
        return next(csv.DictReader(file)) | changes


def write(tmp_path, *lines):
    path = tmp_path / "published.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(Published.model_fields))
        writer.writeheader()
        writer.writerows(lines)
    return path


def test_the_file_holds_every_figure_once_with_source_and_grade():
    figures = load_published()
    assert Counter(figure.corpus for figure in figures) == {
        RAVDESS: 43,
        "hackerearth-7": 5,
        "ravdess-gender-emotion-10": 3,
    }
    assert all(figure.source.strip() and figure.grade in GRADES for figure in figures)
    for item in figures:
        assert 0 < item.value < 1
        assert item.fold_sd is None or item.fold_sd < 0.1
        if item.ci_low is not None:
            assert 0.03 < item.ci_high - item.ci_low < 0.15


@pytest.mark.parametrize(
    ("system", "protocol", "metric", "percent"),
    [
        ("wav2vec2-base", EMOBOX, "uar", 54.33),
        ("Whisper-large-v3", EMOBOX, "macro_f1", 75.19),
        ("HuBERT-large", "EmoBox folds, last layer + logistic regression", "uar", 70.8),
        ("XLS-R-300M", "leave one actor out, nested selection", "uar", 81.9),
        ("CNN14 from scratch", "four actor folds, chosen on test", "wa", 60.0),
        ("Human listeners", "listening test, seven options", "wa", 62.4),
        ("MFCC + 1-D CNN, as published", "random split after SMOTE", "wa", 92.0),
        ("Six ImageNet CNNs, majority vote", "leaderboard, hidden labels", "wa", 61.0835),
        ("OpenL3 frames + kNN", "leaderboard, hidden labels", "wa", 58.87663),
    ],
)
def test_figures_are_those_that_were_published(system, protocol, metric, percent):
    (found,) = (
        item
        for item in load_published()
        if (item.system, item.protocol, item.metric) == (system, protocol, metric)
    )
    assert math.isclose(100 * found.value, percent, rel_tol=1e-12)


def test_leaking_and_other_tests_are_never_graded_as_ours():
    for item in load_published():
        if "SMOTE" in item.protocol or "random split" in item.protocol:
            assert item.grade == "E" and not item.same_folds_as
        if "chosen on test" in item.protocol:
            assert item.grade == "D"
        if item.same_folds_as:
            assert item.same_folds_as in (f"{RAVDESS}/emobox6", f"{RAVDESS}/loso24")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": "54.33"}, "line 2: value: Input should be less than or equal to 1"),
        ({"value": ""}, "line 2: value: "),
        ({"value": "nan"}, "line 2: value: "),
        ({"ci_low": "0.5"}, "an interval has two ends"),
        ({"ci_low": "0.6", "ci_high": "0.7"}, "does not hold the value 0.5433"),
        ({"source": " "}, "line 2: source: "),
        ({"grade": "G"}, "line 2: grade: "),
        ({"metric": "accuracy"}, "line 2: metric: "),
        ({"same_folds_as": ""}, "grades A and B, and no others"),
        ({"same_folds_as": "emodb-4/loso10"}, "of another corpus"),
        ({"num_speakers": "0"}, "line 2: num_speakers: "),
    ],
)
def test_a_figure_that_does_not_fit_is_refused(changes, message, tmp_path):
    with pytest.raises(DataError, match=message):
        load_published(write(tmp_path, figure(**changes)))


def test_other_columns_and_repeated_figures_are_refused(tmp_path):
    with pytest.raises(DataError, match=f"line 3: wav2vec2-base, {RAVDESS}, .* is there twice"):
        load_published(write(tmp_path, figure(), figure(value="0.5")))
    path = write(tmp_path, figure())
    path.write_text(path.read_text().replace("fold_sd,", "sd,"))
    with pytest.raises(DataError, match="expected the columns system,corpus,protocol"):
        load_published(path)
    path.write_text(write(tmp_path, figure()).read_text() + "one,two\n")
    with pytest.raises(DataError, match="line 3: expected 15 columns, got 2"):
        load_published(path)


def test_no_protocol_shares_a_column_with_another():
    ours = [made_up(f"{RAVDESS}/{scheme}") for scheme in ("emobox6", "loso24")]
    table = lay_out_beside(sections_of(*ours), load_published())[RAVDESS]
    texts = [heading.text for heading in table.headings]
    assert len(texts) == len(set(texts))
    assert texts[1:4] == ["emobox6: UAR", "loso24: UAR", f"{EMOBOX}: UAR"]
    by_name = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    filled = {name: [text for text in cells if text] for name, cells in by_name.items()}
    assert len(filled["Ours"]) == 2
    assert filled["WavLM-large"] == [
        "72.0 B",
        "72.2 B",
        "71.4 B",
        "75.3 (fold SD 5.7) A",
        "81.3 [77.1, 85.2] A",
    ]
    assert filled["ResLSTM on MFCC + chroma"] == ["62.3 (SD of runs 1.2) D"]
    assert not any(cell.bold for row in table.rows for cell in row)


def test_headings_are_explained_with_source_folds_and_selection():
    table = lay_out_beside(sections_of(made_up(f"{RAVDESS}/emobox6")), load_published())[RAVDESS]
    heading = next(heading for heading in table.headings if heading.text == f"{EMOBOX}: UAR")
    (note,) = (text for mark, text in table.legend if mark in heading.marks)
    for fact in ("test clips of ravdess-speech-8/emobox6", "speakers: 24", "source: EmoBox"):
        assert fact in note
    grades = " ".join(table.remarks)
    assert "B our folds, a known flaw in the measuring" in grades and "; C " not in grades


def test_leaky_tables_and_corpora_without_figures_have_no_such_table():
    leaky = made_up(f"{RAVDESS}/random5-LEAKY", leak="leaky")
    assert lay_out_beside(sections_of(leaky, made_up("csv-2/x")), load_published()) == {}


def test_our_marked_rows_stay_marked_beside_published_ones():
    seen = made_up(f"{RAVDESS}/emobox6", "Seen", leak="transductive")
    table = lay_out_beside(sections_of(seen, made_up(f"{RAVDESS}/emobox6")), load_published())
    rows = {row[0].text: row[1] for row in table[RAVDESS].rows}
    (mark,) = rows["Seen"].marks
    assert dict(table[RAVDESS].legend)[mark].startswith("transductive: ")
    assert rows["Ours"].marks == ()


def test_published_figures_stand_in_the_tables_and_not_in_the_results(tmp_path):
    item = made_up(f"{RAVDESS}/emobox6")
    save_predictions(item, predictions_path(tmp_path, item.about.protocol, "ours", 1, 0))
    printed = build_tables(tmp_path)
    assert "beside published figures" not in printed
    for name in ("table.md", "table.tex", "table.html"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert f"{RAVDESS}: beside published figures" in text
        assert re.search(r"WavLM-large\b.*\b72\.0 B", text, re.DOTALL)
    for name in ("results.csv", "comparisons.csv"):
        assert "WavLM" not in (tmp_path / name).read_text(encoding="utf-8")
