import sys

import numpy as np
import pytest
import torch

from benchmarks.memory import PeakMemory, forget_peak, peak_mebibytes


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a peak")
def test_a_peak_is_that_of_one_run():
    forget_peak()
    before = peak_mebibytes()
    assert before > 20
    np.ones(2**25).sum()  # 256 MiB, given back at once
    after = peak_mebibytes()
    assert 250 < after - before < 350
    forget_peak()
    assert peak_mebibytes() < after - 200


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a peak")
def test_what_was_held_before_is_not_counted():
    held = np.ones(2**25)
    with PeakMemory(torch.device("cpu")) as peak:
        np.ones(2**24).sum()  # 128 MiB
    assert 120 < peak.mebibytes < 180 and held.sum() == 2**25
