"""Logistic regression on scaled features: the classifier with the fewest ways to go wrong."""

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.systems.classic import Candidates, Classifier


class LogisticRegressionClassifier(Classifier):
    """One linear model of all classes; its softmax is its probabilities."""

    inverse_penalties: Candidates = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    """Candidates for scikit-learn's C."""

    def build_candidates(self, seed: int) -> list[Pipeline]:
        """One for each penalty, strongest first."""
        return [
            make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=5000))
            for penalty in self.inverse_penalties
        ]

    def count_weights(self, model: Pipeline) -> int:
        """Weights and biases."""
        regression = model[-1]
        return int(regression.coef_.size + regression.intercept_.size)
