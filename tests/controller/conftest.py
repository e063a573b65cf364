"""What component tests need to be repeatable."""

import random

import pytest


@pytest.fixture(autouse=True)
def repeatable_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trio shuffles the tasks that may run next. Two private names make that follow from a seed; hypothesis' plugin
    for Trio sets the same two.
    """
    monkeypatch.setattr("trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING", True)
    monkeypatch.setattr("trio._core._run._r", random.Random(0))
