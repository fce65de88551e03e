"""Predictions of a classifier on prepared clips, and what they are worth."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from transformers.utils import logging as transformers_logging

from finetune.labels import SingleLabel
from finetune.metrics import compute_metrics
from finetune.model import AudioClassifier, AudioClassifierConfig
from ssl_audio.data.manifest import read_manifest
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.stream import whole_clips
from ssl_audio.errors import UserError
from ssl_audio.loading import check_model_type, load_model
from ssl_audio.objectives.base import to_float
from ssl_audio.run_record import read_run_record

TRAINING_CLIPS = "training.parquet"
"""Manifest, beside a model, of the clips whose labels it learnt from or was chosen by."""

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
    return probabilities / probabilities.sum(1, keepdims=True)


def compute_clip_metrics(
    corpus: PreparedCorpus, indices: Indices, probabilities: Probabilities, labels: SingleLabel
) -> dict[str, float]:
    """UAR and its companions of (clips, classes) probabilities of these clips."""
    truth = labels.encode([corpus.clips[index] for index in indices])
    return compute_metrics(truth, probabilities, labels.classes)


def predictions_frame(
    corpus: PreparedCorpus,
    indices: Indices,
    probabilities: Probabilities,
    labels: SingleLabel,
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


def evaluate(model: Path, prepared: Path, fold: int | None) -> None:
    """Prints a model's scores on the labelled clips of a corpus, or on one fold's test clips.

    Says how many of these clips the model learnt from: then the scores are not honest ones.

    Raises:
        UserError: no model, no prepared corpus, or no clip with one of the model's classes.
    """
    classifier = load_classifier(model)
    corpus = PreparedCorpus.load(prepared)
    labels = SingleLabel(tuple(classifier.config.classes))
    if fold is None:
        known = [i for i, clip in enumerate(corpus.clips) if clip.emotion in labels.classes]
        indices = np.array(known, dtype=np.int64)
    else:
        protocol = read_run_record(model)["config"]["data"]["folds"]
        indices = corpus.indices(corpus.folds(protocol).fold(fold).test)
    if not len(indices):
        raise UserError(f"{prepared} has no clips labelled {', '.join(labels.classes)}")
    probabilities = predict_clips(classifier, corpus, indices)
    for name, value in compute_clip_metrics(corpus, indices, probabilities, labels).items():
        print(f"{name:20} {value:.4f}")
    print(f"{'clips':20} {len(indices)}")
    learnt = {clip.audio_sha256 for clip in read_manifest(model / TRAINING_CLIPS)}
    num_learnt = sum(corpus.clips[index].audio_sha256 in learnt for index in indices)
    if num_learnt:
        print(f"not honest: the model learnt from, or was chosen by, {num_learnt} of these clips")
