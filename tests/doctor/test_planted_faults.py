"""Each fault of an installation is found by the name of its check, with its fix, and nothing else is."""

import logging
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

import httpx
import msgspec
import pytest
from trio.testing import MockClock

from fake_kubernetes.documents import Object, items, mapping, parse
from secrets_manager.config import LeaseConfig, LogConfig, ServerConfig, Setting
from secrets_manager.controller.crd import NAME
from secrets_manager.doctor.finding import State
from tests.definitions import CRD
from tests.doctor.stack import HOME, LEASE, ROLE, Stack, faults_of
from tests.doubles.faults import answer, lose_request, on_path, rubbish
from tests.doubles.vault_tokens import Credentials

CRD_PATH = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{NAME}"


def log_in_with(stack: Stack, credentials: Credentials) -> None:
    stack.configure(role_id=credentials.role_id, secret_id=credentials.secret_id)


def wrong_role_id(stack: Stack) -> None:
    stack.configure(role_id="canary-role-unknown")


def wrong_secret_id(stack: Stack) -> None:
    stack.configure(secret_id="canary-secret-unknown")


def missing_secret_id_file(stack: Stack) -> None:
    stack.configure(secret_id="", secret_id_file="/nowhere/secret-id")


def sealed(stack: Stack) -> None:
    stack.vault._sealed = True


def standby(stack: Stack) -> None:
    stack.vault.standby = True


def not_vault(stack: Stack) -> None:
    stack.vault_faults.always(rubbish(b"<html>", status=404))


def policy_lacks_a_path(stack: Stack) -> None:
    stack.allow("secret/data/shop/other", "secret/detailed-metadata/shop/*")


def policy_lacks_listing(stack: Stack) -> None:
    stack.allow("secret/data/shop/*")


def policy_lacks_a_path_and_capabilities(stack: Stack) -> None:
    name = "bare"
    paths = ("secret/detailed-metadata/shop/*", "auth/token/lookup-self", "auth/token/renew-self")
    stack.vault.policy(name, *paths, "auth/token/revoke-self")
    log_in_with(stack, stack.vault.approle(name, policies=(name,), default_policy=False))


def no_default_policy(stack: Stack) -> None:
    log_in_with(stack, stack.vault.approle("bare", policies=(ROLE,), default_policy=False))


def max_ttl_near(stack: Stack) -> None:
    log_in_with(stack, stack.vault.approle("short", policies=(ROLE,), token_ttl=300, token_max_ttl=600))


def batch_token(stack: Stack) -> None:
    log_in_with(stack, stack.vault.approle("batch", policies=(ROLE,), token_type="batch"))


def few_uses_of_the_token(stack: Stack) -> None:
    log_in_with(stack, stack.vault.approle("few", policies=(ROLE,), token_num_uses=9))


def limited(stack: Stack, **limits: int) -> None:
    name = "limited"
    stack.vault.policy(name, f"auth/approle/role/{name}/secret-id/lookup")
    role_id = stack.vault.approle(name, policies=(ROLE, name)).role_id
    log_in_with(stack, Credentials(role_id, stack.vault.limited_secret_id(name, **limits)))


def few_uses_of_the_secret_id(stack: Stack) -> None:
    limited(stack, uses=3)


def secret_id_expires(stack: Stack) -> None:
    limited(stack, ttl=3600)


def used_wrapping_token(stack: Stack) -> None:
    stack.configure(secret_id="s.canary-used", secret_id_wrapped=True)


def unknown_name(stack: Stack) -> None:
    error = httpx.ConnectError("no")
    error.__cause__ = socket.gaierror(-2, "Name or service not known")
    stack.vault_faults.always(lose_request(error))


def clock_of_vault(stack: Stack) -> None:
    stack.network.ahead = timedelta(seconds=-30)


def clock_of_kubernetes(stack: Stack) -> None:
    stack.kube.ahead = timedelta(minutes=5)


def crd_missing(stack: Stack) -> None:
    stack.user.delete(CRD_PATH)


def change_crd(stack: Stack, change: Callable[[Object], object]) -> None:
    manifest = parse(msgspec.json.encode(CRD))
    (version,) = items(manifest, "spec", "versions")
    change(mapping(version))
    stack.user.patch(CRD_PATH, {"spec": {"versions": [version]}})


def crd_without_status(stack: Stack) -> None:
    change_crd(stack, lambda version: version.pop("subresources"))


def crd_without_a_field(stack: Stack) -> None:
    fields = ("schema", "openAPIV3Schema", "properties", "spec", "properties")
    change_crd(stack, lambda version: mapping(version, *fields).pop("refreshInterval"))


def unauthorized(stack: Stack) -> None:
    stack.kube_faults.always(answer(401, reason="Unauthorized"))


def no_api_server(stack: Stack) -> None:
    stack.kube_faults.heal()
    stack.kube_faults.always(lose_request())


def missing_verb(stack: Stack) -> None:
    stack.denied |= {("bank", "create secrets"), ("bank", "patch secrets"), ("bank", "patch secretdefinitions/status")}


def reviews_fail(stack: Stack) -> None:
    stack.kube_faults.heal()
    stack.kube_faults.always(answer(500), when=on_path(ends="/selfsubjectaccessreviews"))


def no_lease_right(stack: Stack) -> None:
    stack.denied.add((HOME, "get leases"))


def no_review_right(stack: Stack) -> None:
    stack.config = msgspec.structs.replace(stack.config, server=ServerConfig(auth=True))
    stack.denied.add(("", "create tokenreviews"))


def no_restart_right(stack: Stack) -> None:
    stack.denied.add(("shop", "patch deployments"))
    stack.define("web", "secret/data/shop/web", rolloutRestartTargets=[{"kind": "Deployment", "name": "web"}])


def no_replica_led(stack: Stack) -> None:
    stack.user.delete(f"/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases/{LEASE}")


def lease_expired(stack: Stack) -> None:
    stack.hold_lease("pod-1_abc", seconds_ago=60)


def lease_released(stack: Stack) -> None:
    stack.hold_lease("")


def path_not_allowed(stack: Stack) -> None:
    stack.configure(allowed_paths=("secret/data/{namespace}-only/*",))


def variable_overrides_flag(stack: Stack) -> None:
    stack.settings = [Setting("vault.url", "VAULT_ADDR", by_flag=True, by_variable=True, differ=True)]


def ignored_flag(stack: Stack) -> None:
    stack.settings = [Setting("zap-stacktrace-level", by_flag=True)]


def flags_of_another_backend(stack: Stack) -> None:
    stack.settings = [Setting("azure-kv.name", "AZURE_KV_NAME", by_flag=True)]


def secret_on_the_command_line(stack: Stack) -> None:
    stack.settings = [Setting("vault.secret-id", "VAULT_SECRET_ID", secret=True, by_flag=True)]


def unverified(stack: Stack) -> None:
    stack.configure(skip_verify=True, ca_cert="/etc/ca.crt")


def two_authorities(stack: Stack) -> None:
    stack.configure(ca_path="/etc/ca", ca_cert="/etc/ca.crt")


def plain_http(stack: Stack) -> None:
    stack.configure(url="http://vault.test:8200")


def excluded_namespaces(stack: Stack) -> None:
    controller = msgspec.structs.replace(stack.config.controller, exclude_namespaces=frozenset({"other"}))
    stack.config = msgspec.structs.replace(stack.config, controller=controller)


def lease_flags_without_election(stack: Stack) -> None:
    stack.config = msgspec.structs.replace(stack.config, lease=LeaseConfig())
    stack.settings = [Setting("leader-election-lease-duration", by_flag=True)]


def two_log_levels(stack: Stack) -> None:
    stack.config = msgspec.structs.replace(stack.config, log=LogConfig(level=logging.DEBUG))
    stack.settings = [Setting("zap-log-level", by_flag=True), Setting("enable-debug-log", by_flag=True)]


class Planted(NamedTuple):
    """A fault, and what is found: the check, its state, and parts of its message and fix."""

    plant: Callable[[Stack], None]
    check: str
    state: State
    message: str
    fix: str
    besides: tuple[str, ...] = ()
    """Other checks that it makes fail."""


W, F = State.WARNING, State.FAILURE
REFUSED = "the AppRole login was refused"
POLICY = "add to the policy: path"
PLANTED = [
    Planted(wrong_role_id, "vault-login", F, REFUSED, "role-id"),
    Planted(wrong_secret_id, "vault-login", F, REFUSED, "secret-id"),
    Planted(missing_secret_id_file, "vault-login", F, "/nowhere/secret-id can't be read", "VAULT_SECRET_ID"),
    Planted(sealed, "vault-server", F, "2.7.2 is sealed", "operator unseal"),
    Planted(standby, "vault-server", W, "is a standby", "active node"),
    Planted(not_vault, "vault-server", F, "the response is not Vault's (404)", "VAULT_ADDR"),
    Planted(
        policy_lacks_a_path, "vault-paths", F, "shop/db needs secret/data/shop/db",
        f'{POLICY} "secret/data/shop/db" {{ capabilities = ["read"] }}',
    ),
    Planted(policy_lacks_a_path_and_capabilities, "vault-paths", F, "shop/db needs secret/data/shop/db", POLICY),
    Planted(
        policy_lacks_listing, "vault-listing", W, "folder secret/detailed-metadata/shop/ may not be listed",
        f'{POLICY} "secret/detailed-metadata/shop/*" {{ capabilities = ["list"] }}',
    ),
    Planted(no_default_policy, "vault-token", W, "policy default", f'{POLICY} "auth/token/'),
    Planted(max_ttl_near, "vault-token", W, "it can live for 600 s in all (token_max_ttl)", "a longer token_max_ttl"),
    Planted(batch_token, "vault-token", W, "it can't be renewed", "token_type=service"),
    Planted(few_uses_of_the_token, "vault-token", W, "it may be used 9 times", "token_num_uses=0"),
    Planted(few_uses_of_the_secret_id, "vault-secret-id", W, "can be used 2 more times", "secret_id_num_uses=0"),
    Planted(secret_id_expires, "vault-secret-id", W, "expires in 1.0 hours", "secret_id_ttl=0"),
    Planted(used_wrapping_token, "vault-login", W, "has expired or was already used", "wrap a new secret_id",
            ("configuration",)),
    Planted(unknown_name, "vault-connection", F, "DNS does not know vault.test", "VAULT_ADDR"),
    Planted(clock_of_vault, "vault-clock", W, "the clock of Vault is 30 s behind", "NTP"),
    Planted(clock_of_kubernetes, "kubernetes-clock", F, "the API server is 300 s ahead", "NTP", ("leader",)),
    Planted(crd_missing, "crd", F, "is not installed", "secrets-manager crd | kubectl apply -f -"),
    Planted(crd_without_status, "crd", F, "no subresource status", "secrets-manager crd"),
    Planted(crd_without_a_field, "crd", F, "it lacks spec.refreshInterval", "secrets-manager crd"),
    Planted(unauthorized, "kubernetes", F, "refused the login", "credentials"),
    Planted(no_api_server, "kubernetes", F, "GET /version", "--kubeconfig"),
    Planted(
        missing_verb, "rights", F,
        "namespace bank: this user may not patch secretdefinitions/status; create, patch secrets", "Role",
    ),
    Planted(reviews_fail, "rights", F, "500", "", ("lease-rights",)),
    Planted(no_lease_right, "lease-rights", F, "may not get leases", "secrets-manager-leader-election"),
    Planted(no_review_right, "review-rights", F, "may not create tokenreviews", "secrets-manager-reviewer"),
    Planted(no_restart_right, "restart-rights", W, "shop: definitions name rolloutRestartTargets", "rollout-restart"),
    Planted(no_replica_led, "leader", F, "no replica has ever led", "pods"),
    Planted(lease_expired, "leader", F, "pod-1_abc renewed Lease", "pods"),
    Planted(lease_released, "leader", F, "was released", "pods"),
    Planted(path_not_allowed, "allowed-paths", W, "shop/db: key password: path secret/data/shop/db is not allowed",
            "--vault.allowed-paths"),
    Planted(variable_overrides_flag, "configuration", W, "VAULT_ADDR overrides --vault.url", "unset VAULT_ADDR"),
    Planted(ignored_flag, "configuration", W, "--zap-stacktrace-level has no effect", "leave out"),
    Planted(flags_of_another_backend, "configuration", W, "no effect with --backend=vault", "--backend"),
    Planted(secret_on_the_command_line, "configuration", W, "can see it", "VAULT_SECRET_ID"),
    Planted(unverified, "configuration", W, "not verified, so --vault.ca-cert has no effect", "skip-verify"),
    Planted(plain_http, "configuration", W, "vault.url says http", "use https"),
    Planted(excluded_namespaces, "configuration", W, "--exclude-namespaces", "--watch-namespaces"),
    Planted(lease_flags_without_election, "configuration", W, "no effect without --enable-leader-election", "replicas"),
    Planted(two_log_levels, "configuration", W, "--enable-debug-log overrides --zap-log-level", "leave one"),
    Planted(two_authorities, "configuration", W, "--vault.ca-cert wins over --vault.ca-path", "--vault.ca-path"),
]  # fmt: skip


async def test_nothing_is_found_in_a_healthy_installation(autojump_clock: MockClock) -> None:
    stack = Stack()

    findings = await stack.examine()

    assert faults_of(findings) == {}
    assert [each.check for each in findings if each.state is State.SKIPPED] == ["vault-secret-id"]


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.plant.__name__)
async def test_a_planted_fault_is_found_by_name(planted: Planted, autojump_clock: MockClock) -> None:
    stack = Stack()
    planted.plant(stack)

    findings = await stack.examine()

    found = faults_of(findings)
    assert set(found) == {planted.check, *planted.besides}
    assert found[planted.check].state is planted.state
    assert planted.message in found[planted.check].message
    assert planted.fix in found[planted.check].fix
    assert all(each.fix for each in found.values())
