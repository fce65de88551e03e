import json
import random
from pathlib import Path

import pytest
import torch
from torch import nn

from ssl_audio.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_newest,
    optimizer_tensors,
    read_states,
    restore_optimizer,
    save_checkpoint,
    write_folder,
)
from ssl_audio.errors import UserError


def make(value: float) -> Checkpoint:
    return Checkpoint({"w": torch.full((3,), value)}, {"w::m": torch.ones(2)}, {"note": value})


def test_newest_is_found_and_old_ones_go(tmp_path: Path) -> None:
    for step in (5, 10, 100):
        save_checkpoint(tmp_path, step, make(step), keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000100"]
    newest = load_newest(tmp_path)
    assert newest is not None and newest.state["step"] == 100 and newest.state["note"] == 100
    assert torch.equal(newest.module["w"], torch.full((3,), 100.0))
    assert load_newest(tmp_path / "none") is None


@pytest.mark.parametrize("name", ["module.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("harm", ["cut", "flip", "gone"])
def test_torn_or_altered_is_refused_and_the_one_before_is_used(
    tmp_path: Path, name: str, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path, 1, make(1), keep=2)
    victim = save_checkpoint(tmp_path, 2, make(2), keep=2) / name
    content = victim.read_bytes()
    if harm == "cut":
        victim.write_bytes(content[: len(content) // 2])
    elif harm == "flip":
        victim.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    else:
        victim.unlink()
    with pytest.raises(UserError, match="step-00000002"):
        load_checkpoint(tmp_path / "step-00000002")
    newest = load_newest(tmp_path)
    assert newest is not None and newest.state["step"] == 1
    assert "refused, using step-00000001 instead" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["module.safetensors", "optimizer.safetensors", "state.json"])
def test_no_cut_and_no_changed_byte_goes_unseen(tmp_path: Path, name: str) -> None:
    whole = save_checkpoint(tmp_path, 1, make(1), keep=2)
    victim = save_checkpoint(tmp_path, 2, make(2), keep=2) / name
    content = victim.read_bytes()
    chance = random.Random(name)
    harmed = [content[: chance.randrange(len(content))] for _ in range(60)]
    for _ in range(200):
        place, other = chance.randrange(len(content)), chance.randrange(1, 256)
        flipped = bytes([content[place] ^ other])
        harmed.append(content[:place] + flipped + content[place + 1 :])
    for bad in harmed:
        victim.write_bytes(bad)
        with pytest.raises(UserError, match="step-00000002"):
            load_checkpoint(victim.parent)
    newest = load_newest(tmp_path)
    assert newest is not None and newest.state == load_checkpoint(whole).state
    victim.write_bytes(content)
    assert load_checkpoint(victim.parent).state["step"] == 2


def test_what_a_torn_state_says_is_not_believed(tmp_path: Path) -> None:
    torn = save_checkpoint(tmp_path, 1, make(1), keep=2) / "state.json"
    save_checkpoint(tmp_path, 2, make(2), keep=2)
    torn.write_text(torn.read_text(encoding="utf-8")[:50], encoding="utf-8")
    assert [state["step"] for state in read_states(tmp_path)] == [2]


def test_no_whole_checkpoint_is_an_error_and_none_at_all_is_not(tmp_path: Path) -> None:
    assert load_newest(tmp_path / "checkpoints") is None
    path = save_checkpoint(tmp_path / "checkpoints", 1, make(1), keep=2)
    (path / "module.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match="holds no whole checkpoint"):
        load_newest(tmp_path / "checkpoints")


def test_checkpoints_of_a_lost_future_go(tmp_path: Path) -> None:
    for step in (4, 8, 12, 6):
        save_checkpoint(tmp_path, step, make(step), keep=3)
    assert [state["step"] for state in read_states(tmp_path)] == [4, 6]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def fail(aside: Path) -> None:
        (aside / "half").write_text("x")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_folder(target, fail)
    assert not target.exists()
    write_folder(target, lambda aside: (aside / "a").mkdir())
    write_folder(target, lambda aside: (aside / "b").mkdir())
    assert [path.name for path in target.iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_optimizer_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    def build() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        module = nn.Linear(4, 3)
        return module, torch.optim.AdamW(module.parameters(), lr=0.1, fused=True)

    def step(module: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
        inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(number))
        module(inputs).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    module, optimizer = build()
    for number in range(3):
        step(module, optimizer, number)
    saved = Checkpoint(module.state_dict(), optimizer_tensors(module, optimizer), {})
    save_checkpoint(tmp_path, 3, saved, keep=1)
    for number in (3, 4):
        step(module, optimizer, number)

    other, other_optimizer = build()
    loaded = load_checkpoint(tmp_path / "step-00000003")
    other.load_state_dict(loaded.module)
    restore_optimizer(other, other_optimizer, loaded.optimizer)
    for number in (3, 4):
        step(other, other_optimizer, number)
    assert torch.equal(module.weight, other.weight)
    assert json.loads((tmp_path / "step-00000003" / "state.json").read_text())["state"]["step"] == 3
