import pandas as pd
import pytest

from benchmarks.importing import import_predictions
from benchmarks.results import load_results
from finetune.predictions import Predictions, Provenance
from ssl_audio.errors import DataError, UserError

HEADER = "clip_id,speaker,fold,seed,label,angry,calm\n"
GOOD = HEADER + "a,1,1,0,angry,0.75,0.25\nb,2,1,0,calm,0.5,0.5\nc,,2,0,calm,1e-3,0.999\n"
PROTOCOL = "mine-2/x"


def write(tmp_path, text):
    path = tmp_path / "predictions.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_becomes_one_file_for_each_fold_and_seed(tmp_path):
    source = write(tmp_path, GOOD)
    paths = import_predictions(source, "My model (v2)", PROTOCOL, tmp_path / "results")
    assert [path.name for path in paths] == [
        "mine-2-x__my-model-v2__fold1__seed0.parquet",
        "mine-2-x__my-model-v2__fold2__seed0.parquet",
    ]
    (result,) = load_results(tmp_path / "results")
    assert result.about == Provenance(
        system="My model (v2)", protocol=PROTOCOL, classes=("angry", "calm")
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
    frame = pd.DataFrame(
        [["a", "s", 1, 0, "calm", 0.5, 0.5]],
        columns=["clip_id", "speaker", "fold", "seed", "label", "angry", "calm"],
    )
    Predictions(about, frame).save(tmp_path / "p.parquet")
    import_predictions(tmp_path / "p.parquet", "Ours", None, tmp_path / "r")
    (result,) = load_results(tmp_path / "r")
    assert result.about.system == "Ours"
    assert result.about.notes == ("random weights",)
    assert (result.about.leak, result.about.parameters) == ("transductive", 5)
    with pytest.raises(UserError, match=r"was tested by p-2/y: leave --protocol q out"):
        import_predictions(tmp_path / "p.parquet", "Ours", "q", tmp_path / "r")


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


def test_a_name_that_makes_anothers_file_name_is_refused(tmp_path):
    source = write(tmp_path, GOOD)
    import_predictions(source, "My model", PROTOCOL, tmp_path)
    with pytest.raises(UserError, match="is of 'My model'; choose another name"):
        import_predictions(source, "my-model", PROTOCOL, tmp_path)


def test_something_else_is_no_predictions_file(tmp_path):
    (tmp_path / "x.parquet").write_text("text")
    with pytest.raises(DataError, match="is not a predictions file"):
        import_predictions(tmp_path / "x.parquet", "m", None, tmp_path)
    with pytest.raises(DataError, match="can't be read as CSV"):
        import_predictions(tmp_path / "nothing.csv", "m", PROTOCOL, tmp_path)
