"""The built-in synthetic corpus: needs no files."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from ssl_audio.data.audio import Int16
from ssl_audio.data.corpora.base import CorpusReader, Listing, Stamp
from ssl_audio.data.manifest import Clip
from ssl_audio.data.synthetic import SyntheticSettings, list_clips, render
from ssl_audio.errors import UserError

_TYPICAL_BYTES = 70_000
"""Of a clip."""


class Synthetic(CorpusReader):
    """Speakers and emotions made from nothing, the same on every run."""

    name = "synthetic"
    settings = SyntheticSettings()

    def read(self, source: Path | None, columns: Mapping[str, str]) -> Listing:
        """See CorpusReader; there is no source to give."""
        if source is not None:
            raise UserError(f"prepare synthetic makes its own audio: leave SOURCE {source} out")
        return Listing(list_clips(self.settings), self._decode, stamp=self._stamp)

    def _decode(self, clip: Clip) -> Iterator[tuple[Clip, Int16]]:
        yield clip, render(clip, self.settings.seed)

    def _stamp(self, clip: Clip) -> Stamp:
        return Stamp(_TYPICAL_BYTES, str(self.settings))
