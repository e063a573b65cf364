"""How a definition stands, in one word: derived from its last outcome, or else from its status. Pure.

It costs a microsecond, where `next_status` costs twenty: a view of ten thousand definitions asks for all of them.
"""

from enum import StrEnum
from typing import NamedTuple

from secrets_manager.controller.definition import SecretDefinition
from secrets_manager.controller.status import InSync, SyncState


class State(StrEnum):
    """In the order of the status page."""

    FAILING = "Failing"
    PENDING = "Pending"
    IN_SYNC = "InSync"


class Standing(NamedTuple):
    """The message is that of a problem, or what Kubernetes warned of; else empty."""

    state: State
    reason: str = ""
    message: str = ""


PENDING, IN_SYNC = Standing(State.PENDING), Standing(State.IN_SYNC)


def standing(definition: SecretDefinition, state: SyncState | None) -> Standing:
    """Return how a definition stands. Pending: not reconciled since it was created or edited."""
    if state is not None and state.generation == definition.metadata.generation:
        outcome = state.outcome
        if isinstance(outcome, InSync):
            return Standing(State.IN_SYNC, message=outcome.warning) if outcome.warning else IN_SYNC
        return Standing(State.FAILING, outcome.reason, outcome.message)
    ready = definition.status.ready
    if ready is None or definition.status.observed_generation != definition.metadata.generation:
        return PENDING
    if ready.status == "True":
        return IN_SYNC
    return Standing(State.FAILING, ready.reason, ready.message)
