import pandas as pd

from finetune.predictions import Predictions, Provenance, collect_genders


def test_genders_are_those_that_all_clips_agree_on():
    said = [("b", "male"), ("a", "female"), (None, "male"), ("c", None), ("b", "male")]
    assert collect_genders(said) == {"a": "female", "b": "male"}
    assert collect_genders([*said, ("b", "female")]) == {"a": "female"}


def test_provenance_comes_back_as_it_was_saved(tmp_path):
    about = Provenance(
        system="S",
        protocol="p-2/x",
        classes=("calm", "sad"),
        notes=("n",),
        copies=(("a", "b"),),
        genders={"1": "female", "2": "male"},
    )
    columns = ["clip_id", "speaker", "fold", "seed", "label", "calm", "sad"]
    frame = pd.DataFrame([["a", "1", 1, 0, "sad", 0.5, 0.5]], columns=columns)
    Predictions(about, frame).save(tmp_path / "p.parquet")
    assert Predictions.load(tmp_path / "p.parquet").about == about
