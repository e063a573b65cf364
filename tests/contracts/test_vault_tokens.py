"""Logins and tokens: the same cases against the double and a real OpenBao."""

import re

import pytest

from secrets_manager.backends import (
    Unavailable,
)
from secrets_manager.backends.vault.auth.approle import AppRole
from secrets_manager.backends.vault.auth.credential import FileCredential, StaticCredential
from secrets_manager.backends.vault.auth.kubernetes import Kubernetes
from secrets_manager.backends.vault.client import VaultClient
from secrets_manager.backends.vault.responses import Response, forbidden_by_policy
from secrets_manager.backends.vault.token import Token, parse_lookup, with_renewal
from tests.contracts.vault import Vault, client_of
from tests.doubles.vault_tokens import Credentials


def approle(credentials: Credentials) -> AppRole:
    return AppRole(
        mount="approle",
        role_id=StaticCredential(credentials.role_id),
        secret_id=StaticCredential(credentials.secret_id),
    )


async def ask(
    client: VaultClient, method: str, operation: str, token: str, body: dict[str, int] | None = None
) -> Response:
    return await client.request(method, f"auth/token/{operation}", token=token, body=body)


class TestLogin:
    async def test_token_as_the_role_grants_it(self, vault: Vault) -> None:
        credentials = vault.approle(vault.fresh("role"), token_ttl=20, token_num_uses=7)

        async with client_of(vault) as client:
            token = await approle(credentials).login(client)

        assert (token.ttl, token.renewable, token.uses) == (20.0, True, 7)

    @pytest.mark.parametrize("wrong", ["role_id", "secret_id"])
    async def test_wrong_credentials(self, vault: Vault, wrong: str) -> None:
        right = vault.approle(vault.fresh("role"))
        credentials = right._replace(role_id="unknown") if wrong == "role_id" else right._replace(secret_id="nothing")

        async with client_of(vault) as client:
            with pytest.raises(Unavailable) as caught:
                await approle(credentials).login(client)

        assert str(caught.value) == (
            "the AppRole login was refused: check vault.role-id, vault.secret-id and vault.approle-path"
            " (invalid role or secret ID)"
        )

    async def test_method_that_is_not_mounted(self, vault: Vault) -> None:
        async with client_of(vault) as client:
            with pytest.raises(Unavailable, match=re.escape("vault.approle-path (permission denied)")):
                await AppRole(
                    mount="no/such",
                    role_id=StaticCredential("canary-role"),
                    secret_id=StaticCredential("canary-secret"),
                ).login(client)

    async def test_sealed(self, vault: Vault) -> None:
        credentials = vault.approle(vault.fresh("role"))

        async with client_of(vault) as client:
            with vault.sealed(), pytest.raises(Unavailable) as caught:
                await approle(credentials).login(client)

        assert str(caught.value) == "Vault is sealed or can't serve requests now (503) (Vault is sealed)"


class TestToken:
    async def test_lookup(self, vault: Vault) -> None:
        credentials = vault.approle(vault.fresh("role"), token_ttl=100)

        async with client_of(vault) as client:
            token = await approle(credentials).login(client)
            lookup = parse_lookup((await ask(client, "GET", "lookup-self", token.secret)).body)

        assert lookup
        assert 98 <= lookup.seconds <= 100
        assert lookup.renewable

    async def test_renewal_grants_what_was_asked_for(self, vault: Vault) -> None:
        token = await renew(vault, vault.approle(vault.fresh("role"), token_ttl=20))

        assert (token.ttl, token.renewable) == (600.0, True)

    async def test_renewal_of_a_periodic_token_grants_the_period(self, vault: Vault) -> None:
        token = await renew(vault, vault.approle(vault.fresh("role"), token_ttl=20, token_period=10))

        assert (token.ttl, token.renewable) == (10.0, True)

    async def test_renewal_does_not_exceed_the_max_ttl(self, vault: Vault) -> None:
        token = await renew(vault, vault.approle(vault.fresh("role"), token_ttl=20, token_max_ttl=25))

        assert 24.0 <= token.ttl <= 25.0

    async def test_batch_token_can_not_be_renewed(self, vault: Vault) -> None:
        credentials = vault.approle(vault.fresh("role"), token_type="batch")

        async with client_of(vault) as client:
            token = await approle(credentials).login(client)
            reply = await ask(client, "POST", "renew-self", token.secret, {"increment": 600})

        assert not token.renewable
        assert reply.status == 400

    async def test_revoked_token_is_refused_everywhere(self, vault: Vault) -> None:
        credentials = vault.approle(vault.fresh("role"))

        async with client_of(vault) as client:
            token = await approle(credentials).login(client)
            vault.revoke_token(token.secret)
            replies = [
                await ask(client, "GET", "lookup-self", token.secret),
                await ask(client, "POST", "renew-self", token.secret, {"increment": 600}),
                await client.request("GET", "secret/data/x", token=token.secret),
            ]

        assert [(reply.status, forbidden_by_policy(reply)) for reply in replies] == [(403, False)] * 3

    async def test_valid_token_without_lookup_self_differs_from_an_invalid_one(self, vault: Vault) -> None:
        credentials = vault.approle(vault.fresh("role"), default_policy=False)

        async with client_of(vault) as client:
            token = await approle(credentials).login(client)
            reply = await ask(client, "GET", "lookup-self", token.secret)

        assert (reply.status, forbidden_by_policy(reply)) == (403, True)

    async def test_role_that_is_changed_leaves_its_tokens_as_they_are(self, vault: Vault) -> None:
        path = f"secret/data/{vault.fresh()}"
        vault.write_kv(path, {"k": "v"})
        vault.policy(policy := vault.fresh("policy"), path)
        credentials = vault.approle(name := vault.fresh("role"))

        async with client_of(vault) as client:
            old = await approle(credentials).login(client)
            vault.change_policies(name, policy)
            new = await approle(credentials).login(client)
            statuses = [(await client.request("GET", path, token=token.secret)).status for token in (old, new)]

        assert statuses == [403, 200]
        assert (old.policies, new.policies) == (frozenset({"default"}), frozenset({"default", policy}))

    async def test_use_of_a_token_is_spent_by_a_lookup(self, vault: Vault) -> None:
        credentials = vault.approle(vault.fresh("role"), token_num_uses=2)

        async with client_of(vault) as client:
            token = await approle(credentials).login(client)
            statuses = [(await ask(client, "GET", "lookup-self", token.secret)).status for _ in range(3)]

        assert statuses == [200, 200, 403]

    async def test_revoked_by_itself(self, vault: Vault) -> None:
        credentials = vault.approle(vault.fresh("role"))

        async with client_of(vault) as client:
            token = await approle(credentials).login(client)
            revoked = await ask(client, "POST", "revoke-self", token.secret)
            after = await ask(client, "GET", "lookup-self", token.secret)

        assert (revoked.status, after.status) == (204, 403)


async def renew(vault: Vault, credentials: Credentials) -> Token:
    async with client_of(vault) as client:
        token = await approle(credentials).login(client)
        reply = await ask(client, "POST", "renew-self", token.secret, {"increment": 600})
    after = with_renewal(token, reply.body, sent_at=token.expires_at - token.ttl)
    assert after
    return after


async def test_kubernetes_login_with_an_unknown_role(vault: Vault, tmp_path_factory: pytest.TempPathFactory) -> None:
    jwt_file = tmp_path_factory.mktemp("pod") / "token"
    jwt_file.write_text("header.canary.signature\n")

    async with client_of(vault) as client:
        with pytest.raises(Unavailable) as caught:
            await Kubernetes(
                mount="kubernetes", role="unknown", jwt=FileCredential(str(jwt_file), "is it mounted?")
            ).login(client)

    assert str(caught.value).startswith("the Kubernetes login was refused: check vault.kubernetes-role")
    assert "canary" not in str(caught.value)
