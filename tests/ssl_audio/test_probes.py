import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.encoder import AudioEncoder
from ssl_audio.encoder_config import AudioEncoderConfig
from ssl_audio.objectives.base import to_float
from ssl_audio.pooling import mean_std_pool
from ssl_audio.probes import PROBES, embed_levels, probe, rank_me, score_between, score_within


def draw_classes(count: int, distance: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.array(["low", "high", "middle"])[rng.integers(0, 3, count)]
    centres = {"low": -distance, "middle": 0.0, "high": distance}
    values = rng.standard_normal((count, 6)).astype(np.float32)
    values[:, 2] = 100 * (values[:, 2] * 0.3 + [centres[label] for label in labels])
    return values, labels


@pytest.mark.parametrize("name", PROBES)
def test_probes_read_what_is_there_and_nothing_else(name) -> None:
    train, labels = draw_classes(300, 2.0)
    test, truth = draw_classes(200, 2.0, seed=1)
    assert (probe(name, train, labels, test) == truth).mean() > 0.85
    told = score_between(name, train, labels, test, truth)
    assert told is not None and told > 0.85
    rng = np.random.default_rng(2)
    shuffled = score_between(name, train, rng.permutation(labels), test, truth)
    assert shuffled is not None and shuffled < 0.45
    within = score_within(name, train, labels)
    assert within is not None and within > 0.85


def test_what_can_not_be_told_is_none() -> None:
    values, labels = draw_classes(20, 1.0)
    assert score_between("knn", values, np.array(["a"] * 20), values, labels) is None
    assert score_within("linear", values[:6], np.array(list("aabbcc"))) is None


def test_rank_me_counts_dimensions() -> None:
    rng = np.random.default_rng(0)
    spread = rng.standard_normal((4000, 8)).astype(np.float32)
    assert 7.9 < rank_me(spread) <= 8.01
    line = np.outer(rng.standard_normal(100), np.ones(8)).astype(np.float32) + 5
    assert rank_me(line) < 1.01
    # The definition, from the covariance's eigenvalues.
    stretched = spread * np.array([1, 1, 1, 1, 4, 4, 9, 20], np.float32)
    centred = (stretched - stretched.mean(0)).astype(np.float64)
    singular = np.sqrt(np.linalg.eigvalsh(centred.T @ centred))
    share = singular / singular.sum()
    assert math.isclose(rank_me(stretched), math.exp(-sum(share * np.log(share))), rel_tol=1e-3)


def test_levels_are_the_encoders_in_the_order_of_the_clips(prepared: Path) -> None:
    torch.manual_seed(0)
    shape = AudioEncoderConfig(hidden_size=24, num_attention_heads=2, num_hidden_layers=2)
    encoder = AudioEncoder(shape).train()
    corpus = PreparedCorpus.load(prepared)
    indices = np.array([7, 2, 11])
    found = embed_levels(encoder, corpus, indices, (0, 2), batch_size=2)
    assert found.shape == (3, 2, 48) and encoder.training
    for row, index in enumerate(indices):
        waveform = to_float(torch.from_numpy(np.array(corpus.views[index]))[None])
        with torch.no_grad():
            output = encoder.eval()(waveform, output_hidden_states=True)
        for place, level in enumerate((0, 2)):
            expected = mean_std_pool(output.hidden_states[level], output.padding_mask)[0]
            np.testing.assert_allclose(found[row, place], expected.numpy(), atol=1e-5)
