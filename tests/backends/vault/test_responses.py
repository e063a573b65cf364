"""Errors of statuses. The responses of a real server are in tests/contracts/test_vault.py."""

import pytest

from secrets_manager.backends.base import (
    BackendError,
    RateLimited,
    Source,
    SourceForbidden,
    SourceMalformed,
    SourceNotFound,
    Unavailable,
)
from secrets_manager.backends.vault.responses import Response, Sealed, Standby, details, read_error, redacted

SOURCE = Source("secret/data/app")


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (
            307,
            b"",
            Standby,
            (
                "Vault redirects to another address (307), as a standby does, but not to the active node that the "
                "cluster reports: vault.url should be the final address of the active node"
            ),
        ),
        (
            400,
            b'{"errors":["relative paths not supported"]}',
            SourceMalformed,
            "path 'secret/data/app' was refused by Vault as malformed (relative paths not supported): correct the path",
        ),
        (
            400,
            b'{"errors":["Upgrading from non-versioned to versioned data. This backend will be unavailable"]}',
            Unavailable,
            "path 'secret/data/app': its mount is being upgraded to KV version 2: wait until that has ended",
        ),
        (
            403,
            b'{"errors":["permission denied"]}',
            SourceForbidden,
            "path 'secret/data/app' is forbidden by Vault's policies: allow reading it to the controller's role",
        ),
        (
            404,
            b"<html>no such page</html>",
            Unavailable,
            "Vault returned the unexpected status 404: does vault.url name a Vault, with its scheme and port?",
        ),
        *[
            (
                status,
                b"Client sent an HTTP request to an HTTPS server.",
                Unavailable,
                (
                    f"Vault returned the unexpected status {status}: "
                    "does vault.url name a Vault, with its scheme and port?"
                ),
            )
            for status in (400, 403, 405)
        ],
        (
            404,
            b'{"warnings":["Invalid path for a versioned K/V secrets engine."]}',
            SourceNotFound,
            (
                "path 'secret/data/app' lacks data/, which KV version 2 has after the mount: "
                "write the mount, then data/, then the rest, as in secret/data/app"
            ),
        ),
        (
            404,
            b'{"errors":[]}',
            SourceNotFound,
            "path 'secret/data/app' does not exist in Vault: write it, or correct the path",
        ),
        (
            405,
            b'{"errors":["unsupported operation"]}',
            SourceMalformed,
            "path 'secret/data/app' is not a secret that Vault can read (unsupported operation): correct the path",
        ),
        (414, b"", SourceMalformed, "path 'secret/data/app' is too long for Vault: correct the path"),
        (
            429,
            b'{"errors":["rate limit quota exceeded"]}',
            RateLimited,
            "Vault is overloaded or limits the rate of requests (429) (rate limit quota exceeded)",
        ),
        (
            473,
            b"",
            Standby,
            "Vault is a standby that does not serve requests (473): vault.url should name the active node",
        ),
        (500, b'{"errors":["internal\\n\\terror"]}', Unavailable, "Vault failed to answer (500) (internal error)"),
        (502, b"<html>", Unavailable, "Vault failed to answer (502)"),
        (
            503,
            b'{"errors":["Vault is sealed"]}',
            Sealed,
            "Vault is sealed or can't serve requests now (503) (Vault is sealed)",
        ),
        (
            204,
            b"",
            Unavailable,
            "Vault returned the unexpected status 204: does vault.url name a Vault, with its scheme and port?",
        ),
        (
            401,
            b"",
            Unavailable,
            "Vault returned the unexpected status 401: does vault.url name a Vault, with its scheme and port?",
        ),
    ],
)
def test_each_status_has_its_meaning(status: int, body: bytes, kind: type[BackendError], text: str) -> None:
    error = read_error(Response(status, body), SOURCE)

    assert (type(error), str(error)) == (kind, text)


def test_an_upgrade_of_one_mount_tells_nothing_of_the_store() -> None:
    reply = Response(400, b'{"errors":["Upgrading from non-versioned to versioned data."]}')
    error = read_error(reply, SOURCE)

    assert isinstance(error, Unavailable)
    assert error.store == ""


@pytest.mark.parametrize("path", ["team/x/kv/db", "secret/shop/db"])
def test_where_data_is_missing_no_mount_is_guessed_of_several_segments(path: str) -> None:
    error = read_error(
        Response(404, b'{"warnings":["Invalid path for a versioned K/V secrets engine."]}'), Source(path)
    )

    assert str(error) == (
        f"path '{path}' lacks data/, which KV version 2 has after the mount: "
        "write the mount, then data/, then the rest, as in secret/data/app"
    )


def test_retry_after_is_passed_on() -> None:
    error = read_error(Response(429, b"", retry_after=7.0), SOURCE)

    assert isinstance(error, Unavailable)
    assert error.retry_after == 7.0


def test_words_of_vault_are_bounded_and_stay_on_one_line() -> None:
    reply = Response(500, b'{"errors":["a\\nb","\\u001b[31m\\u2028' + b"x" * 500 + b'"]}')

    assert details(reply) == " (a b; \N{REPLACEMENT CHARACTER}[31m " + "x" * (200 - len("a b; .[31m ")) + ")"


def test_words_that_repeat_a_secret_are_left_out() -> None:
    reply = Response(500, b'{"errors":["bad token s.canary"]}')

    assert details(redacted(reply, ["s.canary"])) == ""
    assert details(redacted(reply, ["", "s.other"])) == " (bad token s.canary)"


def test_repr_does_not_show_the_body() -> None:
    assert repr(Response(200, b"canary")) == "Response(200, 6 bytes)"
