"""One folder per class: the name of the top folder is the emotion; nothing is known of speakers."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ssl_audio.data.corpora.base import CorpusReader, Listing
from ssl_audio.data.corpora.files import AudioFiles, existing, without_ending
from ssl_audio.data.manifest import Clip


class Folder(CorpusReader):
    """``CLASS/.../NAME.wav``; files beside the class folders are unlabelled."""

    name = "folder"

    def read(self, source: Path | None, columns: Mapping[str, str]) -> Listing:
        """See CorpusReader."""
        files = AudioFiles.in_folder(existing(source, self.name))
        return Listing(tuple(map(_to_clip, files.paths)), files.decode, notes=files.notes)


def _to_clip(path: str) -> Clip:
    parts = PurePosixPath(path).parts
    return Clip(
        clip_id=without_ending(path), path=path, emotion=parts[0] if len(parts) > 1 else None
    )
