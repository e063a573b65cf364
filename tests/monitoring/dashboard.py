"""The Grafana dashboard, made with Grafana's own types: deploy/monitoring/dashboard.json."""

import json
from collections.abc import Mapping
from typing import NamedTuple

from grafana_foundation_sdk.builders import common, stat, table, timeseries
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DatasourceVariable,
    QueryVariable,
    Row,
    ThresholdsConfig,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueGraphMode, LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    DataTransformerConfig,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="$datasource")
HEIGHT = 8
STAT_HEIGHT = 4
COLUMNS = 24
RATE = "[$__rate_interval]"

ONE = 'job=~"$job"'
CONTROLLER = "secrets_manager_controller"
LEADER = 'leader_election_master_status{name=~".+[.]secrets-manager[.]tuenti[.]io", ' + ONE + "}"


class Stat(NamedTuple):
    """One number. `bad_from` is where it becomes red; below it, if `bad_below`."""

    title: str
    expression: str
    unit: str
    bad_from: float
    bad_below: bool = False


class Graph(NamedTuple):
    """Lines over time: expressions by their legend."""

    title: str
    description: str
    unit: str
    lines: Mapping[str, str]


STATS = (
    Stat("Leader", f"max({LEADER})", "bool_yes_no", 1, bad_below=True),
    Stat("Backend up", f"min(secrets_manager_backend_up{{{ONE}}})", "bool_yes_no", 1, bad_below=True),
    Stat("Definitions", f"sum({CONTROLLER}_definitions{{{ONE}}})", "none", float("inf")),
    Stat("Not ready", f'sum({CONTROLLER}_definitions{{state=~"Reconciling|Stalled", {ONE}}})', "none", 1),
    Stat(
        "Fresh within a minute",
        f"1 - max(secrets_manager:definitions_stale:ratio{{{ONE}}})",
        "percentunit",
        0.99,
        bad_below=True,
    ),
    Stat("Oldest verification", f"max({CONTROLLER}_max_verification_age_seconds{{{ONE}}})", "s", 60),
)


def _quantiles(histogram: str, labels: str = ONE) -> Mapping[str, str]:
    rate = f"sum by (le) (rate({histogram}_bucket{{{labels}}}{RATE}))"
    return {f"p{100 * q:g}": f"histogram_quantile({q}, {rate})" for q in (0.5, 0.99)}


def _age(quantile: float) -> str:
    """A gauge histogram has no rate."""
    return f"histogram_quantile({quantile}, sum by (le) ({CONTROLLER}_verification_age_seconds_bucket{{{ONE}}}))"


GRAPHS: Mapping[str, tuple[Graph, ...]] = {
    "Definitions": (
        Graph(
            "Definitions by reason",
            "Of the condition Ready, as of the last reconcile.",
            "none",
            {"{{reason}}": f"sum by (reason) ({CONTROLLER}_definitions{{{ONE}}}) > 0"},
        ),
        Graph(
            "Problems by reason",
            "Reconciles that found a problem. One that stays is found about once a minute.",
            "ops",
            {"{{reason}}": f"sum by (reason) (rate({CONTROLLER}_reconcile_errors_total{{{ONE}}}{RATE}))"},
        ),
    ),
    "Freshness": (
        Graph(
            "Time since verification",
            "Since a Secret was written, or was equal to what a read or a listing showed, over all definitions.",
            "s",
            {
                "p50": _age(0.5),
                "p99": _age(0.99),
                "max": f"max({CONTROLLER}_max_verification_age_seconds{{{ONE}}})",
            },
        ),
        Graph(
            "Lag of changes",
            "From a change in the backend to the write of the Secret. Empty while nothing changes.",
            "s",
            _quantiles(f"{CONTROLLER}_change_lag_seconds"),
        ),
        Graph(
            "Stale definitions",
            "Share that was not verified within a minute, on average. The objective allows 1 % over 30 days.",
            "percentunit",
            {
                window: f"max(secrets_manager:definitions_stale:ratio_avg{window}{{{ONE}}})"
                for window in ("5m", "1h", "6h", "3d")
            },
        ),
        Graph(
            "Reconcile duration",
            "With its reads and writes.",
            "s",
            _quantiles(f"{CONTROLLER}_reconcile_duration_seconds"),
        ),
    ),
    "Backend": (
        Graph(
            "Requests",
            "By operation and status.",
            "reqps",
            {
                "{{operation}} {{status}}": (
                    "sum by (operation, status) ("
                    f"rate(secrets_manager_vault_request_duration_seconds_count{{{ONE}}}{RATE}) or "
                    f"rate(secrets_manager_azure_kv_request_duration_seconds_count{{{ONE}}}{RATE}))"
                )
            },
        ),
        Graph(
            "Request duration",
            "Of all operations, logins included.",
            "s",
            {
                "p99": (
                    "histogram_quantile(0.99, sum by (le) ("
                    f"rate(secrets_manager_vault_request_duration_seconds_bucket{{{ONE}}}{RATE}) or "
                    f"rate(secrets_manager_azure_kv_request_duration_seconds_bucket{{{ONE}}}{RATE})))"
                )
            },
        ),
        Graph(
            "TTL of the Vault token",
            "Of each replica. Renewed when a third is left, or vault.max-token-ttl.",
            "s",
            {"{{instance}}": f"max by (instance) (secrets_manager_vault_token_ttl{{{ONE}}})"},
        ),
        Graph(
            "Failed logins and renewals",
            "Of all replicas. Empty until one fails.",
            "ops",
            {
                "{{error}}": (
                    "sum by (error) ("
                    f"rate(secrets_manager_vault_login_errors_total{{{ONE}}}{RATE}) or "
                    f"rate(secrets_manager_vault_token_renewal_errors_total{{{ONE}}}{RATE}) or "
                    f"rate(secrets_manager_azure_kv_login_errors_total{{{ONE}}}{RATE}))"
                )
            },
        ),
        Graph(
            "Concurrent requests allowed",
            "Halved when the backend fails.",
            "none",
            {"{{instance}}": f"max by (instance) (secrets_manager_backend_concurrency{{{ONE}}})"},
        ),
    ),
    "Controller": (
        Graph(
            "Work queue",
            "Definitions that wait. Those of a standby wait until it leads.",
            "none",
            {"{{instance}}": f'max by (instance) (workqueue_depth{{name="secretdefinition", {ONE}}})'},
        ),
        Graph(
            "Time in the queue",
            "Before a worker takes a definition.",
            "s",
            _quantiles("workqueue_queue_duration_seconds", f'name="secretdefinition", {ONE}'),
        ),
        Graph(
            "Requests to Kubernetes",
            "By method and status.",
            "reqps",
            {"{{method}} {{code}}": f"sum by (method, code) (rate(rest_client_requests_total{{{ONE}}}{RATE}))"},
        ),
        Graph(
            "Watches",
            "1 while a kind is watched.",
            "none",
            {"{{kind}} {{namespace}}": f"min by (kind, namespace) (secrets_manager_watch_up{{{ONE}}})"},
        ),
        Graph(
            "Unexpected errors",
            "Each is a bug.",
            "none",
            {
                "reconciles": f"sum(increase({CONTROLLER}_unexpected_errors_total{{{ONE}}}{RATE}))",
                "reads": f"sum(increase(secrets_manager_backend_unexpected_errors_total{{{ONE}}}{RATE}))",
            },
        ),
        Graph(
            "CPU",
            "Cores of each replica.",
            "none",
            {
                "{{instance}}": (
                    f"rate(process_cpu_seconds_total{{{ONE}}}{RATE}) "
                    f"and on (job, instance) secrets_manager_build_info{{{ONE}}}"
                )
            },
        ),
        Graph(
            "Memory",
            "Of each replica.",
            "bytes",
            {
                "{{instance}}": (
                    f"process_resident_memory_bytes{{{ONE}}} and on (job, instance) secrets_manager_build_info{{{ONE}}}"
                )
            },
        ),
    ),
}

NOT_READY = f"max by (namespace, name, reason) ({CONTROLLER}_definition_not_ready{{{ONE}}})"


def dashboard() -> str:
    """deploy/monitoring/dashboard.json."""
    made = (
        Dashboard("secrets-manager")
        .uid("secrets-manager")
        .description("Made by `just reference` in the repository of secrets-manager.")
        .tags(["secrets-manager"])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-6h", "now")
        .refresh("1m")
        .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(
            QueryVariable("job")
            .label("Job")
            .datasource(SOURCE)
            .query("label_values(secrets_manager_build_info, job)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .include_all(True)
            .multi(True)
        )
        .with_row(Row("Overview"))
    )
    for each in STATS:
        made = made.with_panel(_stat(each))
    for title, graphs in GRAPHS.items():
        made = made.with_row(Row(title))
        if title == "Definitions":
            made = made.with_panel(_not_ready())
        for graph in graphs:
            made = made.with_panel(_graph(graph))
    return json.dumps(made.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _query(expression: str) -> Dataquery:
    return Dataquery().datasource(SOURCE).expr(expression)


def _stat(each: Stat) -> stat.Panel:
    good, bad = ("red", "green") if each.bad_below else ("green", "red")
    steps = [Threshold(value=None, color=good)]
    if each.bad_from < float("inf"):
        steps.append(Threshold(value=each.bad_from, color=bad))
    return (
        stat.Panel()
        .title(each.title)
        .datasource(SOURCE)
        .height(STAT_HEIGHT)
        .span(COLUMNS // len(STATS))
        .unit(each.unit)
        .graph_mode(BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .with_target(_query(each.expression).instant().ref_id("A"))
    )


def _graph(graph: Graph) -> timeseries.Panel:
    panel = (
        timeseries.Panel()
        .title(graph.title)
        .description(graph.description)
        .datasource(SOURCE)
        .height(HEIGHT)
        .span(COLUMNS // 2)
        .unit(graph.unit)
        .min(0)
        .fill_opacity(10)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )
    for letter, (legend, expression) in zip("ABCD", graph.lines.items(), strict=False):
        panel = panel.with_target(_query(expression).range().legend_format(legend).ref_id(letter))
    return panel


def _not_ready() -> table.Panel:
    hidden = {"Time": True, "Value": True}
    return (
        table.Panel()
        .title("Not ready")
        .description("Definitions that are not ready, with the reason.")
        .datasource(SOURCE)
        .height(HEIGHT)
        .span(COLUMNS)
        .show_header(True)
        .with_transformation(DataTransformerConfig(id_val="organize", options={"excludeByName": hidden}))
        .with_target(_query(NOT_READY).instant().format(PromQueryFormat.TABLE).ref_id("A"))
    )
