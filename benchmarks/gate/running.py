"""Injects, audits and counts; each part of the result is a file, and what is there is kept."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.gate.changes import Change, list_changes
from benchmarks.gate.config import GateConfig
from benchmarks.gate.leak import Inject, Leak
from benchmarks.gate.leaks import list_leaks
from benchmarks.gate.material import Material
from benchmarks.gate.neighbours import score_neighbours
from benchmarks.gate.report import write_report
from benchmarks.gate.score import Score
from benchmarks.gate.voices import score_voices
from benchmarks.memory import forget_peak, peak_mebibytes
from benchmarks.results import slug
from ssl_audio.audit import audit_fold, audit_folds
from ssl_audio.audit.copies import Copy, find_copies
from ssl_audio.audit.copies.finding import search
from ssl_audio.audit.report import SEVERITIES
from ssl_audio.data.audio import Int16, measure
from ssl_audio.data.folds import Fold
from ssl_audio.data.manifest import Clip
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.errors import UserError
from ssl_audio.progress import with_progress
from ssl_audio.run_record import write_run_record


def run_gate(config: GateConfig, output: Path) -> str:
    """Makes ``output/parts`` and from them the report; a folder that is there is continued.

    Returns:
        The report, as Markdown.

    Raises:
        UserError: no corpus, or a protocol that a corpus has not.
    """
    if not config.corpora:
        raise UserError(
            "corpora: name prepared folders and their protocols, e.g. "
            "--set 'corpora={runs/ravdess: ravdess-speech-8/emobox6}'"
        )
    start = time.monotonic()
    (output / "parts").mkdir(parents=True, exist_ok=True)
    scores, alarms, fingerprints = [], [], []
    for folder, protocol in config.corpora.items():
        corpus = PreparedCorpus.load(Path(folder))
        fingerprints.append(corpus.fingerprint)
        stem = output / "parts" / slug(protocol)
        for seed in config.seeds:
            scores += [
                _keep(stem, f"leaks{seed}", partial(score_leaks, corpus, protocol, seed)),
                _keep(
                    stem,
                    f"audio{seed}",
                    partial(score_changes, corpus, protocol, seed, config.clips_per_change),
                ),
                _keep(
                    stem,
                    f"neighbours{seed}",
                    partial(score_neighbours, corpus, protocol, seed, config.clips_per_change),
                ),
                _keep(stem, f"voices{seed}", partial(score_voices, corpus, protocol, seed)),
            ]
        alarms.append(_keep(stem, "clean", partial(count_alarms, corpus)))
    cost = None
    if config.cost is not None:
        searched = PreparedCorpus.load(config.cost)
        fingerprints.append(searched.fingerprint)
        measure_it = partial(measure_cost, searched, config.cost_sizes)
        cost = _keep(output / "parts" / "all", "cost", measure_it)
    report = write_report(pd.concat(scores), pd.concat(alarms), cost, output)
    write_run_record(
        output,
        command="benchmarks gate",
        config=config,
        seed=min(config.seeds),
        device="cpu",
        choices={"cores": os.cpu_count()},
        data_fingerprint=" ".join(fingerprints),
        wall_seconds=time.monotonic() - start,
        metrics={},
    )
    return report


def _keep(stem: Path, suffix: str, make: Callable[[], Sequence[Any]]) -> pd.DataFrame:
    path = stem.with_name(f"{stem.name}__{suffix}.csv")
    if not path.is_file():
        aside = path.with_suffix(".partial")
        pd.DataFrame([asdict(row) for row in make()]).to_csv(aside, index=False)
        aside.rename(path)
    return pd.read_csv(path, keep_default_na=False)


def score_leaks(corpus: PreparedCorpus, protocol: str, seed: int) -> list[Score]:
    """Every leak of ``leaks``, and the same done rightly."""
    material = Material.of(corpus, protocol)
    leaks = list_leaks()
    scores = []
    for number, leak in enumerate(with_progress(leaks, len(leaks), "inject", "leak")):

        def tell(inject: Inject, leak: Leak = leak, key: tuple[int, int] = (seed, number)) -> bool:
            findings = inject(material, np.random.default_rng(key)).audit(leak.kind)
            bad_enough = SEVERITIES[: SEVERITIES.index(leak.severity) + 1]
            return any(finding.severity in bad_enough for finding in findings)

        found = int(tell(leak.inject))
        score = Score(
            corpus.name, leak.kind, "", leak.strength, seed, 1, found, found, int(tell(leak.clean))
        )
        scores.append(score)
    return scores


def score_changes(
    corpus: PreparedCorpus, protocol: str, seed: int, clips_per_change: int
) -> list[Score]:
    """Every change of ``changes`` to some test clips, put into training under another speaker."""
    rng = np.random.default_rng(seed)
    fold = corpus.folds(protocol).folds[0]
    places = {clip.clip_id: place for place, clip in enumerate(corpus.clips)}
    stranger = corpus.clips[places[fold.train[0]]].speaker
    made: list[tuple[Change, str, Clip, Int16]] = []
    for change in list_changes():
        for name in rng.choice(fold.test, clips_per_change, replace=False):
            clip, view = corpus.clips[places[name]], corpus.views[places[name]]
            samples = change.on_int16(view, rng)
            copy = replace(clip, clip_id=f"copy {len(made)}", speaker=stranger)
            made.append((change, str(name), copy.with_measured(**measure(samples)), samples))
    return _score_copies(corpus, fold, made, seed)


def _score_copies(
    corpus: PreparedCorpus, fold: Fold, made: list[tuple[Change, str, Clip, Int16]], seed: int
) -> list[Score]:
    clips = (*corpus.clips, *(clip for _, _, clip, _ in made))
    views = (*corpus.views, *(samples for *_, samples in made))
    copies = tuple(search(clips, views, lambda one, other: True))
    grown = replace(fold, train=(*fold.train, *(clip.clip_id for _, _, clip, _ in made)))
    leaks = [
        (finding.kind, set(group))
        for finding in audit_fold(clips, grown, None, copies)
        if finding.severity == "leak"
        for group in finding.groups
    ]
    # A sound that comes back unchanged is identical, which is told before anything else.
    hashes = {clip.audio_sha256 for clip in corpus.clips}
    origin = {clip.clip_id: name for _, name, clip, _ in made}
    strays = [c for c in copies if origin.get(c.first, c.first) != origin.get(c.second, c.second)]
    scores = []
    for change in list_changes():
        key = (change.kind, change.name, change.strength)
        own = {
            clip.clip_id: {kind for kind, group in leaks if {clip.clip_id, name} <= group}
            for other, name, clip, _ in made
            if (other.kind, other.name, other.strength) == key and clip.audio_sha256 not in hashes
        }
        found = [kinds for kinds in own.values() if kinds & KINDS]
        right = sum(change.kind in kinds for kinds in found)
        stray = sum(copy.first in own or copy.second in own for copy in strays)
        scores.append(Score(corpus.name, *key, seed, len(own), len(found), right, stray))
    return scores


KINDS = {"near_identical_audio", "augmented_copies", "split_parent"}


@dataclass(frozen=True)
class Alarms:
    """What the gate says of a protocol with which nothing is wrong."""

    corpus: str
    protocol: str
    num_clips: int
    num_folds: int
    leaks: int
    hard_negatives: int
    """Pairs of one speaker, text, emotion and intensity: different takes, most alike of all."""
    called_copies: int
    """Of these."""
    copies: int
    """Pairs that the gate calls copies at all."""


def count_alarms(corpus: PreparedCorpus) -> list[Alarms]:
    """Every protocol that the corpus brings."""
    copies = find_copies(corpus)
    takes = _find_takes(corpus.clips)
    rows = []
    for path in sorted((corpus.root / "folds").glob("*.csv")):
        folds = corpus.folds(str(path))
        findings = audit_folds(corpus.clips, [folds], copies)
        rows.append(
            Alarms(
                corpus.name,
                folds.protocol,
                len(folds.clip_ids),
                len(folds.folds),
                sum(finding.severity == "leak" for finding in findings),
                len(takes),
                sum(_pair(copy) in takes for copy in copies),
                len(copies),
            )
        )
    return rows


def _find_takes(clips: Iterable[Clip]) -> set[tuple[str, str]]:
    takes: dict[tuple[str | None, ...], list[Clip]] = {}
    for clip in clips:
        if clip.speaker and clip.text:
            takes.setdefault((clip.speaker, clip.text, clip.emotion, clip.intensity), []).append(
                clip
            )
    return {
        (min(a.clip_id, b.clip_id), max(a.clip_id, b.clip_id))
        for same in takes.values()
        for a in same
        for b in same
        if a.clip_id < b.clip_id and a.audio_sha256 != b.audio_sha256
    }


def _pair(copy: Copy) -> tuple[str, str]:
    return min(copy.first, copy.second), max(copy.first, copy.second)


@dataclass(frozen=True)
class Cost:
    """Of a search among some clips."""

    num_clips: int
    hours: float
    seconds: float
    peak_mebibytes: float
    num_copies: int


def measure_cost(corpus: PreparedCorpus, sizes: Iterable[int]) -> list[Cost]:
    """Time and memory of searching larger and larger parts of a corpus, drawn at random."""
    order = np.random.default_rng(0).permutation(len(corpus))
    rows = []
    for size in [*(size for size in sizes if size < len(corpus)), len(corpus)]:
        chosen = sorted(order[:size].tolist())
        clips, views = (
            [items[place] for place in chosen] for items in (corpus.clips, corpus.views)
        )
        forget_peak()
        start = time.perf_counter()
        copies = list(search(clips, views, lambda one, other: True))
        seconds = time.perf_counter() - start
        hours = float(corpus.num_samples[chosen].sum()) / 16_000 / 3600
        rows.append(Cost(size, hours, seconds, peak_mebibytes(), len(copies)))
    return rows
