"""What an audit says: findings, one readable report, one JSON file."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

from ssl_audio.data.folds import Folds

Severity = Literal["leak", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("leak", "warning", "note")


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


def has_leak(findings: Sequence[Finding]) -> bool:
    """Whether any finding is a leak."""
    return any(finding.severity == "leak" for finding in findings)


def format_report(findings: Sequence[Finding], protocols: Sequence[Folds] = ()) -> str:
    """Some lines for the terminal, worst first; folds that share a finding share its line."""
    looked_at = [f"{folds.protocol} ({len(folds.folds)} folds)" for folds in protocols]
    counts = Counter(finding.severity for finding in findings)
    verdict = ", ".join(count_of(counts[severity], severity) for severity in SEVERITIES)
    lines = [f"audit of {', '.join(looked_at) or 'the corpus; it has no folds'}: {verdict}"]
    for _, alike in groupby(sorted(findings, key=_rank), key=_rank):
        lines.append(_format_alike(list(alike)))
    return "\n".join(lines)


def _rank(finding: Finding) -> tuple[int, str, str]:
    return SEVERITIES.index(finding.severity), finding.kind, finding.protocol or ""


def _format_alike(findings: Sequence[Finding]) -> str:
    first = findings[0]
    folds = list(dict.fromkeys(str(item.fold) for item in findings if item.fold is not None))
    noun = "fold" if len(folds) == 1 else "folds"
    place = f"{first.protocol or ''} {noun} {', '.join(folds)}: ".lstrip() if folds else ""
    num_others = len({finding.evidence for finding in findings}) - 1
    more = f" (and {num_others} more like it)" if num_others else ""
    return f"{first.severity}: {first.kind}: {place}{first.evidence}{more}"


def count_of(number: int, noun: str) -> str:
    """``no leaks``, ``1 leak``, ``2 leaks``."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def write_json(findings: Sequence[Finding], path: Path) -> None:
    """Every finding with its groups, as a list of objects."""
    content = [asdict(finding) for finding in findings]
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def name_some(names: Sequence[str], most: int = 3) -> str:
    """The first few names and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
