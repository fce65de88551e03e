"""One classifier or several that answer together."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from finetune.answers import AnswerRule
from finetune.ensemble import Ensemble
from finetune.evaluate import VALIDATION_ANSWERS, load_classifier
from finetune.events import TimelineModel
from finetune.timeline import OverTime
from finetune.trust import NEVER_SURE
from ssl_audio.data.audio import Int16
from ssl_audio.data.manifest import SAMPLE_RATE
from ssl_audio.errors import UserError
from ssl_audio.objectives.base import to_float

Float64 = npt.NDArray[np.float64]

Combination = Literal["mean", "mode", "weighted"]
"""Of ``Ensemble``'s rules; ``weighted`` needs models that were chosen by the same clips."""
_TIE_BREAK = 1e-3
BATCH_SECONDS = 60
"""Of audio with its padding; more makes a batch no faster."""


class Member(TimelineModel, Protocol):
    """A classifier."""

    def probabilities(self, waveform: Tensor, num_samples: Tensor) -> Tensor:
        """(batch, samples) float32 and (batch,) int64 to (batch, classes) float32."""


class Jury:
    """Classifiers of the same classes that answer as an ensemble.

    Attributes:
        rule: how the probabilities are read; thresholds are averaged.
        ensemble: how several answers become one; those of several classes a clip are averaged.
    """

    def __init__(self, members: Sequence[Member], combination: Combination = "mean") -> None:
        """Takes classifiers in eval mode.

        Raises:
            UserError: they differ in their classes, or in their task, or can't vote.
        """
        self.ensemble = Ensemble(combination)
        rules = [AnswerRule.of(member.config) for member in members]
        kinds = {(rule.task, rule.classes): None for rule in rules}
        if len(kinds) > 1:
            told = "; ".join(f"{task}: {', '.join(classes)}" for task, classes in kinds)
            raise UserError(f"the models must have the same classes in the same order, got {told}")
        self.members = tuple(members)
        self.rule = _average_rules(rules)
        if combination != "mean":  # they learnt to be unsure of neither votes nor weighted means
            self.rule = replace(self.rule, unsure_below=None)
        timelines = (member.config.asked_when()[0] for member in members)
        self._timelines = {timeline.model_dump_json(): None for timeline in timelines}
        if combination != "mean" and self.rule.task == "multilabel":
            raise UserError(
                f"--combine {combination}: models of several classes a clip have no one vote, "
                "take mean"
            )

    @classmethod
    def load(cls, folders: Sequence[Path], combination: Combination = "mean") -> Self:
        """What ``finetune train`` wrote, on the GPU if there is one; weighed, if it is to be.

        Raises:
            UserError: a folder without a classifier, or classifiers that do not fit each other.
        """
        jury = cls([load_classifier(folder) for folder in folders], combination)
        if jury.ensemble.learns:
            jury.ensemble.fit(*_read_validation_answers(folders, jury.rule.classes))
        return jury

    def combine(self, answers: npt.NDArray[np.floating]) -> Float64:
        """(members, clips, classes) to (clips, classes) float64.

        Equally many votes go to the class that is likelier by the mean, which weighs a thousandth.
        """
        each: Float64 = answers.astype(np.float64)
        if self.rule.task == "multilabel":
            mean: Float64 = each.mean(axis=0)
            return mean
        each = each / each.sum(axis=2, keepdims=True)
        together = self.ensemble.combine(each)
        if self.ensemble.rule == "mode":
            together = (1 - _TIE_BREAK) * together + _TIE_BREAK * each.mean(axis=0)
        return together

    @torch.no_grad()
    def probabilities(self, clips: Sequence[Int16]) -> Float64:
        """(clips, classes) float64, in the order of the clips.

        Clips of similar length are batched; neither batch nor padding changes an answer beyond
        rounding.

        Args:
            clips: (samples,) int16 at 16 kHz each, at least one sample.
        """
        answers = np.zeros((len(self.members), len(clips), len(self.rule.classes)))
        for rows in batch_by_length([len(clip) for clip in clips]):
            waveform, num_samples = pad([clips[row] for row in rows])
            for number, member in enumerate(self.members):
                on_device = to_float(waveform.to(member.device))
                found = member.probabilities(on_device, num_samples.to(member.device))
                answers[number, rows] = found.double().cpu().numpy()
        return self.combine(answers)

    @torch.no_grad()
    def over_time(self, samples: Int16) -> OverTime:
        """Of one clip, (samples,) int16 at 16 kHz.

        Raises:
            UserError: the models look at other moments.
        """
        if len(self._timelines) > 1:
            raise UserError(
                "a timeline of several models needs the same moments, and theirs are "
                f"{'; '.join(self._timelines)}: predict with one of them"
            )
        waveform = torch.from_numpy(samples)
        found = [
            member.probabilities_over_time(to_float(waveform.to(member.device)))
            for member in self.members
        ]
        first = found[0]
        together = self.combine(np.stack([other.probabilities for other in found]))
        return OverTime(first.starts, first.ends, together.astype(np.float32))


def _read_validation_answers(
    folders: Sequence[Path], classes: Sequence[str]
) -> tuple[Float64, npt.NDArray[np.int64]]:
    """What each model says of the clips by which all were chosen.

    Args:
        folders: of the models.
        classes: in the order of the probabilities.

    Returns:
        (members, clips, classes) float64 probabilities and (clips,) int64 labels.

    Raises:
        UserError: a model without such answers, or chosen by other clips.
    """
    frames = []
    for folder in folders:
        path = folder / VALIDATION_ANSWERS
        if not path.is_file():
            raise UserError(f"--combine weighted: {path} is missing: train the model again")
        frames.append(pd.read_parquet(path).sort_values("clip_id"))
    facts = [list(zip(frame["clip_id"], frame["label"], strict=True)) for frame in frames]
    if any(other != facts[0] for other in facts):
        raise UserError(
            "--combine weighted: the models were chosen by different clips, so none can say which "
            "of them is better: train them on the same fold"
        )
    answers = np.stack([frame[list(classes)].to_numpy(np.float64) for frame in frames])
    answers /= answers.sum(axis=2, keepdims=True)
    return answers, np.array([list(classes).index(label) for _, label in facts[0]])


def batch_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Positions of clips in batches of similar length, the longest first.

    Args:
        lengths: samples of each clip.

    Returns:
        Every position once. A batch with its padding has ``BATCH_SECONDS`` at most, unless it is a
        single clip.
    """
    batches: list[list[int]] = []
    room = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if not room:
            batches.append([])
            room = max(1, BATCH_SECONDS * SAMPLE_RATE // lengths[row])
        batches[-1].append(row)
        room -= 1
    return batches


def pad(clips: Sequence[Int16]) -> tuple[Tensor, Tensor]:
    """(batch, samples) int16 with zeros after each clip's end, and (batch,) int64 true lengths."""
    if len(clips) == 1:  # a long one is not copied
        return torch.from_numpy(clips[0])[None], torch.tensor([len(clips[0])])
    waveform = np.zeros((len(clips), max(map(len, clips))), np.int16)
    for row, clip in zip(waveform, clips, strict=True):
        row[: len(clip)] = clip
    return torch.from_numpy(waveform), torch.tensor([len(clip) for clip in clips])


def fingerprint(folder: Path) -> str:
    """sha256 over a model's configuration and weights."""
    digest = hashlib.sha256()
    for path in sorted([folder / "config.json", *folder.glob("*.safetensors")]):
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}".encode())
    return digest.hexdigest()


def _average_rules(rules: Sequence[AnswerRule]) -> AnswerRule:
    """Models that are sure of everything make all of them so."""
    first = rules[0]
    limits = [rule.thresholds or (0.5,) * len(first.classes) for rule in rules]
    moments = [rule.moment_thresholds or own for rule, own in zip(rules, limits, strict=True)]
    unsure = [rule.unsure_below for rule in rules if rule.unsure_below is not None]
    if not all(limit == NEVER_SURE for limit in unsure):
        # One that was never sure enough asks for certainty, not for more than that.
        unsure = [min(limit, 1.0) for limit in unsure]
    return replace(
        first,
        thresholds=tuple(np.mean(limits, axis=0).tolist()),
        moment_thresholds=tuple(np.mean(moments, axis=0).tolist()),
        unsure_below=sum(unsure) / len(rules) if len(unsure) == len(rules) else None,
    )
