import csv
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile as sf

from ssl_audio import quickstart as module
from ssl_audio.conclusion import Comparison, conclude, to_line
from ssl_audio.data.audio import SAMPLE_RATE
from ssl_audio.data.prepare import prepare
from ssl_audio.data.synthetic import SyntheticSettings, synthesise
from ssl_audio.errors import UserError
from ssl_audio.quickstart import MARK, Budget, quickstart

PROTOCOL = "synthetic-3/speakers6"


@pytest.fixture
def done(prepared, tmp_path):
    """What a finished quickstart leaves, as far as the last lines read it."""
    output = tmp_path / "my runs" / "quickstart"
    output.mkdir(parents=True)
    (output / MARK).touch()
    (output / "prepared").symlink_to(prepared)
    comparison = Comparison(output, PROTOCOL)
    scores = {comparison.encoder: None, comparison.tuned: 0.42, comparison.scratch: 0.40}
    for run, uar in scores.items():
        run.mkdir()
        record = {"system": run.name, "metrics": {"test_uar": uar}, "budget_cut": False}
        (run / "run.json").write_text(json.dumps(record))
    return comparison


def edit_record(run, **changes):
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, **changes}))


def write_results(output, *rows):
    with (output / "results.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["system", "metric", "value", "ci_low", "ci_high"])
        writer.writerows(rows)


def write_classes(root, write_noise, count=6):
    for emotion in ("happy", "sad"):
        for number in range(count):
            write_noise(root / emotion / f"{number}.wav", seed=f"{emotion}{number}")
    return root


@pytest.fixture
def no_subprocess(monkeypatch):
    """Prepares in this process; nothing else runs."""
    commands = []

    def run(*command):
        commands.append(command)
        if command[1] == "prepare":
            prepare(command[2], Path(command[3]), Path(command[5]))

    monkeypatch.setattr(module, "_run", run)
    return commands


@pytest.mark.parametrize("place", ["", "clips", "deep/clips"])
@pytest.mark.parametrize("through_link", [False, True])
def test_data_below_the_output_is_refused_and_kept(place, through_link, tmp_path, write_noise):
    output = tmp_path / "output"
    data = write_classes(output / place, write_noise)
    (output / MARK).touch()
    if through_link:
        (tmp_path / "link").symlink_to(output / place)
        data = tmp_path / "link"
    with pytest.raises(UserError, match="lies in --output"):
        quickstart(data, 1, output)
    assert len(list((output / place).rglob("*.wav"))) == 12


def test_a_typo_leaves_an_earlier_quickstart_alone(done, tmp_path):
    before = sorted(done.output.rglob("*"))
    with pytest.raises(UserError, match="no such file or folder"):
        quickstart(tmp_path / "typo", 1, done.output)
    assert sorted(done.output.rglob("*")) == before


def test_useless_data_leaves_an_earlier_quickstart_alone(
    done, tmp_path, write_noise, no_subprocess
):
    before = (done.tuned / "run.json").read_bytes()
    data = write_classes(tmp_path / "data", write_noise, count=2)
    with pytest.raises(UserError, match="class 'happy' has 2 different recordings"):
        quickstart(data, 1, done.output)
    assert (done.tuned / "run.json").read_bytes() == before
    assert (done.output / "prepared").is_symlink()


def test_only_names_of_a_quickstart_are_removed(
    done, prepared, tmp_path, write_noise, no_subprocess, monkeypatch
):
    monkeypatch.setattr(module, "_train", lambda *_: sys.exit("trained"))
    (done.output / "thesis").mkdir()
    (done.output / "thesis" / "chapter.txt").write_text("years of work")
    (done.output / "table.md").write_text("old")
    data = write_classes(tmp_path / "data", write_noise)
    with pytest.raises(SystemExit, match="trained"):
        quickstart(data, 1, done.output)
    assert (done.output / "thesis" / "chapter.txt").read_text() == "years of work"
    left = {path.name for path in done.output.iterdir()}
    assert left == {"thesis", "prepared", MARK}
    assert (prepared / "corpus.json").is_file()  # a link's target is nobody's business


def test_foreign_output_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="no quickstart made"):
        quickstart(None, 1, tmp_path)
    with pytest.raises(UserError, match=r"thesis.txt is a file: name a folder"):
        quickstart(None, 1, tmp_path / "thesis.txt")


def test_the_reason_for_no_folds_is_given(tmp_path, write_noise, ravdess_names):
    for name in ravdess_names([1, 2]):
        write_noise(tmp_path / "in" / f"{name}.wav")
    prepare("ravdess", tmp_path / "in", tmp_path / "out")
    with pytest.raises(UserError, match=r"need at least 3 speakers, there are 2"):
        module._choose_protocol(tmp_path / "out")


def test_protocol_is_what_the_corpus_offers(prepared, tmp_path, write_noise):
    assert module._choose_protocol(prepared) == PROTOCOL
    prepare("folder", write_classes(tmp_path / "in", write_noise), tmp_path / "out")
    assert module._choose_protocol(tmp_path / "out") == "folder-2/dedup5"


def test_last_lines_can_be_pasted(done, monkeypatch):
    monkeypatch.chdir(done.output)
    monkeypatch.setenv("PATH", "")
    lines = conclude(done, 60)
    commands = [shlex.split(line) for line in lines if " -m finetune " in line]
    assert [command[3] for command in commands] == ["predict", "evaluate"]
    for command in commands:
        assert Path(command[0]) == Path(sys.executable)
        assert Path(command[command.index("--model") + 1]) == done.tuned
    assert Path(commands[1][commands[1].index("--input") + 1]).is_dir()


def test_the_interpreter_is_called_as_it_can_be_found(monkeypatch, tmp_path):
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", str(folder))
    assert to_line("finetune", "a b") == "python -m finetune 'a b'"
    monkeypatch.setenv("PATH", "")
    assert to_line("finetune") == f"{folder / 'python'} -m finetune"
    monkeypatch.chdir(tmp_path)
    assert to_line("finetune") == ".venv/bin/python -m finetune"


@pytest.mark.parametrize(
    ("tuned", "verdict"),
    [(0.42, "2.0 points more."), (0.37, "3.0 points less."), (0.4003, "the same.")],
)
def test_verdict(done, tuned, verdict):
    edit_record(done.tuned, metrics={"test_uar": tuned})
    assert conclude(done, 60)[1].endswith(f"40.0 % from scratch: {verdict}")


def test_last_lines_name_clips_speakers_and_cuts(done):
    lines = conclude(done, 60)
    assert "  Tested on 12 clips of 2 speakers, one fold, one seed: indicative only." in lines
    assert not any("Cut" in line or "same voices" in line for line in lines)
    edit_record(done.encoder, budget_cut=True)
    edit_record(done.scratch, budget_cut=True)
    (cut,) = (line for line in conclude(done, 60) if "Cut" in line)
    assert cut.endswith("for time: pretraining, training from scratch.")


def test_unknown_speakers_are_said(done, tmp_path, write_noise):
    (done.output / "prepared").unlink()
    prepare("folder", write_classes(tmp_path / "in", write_noise), done.prepared)
    lines = conclude(Comparison(done.output, "folder-2/dedup5"), 60)
    assert any("of unknown speakers" in line for line in lines)
    assert any("The same voices may be in training and test" in line for line in lines)


def test_intervals_come_from_the_results(done):
    write_results(
        done.output,
        ("finetuned", "uar", "0.42", "0.3", "0.54"),
        ("finetuned", "wa", "0.9", "", ""),
        ("from-scratch", "uar", "0.40", "", ""),
        ("Best", "uar", "0.5", "0.45", "0.55"),
    )
    lines = conclude(done, 60)
    assert "UAR 42.0 % [30.0, 54.0] with pretraining and 40.0 % from scratch" in lines[1]
    assert "  Best row of the table: Best with 50.0 % [45.0, 55.0]." in lines


def test_without_benchmarks_only_what_is_there_is_listed(done, capsys):
    module._print_own_rows(done.output, (done.scratch, done.tuned))
    assert "benchmarks is not installed" in capsys.readouterr().out
    assert (done.output / "table.md").read_text() == (
        "| system | test UAR |\n|---|---|\n| from-scratch | 40.0 |\n| finetuned | 42.0 |\n"
    )
    lines = conclude(done, 60)
    assert "  table     table.md" in lines and "  model     finetuned" in lines
    assert not any("pictures" in line or "table.tex" in line for line in lines)


def test_budget():
    ravdess = Budget(8)
    assert ravdess.seconds(0.5) == 175 and ravdess.seconds(0.25) == 87.5
    assert "train.max_seconds=175" in ravdess.settings(0.5)
    said = "pretraining 158 s, each of two fine-tunings 77 s, an ImageNet network 38 s"
    assert said in ravdess.describe()
    assert Budget.PRETRAIN_SHARE + 2 * Budget.FINETUNE_SHARE + Budget.NETWORK_SHARE <= 1
    for minutes in (1, 2, 30):
        assert 0 < Budget(minutes).seconds(1) <= minutes * 60


def test_a_failed_command_says_so_on_stderr(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(module, "CHECKOUT", tmp_path)
    (tmp_path / "fails.py").write_text("import sys; sys.exit(int(sys.argv[1]))")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(SystemExit) as stopped:
        module._run("fails", "1")
    assert stopped.value.code == 1
    assert "the command above failed (1)" in capfd.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        module._run("fails", "2")
    assert stopped.value.code == 2
    assert capfd.readouterr().err == ""  # the command's own line is enough


def test_a_folder_called_benchmarks_is_not_ours(tmp_path, monkeypatch):
    assert module._has_benchmarks()
    (tmp_path / "benchmarks").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "CHECKOUT", tmp_path)
    assert not module._has_benchmarks()


def write_table(root):
    """Six speakers, two emotions, three clips of each, under column names of its own."""
    root.mkdir()
    rows = []
    settings = SyntheticSettings(
        num_speakers=6, emotions=("neutral", "angry"), num_statements=1, num_repetitions=3
    )
    for clip, audio in synthesise(settings):
        sf.write(root / f"{clip.clip_id}.wav", audio[: SAMPLE_RATE // 2], SAMPLE_RATE)
        rows.append((f"{clip.clip_id}.wav", clip.emotion, clip.speaker))
    with (root / "table of clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("wav", "mood", "who"), *rows])
    return root / "table of clips.csv"


@pytest.mark.slow
def test_a_whole_run_from_another_folder(tmp_path):
    table = write_table(tmp_path / "data")
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").write_text("raise SystemExit('not ours')")
    maps = ["--map", "path=wav", "--map", "emotion=mood", "--map", "speaker=who"]
    command = [sys.executable, "-P", "-m", "ssl_audio", "quickstart", "--data", table, *maps]
    command += ["--minutes", "1", "--output", "out"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    output = tmp_path / "out"
    for name in ("table.md", "table.tex", "table.html", "prepared/corpus.html", "finetuned"):
        assert (output / name).exists(), name
    assert (output / "pretrained" / "reconstruction.png").is_file()
    assert list((output / "figures").glob("*.png"))
    assert not (output / "prepared.new").exists()
    with (output / "results.csv").open() as file:
        leaks = {row["system"]: row["leak"] for row in csv.DictReader(file)}
    systems = set(leaks)
    assert set(leaks.values()) == {""}, "it pretrains on training speakers alone"
    assert {
        "Chance",
        "Ours, pretrained, head first",
        "Ours, from scratch, head first",
    } <= systems and len(systems) == 8
    end = run.stdout[run.stdout.index("What was learnt") :].splitlines()
    assert "  Tested on 6 clips of 1 speaker, one fold, one seed: indicative only." in end
    again = shlex.split(end[-1], comments=True)
    assert again[again.index("--data") + 1] == str(table)
    assert again[again.index("--output") + 1] == "out" and "speaker=who" in again
