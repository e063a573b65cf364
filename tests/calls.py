"""Count the calls that something makes: its work, on however busy a machine."""

import gc
import sys
from collections.abc import Callable
from types import FrameType


def calls(work: Callable[[], object]) -> int:
    """Return how many functions were called, those in C too."""
    count = 0

    def called(_frame: FrameType, event: str, _function: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    gc.disable()  # others have it call them back
    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(before)
        gc.enable()
    return count
