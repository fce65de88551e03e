from pathlib import Path

import pandas as pd
import pytest

from benchmarks.importing import Declared, import_predictions
from benchmarks.results import load_results
from benchmarks.tables import build_tables
from finetune.predictions import Predictions, Provenance
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.errors import DataError, UserError
from tests.ssl_audio.launching import run_command

ROOT = Path(__file__).resolve().parents[2]
TONES = "tones-3/speakers3"
HEADER = "clip_id,speaker,fold,seed,label,angry,calm\n"
GOOD = HEADER + "a,1,1,0,angry,0.75,0.25\nb,2,1,0,calm,0.5,0.5\nc,,2,0,calm,1e-3,0.999\n"
PROTOCOL = "mine-2/x"


def write(tmp_path, text):
    path = tmp_path / "predictions.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_becomes_one_file_for_each_fold_and_seed(tmp_path):
    source = write(tmp_path, GOOD)
    imported = import_predictions(source, "My model (v2)", PROTOCOL, tmp_path / "results")
    assert [path.name for path in imported.files] == [
        "mine-2-x__my-model-v2-503dd8__fold1__seed0.parquet",
        "mine-2-x__my-model-v2-503dd8__fold2__seed0.parquet",
    ]
    (result,) = load_results(tmp_path / "results")
    assert result.about == Provenance(
        system="My model (v2)",
        protocol=PROTOCOL,
        classes=("angry", "calm"),
        notes=("imported: what it was trained on is not known",),
    )
    assert result.frame["clip_id"].tolist() == ["a", "b", "c"]
    assert result.probabilities.tolist() == [[0.75, 0.25], [0.5, 0.5], [0.001, 0.999]]
    assert result.speakers == ["1", "2", None]


def test_importing_again_replaces(tmp_path):
    for probability in ("0.75,0.25", "0.25,0.75"):
        source = write(tmp_path, HEADER + f"a,1,1,0,angry,{probability}\n")
        import_predictions(source, "m", PROTOCOL, tmp_path)
    (result,) = load_results(tmp_path)
    assert result.probabilities.tolist() == [[0.25, 0.75]]


def test_folds_may_come_one_by_one(tmp_path):
    for fold in (1, 2):
        source = write(tmp_path, HEADER + f"a{fold},{fold},{fold},0,angry,1,0\n")
        import_predictions(source, "m", PROTOCOL, tmp_path)
    (result,) = load_results(tmp_path)
    assert result.frame["fold"].tolist() == [1, 2]


def save_one(about, path):
    """A run's file with one clip."""
    frame = pd.DataFrame(
        [["a", "s", 1, 0, "calm", 0.5, 0.5]],
        columns=["clip_id", "speaker", "fold", "seed", "label", "angry", "calm"],
    )
    Predictions(about, frame).save(path)


def test_a_parquet_keeps_its_provenance_but_for_the_name(tmp_path):
    about = Provenance(
        system="finetuned",
        protocol="p-2/y",
        classes=("angry", "calm"),
        parameters=5,
        train_seconds=1.5,
        pretraining_data="competition",
        leak="transductive",
        notes=("random weights",),
    )
    save_one(about, tmp_path / "p.parquet")
    import_predictions(tmp_path / "p.parquet", "Ours", None, tmp_path / "r")
    (result,) = load_results(tmp_path / "r")
    assert result.about.system == "Ours"
    assert result.about.notes == ("random weights",)
    assert (result.about.leak, result.about.parameters) == ("transductive", 5)
    with pytest.raises(UserError, match=r"was tested by p-2/y: leave --protocol q out"):
        import_predictions(tmp_path / "p.parquet", "Ours", "q", tmp_path / "r")
    with pytest.raises(UserError, match=r"says parameters 5: leave --parameters 6 out"):
        import_predictions(
            tmp_path / "p.parquet", "Ours", None, tmp_path / "r", declared=Declared(parameters=6)
        )


def test_speakers_and_classes_may_be_called_na(tmp_path):
    source = write(tmp_path, HEADER.replace("calm", "None") + "a,NA,1,0,None,0.5,0.5\n")
    import_predictions(source, "m", PROTOCOL, tmp_path)
    (result,) = load_results(tmp_path)
    assert result.speakers == ["NA"]
    assert result.frame["label"].tolist() == ["None"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "can't be read as CSV"),
        ("a,b\n1,2\n", "expected the columns clip_id, speaker, fold, seed, label"),
        ("clip_id,speaker,fold,seed,label,angry\n", "at least two classes"),
        (HEADER, "got no rows"),
        (HEADER.replace("calm", "label") + "a,1,1,0,label,1,0\n", "two columns 'label'"),
        (HEADER.replace("calm", "seed") + "a,1,1,0,seed,1,0\n", "two columns 'seed'"),
        (HEADER.replace("calm", "angry") + "a,1,1,0,angry,1,0\n", "two columns 'angry'"),
        (HEADER + "a,1,1,0,angry,1\n", "line 2: expected a probability in column calm"),
        (HEADER + "a,1,1,0,angry,0.75,0.75\n", "clip a: probabilities must sum to 1, got 1.5"),
        (HEADER + "a,1,1,0,angry,1.5,-0.5\n", "line 2: expected a probability in column calm"),
        (HEADER + "a,1,1,0,angry,1.5,0.5\n", r"expected probabilities in \[0, 1\], got 1.5, 0.5"),
        (HEADER + "a,1,1,0,angry,,1\n", "line 2: expected a probability in column angry, got ''"),
        (HEADER + "a,1,1,0,angry,nan,1\n", "line 2: expected a probability in column angry"),
        (HEADER + "a,1,one,0,angry,1,0\n", "expected a whole number in column fold, got 'one'"),
        (HEADER + "a,1,1,0.5,angry,1,0\n", "expected a whole number in column seed, got '0.5'"),
        (HEADER + "a,1,1,0,sad,1,0\n", "has the label 'sad', which is none of the classes"),
        (HEADER + "a,1,1,0,,1,0\n", "has the label ''"),
        (HEADER + "a,1,1,0,calm,1,0\n" * 2, "clip a is there twice for fold 1, seed 0"),
    ],
)
def test_what_can_not_be_scored_is_refused(text, message, tmp_path):
    with pytest.raises(DataError, match=message):
        import_predictions(write(tmp_path, text), "m", PROTOCOL, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_csv_needs_a_protocol_and_a_system_a_name(tmp_path):
    with pytest.raises(UserError, match="give --protocol"):
        import_predictions(write(tmp_path, GOOD), "m", None, tmp_path)
    with pytest.raises(UserError, match="must not be empty"):
        import_predictions(write(tmp_path, GOOD), " ", PROTOCOL, tmp_path)


def test_names_with_one_slug_are_two_rows(tmp_path):
    source = write(tmp_path, GOOD)
    first = import_predictions(source, "My model", PROTOCOL, tmp_path)
    second = import_predictions(source, "my-model", PROTOCOL, tmp_path)
    assert not {*first.files} & {*second.files}
    assert [result.about.system for result in load_results(tmp_path)] == ["My model", "my-model"]


def test_a_name_that_a_row_of_something_else_has_is_refused(tmp_path):
    source = write(tmp_path, GOOD)
    files = import_predictions(source, "m", PROTOCOL, tmp_path).files
    for path in files:
        path.rename(path.with_name(path.name.replace("__m-", "__other-")))
    with pytest.raises(UserError, match="holds a row of that name under mine-2/x already"):
        import_predictions(source, "m", PROTOCOL, tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,1,1,0,calm,1,0", "clip a has the label 'calm', and 'angry' for 'there'"),
        ("a,9,1,0,angry,1,0", "clip a is of speaker '9', and of '1' for 'there'"),
        ("b,2,2,0,calm,1,0", "clip b is tested in fold 2, and in fold 1 for 'there'"),
    ],
)
def test_what_contradicts_rows_that_are_there_is_refused(line, message, tmp_path):
    import_predictions(write(tmp_path, GOOD), "there", PROTOCOL, tmp_path)
    with pytest.raises(DataError, match=message):
        import_predictions(write(tmp_path, f"{HEADER}{line}\n"), "new", PROTOCOL, tmp_path)
    assert len(load_results(tmp_path)) == 1
    import_predictions(write(tmp_path, f"{HEADER}{line}\n"), "new", "another-2/x", tmp_path)


def test_something_else_is_no_predictions_file(tmp_path):
    (tmp_path / "x.parquet").write_text("text")
    with pytest.raises(DataError, match="is not a predictions file"):
        import_predictions(tmp_path / "x.parquet", "m", None, tmp_path)
    with pytest.raises(DataError, match="can't be read as CSV"):
        import_predictions(tmp_path / "nothing.csv", "m", PROTOCOL, tmp_path)


def test_declared_facts_stand_in_the_table_and_bar_the_row(tmp_path):
    declared = Declared(
        pretraining_data="LibriSpeech",
        parameters=94_000_000,
        train_seconds=12.5,
        contaminated="fine-tuned on all actors",
        reduced="3 of 30 passes",
    )
    import_predictions(write(tmp_path, GOOD), "m", PROTOCOL, tmp_path, declared=declared)
    markdown = build_tables(tmp_path)
    assert "weights 94.0 M" in markdown and "pretrained on LibriSpeech" in markdown
    assert "(a) contaminated: fine-tuned on all actors" in markdown
    assert "(b) reduced: 3 of 30 passes" in markdown
    assert (
        "(d) as declared, not checked: pretraining data, parameters, train seconds, contaminated, "
        "reduced" in markdown
    )
    (result,) = load_results(tmp_path)
    assert result.about.leak == ""


def test_a_pool_that_names_the_test_corpus_is_transductive(tmp_path):
    pool = Declared(pretraining_data="competition+ravdess")
    for corpus, leak in (("ravdess", "transductive"), ("emodb", "")):
        protocol = f"{corpus}-2/x"
        import_predictions(write(tmp_path, GOOD), "m", protocol, tmp_path / corpus, declared=pool)
        (result,) = load_results(tmp_path / corpus)
        assert result.about.leak == leak


def test_a_run_of_ours_has_compared_the_audio_of_its_pool_whatever_that_is_called(tmp_path):
    about = Provenance(
        system="finetuned",
        protocol="ravdess-2/x",
        classes=("angry", "calm"),
        pretraining_data="ravdess, fold 1 training clips",
    )
    save_one(about, tmp_path / "p.parquet")
    import_predictions(tmp_path / "p.parquet", "Ours", None, tmp_path / "r")
    (result,) = load_results(tmp_path / "r")
    assert result.about.leak == ""


def test_the_latex_row_is_that_of_the_table(tmp_path):
    import_predictions(write(tmp_path, GOOD), "there", PROTOCOL, tmp_path)
    imported = import_predictions(write(tmp_path, GOOD), "50 % [mine]", PROTOCOL, tmp_path)
    build_tables(tmp_path)
    assert imported.latex_row in (tmp_path / "table.tex").read_text().splitlines()
    assert r"50 \% {[}mine{]}$^{a}$ & 87.5" in imported.latex_row
    assert imported.notes == ("(a) imported: what it was trained on is not known",)


def command(*arguments):
    return run_command("benchmarks", "import", *arguments, cwd=ROOT)


def test_the_command_prints_verdict_and_latex_row(tones, tmp_path):
    source = write(tmp_path, "clip_id,speaker,fold,seed,label,high,low,mid\n")
    folds = PreparedCorpus.load(tones).folds(TONES)
    with source.open("a") as file:
        for fold in folds.folds:
            for name in fold.test:
                speaker, label, _ = name.split("-")
                file.write(f"{name},{speaker},{fold.number},0,{label},0.5,0.3,0.2\n")
    use = (source, "--system", "Mine", "--protocol", TONES, "--results", tmp_path / "r")
    done = command(*use, "--corpus", tones, "--parameters", 7, "--reduced", "one pass")
    assert done.returncode == 0, done.stderr
    assert "leak verdict: no leak found in what could be checked" in done.stdout
    assert "not checked: training clips against test clips (give --train-clips)" in done.stdout
    assert "LaTeX row: " in done.stdout and "(a) reduced: one pass" in done.stdout
    (tmp_path / "train.csv").write_text(f"fold,clip_id\n1,{folds.folds[0].test[0]}\n")
    done = command(*use, "--train-clips", tmp_path / "train.csv")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "none are of fold 2" in done.stderr
