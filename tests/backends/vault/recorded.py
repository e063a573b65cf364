"""Metrics that record their calls."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class RecordedMetrics:
    """Stands for the Vault group of the process's metrics."""

    token_ttl: Callable[[], float] = lambda: 0.0
    renewal_errors: list[tuple[str, str]] = field(default_factory=list)
    login_errors: list[str] = field(default_factory=list)
    read_errors: list[tuple[str, str]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    servers: list[tuple[str, str, str]] = field(default_factory=list)

    def follow_token(self, ttl: Callable[[], float]) -> None:
        self.token_ttl = ttl

    def renewal_error(self, operation: str, error: str) -> None:
        self.renewal_errors.append((operation, error))

    def login_error(self, error: str) -> None:
        self.login_errors.append(error)

    def read_error(self, path: str, error: str) -> None:
        self.read_errors.append((path, error))

    def forget(self, path: str) -> None:
        self.forgotten.append(path)

    def request(self, operation: str, status: str, seconds: float) -> None:
        self.requests.append((operation, status))

    def server(self, *, version: str, cluster_id: str, cluster_name: str) -> None:
        self.servers.append((version, cluster_id, cluster_name))
