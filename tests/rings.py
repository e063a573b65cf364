"""Which tests are fast, and which need a real server: `just fast` leaves out what has the mark `real`.

Whatever asks for a real part by its fixture is marked here; a test that starts one in another way says so itself. A
test without the mark that starts a program fails, so none can slip into the fast ring.
"""

import gc
from collections.abc import Generator

import pytest

from tests.real.program import may_start

REAL_PARTS = {"control_plane", "own_control_plane", "openbao", "openbao_alone", "key_vault", "key_vault_alone"}
"""The fixtures of tests/real."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and not REAL_PARTS.isdisjoint(item.fixturenames):
            item.add_marker(pytest.mark.real)


def pytest_collection_finish() -> None:
    """Keep the garbage collector from visiting all imported modules each time: a tenth of the time."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    token = may_start.set(item.get_closest_marker("real") is not None)
    try:
        return (yield)
    finally:
        may_start.reset(token)
