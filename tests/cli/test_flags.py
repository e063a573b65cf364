import logging
import operator
from collections.abc import Mapping

import pytest

from secrets_manager.cli.flags import parse
from secrets_manager.cli.gosyntax import Flag
from secrets_manager.cli.table import FLAGS
from secrets_manager.config import (
    AzureConfig,
    Config,
    ControllerConfig,
    KubeConfig,
    LeaseConfig,
    LogConfig,
    ServerConfig,
    VaultConfig,
)
from secrets_manager.errors import UsageError

LOGIN = {"VAULT_ROLE_ID": "the-role", "VAULT_SECRET_ID": "the-secret"}
"""What the default way to log in can't do without."""
VAULT = VaultConfig(role_id="the-role", secret_id="the-secret")


def parsed(*argv: str, environ: Mapping[str, str] = LOGIN) -> Config:
    return parse(argv, environ)


def complaint(*argv: str, environ: Mapping[str, str] = LOGIN) -> str:
    with pytest.raises(UsageError) as raised:
        parse(argv, environ)
    return str(raised.value)


def test_without_flags_everything_is_as_the_structs_say() -> None:
    assert parsed() == Config(vault=VAULT)


@pytest.mark.parametrize("flag", [flag for flag in FLAGS.values() if flag.fields], ids=lambda flag: flag.name)
def test_default_in_the_table_is_the_default_of_the_field(flag: Flag) -> None:
    default = flag.type.read(flag.default)

    fields = [operator.attrgetter(field)(Config()) for field in flag.fields]

    assert [type(field)(default) if isinstance(default, tuple) else default for field in fields] == fields


def test_every_flag_fills_its_field() -> None:
    config = parsed(
        "-backend=azure-kv",
        "-config.backend-timeout=7s",
        "-vault.url=http://vault:8200",
        "-vault.role-id=r",
        "-vault.secret-id=s",
        "-vault.role-id-file=/r",
        "-vault.secret-id-file=/s",
        "-vault.secret-id-wrapped",
        "-vault.namespace=team/shop",
        "-vault.ca-cert=/ca.crt",
        "-vault.ca-cert-bytes=-----BEGIN\n",
        "-vault.ca-path=/ca",
        "-vault.client-cert=/client.crt",
        "-vault.client-key=/client.key",
        "-vault.tls-server-name=vault.test",
        "-vault.tls-skip-verify",
        "-vault.engine=kv1",
        "-vault.auth-method=kubernetes",
        "-vault.approle-path=a",
        "-vault.kubernetes-path=k",
        "-vault.kubernetes-role=kr",
        "-vault.kubernetes-jwt-path=/jwt",
        "-vault.max-token-ttl=1",
        "-vault.token-polling-period=2s",
        "-vault.renew-ttl-increment=3",
        "-vault.list-period=4s",
        "-vault.allowed-paths=secret/data/{namespace}/*, secret/data/+/shared",
        "-config.backend-concurrency=5",
        "-azure-kv.name=n",
        "-azure-kv.tenant-id=t",
        "-azure-kv.client-id=c",
        "-azure-kv.client-secret=cs",
        "-azure-kv.managed-client-id=mc",
        "-azure-kv.managed-resource-id=mr",
        "-azure-kv.federated-token-file=/token",
        "-azure-kv.authority=https://login.example.com",
        "-azure-kv.endpoint-suffix=vault.azure.cn",
        "-azure-kv.url=https://n.vault.example.com",
        "-azure-kv.api-version=7.6",
        "-azure-kv.verify-challenge-resource=false",
        "-azure-kv.list-period=7s",
        "-azure-kv.allowed-paths={namespace}-*",
        "-kubeconfig=/etc/kubeconfig",
        "-watch-namespaces=shop,bank",
        "-exclude-namespaces=test",
        "-reconcile-period=1m",
        "-max-concurrent-reconciles=4",
        "-rollout-restart-delay=250ms",
        "-controller-name=mine",
        "-enable-leader-election",
        "-leader-election-namespace=ns",
        "-leader-election-lease-duration=9s",
        "-leader-election-renew-deadline=7s",
        "-leader-election-retry-period=1500ms",
        "-metrics-addr=127.0.0.1:0",
        "-metrics-per-object=false",
        "-health-probe-addr=127.0.0.1:1",
        "-metrics-tls-cert-file=/tls.crt",
        "-metrics-tls-key-file=/tls.key",
        "-metrics-auth",
        "-status-page=false",
        "-zap-log-level=error",
        "-zap-encoder=console",
        environ={},
    )

    assert config == Config(
        backend="azure-kv",
        metrics_per_object=False,
        vault=VaultConfig(
            url="http://vault:8200",
            role_id="r",
            secret_id="s",
            role_id_file="/r",
            secret_id_file="/s",
            secret_id_wrapped=True,
            namespace="team/shop",
            ca_cert="/ca.crt",
            ca_cert_bytes="-----BEGIN\n",
            ca_path="/ca",
            client_cert="/client.crt",
            client_key="/client.key",
            tls_server_name="vault.test",
            skip_verify=True,
            engine="kv1",
            auth_method="kubernetes",
            approle_path="a",
            kubernetes_path="k",
            kubernetes_role="kr",
            kubernetes_jwt_path="/jwt",
            max_token_ttl=1.0,
            token_polling_period=2.0,
            renew_ttl_increment=3.0,
            timeout=7.0,
            list_period=4.0,
            allowed_paths=("secret/data/{namespace}/*", "secret/data/+/shared"),
        ),
        azure=AzureConfig(
            name="n",
            tenant_id="t",
            client_id="c",
            client_secret="cs",
            managed_client_id="mc",
            managed_resource_id="mr",
            federated_token_file="/token",
            authority="https://login.example.com",
            endpoint_suffix="vault.azure.cn",
            url="https://n.vault.example.com",
            api_version="7.6",
            verify_challenge_resource=False,
            timeout=7.0,
            list_period=7.0,
            allowed_paths=("{namespace}-*",),
        ),
        controller=ControllerConfig(
            name="mine",
            reconcile_period=60.0,
            watch_namespaces=("shop", "bank"),
            exclude_namespaces=frozenset({"test"}),
            workers=4,
            backend_concurrency=5,
            rollout_restart_delay=0.25,
            list_period=7.0,
            allowed_paths=("{namespace}-*",),
        ),
        lease=LeaseConfig(enabled=True, namespace="ns", duration=9.0, renew_deadline=7.0, retry_period=1.5),
        kube=KubeConfig(kubeconfig="/etc/kubeconfig"),
        server=ServerConfig(
            metrics_addr="127.0.0.1:0",
            health_probe_addr="127.0.0.1:1",
            tls_cert_file="/tls.crt",
            tls_key_file="/tls.key",
            auth=True,
            status_page=False,
        ),
        log=LogConfig(level=logging.ERROR, encoder="console"),
    )


@pytest.mark.parametrize(
    "argv",
    [
        ["-reconcile-period=90s"],
        ["--reconcile-period=90s"],
        ["-reconcile-period", "90s"],
        ["--reconcile-period", "1m30s"],
        ["-reconcile-period=5s", "--reconcile-period=1.5m"],
        ["--reconcile-period=90s", "--"],
    ],
    ids=" ".join,
)
def test_every_form_of_a_flag_is_parsed(argv: list[str]) -> None:
    assert parsed(*argv).controller.reconcile_period == 90.0


@pytest.mark.parametrize(
    ("argv", "enabled"),
    [
        (["-enable-leader-election"], True),
        (["--enable-leader-election=1"], True),
        (["--enable-leader-election=T"], True),
        (["--enable-leader-election=false"], False),
        (["--enable-leader-election", "--enable-leader-election=F"], False),
    ],
    ids=str,
)
def test_flag_of_yes_or_no_takes_a_value_after_an_equals_sign_only(argv: list[str], *, enabled: bool) -> None:
    assert parsed(*argv).lease == LeaseConfig(enabled=enabled)


def test_value_may_begin_with_a_dash_or_hold_an_equals_sign() -> None:
    config = parsed("-vault.role-id", "-r", "-vault.secret-id=a=b=", environ={})

    assert config.vault == VaultConfig(role_id="-r", secret_id="a=b=")


@pytest.mark.parametrize("flag", [flag for flag in FLAGS.values() if flag.env], ids=lambda flag: flag.env)
def test_environment_wins_over_the_flag_unless_it_is_empty(flag: Flag) -> None:
    text, other = {"URL": ("https://a:1", "https://b:1"), "": ("true", "false")}.get(flag.type.word, ("a", "b"))
    (field,) = flag.fields
    value = operator.attrgetter(field)
    argv = ["-backend=azure-kv", "-azure-kv.name=n", f"-{flag.name}={text}"]  # which needs no other flag of Vault

    assert value(parsed(*argv, environ={flag.env: other})) == flag.type.read(other)
    assert value(parsed(*argv, environ={flag.env: ""})) == flag.type.read(text)


def test_line_break_after_a_value_is_no_part_of_it() -> None:
    assert parsed(environ={"VAULT_ROLE_ID": "the-role\n", "VAULT_SECRET_ID": " the-secret\r\n"}).vault == VAULT


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        ('""', ()),
        ("shop", ("shop",)),
        ("shop,bank", ("shop", "bank")),
        (" shop , bank ", ("shop", "bank")),
        ('"shop, bank"', ("shop", "bank")),
        ("'shop','bank',", ("shop", "bank")),
        ("shop,bank,shop", ("shop", "bank")),
    ],
    ids=repr,
)
def test_list_of_namespaces_is_read_with_tolerance(text: str, names: tuple[str, ...]) -> None:
    assert parsed(f"-watch-namespaces={text}").controller == ControllerConfig(watch_namespaces=names)


def test_excluded_namespace_is_not_watched_even_if_it_is_named() -> None:
    assert parsed("-watch-namespaces=shop,bank", "-exclude-namespaces=bank,test").controller == ControllerConfig(
        watch_namespaces=("shop",), exclude_namespaces=frozenset({"bank", "test"})
    )


def test_least_value_is_taken() -> None:
    config = parsed("-vault.max-token-ttl=0", "-max-concurrent-reconciles=1", "-reconcile-period=100ms")

    assert config.vault.max_token_ttl == 0.0
    assert config.controller == ControllerConfig(workers=1, reconcile_period=0.1)


@pytest.mark.parametrize("address", [":8080", "127.0.0.1:0", "[::1]:8080", "localhost:65535", "0.0.0.0:1"])
def test_address_to_listen_on_is_taken(address: str) -> None:
    assert parsed(f"-metrics-addr={address}").server.metrics_addr == address
    assert parsed(f"-health-probe-addr={address}").server.health_probe_addr == address


def test_metrics_are_turned_off_as_in_controller_runtime() -> None:
    assert parsed("-metrics-addr=0").server == ServerConfig(metrics_addr="")


@pytest.mark.parametrize(
    ("argv", "log"),
    [
        (["-enable-debug-log"], LogConfig(level=logging.DEBUG)),
        (["-enable-debug-log", "-zap-log-level=error"], LogConfig(level=logging.DEBUG)),
        (["-zap-log-level=debug"], LogConfig(level=logging.DEBUG)),
        (["-zap-log-level=INFO"], LogConfig(level=logging.INFO)),
        (["-zap-log-level=warn"], LogConfig(level=logging.WARNING)),
        (["-zap-log-level=panic"], LogConfig(level=logging.CRITICAL)),
        (["-zap-log-level=2"], LogConfig(level=logging.DEBUG)),
        (["-zap-devel"], LogConfig(level=logging.DEBUG, encoder="console")),
        (["-zap-devel", "-zap-log-level=info", "-zap-encoder=json"], LogConfig(level=logging.INFO, encoder="json")),
        (["-zap-stacktrace-level=panic"], LogConfig()),
    ],
    ids=str,
)
def test_flags_of_the_log_agree_on_one_level_and_form(argv: list[str], log: LogConfig) -> None:
    assert parsed(*argv).log == log


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("-vault.adr=x", "unknown flag -vault.adr: did you mean --vault.url?"),
        ("--leader-elect", "unknown flag --leader-elect: did you mean --enable-leader-election?"),
        ("-x=y", "unknown flag -x: see `secrets-manager --help`"),
        ("-x\x1b[2J", "unknown flag -x: see `secrets-manager --help`"),
        ("-context=c", "unknown flag -context: did you mean --kube-context?"),
        ("--vault.url https://vault", "--vault.url: put its value after =, or into an argument of its own"),
        ("-vault.secret-id:hunter2", "--vault.secret-id: put its value after =, or into an argument of its own"),
        ("---backend", "there is an argument that is not a flag: see `secrets-manager --help`"),
        ("-=x", "there is an argument that is not a flag: see `secrets-manager --help`"),
        ("-", "there is an argument that is not a flag: see `secrets-manager --help`"),
        ("", "there is an argument that is not a flag: see `secrets-manager --help`"),
        ("-backend", "--backend needs a value: The secret store."),
        ("-backend=consul", "--backend: 'consul' is unknown: use vault or azure-kv"),
        ("-backend=", "--backend: '' is unknown: use vault or azure-kv"),
        ("-vault.engine=kv3", "--vault.engine: 'kv3' is unknown: use kv1 or kv2"),
        ("-vault.auth-method=token", "--vault.auth-method: 'token' is unknown: use approle or kubernetes"),
        ("-enable-leader-election=yes", "--enable-leader-election: 'yes' is neither true nor false"),
        ("-enable-leader-election=", "--enable-leader-election: '' is neither true nor false"),
        ("-vault.max-token-ttl=1.5", "--vault.max-token-ttl: '1.5' is not an integer"),
        ("-vault.max-token-ttl=5m", "--vault.max-token-ttl: '5m' is not an integer"),
        ("-vault.max-token-ttl=-1", "--vault.max-token-ttl: '-1' is too small: the minimum is 0"),
        ("-max-concurrent-reconciles=0", "--max-concurrent-reconciles: '0' is too small: the minimum is 1"),
        (
            "-reconcile-period=5",
            "--reconcile-period: '5' is no duration: write numbers with their units, like 5s, 1m30s or 300ms",
        ),
        ("-reconcile-period=0", "--reconcile-period: '0' is too small: the minimum is 100ms"),
        ("-reconcile-period=-5s", "--reconcile-period: '-5s' is too small: the minimum is 100ms"),
        (
            "-reconcile-period=9999999h",
            "--reconcile-period: '9999999h' is longer than any duration can be, which is 292 years",
        ),
        (
            "-vault.allowed-paths=secret/data/*/x",
            (
                "--vault.allowed-paths: 'secret/data/*/x' is not a list of paths: write them like "
                "secret/data/{namespace}/*,secret/data/+/shared, with * only at the end and + only as a whole segment"
            ),
        ),
        ("-config.backend-timeout=0s", "--config.backend-timeout: '0s' is too small: the minimum is 1ms"),
        (
            "-vault.url=vault:8200",
            "--vault.url: 'vault:8200' is not the URL of a server: write it like https://vault.example.com:8200",
        ),
        (
            "-vault.url=https://user:hunter2@/",
            "--vault.url: the value is not the URL of a server: write it like https://vault.example.com:8200",
        ),
        (
            "-metrics-addr=8080",
            (
                "--metrics-addr: '8080' is not an address to listen on: "
                "write it like :8080, 127.0.0.1:8080 or [::1]:8080"
            ),
        ),
        (
            "-metrics-addr=:65536",
            (
                "--metrics-addr: ':65536' is not an address to listen on: "
                "write it like :8080, 127.0.0.1:8080 or [::1]:8080"
            ),
        ),
        (
            "-metrics-addr=::1:8080",
            (
                "--metrics-addr: '::1:8080' is not an address to listen on: "
                "write it like :8080, 127.0.0.1:8080 or [::1]:8080"
            ),
        ),
        (
            "-watch-namespaces=Shop",
            (
                "--watch-namespaces: 'Shop' is not a list of namespaces: "
                "write names in lower case with commas between them, like shop,shop-test"
            ),
        ),
        ("-watch-namespaces=,", "--watch-namespaces: ',' names no namespace"),
        (
            "-leader-election-namespace=a,b",
            "--leader-election-namespace: 'a,b' is not the name of a namespace: write it like shop-test",
        ),
        (
            "-zap-log-level=loud",
            (
                "--zap-log-level: 'loud' is not a log level: "
                "use debug, info, warn, error, panic, or a number above 0 for debug"
            ),
        ),
        ("-zap-encoder=xml", "--zap-encoder: 'xml' is unknown: use json or console"),
        ("-vault.secret-id=hunter2\x00", "--vault.secret-id: the value holds an invisible character"),
        (
            "-config.backend-timeout=5?",
            "--config.backend-timeout: '5?' is no duration: write numbers with their units, like 5s, 1m30s or 300ms",
        ),
        (f"-backend={'x' * 100}", f"--backend: '{'x' * 60}...' is unknown: use vault or azure-kv"),
    ],
)
def test_wrong_flag_is_one_line(argument: str, line: str) -> None:
    assert complaint(argument) == line


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (
            ["-vault.secret-id=", "hunter2"],
            "there is an argument after the value of --vault.secret-id that is not a flag: is a quote missing?",
        ),
        (
            ["-enable-leader-election", "true"],
            (
                "there is an argument after --enable-leader-election that is not a flag: "
                "write --enable-leader-election=true or =false"
            ),
        ),
        (
            ["--", "-backend=vault"],
            "there is an argument that is not a flag: see `secrets-manager --help`",
        ),
        (
            ["-watch-namespaces=shop", "-exclude-namespaces=shop"],
            "--exclude-namespaces excludes all of --watch-namespaces: leave one to watch",
        ),
        (
            ["-leader-election-renew-deadline=15s"],
            "--leader-election-lease-duration must be longer than --leader-election-renew-deadline",
        ),
        (
            ["-leader-election-retry-period=9s"],
            "--leader-election-renew-deadline must be longer than 1.2 times --leader-election-retry-period",
        ),
    ],
    ids=str,
)
def test_conflicting_flags_are_one_line(argv: list[str], line: str) -> None:
    assert complaint(*argv) == line


@pytest.mark.parametrize(
    ("argv", "environ", "line"),
    [
        (
            [],
            {},
            (
                "--vault.auth-method=approle needs --vault.role-id and --vault.secret-id "
                "(better: VAULT_ROLE_ID and VAULT_SECRET_ID)"
            ),
        ),
        (
            [],
            {"VAULT_SECRET_ID": "hunter2"},
            "--vault.auth-method=approle needs --vault.role-id (or VAULT_ROLE_ID)",
        ),
        (
            ["-vault.secret-id-file=/secret-id"],
            LOGIN,
            "--vault.secret-id and --vault.secret-id-file are both set: leave one out",
        ),
        (
            ["-vault.role-id-file=/role-id", "-vault.secret-id-wrapped"],
            {},
            "--vault.secret-id-wrapped needs --vault.secret-id or --vault.secret-id-file",
        ),
        (
            ["-metrics-tls-cert-file=/tls.crt"],
            LOGIN,
            "--metrics-tls-cert-file and --metrics-tls-key-file go together",
        ),
        (
            ["-metrics-auth"],
            LOGIN,
            "--metrics-auth needs --metrics-tls-cert-file: tokens must not travel unencrypted",
        ),
        (
            ["-vault.client-cert=/client.crt"],
            LOGIN,
            "--vault.client-cert and --vault.client-key (VAULT_CLIENT_CERT, VAULT_CLIENT_KEY) go together",
        ),
        (
            ["-vault.auth-method=kubernetes"],
            LOGIN,
            "--vault.auth-method=kubernetes needs --vault.kubernetes-role",
        ),
        (
            ["-backend=azure-kv"],
            LOGIN,
            "--backend=azure-kv needs --azure-kv.name (or AZURE_KV_NAME), or --azure-kv.url",
        ),
        (
            [],
            LOGIN | {"VAULT_ADDR": "vault.example.com"},
            (
                "environment variable VAULT_ADDR: 'vault.example.com' is not the URL of a server: "
                "write it like https://vault.example.com:8200"
            ),
        ),
        (
            [],
            {"VAULT_ROLE_ID": "hunter\x002"},
            "environment variable VAULT_ROLE_ID: the value holds an invisible character",
        ),
    ],
    ids=lambda case: str(case)[:30],
)
def test_invalid_configuration_is_one_line(argv: list[str], environ: dict[str, str], line: str) -> None:
    assert complaint(*argv, environ=environ) == line


def test_role_without_a_secret_id_may_log_in() -> None:
    """Vault has roles that need none (bind_secret_id=false)."""
    assert parsed(environ={"VAULT_ROLE_ID": "the-role"}).vault == VaultConfig(role_id="the-role")


def test_error_keeps_no_secret_in_its_chain() -> None:
    with pytest.raises(UsageError) as raised:
        parsed("-vault.secret-id=hunter2\x00")

    assert (raised.value.__cause__, raised.value.__suppress_context__) == (None, True)
    assert "hunter2" not in f"{raised.value!r} {raised.value.__context__!r}"
