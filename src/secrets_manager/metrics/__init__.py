"""The metrics of the process. Each part of the program gets only its own group.

Names, labels and HELP texts are those of the Go original, so that dashboards and alerts keep working; and for
client-go's metrics those of client-go. The series of an object or a path are removed with it.

    process      version, CPU, memory
    kube         requests to the Kubernetes API, leader election
    workqueue    a work queue
    secrets      a series for each Secret
    controller   reconciles, and the groups workqueue and secrets
    backend      the secret store, of any kind
    vault        Vault
    azure        Key Vault
    factory      creates the group of the secret store in use
"""

from prometheus_client import disable_created_metrics

from secrets_manager.metrics.azure import AzureMetrics
from secrets_manager.metrics.backend import BackendMetrics
from secrets_manager.metrics.controller import ControllerMetrics
from secrets_manager.metrics.factory import BackendMetricsFactory
from secrets_manager.metrics.kube import KubeMetrics
from secrets_manager.metrics.process import register_process_metrics
from secrets_manager.metrics.secrets import SecretMetrics
from secrets_manager.metrics.vault import VaultMetrics
from secrets_manager.metrics.workqueue import QueueMetrics

__all__ = [
    "AzureMetrics",
    "BackendMetrics",
    "BackendMetricsFactory",
    "ControllerMetrics",
    "KubeMetrics",
    "QueueMetrics",
    "SecretMetrics",
    "VaultMetrics",
    "register_process_metrics",
]

# The Go original has no _created series.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the package has left the annotation out
