"""Label spaces: which classes there are and in which order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssl_audio.data.manifest import Clip
from ssl_audio.errors import DataError


@dataclass(frozen=True)
class SingleLabel:
    """Every clip has exactly one of the classes."""

    classes: tuple[str, ...]

    def encode(self, clips: Sequence[Clip]) -> npt.NDArray[np.int64]:
        """(clips,) position of each clip's emotion among the classes.

        Raises:
            DataError: a clip has no label, or one that is not among the classes.
        """
        position = {name: index for index, name in enumerate(self.classes)}
        odd = [clip for clip in clips if clip.emotion not in position]
        if odd:
            raise DataError(
                f"{len(odd)} of {len(clips)} clips have no label among {', '.join(self.classes)}; "
                f"first {odd[0].clip_id} with {odd[0].emotion!r}"
            )
        return np.array([position[str(clip.emotion)] for clip in clips], dtype=np.int64)
