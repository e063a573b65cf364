"""Valid specs, and invalid ones with their messages."""

from collections.abc import Mapping

from msgspec.structs import replace

from secrets_manager.controller.spec import (
    DataFrom,
    DataSource,
    NamedSource,
    RolloutRestartTarget,
    SecretMetadata,
    Spec,
)
from secrets_manager.templates import MAX_TEMPLATE
from tests.gen import data_source, spec

PLACE = "secret/data/db#password"
LONG = "a" * 253

NAME_RULE = "use at most 253 lower case letters, digits, '-' and '.'"
KEY_RULE = "use at most 253 letters, digits, '-', '_' and '.'"


NO_SOURCE = "is not in spec.sources: add it there, or correct the name"
NO_LABEL = (
    "spec.metadata: a name is at most 63 letters, digits, '-', '_' and '.', with a prefix such as example.com/ or "
    "without, and neither app.kubernetes.io/managed-by nor kubectl.kubernetes.io/last-applied-configuration nor under "
    "secrets-manager.tuenti.io/"
)
NO_VALUE = (
    "spec.metadata: the value of a label is at most 63 letters, digits, '-', '_' and '.', and begins and ends with a "
    "letter or a digit"
)
NO_NAME = (
    "spec.sources: a name is a letter or '_', then letters, digits and '_', at most 63, and no word of the template "
    "language, such as true"
)
NO_DURATION = "is no duration: write numbers with their units, like 5s or 1m30s, at most 99999h"
TEMPLATE_ALONE = "key, version and property have no meaning beside template: remove them"
EMPTY_GLOB = "include and exclude: a glob is empty: write one such as db_*"
KEYS_ALONE = "spec.creationPolicy Merge writes keys alone: remove type, immutable, metadata and rolloutRestartTargets"
WEB = RolloutRestartTarget(kind="Deployment", name="web")


def whole(*documents: DataFrom, type_: str = "", **sources: str) -> Spec:
    """A spec of whole documents."""
    named = {name: NamedSource(path=path) for name, path in sources.items()}
    return Spec(name="db", data_from=documents, sources=named, type=type_)


def marked(*, labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None) -> Spec:
    metadata = SecretMetadata(labels=dict(labels or {}), annotations=dict(annotations or {}))
    return replace(spec(), metadata=metadata)


def merged(**fields: object) -> Spec:
    return replace(spec(), creation_policy="Merge", **fields)


def templated(text: str, **sources: str) -> Spec:
    named = {name: NamedSource(path=path) for name, path in sources.items()}
    return replace(spec(keys={"pw": DataSource(template=text)}), sources=named)


def typed(type_: str, *keys: str) -> Spec:
    return spec(type_=type_, keys=dict.fromkeys(keys or ("pw",), PLACE))


GOOD = [
    spec(),
    spec("a"),
    spec("1"),
    spec("db.example-1.com"),
    spec(LONG),
    spec(keys={".hidden": PLACE, "A_b-c.D9": PLACE, "_": PLACE, "-": PLACE, "a..b": PLACE, LONG: PLACE}),
    typed("Opaque"),
    typed(""),
    typed("example.com/my_own-type"),
    typed("helm.sh/release.v1"),
    typed("bootstrap.kubernetes.io/token"),
    typed("t" * 253),
    typed("kubernetes.io/tls", "tls.crt", "tls.key", "ca.crt"),
    typed("kubernetes.io/ssh-auth", "ssh-privatekey"),
    typed("kubernetes.io/dockercfg", ".dockercfg"),
    typed("kubernetes.io/dockerconfigjson", ".dockerconfigjson"),
    typed("kubernetes.io/basic-auth", "username"),
    typed("kubernetes.io/basic-auth", "password"),
    spec(refresh="1s"),
    spec(refresh="1m30s"),
    spec(refresh="720h"),
    spec(refresh="1.5s"),
    spec(refresh="0.5s500ms"),
    spec(refresh="1000000µs"),
    spec(refresh="604800s"),
    spec(refresh="99999h" * 10),
    spec(refresh="999999999s" * 6),
    spec(refresh="9999999m" * 8),
    spec(keys={"pw": data_source(PLACE, encoding="text"), "p12": data_source(PLACE, encoding="base64")}),
    spec(keys={"pw": data_source(PLACE, encoding="base64url")}),
    whole(DataFrom(path="secret/data/db")),
    whole(DataFrom(path="secret/data/db", version=3), DataFrom(source="db"), db="secret/data/db"),
    whole(
        DataFrom(
            path="secret/data/db",
            include=("db_*", "?"),
            exclude=("*[0-9]",),
            rename={"db password": "password"},
            prefix=".DB_",
            conversion="Underscore",
            encoding="base64url",
        )
    ),
    whole(DataFrom(path="secret/data/tls"), type_="kubernetes.io/tls"),
    whole(DataFrom(source="_A9"), _A9="secret/data/db", **{"s" * 63: "secret/data/db"}),
    marked(labels={"team": "shop", "example.com/tier": ""}, annotations={"a.b/c": "any text"}),
    marked(labels={f"{LONG}/{'n' * 63}": "v" * 63}),
    merged(),
    replace(spec(), creation_policy="Owner", immutable=True),
    replace(spec(), creation_policy="Orphan", rollout_restart_targets=(WEB,)),
    templated("{{ db.password }}", db="secret/data/db"),
    templated("x" * MAX_TEMPLATE),
    spec(keys={**{f"key-{number}": DataSource(template="x") for number in range(64)}, "pw": PLACE}),
]

BAD = [
    (
        spec(keys={f"key-{number}": DataSource(template="x") for number in range(65)}),
        "spec.keysMap: at most 64 keys may be templates: make several definitions of it",
    ),
    (spec(""), f"spec.name '' can't be the name of a Secret: {NAME_RULE}"),
    (spec("Db"), f"spec.name 'Db' can't be the name of a Secret: {NAME_RULE}"),
    (spec("db_1"), f"spec.name 'db_1' can't be the name of a Secret: {NAME_RULE}"),
    (spec("-db"), f"spec.name '-db' can't be the name of a Secret: {NAME_RULE}"),
    (spec(f"{'a' * 59}-"), f"spec.name '{'a' * 59}-' can't be the name of a Secret: {NAME_RULE}"),
    (spec("db."), f"spec.name 'db.' can't be the name of a Secret: {NAME_RULE}"),
    (spec("a..b"), f"spec.name 'a..b' can't be the name of a Secret: {NAME_RULE}"),
    (spec("../other/x"), f"spec.name '../other/x' can't be the name of a Secret: {NAME_RULE}"),
    (spec("db\n"), f"spec.name 'db\\n' can't be the name of a Secret: {NAME_RULE}"),
    (spec("dß"), f"spec.name 'd\\xdf' can't be the name of a Secret: {NAME_RULE}"),
    (spec("a" * 254), f"spec.name '{'a' * 60}...' can't be the name of a Secret: {NAME_RULE}"),
    (spec(keys={}), "spec.keysMap names no key: add one, or a document to spec.dataFrom, or delete this definition"),
    (
        spec(refresh="5"),
        f"spec.refreshInterval '5' {NO_DURATION}",
    ),
    (
        spec(refresh="9999999h"),
        f"spec.refreshInterval '9999999h' {NO_DURATION}",
    ),
    (spec(refresh="0000001ms"), "spec.refreshInterval 0000001ms is too little: it is 1s at least"),
    (spec(refresh="999ms"), "spec.refreshInterval 999ms is too little: it is 1s at least"),
    (spec(refresh="0"), "spec.refreshInterval 0 is too little: it is 1s at least"),
    (spec(refresh="-1h"), "spec.refreshInterval -1h is too little: it is 1s at least"),
    (spec(keys={"": PLACE}), f"spec.keysMap: '' can't be a key of a Secret: {KEY_RULE}"),
    (spec(keys={".": PLACE}), f"spec.keysMap: '.' can't be a key of a Secret: {KEY_RULE}"),
    (spec(keys={"..": PLACE}), f"spec.keysMap: '..' can't be a key of a Secret: {KEY_RULE}"),
    (spec(keys={"..a": PLACE}), f"spec.keysMap: '..a' can't be a key of a Secret: {KEY_RULE}"),
    (spec(keys={"a/b": PLACE}), f"spec.keysMap: 'a/b' can't be a key of a Secret: {KEY_RULE}"),
    (spec(keys={"pw\n": PLACE}), f"spec.keysMap: 'pw\\n' can't be a key of a Secret: {KEY_RULE}"),
    (spec(keys={"pw": PLACE, "p w": PLACE}), f"spec.keysMap: 'p w' can't be a key of a Secret: {KEY_RULE}"),
    (spec(keys={"k" * 254: PLACE}), f"spec.keysMap: '{'k' * 60}...' can't be a key of a Secret: {KEY_RULE}"),
    (typed("my type"), "spec.type 'my type' can't be the type of a Secret: use Opaque or kubernetes.io/tls"),
    (typed("-x"), "spec.type '-x' can't be the type of a Secret: use Opaque or kubernetes.io/tls"),
    (
        typed("kubernetes.io/service-account-token"),
        "spec.type kubernetes.io/service-account-token: such Secrets are made by Kubernetes itself",
    ),
    (
        typed("kubernetes.io/tls", "tls.crt"),
        "spec.type kubernetes.io/tls needs the key tls.key: add it to spec.keysMap, or use type Opaque",
    ),
    (
        typed("kubernetes.io/tls", "tls.key"),
        "spec.type kubernetes.io/tls needs the key tls.crt: add it to spec.keysMap, or use type Opaque",
    ),
    (
        typed("kubernetes.io/ssh-auth"),
        "spec.type kubernetes.io/ssh-auth needs the key ssh-privatekey: add it to spec.keysMap, or use type Opaque",
    ),
    (
        typed("kubernetes.io/dockercfg"),
        "spec.type kubernetes.io/dockercfg needs the key .dockercfg: add it to spec.keysMap, or use type Opaque",
    ),
    (
        typed("kubernetes.io/dockerconfigjson"),
        (
            "spec.type kubernetes.io/dockerconfigjson needs the key .dockerconfigjson: "
            "add it to spec.keysMap, or use type Opaque"
        ),
    ),
    (
        typed("kubernetes.io/basic-auth"),
        "spec.type kubernetes.io/basic-auth needs the key username or password in spec.keysMap",
    ),
    (spec(refresh=".5s"), "spec.refreshInterval .5s is too little: it is 1s at least"),
    (spec(refresh="1000us"), "spec.refreshInterval 1000us is too little: it is 1s at least"),
    (
        spec(refresh="soon"),
        f"spec.refreshInterval 'soon' {NO_DURATION}",
    ),
    (spec(keys={"pw": "#k"}), "key pw: path '' is empty: write the full path, such as secret/data/app"),
    (
        spec(keys={"pw": data_source(PLACE, encoding="rot13")}),
        "key pw: encoding 'rot13' is unknown: use text, base64 or base64url",
    ),
    (
        spec(keys={"pw": data_source(PLACE, encoding="Text")}),
        "key pw: encoding 'Text' is unknown: use text, base64 or base64url",
    ),
    (spec(keys={"pw": DataSource()}), "key pw: write either path and key, or template"),
    (
        spec(keys={"pw": DataSource(path="secret/data/db")}),
        "key pw: key is missing: add the name of the key at path whose value is taken",
    ),
    (spec(keys={"pw": DataSource(template="x", key="k")}), f"key pw: {TEMPLATE_ALONE}"),
    (spec(keys={"pw": DataSource(template="x", version=3)}), f"key pw: {TEMPLATE_ALONE}"),
    (spec(keys={"pw": DataSource(template="x", property="p")}), f"key pw: {TEMPLATE_ALONE}"),
    (templated("x" * (MAX_TEMPLATE + 1)), "key pw: template is too long: write at most 65536 characters"),
    (whole(DataFrom()), "dataFrom[0]: write either path or source"),
    (whole(DataFrom(path="secret/data/db", source="db"), db="x"), "dataFrom[0]: write either path or source"),
    (whole(DataFrom(path="")), "dataFrom[0]: path '' is empty: write the full path, such as secret/data/app"),
    (whole(DataFrom(source="api"), db="x"), f"dataFrom[0]: source 'api' {NO_SOURCE}"),
    (
        whole(DataFrom(source="db", version=3), db="x"),
        "dataFrom[0]: version has no meaning beside source: write it in spec.sources",
    ),
    (whole(DataFrom(path="x", include=("a", ""))), f"dataFrom[0]: {EMPTY_GLOB}"),
    (whole(DataFrom(path="x", exclude=("",))), f"dataFrom[0]: {EMPTY_GLOB}"),
    (
        whole(DataFrom(path="x", rename={"a": "b", "c": "d e"})),
        f"dataFrom[0]: rename: each key maps to a key of the Secret: {KEY_RULE}",
    ),
    (
        whole(DataFrom(path="x", prefix="db/")),
        "dataFrom[0]: prefix 'db/' can't be in a key of a Secret: use letters, digits, '-', '_' and '.'",
    ),
    (whole(DataFrom(path="x", conversion="Dash")), "dataFrom[0]: conversion 'Dash' is unknown: use Underscore"),
    (
        whole(DataFrom(path="x", encoding="hex")),
        "dataFrom[0]: encoding 'hex' is unknown: use text, base64 or base64url",
    ),
    (whole(DataFrom(path="x"), **{"1db": "x"}), NO_NAME),
    (whole(DataFrom(path="x"), **{"s" * 64: "x"}), NO_NAME),
    (whole(DataFrom(path="x"), true="x"), NO_NAME),
    (whole(DataFrom(path="x"), db=""), "source 'db': path '' is empty: write the full path, such as secret/data/app"),
    (marked(labels={"te am": "x"}), NO_LABEL),
    (marked(labels={"app.kubernetes.io/managed-by": "x"}), NO_LABEL),
    (marked(labels={"secrets-manager.tuenti.io/owner": "x"}), NO_LABEL),
    (marked(annotations={"kubectl.kubernetes.io/last-applied-configuration": "{}"}), NO_LABEL),
    (marked(annotations={f"{LONG}/{'n' * 64}": "x"}), NO_LABEL),
    (marked(labels={"team": "-shop"}), NO_VALUE),
    (
        replace(spec(), creation_policy="owner"),
        "spec.creationPolicy 'owner' is unknown: use Owner, Orphan or Merge",
    ),
    (merged(type="Opaque"), KEYS_ALONE),
    (merged(immutable=True), KEYS_ALONE),
    (merged(metadata=SecretMetadata(labels={"team": "shop"})), KEYS_ALONE),
    (merged(rollout_restart_targets=(WEB,)), KEYS_ALONE),
    (
        replace(spec(), rollout_restart_targets=(replace(WEB, kind="Job"),)),
        "rolloutRestartTargets[0]: kind 'Job' can't be restarted: use Deployment, StatefulSet or DaemonSet",
    ),
    (
        replace(spec(), rollout_restart_targets=(replace(WEB, name="Web"),)),
        f"rolloutRestartTargets[0]: name 'Web' can't be the name of a workload: {NAME_RULE}",
    ),
]
"""Each with one fault, which the API server finds."""

SEVERAL = spec(
    "Bad_Name",
    type_="kubernetes.io/tls",
    refresh="soon",
    keys={"a b": data_source(PLACE, encoding="rot13"), "pw": "#k", "tls.key": PLACE},
)
FAULTS_OF_SEVERAL = [
    f"spec.name 'Bad_Name' can't be the name of a Secret: {NAME_RULE}",
    f"spec.keysMap: 'a b' can't be a key of a Secret: {KEY_RULE}",
    "key 'a b': encoding 'rot13' is unknown: use text, base64 or base64url",
    "key pw: path '' is empty: write the full path, such as secret/data/app",
    "spec.type kubernetes.io/tls needs the key tls.crt: add it to spec.keysMap, or use type Opaque",
    f"spec.refreshInterval 'soon' {NO_DURATION}",
]
