"""The values of the chart, one by one: what each changes, and what is refused."""

import json
import re
from collections.abc import Callable, Iterator

import pytest
from helm_python import HelmError, HelmValuesError

from fake_kubernetes.documents import Json, Object, at, items, mapping, parse, text
from secrets_manager.metrics import buckets
from tests.chart_values import values as values_of_the_chart
from tests.deploy.chart import container_of, kinds, of_kind, pod_of, rendered
from tests.deploy.installation import DEPLOY, HOME
from tests.deploy.test_manifests import PROBES

CRD = "CustomResourceDefinition"
DIGEST = f"sha256:{'0' * 64}"
ACCOUNT: Object = {"kind": "ServiceAccount", "name": "sm", "namespace": HOME}
VAULT = "/var/run/secrets/vault"
CERTIFICATE = "/var/run/secrets/metrics-tls"
SECURED: Object = {"tls": {"enabled": True}, "auth": {"enabled": True, "tokenSecret": "own", "tokenKey": "t"}}
WHOLE: Object = {"name": "extra", "emptyDir": {}}

Found = Callable[[list[Object]], Json]


def deployment(*path: str) -> Found:
    return lambda documents: at(of_kind("Deployment", documents), *path)


def pod(*path: str) -> Found:
    return lambda documents: at(pod_of(documents), *path)


def container(*path: str) -> Found:
    return lambda documents: at(container_of(documents), *path)


def account(*path: str) -> Found:
    return lambda documents: at(of_kind("ServiceAccount", documents), *path)


def budget(*path: str) -> Found:
    return lambda documents: at(of_kind("PodDisruptionBudget", documents), *path)


def monitor(*path: str) -> Found:
    return lambda documents: at(of_kind("PodMonitor", documents), *path)


def scraped(documents: list[Object]) -> Json:
    (endpoint,) = items(of_kind("PodMonitor", documents), "spec", "podMetricsEndpoints")
    return endpoint


def rule(*path: str) -> Found:
    return lambda documents: at(of_kind("PrometheusRule", documents), *path)


def dashboard(*path: str) -> Found:
    return lambda documents: at(of_kind("ConfigMap", documents), *path)


def links(documents: list[Object]) -> Json:
    """Where the alerts' links lead, less the section of each; nowhere without links."""
    groups = items(of_kind("PrometheusRule", documents), "spec", "groups")
    alerts = [each for group in groups for each in items(group, "rules") if text(each, "alert")]
    found = {
        text(each, "annotations", "runbook_url").removesuffix(f"#{text(each, 'alert').lower()}") for each in alerts
    }
    return [*sorted(found - {""})]


def within(documents: list[Object]) -> Json:
    """What the rules take for fresh, and say of it."""
    written = json.dumps(rule()(documents)).replace('\\"', '"')
    return [*sorted({*re.findall(r'le="[0-9.]+"|within [^."]*(?:[.]0)? ?[a-z]+', written)})]


def leaders(documents: list[Object]) -> Json:
    """The namespaces in which a leader is missed."""
    groups = items(of_kind("PrometheusRule", documents), "spec", "groups")
    (found,) = (
        each for group in groups for each in items(group, "rules") if text(each, "alert") == "SecretsManagerNoLeader"
    )
    selectors = re.findall(r"leader_election_master_status(?:{.*?})?", text(found, "expr"))
    return [*sorted({*re.findall(r'namespace="(.*?)"', "".join(selectors))})] if len(selectors) == 2 else selectors


def probed(documents: list[Object]) -> Json:
    return [*sorted({text(container_of(documents), probe, "httpGet", "port") for probe in PROBES})]


def ports(documents: list[Object]) -> Json:
    return {text(each, "name"): at(each, "containerPort") for each in items(container_of(documents), "ports")}


def cluster_roles(documents: list[Object]) -> Json:
    names = (text(each, "metadata", "name") for each in documents if each["kind"] == "ClusterRole")
    return [
        *sorted(name.removeprefix("secrets-manager-") for name in names if not name.startswith("secretdefinitions"))
    ]


def variables(documents: list[Object]) -> Json:
    return {
        text(each, "name"): at(each, "value") or at(each, "valueFrom") for each in items(container_of(documents), "env")
    }


def ports_out(documents: list[Object]) -> Json:
    """Ports of each egress rule but that for names."""
    rules = items(of_kind("NetworkPolicy", documents), "spec", "egress")[1:]
    return [[at(port, "port") for port in items(rule, "ports")] for rule in rules]


def rules(documents: list[Object]) -> Json:
    return items(of_kind("ClusterRole", [each for each in documents if "aggregate" not in str(each)]), "rules")


def scopes(documents: list[Object]) -> Json:
    """Kind and namespace of each role and binding for the work itself."""
    return [
        [text(each, "kind"), text(each, "metadata", "namespace")]
        for each in documents
        if at(each, "metadata", "name") == "secrets-manager-controller" and "Role" in text(each, "kind")
    ]


def subjects(documents: list[Object]) -> Json:
    return [each for document in documents for each in items(document, "subjects")]


def labels(documents: list[Object]) -> Json:
    """Whether all objects, and the pods, have this one."""
    return all(mapping(each, "metadata", "labels").get("team") == "shop" for each in documents) and text(
        of_kind("Deployment", documents), "spec", "template", "metadata", "labels", "team"
    )


def spread(documents: list[Object]) -> Json:
    return [at(each, "labelSelector", "matchLabels") for each in items(pod_of(documents), "topologySpreadConstraints")]


def names(documents: list[Object]) -> Json:
    return [*sorted({text(each, "metadata", "name") for each in documents if each["kind"] not in (CRD, "ClusterRole")})]


CASES: list[tuple[Object, Found, Json]] = [
    # values, where to look, what is there
    (
        {"nameOverride": "sm"},
        names,
        [f"secrets-manager-sm{end}" for end in ("", "-controller", "-leader-election", "-metrics")],
    ),
    ({"fullnameOverride": "sm"}, names, ["sm", "sm-controller", "sm-leader-election", "sm-metrics"]),
    ({"commonLabels": {"team": "shop"}}, labels, "shop"),
    ({"image": {"repository": "r/sm"}}, container("image"), "r/sm:dev"),
    ({"image": {"tag": "1"}}, container("image"), "secrets-manager:1"),
    ({"image": {"tag": "1", "digest": DIGEST}}, container("image"), f"secrets-manager@{DIGEST}"),
    ({"image": {"pullPolicy": "Always"}}, container("imagePullPolicy"), "Always"),
    ({"imagePullSecrets": [{"name": "registry"}]}, pod("imagePullSecrets"), [{"name": "registry"}]),
    ({"replicaCount": 3}, deployment("spec", "replicas"), 3),
    ({"strategy": {"type": "Recreate"}}, deployment("spec", "strategy"), {"type": "Recreate"}),
    ({"revisionHistoryLimit": 0}, deployment("spec", "revisionHistoryLimit"), 0),
    ({"vault": {"namespace": "team"}}, lambda made: at(variables(made), "VAULT_NAMESPACE"), "team"),
    (
        {"vault": {"authMethod": "kubernetes", "kubernetesRole": "a: b"}},
        container("args"),
        ["--enable-leader-election", "--vault.auth-method=kubernetes", "--vault.kubernetes-role=a: b"],
    ),
    ({"vault": {"authMethod": "kubernetes", "kubernetesRole": "r"}}, pod("volumes"), None),
    (
        {"vault": {"appRole": {"existingSecret": "own", "roleIdKey": "r", "secretIdKey": "s"}}},
        lambda made: [
            pod("volumes")(made),
            at(variables(made), "VAULT_ROLE_ID_FILE"),
            at(variables(made), "VAULT_SECRET_ID_FILE"),
        ],
        [[{"name": "approle", "secret": {"secretName": "own", "optional": True}}], f"{VAULT}/r", f"{VAULT}/s"],
    ),
    (
        {"vault": {"appRole": {"source": "environment"}}},
        lambda made: [variables(made), pod("volumes")(made)],
        [
            {
                "VAULT_ADDR": "https://vault.vault.svc:8200",
                "VAULT_ROLE_ID": {"secretKeyRef": {"name": "secrets-manager-approle", "key": "role_id"}},
                "VAULT_SECRET_ID": {"secretKeyRef": {"name": "secrets-manager-approle", "key": "secret_id"}},
            },
            None,
        ],
    ),
    (
        {"vault": {"ca": {"existingSecret": "own", "key": "tls.pem"}}},
        lambda made: [at(variables(made), "VAULT_CACERT"), items(pod("volumes")(made))[-1]],
        ["/var/run/secrets/vault-ca/tls.pem", {"name": "vault-ca", "secret": {"secretName": "own"}}],
    ),
    (
        {"vault": {"ca": {"existingConfigMap": "own"}}},
        lambda made: [at(variables(made), "VAULT_CACERT"), items(pod("volumes")(made))[-1]],
        ["/var/run/secrets/vault-ca/ca.crt", {"name": "vault-ca", "configMap": {"name": "own"}}],
    ),
    ({"vault": {"address": "https://vault.example.com"}}, ports_out, [[443, 6443], [443]]),
    ({"vault": {"address": "http://[::1]"}}, ports_out, [[443, 6443], [80]]),
    ({"vault": {"address": "http://[::1]:8201/vault"}}, ports_out, [[443, 6443], [8201]]),
    ({"vault": {"address": "unix:///run/vault.sock"}}, ports_out, [[443, 6443]]),
    (
        {"backend": "azure-kv", "azureKeyVault": {"name": "shop"}},
        lambda made: [variables(made), container("args")(made), ports_out(made), pod("volumes")(made)],
        [
            {"AZURE_KV_NAME": "shop"},
            ["--enable-leader-election", "--backend=azure-kv"],
            [[443, 6443], [443], [80]],
            None,
        ],
    ),
    ({"watchNamespaces": ["shop", "1"]}, container("args"), ["--enable-leader-election", "--watch-namespaces=shop,1"]),
    (
        {"watchNamespaces": ["shop", "1"]},
        scopes,
        [["Role", "shop"], ["RoleBinding", "shop"], ["Role", "1"], ["RoleBinding", "1"]],
    ),
    ({"excludeNamespaces": ["a"]}, container("args"), ["--enable-leader-election", "--exclude-namespaces=a"]),
    ({"excludeNamespaces": ["a"]}, scopes, [["ClusterRole", ""], ["ClusterRoleBinding", ""]]),
    ({"rbac": {"create": False}}, scopes, []),
    (
        {"rbac": {"rolloutRestart": True}},
        lambda made: items(rules(made))[-1],
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets", "daemonsets"], "verbs": ["get", "patch"]},
    ),
    (
        {"serviceAccount": {"name": "sm", "annotations": {"a": "b"}, "labels": {"team": "shop"}}},
        lambda made: [pod("serviceAccountName")(made), subjects(made), account("metadata", "annotations")(made)],
        ["sm", [ACCOUNT, ACCOUNT], {"a": "b"}],
    ),
    ({"serviceAccount": {"labels": {"team": "shop"}}}, account("metadata", "labels", "team"), "shop"),
    (
        {"serviceAccount": {"create": False, "name": "sm"}},
        lambda made: [pod("serviceAccountName")(made), "ServiceAccount" in kinds(made)],
        ["sm", False],
    ),
    ({"serviceAccount": {"create": False}}, pod("serviceAccountName"), "default"),
    ({"extraArgs": ["--a=b"]}, container("args"), ["--enable-leader-election", "--a=b"]),
    ({"extraEnv": [{"name": "A", "value": "1"}]}, lambda made: at(variables(made), "A"), "1"),
    ({"extraVolumes": [WHOLE]}, lambda made: items(pod("volumes")(made))[-1], WHOLE),
    (
        {"extraVolumeMounts": [{"name": "extra", "mountPath": "/x"}]},
        lambda made: items(container("volumeMounts")(made))[-1],
        {"name": "extra", "mountPath": "/x"},
    ),
    ({"deploymentAnnotations": {"a": "b"}}, deployment("metadata", "annotations"), {"a": "b"}),
    ({"podAnnotations": {"a": "b"}}, deployment("spec", "template", "metadata", "annotations"), {"a": "b"}),
    ({"podLabels": {"team": "shop"}}, deployment("spec", "template", "metadata", "labels", "team"), "shop"),
    ({"resources": {"limits": {"cpu": 1}}}, container("resources", "limits"), {"cpu": 1, "memory": "256Mi"}),
    ({"resources": None}, container("resources"), None),
    ({"nodeSelector": {"a": "b"}}, pod("nodeSelector"), {"a": "b"}),
    ({"tolerations": [{"key": "a"}]}, pod("tolerations"), [{"key": "a"}]),
    ({"affinity": {"podAffinity": {"a": 1}}}, pod("affinity"), {"podAffinity": {"a": 1}}),
    ({"topologySpreadConstraints": []}, pod("topologySpreadConstraints"), None),
    (
        {"topologySpreadConstraints": [{"maxSkew": 2}, {"maxSkew": 1, "labelSelector": {"matchLabels": {"a": "b"}}}]},
        spread,
        [{"app.kubernetes.io/name": "secrets-manager", "app.kubernetes.io/instance": "secrets-manager"}, {"a": "b"}],
    ),
    ({"priorityClassName": "high"}, pod("priorityClassName"), "high"),
    ({"podSecurityContext": {"fsGroup": 1}}, pod("securityContext", "fsGroup"), 1),
    ({"securityContext": {"runAsUser": 1}}, container("securityContext", "runAsUser"), 1),
    ({"startupProbe": {"failureThreshold": 9}}, container("startupProbe", "failureThreshold"), 9),
    ({"livenessProbe": {"periodSeconds": 9}}, container("livenessProbe", "periodSeconds"), 9),
    ({"readinessProbe": {"periodSeconds": 9}}, container("readinessProbe", "periodSeconds"), 9),
    ({"podDisruptionBudget": {"maxUnavailable": "50%"}}, budget("spec", "maxUnavailable"), "50%"),
    (
        {"podDisruptionBudget": {"minAvailable": 0}},
        lambda made: [budget("spec", "minAvailable")(made), budget("spec", "maxUnavailable")(made)],
        [0, None],
    ),
    ({"networkPolicy": {"apiServerPorts": [8443]}}, ports_out, [[8443], [8200]]),
    ({"networkPolicy": {"extraEgress": [{"ports": [{"port": 3128}]}]}}, ports_out, [[443, 6443], [8200], [3128]]),
    (
        {"networkPolicy": {"metricsFrom": [{"podSelector": {}}]}},
        lambda made: at(items(of_kind("NetworkPolicy", made), "spec", "ingress")[0], "from"),
        [{"podSelector": {}}],
    ),
    ({"networkPolicy": {"metricsFrom": []}}, lambda made: at(of_kind("NetworkPolicy", made), "spec", "ingress"), None),
    (
        {"metrics": {"service": {"annotations": {"a": "b"}}}},
        lambda made: at(of_kind("Service", made), "metadata", "annotations"),
        {"a": "b"},
    ),
    (
        {"metrics": {"podMonitor": {"enabled": True, "namespace": "monitoring", "labels": {"a": "b"}}}},
        lambda made: [
            monitor("metadata", "namespace")(made),
            monitor("spec", "namespaceSelector")(made),
            monitor("metadata", "labels", "a")(made),
        ],
        ["monitoring", {"matchNames": [HOME]}, "b"],
    ),
    (
        {"metrics": {"podMonitor": {"enabled": True, "annotations": {"a": "b"}}}},
        lambda made: [monitor("metadata", "annotations")(made), scraped(made)],
        [{"a": "b"}, {"port": "metrics", "honorLabels": True}],
    ),
    (
        {
            "metrics": {
                "podMonitor": {
                    "enabled": True,
                    "honorLabels": False,
                    "interval": "30s",
                    "scrapeTimeout": "9s",
                    "relabelings": [{"action": "drop"}],
                    "metricRelabelings": [{"action": "keep"}],
                }
            }
        },
        scraped,
        {
            "port": "metrics",
            "honorLabels": False,
            "interval": "30s",
            "scrapeTimeout": "9s",
            "relabelings": [{"action": "drop"}],
            "metricRelabelings": [{"action": "keep"}],
        },
    ),
    ({}, probed, ["metrics"]),
    ({}, ports, {"metrics": 8080}),
    (
        {"metrics": {"tls": {"enabled": True, "existingSecret": "own"}}},
        lambda made: [container("args")(made), items(pod("volumes")(made))[-1], probed(made), ports(made)],
        [
            [
                "--enable-leader-election",
                f"--metrics-tls-cert-file={CERTIFICATE}/tls.crt",
                f"--metrics-tls-key-file={CERTIFICATE}/tls.key",
                "--health-probe-addr=:8081",
            ],
            {"name": "metrics-tls", "secret": {"secretName": "own"}},
            ["probes"],
            {"metrics": 8080, "probes": 8081},
        ],
    ),
    (
        {"metrics": {"tls": {"enabled": True}}},
        lambda made: [items(container("volumeMounts")(made))[-1], cluster_roles(made)],
        [{"name": "metrics-tls", "mountPath": CERTIFICATE, "readOnly": True}, ["controller"]],
    ),
    (
        {"metrics": {"tls": {"enabled": True, "existingSecret": "own"}, "podMonitor": {"enabled": True}}},
        lambda made: mapping(scraped(made)),
        {
            "port": "metrics",
            "honorLabels": True,
            "scheme": "https",
            "tlsConfig": {
                "serverName": f"secrets-manager-metrics.{HOME}.svc",
                "ca": {"secret": {"name": "own", "key": "ca.crt"}},
            },
        },
    ),
    ({"metrics": SECURED}, lambda made: "--metrics-auth" in items(container("args")(made)), True),
    ({"metrics": SECURED}, cluster_roles, ["controller", "metrics-reader", "reviewer", "status-reader"]),
    ({"metrics": SECURED, "rbac": {"create": False}}, cluster_roles, []),
    (
        {"metrics": {**SECURED, "podMonitor": {"enabled": True}}},
        lambda made: at(scraped(made), "authorization", "credentials"),
        {"name": "own", "key": "t"},
    ),
    ({"statusPage": {"enabled": False}}, container("args"), ["--enable-leader-election", "--status-page=false"]),
    (
        {"metrics": {"prometheusRule": {"enabled": True, "namespace": "m", "labels": {"a": "b"}}}},
        lambda made: [rule("metadata", "namespace")(made), rule("metadata", "labels", "a")(made), links(made)],
        ["m", "b", []],
    ),
    (
        {"metrics": {"prometheusRule": {"enabled": True, "annotations": {"a": "b"}, "runbooks": "https://own/x"}}},
        lambda made: [rule("metadata", "annotations")(made), links(made)],
        [{"a": "b"}, ["https://own/x"]],
    ),
    (
        {"metrics": {"prometheusRule": {"enabled": True}}},
        lambda made: [within(made), leaders(made)],
        [['le="60.0"', "within a minute"], [HOME]],
    ),
    (
        {"metrics": {"prometheusRule": {"enabled": True, "freshWithin": "120.0"}}},
        within,
        ['le="120.0"', "within 120.0 seconds"],
    ),
    (
        {
            "metrics": {
                "dashboard": {"enabled": True, "namespace": "m", "labels": {"grafana_dashboard": None, "a": "b"}}
            }
        },
        lambda made: [
            dashboard("metadata", "namespace")(made),
            [name for name in mapping(dashboard("metadata", "labels")(made)) if "/" not in name],
        ],
        ["m", ["a"]],
    ),
    (
        {"metrics": {"dashboard": {"enabled": True, "annotations": {"grafana_folder": "b"}}}},
        lambda made: [
            dashboard("metadata", "annotations")(made),
            dashboard("metadata", "labels", "grafana_dashboard")(made),
        ],
        [{"grafana_folder": "b"}, "1"],
    ),
    (
        {"crds": {"keep": False}},
        lambda made: at(of_kind(CRD, made), "metadata", "annotations"),
        None,
    ),
    ({}, lambda made: at(of_kind(CRD, made), "metadata", "annotations"), {"helm.sh/resource-policy": "keep"}),
]

SWITCHES: list[tuple[Object, str]] = [
    ({"crds": {"enabled": False}}, CRD),
    ({"serviceAccount": {"create": False}}, "ServiceAccount"),
    ({"podDisruptionBudget": {"enabled": False}}, "PodDisruptionBudget"),
    ({"networkPolicy": {"enabled": False}}, "NetworkPolicy"),
    ({"metrics": {"service": {"enabled": False}}}, "Service"),
]

REFUSED: list[tuple[Object, str]] = [
    # values, and what Helm says of them
    ({"replicas": 3}, "additional properties 'replicas' not allowed"),
    ({"image": {"repo": "a"}}, "additional properties 'repo' not allowed"),
    ({"image": {"digest": "abc"}}, "at '/image/digest'"),
    ({"vault": {"adress": "a"}}, "additional properties 'adress' not allowed"),
    ({"vault": {"address": "vault:8200"}}, "at '/vault/address'"),
    ({"vault": {"authMethod": "token"}}, "at '/vault/authMethod'"),
    ({"vault": {"authMethod": "kubernetes"}}, "at '/vault/kubernetesRole'"),
    ({"vault": {"appRole": {"source": "env"}}}, "at '/vault/appRole/source'"),
    ({"backend": "azure"}, "at '/backend'"),
    ({"watchNamespaces": "shop"}, "at '/watchNamespaces'"),
    ({"watchNamespaces": ["a,b"]}, "at '/watchNamespaces/0'"),
    ({"extraArgs": {"a": "b"}}, "at '/extraArgs'"),
    ({"extraArgs": ["a"]}, "at '/extraArgs/0'"),
    ({"extraEnv": [{"name": "A", "vaule": "1"}]}, "additional properties 'vaule' not allowed"),
    ({"podLabels": {"a": 1}}, "at '/podLabels/a'"),
    ({"replicaCount": "2"}, "at '/replicaCount'"),
    ({"startupProbe": {"period": 1}}, "additional properties 'period' not allowed"),
    ({"metrics": {"podMonitor": {"relabelings": {}}}}, "at '/metrics/podMonitor/relabelings'"),
    ({"metrics": {"auth": {"enabled": True}}}, "at '/metrics/tls/enabled'"),
    ({"metrics": {"tls": {"enabled": True, "existingSecret": ""}}}, "at '/metrics/tls/existingSecret'"),
    ({"metrics": {"prometheusRule": {"runbooks": "docs/runbooks.md"}}}, "at '/metrics/prometheusRule/runbooks'"),
    ({"statusPage": False}, "at '/statusPage'"),
    ({"commonLabels": {"app.kubernetes.io/name": "a"}}, "at '/commonLabels/app.kubernetes.io~1name'"),
    ({"podLabels": {"app.kubernetes.io/instance": "a"}}, "at '/podLabels/app.kubernetes.io~1instance'"),
    ({"nameOverride": "a.b"}, "at '/nameOverride'"),
    ({"fullnameOverride": "a.b"}, "at '/fullnameOverride'"),
    ({"fullnameOverride": "1e3"}, "at '/fullnameOverride'"),
    ({"vault": {"address": "https://v:65536"}}, "at '/vault/address'"),
    ({"vault": {"address": "https://[::1]:99999/vault"}}, "at '/vault/address'"),
    ({"readinessProbe": {"terminationGracePeriodSeconds": 5}}, "at '/readinessProbe/terminationGracePeriodSeconds'"),
    ({"livenessProbe": {"successThreshold": 2}}, "at '/livenessProbe/successThreshold'"),
    ({"extraEnv": [{"name": "VAULT_ADDR", "value": "a"}]}, "at '/extraEnv/0/name'"),
    ({"extraVolumes": [{"name": "approle", "emptyDir": {}}]}, "at '/extraVolumes/0/name'"),
    ({"extraArgs": ["--metrics-addr=:9090"]}, "at '/extraArgs/0'"),
    ({"extraArgs": ["-health-probe-addr=:9090"]}, "at '/extraArgs/0'"),
    ({"networkPolicy": None}, "missing property 'networkPolicy'"),
    ({"metrics": {"tls": None}}, "missing property 'tls'"),
    ({"backend": None}, "missing property 'backend'"),
    ({"vault": {"authMethod": None}}, "missing property 'authMethod'"),
    ({"backend": "azure-kv", "azureKeyVault": None}, "missing property 'azureKeyVault'"),
    ({"metrics": {"prometheusRule": {"enabled": True, "freshWithin": None}}}, "missing property 'freshWithin'"),
    ({"vault": {"appRole": None}}, "missing property 'appRole'"),
    ({"metrics": {"prometheusRule": {"freshWithin": "61.0"}}}, "at '/metrics/prometheusRule/freshWithin'"),
]


@pytest.mark.parametrize(
    ("values", "found", "expected"), [pytest.param(*case, id=json.dumps(case[0])) for case in CASES]
)
def test_value_does_what_it_says(values: Object, found: Found, expected: Json) -> None:
    assert found(rendered(values)) == expected


@pytest.mark.parametrize(("values", "kind"), SWITCHES)
def test_switch_leaves_an_object_out(values: Object, kind: str) -> None:
    assert kinds(rendered()) - kinds(rendered(values)) == {kind}


@pytest.mark.parametrize("user", ["View", "Edit"])
def test_switch_leaves_an_aggregated_role_out(user: str) -> None:
    left_out = [
        text(each, "metadata", "name")
        for each in rendered()
        if each not in rendered({"rbac": {f"aggregateTo{user}": False}})
    ]

    assert left_out == [f"secretdefinitions-{user.lower()}"]


def settings(values: Object, path: str = "") -> Iterator[str]:
    """The names of what is set, with dots: also those of groups."""
    for name, inner in values.items():
        yield f"{path}{name}"
        yield from settings(mapping(inner), f"{path}{name}.")


def test_every_value_is_tried() -> None:
    tried = {
        name for values in [*(case[0] for case in CASES), *(one for one, _ in SWITCHES)] for name in settings(values)
    }
    aggregated = {"rbac.aggregateToView", "rbac.aggregateToEdit"}

    assert {value.name for value in values_of_the_chart()} - tried - aggregated == set()


@pytest.mark.parametrize(("values", "place"), REFUSED, ids=json.dumps)
def test_a_value_that_can_not_be_is_refused_with_its_place(values: Object, place: str) -> None:
    with pytest.raises(HelmValuesError) as caught:
        rendered(values)

    assert place in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"azureKeyVault": None},
        {"metrics": {"podMonitor": None, "prometheusRule": None, "dashboard": None}},
        {"metrics": {"prometheusRule": {"freshWithin": None}}},
    ],
    ids=json.dumps,
)
def test_null_takes_out_the_defaults_of_what_is_not_used(values: Object) -> None:
    assert rendered(values) == rendered()


def test_null_takes_out_what_has_a_default() -> None:
    azure: Object = {"backend": "azure-kv", "azureKeyVault": {"name": "v"}}

    assert rendered({**azure, "vault": {"authMethod": None}}) == rendered(azure)
    assert kinds(rendered()) - kinds(rendered({"podDisruptionBudget": None})) == {"PodDisruptionBudget"}


NOT_TEXT = ("123", "1e3", "on", "true", "null")
"""Names that YAML takes for something else where they stand without quotes."""


def strings(value: Json, names: tuple[str, ...]) -> Iterator[Json]:
    """What stands under these names, however deep."""
    if isinstance(value, dict):
        yield from (inner for name, inner in value.items() if name in names and not isinstance(inner, dict))
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for inner in inside:
        yield from strings(inner, names)


@pytest.mark.parametrize("word", NOT_TEXT)
def test_a_name_stays_a_text_whatever_it_looks_like(word: str) -> None:
    extras: Object = {"service": {"enabled": False}, "dashboard": {"enabled": True}, "podMonitor": {"enabled": True}}
    values: Object = {
        "metrics": {**extras, "prometheusRule": {"enabled": True}},
        "nameOverride": word,
        "serviceAccount": {"name": word},
    }
    made = rendered(values, release=word, namespace=word)

    named = ("name", "namespace", "serviceAccountName", "app.kubernetes.io/name", "app.kubernetes.io/instance")
    found = [*strings([each for each in made if each["kind"] != CRD], named)]
    assert word in found
    assert [each for each in found if not isinstance(each, str)] == []


@pytest.mark.parametrize("release", ["sm.prod", f"{'a' * 39}.b", "-".join("a" * 26)])
def test_objects_of_any_release_have_names_that_each_kind_may_have(release: str) -> None:
    found = [text(each, "metadata", "name") for each in rendered(release=release) if each["kind"] != CRD]

    assert [name for name in found if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name)] == []


def test_a_release_that_begins_with_a_digit_is_told_what_to_do() -> None:
    with pytest.raises(HelmError, match="set fullnameOverride"):
        rendered(release="1-secrets-manager")

    assert rendered({"fullnameOverride": "sm"}, release="1-secrets-manager")


def test_labels_of_several_values_may_have_the_same_name() -> None:
    values: Object = {
        "commonLabels": {"team": "a"},
        "podLabels": {"team": "b"},
        "serviceAccount": {"labels": {"team": "c"}},
        "metrics": {"podMonitor": {"enabled": True, "labels": {"team": "d"}}},
    }
    made = rendered(values)

    pods = deployment("spec", "template", "metadata", "labels", "team")
    found = [pods, account("metadata", "labels", "team"), monitor("metadata", "labels", "team")]
    assert [find(made) for find in found] == ["b", "c", "d"]


def test_fresh_may_be_any_bucket_of_the_histogram() -> None:
    schema: Object = parse((DEPLOY / "chart" / "values.schema.json").read_bytes())

    names = ("properties", "metrics", "properties", "prometheusRule", "properties", "freshWithin", "enum")
    assert items(schema, *names) == [str(each) for each in buckets.AGES]
