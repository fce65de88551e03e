import csv
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, recall_score

from benchmarks.importing import import_predictions
from benchmarks.results import predictions_path, save_predictions, slug
from benchmarks.tables import build_tables
from finetune.predictions import Predictions, Provenance
from ssl_audio.errors import DataError, UserError
from ssl_audio.quickstart import MADE

CLASSES = ("angry", "calm", "happy")
COLUMNS = (
    "system,task,protocol,metric,value,ci_low,ci_high,fold_sd,n_clips,n_speakers,n_folds,n_seeds,"
    "parameters,train_seconds,pretraining_data,leak,barred"
)
HOSTILE = '50% [ours] & <b>a_b</b> | #1 {x} \\ ~^ "q"'


def predict(system, seed=0, fold=1, speakers=4, skill=0.3, protocol="p-3/x", **about):
    """Predictions of a made-up system on 15 clips of each of some speakers."""
    rng = np.random.default_rng([seed, fold, len(system)])
    names = [f"{fold}-{number}" for number in range(speakers)]
    labels = np.tile(np.arange(3), 5 * speakers)
    probabilities = rng.dirichlet(np.ones(3), len(labels))
    probabilities[np.arange(len(labels)), labels] += skill
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    frame = pd.DataFrame(probabilities, columns=list(CLASSES))
    frame.insert(0, "clip_id", [f"{fold}-clip{number}" for number in range(len(labels))])
    frame.insert(1, "speaker", np.repeat(names, 15))
    frame.insert(2, "fold", fold)
    frame.insert(3, "seed", seed)
    frame.insert(4, "label", [CLASSES[label] for label in labels])
    return Predictions(
        Provenance(system=system, protocol=protocol, classes=CLASSES, **about), frame
    )


def store(results, *predictions):
    for item in predictions:
        fold, seed = item.frame["fold"].iloc[0], item.frame["seed"].iloc[0]
        about = item.about
        path = predictions_path(results, about.protocol, slug(about.system), fold, seed)
        save_predictions(item, path)


def read_csv(results):
    with (results / "results.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_results_hold_the_contracts_columns_and_recomputed_values(tmp_path):
    runs = [predict("Ours", seed, fold) for seed in (0, 1) for fold in (1, 2, 3)]
    store(tmp_path, *runs)
    build_tables(tmp_path)
    assert (tmp_path / "results.csv").read_text().splitlines()[0] == COLUMNS
    frame = pd.concat([run.frame for run in runs])
    decided = np.array(CLASSES)[frame[list(CLASSES)].to_numpy().argmax(axis=1)]
    rows = {row["metric"]: row for row in read_csv(tmp_path)}
    expected = {
        "uar": recall_score(frame["label"], decided, average="macro"),
        "wa": accuracy_score(frame["label"], decided),
        "macro_f1": f1_score(frame["label"], decided, average="macro"),
    }
    assert set(rows) == {*expected, "calibration_error"}
    for metric, value in expected.items():
        assert float(rows[metric]["value"]) == pytest.approx(value, abs=1e-6)
        assert float(rows[metric]["ci_low"]) < value < float(rows[metric]["ci_high"])
    by_fold = [
        recall_score(part["label"], decided[(frame["fold"] == fold).to_numpy()], average="macro")
        for fold, part in frame.groupby("fold")
    ]
    assert float(rows["uar"]["fold_sd"]) == pytest.approx(np.std(by_fold, ddof=1), abs=1e-6)
    counts = {key: rows["uar"][key] for key in ("n_clips", "n_speakers", "n_folds", "n_seeds")}
    assert counts == {"n_clips": "180", "n_speakers": "12", "n_folds": "3", "n_seeds": "2"}


def test_rebuilding_gives_the_same_bytes(tmp_path):
    """Whenever and in whatever order the predictions were written."""
    runs = [
        *(predict("Ours", seed, fold, speakers=8) for seed in (0, 1) for fold in (1, 2)),
        *(predict("Theirs", 0, fold, speakers=8, skill=0.1) for fold in (1, 2)),
        predict("Leaky", protocol="p-3/random5-LEAKY"),
        predict("Beside", protocol="ravdess-speech-8/emobox6"),
    ]
    store(tmp_path / "a", *runs)
    build_tables(tmp_path / "a")
    store(tmp_path / "b", *reversed(runs))
    for age, path in enumerate(sorted((tmp_path / "b" / "predictions").iterdir())):
        os.utime(path, (1e9 - age, 1e9 - age))
    build_tables(tmp_path / "b")
    files = [path for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert {path.name for path in files} > {
        "results.csv",
        "comparisons.csv",
        "folds.csv",
        "table.md",
        "table.tex",
        "table.html",
    }
    assert any(path.suffix == ".png" for path in files)
    first = {path.relative_to(tmp_path / "a"): path.read_bytes() for path in files}
    build_tables(tmp_path / "a")
    for path, content in first.items():
        assert (tmp_path / "a" / path).read_bytes() == content, path
        assert (tmp_path / "b" / path).read_bytes() == content, path


def test_every_pair_of_a_table_is_in_the_comparisons(tmp_path):
    store(
        tmp_path,
        *(
            predict(name, fold=fold, speakers=6, skill=skill)
            for name, skill in {"A": 0, "B": 0.3, "C": 0.6}.items()
            for fold in (1, 2)
        ),
        *(predict(name, protocol="p-3/random5-LEAKY") for name in "DE"),
    )
    build_tables(tmp_path)
    with (tmp_path / "comparisons.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["first"], row["second"]) for row in rows] == [("C", "B"), ("C", "A"), ("B", "A")]
    for row in rows:
        low, value, high = (float(row[name]) for name in ("ci_low", "difference", "ci_high"))
        assert 0 <= value and low <= value <= high and row["n_speakers"] == "12"
        assert 0 <= float(row["p"]) <= float(row["p_holm"]) <= 1
        assert 0 <= float(row["p_folds"]) <= 1
    scores = {row["system"]: float(row["value"]) for row in read_csv(tmp_path)[::4]}
    assert float(rows[1]["difference"]) == pytest.approx(scores["C"] - scores["A"], abs=2e-6)


def test_no_average_hides_a_fold(tmp_path):
    runs = [
        predict("A", fold=fold, speakers=6, skill=skill) for fold, skill in ((1, 0.9), (2, 0.1))
    ]
    store(tmp_path, *runs)
    build_tables(tmp_path)
    with (tmp_path / "folds.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["fold"], row["seed"]) for row in rows] == [("1", "0"), ("2", "0")]
    for row, run in zip(rows, runs, strict=True):
        decided = run.probabilities().argmax(1)
        labels = run.frame["label"].map(run.about.classes.index).to_numpy()
        recalls = [np.mean(decided[labels == label] == label) for label in set(labels)]
        assert float(row["uar"]) == pytest.approx(np.mean(recalls), abs=1e-6)
        assert int(row["n_clips"]) == len(labels)


def test_protocols_share_no_table(tmp_path):
    store(tmp_path, predict("Ours", protocol="p-3/x"), predict("Ours", protocol="q-3/y"))
    markdown = build_tables(tmp_path)
    assert re.findall("^## (.*)$", markdown, re.M) == [
        "p-3/x (single, 3 classes)",
        "q-3/y (single, 3 classes)",
    ]
    assert (tmp_path / "table.tex").read_text().count(r"\begin{table*}") == 2
    assert (tmp_path / "table.html").read_text().count("<table>") == 2


def test_rows_say_what_a_reader_must_know(tmp_path):
    store(
        tmp_path,
        *(predict("Full", fold=fold, speakers=6) for fold in (1, 2)),
        predict("Cut", notes=("budget cut at step 300 of 600",), skill=0.05),
        predict("Seen", leak="transductive", pretraining_data="competition+ravdess", skill=0.1),
    )
    markdown = build_tables(tmp_path)
    table, _ = markdown.split("### ")
    lines = {line.split("|")[1].strip(): line for line in table.splitlines() if "|" in line}
    assert "Cut (a, b)" in lines and "Full" in lines and "Seen (a, c)" in lines
    assert "n = 4, indicative" in lines["Cut (a, b)"]
    assert "n = 12 " in lines["Full"]
    assert "(a) incomplete: fold 1 only, of 2" in markdown
    assert "(b) budget cut at step 300 of 600" in markdown
    assert "(c) transductive: the encoder saw the audio of the test clips" in markdown
    assert re.search(r"\| \d\d\.\d \[\d\d\.\d, \d\d\.\d\] ", lines["Full"])
    assert {row["leak"] for row in read_csv(tmp_path) if row["system"] == "Seen"} == {
        "transductive"
    }


def test_results_tell_which_rows_are_barred_and_why(tmp_path):
    part = predict("Part", fold=2)
    store(
        tmp_path,
        *(predict("Free", fold=fold, notes=("layer 7 chosen",)) for fold in (1, 2)),
        replace(part, frame=part.frame.iloc[:30]),
        *(
            predict("Known", fold=fold, contaminated="tuned on it", reduced="3 of 71 epochs")
            for fold in (1, 2)
        ),
        *(predict("Seen", fold=fold, leak="transductive") for fold in (1, 2)),
        predict("Leaky", leak="leaky"),
    )
    build_tables(tmp_path)
    barred = {row["system"]: row["barred"] for row in read_csv(tmp_path)}
    assert barred["Free"] == ""
    assert barred["Part"].startswith("incomplete: ")
    assert "tuned on it" in barred["Known"] and "3 of 71 epochs" in barred["Known"]
    assert barred["Known"].count("; ") == 1
    assert barred["Seen"].startswith("transductive: ")
    assert "leaky: " in barred["Leaky"]


def test_a_new_quickstart_removes_all_that_tables_write(tmp_path):
    store(tmp_path, predict("Ours"))
    build_tables(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {*MADE}


def test_rows_come_worst_first(tmp_path):
    store(tmp_path, predict("Good", skill=2.0), predict("Bad", skill=0.0))
    build_tables(tmp_path)
    assert [row["system"] for row in read_csv(tmp_path) if row["metric"] == "uar"] == [
        "Bad",
        "Good",
    ]


def test_unknown_speakers_are_said(tmp_path):
    predictions = predict("Ours")
    predictions.frame["speaker"] = None
    store(tmp_path, predictions)
    markdown = build_tables(tmp_path)
    assert "speakers unknown: the interval clusters by" in markdown
    assert "clustered by speaker" not in markdown
    row = read_csv(tmp_path)[0]
    assert row["n_speakers"] == "" and float(row["ci_low"]) < float(row["value"])


def test_one_speaker_gives_no_interval(tmp_path):
    store(tmp_path, predict("Ours", speakers=1))
    assert "n = 1 speaker: no interval" in build_tables(tmp_path)
    assert read_csv(tmp_path)[0]["ci_low"] == ""


class Page(HTMLParser):
    """Collects what a page asks the network for, its tags and its text."""

    def __init__(self, text):
        super().__init__()
        self.links, self.tags, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


def test_the_page_needs_no_network_and_escapes_names(tmp_path):
    store(tmp_path, predict(HOSTILE, notes=("<script>alert(1)</script>",)))
    build_tables(tmp_path)
    page = Page((tmp_path / "table.html").read_text(encoding="utf-8"))
    assert page.links and all(link.startswith("data:image/png;base64,") for link in page.links)
    assert page.tags.count("script") == 1
    assert "b" not in page.tags
    assert HOSTILE in page.text
    assert "https://" not in page.text and "http://" not in page.text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
def test_latex_compiles(tmp_path):
    hostile = predict(HOSTILE, notes=("50% & more_",), pretraining_data="a_b+c", leak="leaky")
    store(tmp_path, hostile, predict("[first] in its cell", skill=0.0))
    build_tables(tmp_path)
    (tmp_path / "paper.tex").write_text(
        r"\documentclass[twocolumn]{article}\usepackage{booktabs}"
        r"\begin{document}\input{table.tex}\end{document}"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Overfull" not in done.stdout


def test_no_predictions_is_said(tmp_path):
    with pytest.raises(UserError, match="holds no predictions"):
        build_tables(tmp_path)


def test_systems_that_disagree_about_a_label_are_refused(tmp_path):
    wrong = predict("Theirs")
    wrong.frame.loc[0, "label"] = "calm"
    store(tmp_path, predict("Ours"), wrong)
    with pytest.raises(DataError, match=r"clip 1-clip0 is 'calm' for Theirs and 'angry' for Ours"):
        build_tables(tmp_path)


def test_two_rows_of_one_title_are_refused_by_their_files(tmp_path):
    store(tmp_path, predict("Ours", fold=1), predict("Ours", fold=2))
    again = predict("Ours", fold=2)
    other = replace(again, frame=again.frame.iloc[::-1])
    save_predictions(other, predictions_path(tmp_path, "p-3/x", "theirs", 2, 0))
    message = (
        r"__ours__fold2__seed0.parquet and \S+__theirs__fold2__seed0.parquet are both of 'Ours' "
        r"and both hold clip 2-clip0 for fold 2, seed 0: give the rows different titles"
    )
    with pytest.raises(DataError, match=message):
        build_tables(tmp_path)


def test_a_clip_twice_in_one_file_is_refused(tmp_path):
    ours = predict("Ours")
    store(tmp_path, replace(ours, frame=pd.concat([ours.frame, ours.frame.iloc[:1]])))
    with pytest.raises(DataError, match="clip 1-clip0 is there twice for fold 1, seed 0"):
        build_tables(tmp_path)


def test_systems_with_other_classes_are_refused(tmp_path):
    other = predict("Theirs")
    frame = other.frame.rename(columns={"happy": "glad"}).iloc[:1]
    classes = ("angry", "calm", "glad")
    about = Provenance(system="Theirs", protocol="p-3/x", classes=classes)
    store(tmp_path, predict("Ours"), Predictions(about, frame))
    with pytest.raises(DataError, match=r"classes are angry, calm, glad for Theirs and angry, "):
        build_tables(tmp_path)


def test_a_system_whose_files_have_other_classes_is_refused(tmp_path):
    other = predict("Ours", fold=2)
    frame = other.frame.rename(columns={"happy": "glad"})
    frame["label"] = frame["label"].replace("happy", "glad")
    about = Provenance(system="Ours", protocol="p-3/x", classes=("angry", "calm", "glad"))
    store(tmp_path, predict("Ours"), Predictions(about, frame))
    with pytest.raises(DataError, match="of one system but have different classes"):
        build_tables(tmp_path)


def marked_in(results, system, note):
    """In which formats a row carries the mark that the note is listed under."""
    found = set()
    forms = {
        "table.md": (r"^\((\w+)\) ", r"\| SYSTEM \((\w+, )*MARK\b"),
        "table.tex": (r"^\$\^\{(\w+)\}\$ ", r"[ }]SYSTEM\$\^\{(\w+,)*MARK\b"),
        "table.html": (r"<p><sup>(\w+)</sup> ", r">SYSTEM<sup> (\w+, )*MARK\b"),
    }
    for name, (listed, row) in forms.items():
        text = (results / name).read_text(encoding="utf-8")
        mark = re.search(listed + re.escape(note), text, re.M)
        if mark and re.search(row.replace("SYSTEM", system).replace("MARK", mark[1]), text):
            found.add(name)
    return found


FORMATS = {"table.md", "table.tex", "table.html"}
WARNING = "This table leaks"


def tables_with(results, text):
    """Formats that hold a text."""
    return {name for name in FORMATS if text in (results / name).read_text(encoding="utf-8")}


def test_every_row_of_a_leaky_protocol_is_marked_whatever_its_file_declares(tmp_path):
    leaky = "p-3/random5-LEAKY"
    store(tmp_path, predict("A", protocol=leaky), predict("B"))
    store(tmp_path, predict("C", protocol=leaky, leak="transductive"))
    build_tables(tmp_path)
    assert {row["system"]: row["leak"] for row in read_csv(tmp_path)} == {
        "A": "leaky",
        "B": "",
        "C": "leaky",
    }
    for system, formats in {"A": FORMATS, "B": set(), "C": FORMATS}.items():
        assert marked_in(tmp_path, system, "leaky: ") == formats
    assert tables_with(tmp_path, WARNING) == FORMATS


def test_an_imported_row_of_a_leaky_protocol_is_marked(tmp_path):
    source = tmp_path / "mine.csv"
    predict("A").frame.to_csv(source, index=False)
    import_predictions(source, "Mine", "p-3/random5-LEAKY", tmp_path)
    build_tables(tmp_path)
    assert {row["leak"] for row in read_csv(tmp_path)} == {"leaky"}
    assert marked_in(tmp_path, "Mine", "leaky: ") == FORMATS
    assert tables_with(tmp_path, WARNING) == FORMATS


def test_a_row_declared_leaky_never_stands_beside_honest_ones(tmp_path):
    store(tmp_path, predict("A", leak="leaky"), predict("B"), predict("C", protocol="z-3/last"))
    markdown = build_tables(tmp_path)
    honest, leaky = markdown.split("## p-3/x (single, 3 classes, leaky)")
    assert "| B " in honest and "| C " in honest and "| A " not in honest and WARNING not in honest
    assert "| A (a)" in leaky and "| B " not in leaky and WARNING in leaky
    assert (tmp_path / "table.tex").read_text().count(r"\begin{table*}") == 3
    assert (tmp_path / "table.html").read_text().count("<table>") == 3


def test_a_transductive_row_carries_its_mark_in_every_format(tmp_path):
    store(tmp_path, predict("A", leak="transductive"), predict("B"))
    build_tables(tmp_path)
    assert marked_in(tmp_path, "A", "transductive: ") == FORMATS
    assert marked_in(tmp_path, "B", "transductive: ") == set()
    assert tables_with(tmp_path, WARNING) == set()


def test_a_row_of_fewer_clips_is_marked(tmp_path):
    part = predict("Part")
    store(tmp_path, predict("Whole"), replace(part, frame=part.frame.iloc[:30]))
    build_tables(tmp_path)
    assert marked_in(tmp_path, "Part", "incomplete: 30 of 60 test clips") == FORMATS
    assert marked_in(tmp_path, "Whole", "incomplete: ") == set()


def test_a_row_of_one_fold_beside_one_of_six_is_marked(tmp_path):
    store(tmp_path, *(predict("Six", fold=fold) for fold in range(1, 7)), predict("One"))
    build_tables(tmp_path)
    assert marked_in(tmp_path, "One", "incomplete: fold 1 only, of 6") == FORMATS
    assert marked_in(tmp_path, "Six", "incomplete: ") == set()


def test_intervals_are_called_what_they_are(tmp_path):
    unknown = predict("A")
    unknown.frame["speaker"] = None
    store(tmp_path, unknown)
    assert "clustered by recording (jackknife)" in build_tables(tmp_path)
    store(tmp_path, predict("A"))
    assert "clustered by speaker (jackknife)" in build_tables(tmp_path)
    store(tmp_path, predict("A", speakers=1))
    assert "in brackets" not in build_tables(tmp_path)
