"""Signals that ask a run to stop: schedulers send one before they take a machine away."""

import signal

STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)
)
