"""The metrics of the process. Each part of the program gets only its own group.

Names and labels of metrics that the Go original has are those of the original, so that dashboards and alerts keep
working; names, labels and HELP texts of client-go's metrics are client-go's. The series of an object or a path are
removed with it. docs/metrics.md is made from the HELP texts.

    process      version, CPU, memory
    kube         requests to the Kubernetes API, leader election
    workqueue    a work queue
    secrets      series of each Secret
    definitions  all definitions
    controller   reconciles, and the groups workqueue, secrets and definitions
    backend      the secret store, of any kind
    vault        Vault
    azure        Key Vault
    factory      creates the group of the secret store in use
    registry     all of them, at one moment
"""

from prometheus_client import disable_created_metrics

from secrets_manager.metrics.azure import AzureMetrics
from secrets_manager.metrics.backend import BackendMetrics
from secrets_manager.metrics.controller import ControllerMetrics
from secrets_manager.metrics.definitions import DefinitionMetrics, Definitions
from secrets_manager.metrics.factory import BackendMetricsFactory
from secrets_manager.metrics.kube import KubeMetrics
from secrets_manager.metrics.process import register_process_metrics
from secrets_manager.metrics.registry import Registry
from secrets_manager.metrics.secrets import SecretMetrics
from secrets_manager.metrics.vault import VaultMetrics
from secrets_manager.metrics.workqueue import QueueMetrics

__all__ = [
    "AzureMetrics",
    "BackendMetrics",
    "BackendMetricsFactory",
    "ControllerMetrics",
    "DefinitionMetrics",
    "Definitions",
    "KubeMetrics",
    "QueueMetrics",
    "Registry",
    "SecretMetrics",
    "VaultMetrics",
    "register_process_metrics",
]

# The Go original has no _created series.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the package has left the annotation out
