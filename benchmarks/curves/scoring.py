"""What a probe reads in embeddings, on all folds of a protocol."""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.metrics import balanced_accuracy_score

from benchmarks.statistics import (
    SCORES,
    choose_clusters,
    confusion_by,
    pooled_estimate,
    spread_over_folds,
)
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.data.protocols import OpenProtocol
from ssl_audio.data.stream import Ints
from ssl_audio.probes import Floats, ProbeName, Strings, probe, rank_me, score_within


@dataclass(frozen=True)
class Reading:
    """What one probe reads in one state of an encoder.

    Attributes:
        run: its name.
        objective: of the run; ``none`` of log-mel statistics.
        seed: of the run.
        step: taken by then; 0 is untrained.
        processor_seconds: spent by then.
        protocol: read on.
        level: of the encoder; -1 is no encoder.
        probe: that read.
        uar: of all folds' test clips pooled, in [0, 1].
        ci_low, ci_high: 95 %, clustered by speaker, else by recording.
        fold_sd: standard deviation of the UAR over folds.
        n_clips, n_speakers: tested; speakers are 0 where they are unknown.
        gender_uar: of the gender, read alike; NaN where it is unknown.
        speaker_uar: of who speaks, across five parts of all clips, each with every speaker; NaN
            where they are unknown or too few.
        rank_me: effective number of dimensions of the embeddings of all clips.
    """

    run: str
    objective: str
    seed: int
    step: int
    processor_seconds: float
    protocol: str
    level: int
    probe: str
    uar: float = np.nan
    ci_low: float | None = None
    ci_high: float | None = None
    fold_sd: float | None = None
    n_clips: int = 0
    n_speakers: int = 0
    gender_uar: float = np.nan
    speaker_uar: float = np.nan
    rank_me: float = np.nan


@dataclass(frozen=True)
class _Parts:
    """Places among the clips of a protocol: (n,) int64 of those learnt from, and of those tested.

    Validation clips are learnt from too: nothing is chosen by them.
    """

    learnt: Ints
    test: Ints


def score(about: Reading, values: Floats, clips: Ints, protocol: OpenProtocol) -> Reading:
    """Completes a reading: every fold's probe is fitted to what is not its test part.

    Args:
        about: whose probe reads.
        values: (num_clips, size) embeddings of all clips of the protocol.
        clips: (num_clips,) int64 places in its corpus.
        protocol: whose folds are read.
    """
    corpus, classes = protocol.corpus, protocol.folds.classes
    place_of = {int(clip): place for place, clip in enumerate(clips)}
    folds = [
        _Parts(
            np.array([place_of[clip] for clip in corpus.indices((*fold.train, *fold.validation))]),
            np.array([place_of[clip] for clip in corpus.indices(fold.test)]),
        )
        for fold in protocol.folds.folds
    ]
    which: ProbeName = "linear" if about.probe == "linear" else "knn"
    emotions = _field(corpus, clips, "emotion")
    said, truth = _read_folds(which, values, emotions, folds)
    right = np.array([classes.index(label) for label in truth])
    votes = np.eye(len(classes))[[classes.index(label) for label in said]]
    tested = [corpus.clips[clips[place]] for fold in folds for place in fold.test]
    clusters = choose_clusters([clip.speaker for clip in tested], [c.clip_id for c in tested])
    numbers = np.repeat(np.arange(len(folds)), [len(fold.test) for fold in folds])
    uar = SCORES["uar"]
    estimate = pooled_estimate(confusion_by(right, votes, clusters.names), uar)
    return replace(
        about,
        uar=estimate.value,
        ci_low=estimate.low,
        ci_high=estimate.high,
        fold_sd=spread_over_folds(confusion_by(right, votes, numbers), uar),
        n_clips=len(tested),
        n_speakers=clusters.num_speakers or 0,
        gender_uar=_read_gender(which, values, _field(corpus, clips, "gender"), folds),
        speaker_uar=_read_speaker(which, values, _field(corpus, clips, "speaker")),
        rank_me=rank_me(values),
    )


def _field(corpus: PreparedCorpus, clips: Ints, name: str) -> Strings:
    """(clips,) of the manifest; empty where it is unknown."""
    return np.array([getattr(corpus.clips[clip], name) or "" for clip in clips])


def _read_folds(
    which: ProbeName, values: Floats, labels: Strings, folds: list[_Parts]
) -> tuple[Strings, Strings]:
    """(tested,) what is said of all folds' test clips, fold after fold, and what is true."""
    said = [
        probe(which, values[fold.learnt], labels[fold.learnt], values[fold.test]) for fold in folds
    ]
    return np.concatenate(said), np.concatenate([labels[fold.test] for fold in folds])


def _read_gender(which: ProbeName, values: Floats, genders: Strings, folds: list[_Parts]) -> float:
    if any(len(set(genders[fold.learnt])) < 2 for fold in folds) or "" in genders:
        return np.nan
    said, truth = _read_folds(which, values, genders, folds)
    return float(balanced_accuracy_score(truth, said))


def _read_speaker(which: ProbeName, values: Floats, speakers: Strings) -> float:
    found = None if "" in speakers else score_within(which, values, speakers)
    return np.nan if found is None else found
