"""A fast test starts no server."""

from pathlib import Path

import pytest

from tests.real.program import Program


def test_fast_test_can_not_start_a_program(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"mark it: pytest\.mark\.real"):
        Program(["true"], log=tmp_path / "log").start()


@pytest.mark.real
def test_marked_one_can(tmp_path: Path) -> None:
    with Program(["true"], log=tmp_path / "log") as program:
        program.start()
