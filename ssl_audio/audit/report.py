"""What an audit says: findings, one readable report, one JSON file."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

from ssl_audio.audit.remedies import REMEDIES
from ssl_audio.data.folds import Folds

Severity = Literal["leak", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("leak", "warning", "note")

MOST_SHOWN = 3
"""Findings of one kind on the corpus as a whole; of folds the first stands for the others."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that makes a number less trustworthy, or that its reader must know."""

    kind: str
    """Which check, e.g. ``shared_speakers``."""
    severity: Severity
    protocol: str | None = None
    """Full name of the folds; None when it is about the corpus as a whole."""
    fold: int | None = None
    evidence: str
    """One sentence with the numbers and the first names."""
    groups: tuple[tuple[str, ...], ...]
    """Sets of clip ids: those of one set belong on one side of a split."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What was looked at and what was found."""

    findings: tuple[Finding, ...]
    protocols: tuple[Folds, ...] = ()
    looked_at: tuple[str, ...] = ()
    """What the verdict rests on, e.g. ``the audio of 1440 clips``."""
    missed: tuple[str, ...] = ()
    """What could not be looked at, and why."""
    seconds: float = 0.0
    """That it took."""


def has_leak(findings: Sequence[Finding]) -> bool:
    """Whether any finding is a leak."""
    return any(finding.severity == "leak" for finding in findings)


def format_report(audit: Audit) -> str:
    """Some lines for the terminal: the verdict, what was found, what that rests on."""
    names = [
        f"{folds.protocol} ({count_of(len(folds.folds), 'fold')})" for folds in audit.protocols
    ]
    counts = Counter(finding.severity for finding in audit.findings)
    verdict = ", ".join(count_of(counts[severity], severity) for severity in SEVERITIES)
    lines = [
        f"audit of {', '.join(names) or 'the corpus; it has no folds'}: {verdict} "
        f"({audit.seconds:.1f} s)",
        *format_findings(audit.findings),
    ]
    if audit.looked_at:
        lines.append(f"looked at: {'; '.join(audit.looked_at)}")
    if audit.missed:
        lines.append(f"could not be looked at: {'; '.join(audit.missed)}")
    return "\n".join(lines)


def format_findings(findings: Sequence[Finding]) -> list[str]:
    """Worst first, one line for each kind and protocol, with what to do about it."""
    by_kind = sorted(findings, key=lambda finding: (finding.kind, finding.protocol or ""))
    alike = [list(group) for _, group in groupby(by_kind, lambda f: (f.kind, f.protocol or ""))]
    alike = [sorted(group, key=_severity_rank) for group in alike]
    return [_format_alike(group) for group in sorted(alike, key=lambda g: _severity_rank(g[0]))]


def _severity_rank(finding: Finding) -> int:
    return SEVERITIES.index(finding.severity)


def _format_alike(findings: Sequence[Finding]) -> str:
    first = findings[0]
    worst = [finding for finding in findings if finding.severity == first.severity]
    folds = list(dict.fromkeys(str(item.fold) for item in worst if item.fold is not None))
    noun = "fold" if len(folds) == 1 else "folds"
    place = f"{noun} {name_some(folds, most=8)}" if folds else ""
    where = " ".join(filter(None, [first.protocol, place]))
    told = list(dict.fromkeys(finding.evidence for finding in findings))
    shown = told[: 1 if folds else MOST_SHOWN]
    more = f" (and {len(told) - len(shown)} more like it)" if told[len(shown) :] else ""
    is_note = first.severity == "note"
    remedy = f" -> {REMEDIES[first.kind]}" if first.kind in REMEDIES and not is_note else ""
    start = f"{first.severity}: {first.kind}: {where}{': ' if where else ''}"
    return f"{start}{'; '.join(shown)}{more}{remedy}"


def count_of(number: int, noun: str) -> str:
    """``no leaks``, ``1 leak``, ``2 leaks``."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def write_json(findings: Sequence[Finding], path: Path) -> None:
    """An object whose ``findings`` are a list of objects, with their groups."""
    content = {"findings": [asdict(finding) for finding in findings]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def name_some(names: Sequence[str], most: int = 3) -> str:
    """The first few names and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
