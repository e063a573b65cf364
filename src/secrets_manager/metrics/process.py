"""Metrics of the process itself."""

from prometheus_client import CollectorRegistry, Info, ProcessCollector


def register_process_metrics(registry: CollectorRegistry, *, version: str) -> None:
    """Register the version, and the standard process_* metrics."""
    build = Info("secrets_manager_build", "Version of secrets-manager", registry=registry)
    build.info({"version": version})
    ProcessCollector(registry=registry)
