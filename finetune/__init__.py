"""Labels, heads, supervised training, evaluation and prediction on top of an encoder."""
