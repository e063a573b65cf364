import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from secrets_manager.config import AzureConfig, Config, VaultConfig
from secrets_manager.metrics import (
    AzureMetrics,
    BackendMetrics,
    BackendMetricsFactory,
    ControllerMetrics,
    DefinitionMetrics,
    Definitions,
    KubeMetrics,
    QueueMetrics,
    Registry,
    SecretMetrics,
    VaultMetrics,
    register_process_metrics,
)

CONFIG = VaultConfig(url="https://vault:8200", engine="kv2", max_token_ttl=300.0)
UNKNOWN = {
    "vault_address": "https://vault:8200",
    "vault_engine": "kv2",
    "vault_version": "",
    "vault_cluster_id": "",
    "vault_cluster_name": "",
}
KNOWN = UNKNOWN | {"vault_version": "2.7.2", "vault_cluster_id": "id", "vault_cluster_name": "name"}
LAST_SYNC = "secrets_manager_controller_last_sync_status"
SYNC_ERRORS = "secrets_manager_controller_sync_errors_total"
READ_ERRORS = "secrets_manager_controller_secret_read_errors_total"
COMPONENT_BASE_HELP = {
    "workqueue_depth": "Current depth of workqueue",
    "workqueue_adds": "Total number of adds handled by workqueue",
    "workqueue_retries": "Total number of retries handled by workqueue",
    "workqueue_queue_duration_seconds": ("How long in seconds an item stays in workqueue before being requested."),
    "workqueue_work_duration_seconds": "How long in seconds processing an item from workqueue takes.",
    "workqueue_unfinished_work_seconds": (
        "How many seconds of work has done that is in progress and hasn't been observed by work_duration. Large values "
        "indicate stuck threads. One can deduce the number of stuck threads by observing the rate at which this "
        "increases."
    ),
    "workqueue_longest_running_processor_seconds": (
        "How many seconds has the longest running processor for workqueue been running."
    ),
    "rest_client_requests": "Number of HTTP requests, partitioned by status code, method, and host.",
    "leader_election_master_status": (
        "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates master. "
        "'name' is the string used to identify the lease. Please make sure to group by name."
    ),
}
"""k8s.io/component-base/metrics/prometheus, in workqueue, restclient and clientgo/leaderelection; of 1.37."""
STATES = {"Synced": "Ready", "SourceNotFound": "Reconciling", "DefinitionInvalid": "Stalled"}
ONE, OTHER = ("shop", "one"), ("shop", "other")
"""Two definitions."""


def samples(registry: CollectorRegistry, name: str = "db") -> dict[str, float]:
    """Return the samples of one Secret."""
    labels = {"name": name, "namespace": "shop"}
    return {each.name: each.value for family in registry.collect() for each in family.samples if each.labels == labels}


def test_a_secret_is_labelled_by_its_own_name_and_errors_start_at_0() -> None:
    registry = CollectorRegistry()
    metrics = SecretMetrics(registry)
    metrics.wants(ONE, "db")
    assert samples(registry) == {SYNC_ERRORS: 0}

    metrics.synced(ONE, ok=False)
    metrics.read_error(ONE)
    assert samples(registry) == {READ_ERRORS: 1, SYNC_ERRORS: 1, LAST_SYNC: 0}

    metrics.synced(ONE, ok=False)
    metrics.synced(ONE, ok=True)
    assert samples(registry) == {READ_ERRORS: 1, SYNC_ERRORS: 2, LAST_SYNC: 1}
    assert samples(registry, "one") == {}


def test_a_snapshot_shows_one_moment() -> None:
    registry = Registry()
    controller = ControllerMetrics(registry)
    vault = VaultMetrics(registry, CONFIG)
    reasons = {ONE: "SourceNotFound"}
    controller.definitions.follow(Definitions(STATES, reasons.items, dict))
    controller.secrets.wants(ONE, "db")
    controller.secrets.synced(ONE, ok=False)
    vault.read_error("secret/data/db", "not-found")
    before = generate_latest(registry)

    snapshot = registry.snapshot()
    reasons[ONE] = "Synced"
    controller.secrets.synced(ONE, ok=True)
    controller.secrets.wants(OTHER, "other")
    controller.reconciled(1.0)
    vault.read_error("secret/data/db", "not-found")
    vault.read_error("secret/data/other", "not-found")

    assert generate_latest(snapshot) == before
    assert generate_latest(registry) != before


def test_a_secret_that_two_definitions_want_went_as_well_as_the_worse_of_them() -> None:
    registry = CollectorRegistry()
    metrics = SecretMetrics(registry)
    metrics.wants(ONE, "db")
    metrics.wants(OTHER, "db")
    metrics.synced(ONE, ok=True)
    assert samples(registry) == {SYNC_ERRORS: 0, LAST_SYNC: 1}

    metrics.synced(OTHER, ok=False)
    metrics.synced(ONE, ok=True)
    assert samples(registry) == {SYNC_ERRORS: 1, LAST_SYNC: 0}

    metrics.synced(ONE, ok=False)
    metrics.synced(OTHER, ok=True)
    assert samples(registry) == {SYNC_ERRORS: 2, LAST_SYNC: 0}

    metrics.forget(ONE)
    assert samples(registry) == {SYNC_ERRORS: 2, LAST_SYNC: 1}

    metrics.forget(OTHER)
    assert samples(registry) == {}


def test_a_definition_that_wants_another_secret_takes_nothing_along() -> None:
    registry = CollectorRegistry()
    metrics = SecretMetrics(registry)
    metrics.wants(ONE, "db")
    metrics.synced(ONE, ok=False)
    metrics.wants(ONE, "db")
    assert samples(registry) == {SYNC_ERRORS: 1, LAST_SYNC: 0}

    metrics.wants(ONE, "cache")

    assert samples(registry) == {}
    assert samples(registry, "cache") == {SYNC_ERRORS: 0}


def test_secrets_of_one_name_in_two_namespaces_are_two() -> None:
    registry = CollectorRegistry()
    metrics = SecretMetrics(registry)
    metrics.wants(ONE, "db")
    metrics.wants(("web", "one"), "db")

    metrics.synced(("web", "one"), ok=False)

    assert samples(registry) == {SYNC_ERRORS: 0}


def test_no_series_for_a_deleted_or_unknown_definition() -> None:
    registry = CollectorRegistry()
    metrics = SecretMetrics(registry)
    metrics.wants(ONE, "db")
    metrics.forget(ONE)
    metrics.forget(ONE)

    metrics.synced(ONE, ok=False)
    metrics.read_error(ONE)

    assert samples(registry) == {}


def test_unexpected_errors_are_there_from_0_on() -> None:
    registry = CollectorRegistry()
    ControllerMetrics(registry)
    BackendMetrics(registry)

    found = {sample.value for family in registry.collect() if "unexpected" in family.name for sample in family.samples}
    assert found == {0}
    poll = {"task": "poll"}
    assert registry.get_sample_value("secrets_manager_backend_unexpected_errors_total", poll) == 0


def test_stores_have_no_series_of_paths_if_the_configuration_says_so() -> None:
    registry = CollectorRegistry()
    stores = BackendMetricsFactory(registry, Config(metrics_per_object=False, azure=AzureConfig(name="shop")))

    for store in (stores.vault(), stores.azure()):
        store.read_error("secret/data/db", "SourceNotFound")
        store.forget("secret/data/db")

    assert read_errors(registry) == ["", ""]


def test_definitions_are_counted_by_state_and_reason_from_0_on() -> None:
    registry = CollectorRegistry()
    reasons = {ONE: "Synced", OTHER: "SourceNotFound"}
    DefinitionMetrics(registry).follow(
        Definitions(STATES, reasons.items, lambda: {"": [1.0, 2.0, 3.0], "Synced": [1.0]})
    )

    def count(state: str, reason: str) -> float | None:
        name = "secrets_manager_controller_definitions"
        return registry.get_sample_value(name, {"state": state, "reason": reason})

    assert [count(state, reason) for reason, state in STATES.items()] == [1, 1, 0]
    assert count("Pending", "") == 3


def not_ready(registry: CollectorRegistry) -> list[dict[str, str]]:
    """The labels of each definition that is not ready."""
    samples = [sample for family in registry.collect() for sample in family.samples]
    found = [each for each in samples if each.name == "secrets_manager_controller_definition_not_ready"]
    assert {each.value for each in found} <= {1}
    return [each.labels for each in found]


def test_each_definition_that_is_not_ready_has_a_series_and_others_have_none() -> None:
    registry = CollectorRegistry()
    reasons = {ONE: "Synced", OTHER: "SourceNotFound"}
    DefinitionMetrics(registry).follow(Definitions(STATES, reasons.items, dict))
    assert not_ready(registry) == [{"namespace": "shop", "name": "other", "reason": "SourceNotFound"}]

    reasons[OTHER] = "Synced"

    assert not_ready(registry) == []


def test_an_outage_does_not_hide_what_is_wrong_with_few_definitions_and_has_a_bound() -> None:
    registry = CollectorRegistry()
    reasons = {("shop", f"app-{number}"): "SourceNotFound" for number in range(10_000)}
    reasons[OTHER] = "DefinitionInvalid"
    DefinitionMetrics(registry).follow(Definitions(STATES, reasons.items, dict))

    found = not_ready(registry)

    assert len(found) == 200
    assert found[0] == {"namespace": "shop", "name": "other", "reason": "DefinitionInvalid"}


def test_ages_are_grouped_by_how_long_ago_definitions_were_verified() -> None:
    registry = CollectorRegistry()
    ages = {"Synced": [400.0, 1.0, 60.0], "SourceNotFound": [5.0]}
    DefinitionMetrics(registry).follow(Definitions(STATES, tuple, lambda: ages))

    def sample(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"secrets_manager_controller_{name}", labels)

    within = {
        bound: sample("verification_age_seconds_bucket", reason="Synced", le=bound)
        for bound in ("1.0", "30.0", "60.0", "300.0", "600.0", "+Inf")
    }
    assert within == {"1.0": 1, "30.0": 1, "60.0": 2, "300.0": 2, "600.0": 3, "+Inf": 3}
    assert sample("verification_age_seconds_gcount", reason="Synced") == 3
    assert sample("verification_age_seconds_gsum", reason="Synced") == 461
    assert sample("max_verification_age_seconds", reason="Synced") == 400
    assert sample("max_verification_age_seconds", reason="SourceNotFound") == 5


def test_without_series_of_objects_their_number_does_not_grow_with_that_of_secrets_and_paths() -> None:
    def series(objects: int) -> int:
        registry = CollectorRegistry()
        controller = ControllerMetrics(registry, per_object=False)
        vault = VaultMetrics(registry, CONFIG, per_object=False)
        azure = AzureMetrics(registry, AzureConfig(name="shop"), per_object=False)
        for number in range(objects):
            controller.secrets.wants(("shop", str(number)), str(number))
            controller.secrets.synced(("shop", str(number)), ok=False)
            controller.reconcile_error("SourceNotFound")
            for store in (vault, azure):
                store.read_error(f"secret/data/{number}", "SourceNotFound")
            vault.forget("secret/data/0")
        return sum(len(family.samples) for family in registry.collect())

    assert series(100) == series(1)
    assert series(100) > series(0)


def test_requests_to_kubernetes_are_named_as_in_client_go() -> None:
    registry = CollectorRegistry()
    metrics = KubeMetrics(registry, url="https://user:pw@[::1]:6443/path")

    metrics.request("GET", "<error>")

    labels = {"code": "<error>", "method": "GET", "host": "[::1]:6443"}
    assert registry.get_sample_value("rest_client_requests_total", labels) == 1


def test_the_leader_election_metric_is_computed_at_each_scrape() -> None:
    registry = CollectorRegistry()
    works = [False]
    KubeMetrics(registry, url="").election("lease", leads=lambda: works[-1])
    assert registry.get_sample_value("leader_election_master_status", {"name": "lease"}) == 0

    works.append(True)

    assert registry.get_sample_value("leader_election_master_status", {"name": "lease"}) == 1


def test_process_metrics() -> None:
    registry = CollectorRegistry()
    register_process_metrics(registry, version="3.0.0")

    assert registry.get_sample_value("secrets_manager_build_info", {"version": "3.0.0"}) == 1
    assert (registry.get_sample_value("process_resident_memory_bytes") or 0) > 1_000_000


def test_metrics_of_client_go_have_the_words_that_kubernetes_own_programs_serve_with_them() -> None:
    registry = CollectorRegistry()
    QueueMetrics(registry, "q")
    KubeMetrics(registry, url="")

    assert {each.name: each.documentation for each in registry.collect()} == COMPONENT_BASE_HELP


def test_state_of_a_watch_is_read_at_each_scrape() -> None:
    registry = CollectorRegistry()
    states = [False]
    ControllerMetrics(registry).watch("Secret", "shop", up=lambda: states[-1])
    labels = {"kind": "Secret", "namespace": "shop"}
    assert registry.get_sample_value("secrets_manager_watch_up", labels) == 0

    states.append(True)

    assert registry.get_sample_value("secrets_manager_watch_up", labels) == 1


def test_gauges_of_the_queue_are_read_at_each_scrape() -> None:
    registry = CollectorRegistry()
    waiting = ["a", "b"]
    QueueMetrics(registry, "q").follow(depth=lambda: len(waiting), unfinished=lambda: 3.0, longest=lambda: 2.0)
    waiting.append("c")

    gauges = ("depth", "unfinished_work_seconds", "longest_running_processor_seconds")
    assert [registry.get_sample_value(f"workqueue_{gauge}", {"name": "q"}) for gauge in gauges] == [3, 3, 2]


def test_gauges_of_vault_move_to_the_labels_of_the_server() -> None:
    registry = CollectorRegistry()
    metrics = VaultMetrics(registry, CONFIG)
    metrics.follow_token(lambda: 20.0)
    assert registry.get_sample_value("secrets_manager_vault_max_token_ttl", UNKNOWN) == 300
    assert registry.get_sample_value("secrets_manager_vault_token_ttl", UNKNOWN) == 20

    metrics.server(version="2.7.2", cluster_id="id", cluster_name="name")

    assert registry.get_sample_value("secrets_manager_vault_max_token_ttl", UNKNOWN) is None
    assert registry.get_sample_value("secrets_manager_vault_max_token_ttl", KNOWN) == 300
    assert registry.get_sample_value("secrets_manager_vault_token_ttl", KNOWN) == 20


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("https://reader:hunter2@vault:8200", "https://vault:8200"),
        ("https://reader:hun@ter2@vault:8200/", "https://vault:8200/"),
        ("unix:///run/reader@vault.sock", "unix:///run/reader@vault.sock"),
        ("https://[::1", "https://[::1"),
    ],
)
def test_label_of_vault_has_no_user_and_password(url: str, label: str) -> None:
    registry = CollectorRegistry()
    VaultMetrics(registry, VaultConfig(url=url)).login_error("LoginRefused")

    served = generate_latest(registry).decode()
    assert set(re.findall('vault_address="([^"]*)"', served)) == {label}
    assert "hunter2" not in served


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
