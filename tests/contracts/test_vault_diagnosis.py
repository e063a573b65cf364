"""What `doctor` asks of Vault: the same cases against the double and a real OpenBao."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import trio

from secrets_manager.backends import Source
from secrets_manager.backends.vault.auth.credential import StaticCredential
from secrets_manager.backends.vault.auth.factory import create_auth_method
from secrets_manager.backends.vault.engine import KvV2
from secrets_manager.backends.vault.health import Health
from secrets_manager.backends.vault.probe import probe
from secrets_manager.backends.vault.token import Token
from secrets_manager.config import VaultConfig
from secrets_manager.doctor import paths, secret_id, token
from secrets_manager.doctor.finding import Finding, State
from secrets_manager.kube.objects import ObjectKey
from tests.contracts.vault import Vault, client_of, config_for, transport_to
from tests.doubles.vault import BEGINNING, VaultState
from tests.doubles.vault_tokens import Credentials

OPENBAO = Health(version="2.7.2")


def now(vault: Vault) -> datetime:
    return (
        datetime.fromtimestamp(BEGINNING + trio.current_time(), UTC)
        if isinstance(vault, VaultState)
        else datetime.now(UTC)
    )


async def login(vault: Vault, credentials: Credentials) -> Token:
    async with client_of(vault) as client:
        return await create_auth_method(config_for(vault, credentials)).login(client)


def shown(findings: list[Finding]) -> list[tuple[State, str]]:
    return [(each.state, each.message) for each in findings]


async def test_health_names_the_server(vault: Vault) -> None:
    answer = await probe(VaultConfig(url=vault.url), transport=transport_to(vault))

    assert answer.health is not None
    assert (answer.status, answer.health.version, answer.health.initialized) == (200, "2.7.2", True)
    assert (answer.health.sealed, answer.health.standby, answer.health.is_hashicorp) == (False, False, False)


@pytest.mark.parametrize("default_policy", [True, False], ids=["by capabilities", "by reading"])
async def test_the_readable_paths_and_the_listable_folders_are_reported(vault: Vault, *, default_policy: bool) -> None:
    here = vault.fresh("app")
    name = vault.fresh("policy")
    vault.policy(name, f"secret/data/{here}/*", f"secret/detailed-metadata/{here}/ok/*")
    granted = await login(vault, vault.approle(name, policies=(name,), default_policy=default_policy))
    user = ObjectKey("shop", "db")
    good = [Source(f"secret/data/{here}/ok/a"), Source(f"secret/data/{here}/ok/ü b", "1")]
    bad = Source(f"secret/data/{here}-other/a")

    async with client_of(vault) as client:
        reads = await paths.check_reads(client, granted, dict.fromkeys([*good, bad], user))
        fine = await paths.check_reads(client, granted, dict.fromkeys(good, user))
        lists = await paths.check_listings(client, granted, KvV2(), [*good, bad], OPENBAO)
        listed = await paths.check_listings(client, granted, KvV2(), good, OPENBAO)

    message = f"shop/db needs {bad.path}, which the policies of the role do not allow to read"
    assert shown(reads.findings) == [(State.FAILURE, message)]
    assert reads.findings[0].fix == f'add to the policy: path "{bad.path}" {{ capabilities = ["read"] }}'
    assert shown(fine.findings) == [(State.OK, "2 paths may be read")]
    folder = f"secret/detailed-metadata/{here}-other/"
    (unlisted,) = lists.findings
    assert unlisted.state is State.WARNING
    assert unlisted.message.startswith(f"folder {folder} may not be listed")
    assert f'path "{folder}*" {{ capabilities = ["list"] }}' in unlisted.fix
    assert shown(listed.findings) == [(State.OK, "1 folder may be listed")]


async def test_a_token_that_can_be_renewed_for_a_day_is_fine(vault: Vault) -> None:
    granted = await login(vault, vault.approle(vault.fresh()))

    async with client_of(vault) as client:
        found = await token.check(client, granted, login_is_free=False)
        revoked = await token.revoke(client, granted)
        again = await token.check(client, granted, login_is_free=True)

    assert shown(found.findings) == [(State.OK, "it lasts 3600 s, and can be renewed")]
    assert revoked.findings == []
    assert {each.state for each in again.findings} == {State.WARNING}, "it is gone"


async def test_a_batch_token_has_nothing_to_revoke(vault: Vault) -> None:
    granted = await login(vault, vault.approle(vault.fresh(), token_type="batch"))

    async with client_of(vault) as client:
        found = await token.check(client, granted, login_is_free=False)
        revoked = await token.revoke(client, granted)

    assert [each.fix for each in found.findings] == ["give the role token_type=service"]
    assert revoked.findings == []


async def test_a_max_ttl_that_is_near_is_reported(vault: Vault) -> None:
    granted = await login(vault, vault.approle(vault.fresh(), token_ttl=300, token_max_ttl=600))

    async with client_of(vault) as client:
        found = await token.check(client, granted, login_is_free=False)

    (warning,) = found.findings
    assert (warning.state, warning.fix) == (State.WARNING, "give the role a longer token_max_ttl, or token_period")
    assert "token_max_ttl" in warning.message


@pytest.mark.parametrize(
    ("uses", "ttl", "state", "part"),
    [
        (0, 0, State.OK, "does not expire"),
        (3, 0, State.WARNING, "can be used 2 more times"),
        (1, 0, State.WARNING, "it was used up by this login"),
        (0, 7200, State.WARNING, "expires in 2.0 hours"),
        (0, 20 * 86400 + 60, State.OK, "expires in 20 days"),
    ],
)
async def test_what_is_left_of_a_secret_id_is_looked_up_without_a_use(
    vault: Vault, uses: int, ttl: int, state: State, part: str
) -> None:
    name, policy = vault.fresh("role"), vault.fresh("policy")
    vault.policy(policy, f"auth/approle/role/{name}/secret-id/lookup")
    role_id = vault.approle(name, policies=(policy,)).role_id
    secret = vault.limited_secret_id(name, uses=uses, ttl=ttl)
    granted = await login(vault, Credentials(role_id, secret))

    async with client_of(vault) as client:
        facts = await token.check(client, granted, login_is_free=False)
        assert facts.value is not None
        probe = partial(
            secret_id.check, client, granted, StaticCredential(secret), mount="approle", role=facts.value.role,
            now=now(vault) + timedelta(seconds=1),
        )  # fmt: skip
        await probe()
        found = await probe()

    (finding,) = found.findings
    assert finding.state is state
    assert part in finding.message


async def test_a_secret_id_that_may_not_be_looked_up_is_skipped(vault: Vault) -> None:
    name = vault.fresh("role")
    credentials = vault.approle(name)
    granted = await login(vault, credentials)

    async with client_of(vault) as client:
        found = await secret_id.check(
            client, granted, StaticCredential(credentials.secret_id), mount="approle", role=name, now=now(vault)
        )

    assert [each.state for each in found.findings] == [State.SKIPPED]
