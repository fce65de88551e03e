"""What a classifier learns from and is chosen by."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from finetune.labels import LabelSpace, Shares
from finetune.sampling import choose_share
from ssl_audio.data.prepared import PreparedCorpus


@dataclass(frozen=True)
class Material:
    """What a classifier learns from and is chosen by.

    Attributes:
        corpus: prepared, on disk or in memory.
        training: (clips,) int64 positions in the corpus.
        validation: the same, of other speakers.
        labels: the classes.
        task: ``single``, ``multilabel`` or ``gender-emotion``.
        soft_targets: (training clips, classes) float32 in place of the clips' own labels.
    """

    corpus: PreparedCorpus
    training: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    labels: LabelSpace
    task: str = "single"
    soft_targets: Shares | None = None

    @property
    def targets(self) -> Shares:
        """(training clips, classes) float32."""
        if self.soft_targets is not None:
            return self.soft_targets
        return self.labels.encode([self.corpus.clips[index] for index in self.training])

    def thin(self, share: float, seed: int) -> "Material":
        """A share of the training clips of each class."""
        if share == 1:
            return self
        clips = [self.corpus.clips[index] for index in self.training]
        targets = self.targets
        kept = choose_share(clips, targets, share, seed)
        return replace(self, training=self.training[kept], soft_targets=targets[kept])
