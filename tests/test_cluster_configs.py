"""What accelerate makes of the ready configurations; nothing is launched."""

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env

from tests.ssl_audio.launching import FSDP2

CLUSTER = Path(__file__).resolve().parents[1] / "configs" / "cluster"
PROCESSES = {"one_node": 4, "several_nodes": 8, "fsdp2": 4}


def test_every_configuration_is_known_here() -> None:
    assert {path.stem for path in CLUSTER.glob("*.yaml")} == PROCESSES.keys()


@pytest.mark.parametrize("name", PROCESSES)
def test_accelerate_takes_it(name: str) -> None:
    path = CLUSTER / f"{name}.yaml"
    assert load_config_from_file(str(path)).num_processes == PROCESSES[name]
    arguments = ["--config_file", str(path), "-m", "ssl_audio"]
    parsed, _, _ = _validate_launch_command(launch_command_parser().parse_args(arguments))
    assert parsed.use_fsdp == (name == "fsdp2") and parsed.multi_gpu == (name != "fsdp2")
    environment = prepare_multi_gpu_env(parsed)
    asked = {key: environment.get(key) for key in FSDP2}
    assert asked == (FSDP2 if name == "fsdp2" else dict.fromkeys(FSDP2))
