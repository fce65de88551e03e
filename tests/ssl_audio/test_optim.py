import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from ssl_audio.optim import layer_decay_groups, learning_rate_factor, parameter_groups


def test_schedule_at_its_corners() -> None:
    factors = [learning_rate_factor(step, 10, 110, 0.1) for step in range(111)]
    assert factors[0] == pytest.approx(1 / 11)
    assert factors[10] == 1.0
    assert factors[60] == pytest.approx(0.55)
    assert factors[110] == pytest.approx(0.1)
    assert all(a < b for a, b in pairwise(factors[:11]))
    assert all(a > b for a, b in pairwise(factors[10:]))
    assert learning_rate_factor(500, 10, 110, 0.1) == pytest.approx(0.1)
    assert math.isfinite(learning_rate_factor(0, 0, 0, 0.1))


def test_only_matrices_decay_and_frozen_weights_are_left_out() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    module.token = nn.Parameter(torch.zeros(1, 1, 4))
    module[2].requires_grad_(False)
    decayed, plain = parameter_groups(module, 0.05)
    assert [tuple(p.shape) for p in decayed["params"]] == [(4, 3)]
    assert sorted(tuple(p.shape) for p in plain["params"]) == [(1, 1, 4), (4,), (4,), (4,)]
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.05, 0.0)


def test_layer_decay_falls_from_the_head_down() -> None:
    weights = [nn.Parameter(torch.zeros(2, 2)) for _ in range(3)]
    groups = layer_decay_groups([[weights[0]], [weights[1]]], [weights[2]], 0.0, 0.5)
    scale = {id(group["params"][0]): group["lr_scale"] for group in groups}
    assert [scale[id(weight)] for weight in weights] == [0.25, 0.5, 1.0]
