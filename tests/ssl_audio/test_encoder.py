import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModel

import ssl_audio.auto  # noqa: F401
from ssl_audio.encoder import AudioEncoder, AudioEncoderFeatureExtractor
from ssl_audio.encoder_config import SIZES, AudioEncoderConfig


def build(**changes: object) -> AudioEncoder:
    torch.manual_seed(0)
    config = AudioEncoderConfig.of_size("tiny", **{"num_hidden_layers": 3, **changes})
    encoder = AudioEncoder(config).eval()
    encoder.set_normalisation(torch.linspace(-8, -4, 64), torch.linspace(2, 4, 64))
    return encoder


@pytest.fixture(scope="module")
def encoder() -> AudioEncoder:
    return build()


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)) * 0.05


def test_sizes() -> None:
    with torch.device("meta"):
        counts = {
            size: AudioEncoder(AudioEncoderConfig.of_size(size)).num_parameters() for size in SIZES
        }
    assert counts == {"tiny": 5_388_288, "small": 21_393_408, "base": 85_254_144}


@pytest.mark.parametrize("patch_size", [(64, 4), (16, 16)])
@pytest.mark.parametrize("form", ["eager", "sdpa"])
def test_padding_and_batch_change_nothing(patch_size: tuple[int, int], form: str) -> None:
    encoder = build(patch_size=patch_size)
    encoder.set_attn_implementation(form)
    waveform = noise(4, 60_000)
    lengths = [60_000, 31_234, 5_000, 1]
    with torch.no_grad():
        batch = encoder(waveform, torch.tensor(lengths))
        embeddings = encoder.embed(waveform, torch.tensor(lengths))
        for row, length in enumerate(lengths):
            alone = encoder(waveform[row : row + 1, :length])
            valid = batch.last_hidden_state[row][~batch.padding_mask[row]]
            columns = max(1, -(-length // (160 * patch_size[1])))
            assert len(valid) == columns * 64 // patch_size[0]
            torch.testing.assert_close(valid, alone.last_hidden_state[0], atol=1e-5, rtol=0)
            torch.testing.assert_close(batch.cls[row], alone.cls[0], atol=1e-5, rtol=0)
            one = encoder.embed(waveform[row : row + 1, :length])
            torch.testing.assert_close(embeddings[row], one[0], atol=1e-5, rtol=0)


def test_both_forms_of_attention_agree(encoder: AudioEncoder) -> None:
    lengths = torch.tensor([20_000, 9_000])
    outputs = []
    for form in ("eager", "sdpa"):
        encoder.set_attn_implementation(form)
        with torch.no_grad():
            outputs.append(encoder(noise(2, 20_000), lengths).last_hidden_state)
    torch.testing.assert_close(outputs[0][0], outputs[1][0], atol=1e-5, rtol=0)


def test_saved_and_loaded_is_the_same(encoder: AudioEncoder, tmp_path: Path) -> None:
    encoder.save_pretrained(tmp_path)
    AudioEncoderFeatureExtractor().save_pretrained(tmp_path)
    loaded, info = AudioEncoder.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    auto = AutoModel.from_pretrained(tmp_path)
    assert type(auto) is AudioEncoder
    lengths = torch.tensor([20_000, 9_000])
    with torch.no_grad():
        expected = encoder(noise(2, 20_000), lengths)
        for other in (loaded, auto):
            output = other(noise(2, 20_000), lengths)
            assert torch.equal(output.last_hidden_state, expected.last_hidden_state)
            assert torch.equal(output.cls, expected.cls)
    assert torch.equal(auto.log_mel_mean, torch.linspace(-8, -4, 64))
    state, original = auto.state_dict(), encoder.state_dict()
    assert state.keys() == original.keys()
    assert all(torch.equal(state[name], original[name]) for name in state)


def test_feature_extractor_feeds_the_encoder(encoder: AudioEncoder, tmp_path: Path) -> None:
    encoder.save_pretrained(tmp_path)
    AudioEncoderFeatureExtractor().save_pretrained(tmp_path)
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path)
    clips = [noise(8_000).numpy(), noise(3_000).numpy()]
    batch = extractor(clips, sampling_rate=16_000)
    assert batch["num_samples"].tolist() == [8_000, 3_000]
    with torch.no_grad():
        assert encoder(**batch).last_hidden_state.shape == (2, 13, 192)
    assert extractor(clips[0], 16_000)["waveform"].shape == (1, 8_000)
    with pytest.raises(ValueError, match="must be 16000 Hz, got 44100"):
        extractor(clips, sampling_rate=44_100)
    with pytest.raises(ValueError, match="must be 'pt', got 'np'"):
        extractor(clips, sampling_rate=16_000, return_tensors="np")
    with pytest.raises(ValueError, match="mix to mono"):
        extractor([np.zeros((2, 100))], sampling_rate=16_000)


def test_unknown_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="knows no hiden_size"):
        AudioEncoderConfig(hiden_size=3)  # type: ignore[call-arg]
    AudioEncoderConfig().save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**written, "n_mel": 3}))
    with pytest.raises(ValueError, match="knows no n_mel"):
        AudioEncoderConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"patch_size": (60, 4)}, "mel dividing n_mels = 64"), ({"hidden_size": 190}, "multiple of")],
)
def test_impossible_shapes_are_named(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AudioEncoderConfig(**changes)  # type: ignore[arg-type]


def test_long_clips_are_windowed(encoder: AudioEncoder) -> None:
    short = build(max_seconds=2.0)
    waveform = noise(1, 7 * 16_000 + 123)
    with pytest.raises(ValueError, match="must not exceed 2 s, got 7.0 s"):
        short(waveform)
    with torch.no_grad():
        frames = short.encode_windows(waveform[0]).last_hidden_state[0]
        assert frames.shape == (-(-waveform.shape[1] // 640), 192)
        # A clip of just one window is the same either way.
        one = waveform[:, : 2 * 16_000]
        direct = short(one).last_hidden_state[0]
        windowed = short.encode_windows(one[0]).last_hidden_state[0]
        torch.testing.assert_close(windowed, direct)
    embedding = short.embed(waveform)
    torch.testing.assert_close(embedding[0], frames.mean(0))
    # Thirty seconds, the default limit, go through in one piece.
    assert encoder(noise(1, 30 * 16_000)).last_hidden_state.shape[1] == 750
