"""Choices by a short measurement do not depend on what else the machine does."""

import time

from ssl_audio import probing


def test_what_is_timed_takes_turns_and_the_best_of_each_counts(monkeypatch):
    now = 0.0
    calls: list[str] = []

    def take(name: str, seconds: float) -> None:
        nonlocal now
        now += seconds * (10 if len(calls) < 7 else 1)  # at first the machine is busy
        calls.append(name)

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    found = probing._best_seconds([lambda: take("a", 1.0), lambda: take("b", 2.0)], rounds=6)
    assert calls == ["a", "b"] * 6 and found == [1.0, 2.0]
