"""Does an imported row leak? Only what was looked at counts; what is declared never does."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from benchmarks.evidence import Evidence
from finetune.predictions import Predictions
from ssl_audio.audit import LEAKY_ENDING, Finding, audit_fold, format_findings, has_leak
from ssl_audio.audit.report import count_of, name_some
from ssl_audio.data.folds import Fold, Folds
from ssl_audio.data.manifest import Clip

SPEAKERS_AGAIN = ("text+speaker",)
"""Schemes that test a speaker in several folds, and train on one in none of those."""


@dataclass(frozen=True)
class Verdict:
    """What the checks found, and which of them could not be made."""

    findings: tuple[Finding, ...]
    checked: tuple[str, ...]
    unchecked: tuple[str, ...]
    training_known: bool
    """Whether what the system learnt from was audited."""

    @property
    def leak(self) -> str:
        """As in ``Provenance``."""
        return "leaky" if has_leak(self.findings) else ""

    @property
    def note(self) -> str:
        """For the legend of the row's table."""
        leaks = [finding.evidence for finding in self.findings if finding.severity == "leak"]
        if leaks:
            return f"imported: {leaks[0]}"
        if self.training_known:
            return "imported: its training clips were audited, no leak was found"
        return "imported: what it was trained on is not known"

    def describe(self) -> str:
        """In plain words, for the terminal."""
        head = "leaky" if self.leak else "no leak found in what could be checked"
        return "\n".join(
            [
                f"leak verdict: {head}",
                *(f"  {line}" for line in format_findings(self.findings)),
                f"  checked: {'; '.join(self.checked) or 'nothing'}",
                f"  not checked: {'; '.join(self.unchecked)}",
            ]
        )


def judge(predictions: Predictions, evidence: Evidence) -> Verdict:
    """Every check that the evidence allows.

    What a system learnt from is audited if it is known. If not, the folds that it claims, and that
    its test clips agree with, stand for it; and if those are not known either, the usual
    cross-validation, which trains on what other folds test, unless the protocol does otherwise.
    """
    known = evidence.known_clips(predictions)
    findings = [*_find_leaky_name(predictions), *_find_repeated_clips(predictions)]
    if evidence.training:
        findings += _audit_training(predictions, evidence, known)
    if evidence.folds is not None:
        findings += _audit_folds(predictions, evidence.folds, known)
    elif not evidence.training:
        findings += [
            finding
            for finding in _find_split_groups(predictions, known)
            if finding.kind != "shared_speakers" or not _tests_speakers_again(evidence)
        ]
    checked, unchecked = _tell_checks(predictions, evidence, known)
    return Verdict(tuple(findings), checked, unchecked, bool(evidence.training))


def _tell_checks(
    predictions: Predictions, evidence: Evidence, known: Mapping[str, Clip]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What could be checked, and what could not."""
    checks = {
        "training clips against test clips": bool(evidence.training),
        "task and classes against the protocol's": bool(evidence.protocol or evidence.folds),
        "test clips against the protocol's, fold by fold": evidence.folds is not None,
        "labels, speakers and copies of the audio against the corpus": bool(evidence.clips),
        "whether speakers are tested in several folds": any(c.speaker for c in known.values())
        and (evidence.folds is not None or not _tests_speakers_again(evidence)),
    }
    options = ("--train-clips", "--folds", "--folds or --corpus", "--corpus")
    ways = dict(zip(checks, options, strict=False))
    unchecked = [
        f"{name} (give {ways[name]})" if name in ways else name
        for name, made in checks.items()
        if not made
    ]
    tested = predictions.frame["clip_id"].unique()
    num_unknown = sum(known[clip_id].speaker is None for clip_id in tested)
    if num_unknown:
        unchecked.append(f"{count_of(num_unknown, 'clip')} whose speaker is unknown")
    unchecked += ["how settings were chosen", "what weights were pretrained on"]
    return tuple(name for name, made in checks.items() if made), tuple(unchecked)


def _tests_speakers_again(evidence: Evidence) -> bool:
    """Whether speakers in several folds are what the protocol asks for."""
    return evidence.protocol is not None and evidence.protocol.scheme in SPEAKERS_AGAIN


def _find_leaky_name(predictions: Predictions) -> list[Finding]:
    protocol = predictions.about.protocol
    if not protocol.endswith(LEAKY_ENDING):
        return []
    evidence = f"{protocol} leaks, as its name says"
    return [Finding(kind="leaky_protocol", severity="leak", evidence=evidence, groups=())]


def _find_repeated_clips(predictions: Predictions) -> list[Finding]:
    """A warning if a clip is tested in several folds of one seed."""
    counts = predictions.frame.groupby(["seed", "clip_id"])["fold"].nunique()
    repeated = sorted({clip_id for _, clip_id in counts[counts > 1].index})
    if not repeated:
        return []
    return [
        Finding(
            kind="repeated_clips",
            severity="warning",
            evidence=f"{count_of(len(repeated), 'clip')} tested in several folds, each counted as "
            f"often: {name_some(repeated)}",
            groups=tuple((clip_id,) for clip_id in repeated),
        )
    ]


def _find_split_groups(predictions: Predictions, known: Mapping[str, Clip]) -> list[Finding]:
    """Speakers and recordings that several folds test, on other clips in each."""
    ids = predictions.frame["clip_id"]
    findings = []
    for kind, noun, names in (
        ("shared_speakers", "speaker", ids.map({name: c.speaker for name, c in known.items()})),
        ("identical_audio", "recording", ids.map({n: c.audio_sha256 for n, c in known.items()})),
    ):
        tests = predictions.frame.assign(group=names).dropna(subset="group")
        split = sorted(
            {
                group
                for (_, group), part in tests.groupby(["seed", "group"])
                if len({frozenset(clips) for _, clips in part.groupby("fold")["clip_id"]}) > 1
            }
        )
        if not split:
            continue
        groups = tuple(tuple(sorted(set(ids[names == name]))) for name in split)
        shown = split if noun == "speaker" else [" = ".join(clips) for clips in groups]
        findings.append(
            Finding(
                kind=kind,
                severity="leak",
                evidence=f"{len(split)} of {tests['group'].nunique()} {noun}s are tested in "
                f"several folds, on other clips in each ({name_some(shown)}): with the usual "
                "cross-validation, what one fold tests the others train on",
                groups=groups,
            )
        )
    return findings


def _audit_folds(
    predictions: Predictions, folds: Folds, known: Mapping[str, Clip]
) -> list[Finding]:
    """The leak gate on the folds of the protocol; only leaks, as all else is in its own report."""
    clips = [known.get(name, Clip(clip_id=name, path=name)) for name in folds.clip_ids]
    tested = {int(fold) for fold in predictions.frame["fold"].unique()}
    return [
        finding
        for fold in folds.folds
        if fold.number in tested
        for finding in audit_fold(clips, fold, folds.protocol)
        if finding.severity == "leak"
    ]


def _merge(learnt: Clip, known: Clip | None) -> Clip:
    """A training clip with what else is known of it, its speaker under the protocol's name."""
    if known is None:
        return learnt
    # A list of names says nothing more of a clip than its name; a manifest does.
    if learnt.audio_sha256 is None:
        return known
    return replace(learnt, speaker=known.speaker or learnt.speaker)


def _audit_training(
    predictions: Predictions, evidence: Evidence, known: Mapping[str, Clip]
) -> list[Finding]:
    """The leak gate on what the system really learnt from."""
    findings = []
    numbers = sorted({int(fold) for fold in predictions.frame["fold"].unique()})
    for number in numbers:
        learnt = evidence.training_of(number, numbers)
        told = {clip.clip_id: _merge(clip, known.get(clip.clip_id)) for clip in learnt}
        tested = predictions.frame.loc[predictions.frame["fold"] == number, "clip_id"]
        fold = Fold(number, tuple(sorted(told)), (), tuple(sorted(set(tested))))
        clips = list((dict(known) | told).values())
        findings += audit_fold(clips, fold, predictions.about.protocol)
    return findings
