"""What learns under each strategy, and what it starts from."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.preprocessing import StandardScaler

from finetune.config import ClassifierConfig, FullConfig, LoraConfig
from finetune.evaluate import load_classifier, predict_clips
from finetune.heads import build_head
from finetune.labels import GENDERS
from finetune.model import AudioClassifier
from finetune.strategies import (
    WeightAverage,
    add_lora,
    choose_learning_weights,
    embed_judged,
    fit_head,
    group_parameters,
    without_lora,
)
from finetune.train import finetune as run_finetune
from ssl_audio.config import build_config
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.errors import ConfigError
from ssl_audio.probes import build_linear_probe, build_regression
from tests.finetune.building import build_classifier
from tests.finetune.configuring import CLASSES, PROTOCOL, Answering, configure


@pytest.mark.parametrize("kind", ["single", "multilabel", "gender-emotion"])
def test_a_fitted_head_answers_as_the_probe_does(kind: str) -> None:
    generator = np.random.default_rng(0)
    classes = tuple(f"{gender}_{emotion}" for gender in GENDERS for emotion in ("a", "b", "c"))
    labels = generator.integers(0, 6, 90)
    embeddings = generator.normal(size=(90, 12)).astype(np.float32) + labels[:, None] * 0.3
    embeddings = embeddings.astype(np.float32)
    targets = np.eye(6, dtype=np.float32)[labels]
    head = build_head(12, classes, {"kind": kind}).eval()
    fit_head(head, embeddings, targets)
    found = head.probabilities(head(torch.from_numpy(embeddings))).detach().numpy()
    probe = build_linear_probe
    if kind == "single":
        wanted = probe().fit(embeddings, labels).predict_proba(embeddings)
    elif kind == "multilabel":
        columns = [
            probe().fit(embeddings, targets[:, n]).predict_proba(embeddings)[:, 1] for n in range(6)
        ]
        wanted = np.stack(columns, axis=1)
    else:
        gender = probe().fit(embeddings, labels // 3).predict_proba(embeddings)
        emotion = probe().fit(embeddings, labels % 3).predict_proba(embeddings)
        wanted = (gender[:, :, None] * emotion[:, None, :]).reshape(90, 6)
    assert np.abs(found - wanted).max() < 1e-4


@pytest.mark.parametrize("kind", ["single", "multilabel"])
def test_a_class_that_no_clip_has_is_improbable(kind: str) -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 40)
    embeddings = (generator.normal(size=(40, 5)) + labels[:, None]).astype(np.float32)
    head = build_head(5, ("a", "b", "c"), {"kind": kind}).eval()
    fit_head(head, embeddings, np.eye(3, dtype=np.float32)[labels])
    found = head.probabilities(head(torch.from_numpy(embeddings))).detach().numpy()
    assert found[:, 2].max() < 0.01
    assert ((found[:, 1] > found[:, 0]) == labels).mean() > 0.8


@pytest.mark.parametrize("kind", ["single", "multilabel", "gender-emotion"])
def test_a_vote_teaches_its_share(kind: str) -> None:
    """Ten raters' shares teach what ten equal clips with one rater's answer each do."""
    generator = np.random.default_rng(0)
    classes = ("male_a", "male_b", "female_a", "female_b")
    likely = generator.dirichlet([0.4] * 4, 30)
    votes = np.stack([generator.multinomial(10, row) for row in likely])
    embeddings = (generator.normal(size=(30, 5)) + votes[:, :1] * 0.2).astype(np.float32)
    answers = np.concatenate([np.repeat(np.arange(4), row) for row in votes])
    head = build_head(5, classes, {"kind": kind}).eval()
    fit_head(head, embeddings, (votes / 10).astype(np.float32))
    standardised = StandardScaler().fit_transform(embeddings)

    def learn(answers: np.ndarray) -> np.ndarray:
        ten = standardised.repeat(10, axis=0)
        return build_regression().fit(ten, answers, np.full(300, 0.1)).predict_proba(standardised)

    if kind == "single":
        wanted = learn(answers)
    elif kind == "multilabel":
        wanted = np.stack([learn(answers == n)[:, 1] for n in range(4)], axis=1)
    else:
        gender, emotion = learn(answers // 2), learn(answers % 2)
        wanted = (gender[:, :, None] * emotion[:, None, :]).reshape(30, 4)
    found = head.probabilities(head(torch.from_numpy(embeddings))).detach().numpy()
    assert np.abs(found - wanted).max() < 1e-3


def test_windows_of_a_clip_weigh_together_what_a_whole_clip_does() -> None:
    """A clip cut into equal pieces teaches what it would teach as a whole."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 40)
    embeddings = (generator.normal(size=(40, 5)) + labels[:, None]).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[labels]
    times = generator.integers(1, 6, 40)
    whole, cut = (build_head(5, ("a", "b", "c"), {}).eval() for _ in range(2))
    fit_head(whole, embeddings, targets)
    fit_head(cut, embeddings.repeat(times, axis=0), targets, np.repeat(np.arange(40), times))
    answers = [head.probabilities(head(torch.from_numpy(embeddings))) for head in (whole, cut)]
    assert (answers[0] - answers[1]).abs().max() < 1e-3


def test_a_probe_with_windows_is_fitted_to_windows(
    prepared: Path, encoder: Path, tmp_path: Path
) -> None:
    more = [f"encoder={encoder}", "strategy=probe", "windows={seconds: 0.4, hop_seconds: 0.2}"]
    run_finetune(configure(prepared, *more, "data.crop_seconds=null"), tmp_path / "run")
    classifier = load_classifier(tmp_path / "run")
    corpus = PreparedCorpus.load(prepared)
    train = corpus.indices(corpus.folds(PROTOCOL).fold(1).train)
    embeddings, of_clip = embed_judged(classifier, corpus, train)
    assert len(of_clip) == len(embeddings) > 2 * len(train)
    assert np.array_equal(np.unique(of_clip), np.arange(len(train)))
    # The head's standardisation is of what it judges, each clip weighing the same.
    weights = 1 / np.bincount(of_clip)[of_clip]
    mean = (embeddings * weights[:, None]).sum(0) / weights.sum()
    assert np.abs(classifier.head.norm.running_mean.numpy() - mean).max() < 1e-4
    one = corpus.views[train[3]].astype(np.float32) / 32768
    windows = classifier.cut(
        torch.from_numpy(one)[None], torch.tensor([len(one)]), classifier.windows
    )
    with torch.no_grad():
        wanted = classifier.embed(windows.waveform, windows.num_samples).numpy()
    assert np.abs(embeddings[of_clip == 3] - wanted).max() < 1e-4


def test_a_probe_is_fitted_to_whole_training_clips(
    prepared: Path, encoder: Path, tmp_path: Path
) -> None:
    run_finetune(configure(prepared, f"encoder={encoder}", "strategy=probe"), tmp_path / "run")
    classifier = load_classifier(tmp_path / "run")
    before = load_file(encoder / "model.safetensors")
    after = classifier.encoder.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    corpus = PreparedCorpus.load(prepared)
    fold = corpus.folds(PROTOCOL).fold(1)
    train, test = corpus.indices(fold.train), corpus.indices(fold.test)
    labels = [CLASSES.index(str(corpus.clips[index].emotion)) for index in train]
    probe = build_linear_probe().fit(embed_judged(classifier, corpus, train)[0], labels)
    wanted = probe.predict_proba(embed_judged(classifier, corpus, test)[0]).argmax(1)
    assert np.array_equal(predict_clips(classifier, corpus, test).argmax(1), wanted)


@pytest.mark.parametrize("strategy", ["frozen", "full", "head_first", "lora"])
def test_it_begins_as_the_probe_and_keeps_it_where_nothing_is_better(
    strategy: str, prepared: Path, encoder: Path, tmp_path: Path
) -> None:
    """A learning rate of next to nothing changes nothing, so the first look stays the best."""
    more = [f"encoder={encoder}", "train.lr=1e-12"]
    run_finetune(configure(prepared, *more, f"strategy={strategy}"), tmp_path / "first")
    run_finetune(configure(prepared, *more, "strategy=probe"), tmp_path / "probe")
    corpus = PreparedCorpus.load(prepared)
    test = corpus.indices(corpus.folds(PROTOCOL).fold(1).test)
    answers = [
        predict_clips(load_classifier(tmp_path / name), corpus, test) for name in ("first", "probe")
    ]
    assert np.abs(answers[0] - answers[1]).max() < 1e-5
    assert '"best_step": 0' in (tmp_path / "first" / "run.json").read_text()


def test_the_probe_is_left_for_what_is_better_by_more_than_noise(
    prepared: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 validation clips; five more right answers are what chance brings once in 32 times."""
    worse, better = ([4, 6, 9, 5], 0), ([4, 6, 11, 12], 6)
    for strategy, (right, best) in itertools.product(("head_first", "full"), (worse, better)):
        monkeypatch.setattr("finetune.learning.predict_clips", Answering(iter(right)))
        output = tmp_path / f"{strategy} {best}"
        run_finetune(configure(prepared, f"encoder={encoder}", f"strategy={strategy}"), output)
        assert f'"best_step": {best}' in (output / "run.json").read_text()


@pytest.mark.parametrize("average", [0, 0.3])
def test_full_fine_tuning_learns_on_from_a_head_of_its_own(
    average: float, prepared: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe is looked at only: with it or without, the same steps are taken."""
    answering = Answering(iter([0, 8, 9, 10]))
    monkeypatch.setattr("finetune.learning.predict_clips", answering)
    kept: dict[bool, dict[str, torch.Tensor]] = {}
    for keep in (True, False):
        settings = [f"keep_probe={str(keep).lower()}", f"average_share={average}"]
        more = [f"encoder={encoder}", *(f"strategy.{setting}" for setting in settings)]
        run_finetune(configure(prepared, *more), tmp_path / str(keep))
        assert '"best_step": 6' in (tmp_path / str(keep) / "run.json").read_text()
        kept[keep] = load_file(tmp_path / str(keep) / "model.safetensors")
        answering.right = iter([8, 9, 10])
    assert kept[True].keys() == kept[False].keys()
    assert all(torch.equal(weight, kept[False][name]) for name, weight in kept[True].items())


@pytest.mark.parametrize(("last", "best"), [(8, 0), (12, 6)])
def test_a_resumed_run_still_knows_its_probe(
    last: int,
    best: int,
    prepared: Path,
    encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it holds the last look against is the probe that the run before has kept."""
    answering = Answering(iter([4, 5, 6, 7]))
    monkeypatch.setattr("finetune.learning.predict_clips", answering)
    config, output = configure(prepared, f"encoder={encoder}", "strategy=full"), tmp_path / "run"
    run_finetune(config, output)
    probe = load_file(output / "best-00000000" / "model.safetensors")
    newest = sorted((output / "checkpoints").glob("step-*"))[-1]
    (newest / "state.json").unlink()
    (output / "run.json").unlink()
    answering.right, answering.asked = iter([4, last]), []
    run_finetune(config, output, resume=True)
    assert next(answering.right, None) is None
    assert torch.equal(answering.asked[0].head.linear.weight, probe["head.linear.weight"])
    assert not torch.equal(answering.asked[1].head.linear.weight, probe["head.linear.weight"])
    assert f'"best_step": {best},' in (output / "run.json").read_text()


def test_a_run_that_was_killed_at_its_first_look_looks_again_and_logs_it_once(
    prepared: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, output = configure(prepared, f"encoder={encoder}", "strategy=full"), tmp_path / "run"

    def kill(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("ssl_audio.training._accumulate", kill)
        run_finetune(config, output)
    assert '"step": 0' in (output / "metrics.jsonl").read_text()
    run_finetune(config, output, resume=True)
    assert (output / "metrics.jsonl").read_text().count('"step": 0,') == 1


def test_from_scratch_there_is_no_probe_to_keep(prepared: Path, tmp_path: Path) -> None:
    run_finetune(configure(prepared, "strategy=full"), tmp_path / "run")
    assert '"step": 0' not in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_lora_changes_attention_only_and_merges_to_the_same_answers() -> None:
    classifier = build_classifier()
    before = {name: value.clone() for name, value in classifier.encoder.state_dict().items()}
    config = ClassifierConfig(encoder=Path("x"), strategy=LoraConfig(rank=2, dropout=0.0))
    choose_learning_weights(classifier, config)
    learning = {name for name, weight in classifier.named_parameters() if weight.requires_grad}
    assert all("lora_" in name or name.startswith("head.") for name in learning)
    assert sum("lora_" in name for name in learning) == 3 * 2 * 2
    waveform = 0.1 * torch.randn(6, 16_000)
    optimizer = torch.optim.Adam([w for w in classifier.parameters() if w.requires_grad], 0.02)
    for _ in range(3):
        optimizer.zero_grad()
        classifier(waveform).logits.square().sum().backward()
        optimizer.step()
    plain = without_lora(classifier)
    with torch.no_grad():
        assert torch.allclose(plain(waveform).logits, classifier(waveform).logits, atol=1e-4)
    changed = {
        name
        for name, value in plain.encoder.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {
        f"blocks.{n}.attention.{part}.weight" for n in range(3) for part in ("qkv", "output")
    }
    assert type(plain.encoder) is type(build_classifier().encoder)


def test_lora_runs_and_leaves_a_plain_model(prepared: Path, encoder: Path, tmp_path: Path) -> None:
    config = configure(prepared, f"encoder={encoder}", "strategy={kind: lora, rank: 2}")
    run_finetune(config, tmp_path / "run")
    assert isinstance(load_classifier(tmp_path / "run"), AudioClassifier)
    with pytest.raises(ConfigError, match="name one with encoder"):
        configure(prepared, "strategy=lora")


def test_lora_without_peft_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(ValueError, match=r"pip install 'ssl-audio\[lora\]'"):
        add_lora(build_classifier().encoder, LoraConfig())


def test_the_average_follows_as_the_formula_says() -> None:
    classifier = build_classifier()
    average = WeightAverage(classifier, share=0.1)
    slow = classifier.head.linear.bias.detach().clone()
    for step in range(1, 30):
        with torch.no_grad():
            classifier.head.linear.bias.add_(torch.randn(3))
            classifier.head.norm.num_batches_tracked.add_(1)
        average.follow(classifier, step, max_steps=100)
        decay = min(1 - 1 / 10, (1 + step) / (10 + step))
        slow = decay * slow + (1 - decay) * classifier.head.linear.bias.detach()
    assert torch.allclose(average.average.head.linear.bias, slow, atol=1e-6)
    assert average.average.head.norm.num_batches_tracked == 29


@pytest.mark.slow
def test_averaged_runs_resume_exactly(
    prepared: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest look is the best, so that what is kept has learnt."""
    monkeypatch.setattr("ssl_audio.measuring._is_best", lambda *_: True)
    more = [f"encoder={encoder}", "strategy={kind: full, average_share: 0.3}", "level=weighted"]
    more += ["train.max_steps=4", "evaluate_every=4"]
    run_finetune(configure(prepared, *more), tmp_path / "whole")
    run_finetune(configure(prepared, *more), tmp_path / "parts")
    newest = sorted((tmp_path / "parts" / "checkpoints").glob("step-*"))[-1]
    (newest / "state.json").unlink()
    (tmp_path / "parts" / "run.json").unlink()
    run_finetune(configure(prepared, *more), tmp_path / "parts", resume=True)
    ours, theirs = (load_file(tmp_path / n / "model.safetensors") for n in ("parts", "whole"))
    assert all(torch.equal(ours[name], weight) for name, weight in theirs.items())
    assert '"best_step": 4' in (tmp_path / "parts" / "run.json").read_text()


@pytest.mark.parametrize(
    ("level", "rates"),
    [
        ("last", [1, 0.5, 0.25, 0.125, 0.0625]),
        ("weighted", [1, 0.5, 0.25, 0.125, 0.0625]),
        (2, [1, 0.5, 0.25, 0.125]),
        (0, [1, 0.5]),
    ],
)
def test_the_rate_falls_from_the_level_that_the_head_reads(
    level: int | str, rates: list[float]
) -> None:
    """The encoder has three blocks, and its patches; blocks above the level learn nothing."""
    classifier = build_classifier(level=level)
    config = ClassifierConfig(encoder=Path("x"), level=level, strategy=FullConfig(layer_decay=0.5))
    choose_learning_weights(classifier, config)
    groups = group_parameters(config, classifier)
    assert sorted({group["lr_scale"] for group in groups}, reverse=True) == rates
    learning = {weight for weight in classifier.parameters() if weight.requires_grad}
    assert {weight for group in groups for weight in group["params"]} == learning


@pytest.mark.parametrize("level", [0, 2, "weighted", "last"])
@pytest.mark.parametrize("windows", [None, {"seconds": 0.7, "hop_seconds": 0.5}])
def test_any_level_reads_clips_of_any_length_alike_in_any_batch(
    level: int | str, windows: dict[str, float] | None
) -> None:
    """Longer than ``max_seconds``, shorter than a patch, alone or together."""
    classifier = build_classifier(level=level, windows=windows, max_seconds=2.0)
    torch.manual_seed(1)
    lengths = torch.tensor([48_000, 16_000, 500, 23_456])
    waveform = 0.1 * torch.randn(4, 48_000)
    with torch.no_grad():
        together = classifier.probabilities(waveform, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = classifier.probabilities(waveform[row : row + 1, :length])
            assert torch.allclose(together[row], alone[0], atol=1e-5)
    if isinstance(level, int):
        output = classifier.encoder(waveform[1:2, :16_000], output_hidden_states=True)
        tokens = output.hidden_states[level]
        wanted = torch.cat([tokens.mean(1), (tokens.var(1, correction=0) + 1e-6).sqrt()], 1)
        assert torch.allclose(classifier.embed(waveform[1:2, :16_000]), wanted, atol=1e-5)


def test_the_level_is_the_one_that_a_probe_reads_best_on_validation_clips(
    prepared: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of levels 0 to 4, the second and the third are equally good."""
    fold = PreparedCorpus.load(prepared).folds(PROTOCOL).fold(1)
    asked = []

    def score(_: str, train: Any, labels: Any, values: Any, truth: Any) -> float:
        asked.append((len(train), len(labels), len(values), len(truth)))
        return 0.9 if len(asked) - 1 in (2, 3) else 0.4

    monkeypatch.setattr("finetune.learning.score_between", score)
    config = configure(prepared, f"encoder={encoder}", "strategy=probe", "level=chosen")
    run_finetune(config, tmp_path / "run")
    assert load_classifier(tmp_path / "run").config.level == 2
    sizes = (len(fold.train), len(fold.train), len(fold.validation), len(fold.validation))
    assert asked == [sizes] * 5


@pytest.mark.parametrize(
    ("encoder", "strategy", "said"),
    [
        (None, "probe", "untrained, probe"),
        (None, "head_first", "from scratch, head first"),
        ("x", "frozen", "pretrained, frozen"),
    ],
)
def test_a_row_says_where_its_encoder_comes_from(
    encoder: str | None, strategy: str, said: str
) -> None:
    config = build_config(ClassifierConfig, {"encoder": encoder, "strategy": strategy})
    assert config.start == said


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (["strategy=probe", "level=weighted"], "could learn level weighted"),
        (["strategy=probe", "mixing.kind=mixup"], "could learn mixing"),
        (["level=chosen", "head=multilabel"], "clips of one class each"),
        (["windows.combination=noisy_or"], "needs head multilabel"),
        (["pooling=cls", "level=3"], "of the last level only"),
        (["mixing.kind=mixup", "windows.seconds=1"], "mixing is of crops"),
        (["sampling=balanced", "head=multilabel"], "clips of one class each"),
        (["sampling=balanced", "head.class_balance=inverse"], "do the same: leave one out"),
        (["strategy=slow"], "strategy: .*'slow'"),
        (["head=multilabel"], "set head=single"),
    ],
)
def test_what_does_not_go_together_is_named(
    prepared: Path, tmp_path: Path, setting: list[str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        run_finetune(configure(prepared, *setting), tmp_path / "run")
