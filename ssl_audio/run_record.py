"""run.json: what a run was, so that its numbers can be traced and made again."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from ssl_audio.config import Config
from ssl_audio.errors import DataError

SEEN_CLIPS = "pretraining.parquet"
"""Manifest, beside a pretrained encoder, of the clips it was pretrained on."""
_PACKAGES = (
    "ssl-audio",
    "torch",
    "torchaudio",
    "transformers",
    "accelerate",
    "librosa",
    "numpy",
    "scikit-learn",
    "imbalanced-learn",
    "xgboost-cpu",
)


def write_run_record(
    output: Path,
    *,
    command: str,
    config: Config,
    seed: int,
    device: str,
    choices: Mapping[str, Any],
    data_fingerprint: str,
    wall_seconds: float,
    metrics: Mapping[str, Any],
    details: Mapping[str, Any] | None = None,
) -> None:
    """Writes ``output/run.json``.

    Args:
        output: the run's folder.
        command: which command made it, e.g. ``ssl_audio pretrain``.
        config: as resolved.
        seed: of every random draw.
        device: type it ran on; the processor's name is added.
        choices: made by probing (precision, attention form, threads).
        data_fingerprint: of the prepared corpus and the clips used.
        wall_seconds: over all resumed parts.
        metrics: final ones.
        details: what else its readers need.
    """
    record = {
        "command": command,
        "config": config.model_dump(mode="json"),
        "seed": seed,
        "git_commit": git_commit(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "device": device,
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "choices": dict(choices),
        "data_fingerprint": data_fingerprint,
        "wall_seconds": round(wall_seconds, 3),
        "metrics": dict(metrics),
        **(details or {}),
    }
    aside = output / ".run.json.partial"
    aside.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    aside.rename(output / "run.json")


def read_run_record(output: Path) -> dict[str, Any]:
    """Reads ``output/run.json``.

    Raises:
        DataError: there is none, so the run has not finished or the folder is another's.
    """
    try:
        record: dict[str, Any] = json.loads((output / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DataError(f"{output} holds no finished run (no readable run.json)") from None
    return record


def processor_name() -> str:
    """As Linux tells it, e.g. ``AMD EPYC``; elsewhere the architecture at least."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def code_sha256(*folders: Path) -> str:
    """Of every Python file in folders: what other code has kept may not be what this one finds."""
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


@cache
def git_commit() -> str | None:
    """Of the checkout that this package runs from; None in an installed wheel.

    Asked for at the start of a run, so that commits made meanwhile don't change the answer. It ends
    in ``-dirty`` if tracked files differ from the commit.
    """
    folder = Path(__file__).resolve().parent
    if not (folder.parent / ".git").exists():
        return None
    describe = ("describe", "--always", "--exclude=*", "--abbrev=40", "--dirty")
    try:
        answer = subprocess.run(
            ("git", "-C", str(folder), *describe), capture_output=True, text=True, check=False
        )
    except OSError:  # no git on this machine
        return None
    return answer.stdout.strip() or None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
