"""Checks are bounded in time and independent of each other, spend no more than a login, and show no secret."""

import logging
import math
from collections.abc import Callable

import msgspec
import pytest
import trio
from trio.testing import MockClock

from secrets_manager.doctor import json
from secrets_manager.doctor.checkup import LIMIT, Checkup, Result
from secrets_manager.doctor.finding import Finding, State, ok
from secrets_manager.doctor.text import table
from secrets_manager.errors import SecretsManagerError
from tests.canaries import encodings
from tests.doctor.stack import ROLE, VALUE, Stack, faults_of
from tests.doctor.test_planted_faults import PLANTED, Planted
from tests.doubles.faults import answer, late, on_path, rubbish
from tests.doubles.vault import Request, Response

NEVER = late(math.inf)
ASKED = {
    "auth/token/lookup-self", "auth/token/renew-self", "auth/token/revoke-self", "sys/capabilities-self",
    "auth/approle/role/doctor/secret-id/lookup",
}  # fmt: skip
SECRETS = (VALUE, "canary-")


def states(findings: list[Finding]) -> dict[str, State]:
    return {each.check: each.state for each in findings}


async def test_a_check_that_hangs_fails_in_time_and_is_announced(autojump_clock: MockClock) -> None:
    progress: list[str] = []
    checkup = Checkup(progress.append)

    async def hang() -> Result[str]:
        await trio.sleep_forever()

    async def quick() -> Result[str]:
        await trio.lowlevel.checkpoint()
        return Result([ok("quick", "done")], "value")

    assert await checkup.run("slow", hang, fix="wait") is None
    assert trio.current_time() == pytest.approx(LIMIT, abs=0.1)
    assert await checkup.run("quick", quick, fix="") == "value"
    assert progress == ["checking slow ..."]
    slow, _ = checkup.findings
    assert slow == Finding("slow", State.FAILURE, "there was no result within 20 s", "wait")


async def test_an_expected_error_is_a_failure_of_its_check(autojump_clock: MockClock) -> None:
    checkup = Checkup(lambda _: None)

    async def fail() -> Result[str]:
        await trio.lowlevel.checkpoint()
        raise SecretsManagerError("the disk is full")

    assert await checkup.run("disk", fail, fix="delete something") is None
    assert checkup.findings == [Finding("disk", State.FAILURE, "the disk is full", "delete something")]


async def test_an_unexpected_error_costs_its_check_alone_and_is_not_quoted(autojump_clock: MockClock) -> None:
    async def broken() -> Result[bool]:
        await trio.lowlevel.checkpoint()
        raise ValueError("canary-1")

    checkup = Checkup(lambda line: None)

    assert await checkup.run("crd", broken, fix="none") is None
    (finding,) = checkup.findings
    assert finding.check == "crd"
    assert finding.message == "the check itself failed (ValueError)"


async def test_servers_that_never_answer_cost_their_own_checks_and_little_time(autojump_clock: MockClock) -> None:
    stack = Stack()
    stack.kube_faults.heal()
    stack.kube_faults.always(NEVER)
    stack.vault.delay = lambda _: math.inf

    findings = await stack.examine()

    assert trio.current_time() < 2 * LIMIT
    assert sorted(faults_of(findings)) == ["kubernetes", "vault-connection"]
    assert states(findings)["vault-paths"] is State.SKIPPED
    assert stack.progress == ["checking kubernetes ...", "checking vault-connection ..."]


async def test_without_the_api_server_the_login_to_vault_is_checked(autojump_clock: MockClock) -> None:
    stack = Stack()
    stack.kube_faults.heal()
    stack.kube_faults.always(answer(503))

    found = states(await stack.examine())

    assert (found["kubernetes"], found["vault-login"], found["vault-token"]) == (
        State.FAILURE, State.OK, State.OK,
    )  # fmt: skip
    assert (found["rights"], found["vault-paths"]) == (State.SKIPPED, State.SKIPPED)


async def test_a_namespace_that_can_not_be_listed_leaves_the_others(autojump_clock: MockClock) -> None:
    stack = Stack()
    stack.kube_faults.always(answer(403, reason="Forbidden"), when=on_path(ends="/namespaces/bank/secretdefinitions"))

    findings = await stack.examine()

    assert [each.state for each in findings if each.check == "definitions"] == [State.OK, State.FAILURE]
    assert states(findings)["vault-paths"] is State.OK


async def test_there_is_one_login_whose_token_is_revoked(autojump_clock: MockClock) -> None:
    stack = Stack()

    await stack.examine()

    assert stack.vault.tokens.logins == 1
    assert stack.vault.tokens.alive() == []
    assert {each.method for each in stack.vault.requests if each.path.startswith("secret/")} <= {"GET"}


async def test_without_a_login_what_needs_none_is_checked(autojump_clock: MockClock) -> None:
    stack = Stack()
    stack.may_log_in = False

    found = states(await stack.examine())

    assert stack.vault.tokens.logins == 0
    assert (found["vault-server"], found["vault-login"], found["vault-paths"]) == (
        State.OK, State.SKIPPED, State.SKIPPED,
    )  # fmt: skip


async def test_a_wrapping_token_is_looked_up_and_can_be_unwrapped_afterwards(autojump_clock: MockClock) -> None:
    stack = Stack()
    stack.configure(secret_id=stack.vault.wrapped_secret_id(ROLE), secret_id_wrapped=True)

    findings = await stack.examine()

    (login,) = [each for each in findings if each.check == "vault-login"]
    assert (login.state, "would use it up" in login.message) == (State.SKIPPED, True)
    assert stack.vault.count("POST", "sys/wrapping/unwrap") == 0


async def test_paths_are_asked_for_in_batches_and_of_many_faults_a_few_are_named(autojump_clock: MockClock) -> None:
    stack = Stack()
    for number in range(250):
        stack.define(f"app-{number}", f"secret/data/bank/app-{number}")

    findings = await stack.examine()

    messages = [each.message for each in findings if each.check == "vault-paths"]
    assert (len(messages), messages[-1]) == (11, "and 240 more like these")
    assert stack.vault.count("POST", "sys/capabilities-self") == 4, "three for 251 paths, one for 2 folders"


@pytest.mark.parametrize(
    ("path", "check"),
    [
        ("auth/token/renew-self", "vault-token"),
        ("sys/capabilities-self", "vault-paths"),
        ("auth/approle/role/doctor/secret-id/lookup", "vault-secret-id"),
    ],
)
async def test_a_server_that_fails_is_not_taken_for_a_policy(path: str, check: str, autojump_clock: MockClock) -> None:
    stack = Stack()
    stack.vault.fault = leaking(500, *({"sys/health", "auth/approle/login", *ASKED} - {path}))

    found = faults_of(await stack.examine())

    assert "Vault failed to answer (500)" in found[check].message


LAST_DATE = "Fri, 31 Dec 9999 23:59:59 {zone}"


@pytest.mark.parametrize("zone", ["-2359", "GMT"])
async def test_a_clock_at_the_end_of_time_is_none(zone: str, autojump_clock: MockClock) -> None:
    stack = Stack()
    stack.kube.date = stack.network.date = LAST_DATE.format(zone=zone)

    found = states(await stack.examine())

    assert (found["kubernetes-clock"], found["vault-clock"]) == (State.SKIPPED, State.SKIPPED)
    assert (found["vault-paths"], found["leader"]) == (State.OK, State.OK)


async def test_what_a_server_says_of_itself_is_cut(autojump_clock: MockClock) -> None:
    stack = Stack()
    long = "1" * 10_000
    health = msgspec.json.encode({"initialized": True, "sealed": True, "version": long})
    stack.vault_faults.always(rubbish(health), when=on_path(ends="sys/health"))
    stack.kube_faults.always(rubbish(msgspec.json.encode({"gitVersion": long})), when=on_path(ends="/version"))

    messages = {each.check: each.message for each in await stack.examine()}

    assert messages["vault-server"].endswith("1… is sealed")
    assert len(messages["vault-server"]) < 200
    assert len(messages["kubernetes"]) < 300


def test_messages_are_cut() -> None:
    checkup = Checkup(lambda _: None)

    checkup.add(ok("a", "x" * 10_000))

    assert len(checkup.findings[0].message) < 1100


def test_a_path_that_is_not_utf_8_is_shown_as_escapes() -> None:
    checkup = Checkup(lambda _: None)

    checkup.add(ok("a", "ü\udcff"))

    assert checkup.findings[0].message == r"ü\udcff"
    assert json.encoded(checkup.findings)


async def test_a_renewal_for_more_seconds_than_there_are_is_none(autojump_clock: MockClock) -> None:
    stack = Stack()
    body = b'{"auth": {"lease_duration": 1' + b"0" * 400 + b"}}"
    stack.vault_faults.always(rubbish(body), when=on_path(ends="/renew-self"))

    messages = [each.message for each in await stack.examine() if each.check == "vault-token"]

    assert not any("failed" in each for each in messages)


async def test_hashicorp_vault_gets_no_advice_about_listing(autojump_clock: MockClock) -> None:
    stack = Stack()
    stack.allow("secret/data/shop/*")
    for facts in ({"version": "1.21.0"}, {"version": "2.0.0", "enterprise": False}):
        health = msgspec.json.encode({"initialized": True, "sealed": False, "standby": False, **facts})
        stack.vault_faults.heal()
        stack.vault_faults.always(rubbish(health), when=on_path(ends="sys/health"))

        assert states(await stack.examine())["vault-listing"] is State.SKIPPED


def leaking(status: int, *spared: str) -> Callable[[Request], Response | None]:
    """Repeat in an error whatever was sent, but for requests to some paths."""

    def fault(request: Request) -> Response | None:
        secrets = [request.token, *map(str, request.body.values())]
        errors = [f"wrong: {each}" for each in secrets]
        return None if request.path in spared else Response(status, msgspec.json.encode({"errors": errors}))

    return fault


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.plant.__name__)
async def test_no_secret_is_shown(
    planted: Planted, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stack = Stack()
    planted.plant(stack)
    findings = await stack.examine()
    for status in (400, 500):
        for spared in (("sys/health",), ("sys/health", "auth/approle/login")):
            stack.vault.fault = leaking(status, *spared)
            findings += await stack.examine()

    shown = table(findings) + json.encoded(findings) + repr(findings) + caplog.text + str(stack.progress)
    assert [text for secret in SECRETS for text in encodings(secret) if text in shown] == []


def test_the_table_is_aligned_and_has_the_fix_below() -> None:
    findings = [
        ok("crd", "it is installed"),
        Finding("vault-login", State.FAILURE, "refused\nhere", "write it again"),
    ]

    assert table(findings) == (
        "STATE    CHECK        MESSAGE\n"
        "ok       crd          it is installed\n"
        "failure  vault-login  refused\\nhere\n"
        "                      Fix: write it again\n"
        "\n"
        "1 ok, 0 warning, 1 failure, 0 skipped\n"
    )
