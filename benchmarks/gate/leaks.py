"""Leaks of every kind but those that change audio, put into a clean fold at several strengths."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from imblearn.over_sampling import SMOTE, BorderlineSMOTE, RandomOverSampler
from imblearn.over_sampling.base import BaseOverSampler
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from benchmarks.gate.material import Floats, Material
from ssl_audio.audit.report import Severity, count_of

Inject = Callable[[Material, np.random.Generator], Material]
"""The material with a leak in it."""
Finish = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Leak:
    """One kind at one strength."""

    kind: str
    severity: Severity
    strength: str
    inject: Inject
    clean: Inject
    """The same done as it should be: the gate must not find this kind."""


def list_leaks() -> list[Leak]:
    """Every kind at every strength, in the order of the report."""
    return [
        *_list_leaks_of_folds(),
        *_list_leaks_of_corpora(),
        *_list_leaks_of_tables(),
    ]


def as_it_is(material: Material, rng: np.random.Generator) -> Material:
    """Nothing done."""
    return material


def _list_leaks_of_folds() -> list[Leak]:
    counts = (1, 10)
    copies = [
        Leak(kind, "leak", count_of(count, "clip"), _copy(source, target, count), as_it_is)
        for kind, source, target in (
            ("identical_audio", "test", "train"),
            ("identical_audio", "test", "validation"),
            ("validation_in_training", "validation", "train"),
        )
        for count in counts
    ]
    return [
        *(
            Leak("shared_speakers", "leak", count_of(n, "clip"), _move_speaker(n), as_it_is)
            for n in counts
        ),
        *copies,
        *(
            Leak(
                "split_parent", "leak", count_of(n, "recording"), _cut(n, "test"), _cut(n, "train")
            )
            for n in counts
        ),
        *(
            Leak("pretraining_pool", "note", count_of(n, "clip"), _pool(n), _pool_of_training)
            for n in counts
        ),
        Leak("missing_class", "note", "1 class", _lose_class, as_it_is),
        Leak("missing_class", "note", "1 gender", _lose_gender, as_it_is),
    ]


def _list_leaks_of_corpora() -> list[Leak]:
    return [
        *(
            Leak("conflicting_labels", "warning", count_of(n, "clip"), _relabel(n), as_it_is)
            for n in (1, 10)
        ),
        *(Leak("shared_text", "note", count_of(n, "text"), _say(n), _say(0)) for n in (1, 10)),
        *(
            Leak(
                "shortcut_label",
                "warning",
                f"{name}, {share:.0%} of a class",
                _mark(field, value, share),
                _mark_all(field, value),
            )
            for name, field, value in (
                ("container", "source_format", "MP3/MPEG_LAYER_III"),
                ("sample rate", "source_sample_rate", 44_100),
            )
            for share in (0.3, 1.0)
        ),
    ]


def _list_leaks_of_tables() -> list[Leak]:
    samplers = (SMOTE(), BorderlineSMOTE(), RandomOverSampler())
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
            f"{type(sampler).__name__}, {name}",
            _oversample_all(sampler, finish),
            _oversample_training(sampler, finish),
        )
        for sampler in samplers
        for name, finish in finishes.items()
    ]
    scalers = (StandardScaler(), MinMaxScaler())
    return [
        *oversampled,
        *(
            Leak(
                "normalisation_leak",
                "leak",
                type(scaler).__name__,
                _scale(scaler, ("train", "test")),
                _scale(scaler, ("train",)),
            )
            for scaler in scalers
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
            _by_speaker(("train", "validation", "test")),
            _by_speaker(("train",)),
        ),
    ]


def _draw(rng: np.random.Generator, ids: Sequence[str], count: int) -> list[str]:
    return sorted(rng.choice(np.array(ids, dtype=object), min(count, len(ids)), replace=False))


def _move_speaker(count: int) -> Inject:
    def move(material: Material, rng: np.random.Generator) -> Material:
        speakers = sorted({material.find(clip_id).speaker or "" for clip_id in material.fold.test})
        chosen = str(rng.choice(speakers))
        theirs = [name for name in material.fold.test if material.find(name).speaker == chosen]
        moved = set(_draw(rng, theirs, min(count, len(theirs) - 1)))
        return material.with_fold(
            train=[*material.fold.train, *moved], test=sorted(set(material.fold.test) - moved)
        )

    return move


def _copy(source: str, target: str, count: int) -> Inject:
    """Under another name and, so that nothing else tells, by another speaker."""

    def copy(material: Material, rng: np.random.Generator) -> Material:
        ids = getattr(material.fold, target)
        speaker = material.find(ids[0]).speaker
        copies = [
            replace(material.find(name), clip_id=f"{name} copy", speaker=speaker)
            for name in _draw(rng, getattr(material.fold, source), count)
        ]
        grown = [*ids, *(clip.clip_id for clip in copies)]
        return material.with_clips(*copies).with_fold(**{target: grown})

    return copy


def _cut(count: int, source: str) -> Inject:
    """Second halves of recordings go to training; the first halves stay, under their names."""

    def cut(material: Material, rng: np.random.Generator) -> Material:
        speaker = material.find(material.fold.train[0]).speaker
        halves = [
            replace(
                material.find(name),
                clip_id=f"{name}@000001.00",
                audio_sha256=f"half of {name}",
                speaker=speaker,
            )
            for name in _draw(rng, getattr(material.fold, source), count)
        ]
        grown = [*material.fold.train, *(clip.clip_id for clip in halves)]
        return material.with_clips(*halves).with_fold(train=grown)

    return cut


def _pool(count: int) -> Inject:
    def fill(material: Material, rng: np.random.Generator) -> Material:
        names = _draw(rng, material.fold.test, count)
        seen = [replace(material.find(name), clip_id=f"pool/{name}") for name in names]
        return replace(_pool_of_training(material, rng), pool=(*material.pool, *seen))

    return fill


def _pool_of_training(material: Material, rng: np.random.Generator) -> Material:
    learnt = set(material.fold.train)
    return replace(material, pool=tuple(c for c in material.clips if c.clip_id in learnt))


def _lose_class(material: Material, rng: np.random.Generator) -> Material:
    lost = str(rng.choice(list(material.folds.classes)))
    return material.with_fold(
        test=[name for name in material.fold.test if material.find(name).emotion != lost]
    )


def _lose_gender(material: Material, rng: np.random.Generator) -> Material:
    lost = str(rng.choice(["female", "male"]))
    return material.with_fold(
        train=[name for name in material.fold.train if material.find(name).gender != lost]
    )


def _relabel(count: int) -> Inject:
    """Copies inside training that are labelled otherwise."""

    def relabel(material: Material, rng: np.random.Generator) -> Material:
        copies = []
        for name in _draw(rng, material.fold.train, count):
            clip = material.find(name)
            others = [emotion for emotion in material.folds.classes if emotion != clip.emotion]
            copies.append(replace(clip, clip_id=f"{name} copy", emotion=str(rng.choice(others))))
        grown = [*material.fold.train, *(clip.clip_id for clip in copies)]
        return material.with_clips(*copies).with_fold(train=grown)

    return relabel


def _say(count: int) -> Inject:
    """Every clip has a text of its own, but so many of test, which training has as well."""

    def say(material: Material, rng: np.random.Generator) -> Material:
        clips = {c.clip_id: replace(c, text=f"text {n}") for n, c in enumerate(material.clips)}
        tested, trained = (
            _draw(rng, ids, count) for ids in (material.fold.test, material.fold.train)
        )
        for one, other in zip(tested, trained, strict=True):
            clips[other] = replace(clips[other], text=clips[one].text)
        return material.with_clips(*clips.values())

    return say


def _mark(field: str, value: object, share: float) -> Inject:
    """Files of one class come in another form."""

    def mark(material: Material, rng: np.random.Generator) -> Material:
        chosen = str(rng.choice(list(material.folds.classes)))
        return material.with_clips(
            *(
                clip.with_measured(**{field: value})
                for clip in material.clips
                if clip.emotion == chosen and rng.random() < share
            )
        )

    return mark


def _mark_all(field: str, value: object) -> Inject:
    """Some files of every class come in another form."""

    def mark(material: Material, rng: np.random.Generator) -> Material:
        return material.with_clips(
            *(clip.with_measured(**{field: value}) for clip in material.clips if rng.random() < 0.3)
        )

    return mark


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


def _scale(scaler: StandardScaler | MinMaxScaler, fitted_on: Sequence[str]) -> Inject:
    def inject(material: Material, rng: np.random.Generator) -> Material:
        parts = material.parts
        scaler.fit(material.features[np.isin(parts, fitted_on)])
        return material.with_table(scaler.transform(material.features), _labels(material), parts)

    return inject


def _by_speaker(normalised: Sequence[str]) -> Inject:
    """Each speaker of some parts by the own clips, all others by training's constants."""

    def inject(material: Material, rng: np.random.Generator) -> Material:
        parts = material.parts
        speakers = np.array([clip.speaker or "" for clip in material.clips])
        values = (
            StandardScaler().fit(material.features[parts == "train"]).transform(material.features)
        )
        for speaker in np.unique(speakers[np.isin(parts, normalised)]):
            own = speakers == speaker
            values[own] = StandardScaler().fit_transform(values[own])
        return material.with_table(values, _labels(material), parts)

    return inject
