"""Importing this registers the classifier with transformers' Auto classes; no other import does."""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification

import ssl_audio.auto  # noqa: F401  registers the encoder
from finetune.model import AudioClassifier, AudioClassifierConfig
from ssl_audio.encoder import AudioEncoderFeatureExtractor

AutoConfig.register(AudioClassifierConfig.model_type, AudioClassifierConfig)
AutoModelForAudioClassification.register(AudioClassifierConfig, AudioClassifier)
AutoFeatureExtractor.register(AudioClassifierConfig, AudioEncoderFeatureExtractor)
