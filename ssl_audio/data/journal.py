"""What an interrupted preparation has done already: whole shards, and a line on each.

A line is believed if it is whole, and its shard if the samples in it have the hashes that the line
gives: it does not matter what was on its way to the disk when the work ended.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from ssl_audio.data.corpora import Quarantined
from ssl_audio.data.manifest import Clip
from ssl_audio.data.portions import Outcome, Portion
from ssl_audio.data.shards import open_shard
from ssl_audio.errors import DataError

FILE = "journal.jsonl"


class Journal:
    """Portions that are done, in a folder with their shards."""

    def __init__(self, folder: Path) -> None:
        """Reads what is there; a torn line is dropped.

        Args:
            folder: existing, used by nobody else meanwhile.
        """
        self.folder = folder
        self._path = folder / FILE
        self._outcomes = dict(_read(self._path))

    def shard_path(self, portion: Portion) -> Path:
        """Where the portion's shard is, or is to be written."""
        return self.folder / f"{portion.key}.arrow"

    def find(self, portion: Portion) -> Outcome | None:
        """What the portion gave, if it was done and its shard is whole."""
        outcome = self._outcomes.get(portion.key)
        if outcome is None or not outcome.clips:
            return outcome
        expected = [(clip.clip_id, clip.audio_sha256) for clip in outcome.clips]
        try:
            rows = open_shard(self.shard_path(portion))
        except DataError:
            return None
        found = [(clip_id, hashlib.sha256(audio.data).hexdigest()) for clip_id, audio in rows]
        return outcome if found == expected else None

    def add(self, portion: Portion, outcome: Outcome) -> None:
        """Notes a portion whose shard has been written."""
        self._outcomes[portion.key] = outcome
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_to_line(portion.key, outcome))

    def keep(self, portions: Iterable[Portion]) -> None:
        """Forgets all others and removes their shards, and torn lines with them."""
        keys = {portion.key for portion in portions}
        self._outcomes = {key: done for key, done in self._outcomes.items() if key in keys}
        rewritten = self._path.with_suffix(".new")
        lines = (_to_line(key, done) for key, done in self._outcomes.items())
        rewritten.write_text("".join(lines), encoding="utf-8")
        rewritten.replace(self._path)
        for shard in self.folder.glob("*.arrow"):
            if shard.stem not in self._outcomes:
                shard.unlink()


def _to_line(key: str, outcome: Outcome) -> str:
    return json.dumps({"portion": key, **asdict(outcome)}) + "\n"


def _read(path: Path) -> Iterable[tuple[str, Outcome]]:
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return
    for line in lines:
        if not line.endswith(b"\n"):
            continue
        try:
            read = json.loads(line)
            clips = tuple(Clip(**clip) for clip in read["clips"])
            quarantined = tuple(Quarantined(**item) for item in read["quarantined"])
            yield read["portion"], Outcome(clips, quarantined)
        except (ValueError, TypeError, KeyError):
            continue
