"""What a joint decision says of gender and emotion alone, checked by hand and by scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, recall_score

from benchmarks.layout import lay_out
from benchmarks.results import SystemResult
from benchmarks.scoring import score_all
from finetune.gender_emotion import joint_scores
from finetune.metrics import uar
from finetune.predictions import Provenance

CLASSES = ("male_calm", "male_very_sad", "female_calm", "female_very_sad")


def test_a_matrix_by_hand():
    confusion = np.array(
        [
            [6.0, 2, 1, 1],  # a man's calm clips: 7 calm, 8 of a man
            [0, 9, 0, 1],  # all sad, 9 of a man
            [5, 0, 3, 2],  # a woman's: 8 calm, 5 of a woman
            [0, 4, 4, 2],  # 6 sad, 6 of a woman
        ]
    )
    scores = {name: float(score(confusion)) for name, score in joint_scores(CLASSES).items()}
    assert scores == pytest.approx(
        {
            "gender_accuracy": (8 + 9 + 5 + 6) / 40,
            "emotion_uar": (15 / 20 + 16 / 20) / 2,
            "gender_gap": (8 / 10 + 6 / 10) / 2 - (7 / 10 + 10 / 10) / 2,
        }
    )


def test_without_women_there_is_no_gap_and_the_rest_stays():
    confusion = np.zeros((2, 4, 4))
    confusion[:, 0, 0], confusion[:, 1, 2] = 3, 1
    gap = joint_scores(CLASSES)["gender_gap"](confusion)
    assert np.isnan(gap).all() and gap.shape == (2,)
    assert joint_scores(CLASSES)["emotion_uar"](confusion) == pytest.approx([0.5, 0.5])


def make_result(num_women):
    """12 speakers in 3 folds, 8 clips each, judged at random."""
    rng = np.random.default_rng(0)
    frames = []
    for speaker in range(12):
        gender = "female" if speaker < num_women else "male"
        labels = [f"{gender}_{emotion}" for emotion in ("calm", "very_sad") for _ in range(4)]
        frame = pd.DataFrame(rng.dirichlet(np.ones(4), 8), columns=list(CLASSES))
        frame.insert(0, "clip_id", [f"{speaker}-{clip}" for clip in range(8)])
        frame.insert(1, "speaker", f"s{speaker}")
        frame.insert(2, "fold", speaker % 3 + 1)
        frame.insert(3, "seed", 0)
        frame.insert(4, "label", labels)
        frames.append(frame)
    about = Provenance(system="A", protocol="p/x", classes=CLASSES, task="gender-emotion")
    return SystemResult(about, pd.concat(frames, ignore_index=True))


def test_rows_of_the_joint_task_have_them_in_the_table():
    result = make_result(num_women=6)
    (section,) = score_all([result])
    estimates = section.rows[0].estimates
    true = result.frame["label"].str.split("_", n=1)
    decided = result.frame[list(CLASSES)].idxmax(axis=1).str.split("_", n=1)
    assert estimates["gender_accuracy"].value == pytest.approx(
        accuracy_score(true.str[0], decided.str[0])
    )
    assert estimates["emotion_uar"].value == pytest.approx(
        recall_score(true.str[1], decided.str[1], average="macro")
    )
    assert estimates["uar"].value == pytest.approx(float(uar(section.rows[0].confusion)))
    gap = estimates["gender_gap"]
    assert -1 <= gap.low < gap.value < gap.high <= 1
    headings = [heading.text for heading in lay_out(section).headings]
    assert {"UAR", "Emotion UAR", "Gender accuracy", "Gender gap"} <= set(headings)


def test_one_woman_is_too_few_for_an_interval_of_the_gap():
    (section,) = score_all([make_result(num_women=1)])
    gap = section.rows[0].estimates["gender_gap"]
    assert gap.low is None and np.isfinite(gap.value)
