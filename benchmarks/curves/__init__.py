"""How much a pretraining run has taught by when: probes of its checkpoints."""
