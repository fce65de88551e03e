"""Leaks of feature tables: rows made up before the split, constants of more than training."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from imblearn.over_sampling import SMOTE, BorderlineSMOTE, RandomOverSampler
from imblearn.over_sampling.base import BaseOverSampler
from sklearn.decomposition import PCA
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from benchmarks.gate.leak import Inject, Leak
from benchmarks.gate.material import Floats, Material

Finish = Callable[[Floats], Floats]
Scaler: TypeAlias = (
    StandardScaler | MinMaxScaler | RobustScaler | MaxAbsScaler | QuantileTransformer | PCA
)


def list_leaks_of_tables() -> list[Leak]:
    """Every kind at every strength."""
    samplers = {
        "SMOTE": SMOTE(),
        "BorderlineSMOTE": BorderlineSMOTE(),
        "RandomOverSampler": RandomOverSampler(),
        "RandomOverSampler with noise": RandomOverSampler(shrinkage=0.3),
    }
    finishes: dict[str, Finish] = {
        "as computed": lambda values: values,
        "standardised": lambda values: StandardScaler().fit(values[::2]).transform(values),
        "float32": lambda values: values.astype(np.float32).astype(np.float64),
        "6 decimals": lambda values: values.round(6),
    }
    oversampled = [
        Leak(
            "oversampled_rows",
            "leak",
            f"{method}, {name}",
            _oversample_all(sampler, finish),
            _oversample_training(sampler, finish),
        )
        for method, sampler in samplers.items()
        for name, finish in finishes.items()
    ]
    scalers: dict[str, Scaler] = {
        "StandardScaler": StandardScaler(),
        "MinMaxScaler": MinMaxScaler(),
        "RobustScaler": RobustScaler(),
        "MaxAbsScaler": MaxAbsScaler(),
        "QuantileTransformer": QuantileTransformer(n_quantiles=20),
        "PCA": PCA(10),
        "PCA, whitened": PCA(10, whiten=True),
    }
    return [
        *oversampled,
        *(
            Leak(
                "normalisation_leak",
                "leak",
                name,
                _scale(scaler, ("train", "test")),
                _scale(scaler, ("train",)),
            )
            for name, scaler in scalers.items()
        ),
        Leak(
            "normalisation_leak",
            "leak",
            "StandardScaler on all",
            _scale(StandardScaler(), ("train", "validation", "test")),
            _scale(StandardScaler(), ("train", "validation")),
        ),
        Leak(
            "speaker_statistics",
            "leak",
            "mean and deviation",
            _by_speaker(StandardScaler(), ("train", "validation", "test")),
            _by_speaker(StandardScaler(), ("train",)),
        ),
        Leak(
            "speaker_statistics",
            "leak",
            "range",
            _by_speaker(MinMaxScaler(), ("train", "validation", "test")),
            _by_speaker(MinMaxScaler(), ("train",)),
        ),
    ]


def _labels(material: Material) -> list[str]:
    return [clip.emotion or "" for clip in material.clips]


def _thin(material: Material, rng: np.random.Generator) -> Material:
    """Classes of unequal size, without which there is nothing to oversample; no clip unused."""
    rare = set(list(material.folds.classes)[::2])
    kept = [c for c in range(len(material.clips)) if material.parts[c]]
    kept = [c for c in kept if material.clips[c].emotion not in rare or rng.random() < 0.5]
    clips = tuple(material.clips[place] for place in kept)
    ids = {clip.clip_id for clip in clips}
    thinned = replace(material, clips=clips, features=material.features[kept])
    parts = {
        p: [n for n in getattr(material.fold, p) if n in ids]
        for p in ("train", "validation", "test")
    }
    return thinned.with_fold(**parts)


def _oversample(
    sampler: BaseOverSampler, values: Floats, labels: Sequence[str], rng: np.random.Generator
) -> tuple[Floats, list[str]]:
    sampler.set_params(random_state=int(rng.integers(2**31)))
    grown, grown_labels = sampler.fit_resample(values, np.array(labels))
    return grown, list(grown_labels)


def _oversample_all(sampler: BaseOverSampler, finish: Finish) -> Inject:
    """Before the split, as so many notebooks do; made-up rows are dealt at random."""

    def inject(material: Material, rng: np.random.Generator) -> Material:
        material = _thin(material, rng)
        values, labels = _oversample(sampler, material.features, _labels(material), rng)
        parts = material.parts
        dealt = rng.choice(parts, len(values) - len(parts))
        return material.with_table(finish(values), labels, np.concatenate([parts, dealt]))

    return inject


def _oversample_training(sampler: BaseOverSampler, finish: Finish) -> Inject:
    """After the split, training rows only."""

    def inject(material: Material, rng: np.random.Generator) -> Material:
        material = _thin(material, rng)
        parts, labels = material.parts, _labels(material)
        train = np.flatnonzero(parts == "train")
        grown, grown_labels = _oversample(
            sampler, material.features[train], [labels[row] for row in train], rng
        )
        made, made_labels = grown[len(train) :], grown_labels[len(train) :]
        return material.with_table(
            finish(np.concatenate([material.features, made])),
            [*labels, *made_labels],
            np.concatenate([parts, np.full(len(made), "train")]),
        )

    return inject


def _scale(scaler: Scaler, fitted_on: Sequence[str]) -> Inject:
    def inject(material: Material, rng: np.random.Generator) -> Material:
        parts = material.parts
        scaler.fit(material.features[np.isin(parts, fitted_on)])
        return material.with_table(scaler.transform(material.features), _labels(material), parts)

    return inject


def _by_speaker(scaler: Scaler, normalised: Sequence[str]) -> Inject:
    """Each speaker of some parts by the own clips, all others by training's constants."""

    def inject(material: Material, rng: np.random.Generator) -> Material:
        parts = material.parts
        speakers = np.array([clip.speaker or "" for clip in material.clips])
        values = scaler.fit(material.features[parts == "train"]).transform(material.features)
        for speaker in np.unique(speakers[np.isin(parts, normalised)]):
            own = speakers == speaker
            values[own] = scaler.fit_transform(values[own])
        return material.with_table(values, _labels(material), parts)

    return inject
