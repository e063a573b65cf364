"""Files that are exchanged under the process. tests/contracts/test_vault_addresses.py shows it on a real server."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from secrets_manager.net.certificates import CertificateFiles, Certificates
from secrets_manager.net.file_stamps import CHECK_INTERVAL
from secrets_manager.net.serving import ServingCertificate
from secrets_manager.net.tls import UnusableFile
from tests.kube.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_context_stays_while_the_files_do(authority: Authority) -> None:
    certificates = Certificates(CertificateFiles(ca_file=str(authority.certificate)))
    tls = await certificates.load()
    before = tls.current

    await certificates.check()

    assert tls.current is before


async def test_link_that_leads_elsewhere_is_an_exchange(authority: Authority, tmp_path: Path) -> None:
    """As Kubernetes exchanges the files of a mounted Secret."""
    link, new = tmp_path / "ca.crt", tmp_path / "new.crt"
    link.symlink_to(authority.certificate)
    certificates = Certificates(CertificateFiles(ca_file=str(link)))
    tls = await certificates.load()
    before = tls.current

    new.symlink_to(Authority(tmp_path, name="other").certificate)
    new.rename(link)
    await certificates.check()

    assert tls.current is not before


async def test_what_can_not_be_used_changes_nothing_until_it_can(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = Certificates(CertificateFiles(ca_file=str(authority.certificate)))
    tls = await certificates.load()
    before, whole = tls.current, authority.certificate.read_bytes()

    authority.certificate.write_bytes(whole[:50])
    await certificates.check()
    broken = tls.current
    authority.certificate.write_bytes(whole)
    await certificates.check()

    assert broken is before
    assert tls.current is not before
    assert "changed certificates can't be used" in caplog.text


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[str]:
    """A file that does not answer."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    yield str(pipe)
    os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))  # the thread goes that was left behind


OF_A_FILE = pytest.mark.parametrize(
    "kind",
    [lambda file: Certificates(CertificateFiles(ca_file=file)), lambda file: ServingCertificate(file, file)],
    ids=["of a client", "of the server"],
)


@OF_A_FILE
async def test_a_file_that_does_not_answer_does_not_hold_up_who_stops_waiting(
    kind: Callable[[str], Certificates | ServingCertificate], silent: str, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(20) as scope:
        await kind(silent).load()

    assert scope.cancelled_caught


@OF_A_FILE
async def test_a_file_that_does_not_answer_in_time_is_unusable(
    kind: Callable[[str], Certificates | ServingCertificate], silent: str, autojump_clock: MockClock
) -> None:
    began = trio.current_time()
    with pytest.raises(UnusableFile, match="a file does not answer within 30 s"):
        await kind(silent).load()

    assert trio.current_time() == began + 30


async def test_files_are_checked_from_time_to_time(authority: Authority, tmp_path: Path, mock_clock: MockClock) -> None:
    certificates = Certificates(CertificateFiles(ca_file=str(authority.certificate)))
    tls = await certificates.load()
    before = tls.current

    authority.certificate.write_bytes(Authority(tmp_path, name="other").certificate.read_bytes())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(certificates.keep_fresh)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(CHECK_INTERVAL)
        while True:  # the check runs in a thread, which sets no event
            await trio.lowlevel.checkpoint()
            if tls.current is not before:
                break
        nursery.cancel_scope.cancel()


async def test_without_files_there_is_nothing_to_check() -> None:
    certificates = Certificates(CertificateFiles())
    await certificates.load()

    await certificates.keep_fresh()
