"""Compare the metrics of the replicas with what the servers hold."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from fake_kubernetes.documents import text
from fake_kubernetes.storage import Key
from tests.simulation.bounds import verification
from tests.simulation.replica import Replica
from tests.simulation.servers import DEFINITIONS

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

STALLED = {"DefinitionInvalid", "DefinitionTerminating", "PathNotAllowed", "SecretNotOwned"}
"""The reasons that no new try can change."""


def differences(simulation: "Simulation", leader: Replica, reasons: Mapping[Key, str]) -> Iterator[str]:
    """Describe the differences. `reasons` are those of the definitions."""
    yield from _of_definitions(simulation, leader, reasons)
    if reasons and leader.samples("secrets_manager_backend_up") != {(): 1.0}:
        yield "backend_up is not 1"
    oldest = leader.samples("secrets_manager_controller_max_verification_age_seconds").get(("Synced",), 0.0)
    if oldest > (bound := verification(simulation.plan)):
        yield f"a definition in sync was verified {oldest:.1f} s ago, more than {bound:.1f}"
    for replica in simulation.replicas:
        for problem in _of_process(simulation, replica, leads=replica is leader):
            yield f"replica {replica.number} {problem}"


def _of_definitions(simulation: "Simulation", leader: Replica, reasons: Mapping[Key, str]) -> Iterator[str]:
    """Expect a series for each desired Secret and each definition that is not ready, and their number by reason."""
    synced: dict[tuple[str, ...], float] = {}
    for key, definition in simulation.kubernetes.objects(DEFINITIONS).items():
        place = (text(definition, "spec", "name"), key.namespace)
        synced[place] = min(synced.get(place, 1.0), float(reasons[key] == "Synced"))
    counts: Counter[tuple[str, ...]] = Counter((_state(reason), reason) for reason in reasons.values())
    failing: dict[tuple[str, ...], float] = {
        (key.namespace, key.name, reason): 1.0 for key, reason in reasons.items() if reason != "Synced"
    }
    for family, wanted in (("last_sync_status", synced), ("definitions", counts), ("definition_not_ready", failing)):
        found = leader.samples(f"secrets_manager_controller_{family}")
        found = {labels: value for labels, value in found.items() if value} if family == "definitions" else found
        if found != wanted:
            yield f"{family} is {found}, not {wanted}"


def _of_process(simulation: "Simulation", replica: Replica, *, leads: bool) -> Iterator[str]:
    """Expect that it watches, has a token, and says whether it leads."""
    for labels, up in replica.samples("secrets_manager_watch_up").items():
        if not up:
            yield f"does not watch {labels}"
    remaining = simulation.vault.longest_ttl + 1.0  # Vault rounds up what is granted
    for ttl in replica.samples("secrets_manager_vault_token_ttl").values():
        if not 0.0 < ttl <= remaining:
            yield f"has a token for {ttl:.1f} s; none lasts longer than {remaining:.1f} s"
    if set(replica.samples("leader_election_master_status").values()) != {float(leads)}:
        yield f"does not say whether it leads: {leads}"


def _state(reason: str) -> str:
    """Return what a reason means, to kstatus."""
    return "Ready" if reason == "Synced" else "Stalled" if reason in STALLED else "Reconciling"
