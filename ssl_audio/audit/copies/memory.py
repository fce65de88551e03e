"""What was found of some clips, kept beside their corpus."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from ssl_audio.audit.copies.finding import Copy
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.run_record import code_sha256


def recall(corpus: PreparedCorpus) -> tuple[Copy, ...] | None:
    """What was found of the very same clips by the very same code; None if nothing is kept."""
    try:
        content = json.loads(_path(corpus).read_text(encoding="utf-8"))
        return tuple(Copy(**copy) for copy in content["copies"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(corpus: PreparedCorpus, copies: Sequence[Copy]) -> None:
    """Keeps what was found; where the corpus can't be written to, it is found again next time."""
    path = _path(corpus)
    aside = path.with_suffix(f".{os.getpid()}.partial")
    with suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        content = {"copies": [asdict(copy) for copy in copies]}
        aside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        aside.rename(path)


def _path(corpus: PreparedCorpus) -> Path:
    digest = hashlib.sha256(code_sha256(Path(__file__).parent).encode())
    for clip in sorted(corpus.clips, key=lambda clip: clip.clip_id):
        digest.update(f"{json.dumps((clip.clip_id, clip.audio_sha256))}\n".encode())
    return corpus.root / "copies" / f"{digest.hexdigest()[:16]}.json"
