"""Reads through a backend as the process opens it, on the in-memory Vault."""

import math

import pytest
import trio
from prometheus_client import CollectorRegistry
from trio.testing import MockClock

from secrets_manager.backends.base import (
    BackendError,
    Document,
    Folder,
    LoginRefused,
    NotListable,
    Place,
    Source,
    SourceForbidden,
    SourceMalformed,
    SourceNotFound,
)
from secrets_manager.backends.factory import open_backend
from secrets_manager.backends.vault.backend import open_vault
from secrets_manager.backends.vault.responses import Sealed
from secrets_manager.backends.vault.token_manager import REVOKED_SOON
from secrets_manager.config import Config, VaultConfig
from secrets_manager.errors import UsageError
from secrets_manager.metrics import BackendMetricsFactory
from tests.backends.vault.harness import backend_of
from tests.backends.vault.recorded import RecordedMetrics
from tests.doubles.vault import Request, Response, VaultState

MAX_LENGTH = 2_048

PATH = "secret/data/app"


@pytest.fixture
def vault() -> VaultState:
    state = VaultState()
    state.write_kv(PATH, {"password": "canary"})
    return state


async def test_read_makes_one_request_once_there_is_a_token(vault: VaultState) -> None:
    async with backend_of(vault, vault.reader(PATH)) as backend:
        documents = [await backend.read(Source(PATH)) for _ in range(3)]

    assert [document.values for document in documents] == [{"password": "canary"}] * 3
    assert [request.path for request in vault.requests] == ["auth/approle/login", PATH, PATH, PATH]


REFUSED = (
    "secret/../sys/data/x",
    "secret/data/shop/../other/db",
    "secret/data/./db",
    "secret//data/db",
    "secret/data/db?list=true",
    "secret/data/db#key",
    "secret/data/a\\b",
    "secret/data/\x00",
    "secret/data/a\nb",
    "secret/data/\ud800",
    "sys/data/db",
    "auth/data/db",
    "secret/data/" + "x" * MAX_LENGTH,
    "//secret/data/db",
    "/",
    "",
)


@pytest.mark.parametrize("path", REFUSED)
async def test_path_that_can_not_be_taken_apart_makes_no_request_of_any_kind(vault: VaultState, path: str) -> None:
    folder = path.rpartition("/")[0] or path
    async with backend_of(vault, vault.reader("*")) as backend:
        with pytest.raises(SourceMalformed) as of_read:
            await backend.read(Source(path))
        with pytest.raises(SourceMalformed) as of_policy:
            backend.segments(path)
        with pytest.raises(NotListable):
            await backend.markers(Folder(path))

        assert str(of_read.value) == str(of_policy.value)
        assert (backend.place(Source(path)), backend.place(Source(f"{folder}/../db"))) == (None, None)

    assert vault.requests == []


async def test_version_that_can_not_be_makes_no_request(vault: VaultState) -> None:
    async with backend_of(vault, vault.reader("*")) as backend:
        with pytest.raises(SourceMalformed):
            await backend.read(Source(PATH, "0"))

    assert vault.requests == []


async def test_pinned_version_is_in_no_listing(vault: VaultState) -> None:
    async with backend_of(vault, vault.reader("*")) as backend:
        assert backend.place(Source(PATH)) == Place(Folder("secret/data"), "app")
        assert backend.place(Source(PATH, "3")) is None


async def test_read_listing_and_policy_share_the_segments(vault: VaultState) -> None:
    vault.write_kv("secret/data/a b/c", {"k": "v"})
    async with backend_of(vault, vault.reader("*")) as backend:
        segments = backend.segments("/secret/data/a b/c/")
        place = backend.place(Source("/secret/data/a b/c/"))
        await backend.read(Source("/secret/data/a b/c/"))
        assert place
        markers = await backend.markers(place.folder)

    assert segments == ("secret", "data", "a b", "c")
    assert markers.keys() == {place.name}
    assert [request.path for request in vault.requests[1:]] == ["secret/data/a b/c", "secret/detailed-metadata/a b/"]


async def test_series_of_a_path_are_ended(vault: VaultState) -> None:
    metrics = RecordedMetrics()
    async with backend_of(vault, vault.reader(PATH), metrics) as backend:
        backend.forget("secret/data/none")

    assert metrics.forgotten == ["secret/data/none"]


async def test_invalid_token_is_replaced_and_the_read_retried(vault: VaultState, autojump_clock: MockClock) -> None:
    async with backend_of(vault, vault.reader(PATH)) as backend:
        await backend.read(Source(PATH))
        await trio.sleep(10)
        vault.revoke_token(*vault.tokens.alive())
        document = await backend.read(Source(PATH))

    assert document.values == {"password": "canary"}
    assert [request.path for request in vault.requests[2:]] == [
        PATH,
        "auth/token/lookup-self",
        "auth/approle/login",
        PATH,
    ]


async def test_token_revoked_after_a_lookup_but_before_a_slow_read_is_replaced(
    vault: VaultState, autojump_clock: MockClock
) -> None:
    """The lookup was sent after the read, and answered earlier."""
    vault.delay = lambda request: 1.0 if request.path == PATH else 0.0
    documents: list[Document] = []

    async def read() -> None:
        documents.append(await backend.read(Source(PATH)))

    async with backend_of(vault, vault.reader(PATH)) as backend, trio.open_nursery() as nursery:
        await read()
        await trio.sleep(10)
        nursery.start_soon(read)
        await trio.sleep(0.2)
        with pytest.raises(SourceForbidden):
            await backend.read(Source("secret/data/forbidden"))
        assert vault.count("GET", "auth/token/lookup-self") == 1
        vault.revoke_token(*vault.tokens.alive())

    assert [document.values for document in documents] == [{"password": "canary"}] * 2


async def test_listing_that_the_policies_forbid_takes_no_other_token(
    vault: VaultState, autojump_clock: MockClock
) -> None:
    async with backend_of(vault, vault.reader(PATH)) as backend:
        await backend.read(Source(PATH))
        await trio.sleep(100)
        asked = len(vault.requests)
        with pytest.raises(NotListable):
            await backend.markers(Folder("secret/data"))

        assert [request.path for request in vault.requests[asked:]] == ["secret/detailed-metadata/"]


async def test_invalid_token_is_replaced_for_a_listing_too(vault: VaultState, autojump_clock: MockClock) -> None:
    folder, _, name = PATH.rpartition("/")
    listing = folder.replace("/data", "/detailed-metadata")
    async with backend_of(vault, vault.reader(PATH, f"{listing}*")) as backend:
        before = await backend.markers(Folder(folder))
        await trio.sleep(10)
        vault.revoke_token(*vault.tokens.alive())
        after = await backend.markers(Folder(folder))

    assert before.keys() == {name}
    assert after == before


async def test_tokens_that_vault_issues_and_refuses_cost_few_logins(
    vault: VaultState, autojump_clock: MockClock
) -> None:
    """As those of a role that is bound to other addresses."""

    def refuse(request: Request) -> Response | None:
        return Response(403, b'{"errors":["permission denied"]}') if "login" not in request.path else None

    async with backend_of(vault, vault.reader(PATH)) as backend:
        await backend.read(Source(PATH))
        await trio.sleep(10)
        vault.fault = refuse
        messages: set[str] = set()
        for _ in range(600):
            with pytest.raises(LoginRefused) as caught:
                await backend.read(Source(PATH))
            messages.add(str(caught.value))
            await trio.sleep(0.1)

    assert messages == {REVOKED_SOON}
    assert vault.tokens.logins <= 15


async def test_failures_are_counted_by_their_kind(vault: VaultState) -> None:
    metrics = RecordedMetrics()

    async with backend_of(vault, vault.reader(PATH, "secret/data/none"), metrics) as backend:
        for path in ("secret/data/none", "secret/data/other", "secret//x"):
            with pytest.raises(BackendError):
                await backend.read(Source(path))
        with vault.sealed(), pytest.raises(Sealed):
            await backend.read(Source(PATH))

    assert metrics.read_errors == [
        ("secret/data/none", SourceNotFound.__name__),
        ("secret/data/other", SourceForbidden.__name__),
        ("secret//x", SourceMalformed.__name__),
        (PATH, Sealed.__name__),
    ]


@pytest.mark.parametrize("of", ["the first token", "its replacement"])
async def test_own_token_is_never_handed_out(vault: VaultState, autojump_clock: MockClock, of: str) -> None:
    path = "team/auth/token/lookup-self"

    def leak(request: Request) -> Response | None:
        if request.path != path or request.token not in vault.tokens.alive():
            return None
        return Response(200, b'{"data":{"id":"' + request.token.encode() + b'","ttl":"19"}}')

    vault.fault = leak
    async with backend_of(vault, vault.reader(PATH, "secret/app"), engine="kv1") as backend:
        with pytest.raises(SourceNotFound):
            await backend.read(Source("secret/app"))
        if of == "its replacement":
            await trio.sleep(10)
            vault.revoke_token(*vault.tokens.alive())
        with pytest.raises(SourceForbidden) as caught:
            await backend.read(Source(path))

    assert str(caught.value) == f"path '{path}' holds the controller's own token: correct the path"


async def test_maintain_starts_without_vault_and_reports_its_version_once_it_is_up(
    vault: VaultState, autojump_clock: MockClock
) -> None:
    vault.delay = lambda _: math.inf
    metrics = RecordedMetrics()

    async with backend_of(vault, vault.reader(PATH), metrics) as backend, trio.open_nursery() as nursery:
        start = trio.current_time()
        await nursery.start(backend.maintain)
        started_after = trio.current_time() - start
        await trio.sleep(10)
        vault.delay = lambda _: 0
        await trio.sleep(70)
        nursery.cancel_scope.cancel()

    assert started_after == 0
    assert metrics.servers == [("2.7.2", "1d", "cluster-of-the-double")]
    assert vault.tokens.logins == 1
    assert vault.tokens.alive() == []


def test_repr_shows_no_value() -> None:
    document = Document(values={"password": "canary"}, marker="m", version=1)

    assert repr(document) == "Document(version=1, 1 values)"


async def test_repr_of_a_backend_that_is_logged_in(vault: VaultState) -> None:
    credentials = vault.reader(PATH)
    async with backend_of(vault, credentials) as backend:
        await backend.read(Source(PATH))

        assert "canary" not in repr(backend)


def test_repr_of_the_settings_shows_no_credentials() -> None:
    config = VaultConfig(url="https://canary:canary@vault.test", role_id="canary", secret_id="canary")

    assert "canary" not in repr(config)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (VaultConfig(role_id="r", engine="kv3"), "vault.engine 'kv3' is unknown: use kv1 or kv2"),
        (VaultConfig(), "vault.auth-method=approle needs vault.role-id (or VAULT_ROLE_ID)"),
        (VaultConfig(auth_method="kubernetes"), "vault.auth-method=kubernetes needs vault.kubernetes-role"),
        (
            VaultConfig(role_id="r", approle_path="team/../x"),
            "vault.approle-path: path 'team/../x' has a segment . or ..: write the path without them",
        ),
        (VaultConfig(auth_method="ldap"), "vault.auth-method 'ldap' is unknown: use approle or kubernetes"),
    ],
)
async def test_configuration_that_can_not_work(config: VaultConfig, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        async with open_vault(config, RecordedMetrics()):
            pass

    assert str(caught.value) == expected


async def test_backend_that_is_not_there() -> None:
    config = Config(backend="etcd")

    with pytest.raises(UsageError) as caught:
        async with open_backend(config, BackendMetricsFactory(CollectorRegistry(), config)):
            pass

    assert str(caught.value) == "backend 'etcd' is unknown: use vault or azure-kv"


async def test_vault_is_opened_by_its_name() -> None:
    config = Config(vault=VaultConfig(url="http://127.0.0.1:8200", role_id="r"))

    async with open_backend(config, BackendMetricsFactory(CollectorRegistry(), config)) as backend:
        assert repr(backend) == "VaultBackend(VaultClient(http://127.0.0.1:8200), TokenManager(approle, None))"
