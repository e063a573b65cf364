"""Metrics of the Kubernetes client and leader election, with client-go's names, labels and HELP texts."""

from collections.abc import Callable
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter, Gauge

from secrets_manager.net.hosts import without_login


class KubeMetrics:
    """Metrics of the client of one API server. The label host has the host of `url`, and its port if there is one."""

    def __init__(self, registry: CollectorRegistry, *, url: str) -> None:
        self._host = urlsplit(without_login(url)).netloc
        self._requests = Counter(
            "rest_client_requests_total",
            "Number of HTTP requests, partitioned by status code, method, and host.",
            ("code", "method", "host"),
            registry=registry,
        )
        self._leads = Gauge(
            "leader_election_master_status",
            "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates master. "
            "'name' is the string used to identify the lease. Please make sure to group by name.",
            ("name",),
            registry=registry,
        )

    def request(self, method: str, code: str) -> None:
        """Record a request."""
        self._requests.labels(code, method, self._host).inc()

    def election(self, lease: str, *, leads: Callable[[], bool]) -> None:
        """Call `leads` at each scrape."""
        self._leads.labels(lease).set_function(leads)
