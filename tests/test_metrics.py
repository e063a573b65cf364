import re

from prometheus_client import CollectorRegistry

from secrets_manager.config import AzureConfig, VaultConfig
from secrets_manager.metrics import AzureMetrics, BackendMetrics, ControllerMetrics, QueueMetrics, VaultMetrics
from tests.readme import section

CONFIG = VaultConfig(url="https://vault:8200", engine="kv2", max_token_ttl=300.0)
UNKNOWN = {
    "vault_address": "https://vault:8200",
    "vault_engine": "kv2",
    "vault_version": "",
    "vault_cluster_id": "",
    "vault_cluster_name": "",
}
KNOWN = UNKNOWN | {"vault_version": "2.7.2", "vault_cluster_id": "id", "vault_cluster_name": "name"}
DB = {"name": "db", "namespace": "shop"}


def test_the_last_sync_and_its_errors_are_told_of_each_definition() -> None:
    registry = CollectorRegistry()
    metrics = ControllerMetrics(registry)

    metrics.synced(("shop", "db"), ok=False)
    metrics.secret_read_error(("shop", "db"))
    metrics.synced(("shop", "db"), ok=True)

    assert [
        (sample.name, sample.labels, sample.value)
        for family in registry.collect()
        for sample in family.samples
        if "namespace" in sample.labels
    ] == [
        ("secrets_manager_controller_secret_read_errors_total", DB, 1),
        ("secrets_manager_controller_sync_errors_total", DB, 1),
        ("secrets_manager_controller_last_sync_status", DB, 1),
    ]


def test_readme_has_each_metric_and_its_type() -> None:
    registry = CollectorRegistry()
    ControllerMetrics(registry)
    BackendMetrics(registry)
    VaultMetrics(registry, CONFIG)
    AzureMetrics(registry, AzureConfig(name="shop"))

    told = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", section("Metrics"), re.MULTILINE))

    counted = {"counter": "_total"}
    families = {f"{each.name}{counted.get(each.type, '')}": each.type for each in registry.collect()}
    assert told == families


def test_a_watch_is_asked_for_its_state_when_somebody_looks() -> None:
    registry = CollectorRegistry()
    states = [False]
    ControllerMetrics(registry).watch("Secret", "shop", up=lambda: states[-1])
    labels = {"kind": "Secret", "namespace": "shop"}
    assert registry.get_sample_value("secrets_manager_watch_up", labels) == 0

    states.append(True)

    assert registry.get_sample_value("secrets_manager_watch_up", labels) == 1


def test_series_go_with_their_definition_and_one_that_never_was_can_go() -> None:
    registry = CollectorRegistry()
    metrics = ControllerMetrics(registry)
    metrics.synced(("shop", "db"), ok=False)

    metrics.forget(("shop", "db"))
    metrics.forget(("shop", "db"))

    samples = [sample for family in registry.collect() for sample in family.samples]
    assert [sample for sample in samples if "namespace" in sample.labels] == []


def test_the_queue_is_asked_for_its_gauges_when_somebody_looks() -> None:
    registry = CollectorRegistry()
    waiting = ["a", "b"]
    QueueMetrics(registry, "q").follow(depth=lambda: len(waiting), unfinished=lambda: 3.0, longest=lambda: 2.0)
    waiting.append("c")

    gauges = ("depth", "unfinished_work_seconds", "longest_running_processor_seconds")
    assert [registry.get_sample_value(f"workqueue_{gauge}", {"name": "q"}) for gauge in gauges] == [3, 3, 2]


def test_gauges_of_vault_move_to_the_labels_that_it_tells() -> None:
    registry = CollectorRegistry()
    metrics = VaultMetrics(registry, CONFIG)
    metrics.token_ttl(20)
    assert registry.get_sample_value("secrets_manager_vault_max_token_ttl", UNKNOWN) == 300
    assert registry.get_sample_value("secrets_manager_vault_token_ttl", UNKNOWN) == 20

    metrics.server(version="2.7.2", cluster_id="id", cluster_name="name")

    assert registry.get_sample_value("secrets_manager_vault_max_token_ttl", UNKNOWN) is None
    assert registry.get_sample_value("secrets_manager_vault_max_token_ttl", KNOWN) == 300
    assert registry.get_sample_value("secrets_manager_vault_token_ttl", KNOWN) == 20


def test_errors_of_vault_are_counted_by_what_was_tried() -> None:
    registry = CollectorRegistry()
    metrics = VaultMetrics(registry, CONFIG)

    metrics.renewal_error("lookup-self", "refused")
    metrics.login_error("unavailable")
    metrics.read_error("secret/data/db", "SourceForbidden")

    renewal = UNKNOWN | {"vault_operation": "lookup-self", "error": "refused"}
    read = UNKNOWN | {"path": "secret/data/db", "error": "SourceForbidden"}
    assert registry.get_sample_value("secrets_manager_vault_token_renewal_errors_total", renewal) == 1
    assert (
        registry.get_sample_value("secrets_manager_vault_login_errors_total", UNKNOWN | {"error": "unavailable"}) == 1
    )
    assert registry.get_sample_value("secrets_manager_vault_read_secret_errors_total", read) == 1


def test_errors_of_key_vault_have_the_names_and_labels_of_the_original() -> None:
    registry = CollectorRegistry()
    metrics = AzureMetrics(registry, AzureConfig(name="shop", tenant_id="t"))

    metrics.login_error()
    metrics.read_error("db", "SourceForbidden")
    metrics.request("read", "403", 0.5)

    shop = {"azure_kv_name": "shop", "azure_kv_tenant": "t"}
    read = shop | {"path": "db", "error": "SourceForbidden"}
    asked = {"operation": "read", "status": "403"}
    assert registry.get_sample_value("secrets_manager_azure_kv_login_errors_total", shop) == 1
    assert registry.get_sample_value("secrets_manager_azure_kv_read_secret_errors_total", read) == 1
    assert registry.get_sample_value("secrets_manager_azure_kv_request_duration_seconds_sum", asked) == 0.5


def test_key_vault_without_a_name_bears_its_host() -> None:
    registry = CollectorRegistry()

    AzureMetrics(registry, AzureConfig(url="https://shop.vault.example.com:8443")).login_error()

    host = {"azure_kv_name": "shop.vault.example.com", "azure_kv_tenant": ""}
    assert registry.get_sample_value("secrets_manager_azure_kv_login_errors_total", host) == 1


def read_errors(registry: CollectorRegistry) -> list[str]:
    """The paths of all series of failed reads."""
    return [
        sample.labels["path"]
        for family in registry.collect()
        for sample in family.samples
        if "read_secret_errors" in sample.name
    ]


def test_series_of_a_path_go_with_it_whatever_their_other_labels() -> None:
    registry = CollectorRegistry()
    metrics = VaultMetrics(registry, VaultConfig())
    metrics.read_error("secret/data/db", "TimedOut")
    metrics.read_error("secret/data/tls", "TimedOut")
    metrics.server(version="2.7.2", cluster_id="1d", cluster_name="here")
    metrics.read_error("secret/data/db", "TimedOut")
    metrics.read_error("secret/data/db", "SourceNotFound")

    metrics.forget("secret/data/db")
    metrics.forget("secret/data/db")
    metrics.forget("secret/data/never-read")

    assert read_errors(registry) == ["secret/data/tls"]


def test_path_that_fails_once_more_is_counted_from_nothing_and_can_be_forgotten_again() -> None:
    registry = CollectorRegistry()
    metrics = AzureMetrics(registry, AzureConfig(name="shop", tenant_id="t"))
    metrics.read_error("db", "TimedOut")
    metrics.read_error("db", "TimedOut")
    metrics.forget("db")
    metrics.read_error("db", "TimedOut")

    labels = {"azure_kv_name": "shop", "azure_kv_tenant": "t", "path": "db", "error": "TimedOut"}
    assert registry.get_sample_value("secrets_manager_azure_kv_read_secret_errors_total", labels) == 1
    metrics.forget("db")
    assert read_errors(registry) == []
