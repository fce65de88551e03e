"""RAVDESS: everything is in the name, ``MM-CC-EE-II-SS-RR-AA``.

Source: Livingstone and Russo 2018, https://zenodo.org/records/1188976 (CC BY-NC-SA 4.0).
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ssl_audio.data.corpora.base import CorpusReader, Listing, Quarantined
from ssl_audio.data.corpora.files import AudioFiles, bare_name, existing
from ssl_audio.data.folds import Folds
from ssl_audio.data.manifest import Clip
from ssl_audio.data.ravdess_splits import emobox6
from ssl_audio.data.splits import build_folds
from ssl_audio.errors import DataError, UserError

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
"""In the order of their numbers, 01 to 08."""
FROM_VIDEO, SILENT_VIDEO, AUDIO_ONLY = "01", "02", "03"
"""The first part of a name. The videos' sound is that of the audio release."""
CHANNELS = {"01": "speech", "02": "song"}
NUM_ACTORS = 24

_NAME = re.compile(
    r"(?P<modality>0[1-3])-(?P<channel>0[12])-(?P<emotion>0[1-8])-(?P<intensity>0[12])"
    r"-(?P<statement>0[12])-(?P<repetition>0[12])-(?P<actor>0[1-9]|1\d|2[0-4])"
)


class Ravdess(CorpusReader):
    """A folder of any depth, the published zips, a folder holding them, or a list of files.

    Speech and song are both read; ``split`` tells them apart, and the folds are of speech alone.
    """

    name = "ravdess"

    def read(self, source: Path | None, columns: Mapping[str, str]) -> Listing:
        """See CorpusReader."""
        files = find_files(existing(source, self.name))
        clips, quarantined = [], list(files.quarantined)
        for path in files.paths:
            try:
                clips.append(parse_clip(path))
            except DataError as error:
                quarantined.append(Quarantined(path, str(error)))
        clips, twins = _part_twins(clips)
        quarantined += twins
        notes = list(files.notes)
        if videos := sum(clip.clip_id.startswith(FROM_VIDEO) for clip in clips):
            notes.append(
                f"{videos} clips are the sound of videos ({FROM_VIDEO}-...): the same recordings "
                f"as the files {AUDIO_ONLY}-... of the audio release, which are not here"
            )
        if songs := sum(clip.split == "song" for clip in clips):
            notes.append(f"{songs} clips are songs: kept in the manifest, left out of the folds")
        return Listing(tuple(clips), files.decode, tuple(quarantined), tuple(notes), files.stamp)

    def build_folds(self, clips: Sequence[Clip]) -> list[Folds]:
        """See CorpusReader: EmoBox's folds where all 24 actors are there."""
        speech = [clip for clip in clips if clip.split == "speech"]
        if len({clip.speaker for clip in speech}) < NUM_ACTORS:
            return [build_folds("ravdess-speech", speech, EMOTIONS)]
        return [emobox6("ravdess-speech", speech, EMOTIONS)]


def find_files(source: Path) -> AudioFiles:
    """The audio files in a folder, a zip, a folder that holds zips and no loose audio, or a list.

    Raises:
        UserError: none of these.
    """
    if source.is_dir():
        loose = AudioFiles.in_folder(source)
        archives = sorted(path.relative_to(source).as_posix() for path in source.rglob("*.zip"))
        return loose if loose.paths or not archives else AudioFiles.in_archives(source, archives)
    if source.suffix.lower() == ".zip":
        return AudioFiles.in_archives(source.parent, [source.name])
    if source.suffix.lower() == ".txt":
        return AudioFiles.in_list(source)
    raise UserError(
        f"{source}: expected a folder, a .zip as published or a .txt naming one file per line"
    )


def _part_twins(clips: Sequence[Clip]) -> tuple[list[Clip], list[Quarantined]]:
    """Videos' sound is set aside where the same recording of the audio release is there too."""
    listed = {clip.clip_id for clip in clips}
    kept, twins = [], []
    for clip in clips:
        audio_only = AUDIO_ONLY + clip.clip_id.removeprefix(FROM_VIDEO)
        if clip.clip_id.startswith(FROM_VIDEO) and audio_only in listed:
            twins.append(Quarantined(clip.path, f"from a video: same recording as {audio_only}"))
        else:
            kept.append(clip)
    return kept, twins


def is_name(path: str) -> bool:
    """Whether a file is named as RAVDESS names its files."""
    return _NAME.fullmatch(bare_name(path)) is not None


def parse_clip(path: str) -> Clip:
    """What a file's name says.

    >>> clip = parse_clip("Actor_12/03-01-05-02-01-01-12.wav")
    >>> clip.emotion, clip.intensity, clip.speaker, clip.gender, clip.split
    ('angry', 'strong', '12', 'female', 'speech')

    Raises:
        DataError: not a published name, or that of a video without sound.
    """
    name = bare_name(path)
    match = _NAME.fullmatch(name)
    if match is None:
        raise DataError("not a RAVDESS name (MM-CC-EE-II-SS-RR-AA, e.g. 03-01-05-02-01-01-12)")
    if match["modality"] == SILENT_VIDEO:
        raise DataError("named as a video without sound (02-...)")
    return Clip(
        clip_id=name,
        path=path,
        speaker=match["actor"],
        gender="male" if int(match["actor"]) % 2 else "female",
        emotion=EMOTIONS[int(match["emotion"]) - 1],
        intensity="strong" if match["intensity"] == "02" else "normal",
        text=match["statement"],
        repetition=match["repetition"],
        split=CHANNELS[match["channel"]],
    )
