"""Windows cover clips, and clips are judged from their windows as the formulas say."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.instances import Combination, CombinationName, WindowConfig, Windows, cut_windows
from tests.finetune.building import build_classifier


@settings(deadline=None, max_examples=100)
@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=4),
    window=st.integers(5, 80),
    hop=st.integers(1, 80),
)
def test_windows_hold_every_sample_and_no_padding(
    lengths: list[int], window: int, hop: int
) -> None:
    hop = min(hop, window)
    waveform = torch.zeros(len(lengths), max(lengths))
    for row, length in zip(waveform, lengths, strict=True):
        row[:length] = torch.arange(1, length + 1)
    windows = cut_windows(waveform, torch.tensor(lengths), window, hop)
    assert windows.num_samples.min() >= 1
    for number, length in enumerate(lengths):
        mine = windows.clip == number
        heard = windows.waveform[mine]
        assert set(heard[heard > 0].tolist()) == set(range(1, length + 1))
        assert torch.equal((heard > 0).sum(1), windows.num_samples[mine])
        alone = cut_windows(
            waveform[number : number + 1, :length], torch.tensor([length]), window, hop
        )
        assert torch.equal(alone.waveform, heard)
        assert windows.place[mine].tolist() == list(range(len(heard)))


def bag(sizes: list[int]) -> Windows:
    clip = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    place = torch.cat([torch.arange(size) for size in sizes])
    return Windows(torch.zeros(len(clip), 1), torch.ones(len(clip)), clip, place)


def test_windows_leave_no_gap() -> None:
    with pytest.raises(ValueError, match="at most seconds = 1, or nobody hears"):
        WindowConfig(seconds=1.0, hop_seconds=1.5)


SIZES = [3, 1, 4]


@pytest.mark.parametrize("name", ["mean", "max", "attention", "noisy_or"])
def test_multilabel_clips_against_a_loop(name: CombinationName) -> None:
    torch.manual_seed(0)
    windows, logits, embedding = bag(SIZES), 3 * torch.randn(8, 5), torch.randn(8, 6)
    combination = Combination(name, 6, exclusive=False)
    found = combination(logits, embedding, windows).sigmoid()
    for number in range(len(SIZES)):
        mine = windows.clip == number
        judged = logits[mine].sigmoid()
        wanted = {
            "mean": lambda judged=judged: judged.mean(0),
            "max": lambda judged=judged: judged.amax(0),
            "noisy_or": lambda judged=judged: 1 - (1 - judged).prod(0),
            "attention": lambda judged=judged, mine=mine: (
                combination.score(embedding[mine]).softmax(0) * judged
            ).sum(0),
        }[name]()
        assert torch.allclose(found[number], wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["mean", "max", "attention"])
def test_single_label_clips_against_a_loop(name: CombinationName) -> None:
    torch.manual_seed(0)
    windows, logits, embedding = bag(SIZES), 3 * torch.randn(8, 5), torch.randn(8, 6)
    combination = Combination(name, 6, exclusive=True)
    found = combination(logits, embedding, windows).softmax(1)
    for number in range(len(SIZES)):
        mine = windows.clip == number
        judged = logits[mine].softmax(1)
        if name == "mean":
            wanted = judged.mean(0)
        elif name == "max":
            wanted = judged.amax(0) / judged.amax(0).sum()
        else:
            wanted = (combination.score(embedding[mine]).softmax(0) * judged).sum(0)
        assert torch.allclose(found[number], wanted, atol=1e-5)


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("name", ["mean", "max", "attention", "noisy_or"])
def test_sure_windows_leave_everything_finite(name: CombinationName, exclusive: bool) -> None:
    if name == "noisy_or" and exclusive:
        with pytest.raises(ValueError, match="needs a multilabel head"):
            Combination(name, 6, exclusive)
        return
    logits = torch.tensor([[200.0, -200.0], [-200.0, -200.0], [0.0, 50.0]], requires_grad=True)
    combined = Combination(name, 6, exclusive)(logits, torch.randn(3, 6), bag([2, 1]))
    combined.sum().backward()
    assert combined.isfinite().all() and logits.grad is not None and logits.grad.isfinite().all()


@pytest.mark.parametrize("name", ["mean", "max", "attention", "noisy_or"])
def test_a_clip_does_not_depend_on_its_batch(name: CombinationName) -> None:
    torch.manual_seed(1)
    logits, embedding = torch.randn(8, 5), torch.randn(8, 6)
    combination = Combination(name, 6, exclusive=False)
    together = combination(logits, embedding, bag(SIZES))
    alone = combination(logits[3:4], embedding[3:4], bag([1]))
    assert torch.allclose(together[1:2], alone, atol=1e-6)


@pytest.mark.parametrize(
    ("seconds", "moment_seconds", "length"),
    [
        (0.4, 0.2, 20_000),
        (0.5, 0.2, 17_777),
        (0.3, 0.29, 20_000),
        (0.4, 0.4, 6_400),
        (1.0, 0.1, 900),
    ],
)
def test_a_moment_has_the_mean_of_the_windows_that_it_lies_in(
    seconds: float, moment_seconds: float, length: int
) -> None:
    windows = {"seconds": seconds, "hop_seconds": seconds}
    timeline = {"phrase_seconds": 0.0, "moment_seconds": moment_seconds}
    classifier = build_classifier(windows=windows, timeline=timeline)
    torch.manual_seed(0)
    waveform = 0.3 * torch.randn(length)
    found = classifier.probabilities_over_time(waveform)
    hop, window = round(16_000 * moment_seconds), round(16_000 * seconds)
    starts = range(0, max(1, length - window + hop), hop)
    with torch.no_grad():
        judged = {
            start: classifier.head.probabilities(
                classifier.head(classifier.embed(waveform[None, start : start + window]))
            )[0]
            for start in starts
        }
    for place, moment in enumerate(range(0, length, hop)):
        mine = [p for start, p in judged.items() if start <= moment < start + window]
        wanted = torch.stack(mine or [judged[max(judged)]]).mean(0)
        assert torch.allclose(torch.from_numpy(found.probabilities[place]), wanted, atol=1e-5)
    assert found.ends[-1] == pytest.approx(length / 16_000)
