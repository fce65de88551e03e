"""Whose clips the constants of a front end come from, recomputed from the audio."""

import json

import numpy as np
import pytest

from ssl_audio.audit.command import Request, audit
from ssl_audio.build import build_encoder, save_encoder
from ssl_audio.data.manifest import write_manifest
from ssl_audio.data.prepared import PreparedCorpus
from ssl_audio.encoder_config import AudioEncoderConfig
from ssl_audio.errors import DataError

PROTOCOL = "synthetic-3/speakers6"


@pytest.fixture
def corpus(prepared):
    return PreparedCorpus.load(prepared)


def write_run(folder, corpus, measured, learnt=None, folds=PROTOCOL):
    """An encoder whose constants come from some clips, that says to have learnt from fold 2."""
    folder.mkdir()
    config = AudioEncoderConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    save_encoder(build_encoder(config, "sdpa", corpus, corpus.indices(measured)), folder)
    data = {"corpus": str(corpus.root), "folds": folds, "fold": 2}
    (folder / "run.json").write_text(json.dumps({"config": {"data": data}}))
    if learnt is not None:
        seen = [corpus.clips[index] for index in corpus.indices(learnt)]
        write_manifest(seen, folder / "pretraining.parquet")
    return folder


def judge(corpus, run):
    audited = audit(Request(source=corpus.root, run=run))
    findings = [finding for finding in audited.findings if finding.kind == "normalisation_leak"]
    return findings, audited


def test_constants_of_training_clips_are_clean(corpus, tmp_path):
    fold = corpus.folds(PROTOCOL).fold(2)
    for name, measured in (("a", fold.train), ("b", (*fold.train, *fold.validation))):
        findings, audited = judge(corpus, write_run(tmp_path / name, corpus, measured))
        assert findings == []
        assert f"the constants of {tmp_path / name}, recomputed" in audited.looked_at
    run = write_run(tmp_path / "pool", corpus, fold.train[:9], fold.train[:9])
    assert judge(corpus, run)[0] == []


def test_constants_of_test_clips_are_a_leak(corpus, tmp_path):
    fold = corpus.folds(PROTOCOL).fold(2)
    for name, measured in {
        "training and test clips": (*fold.train, *fold.test),
        "all clips of the corpus": [clip.clip_id for clip in corpus.clips],
        "the test clips": fold.test,
    }.items():
        run = write_run(tmp_path / name.replace(" ", "-"), corpus, measured)
        (finding,), _ = judge(corpus, run)
        assert finding.severity == "leak"
        assert (finding.protocol, finding.fold) == (PROTOCOL, 2)
        # Here every clip trains, validates or tests, so the last two populations are one.
        told = {name, "training, validation and test clips"}
        assert any(finding.evidence.endswith(f"the statistics of {one}") for one in told)


def test_a_tuned_encoder_keeps_the_constants_of_its_pretraining(corpus, tmp_path):
    fold = corpus.folds(PROTOCOL).fold(2)
    encoder = write_run(tmp_path / "encoder", corpus, (*fold.train, *fold.test))
    tuned = tmp_path / "tuned"
    tuned.mkdir()
    (tuned / "run.json").write_text(json.dumps({"config": {"encoder": str(encoder)}}))
    (finding,), _ = judge(corpus, tuned)
    assert str(encoder) in finding.evidence


def test_what_cannot_be_told_is_said(corpus, tmp_path):
    fold = corpus.folds(PROTOCOL).fold(2)
    for name, changes, message in (
        ("pool", {"folds": None}, "it learnt from a whole pool"),
        ("other", {"folds": "nobody/knows"}, "learnt from other clips: nobody/knows"),
    ):
        run = write_run(tmp_path / name, corpus, fold.train, **changes)
        findings, audited = judge(corpus, run)
        assert findings == [] and any(message in missed for missed in audited.missed)
    run = write_run(tmp_path / "odd", corpus, fold.train[:1])
    findings, audited = judge(corpus, run)
    assert findings == [] and any("fit neither" in missed for missed in audited.missed)
    lone = tmp_path / "clips.parquet"
    write_manifest(corpus.clips, lone)
    missed = audit(Request(source=lone, run=run)).missed
    assert any("brings no audio" in one for one in missed)


def test_a_run_without_a_model_is_a_mistake(corpus, tmp_path):
    fold = corpus.folds(PROTOCOL).fold(2)
    run = write_run(tmp_path / "run", corpus, fold.train)
    (run / "model.safetensors").write_bytes(np.zeros(9).tobytes())
    with pytest.raises(DataError, match="expected a model of ours, can't read it"):
        judge(corpus, run)
    (run / "model.safetensors").unlink()
    with pytest.raises(DataError, match="holds no model"):
        judge(corpus, run)
