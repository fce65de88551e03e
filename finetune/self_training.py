"""Learning from unlabelled clips by what a first model says of them where it is sure.

Source: Lee 2013, "Pseudo-Label"; a threshold from validation clips in place of its schedule.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field

from finetune.calibration import choose_confidence, is_sure
from finetune.evaluate import predict_clips
from finetune.material import Material
from finetune.model import AudioClassifier
from ssl_audio.audit.copies import find_copies_between
from ssl_audio.config import Config
from ssl_audio.data.manifest import Clip
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.errors import UserError


class SelfTrainingConfig(Config):
    """Where unlabelled clips come from, and which of them are learnt from.

    Attributes:
        corpus: prepared folder; its clips without an emotion are the unlabelled ones.
        wanted_accuracy: that a first model must have on validation clips, from some confidence on;
            unlabelled clips of at least that confidence are learnt from.
    """

    corpus: Path
    wanted_accuracy: float = Field(default=0.8, gt=0, lt=1)


@dataclass(frozen=True)
class Enlarged:
    """Labelled clips and the unlabelled ones that a first model was sure of.

    Attributes:
        material: both.
        num_added: how many of the latter.
        num_offered: how many there were.
    """

    material: Material
    num_added: int
    num_offered: int

    @property
    def note(self) -> str:
        """What a reader of a row must know."""
        return f"self-training on {self.num_added} of {self.num_offered} unlabelled clips"


def open_unlabelled(root: Path) -> PreparedCorpus:
    """The clips of a prepared corpus that have no emotion.

    Those that share a recording with a clip that has one are left out: what is tested or chosen by
    must not come back as what is learnt from.

    Raises:
        UserError: there is none.
    """
    corpus = PreparedCorpus.load(root)
    labelled = [clip for clip in corpus.clips if clip.emotion is not None]
    known = {name for clip in labelled for name in _names(clip)}
    places = [
        place
        for place, clip in enumerate(corpus.clips)
        if clip.emotion is None and known.isdisjoint(_names(clip))
    ]
    if not places:
        raise UserError(
            f"self_training.corpus: every clip of {root} has an emotion, or is of a recording that "
            "has one"
        )
    return corpus.take(places)


def _names(clip: Clip) -> set[str]:
    """What a clip shares with others of the same recording, if there are others."""
    return {clip.parent or clip.clip_id} | ({clip.audio_sha256} if clip.audio_sha256 else set())


def enlarge(
    material: Material, teacher: AudioClassifier, pool: PreparedCorpus, wanted_accuracy: float
) -> Enlarged:
    """Adds the unlabelled clips that the teacher is sure of, under the class that it says.

    What is among the labelled clips too, of whatever part, is left out: the same audio, and
    recordings that were changed, cut or encoded anew.

    Args:
        material: with one class for each clip.
        teacher: learnt from ``material``, in eval mode.
        pool: unlabelled.
        wanted_accuracy: see ``SelfTrainingConfig``.
    """
    corpus = material.corpus
    known = {clip.audio_sha256 for clip in corpus.clips} - {None}
    new = [place for place, clip in enumerate(pool.clips) if clip.audio_sha256 not in known]
    offered = pool.take(new)
    copies = {copy.second for copy in find_copies_between(corpus, offered)} if new else set()
    offered = offered.take(
        [place for place, clip in enumerate(offered.clips) if clip.clip_id not in copies]
    )
    truth = material.labels.encode([corpus.clips[index] for index in material.validation])
    answers = predict_clips(teacher, corpus, material.validation)
    least = choose_confidence(truth.argmax(1), answers, wanted_accuracy)
    answers = predict_clips(teacher, offered, np.arange(len(offered)))
    chosen = np.flatnonzero(is_sure(answers, least))
    guessed = np.eye(answers.shape[1], dtype=np.float32)[answers[chosen].argmax(1)]
    larger = replace(
        material,
        corpus=corpus.joined_with(offered),
        training=np.concatenate([material.training, len(corpus) + chosen]),
        soft_targets=np.concatenate([material.targets, guessed]),
    )
    return Enlarged(larger, len(chosen), len(pool))
