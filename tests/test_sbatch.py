"""The SLURM script, under stand-ins for srun and scontrol: what it starts, hears and gives back.

Most tests also have a stand-in for the training: what is asked is only what becomes of it.
"""

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from ssl_audio.checkpoint import list_checkpoints, load_newest
from ssl_audio.cli import INTERRUPTED
from tests.ssl_audio.test_interruption import sets
from tests.ssl_audio.test_training import steps, weights

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "configs" / "cluster" / "pretrain.sbatch"
SCONTROL = """#!/bin/bash
case "$1" in
  show) printf '127.0.0.1\\nanother\\n' ;;
  requeue) [ -n "$REFUSED" ] && exit 1; echo "$2" >> requeued; kill -TERM "$PPID" ;;
esac
"""
"""As SLURM does, it ends a running job that is put back into the queue."""


@dataclass
class Cluster:
    """Stand-ins for its commands, and what a job leaves in the folder it was submitted in."""

    folder: Path
    number: int = field(default_factory=os.getpid)
    jobs: list[subprocess.Popen] = field(default_factory=list)

    def command(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(stat.S_IRWXU)

    def submit(self, *arguments: object, nodes: int = 2, **more: str) -> subprocess.Popen:
        (self.folder / "tasks").unlink(missing_ok=True)
        about = {
            "PATH": f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "SLURM_JOB_ID": str(self.number),
            "SLURM_JOB_NODELIST": "here",
            "SLURM_CPUS_PER_TASK": "8",
            "STAND_IN_NODES": str(nodes),
            "STAND_IN_TASKS": str(self.folder / "tasks"),
            "REFUSED": "",
        }
        with (self.folder / "log").open("ab") as log:
            job = subprocess.Popen(
                ["bash", str(SCRIPT), *map(str, arguments)],
                env={**os.environ, **about, **more},
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        self.jobs.append(job)
        return job

    def said(self) -> str:
        return (self.folder / "log").read_text()

    def tasks(self) -> list[int]:
        path = self.folder / "tasks"
        return [int(task) for task in path.read_text().split()] if path.exists() else []

    def requeued(self) -> int:
        """How often, this job and no other."""
        path = self.folder / "requeued"
        found = path.read_text().split() if path.exists() else []
        assert set(found) <= {str(self.number)}
        return len(found)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = make_cluster(tmp_path)
    yield made
    for job in made.jobs:  # of a test that failed: else they would go on
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)


def make_cluster(folder: Path) -> Cluster:
    cluster = Cluster(folder)
    srun = f'#!/bin/bash\nexec "{sys.executable}" -S -E "{ROOT / "tests" / "srun.py"}" "$@"\n'
    cluster.command("srun", srun)
    cluster.command("scontrol", SCONTROL)
    return cluster


def wait_for(cluster: Cluster, job: subprocess.Popen, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not ready():
        assert job.poll() is None and time.monotonic() < deadline, cluster.said()
        time.sleep(0.02)


def wait_for_tasks(cluster: Cluster, job: subprocess.Popen) -> None:
    """Until both of them hear."""
    wait_for(cluster, job, lambda: len(list(cluster.folder.glob("started ?"))) == 2)
    wait_for(cluster, job, lambda: len(cluster.tasks()) == 2)


def warn(cluster: Cluster, job: subprocess.Popen) -> None:
    """--signal=B:USR1@300: before the time limit, or with a preemption."""
    job.send_signal(signal.SIGUSR1)


def give_grace(cluster: Cluster, job: subprocess.Popen) -> None:
    """A preemption with a time of grace: to all tasks, not to the script."""
    for number in (signal.SIGCONT, signal.SIGTERM):
        for task in cluster.tasks():
            os.kill(task, number)


def tell_script(cluster: Cluster, job: subprocess.Popen) -> None:
    """scancel --batch --signal=TERM."""
    job.send_signal(signal.SIGTERM)


def tell_both(cluster: Cluster, job: subprocess.Popen) -> None:
    give_grace(cluster, job)
    warn(cluster, job)


def tell_one(cluster: Cluster, job: subprocess.Popen) -> None:
    """One node is to be shut down."""
    os.kill(cluster.tasks()[-1], signal.SIGTERM)


def test_every_task_finds_the_others(cluster: Cluster) -> None:
    cluster.command(
        "python",
        "#!/bin/bash\n"
        'echo "$RANK $LOCAL_RANK $WORLD_SIZE $SLURM_CPUS_PER_TASK" \\\n'
        '  "$MASTER_ADDR $MASTER_PORT" >> places\n'
        'printf "%s\\n" "$(printf "%s|" "$@")" >> words\n',  # at once: two tasks write there
    )
    job = cluster.submit("a recipe", "here", "out", "--set", "data.name=two words")
    assert job.wait() == 0, cluster.said()
    places = sorted(line.split() for line in (cluster.folder / "places").read_text().splitlines())
    port = places[0][-1]
    assert places == [[rank, "0", "2", "8", "127.0.0.1", port] for rank in "01"]
    assert 20_000 <= int(port) < 32_768
    words = ["-m", "ssl_audio", "pretrain", "--config", "a recipe", "--set", "data.corpus=here"]
    words += ["--output", "out", "--resume", "--set", "data.name=two words"]
    assert (cluster.folder / "words").read_text() == 2 * ("|".join(words) + "|\n")


@pytest.mark.parametrize(
    ("code", "refused", "expected", "requeued"),
    [(0, "", 0, 0), (2, "", 2, 0), (INTERRUPTED, "", 0, 1), (INTERRUPTED, "x", INTERRUPTED, 0)],
)
def test_only_a_run_that_was_asked_to_stop_comes_again(
    cluster: Cluster, code: int, refused: str, expected: int, requeued: int
) -> None:
    cluster.command("python", f"#!/bin/bash\nexit {code}\n")
    assert cluster.submit("recipe", "here", "out", REFUSED=refused).wait() == expected
    assert cluster.requeued() == requeued, cluster.said()


def test_a_task_that_crashes_takes_the_others_along(cluster: Cluster) -> None:
    waits = '#!/bin/bash\n[ "$RANK" = 1 ] && exit 1\nexec sleep 100\n'
    cluster.command("python", waits)
    job = cluster.submit("recipe", "here", "out", SLURM_KILL_BAD_EXIT="0")
    assert job.wait(timeout=50) == 1 and cluster.requeued() == 0


def test_the_first_task_may_take_longer_than_the_others(cluster: Cluster) -> None:
    draws = '#!/bin/bash\n[ "$RANK" = 1 ] && exit 0\nsleep 2\ntouch drawn\n'
    cluster.command("python", draws)
    assert cluster.submit("recipe", "here", "out", SLURM_WAIT="1").wait() == 0
    assert (cluster.folder / "drawn").exists(), cluster.said()


HEARS = f"""#!/bin/bash
trap 'touch stopping; sleep 0.2; exit {INTERRUPTED}' USR1 TERM
touch "started $RANK"
while [ ! -e stopping ]; do sleep 0.05; done
sleep 0.2
exit {INTERRUPTED}
"""
"""As a run does: all processes stop if one of them was told to."""


@pytest.mark.parametrize("tell", [warn, give_grace, tell_script, tell_both, tell_one])
def test_a_signal_puts_the_job_into_the_queue_once(
    cluster: Cluster, tell: Callable[[Cluster, subprocess.Popen], None]
) -> None:
    cluster.command("python", HEARS)
    job = cluster.submit("recipe", "here", "out")
    wait_for_tasks(cluster, job)
    tell(cluster, job)
    assert job.wait(timeout=50) == 0, cluster.said()
    assert cluster.requeued() == 1, cluster.said()
    assert "No such process" not in cluster.said()


def test_a_cancelled_job_does_not_come_again(cluster: Cluster) -> None:
    """All of it gets SIGTERM, srun too, which kills the tasks before they are done."""
    stays = '#!/bin/bash\ntrap "" USR1 TERM\ntouch "started $RANK"\nexec sleep 100\n'
    cluster.command("python", stays)
    job = cluster.submit("recipe", "here", "out")
    wait_for_tasks(cluster, job)
    os.killpg(job.pid, signal.SIGTERM)
    assert job.wait(timeout=50) == 128 + signal.SIGKILL, cluster.said()
    assert cluster.requeued() == 0


def test_the_script_knows_the_exit_code() -> None:
    assert f'"$code" -eq {INTERRUPTED} ' in SCRIPT.read_text(encoding="utf-8")


NUM_STEPS = 40


def train(cluster: Cluster, prepared: Path, output: Path, nodes: int) -> subprocess.Popen:
    items = sets(prepared, f"train.max_steps={NUM_STEPS}")
    more = [part for item in items for part in ("--set", item)]
    recipe = ROOT / "configs" / "pretrain" / "contrastive.yaml"
    return cluster.submit(recipe, prepared, output, *more, nodes=nodes)


@pytest.fixture(scope="module")
def undisturbed(
    prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int], dict[str, torch.Tensor]]:
    """The weights of a job on so many nodes that nobody interrupts."""
    found: dict[int, dict[str, torch.Tensor]] = {}

    def run(nodes: int) -> dict[str, torch.Tensor]:
        if nodes not in found:
            cluster = make_cluster(tmp_path_factory.mktemp("undisturbed"))
            output = cluster.folder / "run"
            assert train(cluster, prepared, output, nodes).wait() == 0, cluster.said()
            assert cluster.requeued() == 0
            found[nodes] = weights(output)
        return found[nodes]

    return run


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("nodes", "tell"), [(1, warn), (2, warn), (2, give_grace), (2, tell_both), (2, tell_one)]
)
def test_a_preempted_job_ends_as_if_it_never_was(
    nodes: int,
    tell: Callable[[Cluster, subprocess.Popen], None],
    cluster: Cluster,
    prepared: Path,
    undisturbed: Callable[[int], dict[str, torch.Tensor]],
) -> None:
    expected = undisturbed(nodes)
    output = cluster.folder / "run"
    job = train(cluster, prepared, output, nodes)
    wait_for(
        cluster,
        job,
        lambda: (output / "metrics.jsonl").exists() and max(steps(output), default=0) >= 4,
    )
    tell(cluster, job)
    assert job.wait() == 0, cluster.said()
    assert cluster.requeued() == 1 and not (output / "run.json").exists(), cluster.said()
    assert len(list_checkpoints(output / "checkpoints")) == 1
    newest = load_newest(output / "checkpoints")
    assert newest is not None and 4 <= newest.state["step"] < NUM_STEPS
    codes = re.findall(r"a task left with (-?\d+)", cluster.said())
    assert len(codes) == nodes and int(codes[0]) == INTERRUPTED, cluster.said()
    assert f"asked to stop: checkpoint of step {newest.state['step']}" in cluster.said()
    assert train(cluster, prepared, output, nodes).wait() == 0, cluster.said()
    record = json.loads((output / "run.json").read_text())
    assert record["num_processes"] == nodes and record["metrics"]["steps"] == NUM_STEPS
    assert steps(output) == list(range(1, NUM_STEPS + 1))
    found = weights(output)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert cluster.requeued() == 1
