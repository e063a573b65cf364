"""A file that never answers, of a network or a pipe, is named, and holds nothing for longer than its check may take."""

import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from secrets_manager.config import Config, KubeConfig, ServerConfig, VaultConfig
from secrets_manager.doctor import command, connection, files
from secrets_manager.doctor.checkup import LIMIT, Checkup, Result
from secrets_manager.doctor.clock import Clock
from secrets_manager.doctor.files import Named
from secrets_manager.doctor.finding import Finding, State
from tests.doubles.kube_transport import virtual_time
from tests.kube.certificates import Authority


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Path]:
    """A pipe that nothing writes to. In the end the threads go that wait for it."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    yield path
    os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))


async def test_files_that_do_not_answer_are_named_with_their_settings(autojump_clock: MockClock) -> None:
    released = threading.Event()

    def read(_: str) -> bool:
        return not released.wait()

    named = [Named("vault.ca-cert", "/nfs/ca.crt"), Named("vault.secret-id-file", "/nfs/secret-id")]
    result = await files.check(named, read=read)
    released.set()

    assert trio.current_time() == pytest.approx(files.LIMIT)
    assert result.findings == [
        Finding("files", State.FAILURE, "/nfs/ca.crt (--vault.ca-cert) does not answer within 5 s", files.FIX),
        Finding(
            "files", State.FAILURE, "/nfs/secret-id (--vault.secret-id-file) does not answer within 5 s", files.FIX
        ),
    ]


async def test_a_pipe_is_named_and_not_read(pipe: Path, tmp_path: Path) -> None:
    writer = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    os.write(writer, b"canary")
    (tmp_path / "file").write_text("")
    named = [Named("a", str(pipe)), *(Named("b", str(each)) for each in (tmp_path / "file", tmp_path, "/nowhere"))]

    result = await files.check(named)

    assert result.findings == [Finding("files", State.WARNING, f"{pipe} (--a) is a pipe", files.PIPE_FIX)]
    assert os.read(writer, 10) == b"canary"
    os.close(writer)


async def test_files_that_answer_are_fine_and_without_files_there_is_nothing_to_tell(tmp_path: Path) -> None:
    fine, nothing = await files.check([Named("vault.ca-path", str(tmp_path))]), await files.check([])

    assert [each.state for each in fine.findings] == [State.OK]
    assert nothing.findings == []


async def test_files_that_are_not_there_are_not_called_fine() -> None:
    result = await files.check([Named("vault.ca-cert", "/nowhere")])

    assert [each.message for each in result.findings] == ["no file that settings name hangs"]


async def test_the_certificate_of_our_own_server_is_loaded_as_the_controller_does(tmp_path: Path) -> None:
    checkup = Checkup(lambda _: None)

    async def judge(config: ServerConfig) -> None:
        await checkup.run(files.CERTIFICATE, partial(files.check_certificate, config), fix=files.CERTIFICATE_FIX)

    await judge(ServerConfig())
    assert checkup.findings == []
    await judge(ServerConfig(tls_cert_file="/nope", tls_key_file="/nope2"))
    (missing,) = checkup.findings
    assert (missing.state, missing.message) == (
        State.FAILURE,
        "metrics-tls-cert-file: /nope can't be read (No such file or directory)",
    )
    checkup.findings.clear()
    certificate, key = Authority(tmp_path).issue("server")
    await judge(ServerConfig(tls_cert_file=str(certificate), tls_key_file=str(key)))
    assert [each.state for each in checkup.findings] == [State.OK]


def test_each_file_of_the_settings_in_use_is_read_once() -> None:
    vault = VaultConfig(ca_cert="/ca", ca_path="/cas", client_cert="/c", client_key="/c", secret_id_file="/s")
    config = Config(
        vault=vault, kube=KubeConfig(kubeconfig="/k:/l"), server=ServerConfig(tls_cert_file="/t", tls_key_file="/u")
    )

    assert [each.path for each in files.named(config, {"KUBECONFIG": "/other"})] == [
        "/k", "/l", "/t", "/u", "/ca", "/cas", "/c", "/s",
    ]  # fmt: skip
    assert [each.path for each in files.named(Config(backend="azure-kv", vault=vault), {"KUBECONFIG": "/o"})] == ["/o"]


def by_vault(pipe: Path, now: Clock) -> Callable[[], Awaitable[Result[connection.Vault]]]:
    config = VaultConfig(url="https://127.0.0.1:1", ca_cert=str(pipe))
    return partial(connection.check, config, now, transport=None)


async def test_the_way_to_vault_is_given_up_in_time_where_a_certificate_does_not_answer(
    pipe: Path, autojump_clock: MockClock
) -> None:
    checkup = Checkup(lambda _: None)

    await checkup.run(connection.CONNECTION, by_vault(pipe, virtual_time), fix=connection.FILES_FIX)

    assert trio.current_time() == pytest.approx(LIMIT)
    assert [each.state for each in checkup.findings] == [State.FAILURE]


async def test_the_way_to_kubernetes_is_given_up_in_time_where_the_kubeconfig_does_not_answer(
    pipe: Path, autojump_clock: MockClock
) -> None:
    checkup = Checkup(lambda _: None)
    config = Config(kube=KubeConfig(kubeconfig=str(pipe)))

    assert await command.examine_kubernetes(checkup, config) is None

    assert trio.current_time() == pytest.approx(LIMIT)
    assert checkup.findings[0].message == "there was no result within 20 s"
