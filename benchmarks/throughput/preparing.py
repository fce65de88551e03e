"""``throughput prepare``: many long recordings through the public command, watched from outside."""

import json
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.throughput.recordings import write_recordings
from benchmarks.throughput.resident import Watched, watch
from ssl_audio.data.manifest import SAMPLE_RATE
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.errors import UserError

BYTES_PER_HOUR = 3600 * 2 * SAMPLE_RATE
"""Of prepared audio."""
_SOURCE_BYTES_PER_HOUR = 51_000_000


@dataclass(frozen=True)
class PrepareReport:
    """What preparing the recordings took."""

    num_recordings: int
    num_clips: int
    audio_hours: float
    source_bytes: int
    num_cores: int
    watched: Watched

    @property
    def audio_seconds_per_second(self) -> float:
        """Speed over wall time, on all cores."""
        return self.audio_hours * 3600 / self.watched.wall_seconds

    def describe(self) -> str:
        """Some lines for the terminal."""
        watched = self.watched
        return "\n".join(
            [
                f"{self.num_recordings} recordings, {self.audio_hours:.2f} h of audio, "
                f"{self.source_bytes / 1e9:.2f} GB: {self.num_clips} clips",
                f"{watched.wall_seconds:.1f} s on {self.num_cores} cores "
                f"({watched.processor_seconds:.1f} processor seconds): "
                f"{self.audio_seconds_per_second:.0f} audio-seconds per second",
                f"resident over all processes, at most {watched.peak_resident_bytes / 1e6:.0f} MB "
                f"(mapped files and shared pages included; without them "
                f"{watched.peak_private_bytes / 1e6:.0f} MB; high-water marks of all processes "
                f"together {watched.high_water_bytes / 1e6:.0f} MB; {watched.num_samples} samples)",
            ]
        )

    def save(self, path: Path) -> None:
        """Writes every figure as JSON."""
        speed = {"audio_seconds_per_second": self.audio_seconds_per_second}
        path.write_text(json.dumps({**asdict(self), **speed}, indent=1) + "\n", encoding="utf-8")


def measure_preparing(folder: Path, count: int, minutes: float, num_cores: int) -> PrepareReport:
    """Makes recordings, prepares them with the command that users run, removes what it made.

    Args:
        folder: where there is room for them and for what is made of them.
        count: of the recordings.
        minutes: length of each.
        num_cores: that this process and its children may use; only reported.

    Raises:
        UserError: not enough room on the disk, or the command fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    needed = round(count * minutes / 60 * (BYTES_PER_HOUR + _SOURCE_BYTES_PER_HOUR))
    if (free := shutil.disk_usage(folder).free) < needed:
        raise UserError(
            f"{folder} has {free / 1e9:.1f} GB free, {count} recordings of {minutes:g} min need "
            f"{needed / 1e9:.1f} GB: choose another --folder, or fewer --files"
        )
    with tempfile.TemporaryDirectory(dir=folder) as work:
        source, output = Path(work) / "recordings", Path(work) / "prepared"
        paths = write_recordings(source, count, 60 * minutes)
        command = (sys.executable, "-m", "ssl_audio", "prepare", "folder", str(source))
        watched = watch((*command, "--output", str(output), "--strict"))
        corpus = PreparedCorpus.load(output)
        return PrepareReport(
            num_recordings=count,
            num_clips=len(corpus),
            audio_hours=float(corpus.num_samples.sum()) / SAMPLE_RATE / 3600,
            source_bytes=sum(path.stat().st_size for path in paths),
            num_cores=num_cores,
            watched=watched,
        )
