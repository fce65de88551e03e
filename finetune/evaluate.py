"""Predictions of a classifier on prepared clips, and what they are worth."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from transformers.utils import logging as transformers_logging

from finetune.calibration import area_under_risk_coverage, is_sure, risk_coverage
from finetune.events import score_timeline
from finetune.group_scores import score_groups, score_multilabel_groups
from finetune.heard import describe_heard, find_unheard
from finetune.labels import LABEL_SPACES, LabelSpace
from finetune.model import AudioClassifier, AudioClassifierConfig
from finetune.multilabel_metrics import decide_classes, f1_by_class
from finetune.score_report import ScoreReport
from ssl_audio.data.manifest import Clip
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.protocols import PROTOCOLS, open_protocol
from ssl_audio.data.stream import whole_clips
from ssl_audio.errors import UserError
from ssl_audio.loading import check_model_type, load_model
from ssl_audio.objectives.base import to_float
from ssl_audio.run_record import read_run_record

VALIDATION_ANSWERS = "validation.parquet"
"""Beside a model, what it says of the clips by which it was chosen; rows of a predictions file."""

Indices = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]


@torch.no_grad()
def predict_clips(
    classifier: AudioClassifier, corpus: PreparedCorpus, indices: Indices, batch_size: int = 16
) -> Probabilities:
    """(clips, classes) float64 probabilities of whole clips, in the order of ``indices``.

    Computed in float32; neither batch size nor order changes them beyond rounding.
    """
    device = next(classifier.parameters()).device
    place = {index: row for row, index in enumerate(indices.tolist())}
    probabilities = np.zeros((len(indices), len(classifier.config.classes)))
    for clips, waveform, num_samples in whole_clips(corpus, indices, batch_size):
        rows = [place[clip] for clip in clips.tolist()]
        output = classifier.probabilities(to_float(waveform.to(device)), num_samples.to(device))
        probabilities[rows] = output.double().cpu().numpy()
    if classifier.head.exclusive:
        probabilities /= probabilities.sum(1, keepdims=True)
    return probabilities


def score_clips(
    classifier: AudioClassifier, corpus: PreparedCorpus, indices: Indices, labels: LabelSpace
) -> dict[str, float]:
    """What a classifier's answers on these clips are worth."""
    probabilities = predict_clips(classifier, corpus, indices)
    return score_answers(classifier, corpus, indices, probabilities, labels)


def score_answers(
    classifier: AudioClassifier,
    corpus: PreparedCorpus,
    indices: Indices,
    probabilities: Probabilities,
    labels: LabelSpace,
) -> dict[str, float]:
    """The same of (clips, classes) probabilities that it gave before."""
    targets = labels.encode([corpus.clips[index] for index in indices])
    return labels.score(targets, probabilities, classifier.config.thresholds)


def predictions_frame(
    corpus: PreparedCorpus,
    indices: Indices,
    probabilities: Probabilities,
    labels: LabelSpace,
    fold: int,
    seed: int,
) -> pd.DataFrame:
    """Rows of a predictions file, see ``finetune.predictions``."""
    clips = [corpus.clips[index] for index in indices]
    frame = pd.DataFrame(
        {
            "clip_id": [clip.clip_id for clip in clips],
            "speaker": [clip.speaker for clip in clips],
            "fold": fold,
            "seed": seed,
            "label": [clip.emotion for clip in clips],
        }
    )
    return pd.concat([frame, pd.DataFrame(probabilities, columns=list(labels.classes))], axis=1)


def load_classifier(folder: Path) -> AudioClassifier:
    """A trained classifier in eval mode, on the GPU if there is one.

    Raises:
        UserError: the folder holds none.
    """
    check_model_type(folder, AudioClassifierConfig.model_type, "finetune train")
    transformers_logging.disable_progress_bar()
    classifier = load_model(AudioClassifier, folder).eval()
    return classifier.to("cuda" if torch.cuda.is_available() else "cpu")


def evaluate(
    model: Path,
    prepared: Path,
    fold: int | None,
    utterances: Path | None,
    json_path: Path | None = None,
) -> None:
    """Prints a model's scores on the labelled clips of a corpus, or on one fold's test clips.

    Of joined clips also how well it finds what is heard when, if ``utterances`` is the prepared
    corpus that they were made from; of a model that tells one class a clip only that, on all clips
    of speakers of which it has heard nothing. Says what the model had heard of these clips and of
    their speakers: the scores may not be honest ones.

    Args:
        model: folder that ``finetune train`` wrote.
        prepared: corpus.
        fold: of the protocol that it learnt by; None scores every clip that it has classes for.
        utterances: see above.
        json_path: file that also gets every figure.

    Raises:
        UserError: no model, no prepared corpus, no clip with one of the model's classes, or no
            folder for the file.
    """
    if json_path is not None and not json_path.parent.is_dir():
        raise UserError(f"--json {json_path}: there is no folder {json_path.parent}; make it first")
    report = _score(model, prepared, fold, utterances)
    for line in report.describe():
        print(line)
    if json_path is not None:
        report.save(json_path)


def _score(model: Path, prepared: Path, fold: int | None, utterances: Path | None) -> ScoreReport:
    classifier = load_classifier(model)
    config = classifier.config
    labels = LABEL_SPACES[config.task](tuple(config.classes))
    loaded = PreparedCorpus.load(prepared)
    about: dict[str, Any] = {"model": model, "corpus": prepared, "fold": fold}
    source = None
    if utterances is not None:
        _refuse_not_joined(loaded)
        source = PreparedCorpus.load(utterances)
    if source is not None and classifier.head.exclusive:
        if config.task != "single" or fold is not None:
            raise UserError(
                "--utterances scores models of one emotion a clip, on all speakers of which they "
                "have heard nothing: give it one, and no --fold"
            )
        unheard = find_unheard(model, loaded, source, labels.classes)
        events = score_timeline(classifier, loaded, source, unheard)
        return ScoreReport(**about, num_clips=len(unheard), events=events)
    corpus, indices = _choose_clips(model, loaded, config.task, labels.classes, fold)
    if not len(indices):
        raise UserError(f"{prepared} has no clips labelled {', '.join(labels.classes)}")
    # First, as it refuses utterances that are not those of the clips.
    events = {} if source is None else score_timeline(classifier, corpus, source, indices)
    probabilities = predict_clips(classifier, corpus, indices)
    clips = [corpus.clips[index] for index in indices]
    return ScoreReport(
        **about,
        num_clips=len(indices),
        scores=score_answers(classifier, corpus, indices, probabilities, labels),
        not_scored=_count_left_out(corpus, indices) if fold is None else {},
        **_look_closer(classifier, labels, clips, probabilities),
        events=events,
        heard=tuple(describe_heard(model, clips, same_corpus=fold is not None)),
    )


def _refuse_not_joined(corpus: PreparedCorpus) -> None:
    if not any(len(clip.emotions) > 1 for clip in corpus.clips):
        raise UserError(
            f"--utterances is for joined clips, of several emotions each; {corpus.root} has none: "
            "give the corpus that ssl_audio prepare joined made as --input"
        )


def _look_closer(
    classifier: AudioClassifier,
    labels: LabelSpace,
    clips: Sequence[Clip],
    probabilities: Probabilities,
) -> dict[str, Any]:
    """Whom it serves, and what "don't know" would leave; of several classes a clip, each class.

    Returns:
        Of a ``ScoreReport``.
    """
    config, targets = classifier.config, labels.encode(clips)
    groups = [clip.speaker for clip in clips], [clip.gender for clip in clips]
    if not classifier.head.exclusive:
        truth, thresholds = targets.astype(np.int64), np.array(config.thresholds)
        decided = decide_classes(probabilities, thresholds)
        return {
            "class_f1": f1_by_class(truth, probabilities, thresholds, labels.classes),
            "groups": score_multilabel_groups(truth, decided, *groups, labels.classes),
        }
    truth = targets.argmax(1)
    found: dict[str, Any] = {
        "risk_coverage_area": area_under_risk_coverage(risk_coverage(truth, probabilities)),
        "groups": score_groups(truth, probabilities, *groups, labels.classes),
    }
    if config.unsure_below is not None:
        sure = is_sure(probabilities, config.unsure_below)
        right = (probabilities.argmax(1) == truth)[sure]
        found["answered"] = float(sure.mean())
        found["accuracy_of_these"] = float(right.mean()) if len(right) else None
    return found


def _count_left_out(corpus: PreparedCorpus, indices: Indices) -> dict[str, int]:
    """Clips whose labels are not the model's, which are not scored: by label, most first."""
    scored = set(indices.tolist())
    names = ("+".join(clip.emotions) for i, clip in enumerate(corpus.clips) if i not in scored)
    return dict(Counter(name for name in names if name).most_common())


def _choose_clips(
    model: Path, corpus: PreparedCorpus, task: str, classes: Sequence[str], fold: int | None
) -> tuple[PreparedCorpus, Indices]:
    """The corpus under the model's classes, and the clips that have one of them."""
    if fold is not None:
        name = read_run_record(model)["config"]["data"]["folds"]
        opened = open_protocol(name, [corpus], PROTOCOLS)
        return opened.corpus, opened.corpus.indices(opened.folds.fold(fold).test)
    clips = corpus.clips
    if task == "gender-emotion":
        clips = tuple(replace(clip, emotion=f"{clip.gender}_{clip.emotion}") for clip in clips)
    known = set(classes)
    holds = [bool(clip.emotions) and known.issuperset(clip.emotions) for clip in clips]
    return replace(corpus, clips=clips), np.flatnonzero(holds)
