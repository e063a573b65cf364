"""Check the rights in Kubernetes: those that deploy/ gives."""

from collections.abc import Iterable, Sequence
from itertools import groupby

import trio

from secrets_manager.controller.definition import SecretDefinition
from secrets_manager.controller.rules import GROUP
from secrets_manager.controller.spec import Spec
from secrets_manager.controller.workload import WORKLOADS
from secrets_manager.doctor.checkup import Result
from secrets_manager.doctor.finding import Finding, failure, ok, warning
from secrets_manager.kube.authorization import Right, is_allowed
from secrets_manager.kube.client import KubeClient
from secrets_manager.kube.errors import KubeError

RIGHTS = "rights"
LEASE_RIGHTS = "lease-rights"
REVIEW_RIGHTS = "review-rights"
RESTART_RIGHTS = "restart-rights"

CONCURRENCY = 8
"""Requests at a time."""


def _rights(group: str, resource: str, *verbs: str) -> tuple[Right, ...]:
    return tuple(Right(group, resource, verb) for verb in verbs)


WATCHED = (
    *_rights(GROUP, "secretdefinitions", "get", "list", "watch", "patch"),
    *_rights(GROUP, "secretdefinitions/status", "patch"),
    *_rights("", "secrets", "get", "list", "watch", "create", "patch", "delete"),
    *_rights("events.k8s.io", "events", "create", "patch"),
)
"""In every watched namespace."""
LEASES = _rights("coordination.k8s.io", "leases", "get", "create", "patch")
"""In the namespace of the Lease."""
REVIEWS = (
    *_rights("authentication.k8s.io", "tokenreviews", "create"),
    *_rights("authorization.k8s.io", "subjectaccessreviews", "create"),
)
"""In the whole cluster, with --metrics-auth."""
RESTARTS = {kind: _rights("apps", workload.plural, "get", "patch") for kind, workload in WORKLOADS.items()}
"""For definitions with rolloutRestartTargets of this kind, in their namespaces."""


async def check_watched(client: KubeClient, namespace: str) -> Result[None]:
    """Check the rights in a watched namespace; in all of them for an empty one.

    Raises:
        KubeError: The request failed.
    """
    lacking = await _lacking(client, WATCHED, namespace)
    where = f"namespace {namespace}" if namespace else "all namespaces"
    role = "Role" if namespace else "ClusterRole"
    return Result(_judge(RIGHTS, WATCHED, lacking, where, f"the {role} secrets-manager and its binding"))


async def check_lease(client: KubeClient, namespace: str) -> Result[None]:
    """Check the rights to the Lease.

    Raises:
        KubeError: The request failed.
    """
    lacking = await _lacking(client, LEASES, namespace)
    role = "the Role secrets-manager-leader-election and its binding"
    return Result(_judge(LEASE_RIGHTS, LEASES, lacking, f"namespace {namespace}", role))


async def check_reviews(client: KubeClient) -> Result[None]:
    """Check the rights to review the tokens of those who ask for metrics.

    Raises:
        KubeError: The request failed.
    """
    lacking = await _lacking(client, REVIEWS, "")
    role = "the ClusterRole secrets-manager-reviewer and its binding"
    return Result(_judge(REVIEW_RIGHTS, REVIEWS, lacking, "the whole cluster", role))


async def check_restarts(client: KubeClient, definitions: Iterable[SecretDefinition]) -> Result[None]:
    """Check the rights to restart the workloads that definitions name: nothing is found where they name none.

    Raises:
        KubeError: The request failed.
    """
    kinds = {
        (definition.key.namespace, target.kind)
        for definition in definitions
        if isinstance(definition.spec, Spec)
        for target in definition.spec.rollout_restart_targets
        if target.kind in WORKLOADS
    }
    findings: list[Finding] = []
    for namespace, pairs in groupby(sorted(kinds), key=lambda pair: pair[0]):
        wanted = [right for _, kind in pairs for right in RESTARTS[kind]]
        if lacking := await _lacking(client, wanted, namespace):
            findings.append(
                warning(
                    RESTART_RIGHTS,
                    f"namespace {namespace}: definitions name rolloutRestartTargets, but this user may not "
                    f"{_listed(lacking)}",
                    fix="set rbac.rolloutRestart of the chart, or apply the component deploy/rollout-restart",
                )
            )
    if kinds and not findings:
        findings.append(ok(RESTART_RIGHTS, "the workloads that definitions name can be restarted"))
    return Result(findings)


def _judge(check: str, wanted: Sequence[Right], lacking: Sequence[Right], where: str, role: str) -> list[Finding]:
    if not lacking:
        return [ok(check, f"{where}: all {len(wanted)} rights")]
    return [
        failure(
            check,
            f"{where}: this user may not {_listed(lacking)}",
            fix=f"add what is missing to {role}, as in deploy/, by kubectl apply",
        )
    ]


async def _lacking(client: KubeClient, rights: Sequence[Right], namespace: str) -> list[Right]:
    """Return the rights that this client lacks, in order.

    Raises:
        KubeError: The request failed.
    """
    allowed: set[Right] = set()
    errors: list[KubeError] = []
    limiter = trio.CapacityLimiter(CONCURRENCY)

    async def ask(right: Right) -> None:
        async with limiter:
            try:
                if not errors and await is_allowed(client, right, namespace=namespace):
                    allowed.add(right)
            except KubeError as error:
                errors.append(error)

    async with trio.open_nursery() as nursery:
        for right in rights:
            nursery.start_soon(ask, right)
    if errors:
        raise errors[0]
    return [right for right in rights if right not in allowed]


def _listed(rights: Iterable[Right]) -> str:
    """Return such as `create, patch secrets; get leases`."""
    groups = groupby(rights, key=lambda right: right.resource)
    return "; ".join(f"{', '.join(right.verb for right in group)} {resource}" for resource, group in groups)
