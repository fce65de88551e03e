import sys

import numpy as np
import pytest

from benchmarks.memory import forget_peak, peak_mebibytes


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
