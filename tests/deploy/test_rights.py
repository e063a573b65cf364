"""The rights that deploy/ gives are enough for everything, and none of them is there for nothing."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fake_kubernetes.documents import Json, Object, items, mapping, text
from tests.deploy.features import (
    AdoptsSecretsOfOthers,
    ChangesTheType,
    CountsEvents,
    Feature,
    FollowsVault,
    ForcesSync,
    MakesSecrets,
    MergesIntoSecretsOfOthers,
    RecordsEvents,
    RemovesTheSecretOfTheFormerName,
    RestartsDaemonSets,
    RestartsDeployments,
    RestartsStatefulSets,
    TakesOffTheFinalizerOfTheOriginal,
    TakesOverSecretsOfTheOriginal,
    UndoesEdits,
    WritesTheStatus,
)
from tests.deploy.installation import HOME, SHOP, Installation, Replica
from tests.real.kube_api import wait_until

NEEDS: list[tuple[str, str, type[Feature]]] = [
    ("secretdefinitions", "get", ChangesTheType),
    ("secretdefinitions", "list", MakesSecrets),
    ("secretdefinitions", "watch", MakesSecrets),
    ("secretdefinitions", "patch", TakesOffTheFinalizerOfTheOriginal),
    ("secretdefinitions/status", "patch", WritesTheStatus),
    ("secrets", "get", TakesOverSecretsOfTheOriginal),
    ("secrets", "list", MakesSecrets),
    ("secrets", "watch", UndoesEdits),
    ("secrets", "create", MakesSecrets),
    ("secrets", "patch", FollowsVault),
    ("secrets", "delete", RemovesTheSecretOfTheFormerName),
    ("events", "create", RecordsEvents),
    ("events", "patch", CountsEvents),
    ("deployments", "get", RestartsDeployments),
    ("deployments", "patch", RestartsDeployments),
    ("statefulsets", "get", RestartsStatefulSets),
    ("statefulsets", "patch", RestartsStatefulSets),
    ("daemonsets", "get", RestartsDaemonSets),
    ("daemonsets", "patch", RestartsDaemonSets),
    ("leases", "get", MakesSecrets),
    ("leases", "create", MakesSecrets),
    ("leases", "patch", MakesSecrets),
]
"""Each right, and what does not work without it."""
FEATURES: list[type[Feature]] = [
    *dict.fromkeys(need for _, _, need in NEEDS),
    AdoptsSecretsOfOthers,
    MergesIntoSecretsOfOthers,
    ForcesSync,
]

ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces"
LEASE: Object = {
    "apiVersion": "coordination.k8s.io/v1",
    "kind": "Lease",
    "metadata": {"name": "5ac9a181.secrets-manager.tuenti.io", "namespace": HOME},
}
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases"
TAKEN_WITHIN = 25.0
"""Seconds; more than a lease lasts that a killed replica left behind."""


def role_with(here: Installation, resource: str) -> tuple[str, list[Json]]:
    """The Role that gives rights to a resource: its path and its rules."""
    home, name = (
        (HOME, "secrets-manager-leader-election") if resource == "leases" else (SHOP, "secrets-manager-controller")
    )
    path = f"{ROLES}/{home}/roles/{name}"
    return path, items(here.cluster.get(path), "rules")


def lacking(rules: list[Json], resource: str, verb: str) -> list[Json]:
    """The rules less one right; a rule without verbs is none."""
    less: list[Json] = [
        {**mapping(rule), "verbs": [one for one in items(rule, "verbs") if one != verb]}
        if resource in items(rule, "resources")
        else rule
        for rule in rules
    ]
    return [rule for rule in less if items(rule, "verbs")]


@contextmanager
def without(here: Installation, resource: str, verb: str) -> Generator[None]:
    path, rules = role_with(here, resource)
    here.cluster.patch(path, {"rules": lacking(rules, resource, verb)})
    try:
        yield
    finally:
        here.cluster.patch(path, {"rules": rules})


def refused(replica: Replica, resource: str, verb: str) -> bool:
    """Whether it has said which right it lacks."""
    return f'cannot {verb} resource \\"{resource}\\"' in replica.log


def counted_as_synced(replica: Replica) -> set[str]:
    """The Secrets whose last sync went well, by its metrics."""
    return set(
        re.findall(
            r'^secrets_manager_controller_last_sync_status{name="([^"]*)".*} 1\.0$',
            replica.answer("/metrics"),
            re.MULTILINE,
        )
    )


def free_lease(here: Installation, *, there: bool) -> None:
    name = text(LEASE, "metadata", "name")
    if here.cluster.find(f"{LEASES}/{name}"):
        here.cluster.delete(f"{LEASES}/{name}")
    if there:
        here.cluster.create(LEASE)


def test_the_table_names_every_right_that_is_given(namespaced: Installation) -> None:
    given = [
        (str(resource), str(verb))
        for group in ("secrets", "leases")
        for rule in role_with(namespaced, group)[1]
        for resource in items(rule, "resources")
        for verb in items(rule, "verbs")
    ]

    assert sorted((resource, verb) for resource, verb, _ in NEEDS) == sorted(given)


@pytest.mark.parametrize(
    ("resource", "verb", "feature"), [pytest.param(*need, id=f"{need[1]} {need[0]}") for need in NEEDS]
)
def test_without_a_right_something_fails_that_works_again_with_it(
    namespaced: Installation, tmp_path: Path, resource: str, verb: str, feature: type[Feature]
) -> None:
    here, lacks = namespaced, (resource, verb)
    asked, other = feature(here), MakesSecrets(here)
    other.act()
    free_lease(here, there=lacks != ("leases", "create"))
    with here.replica(tmp_path) as replica:
        with without(here, resource, verb):
            replica.start()
            if verb in ("list", "watch") or resource == "leases":  # needed from the start on
                replica.wait_until(lambda: refused(replica, *lacks), seconds=TAKEN_WITHIN)
            else:
                replica.wait_until(lambda: replica.leads, seconds=TAKEN_WITHIN)
            if verb == "watch":
                wait_until(other.seen)

            asked.act()

            wait_until(lambda: refused(replica, *lacks))
            if verb == "watch":  # a later change of another sort arrives, this one has not
                other.act()
                wait_until(other.seen)
            assert not asked.seen()

        asked.act()

        wait_until(asked.seen, seconds=TAKEN_WITHIN)
        assert replica.terminate() == 0


def test_cluster_wide_everything_works_with_these_rights_and_no_others(
    cluster_wide: Installation, tmp_path: Path
) -> None:
    everything_works(cluster_wide, tmp_path)


def test_namespaced_everything_works_with_these_rights_and_no_others(namespaced: Installation, tmp_path: Path) -> None:
    everything_works(namespaced, tmp_path)


def everything_works(here: Installation, folder: Path) -> None:
    with here.replica(folder) as replica:
        replica.start()
        replica.wait_until(lambda: replica.leads, seconds=TAKEN_WITHIN)

        features = [feature(here) for feature in FEATURES]
        for asked in features:
            asked.act()
            wait_until(asked.seen)

        wait_until(lambda: {asked.secret for asked in features} <= counted_as_synced(replica))
        assert replica.answer("/readyz").startswith("ok")
        assert "is forbidden" not in replica.log
        assert here.credentials.secret_id not in replica.log
        assert replica.terminate() == 0
