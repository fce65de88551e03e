"""One answer of several models: by vote, by mean, or by weights of validation. Imports no torch."""

from typing import Literal

import numpy as np
from einops import einsum

from finetune.metrics import Floats, Ints, decide

Rule = Literal["mode", "mean", "weighted"]

TOLERANCE = 1e-6
"""Nats per clip that fitted weights may be away from the best ones."""
MOST_STEPS = 20_000


class Ensemble:
    """How the answers of several models become one.

    ``mode`` gives each class its share of the models' votes, one vote each; a model that can't
    decide between classes shares its vote among them, and classes with equally many votes stay
    equal instead of the first named one winning. ``mean`` averages probabilities. ``weighted`` does
    so with weights that make validation clips most likely.
    """

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.weights: Floats | None = None
        """(members,) float64 that sum to 1; None where there are none, or not yet."""

    @property
    def learns(self) -> bool:
        """Whether it has to be fitted."""
        return self.rule == "weighted"

    def fit(self, validation_probabilities: Floats, labels: Ints) -> None:
        """Finds the weights; there are none to find for ``mode`` and ``mean``.

        Args:
            validation_probabilities: (members, clips, classes) float64 for clips that no member
                has learnt from: else the one that remembers them best gets all the weight.
            labels: (clips,) int64.

        Raises:
            ValueError: no members or clips, or what are no probabilities.
        """
        _refuse_improbable(validation_probabilities)
        num_clips = validation_probabilities.shape[1]
        if num_clips == 0 or len(labels) != num_clips:
            raise ValueError(
                f"expected one label for each of at least one clip, got {len(labels)} labels and "
                f"{num_clips} clips"
            )
        if self.learns:
            likelihoods = validation_probabilities[:, np.arange(num_clips), labels]
            self.weights = fit_weights(likelihoods)

    def combine(self, probabilities: Floats) -> Floats:
        """The ensemble's answer.

        Args:
            probabilities: (members, clips, classes) float64, members in the order of ``fit``.

        Returns:
            (clips, classes) float64, rows sum to 1.

        Raises:
            ValueError: what are no probabilities, weights not fitted, or for other members.
        """
        _refuse_improbable(probabilities)
        answer = self._combine(probabilities)
        return answer / answer.sum(axis=1, keepdims=True)

    def _combine(self, probabilities: Floats) -> Floats:
        if self.rule == "mode":
            return np.mean([decide(member) for member in probabilities], axis=0)
        if self.rule == "mean":
            return probabilities.mean(axis=0)
        num_members = len(probabilities)
        if self.weights is None or len(self.weights) != num_members:
            fitted = "no" if self.weights is None else len(self.weights)
            raise ValueError(
                f"{num_members} members are to be weighted, but {fitted} weights fitted"
            )
        weighted: Floats = einsum(
            self.weights, probabilities, "members, members clips classes -> clips classes"
        )
        return weighted


def fit_weights(likelihoods: Floats) -> Floats:
    """Weights of a mixture under which the clips are most likely.

    The EM algorithm for the weights alone, from equal ones: likelihood never falls, and as it is
    concave in them the best is found. Equal members keep equal weights. It stops when the best
    weights can be no more than ``TOLERANCE`` better: by concavity they are better by at most the
    steepest slope towards one member, which is that member's gain less 1.

    Source: Dempster, Laird & Rubin 1977, "Maximum Likelihood from Incomplete Data via the EM
    Algorithm", section 4.3, with components that stay as they are.

    Args:
        likelihoods: (members, clips) float64, each member's probability of what is true.

    Returns:
        (members,) float64, which sum to 1; equal if no member gives any clip a chance. A clip
        that none gives a chance says nothing of them and is left out.
    """
    num_members = len(likelihoods)
    weights = np.full(num_members, 1 / num_members)
    best = likelihoods.max(axis=0)
    if not best.any():
        return weights
    shares = likelihoods[:, best > 0] / best[best > 0]
    for _ in range(MOST_STEPS):
        gains = (shares / (weights @ shares)).mean(axis=1)
        if gains.max() - 1 <= TOLERANCE:
            break
        weights = weights * gains
    return weights / weights.sum()


def _refuse_improbable(probabilities: Floats) -> None:
    if probabilities.ndim != 3 or not len(probabilities):
        raise ValueError(
            "probabilities must be (members, clips, classes) of at least one member, "
            f"got shape {probabilities.shape}"
        )
    sums = probabilities.sum(axis=2)
    if (probabilities < 0).any() or not np.allclose(sums, 1, rtol=0, atol=1e-6):
        odd = sums.flat[np.abs(sums - 1).argmax()]
        raise ValueError(
            f"probabilities must be at least 0 and sum to 1, got {probabilities.min()} as the "
            f"least and {odd} as a sum"
        )
