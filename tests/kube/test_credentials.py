import logging
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest
import trio
import trio.testing

from secrets_manager.config import KubeConfig
from secrets_manager.kube.credentials import KubeAuthorization, choose_loader, find_cluster
from secrets_manager.kube.errors import CredentialsError
from secrets_manager.kube.kubeconfig import Kubeconfig
from secrets_manager.kube.restconfig import RestConfig
from secrets_manager.kube.serviceaccount import ServiceAccount
from secrets_manager.net.client import HttpClient
from secrets_manager.net.tls import Tls, client_context
from tests.kube.certificates import Authority

POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.fixture
def account(tmp_path: Path) -> Path:
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("first\n")
    (folder / "namespace").write_text("mine")
    (folder / "ca.crt").write_bytes(Authority(tmp_path).certificate.read_bytes())
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    file = tmp_path / ".kube" / "config"
    file.parent.mkdir()
    document = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "https://home.example"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    file.write_bytes(msgspec.json.encode(document))
    return tmp_path


@pytest.mark.parametrize(
    ("config", "environ", "expected"),
    [
        (KubeConfig(), POD, ServiceAccount),
        (KubeConfig(), {}, Kubeconfig),
        (KubeConfig(), POD | {"KUBECONFIG": "{home}/.kube/config"}, Kubeconfig),
        (KubeConfig(context="other"), POD, Kubeconfig),
        (KubeConfig(kubeconfig="{home}/.kube/config"), POD | {"KUBECONFIG": "/none"}, Kubeconfig),
        (KubeConfig(), {"KUBECONFIG": "/none:{home}/.kube/config"}, Kubeconfig),
    ],
    ids=["pod", "home", "variable", "flag for the context", "flag for the file", "several files"],
)
def test_flag_wins_over_variable_over_pod_over_home(
    config: KubeConfig, environ: dict[str, str], expected: type, account: Path, home: Path
) -> None:
    named = {name: text.format(home=home) for name, text in environ.items()}
    flagged = KubeConfig(kubeconfig=config.kubeconfig.format(home=home), context=config.context)

    loader = choose_loader(flagged, environ={"HOME": str(home), **named}, service_account=account)

    assert type(loader) is expected


def test_without_any_credentials_the_error_names_all_places(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError) as caught:
        choose_loader(KubeConfig(), environ={"HOME": "/none"}, service_account=tmp_path)

    assert str(caught.value) == (
        "no credentials for Kubernetes: no kubeconfig at /none/.kube/config, and no service account of a pod at "
        f"{tmp_path}; name a kubeconfig by --kubeconfig or KUBECONFIG"
    )


async def test_cluster_in_a_pod_is_direct_though_a_proxy_leads_outside(account: Path) -> None:
    proxies = {"HTTPS_PROXY": "http://proxy:3128"}
    behind = await find_cluster(KubeConfig(), environ=POD | proxies, service_account=account)
    direct = await find_cluster(
        KubeConfig(), environ=POD | proxies | {"NO_PROXY": "10.0.0.0/8"}, service_account=account
    )

    assert (behind.url, behind.namespace, behind.proxy) == ("https://10.0.0.1:443", "mine", "http://proxy:3128")
    assert (direct.url, direct.namespace, direct.proxy) == ("https://10.0.0.1:443", "mine", "")


async def test_repr_of_a_cluster_is_its_address(account: Path) -> None:
    assert (
        repr(await find_cluster(KubeConfig(), environ=POD, service_account=account))
        == "Cluster('https://10.0.0.1:443')"
    )


async def test_namespace_is_that_of_the_variable_or_else_that_of_the_login(account: Path, home: Path) -> None:
    outside = {"HOME": str(home)}
    found = [
        await find_cluster(KubeConfig(), environ=environ, service_account=account)
        for environ in (POD, POD | {"POD_NAMESPACE": "other"}, outside, outside | {"POD_NAMESPACE": "other"})
    ]

    assert [cluster.namespace for cluster in found] == ["mine", "other", "default", "other"]


def test_address_of_version_6_stands_in_brackets(account: Path) -> None:
    config = ServiceAccount({"KUBERNETES_SERVICE_HOST": "fd00::1"}, folder=account).load(refresh=True)

    assert config.url == "https://[fd00::1]:443"


@pytest.mark.parametrize(
    "variable", [{"KUBERNETES_SERVICE_HOST": "a..b"}, {"KUBERNETES_SERVICE_PORT": "tcp://10.0.0.1"}]
)
def test_address_in_a_pod_that_can_not_be_is_reported(variable: dict[str, str], account: Path) -> None:
    with pytest.raises(CredentialsError, match="KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are no host"):
        ServiceAccount(POD | variable, folder=account).load(refresh=True)


def test_rotated_token_and_authority_are_seen_at_the_next_load(account: Path, tmp_path: Path) -> None:
    loader = ServiceAccount(POD, folder=account)
    first = loader.load(refresh=True)
    (account / "token").write_text("second")
    second = loader.load(refresh=False)
    (account / "ca.crt").write_bytes(Authority(tmp_path, name="new").certificate.read_bytes())
    third = loader.load(refresh=False)
    fourth = loader.load(refresh=True)

    assert [each.authorization for each in (first, second, third)] == ["Bearer first", "Bearer second", "Bearer second"]
    assert second.context is first.context
    assert fourth.context is not third.context
    assert [names_of(each) for each in (first, third)] == [["authority"], ["new"]]


def names_of(config: RestConfig) -> list[str]:
    """The names of the trusted CA certificates."""
    return [str(each["subject"][0][0][1]) for each in config.context.get_ca_certs()]


@pytest.mark.parametrize("file", ["token", "ca.crt", "namespace"])
def test_missing_file_of_the_service_account_is_reported(file: str, account: Path) -> None:
    (account / file).unlink()

    assert failure(account) == (
        f"{account / file} is missing: the pod needs automountServiceAccountToken: true, or a projected volume with "
        "token, ca.crt and namespace"
    )


@pytest.mark.parametrize("file", ["token", "ca.crt", "namespace"])
def test_file_of_the_service_account_that_can_not_be_read_is_reported(file: str, account: Path) -> None:
    (account / file).unlink()
    (account / file).mkdir()

    assert failure(account) == f"{account / file} can't be read (Is a directory): let this user read it"


@pytest.mark.parametrize("file", ["token", "namespace"])
def test_file_of_the_service_account_that_is_no_text_is_reported(file: str, account: Path) -> None:
    (account / file).write_bytes(b"hunter2\xff")

    assert failure(account) == f"{account / file} is not text: replace it"


def test_authority_of_the_service_account_that_is_none_is_reported(account: Path) -> None:
    (account / "ca.crt").write_text("hunter2")

    assert failure(account) == (
        f"{account / 'ca.crt'} can't be used (NO_CERTIFICATE_OR_CRL_FOUND): correct the ConfigMap kube-root-ca.crt, "
        "which it is made from"
    )


def failure(account: Path) -> str:
    with pytest.raises(CredentialsError) as caught:
        ServiceAccount(POD, folder=account).load(refresh=True)
    return str(caught.value)


def test_empty_token_is_reported(account: Path) -> None:
    (account / "token").write_text("\n")

    with pytest.raises(CredentialsError, match=r"token is empty: .*/token"):
        ServiceAccount(POD, folder=account).load(refresh=True)


@pytest.mark.parametrize("token", ["hunter2\nX-Evil: 1", "hunter2é"])
def test_token_that_is_none_is_refused_and_not_quoted(token: str, account: Path) -> None:
    (account / "token").write_text(token)

    with pytest.raises(CredentialsError, match="characters that no token has") as caught:
        ServiceAccount(POD, folder=account).load(refresh=True)

    assert "hunter2" not in str(caught.value)


class Tokens:
    """A loader whose n-th load returns `token n`, or fails."""

    def __init__(self) -> None:
        self.loads: list[bool] = []
        self.context = client_context()
        self.fails = False

    def load(self, *, refresh: bool) -> RestConfig:
        self.loads.append(refresh)
        if self.fails:
            raise CredentialsError("the plugin failed")
        return RestConfig(url="", namespace="", authorization=f"token {len(self.loads)}", context=self.context)


FIRST = "token 0"


def login_of(loader: Tokens) -> KubeAuthorization:
    config = RestConfig(url="", namespace="", authorization=FIRST, context=loader.context)
    return KubeAuthorization(loader, config=config, tls=Tls(client_context()))


def client_of(login: KubeAuthorization, accepted: Callable[[str], bool]) -> tuple[HttpClient, list[str]]:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Authorization"])
        return httpx.Response(200 if accepted(seen[-1]) else 401)

    return HttpClient(httpx.MockTransport(answer), base_url="https://x", authorization=login), seen


def everything(authorization: str) -> bool:
    return True


async def test_credentials_are_reloaded_after_a_minute(mock_clock: trio.testing.MockClock) -> None:
    loader = Tokens()
    client, seen = client_of(login_of(loader), everything)
    for pause in (0, 59, 1, 59, 1):
        mock_clock.jump(pause)
        await client.request("GET", "/")

    assert seen == [FIRST, FIRST, "token 1", "token 1", "token 2"]
    assert loader.loads == [False, False]


async def test_many_requests_share_the_load_of_their_minute(mock_clock: trio.testing.MockClock) -> None:
    loader = Tokens()
    client, _ = client_of(login_of(loader), everything)
    mock_clock.jump(60)
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(client.request, "GET", "/")

    assert loader.loads == [False]


async def test_login_that_cannot_be_renewed_goes_on_with_what_it_has(
    mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    loader = Tokens()
    loader.fails = True
    client, seen = client_of(login_of(loader), everything)
    mock_clock.jump(60)
    await client.request("GET", "/")

    assert seen == [FIRST]
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "failed to reload credentials"
    ]


@pytest.mark.parametrize(("status", "shown"), [(200, f"said: {FIRST}"), (500, ""), (403, "")])
async def test_error_that_quotes_the_token_is_not_passed_on(status: int, shown: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, text=f"said: {request.headers['Authorization']}")

    client = HttpClient(httpx.MockTransport(answer), base_url="https://x", authorization=login_of(Tokens()))
    reply = await client.request("GET", "/")
    async with client.stream("GET", "/", silence=10) as stream:
        streamed = await stream.read(max_body=1000)

    assert (reply.status, reply.body.decode(), streamed.decode()) == (status, shown, shown)


async def test_refused_login_refreshes_once_and_retries() -> None:
    loader = Tokens()
    client, seen = client_of(login_of(loader), lambda authorization: authorization == "token 1")
    reply = await client.request("GET", "/")

    assert reply.status == 200
    assert seen == [FIRST, "token 1"]
    assert loader.loads == [True]


async def test_renewed_tls_context_is_that_of_the_next_connection() -> None:
    loader = Tokens()
    tls = Tls(client_context())
    config = RestConfig(url="", namespace="", authorization=FIRST, context=tls.current)
    client, _ = client_of(
        KubeAuthorization(loader, config=config, tls=tls), lambda authorization: authorization != FIRST
    )
    await client.request("GET", "/")

    assert tls.current is loader.context


async def test_many_refused_requests_share_one_refresh() -> None:
    loader = Tokens()
    client, seen = client_of(login_of(loader), lambda authorization: authorization != FIRST)
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(client.request, "GET", "/")

    assert loader.loads == [True]
    assert sorted(seen) == [FIRST] * 10 + ["token 1"] * 10


async def test_login_that_is_refused_for_good_refreshes_every_ten_seconds(mock_clock: trio.testing.MockClock) -> None:
    loader = Tokens()
    client, _ = client_of(login_of(loader), lambda authorization: False)
    for pause in (0, 9, 1, 9):
        mock_clock.jump(pause)
        assert (await client.request("GET", "/")).status == 401

    assert loader.loads == [True, True]


class Slow(Tokens):
    """A load takes 11 seconds and returns the same token again, up to the third."""

    def __init__(self, clock: trio.testing.MockClock) -> None:
        super().__init__()
        self._clock = clock

    def load(self, *, refresh: bool) -> RestConfig:
        found = super().load(refresh=refresh)
        self._clock.jump(11)
        return (
            found
            if len(self.loads) > 2
            else RestConfig(url="", namespace="", authorization=FIRST, context=found.context)
        )


async def test_slow_plugin_that_brings_the_refused_token_again_runs_once(mock_clock: trio.testing.MockClock) -> None:
    loader = Slow(mock_clock)
    client, seen = client_of(login_of(loader), lambda authorization: False)

    assert (await client.request("GET", "/")).status == 401
    assert (loader.loads, set(seen)) == ([True], {FIRST})


async def test_refused_login_that_cannot_be_renewed_is_reported() -> None:
    loader = Tokens()
    loader.fails = True
    client, _ = client_of(login_of(loader), lambda authorization: False)
    with pytest.raises(CredentialsError, match="the plugin failed"):
        await client.request("GET", "/")


class Hanging(Tokens):
    """A load hangs until `released`."""

    def __init__(self) -> None:
        super().__init__()
        self.looking = threading.Event()
        self.released = threading.Event()
        self.begun = 0

    def load(self, *, refresh: bool) -> RestConfig:
        self.begun += 1
        self.looking.set()
        self.released.wait()
        return super().load(refresh=refresh)


async def test_load_that_hangs_is_given_up_after_a_minute(mock_clock: trio.testing.MockClock) -> None:
    loader = Hanging()
    client, _ = client_of(login_of(loader), lambda authorization: False)

    async def jump() -> None:
        await trio.to_thread.run_sync(loader.looking.wait)
        mock_clock.jump(60)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(jump)
        with pytest.raises(CredentialsError, match="took longer than 60 s"):
            await client.request("GET", "/")
    loader.released.set()


async def test_of_loads_that_hang_one_is_left_behind(autojump_clock: trio.testing.MockClock) -> None:
    loader = Hanging()
    client, _ = client_of(login_of(loader), lambda authorization: False)
    for _ in range(3):
        with pytest.raises(CredentialsError, match="took longer than 60 s"):
            await client.request("GET", "/")

    await trio.to_thread.run_sync(loader.looking.wait)
    assert loader.begun == 1
    loader.released.set()


async def test_others_go_on_with_what_is_known_during_a_load(mock_clock: trio.testing.MockClock) -> None:
    loader = Hanging()
    client, seen = client_of(login_of(loader), everything)
    async with trio.open_nursery() as nursery:
        mock_clock.jump(60)
        nursery.start_soon(client.request, "GET", "/")
        await trio.to_thread.run_sync(loader.looking.wait)
        await client.request("GET", "/")
        assert seen == [FIRST]
        loader.released.set()

    assert seen == [FIRST, "token 1"]


async def test_late_refusal_of_a_former_token_causes_no_refresh(mock_clock: trio.testing.MockClock) -> None:
    loader = Tokens()
    late = trio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/late":
            await late.wait()
        return httpx.Response(401 if request.headers["Authorization"] == FIRST else 200)

    client = HttpClient(httpx.MockTransport(answer), base_url="https://x", authorization=login_of(loader))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.request, "GET", "/late")
        await trio.testing.wait_all_tasks_blocked()
        await client.request("GET", "/")
        mock_clock.jump(10)
        late.set()

    assert loader.loads == [True]


async def test_refresh_outlives_the_request_that_started_it_and_others_join_it(
    mock_clock: trio.testing.MockClock,
) -> None:
    loader = Hanging()
    client, seen = client_of(login_of(loader), lambda authorization: authorization != FIRST)
    impatient = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        with impatient:
            nursery.start_soon(cancel_when_looking, loader, impatient)
            await client.request("GET", "/")
        assert impatient.cancelled_caught
        mock_clock.jump(6)
        nursery.start_soon(client.request, "GET", "/")
        await trio.testing.wait_all_tasks_blocked()
        loader.released.set()

    assert (loader.loads, seen) == ([True], [FIRST, FIRST, "token 1"])


async def test_reload_outlives_the_request_that_started_it(mock_clock: trio.testing.MockClock) -> None:
    loader = Hanging()
    login = login_of(loader)
    client, seen = client_of(login, everything)
    mock_clock.jump(60)
    impatient = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        with impatient:
            nursery.start_soon(cancel_when_looking, loader, impatient)
            await client.request("GET", "/")
        loader.released.set()
    while await login.present() == FIRST:
        await trio.testing.wait_all_tasks_blocked(0.01)
    await client.request("GET", "/")

    assert (loader.loads, seen) == ([False], ["token 1"])


async def cancel_when_looking(loader: Hanging, scope: trio.CancelScope) -> None:
    await trio.to_thread.run_sync(loader.looking.wait)
    scope.cancel()


async def test_refresh_that_fails_fails_all_who_wait_for_it() -> None:
    loader = Hanging()
    loader.fails = True
    client, _ = client_of(login_of(loader), lambda authorization: False)
    failures: list[str] = []

    async def request() -> None:
        with pytest.raises(CredentialsError) as caught:
            await client.request("GET", "/")
        failures.append(str(caught.value))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(request)
        await trio.testing.wait_all_tasks_blocked()
        loader.released.set()

    assert (loader.loads, failures) == ([True], ["the plugin failed"] * 3)
