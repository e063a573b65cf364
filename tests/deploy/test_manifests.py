"""What the manifests say of each other, and the Pod Security Standard `restricted`. No cluster is needed for it."""

import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from fake_kubernetes.documents import Json, Object, at, items, mapping, text
from secrets_manager.cli import flags
from secrets_manager.config import ServerConfig
from tests.deploy.installation import APPROLE, DEPLOY
from tests.deploy.pod_security import violations
from tests.documents import blocks, commands
from tests.real.cluster import run_kubectl
from tests.real.shell import run_shell

DASHBOARD = "secrets-manager-dashboard"
WAYS = ("cluster-wide", "namespaced")
LOGIN = {"VAULT_ROLE_ID": "r", "VAULT_SECRET_ID": "s"}
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


@cache
def built(way: str) -> list[Object]:
    """All objects of one way to deploy."""
    printed = run_kubectl("kustomize", str(DEPLOY / way), kubeconfig=Path("/nonexistent"))
    return list(yaml.safe_load_all(printed))


def the(kind: str, *, way: str = "cluster-wide") -> Object:
    (only,) = (document for document in built(way) if document["kind"] == kind)
    return only


def pod() -> Object:
    return mapping(the("Deployment"), "spec", "template")


def container() -> Object:
    (only,) = items(pod(), "spec", "containers")
    return mapping(only)


def environment() -> Object:
    return mapping(the("ConfigMap"), "data")


def pod_monitor() -> Object:
    document: Object = yaml.safe_load((DEPLOY / "pod-monitor" / "pod-monitor.yaml").read_text())
    return document


@pytest.mark.parametrize("way", WAYS)
def test_pods_keep_to_the_standard_restricted(way: str) -> None:
    assert violations(at(the("Deployment", way=way), "spec", "template", "spec")) == []


@pytest.mark.parametrize(
    ("found", "at_pod", "at_container"),
    [
        ("hostNetwork", {"hostNetwork": True}, {}),
        ("hostPath", {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}, {}),
        ("sysctls", {"securityContext": {"runAsNonRoot": True, "sysctls": []}}, {}),
        ("hostPort", {}, {"ports": [{"hostPort": 80}]}),
        ("privileged", {}, {"privileged": True}),
        ("allowPrivilegeEscalation", {}, {"allowPrivilegeEscalation": True}),
        ("capabilities", {}, {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}),
        ("capabilities", {}, {"capabilities": {}}),
        ("runAsNonRoot", {}, {"runAsNonRoot": False}),
        ("runAsUser", {}, {"runAsUser": 0}),
        ("seccompProfile", {}, {"seccompProfile": {"type": "Unconfined"}}),
        ("procMount", {}, {"procMount": "Unmasked"}),
    ],
)
def test_the_standard_restricted_forbids(found: str, at_pod: Object, at_container: Object) -> None:
    context: Object = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    ports = at_container.get("ports", [])
    bad: Object = {"securityContext": context | at_container, "ports": ports}

    good: Object = {"containers": [{"securityContext": context}]}

    assert violations(good) == []
    assert found in violations({**good, **at_pod, "containers": [bad]})


@pytest.mark.parametrize(
    "selector",
    [
        pytest.param(lambda: at(the("Deployment"), "spec", "selector", "matchLabels"), id="Deployment"),
        pytest.param(lambda: at(the("Service"), "spec", "selector"), id="Service"),
        pytest.param(lambda: at(the("NetworkPolicy"), "spec", "podSelector", "matchLabels"), id="NetworkPolicy"),
        pytest.param(lambda: at(the("PodDisruptionBudget"), "spec", "selector", "matchLabels"), id="budget"),
        pytest.param(lambda: at(pod_monitor(), "spec", "selector", "matchLabels"), id="PodMonitor"),
        pytest.param(
            lambda: at(items(pod(), "spec", "topologySpreadConstraints")[0], "labelSelector", "matchLabels"),
            id="topologySpreadConstraints",
        ),
    ],
)
def test_every_selector_finds_the_pods(selector: Callable[[], Json]) -> None:
    assert selector() == mapping(pod(), "metadata", "labels")


def test_every_port_by_name_is_the_one_that_the_program_serves() -> None:
    (named,) = items(container(), "ports")
    policy = at(items(the("NetworkPolicy"), "spec", "ingress")[0], "ports")
    probes = {text(container(), probe, "httpGet", "port") for probe in PROBES}
    (scraped,) = items(pod_monitor(), "spec", "podMetricsEndpoints")
    (served,) = items(the("Service"), "spec", "ports")

    assert named == {"name": "metrics", "containerPort": 8080}
    assert (policy, probes) == ([{"port": "metrics", "protocol": "TCP"}], {"metrics"})
    assert [text(scraped, "port"), text(served, "targetPort")] == ["metrics", "metrics"]


def test_the_namespaces_of_metrics_stay_those_of_the_secrets_when_the_pods_are_scraped() -> None:
    (scraped,) = items(pod_monitor(), "spec", "podMetricsEndpoints")

    assert at(scraped, "honorLabels") is True


def test_the_network_policy_lets_it_out_to_vault() -> None:
    vault = urlsplit(str(environment()["VAULT_ADDR"])).port
    ports = [
        at(port, "port") for rule in items(the("NetworkPolicy"), "spec", "egress") for port in items(rule, "ports")
    ]

    assert vault in ports


def test_the_network_policy_lets_it_out_to_names_in_openshift_too() -> None:
    (names, *_) = items(the("NetworkPolicy"), "spec", "egress")

    assert {(at(port, "port"), text(port, "protocol")) for port in items(names, "ports")} == {
        (number, protocol) for number in (53, 5353) for protocol in ("UDP", "TCP")
    }


def test_neither_way_brings_the_crd_since_deleting_it_deletes_every_secret() -> None:
    kinds = {str(document["kind"]) for way in WAYS for document in built(way)}

    assert "CustomResourceDefinition" not in kinds
    assert "ClusterRole" not in {str(document["kind"]) for document in built("namespaced")}


def test_pods_run_as_the_numeric_user_of_the_image_so_that_the_kubelet_can_verify_that_it_is_not_root() -> None:
    (user,) = re.findall(r"^USER (.+)$", (DEPLOY.parent / "Dockerfile").read_text(), re.MULTILINE)

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    contexts = mapping(pod(), "spec", "securityContext") | mapping(container(), "securityContext")
    assert not contexts.keys() & {"runAsUser", "runAsGroup", "fsGroup"}  # OpenShift chooses them


def test_the_files_that_the_variables_name_are_those_of_the_mounted_secret() -> None:
    (mount,) = items(container(), "volumeMounts")
    (volume,) = items(pod(), "spec", "volumes")
    files = [environment()[name] for name in ("VAULT_ROLE_ID_FILE", "VAULT_SECRET_ID_FILE")]

    assert volume == {"name": mapping(mount)["name"], "secret": {"secretName": APPROLE, "optional": True}}
    assert files == [f"{text(mount, 'mountPath')}/{key}" for key in ("role_id", "secret_id")]
    assert at(mount, "readOnly") is True


def documents_beside(kustomization: str, folder: Path) -> list[Object]:
    """What a user's own kustomization in a folder beside deploy/ makes."""
    shutil.copytree(DEPLOY, folder / "deploy")
    own = folder / "own"
    own.mkdir()
    (own / "kustomization.yaml").write_text(kustomization)
    return list(yaml.safe_load_all(run_kubectl("kustomize", str(own), kubeconfig=folder / "none")))


def built_beside(kustomization: str, folder: Path) -> dict[str, Object]:
    """The same by kind."""
    return {str(document["kind"]): document for document in documents_beside(kustomization, folder)}


@pytest.mark.parametrize(("way", "kind"), [("cluster-wide", "ClusterRole"), ("namespaced", "Role")])
def test_the_component_for_restarts_adds_one_rule_and_changes_nothing_else(way: str, kind: str, tmp_path: Path) -> None:
    overlay = f"resources: [../deploy/{way}]\ncomponents: [../deploy/rollout-restart]\n"
    changed = [each for each in documents_beside(overlay, tmp_path) if each not in built(way)]

    (role,) = changed
    assert (role["kind"], at(role, "metadata", "name")) == (kind, "secrets-manager-controller")
    assert items(role, "rules")[-1] == {
        "apiGroups": ["apps"],
        "resources": ["deployments", "statefulsets", "daemonsets"],
        "verbs": ["get", "patch"],
    }
    assert role | {"rules": items(role, "rules")[:-1]} in built(way)


@pytest.mark.parametrize("way", WAYS)
def test_the_component_for_secured_metrics_changes_the_deployment_and_the_pod_monitor(way: str, tmp_path: Path) -> None:
    plain = f"resources: [../deploy/{way}]\ncomponents: [../deploy/pod-monitor]\n"
    before = documents_beside(plain, tmp_path / "plain")
    overlay = f"resources: [../deploy/{way}]\ncomponents: [../deploy/pod-monitor, ../deploy/secured-metrics]\n"
    documents = documents_beside(overlay, tmp_path / "secured")
    changed = {(text(each, "kind"), text(each, "metadata", "name")): each for each in documents if each not in before}

    assert set(changed) == {
        ("Deployment", "secrets-manager"),
        ("PodMonitor", "secrets-manager"),
        ("ClusterRole", "secrets-manager-reviewer"),
        ("ClusterRoleBinding", "secrets-manager-reviewer"),
        ("ClusterRole", "secrets-manager-metrics-reader"),
        ("ClusterRole", "secrets-manager-status-reader"),
    }
    pod = at(changed["Deployment", "secrets-manager"], "spec", "template", "spec")
    (container,) = items(pod, "containers")
    config = flags.parse([str(each) for each in items(container, "args")], LOGIN).server
    mounts = {text(each, "name"): text(each, "mountPath") for each in items(container, "volumeMounts")}
    ports = {text(each, "name"): at(each, "containerPort") for each in items(container, "ports")}
    assert config == ServerConfig(
        health_probe_addr=":8081",
        tls_cert_file=f"{mounts['metrics-tls']}/tls.crt",
        tls_key_file=f"{mounts['metrics-tls']}/tls.key",
        auth=True,
    )
    assert set(mounts) == {"approle", "metrics-tls"}
    assert ports == {"metrics": 8080, "probes": 8081}
    assert [mapping(container, probe, "httpGet") for probe in PROBES] == [
        {"path": path, "port": "probes"} for path in ("/healthz", "/healthz", "/readyz")
    ]
    assert violations(pod) == []

    (scraped,) = items(changed["PodMonitor", "secrets-manager"], "spec", "podMetricsEndpoints")
    certificates = {text(each, "name"): text(each, "secret", "secretName") for each in items(pod, "volumes")}
    assert (text(scraped, "scheme"), text(scraped, "port"), at(scraped, "honorLabels")) == ("https", "metrics", True)
    assert text(scraped, "tlsConfig", "ca", "secret", "name") == certificates["metrics-tls"]
    assert text(scraped, "tlsConfig", "serverName") == f"{text(the('Service'), 'metadata', 'name')}.secrets-manager.svc"


def test_the_component_for_secured_metrics_needs_no_pod_monitor(tmp_path: Path) -> None:
    overlay = "resources: [../deploy/cluster-wide]\ncomponents: [../deploy/secured-metrics]\n"

    assert "PodMonitor" not in built_beside(overlay, tmp_path)


def test_the_reader_in_the_documents_has_the_role_and_the_token_that_the_pod_monitor_names() -> None:
    (manifests,) = blocks("docs/security.md#securing-the-endpoint", "yaml")
    account, secret, binding = yaml.safe_load_all(manifests)
    authorization = yaml.safe_load((DEPLOY / "secured-metrics" / "pod-monitor.yaml").read_text())[-1]

    assert text(secret, "metadata", "name") == text(authorization, "value", "credentials", "name")
    assert mapping(secret, "metadata", "annotations") == {
        "kubernetes.io/service-account.name": text(account, "metadata", "name")
    }
    assert text(binding, "roleRef", "name") == "secrets-manager-metrics-reader"
    assert [text(each, "name") for each in items(binding, "subjects")] == [text(account, "metadata", "name")]


def test_the_overlay_in_the_documents_builds_what_it_says(tmp_path: Path) -> None:
    (overlay,) = blocks("docs/install.md#overlay", "yaml")
    made = documents_beside(overlay, tmp_path)
    by_kind = {str(document["kind"]): document for document in made}
    maps = {text(each, "metadata", "name"): mapping(each, "data") for each in made if each["kind"] == "ConfigMap"}

    (container,) = items(by_kind["Deployment"], "spec", "template", "spec", "containers")
    image, tag = text(container, "image").split(":")
    assert image == "images.example.com/secrets-manager"
    assert f"newTag: {tag}\n" in (DEPLOY / "cluster-wide" / "kustomization.yaml").read_text()
    (variables,) = (data for name, data in maps.items() if name != DASHBOARD)
    assert variables == environment() | {"VAULT_ADDR": "https://vault.example.com:8200"}
    assert {"PodMonitor", "PrometheusRule"} <= by_kind.keys()
    assert DASHBOARD in maps


@pytest.mark.parametrize("way", WAYS)
def test_the_component_for_monitoring_adds_rules_and_a_dashboard_for_the_sidecar(way: str, tmp_path: Path) -> None:
    overlay = f"resources: [../deploy/{way}]\ncomponents: [../deploy/monitoring]\n"
    added = {str(each["kind"]): each for each in documents_beside(overlay, tmp_path) if each not in built(way)}

    assert added.keys() == {"ConfigMap", "PrometheusRule"}
    assert {text(each, "metadata", "namespace") for each in added.values()} == {"secrets-manager"}
    dashboard = added["ConfigMap"]
    assert text(dashboard, "metadata", "name") == DASHBOARD
    assert at(dashboard, "metadata", "labels", "grafana_dashboard") == "1"
    shown = (DEPLOY / "monitoring" / "dashboard.json").read_text()
    assert mapping(dashboard, "data") == {"secrets-manager.json": shown}


def test_the_overlay_for_key_vault_in_the_documents_builds_what_it_says(tmp_path: Path) -> None:
    (overlay,) = blocks("docs/azure.md#in-a-cluster", "yaml")
    by_kind = built_beside(overlay, tmp_path)

    pod = mapping(by_kind["Deployment"], "spec", "template")
    (container,) = items(pod, "spec", "containers")
    assert items(container, "args")[-1] == "--backend=azure-kv"
    assert at(by_kind["ConfigMap"], "data", "AZURE_KV_NAME") == "shop"
    assert at(pod, "metadata", "labels", "azure.workload.identity/use") == "true"
    assert list(mapping(by_kind["ServiceAccount"], "metadata", "annotations")) == ["azure.workload.identity/client-id"]
    assert violations(pod["spec"]) == []
    rules = items(by_kind["NetworkPolicy"], "spec", "egress")
    assert rules[:2] == items(the("NetworkPolicy"), "spec", "egress")[:2]
    assert rules[2:] == [
        {"ports": [{"port": 443, "protocol": "TCP"}]},
        {"to": [{"ipBlock": {"cidr": "169.254.169.254/32"}}], "ports": [{"port": 80, "protocol": "TCP"}]},
    ]
    assert APPROLE not in str(pod)
    assert list(mapping(by_kind["ConfigMap"], "data")) == ["AZURE_KV_NAME"]


def assert_all_in_platform(documents: list[Object], *, but: str = "") -> None:
    """All objects but the roles in the watched namespace, and the subjects of all bindings."""
    subjects = [subject for each in documents for subject in items(each, "subjects")]
    namespaces = {text(each, "metadata", "namespace") for each in documents}
    (namespace,) = (each for each in documents if each["kind"] == "Namespace")

    assert {text(each, "namespace") for each in subjects} == {"platform"}
    assert namespaces - {""} == {"platform"} | ({but} if but else set())
    assert text(namespace, "metadata", "name") == "platform"


def test_the_transformer_in_the_documents_moves_all_and_the_subjects_of_bindings(tmp_path: Path) -> None:
    (transformers,) = blocks("docs/install.md#another-namespace", "yaml")
    components = "components: [../deploy/pod-monitor, ../deploy/monitoring, ../deploy/secured-metrics]\n"

    assert_all_in_platform(
        documents_beside(f"resources: [../deploy/cluster-wide]\n{components}{transformers}", tmp_path)
    )


def test_the_commands_in_the_documents_write_another_namespace_into_a_copy(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    (command,) = commands("docs/install.md#another-namespace")
    run_shell(command, environment={}, folder=tmp_path)
    printed = run_kubectl("kustomize", str(tmp_path / "deploy" / "namespaced"), kubeconfig=tmp_path / "none")

    assert_all_in_platform(list(yaml.safe_load_all(printed)), but="shop")
