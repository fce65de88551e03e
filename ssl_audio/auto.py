"""Importing this registers the encoder with transformers' Auto classes; no other import does."""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

from ssl_audio.encoder import AudioEncoder, AudioEncoderFeatureExtractor
from ssl_audio.encoder_config import AudioEncoderConfig

AutoConfig.register(AudioEncoderConfig.model_type, AudioEncoderConfig)
AutoModel.register(AudioEncoderConfig, AudioEncoder)
AutoFeatureExtractor.register(AudioEncoderConfig, AudioEncoderFeatureExtractor)
