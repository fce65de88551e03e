"""Looks at validation clips while a classifier learns: is the newest better than the first?"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.stats import permutation_test

Answers = npt.NDArray[np.float64]


class Looks:
    """Answers of the first look and of the newest one.

    Args:
        score: of (clips, classes) answers, higher is better.
        later_looks: that will follow the first one.
    """

    def __init__(self, score: Callable[[Answers], float], later_looks: int) -> None:
        self.score = score
        self.later_looks = later_looks
        self.first: Answers | None = None
        self.newest: Answers | None = None

    def add(self, answers: Answers) -> None:
        """Takes (clips, classes) answers at the same clips as ever."""
        if self.first is None:
            self.first = answers
        self.newest = answers

    def newest_is_better(self) -> bool:
        """Whether it is so by more than chance, by a test paired over clips.

        Which of the two said what of a clip is drawn anew again and again; where both are worth the
        same, one run of twenty takes one of its later looks for better, or fewer. Clips count as if
        each were of a speaker of its own: what a few speakers show may not hold for others. Of n
        clips that changed at the most, all for the better, chance brings as much once in 2^n times:
        few clips can't show enough.

        Source: Noreen 1989, "Computer-Intensive Methods for Testing Hypotheses", section 2.3
        (approximate randomization); Dunn 1961, "Multiple Comparisons Among Means", section 2, for
        dividing the share by the number of looks.
        """
        assert self.first is not None and self.newest is not None
        if len(self.first) < 2:
            return False
        share = _SHARE_BY_CHANCE / self.later_looks
        answers = np.stack([self.first, self.newest])
        clips = np.arange(len(self.first))

        def gain(ours: npt.NDArray[np.int64], theirs: npt.NDArray[np.int64]) -> float:
            return self.score(answers[ours, clips]) - self.score(answers[theirs, clips])

        tested = permutation_test(
            (np.ones_like(clips), np.zeros_like(clips)),
            gain,
            permutation_type="samples",
            alternative="greater",
            n_resamples=max(_FEWEST_DRAWS, math.ceil(_DRAWS_TO_SHOW_IT / share)),
            rng=np.random.default_rng(0),
        )
        return bool(tested.pvalue <= share)


_SHARE_BY_CHANCE = 0.05
_FEWEST_DRAWS, _DRAWS_TO_SHOW_IT = 1999, 10
"""Of the latter so many may be as good as what was seen, and it is still taken for better."""
