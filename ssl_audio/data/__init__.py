"""Corpora, prepared audio and folds."""
