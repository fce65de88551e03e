"""What a run is set to do reaches the step that learns."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from finetune.config import ClassifierConfig
from finetune.evaluate import _count_left_out, load_classifier
from finetune.labels import LABEL_SPACES
from finetune.learning import FineTuning, _build_stream
from finetune.material import Material
from finetune.sampling import BalancedStream, LabelledStream
from finetune.score_report import ScoreReport
from ssl_audio.config import build_config
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.errors import UserError
from tests.finetune.building import build_classifier
from tests.finetune.configuring import CLASSES

PLAIN: dict[str, Any] = {"token_drop": 0.0, "head": {"dropout": 0.0}}
COUNTS = torch.tensor([30.0, 8.0, 2.0])


def make_batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    loudness = torch.linspace(500, 5000, 6)[:, None]
    waveform = (loudness * torch.randn(6, 16_000, generator=generator)).to(torch.int16)
    return {
        "waveform": waveform,
        "num_samples": torch.full((6,), 16_000),
        "keys": torch.arange(6) + 100,
        "targets": torch.eye(3)[[0, 1, 2, 0, 0, 1]],
        "groups": torch.tensor([0, 0, 0, 1, 1, 1]),
    }


def build(settings: dict[str, Any]) -> FineTuning:
    config = build_config(ClassifierConfig, {**PLAIN, **settings})
    classifier = build_classifier(head_config=config.head.model_dump(mode="json"))
    return FineTuning(classifier, config, COUNTS).train()


def loss_of(settings: dict[str, Any]) -> float:
    torch.manual_seed(0)
    return float(build(settings)(make_batch()).loss.detach())


@pytest.mark.parametrize(
    "settings",
    [
        {"augment": {"level_db": 20.0}},
        {"augment": {"noise_snr_db": 0.0}},
        {"augment": {"pitch_semitones": 3.0}},
        {"augment": {"stretch": 0.3}},
        {"augment": {"time_masks": 2, "time_mask_share": 0.4}},
        {"augment": {"freq_masks": 2, "freq_mask_share": 0.4}},
        {"mixing": {"kind": "mixup", "alpha": 1.0}},
        {"mixing": {"kind": "specmix"}},
        {"token_drop": 0.5},
        {"head": {"dropout": 0.0, "class_balance": "inverse"}},
        {"head": {"dropout": 0.0, "class_balance": "effective"}},
        {"head": {"dropout": 0.0, "label_smoothing": 0.2}},
        {"head": {"dropout": 0.0, "focusing": 2.0}},
    ],
)
def test_every_option_changes_the_loss(settings: dict[str, Any]) -> None:
    assert loss_of({}) == loss_of({})
    assert abs(loss_of(settings) - loss_of({})) > 1e-4


@dataclass
class Swapped:
    """Leaves spectrograms as they are and gives every clip the next one's targets."""

    groups: Tensor | None = None

    def mix(self, log_mel: Tensor, _: Tensor, targets: Tensor, __: Tensor, groups: Tensor) -> Any:
        self.groups = groups
        return log_mel, targets.roll(1, 0)


def test_mixed_targets_are_learnt_within_the_groups_of_the_batch() -> None:
    batch = make_batch()
    module = build({})
    rolled = module({**batch, "targets": batch["targets"].roll(1, 0)}).loss
    swapped = Swapped()
    module.mixing = swapped  # type: ignore[assignment]
    assert torch.equal(module(batch).loss, rolled)
    assert swapped.groups is not None and torch.equal(swapped.groups, batch["groups"])


@pytest.mark.parametrize(
    ("sampling", "kind"), [("natural", LabelledStream), ("balanced", BalancedStream)]
)
def test_clips_are_drawn_as_asked_and_grouped_by_gender(
    sampling: str, kind: type, prepared: Path
) -> None:
    corpus = PreparedCorpus.load(prepared)
    clips = [index for index, clip in enumerate(corpus.clips) if clip.emotion in CLASSES][:20]
    joint = tuple(f"{gender}_{emotion}" for gender in ("male", "female") for emotion in CLASSES)
    named = [f"{corpus.clips[index].gender}_{corpus.clips[index].emotion}" for index in clips]
    targets = np.eye(6, dtype=np.float32)[[joint.index(name) for name in named]]
    labels = LABEL_SPACES["gender-emotion"](joint)
    material = Material(corpus, np.array(clips), np.array(clips), labels, "gender-emotion")
    config = build_config(ClassifierConfig, {"sampling": sampling})
    stream = _build_stream(config, 1.0, material, targets)
    assert type(stream) is kind
    genders = [corpus.clips[index].gender for index in clips]
    same = stream.groups[clips][:, None] == stream.groups[clips]
    assert (same == (np.array(genders)[:, None] == np.array(genders))).all() and not same.all()


def test_clips_with_other_labels_are_counted(prepared: Path) -> None:
    def report(num_clips: int, **more: Any) -> ScoreReport:
        return ScoreReport(model=Path("m"), corpus=prepared, fold=None, num_clips=num_clips, **more)

    corpus = PreparedCorpus.load(prepared)
    angry = [index for index, clip in enumerate(corpus.clips) if clip.emotion == "angry"]
    others = sum(bool(clip.emotions) for clip in corpus.clips) - len(angry)
    left_out = _count_left_out(corpus, np.array(angry))
    assert sum(left_out.values()) == others and "angry" not in left_out
    counts = list(left_out.values())
    assert counts == sorted(counts, reverse=True)
    said = "\n".join(report(len(angry), not_scored=left_out).describe())
    assert f"{others} with labels that it does not tell: " in said
    assert _count_left_out(corpus, np.arange(len(corpus.clips))) == {}
    assert "not scored" not in "\n".join(report(len(corpus.clips)).describe())


def test_what_there_is_no_figure_for_is_null(tmp_path: Path) -> None:
    """NaN is no JSON; a model that reports no event has a precision of nothing."""
    about: dict[str, Any] = {"model": tmp_path, "corpus": tmp_path, "fold": 2}
    report = ScoreReport(**about, num_clips=3, events={"event_precision": math.nan}, answered=0.0)
    assert list(report.describe())[1:3] == [
        "answered             0.0000",
        "accuracy of these    nothing",
    ]
    report.save(tmp_path / "r.json")

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    told = json.loads((tmp_path / "r.json").read_text(), parse_constant=refuse)
    assert told["events"] == {"event_precision": None} and told["accuracy_of_these"] is None
    assert told["model"] == str(tmp_path) and told["groups"] is None


def test_a_torn_model_is_refused_in_one_line(tmp_path: Path) -> None:
    build_classifier().save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(UserError, match="can't be loaded: "):
        load_classifier(tmp_path)
