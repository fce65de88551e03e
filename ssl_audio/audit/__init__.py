"""The leak gate: does a split let a model see in training what it is tested on?"""

from ssl_audio.audit.gate import LEAKY_ENDING, audit_fold, audit_folds, guard, refuse_leaks
from ssl_audio.audit.report import (
    Audit,
    Finding,
    format_findings,
    format_report,
    has_leak,
    write_json,
)

__all__ = [
    "LEAKY_ENDING",
    "Audit",
    "Finding",
    "audit_fold",
    "audit_folds",
    "format_findings",
    "format_report",
    "guard",
    "has_leak",
    "refuse_leaks",
    "write_json",
]
