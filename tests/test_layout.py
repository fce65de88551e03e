"""The house keeps its shape: import directions, instant help, packaging."""

import ast
import subprocess
import sys
import tomllib
from collections import defaultdict
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ssl_audio", "finetune", "benchmarks")
MAY_IMPORT = {
    "ssl_audio": {"ssl_audio"},
    "finetune": {"ssl_audio", "finetune"},
    "benchmarks": {"ssl_audio", "finetune", "benchmarks"},
}
LOWER_ROOMS = ("config", "features", "patches", "masking", "pooling", "optim", "draws")
UPPER_ROOMS = ("encoder", "objectives", "training", "pretrain", "quickstart", "build")


def imports_of(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(str(node.module))
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_imports_point_one_way() -> None:
    for package in PACKAGES:
        files = list((ROOT / package).rglob("*.py"))
        assert files
        for path in files:
            roots = {name.split(".")[0] for name in imports_of(path)} & set(PACKAGES)
            assert roots <= MAY_IMPORT[package], path


def test_lower_rooms_know_nothing_above_them() -> None:
    upper = tuple(f"ssl_audio.{room}" for room in UPPER_ROOMS)
    files = [ROOT / "ssl_audio" / f"{room}.py" for room in LOWER_ROOMS]
    files += list((ROOT / "ssl_audio" / "data").rglob("*.py"))
    for path in files:
        assert not [name for name in imports_of(path) if name.startswith(upper)], path


def test_the_loop_knows_no_single_objective() -> None:
    """It sees a module that returns StepOutput, and nothing of what it learns."""
    names = imports_of(ROOT / "ssl_audio" / "training.py")
    objectives = {name for name in names if name.startswith("ssl_audio.objectives")}
    assert objectives == {"ssl_audio.objectives.base", "ssl_audio.objectives.base.StepOutput"}


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        *(f"{package}.__main__" for package in PACKAGES),
        "benchmarks.statistics",
        "benchmarks.tables",
        "ssl_audio.data.prepare",
        "ssl_audio.audit",
        "finetune.calibration, finetune.ensemble",
        "finetune.group_scores, finetune.multilabel_metrics",
    ],
)
def test_needs_no_torch(module: str) -> None:
    """What makes --help instant, and tables readable where torch is not installed."""
    assert "torch" not in loaded_by(f"import {module}")


def test_importing_a_package_does_nothing_heavy() -> None:
    loaded = loaded_by("import ssl_audio, finetune, benchmarks")
    assert not {"torch", "transformers", "pandas"} & loaded


SHARED_BY_MISTAKE = {Path("docs/conf.py"): {"opensmile", "audmath"}}
"""Both wheels of the extra egemaps carry the settings of their documentation, which nothing reads:
whose copy is there makes no difference."""


def test_no_two_distributions_own_one_file() -> None:
    """xgboost and xgboost-cpu side by side, say, would overwrite each other."""
    owners: dict[str, set[str]] = defaultdict(set)
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        for file in distribution.files or ():
            if (
                "__pycache__" not in file.parts
                and not file.parts[0].endswith(".dist-info")
                and name not in SHARED_BY_MISTAKE.get(Path(file), ())
            ):
                owners[str(distribution.locate_file(file))].add(name)
    shared = {file: names for file, names in owners.items() if len(names) > 1}
    assert not shared


def test_everything_installed_is_pinned() -> None:
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, _, version = line.partition("==")
        pins[name.lower().replace("_", "-")] = version
    assert all(pins.values())
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = list(declared["dependencies"])
    for extra in ("benchmarks", "dev"):
        needed += declared["optional-dependencies"][extra]
    names = {item.split(";")[0].split(">")[0].split("=")[0].strip().lower() for item in needed}
    if sys.platform == "linux":
        names -= {"xgboost"}
    assert names <= pins.keys()
    assert pins["torch"].startswith("2.11.") and pins["torchaudio"].startswith("2.11.")


def test_every_package_is_in_the_wheel() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in ("ssl_audio", "finetune")
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert set(listed) == found


def test_no_drawer_for_everything() -> None:
    names = {path.stem for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert not names & {"utils", "common", "misc", "helpers"}


@pytest.mark.parametrize("package", ["ssl_audio", "finetune"])
def test_public_names_are_there(package: str) -> None:
    module = __import__(package)
    for name in module.__all__:
        assert getattr(module, name).__name__ == name
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name  # noqa: B018
