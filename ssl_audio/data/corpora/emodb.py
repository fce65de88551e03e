"""EMO-DB: German actors; the name says it all, speaker 03, text a01, emotion F, version a.

Source: Burkhardt et al. 2005, "A Database of German Emotional Speech".
"""

import re
from collections.abc import Mapping
from pathlib import Path

from ssl_audio.data.corpora.base import CorpusReader, Listing, Quarantined
from ssl_audio.data.corpora.files import AudioFiles, bare_name, existing
from ssl_audio.data.manifest import Clip
from ssl_audio.errors import DataError

EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "N": "neutral",
    "T": "sadness",
}
"""By the letter of their German names: Wut, Langeweile, Ekel, Angst, Freude, neutral, Trauer."""
MEN = frozenset(("03", "10", "11", "12", "15"))

_NAME = re.compile(
    r"(?P<speaker>03|08|09|1[0-6])(?P<text>[ab]\d\d)(?P<emotion>[WLEAFNT])(?P<version>[a-z])"
)


class EmoDb(CorpusReader):
    """A folder of any depth with files of the published names, in any audio format."""

    name = "emodb"

    def read(self, source: Path | None, columns: Mapping[str, str]) -> Listing:
        """See CorpusReader."""
        files = AudioFiles.in_folder(existing(source, self.name))
        clips, quarantined = [], list(files.quarantined)
        for path in files.paths:
            try:
                clips.append(parse_clip(path))
            except DataError as error:
                quarantined.append(Quarantined(path, str(error)))
        return Listing(tuple(clips), files.decode, tuple(quarantined), files.notes, files.stamp)


def is_name(path: str) -> bool:
    """Whether a file is named as EMO-DB names its files."""
    return _NAME.fullmatch(bare_name(path)) is not None


def parse_clip(path: str) -> Clip:
    """What a file's name says.

    >>> clip = parse_clip("wav/03a01Fa.wav")
    >>> clip.emotion, clip.speaker, clip.gender, clip.text
    ('happiness', '03', 'male', 'a01')

    Raises:
        DataError: not a published name.
    """
    name = bare_name(path)
    match = _NAME.fullmatch(name)
    if match is None:
        raise DataError("not an EMO-DB name (speaker, text, emotion, version, e.g. 03a01Fa)")
    return Clip(
        clip_id=name,
        path=path,
        speaker=match["speaker"],
        gender="male" if match["speaker"] in MEN else "female",
        emotion=EMOTIONS[match["emotion"]],
        text=match["text"],
        repetition=match["version"],
    )
