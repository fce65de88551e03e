import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.errors import UserError
from ssl_audio.objectives.base import hear
from ssl_audio.objectives.quantized import (
    MfccClusters,
    QuantizedConfig,
    QuantizedObjective,
    RandomCodebook,
)
from tests.ssl_audio.objectives.conftest import Batches, Encoders, list_predicted

SMALL = {"decoder": {"layers": 1, "dim": 24, "heads": 2}}


def test_loss_equals_the_slow_definition(make_encoder: Encoders, make_batch: Batches) -> None:
    """Nearest centre and cross-entropy in loops over clips, patches and centres."""
    objective = QuantizedObjective(make_encoder(), QuantizedConfig(num_clusters=6, **SMALL)).eval()
    clusters = objective.quantizer
    assert isinstance(clusters, MfccClusters)
    clusters.centres.normal_(generator=torch.Generator().manual_seed(2)).mul_(20)
    heard = hear(make_batch([16_000, 9_000], 16_000))
    audio = objective.encoder.patch_audio(heard.clean, heard.num_samples)
    measured = clusters.measure(objective.encoder, heard, audio)
    with torch.no_grad():
        answers = objective.answer(audio, heard.keys)
        fast = float(objective(make_batch([16_000, 9_000], 16_000)).loss)
    clip_losses = []
    for row in range(2):
        losses = []
        for column, patch in list_predicted(answers.masked, row):
            distances = [
                sum((m - c) ** 2 for m, c in zip(measured[row, patch].tolist(), k, strict=True))
                for k in clusters.centres.tolist()
            ]
            logits = answers.prediction[row, column].tolist()
            total = sum(math.exp(value) for value in logits)
            losses.append(-math.log(math.exp(logits[int(np.argmin(distances))]) / total))
        clip_losses.append(sum(losses) / len(losses))
    assert math.isclose(fast, sum(clip_losses) / 2, abs_tol=1e-5)


def test_random_codes_equal_the_slow_definition(
    make_encoder: Encoders, make_batch: Batches
) -> None:
    """The code whose direction is nearest to the projected patch, in loops, and its cross-entropy.

    BEST-RQ, equation 1: both are unit vectors, so the nearest has the largest cosine.
    """
    config = QuantizedConfig(targets="random_projection", num_clusters=6, projection_dim=5, **SMALL)
    objective = QuantizedObjective(make_encoder(), config).eval()
    codebook = objective.quantizer
    assert isinstance(codebook, RandomCodebook)
    batch = make_batch([16_000, 9_000], 16_000)
    heard = hear(batch)
    audio = objective.encoder.patch_audio(heard.clean, heard.num_samples)
    with torch.no_grad():
        answers = objective.answer(audio, heard.keys)
        output = objective(batch)
    clip_losses, codes = [], []
    for row in range(2):
        losses = []
        for column, patch in list_predicted(answers.masked, row):
            values = audio.patches[row, patch].tolist()
            projected = [
                sum(v * p for v, p in zip(values, column, strict=True))
                for column in codebook.projection.T.tolist()
            ]
            length = math.hypot(*projected)
            distances = [
                math.dist([p / length for p in projected], [c / math.hypot(*code) for c in code])
                for code in codebook.codes.tolist()
            ]
            codes.append(int(np.argmin(distances)))
            logits = answers.prediction[row, column].tolist()
            total = sum(math.exp(value) for value in logits)
            losses.append(-math.log(math.exp(logits[codes[-1]]) / total))
        clip_losses.append(sum(losses) / len(losses))
    assert math.isclose(float(output.loss), sum(clip_losses) / 2, abs_tol=1e-5)
    # Of the hidden places alone: what is seen, and what follows the shorter clip, is not counted.
    shares = [codes.count(code) / len(codes) for code in set(codes)]
    perplexity = math.exp(-sum(share * math.log(share) for share in shares))
    assert len(shares) > 1
    assert math.isclose(float(output.metrics["target_perplexity"]), perplexity, abs_tol=1e-4)


@pytest.mark.parametrize("patch_size", [(64, 4), (16, 16)])
def test_sounds_of_a_corpus_are_told_apart(
    prepared: Path, make_encoder: Encoders, patch_size: tuple[int, int]
) -> None:
    corpus = PreparedCorpus.load(prepared)
    indices = np.arange(len(corpus))
    objective = QuantizedObjective(make_encoder(patch_size), QuantizedConfig(num_clusters=16))
    objective.fit(corpus, indices, seed=0)
    clusters = objective.quantizer
    assert isinstance(clusters, MfccClusters)
    again = QuantizedObjective(make_encoder(patch_size), QuantizedConfig(num_clusters=16))
    again.fit(corpus, indices, seed=0)
    assert torch.equal(clusters.centres, again.quantizer.centres)
    clip = torch.from_numpy(np.array(corpus.views[0]))[None]
    batch = {
        "waveform": clip,
        "num_samples": torch.tensor([clip.shape[1]]),
        "keys": torch.tensor([1]),
    }
    heard = hear(batch)
    audio = objective.encoder.patch_audio(heard.clean, heard.num_samples)
    codes = objective.make_targets(heard, audio)
    assert codes.shape == audio.padding_mask.shape
    assert len(codes.unique()) > 2
    # A sound is the same one whatever comes after it in the clip.
    half = clip.shape[1] // 2 // 1280 * 1280
    short = hear({**batch, "waveform": clip[:, :half], "num_samples": torch.tensor([half])})
    short_audio = objective.encoder.patch_audio(short.clean, short.num_samples)
    start = objective.make_targets(short, short_audio)[0, :3]
    assert torch.equal(start, codes[0, :3])


def test_a_pool_too_small_for_its_clusters_is_told(prepared: Path, make_encoder: Encoders) -> None:
    corpus = PreparedCorpus.load(prepared)
    objective = QuantizedObjective(make_encoder(), QuantizedConfig())
    with pytest.raises(UserError, match=r"has \d+ patches of sound, too few for 256 clusters"):
        objective.fit(corpus, np.arange(1), seed=0)
