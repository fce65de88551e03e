"""The results that are committed: made again from their predictions, they say the same."""

import csv
import json
import re
from pathlib import Path

import pytest

from benchmarks.results import load_results
from benchmarks.scoring import score_all
from benchmarks.tables import write_comparisons, write_csv, write_folds

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
RAVDESS = RESULTS / "ravdess-speech-8"
README_ROWS = {
    "permuted labels": "Permuted labels (log-mel statistics)",
    "MFCC + XGBoost": "MFCC + XGBoost",
    "MFCC statistics + SVM": "MFCC statistics + SVM",
    "ours, from scratch": "Ours, from scratch",
    "eGeMAPS + logistic regression": "eGeMAPS + logistic regression",
    "ours, pretrained on the competition's audio": "Ours, pretrained",
}


@pytest.mark.parametrize(
    "folder",
    [
        "ravdess-speech-8",
        "random5-LEAKY",
        *("strategies", "augmentation", "label-efficiency", "self-training"),
    ],
)
def test_the_predictions_give_the_committed_numbers(folder, tmp_path):
    loaded = load_results(RESULTS / folder)
    sections = score_all(loaded)
    write_csv(sections, tmp_path / "results.csv")
    write_comparisons(sections, tmp_path / "comparisons.csv")
    write_folds(loaded, tmp_path / "folds.csv")
    for name in ("results.csv", "comparisons.csv", "folds.csv"):
        assert (tmp_path / name).read_bytes() == (RESULTS / folder / name).read_bytes()


def test_the_readme_quotes_the_committed_table():
    with (RAVDESS / "results.csv").open(encoding="utf-8") as file:
        rows = {
            row["system"]: row
            for row in csv.DictReader(file)
            if (row["protocol"], row["metric"]) == ("ravdess-speech-8/emobox6", "uar")
        }
    quoted = re.findall(
        r"^\| (.+?)(?: \((\d) seeds\))? \| (\S+) \[(\S+), (\S+)\] \|$",
        (ROOT / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert {name for name, *_ in quoted} == set(README_ROWS)
    for name, seeds, *numbers in quoted:
        row = rows[README_ROWS[name]]
        assert row["n_seeds"] == (seeds or "1")
        exact = [100 * float(row[key]) for key in ("value", "ci_low", "ci_high")]
        # Half of the last digit that is quoted, and of the last one in the file.
        assert [float(number) for number in numbers] == pytest.approx(exact, abs=0.0501), name


def test_records_name_no_folder_of_the_machine_that_made_them():
    records = sorted(RESULTS.glob("*/runs/*/run.json")) + sorted(RESULTS.glob("*/run.json"))
    assert len(records) > 100
    for path in records:
        texts = [path.read_text(encoding="utf-8")]
        assert json.loads(texts[0])["command"].startswith("benchmarks ")
        assert not re.search(r'"(/|~|[A-Z]:\\)', texts[0]), path
