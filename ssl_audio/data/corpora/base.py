"""The contract of a corpus reader: it lists clips, fetches their audio, offers folds."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_audio.data.audio import Int16
from ssl_audio.data.folds import Folds
from ssl_audio.data.manifest import Clip
from ssl_audio.data.splits import build_folds


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Something of a corpus that was set aside."""

    path: str
    """As in ``Clip.path``."""
    reason: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """What can be known of a recording's file without reading it."""

    num_bytes: int
    """Its size, by which the work is divided."""
    change: str
    """A text that changes when the audio does, e.g. the time of the last change."""


@dataclass(frozen=True)
class Listing:
    """What a reader found, before any audio is decoded."""

    clips: tuple[Clip, ...]
    """Labels only; two clips may claim one ``clip_id``, then one of them is set aside later."""
    decode: Callable[[Clip], Iterator[tuple[Clip, Int16]]]
    """Gives the clip with its source fields filled in, and its audio: (samples,) int16 mono at
    16 kHz; of a long recording its segments one by one, in time order (``segments.split``). Called
    from several threads. Raises DataError, maybe after some segments; then the whole recording is
    set aside, and the message is the reason."""
    quarantined: tuple[Quarantined, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences for the user, e.g. how many files were passed over because they are no audio."""
    stamp: Callable[[Clip], Stamp] | None = None
    """What an interrupted preparation has decoded is taken over if its stamps are the same; with
    None everything is decoded again."""


class CorpusReader(ABC):
    """How one corpus is read."""

    name: str
    fields: tuple[str, ...] = ()
    """Fields of Clip that ``--map field=COLUMN`` can take from a column."""

    @abstractmethod
    def read(self, source: Path | None, columns: Mapping[str, str]) -> Listing:
        """Lists the clips in ``source``.

        Args:
            source: file or folder; None for a corpus that makes its own audio.
            columns: column names by field of Clip, for readers of tables.

        Raises:
            UserError: ``source`` is not what the reader expects.
        """

    def build_folds(self, clips: Sequence[Clip]) -> list[Folds]:
        """The folds of every protocol that the corpus offers.

        Args:
            clips: prepared clips.

        Raises:
            DataError: why there are none.
        """
        return [build_folds(self.name, clips)]
