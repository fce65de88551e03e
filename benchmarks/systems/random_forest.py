"""Random forest: needs neither scaling nor choosing."""

from pydantic import Field
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline, make_pipeline

from benchmarks.systems.classic import Classifier


class RandomForest(Classifier):
    """Breiman's settings: trees grown to the end, square root of the features at each split."""

    num_trees: int = Field(default=500, gt=0)
    """More would change little: their mean has settled."""

    def build_candidates(self, seed: int) -> list[Pipeline]:
        """One: there is nothing to choose."""
        # One thread, as a busy machine's threads wait for each other.
        return [make_pipeline(RandomForestClassifier(self.num_trees, random_state=seed, n_jobs=1))]
