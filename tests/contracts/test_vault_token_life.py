"""The lifecycle of tokens on a real OpenBao, with TTLs of seconds and frequent faults.

No read may fail, since for each there was a token, or a login that would have brought one. It lasts a few seconds; with
TOKEN_LIFE_SECONDS=600 and `pytest -s -o faulthandler_timeout=0` it lasts ten minutes and shows what went on.
"""

import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random

import httpx
import trio

from fake_kubernetes.documents import Json, text
from secrets_manager.backends import BackendError, Source
from secrets_manager.backends.vault.backend import VaultBackend, open_vault
from secrets_manager.config import VaultConfig
from tests.backends.vault.recorded import RecordedMetrics
from tests.real.openbao import OpenBao

SECONDS = float(os.environ.get("TOKEN_LIFE_SECONDS", "8"))
READERS = 4
BETWEEN_READS = 0.03
LONGEST_LULL = 1.5
"""Seconds between two events, at most. The shortest token has as much left when its replacement is due."""

ROLES: dict[str, dict[str, Json]] = {
    "short": {"token_ttl": "5s"},
    "max TTL": {"token_ttl": "5s", "token_max_ttl": "8s"},
    "periodic": {"token_period": "5s"},
    "batch": {"token_ttl": "5s", "token_type": "batch"},
    "of 50 uses": {"token_ttl": "60s", "token_num_uses": 50},
    "long": {"token_ttl": "3600s"},
}


class Life:
    """What happens to a role, its secret_ids and its tokens. Each method is one event; it blocks."""

    def __init__(self, bao: OpenBao, folder: Path, chance: Random) -> None:
        self._bao = bao
        self._chance = chance
        self._name = bao.fresh("life")
        self._policy = bao.fresh("life")
        self.secret_id_file = folder / "secret-id"
        self.role_id = bao.fresh("role-id")
        self.paths = [f"secret/data/{bao.fresh()}" for _ in range(2)]
        for path in self.paths:
            bao.write_kv(path, {"k": "v"})
        bao.policy(self._policy, *self.paths)
        self.token: Callable[[], str] = str
        self.happened: Counter[str] = Counter()
        self.role_changes()

    def next_event(self) -> None:
        events = (
            self.role_changes,
            self.role_is_made_anew,
            self.secret_id_is_rotated,
            self.secret_id_is_used_up,
            self.token_is_revoked,
            self.token_is_revoked_by_its_accessor,
            self.all_tokens_are_revoked,
            self.login_is_needed_just_after_another,
        )
        event = self._chance.choice(events)
        self.happened[event.__name__] += 1
        event()

    def role_changes(self) -> None:
        """To another kind of token for the logins to come."""
        kind = self._chance.choice(list(ROLES))
        self.happened[f"token {kind}"] += 1
        self._make_role(ROLES[kind])

    def role_is_made_anew(self) -> None:
        """Of its tokens none can be renewed meanwhile, and its secret_ids are gone."""
        self._bao.request("DELETE", f"auth/approle/role/{self._name}")
        self._make_role(ROLES["short"])

    def secret_id_is_rotated(self) -> None:
        old = self.secret_id_file.read_text()
        self._write_secret_id({})
        self._bao.request("POST", f"auth/approle/role/{self._name}/secret-id/destroy", {"secret_id": old})

    def secret_id_is_used_up(self) -> None:
        self._make_role(ROLES["short"])
        self._write_secret_id({"num_uses": 1})
        self._revoke_token()
        trio.from_thread.run(trio.sleep, 1)
        self._write_secret_id({})

    def token_is_revoked(self) -> None:
        self._revoke_token()

    def token_is_revoked_by_its_accessor(self) -> None:
        """Whose parent, so to speak, has revoked it: batch tokens have none."""
        if not (token := self.token()):  # Vault would take nothing for the token that asks
            return
        with suppress(httpx.HTTPStatusError):
            response = self._bao.request("POST", "auth/token/lookup", {"token": token})
            self._bao.request("POST", "auth/token/revoke-accessor", {"accessor": text(response, "data", "accessor")})

    def all_tokens_are_revoked(self) -> None:
        self._bao.revoke_tokens_of_approle()

    def login_is_needed_just_after_another(self) -> None:
        for _ in range(3):
            self._revoke_token()
            trio.from_thread.run(trio.sleep, 0.3)

    def _revoke_token(self) -> None:
        """Batch tokens can't be revoked, and this one may be spent by now."""
        with suppress(httpx.HTTPStatusError):
            self._bao.revoke_token(self.token())

    def _make_role(self, kind: dict[str, Json]) -> None:
        unset: dict[str, Json] = {
            "token_ttl": 0,
            "token_max_ttl": 0,
            "token_period": 0,
            "token_num_uses": 0,
            "token_type": "service",
        }
        given: dict[str, Json] = {"token_policies": [self._policy], "role_id": self.role_id}
        self._bao.request("POST", f"auth/approle/role/{self._name}", unset | given | kind)
        self._write_secret_id({})

    def _write_secret_id(self, limits: dict[str, Json]) -> None:
        response = self._bao.request("POST", f"auth/approle/role/{self._name}/secret-id", dict(limits))
        written = self.secret_id_file.with_suffix(".new")
        written.write_text(text(response, "data", "secret_id"))
        written.replace(self.secret_id_file)


async def test_no_read_fails_that_could_have_succeeded(openbao: OpenBao, tmp_path: Path) -> None:
    metrics, failures, reads = RecordedMetrics(), list[tuple[float, str]](), Counter[str]()
    life = Life(openbao, tmp_path, Random(SECONDS))
    config = VaultConfig(
        url=openbao.url,
        role_id=life.role_id,
        secret_id_file=str(life.secret_id_file),
        max_token_ttl=0,
        renew_ttl_increment=1,
        token_polling_period=1,
    )

    async def read_on(backend: VaultBackend, path: str) -> None:
        while True:
            reads[path] += 1
            try:
                await backend.read(Source(path))
            except BackendError as error:
                failures.append((trio.current_time() - start, f"{type(error).__name__}: {error}"))
            await trio.sleep(BETWEEN_READS)

    start = trio.current_time()
    async with open_vault(config, metrics) as backend, trio.open_nursery() as nursery:
        life.token = lambda: backend._token_manager._token.secret if backend._token_manager._token else ""
        await nursery.start(backend.maintain)
        for number in range(READERS):
            nursery.start_soon(read_on, backend, life.paths[number % 2])
        while trio.current_time() - start < SECONDS:
            await trio.sleep(life._chance.uniform(0, LONGEST_LULL))
            await trio.to_thread.run_sync(partial(life.next_event))
        nursery.cancel_scope.cancel()

    print(f"{sum(reads.values())} reads", failures, Counter(metrics.requests), life.happened)  # noqa: T201 - for the long run
    # When a token is revoked in the middle of a request, OpenBao may answer 500, and the queue asks again.
    assert [(time, text) for time, text in failures if not ("(500)" in text and "internal error" in text)] == []
    assert metrics.login_errors == []
    assert sum(reads.values()) > SECONDS
