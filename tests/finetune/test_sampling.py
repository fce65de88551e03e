"""Which labelled clips are drawn."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from finetune.sampling import BalancedStream, choose_share
from ssl_audio.data.manifest import Clip
from ssl_audio.data.prepared import PreparedCorpus

COUNTS = (40, 7, 3)
LABELS = np.repeat(np.arange(3), COUNTS)
TARGETS = np.eye(3, dtype=np.float32)[LABELS]
CLIPS = [Clip(clip_id=f"c{number}", path="") for number in range(len(LABELS))]


def build_stream() -> BalancedStream:
    views = tuple(np.full(1600 + n, n, np.int16) for n in range(len(LABELS)))
    lengths = np.array([len(view) for view in views])
    corpus = PreparedCorpus(Path(), "made", tuple(CLIPS), lengths, "", views)
    groups = np.zeros(len(LABELS), np.int64)
    return BalancedStream(corpus, np.arange(len(LABELS)), 0, None, targets=TARGETS, groups=groups)


def test_balanced_draws_hold_every_class_equally_often() -> None:
    batch = build_stream().__getitems__(range(3 * 80))
    labels = batch["targets"].argmax(1).reshape(80, 3)
    assert (labels.sort(1).values == torch.arange(3)).all()
    clips = batch["clip_indices"].numpy()
    for label, count in enumerate(COUNTS):
        drawn = clips[LABELS[clips] == label]
        assert set(drawn) == set(np.flatnonzero(LABELS == label))
        for start in range(0, len(drawn) - count + 1, count):  # none twice before all had a turn
            assert len(set(drawn[start : start + count])) == count


def test_balanced_draws_do_not_depend_on_the_batch() -> None:
    stream = build_stream()
    whole = stream.__getitems__(range(60))
    for start in range(0, 60, 7):
        part = stream.__getitems__(range(start, min(60, start + 7)))
        rows = slice(start, min(60, start + 7))
        assert torch.equal(part["keys"], whole["keys"][rows])
        assert torch.equal(part["clip_indices"], whole["clip_indices"][rows])
    assert len(set(whole["keys"].tolist())) == 60  # a clip drawn again is cropped anew


def test_whole_clips_are_padded_to_the_longest_of_their_batch() -> None:
    batch = build_stream().__getitems__(range(6))
    assert batch["waveform"].shape[1] == int(batch["num_samples"].max())
    for row, length, clip in zip(
        batch["waveform"], batch["num_samples"], batch["clip_indices"], strict=True
    ):
        assert length == 1600 + clip and (row[:length] == clip).all() and not row[length:].any()


def test_a_smaller_share_is_part_of_a_larger_one_and_keeps_every_class() -> None:
    shares = [choose_share(CLIPS, TARGETS, share, seed=3) for share in (0.05, 0.1, 0.25, 0.5, 1)]
    for smaller, larger in pairwise(shares):
        assert set(smaller) < set(larger)
    assert [np.bincount(LABELS[share], minlength=3).tolist() for share in shares] == [
        [2, 1, 1], [4, 1, 1], [10, 2, 1], [20, 4, 2], [40, 7, 3],
    ]  # fmt: skip
    assert not np.array_equal(choose_share(CLIPS, TARGETS, 0.25, seed=4), shares[2])
