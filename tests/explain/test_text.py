"""The text of `explain` and `plan`, as the documents show it."""

import io
from collections.abc import Mapping

import msgspec

from secrets_manager.backends import BackendError, Document, Source
from secrets_manager.backends.vault.path import parse_path
from secrets_manager.backends.vault.responses import Response, read_error
from secrets_manager.config import ControllerConfig
from secrets_manager.controller.decision import new_secret
from secrets_manager.controller.definition import Condition, SecretDefinition, Status
from secrets_manager.controller.desired import Desired
from secrets_manager.controller.path_policy import PathPolicy
from secrets_manager.controller.secret import digest
from secrets_manager.explain.explaining import explain
from secrets_manager.explain.explanation import Explanation
from secrets_manager.explain.json import encoded
from secrets_manager.explain.observed import ObservedSecret, Secrets, decode
from secrets_manager.explain.text import explained, planned
from secrets_manager.inputs.documents import Reading
from secrets_manager.inputs.manifests import load
from tests.documents import blocks
from tests.gen import NOW

DB, KEYSTORE, API = (
    Source("secret/data/shop/db"),
    Source("secret/data/shop/keystore"),
    Source("secret/data/shop/api", "3"),
)
FORBIDDEN = Source("secret/data/bank/keystore")
DOCUMENTS: Mapping[Source, Document | BackendError] = {
    DB: Document(
        values={"username": "app", "password": "hunter2"},
        marker="8",
        version=8,
        changed="2026-02-03T04:05:06.328826604Z",
    ),
    KEYSTORE: Document(values={"p12": "AAEC"}, marker="2", version=2, changed="2025-11-12T13:14:15.378363882Z"),
    API: Document(
        values={"account": '{"token": "t-12345"}'}, marker="3", version=3, changed="2026-01-02T03:04:05.370644731Z"
    ),
    FORBIDDEN: read_error(Response(403, b'{"errors":["permission denied"]}'), FORBIDDEN),
}
IN_CLUSTER = {"password": b"hunter1!", "keystore.p12": b"\x00\x01\x02", "api-token": b"t-12345", "user": b"app"}


def example(*, name: str = "shop-database", secret: str = "database", keystore: str = "shop") -> SecretDefinition:
    """The definition of the documents, some time after it was applied, or one that is like it."""
    (manifest,) = blocks("docs/definitions.md#single-keys", "yaml")
    for old, new in (("shop-database", name), ("name: database ", f"name: {secret} "), ("shop/key", f"{keystore}/key")):
        assert old in manifest
        manifest = manifest.replace(old, new)
    (definition,) = load(["-"], stdin=io.StringIO(manifest)).definitions
    ready = Condition(
        type="Ready",
        status="True",
        reason="Synced",
        message="Secret database is in sync",
        last_transition_time="2026-01-31T08:00:00Z",
    )
    metadata = msgspec.structs.replace(definition.metadata, uid="u", generation=2)
    status = Status(conditions=(ready,), observed_generation=1, secret_name="database")
    return msgspec.structs.replace(definition, metadata=metadata, status=status)


def stored(definition: SecretDefinition, data: Mapping[str, bytes]) -> ObservedSecret:
    desired = Desired(name="database", type="Opaque", data=dict(data), digest=digest(data))
    return decode(msgspec.json.encode(new_secret(definition, desired, now=NOW, restarts="")))


def explanation_of(definition: SecretDefinition, documents: Mapping[Source, Document | BackendError]) -> Explanation:
    reading = Reading(PathPolicy((), lambda path: parse_path(path).segments), documents)
    secrets = Secrets({"database": stored(definition, IN_CLUSTER)}, {})
    return explain(
        definition,
        reading,
        secrets,
        ControllerConfig(),
        identity="Vault at https://vault.example.com:8200, as the AppRole of auth/approle",
    )


def test_explanation_is_printed_as_the_documents_show_it() -> None:
    _, shown = blocks("docs/definitions.md#render-plan-and-explain", "")

    assert explained([explanation_of(example(), DOCUMENTS)]) == shown


def test_plan_is_printed_as_the_documents_show_it() -> None:
    shown, _ = blocks("docs/definitions.md#render-plan-and-explain", "")
    definitions = {"other": example(name="shop-other", secret="other", keystore="bank"), "shop": example()}
    plans = [
        msgspec.structs.replace(
            explanation_of(definition, DOCUMENTS), location=f"deploy/definitions/{file}.yaml, document 1"
        )
        for file, definition in definitions.items()
    ]

    assert planned(plans) == shown


def test_json_has_every_field_of_the_explanation() -> None:
    explanation = explanation_of(example(), DOCUMENTS)

    written = msgspec.json.decode(encoded([explanation]), type=dict[str, list[Explanation]])

    assert written == {"definitions": [explanation]}
    assert '"periodFrom": "spec.refreshInterval"' in encoded([explanation])
    assert '"length": null' in encoded([explanation])


def test_no_text_from_outside_can_imitate_a_line_of_the_output() -> None:
    definition = example()
    (ready,) = definition.status.conditions
    forged = msgspec.structs.replace(ready, message="fine\n  Problem   \x1b[31mnone")
    status = msgspec.structs.replace(definition.status, conditions=(forged,))

    text = explained([explanation_of(msgspec.structs.replace(definition, status=status), DOCUMENTS)])

    assert "Synced: fine\\n  Problem   \\x1b[31mnone" in text
