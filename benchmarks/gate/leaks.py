"""Leaks of every kind but those that change audio, put into a clean fold at several strengths."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.gate.leak import Inject, Leak, as_it_is
from benchmarks.gate.material import Material
from benchmarks.gate.table_leaks import list_leaks_of_tables
from ssl_audio.audit.report import count_of


def list_leaks() -> list[Leak]:
    """Every kind at every strength, in the order of the report."""
    return [
        *_list_leaks_of_folds(),
        *_list_leaks_of_corpora(),
        *list_leaks_of_tables(),
    ]


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
