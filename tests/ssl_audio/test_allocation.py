import subprocess
import sys

import pytest

TOUCHED = """
import resource
import numpy as np
from ssl_audio.allocation import keep_freed_memory
if {keep}:
    keep_freed_memory()
np.ones(10**7)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(10**7)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_what_was_freed_is_used_again():
    """Without it every new page of a large block is asked of the system once more."""
    faults = [
        int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for code in (TOUCHED.format(keep=keep) for keep in (False, True))
    ]
    if faults[0] < 1000:
        pytest.skip("this C library keeps memory by itself")
    assert faults[1] < faults[0] / 20
