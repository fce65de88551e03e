"""Tiny speech encoders with random weights, saved as checkpoints are, and clips for them."""

import numpy as np
import torch
import transformers

from benchmarks.systems.base import LabelledClips

CLASSES = ("high", "low", "mid")
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
CONVOLUTIONS = {"conv_dim": (16,) * 7, "num_conv_pos_embedding_groups": 2}
KINDS = ("Wav2Vec2", "Hubert", "WavLM", "Data2VecAudio")
WHISPER = {
    "d_model": 32,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 64,
    "vocab_size": 100,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}


def save(folder, kind="Wav2Vec2", do_normalize=True, attention_mask=False, **changes):
    """Of those that hear waveforms."""
    torch.manual_seed(3)
    config = getattr(transformers, f"{kind}Config")(**{**SHAPE, **CONVOLUTIONS, **changes})
    getattr(transformers, f"{kind}Model")(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(
        do_normalize=do_normalize, return_attention_mask=attention_mask
    ).save_pretrained(folder)
    return folder


def save_whisper(folder, seconds=30):
    torch.manual_seed(3)
    config = transformers.WhisperConfig(**WHISPER, max_source_positions=50 * seconds)
    transformers.WhisperModel(config).save_pretrained(folder)
    transformers.WhisperFeatureExtractor(chunk_length=seconds).save_pretrained(folder)
    return folder


def save_ast(folder, num_columns=128, **changes):
    torch.manual_seed(3)
    config = transformers.ASTConfig(**SHAPE, max_length=num_columns, **changes)
    transformers.ASTModel(config).save_pretrained(folder)
    transformers.ASTFeatureExtractor(max_length=num_columns).save_pretrained(folder)
    return folder


def noise(num_samples, level=3000):
    rng = np.random.default_rng(num_samples)
    return np.round(rng.normal(0, level, num_samples)).astype(np.int16)


def labelled(corpus, speakers) -> LabelledClips:
    chosen = [i for i, clip in enumerate(corpus.clips) if clip.speaker in speakers]
    return LabelledClips(
        [corpus.views[i] for i in chosen],
        np.array([CLASSES.index(corpus.clips[i].emotion) for i in chosen]),
        tuple(corpus.clips[i].speaker for i in chosen),
    )
