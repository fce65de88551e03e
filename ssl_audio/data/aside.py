"""The folder beside an output in which it comes into being, until it is whole."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ssl_audio.errors import UserError


@contextmanager
def folder_aside(output: Path) -> Iterator[Path]:
    """``.NAME.partial`` beside the output, for one process at a time.

    It outlives a failure as long as there are shards in it, for the next run to go on with.

    Raises:
        UserError: another process is at it.
    """
    output = output.resolve()
    aside, old = _aside(output), _old(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    aside.mkdir(exist_ok=True)
    with (aside / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{output} is being prepared by another process: wait for it, or choose another "
                "--output"
            ) from None
        if old.exists():  # The last run ended while it swapped.
            if output.exists():
                shutil.rmtree(old)
            else:
                old.rename(output)
        try:
            yield aside
        finally:
            if not any(aside.glob("*.arrow")):
                shutil.rmtree(aside)


def swap_in(whole: Path, output: Path) -> None:
    """Puts a folder from aside in the place of the output, and removes the rest aside.

    Who has the older output open can go on reading it.
    """
    output = output.resolve()
    if output.exists():
        output.rename(_old(output))
    whole.rename(output)
    shutil.rmtree(_old(output), ignore_errors=True)
    for shard in _aside(output).glob("*.arrow"):
        shard.unlink()


def link(source: Path, target: Path) -> None:
    """A second name for a file; where the system has none, a new one for the first."""
    try:
        os.link(source, target)
    except OSError:
        source.rename(target)


def _aside(output: Path) -> Path:
    return output.with_name(f".{output.name}.partial")


def _old(output: Path) -> Path:
    return output.with_name(f".{output.name}.old")
