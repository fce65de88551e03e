"""Probes: what frozen embeddings tell, read by a linear model and by neighbours.

A probe never changes the encoder. Every encoder, also a random one, is read in the same way: mean
and standard deviation over a clip's tokens, at a chosen level.
"""

from collections.abc import Callable, Sequence
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.stream import whole_clips
from ssl_audio.encoder import AudioEncoder
from ssl_audio.objectives.base import to_float
from ssl_audio.pooling import mean_std_pool
from ssl_audio.probing import Precision

Floats = npt.NDArray[np.float32]
Strings = npt.NDArray[np.str_]
ProbeName = Literal["linear", "knn"]
_NEIGHBOURS = 10
_INVERSE_PENALTY = 0.01
"""Chosen with an untrained encoder on emodb-4/loso10 and hackerearth-7/dedup5, of 0.01 and 0.1."""


def embed_levels(
    encoder: AudioEncoder,
    corpus: PreparedCorpus,
    indices: npt.NDArray[np.int64],
    levels: Sequence[int],
    precision: Precision = "float32",
    batch_size: int = 32,
) -> Floats:
    """Mean and deviation over the tokens of some levels of each clip.

    Args:
        encoder: in whose mode nothing is changed but for the time being.
        corpus: prepared.
        indices: (num_clips,) which clips; each at most ``max_seconds`` long.
        levels: 0 is the input of the first block, n the output of the n-th.
        precision: of autocast.
        batch_size: clips.

    Returns:
        (num_clips, levels, 2 dim) float32, in the order of ``indices``.
    """
    device = encoder.cls_token.device
    found = np.zeros((len(indices), len(levels), 2 * encoder.config.hidden_size), np.float32)
    row_of = {int(index): row for row, index in enumerate(indices)}
    was_training = encoder.training
    encoder.eval()
    with (
        torch.no_grad(),
        torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        for clips, waveform, num_samples in whole_clips(corpus, indices, batch_size):
            output = encoder(to_float(waveform.to(device)), num_samples.to(device), True)
            rows = [row_of[int(clip)] for clip in clips]
            for place, level in enumerate(levels):
                tokens = output.hidden_states[level].float()
                found[rows, place] = mean_std_pool(tokens, output.padding_mask).cpu().numpy()
    encoder.train(was_training)
    return found


class _Regression(LogisticRegression):
    """Fitted on one thread of BLAS.

    Its matrices are small: two threads gain nothing, and where the machine is busy they wait for
    each other, which made a fit five times as slow.
    """

    def fit(
        self, X: Floats, y: Strings, sample_weight: npt.NDArray[np.floating] | None = None
    ) -> Self:
        """As ``LogisticRegression``'s."""
        with threadpool_limits(1, user_api="blas"):
            super().fit(X, y, sample_weight)
        return self


def build_regression() -> LogisticRegression:
    """Logistic regression of standardised values, all classes weighing the same."""
    return _Regression(C=_INVERSE_PENALTY, max_iter=1000, class_weight="balanced")


def build_linear_probe() -> ClassifierMixin:
    """Logistic regression on standardised values."""
    return make_pipeline(StandardScaler(), build_regression())


def build_neighbour_probe() -> ClassifierMixin:
    """Ten nearest neighbours by cosine of standardised values, the nearer counting more."""
    return make_pipeline(
        StandardScaler(),
        KNeighborsClassifier(_NEIGHBOURS, metric="cosine", weights="distance"),
    )


PROBES: dict[ProbeName, Callable[[], ClassifierMixin]] = {
    "linear": build_linear_probe,
    "knn": build_neighbour_probe,
}


def probe(name: ProbeName, train: Floats, labels: Strings, test: Floats) -> Strings:
    """Labels of ``test`` (clips, size) as read by a probe fitted to ``train`` (clips, size)."""
    fitted = PROBES[name]().fit(train, labels)
    return np.asarray(fitted.predict(test), dtype=np.str_)


def score_between(
    name: ProbeName, train: Floats, labels: Strings, test: Floats, truth: Strings
) -> float | None:
    """UAR of a probe from some clips to others; None if there are fewer than two classes.

    Or too few clips to be neighbours.
    """
    if len(set(labels)) < 2 or len(set(truth)) < 2:
        return None
    if name == "knn" and len(labels) < _NEIGHBOURS:
        return None
    return float(balanced_accuracy_score(truth, probe(name, train, labels, test)))


def score_within(name: ProbeName, values: Floats, labels: Strings) -> float | None:
    """UAR of a probe across five parts of the same clips; None if there are too few of them.

    For what no clip of another part can tell, like who speaks: the speakers are in every part.
    """
    _, counts = np.unique(labels, return_counts=True)
    if len(counts) < 2 or counts.min() < 5 or len(labels) * 4 // 5 < _NEIGHBOURS:
        return None
    parts = StratifiedKFold(5, shuffle=True, random_state=0)
    return float(
        balanced_accuracy_score(labels, cross_val_predict(PROBES[name](), values, labels, cv=parts))
    )


def rank_me(embeddings: Floats) -> float:
    """Effective number of dimensions of (clips, size) embeddings; 1 is a collapse.

    Source: Garrido et al. 2023, "RankMe", equation 1: exponential of the entropy of the singular
    values. We differ: the mean over clips is taken off first, as a constant tells nothing.
    """
    singular = np.linalg.svd(embeddings - embeddings.mean(0), compute_uv=False)
    share = singular / max(float(singular.sum()), 1e-12) + 1e-7
    return float(np.exp(-(share * np.log(share)).sum()))
