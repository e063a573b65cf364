"""A real emulator of Key Vault, lowkey-vault, over TLS with a certificate of its own; it needs Java.

One serves a whole test run. Tests keep apart by names of their own, and a test that kills it takes
`key_vault_alone`. Its jar is found in $LOWKEY_VAULT_JAR, else in ~/.cache/envtest; where there is none, or no
Java, tests that ask for it are skipped and the run's last lines say so.
"""

import os
import secrets
import shutil
import ssl
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from fake_kubernetes.documents import Json, Object, parse, text
from secrets_manager.config import AzureConfig
from tests.real.program import Program, free_port

API_VERSION = "7.6"
MISSING = "no lowkey-vault*.jar in $LOWKEY_VAULT_JAR or ~/.cache/envtest, or no java"
SKIPPED = pytest.StashKey[bool]()
READY_WITHIN = 90.0


class KeyVaultEmulator:
    """What a test may do with the vault."""

    def __init__(self, port: int, token_port: int, *, program: Program, folder: Path) -> None:
        self.url = f"https://localhost:{port}"
        self.program = program
        self.authorities = folder / "key-vault.pem"
        self._port = port
        self._token_url = f"http://localhost:{token_port}/metadata/identity/oauth2/token"

    def __repr__(self) -> str:
        return f"KeyVaultEmulator({self.url})"

    @property
    def config(self) -> AzureConfig:
        return AzureConfig(url=self.url, api_version=API_VERSION, verify_challenge_resource=False)

    @property
    def environment(self) -> Mapping[str, str]:
        """How to trust it, and where the machine's own identity gets its token."""
        return {
            "REQUESTS_CA_BUNDLE": str(self.authorities),
            "IDENTITY_ENDPOINT": self._token_url,
            "IDENTITY_HEADER": "any",
            "NO_PROXY": "localhost,127.0.0.1",
        }

    def serves(self) -> bool:
        try:
            httpx.get(f"{self.url}/ping", verify=False, trust_env=False, timeout=5)
        except httpx.HTTPError:
            return False
        self.authorities.write_text(ssl.get_server_certificate(("localhost", self._port)))
        return True

    def fresh(self, prefix: str = "test") -> str:
        """A name not used before."""
        return f"{prefix}-{secrets.token_hex(4)}"

    def set(self, name: str, value: str, *, content_type: str = "") -> str:
        """Write a new version. Returns its name."""
        body: Object = {"value": value, "contentType": content_type or None, "attributes": {"enabled": True}}
        return text(self._request("PUT", f"/secrets/{name}", body), "id").rpartition("/")[2]

    def disable(self, name: str) -> None:
        version = text(self._request("GET", f"/secrets/{name}"), "id").rpartition("/")[2]
        self._request("PATCH", f"/secrets/{name}/{version}", {"attributes": {"enabled": False}})

    def delete(self, name: str) -> None:
        self._request("DELETE", f"/secrets/{name}")

    def _request(self, method: str, path: str, body: Json = None) -> Object:
        reply = httpx.request(
            method,
            f"{self.url}{path}?api-version={API_VERSION}",
            json=body,
            headers={"Authorization": "Bearer any"},
            verify=False,
            trust_env=False,
            timeout=20,
        )
        assert reply.is_success, f"{method} {path}: {reply.status_code} {reply.text}"
        return parse(reply.content)


def jar() -> Path | None:
    """The emulator, where it and Java are there."""
    configured = os.environ.get("LOWKEY_VAULT_JAR")
    found = [Path(configured)] if configured else sorted((Path.home() / ".cache" / "envtest").glob("lowkey-vault*.jar"))
    return found[-1] if found and found[-1].exists() and shutil.which("java") else None


@contextmanager
def running_key_vault(program: Path, folder: Path) -> Generator[KeyVaultEmulator]:
    """A vault of one's own, gone at the end. `folder` takes all its files."""
    port, token_port = free_port(), free_port()
    java = ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-jar", str(program)]
    command = [*java, f"--server.port={port}", f"--app.token.port={token_port}"]
    with Program(command, log=folder / "key-vault.log") as running:
        emulator = KeyVaultEmulator(port, token_port, program=running, folder=folder)
        running.start()
        running.wait_until(emulator.serves, seconds=READY_WITHIN)
        yield emulator


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash.get(SKIPPED, False):
        terminalreporter.write_sep("=", "tests with an emulator of Key Vault did not run", yellow=True)
        terminalreporter.write_line(f"{MISSING}. CONTRIBUTING.md says where to get it")


@pytest.fixture(scope="session")
def key_vault(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyVaultEmulator]:
    """The emulator that all tests share."""
    with running_key_vault(_found(pytestconfig), tmp_path_factory.mktemp("key-vault")) as emulator:
        yield emulator


@pytest.fixture
def key_vault_alone(pytestconfig: pytest.Config, tmp_path: Path) -> Iterator[KeyVaultEmulator]:
    """One for this test alone: `key_vault_alone.program` can be paused, resumed and killed."""
    with running_key_vault(_found(pytestconfig), tmp_path) as emulator:
        yield emulator


def _found(config: pytest.Config) -> Path:
    program = jar()
    if program is None:
        config.stash[SKIPPED] = True
        pytest.skip(MISSING)
    return program
