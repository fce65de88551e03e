"""Self-supervised audio encoders for emotion in voices."""
