"""Examples of reports of the status page."""

from datetime import UTC, datetime, timedelta

import msgspec

from secrets_manager.controller.standing import State
from secrets_manager.statuspage.report import (
    Backend,
    Counts,
    Paging,
    Queue,
    Replica,
    Report,
    Row,
    SourceShown,
    Token,
)

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def ago(seconds: float) -> str:
    return f"{NOW - timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


def row(
    name: str = "db",
    *,
    namespace: str = "shop",
    state: State = State.IN_SYNC,
    reason: str = "Synced",
    message: str = "Secret db is in sync",
    warning: str = "",
    sources: tuple[SourceShown, ...] = (SourceShown(path="secret/data/shop/db", version=7),),
    last_in_sync: str | None = ago(4),
    last_sync_time: str | None = ago(200_000),
) -> Row:
    return Row(
        namespace=namespace,
        name=name,
        state=state,
        reason=reason,
        message=message,
        since=ago(7_300),
        warning=warning,
        secret_name=name,
        sources=sources,
        more_sources=0,
        last_in_sync=last_in_sync,
        last_sync_time=last_sync_time,
    )


UP = Backend(kind="vault", up=True, since=ago(400_000), message="", token=Token(valid=True, expires_at=ago(-2_400)))
DOWN = Backend(
    kind="vault",
    up=False,
    since=ago(95),
    message="Vault is sealed: unseal it",
    token=Token(valid=False, expires_at=None),
)
LEADER = Replica(
    identity="secrets-manager-6f7c9d5b8-x2x9k_0a1b2c3d4e5f6071", version="3.0.0", role="leader", unwatched=()
)
STANDBY = Replica(
    identity="secrets-manager-6f7c9d5b8-abcde_0a1b2c3d4e5f6071",
    version="3.0.0",
    role="standby",
    unwatched=("can't watch secrets in bank: 403 Forbidden: secrets is forbidden",),
)


def report(
    *rows: Row,
    replica: Replica = LEADER,
    backend: Backend = UP,
    counts: Counts | None = None,
    paging: Paging | None = None,
) -> Report:
    of = {state: sum(row.state is state for row in rows) for state in State}
    return Report(
        generated_at=ago(0),
        replica=replica,
        backend=backend,
        queue=Queue(waiting=3, in_progress=2, longest_running_seconds=0.25),
        counts=counts or Counts(failing=of[State.FAILING], pending=of[State.PENDING], in_sync=of[State.IN_SYNC]),
        paging=paging or Paging(number=1, size=100, pages=1, matching=len(rows)),
        definitions=rows,
    )


def troubled() -> Report:
    """With a backend that is down, a namespace that is not watched, and no row."""
    return report(replica=msgspec.structs.replace(STANDBY, role="leader"), backend=DOWN)


def varied() -> Report:
    """With a row of each sort."""
    return report(
        row(
            "payments-gateway",
            namespace="bank",
            state=State.FAILING,
            reason="SourceNotFound",
            message="keysMap.api-key: secret/data/bank/payments has no key `apikey`; it has `api_key`: correct `key`",
            sources=(
                SourceShown(path="secret/data/bank/payments", version=12),
                SourceShown(path="secret/data/bank/shared/certificates/ingress", version=3),
            ),
            last_in_sync=ago(7_350),
        ),
        row(
            "tls",
            state=State.FAILING,
            reason="SecretNotOwned",
            message="Secret tls exists, and was not created by this definition: choose another spec.name, or set the "
            "annotation secrets-manager.tuenti.io/adopt to true",
            sources=(SourceShown(path="secret/data/shop/tls", version=None),),
            last_in_sync=None,
            last_sync_time=None,
        ),
        row("mail", state=State.PENDING, reason="", message="", last_in_sync=None, last_sync_time=None,
            sources=(SourceShown(path="secret/data/shop/mail", version=None),)),
        row("db"),
        row("registry", warning="a restart of Deployment web failed: 403 Forbidden, and is tried again"),
        *(row(f"service-{number:02}", namespace=f"team-{number % 3}", last_in_sync=ago(number),
              sources=(SourceShown(path=f"secret/data/team-{number % 3}/service-{number:02}", version=number),))
          for number in range(1, 20)),
        counts=Counts(failing=2, pending=1, in_sync=318),
        paging=Paging(number=2, size=100, pages=4, matching=321),
    )  # fmt: skip
