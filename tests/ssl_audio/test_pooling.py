import pytest
import torch

from ssl_audio.pooling import Pooling, mean_std_pool


@pytest.mark.parametrize("name", ["mean", "mean_std", "attention", "cls"])
def test_padding_counts_nowhere(name: str) -> None:
    torch.manual_seed(0)
    pooling = Pooling(name, 8)  # type: ignore[arg-type]
    tokens, cls = torch.randn(2, 6, 8), torch.randn(2, 8)
    padding = torch.tensor([[False] * 6, [False] * 2 + [True] * 4])
    pooled = pooling(tokens, cls, padding)
    assert pooled.shape == (2, pooling.output_dim)
    spoilt = tokens.masked_fill(padding[:, :, None], 1e4)
    torch.testing.assert_close(pooling(spoilt, cls, padding), pooled)
    alone = pooling(tokens[1:, :2], cls[1:], padding[1:, :2])
    torch.testing.assert_close(pooled[1:], alone)


def test_mean_and_deviation() -> None:
    tokens = torch.tensor([[[1.0], [3.0], [50.0]]])
    padding = torch.tensor([[False, False, True]])
    pooled = mean_std_pool(tokens, padding)
    torch.testing.assert_close(pooled, torch.tensor([[2.0, 1.0]]), atol=1e-5, rtol=0)


def test_one_token_has_a_finite_gradient() -> None:
    tokens = torch.ones(1, 1, 4, requires_grad=True)
    mean_std_pool(tokens, torch.zeros(1, 1, dtype=torch.bool)).sum().backward()
    assert tokens.grad is not None and torch.isfinite(tokens.grad).all()
