"""Which clips another person's list means: by id, by path, or by bare name where that is clear."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from ssl_audio.data.audio import AUDIO_ENDINGS
from ssl_audio.data.corpora.files import MEMBER
from ssl_audio.data.manifest import Clip
from ssl_audio.errors import DataError


class ClipNames:
    """Looks clips up by what others call them.

    A name is a clip_id, the recording that segments are of, or a path, of which as many folders as
    agree count: ``/data/x/Actor_01/a.wav`` means ``Actor_01/a.flac`` if no other ``a`` is as near.
    """

    def __init__(self, clips: Sequence[Clip], set_aside: Iterable[str] = ()) -> None:
        """Builds the index.

        Args:
            clips: of the corpus.
            set_aside: paths of files that are known but can't be used.
        """
        self._by_id: defaultdict[str, list[str]] = defaultdict(list)
        by_file: defaultdict[str, list[str]] = defaultdict(list)
        for clip in clips:
            self._by_id[clip.clip_id].append(clip.clip_id)
            by_file[clip.path].append(clip.clip_id)
        for clip in clips:
            if clip.parent is not None and clip.parent not in by_file:
                self._by_id[clip.parent].append(clip.clip_id)
        self._by_file = dict(by_file) | {path: [] for path in set_aside if path not in by_file}
        self._files: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
        for path in self._by_file:
            for tail in (*_tails(path), *_tails(_without_audio_ending(path))):
                self._files[tail].add(path)

    def find(self, name: str) -> tuple[str, ...] | None:
        """The clips of one name: several if it is cut into segments; None if it matches nothing.

        Empty if the file is known but was set aside.
        """
        if name in self._by_id:
            return tuple(dict.fromkeys(self._by_id[name]))
        for written in (name, _without_audio_ending(name)):
            for tail in _tails(written):
                if files := self._files.get(tail):
                    return tuple(self._by_file[next(iter(files))]) if len(files) == 1 else None
        return None

    def _is_elsewhere(self, name: str) -> bool:
        """Whether a name and the only file that it fits lie in folders that differ."""
        if name in self._by_id:
            return False
        for written in (name, _without_audio_ending(name)):
            for left_out, tail in enumerate(_tails(written)):
                if files := self._files.get(tail):
                    return bool(left_out) and len(_tails(next(iter(files)))) > len(tail)
        return False

    def find_all(self, names: Iterable[str], source: Path) -> tuple[str, ...]:
        """The clips that a list names, each once, sorted.

        Raises:
            DataError: a name that matches no clip, or several as well.
        """
        wanted = list(dict.fromkeys(names))
        found = [self.find(name) for name in wanted]
        # A list of another layout may agree in bare names alone; one name among others may not.
        elsewhere = {name for name in wanted if self._is_elsewhere(name)}
        refused = elsewhere if len(elsewhere) < len(wanted) else set()
        missing = [n for n, ids in zip(wanted, found, strict=True) if ids is None or n in refused]
        if missing:
            raise DataError(
                f"{source}: {len(missing)} of {len(wanted)} names match no clip, or several as "
                f"well, first {missing[0]!r}: name clips by clip_id or by path"
            )
        return tuple(sorted({clip_id for ids in found if ids for clip_id in ids}))

    def count_set_aside(self, names: Iterable[str]) -> int:
        """How many names are of files that were set aside."""
        return sum(self.find(name) == () for name in set(names))


def _tails(path: str) -> list[tuple[str, ...]]:
    """``a/b/c``: (a, b, c), (b, c), (c,)."""
    parts = PurePosixPath(path.replace("\\", "/").replace(MEMBER, "/")).parts
    return [parts[start:] for start in range(len(parts))]


def _without_audio_ending(path: str) -> str:
    ending = PurePosixPath(path).suffix
    return path.removesuffix(ending) if ending.lower() in AUDIO_ENDINGS else path
