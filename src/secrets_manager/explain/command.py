"""`secrets-manager explain` and `secrets-manager plan`: what the controller would do, without doing it.

`explain` takes definitions from the cluster, `plan` from files, as `kubectl apply` would leave them.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple, TextIO

import msgspec
import trio

from secrets_manager.backends.factory import identity
from secrets_manager.config import Config
from secrets_manager.controller.definition import KIND, SECRET_DEFINITIONS, SecretDefinition
from secrets_manager.controller.names import is_object_name
from secrets_manager.controller.redaction import redact
from secrets_manager.errors import UsageError
from secrets_manager.explain import json, text
from secrets_manager.explain.applied import EXISTING_DEFINITIONS, applied
from secrets_manager.explain.cluster import list_all, observe
from secrets_manager.explain.explaining import explain
from secrets_manager.explain.explanation import Explanation, unknown
from secrets_manager.explain.rivals import without_rivals
from secrets_manager.inputs.documents import Reading, read_once
from secrets_manager.inputs.manifests import FoundDefinition, load
from secrets_manager.kube.client import KubeClient, open_client
from secrets_manager.kube.credentials import find_cluster
from secrets_manager.kube.errors import Forbidden, NotFound
from secrets_manager.kube.objects import ObjectKey

Read = Callable[[Iterable[SecretDefinition]], Awaitable[Reading]]
"""Reads the documents of definitions."""


class Output(NamedTuple):
    """The output. `messages` are lines for standard error."""

    text: str
    messages: list[str]
    has_problems: bool
    has_changes: bool


class Subject(NamedTuple):
    """A definition to explain, or the explanation that there is none; and its location."""

    definition: SecretDefinition | Explanation
    location: str = ""


class Targets(NamedTuple):
    """What to explain: definitions by key, and all of a namespace, if one is named."""

    keys: list[ObjectKey]
    namespace: str = ""


def run_explain(
    config: Config, names: Sequence[str], *, namespace: str, paths: Sequence[str], output: str, stdin: TextIO
) -> Output:
    """Explain definitions in the cluster.

    Raises:
        UsageError: nothing, or no valid name is given, or a file can't be read; in an exception group while a backend
            is open.
        KubeError: the cluster can't be read.
    """
    found = load(paths, stdin=stdin) if paths else None
    if not names and not namespace and found is None:
        raise UsageError("explain needs NAMESPACE/NAME, or --namespace (-n) for all in one, or --file (-f)")
    keys = [_key(name, namespace) for name in names]
    whole = "" if names or found is not None else namespace

    async def run(client: KubeClient, default_namespace: str) -> list[Explanation]:
        of_files = [] if found is None else found.definitions
        in_files = [_in_namespace(each, namespace or default_namespace).key for each in of_files]
        subjects = await find(client, Targets([*keys, *in_files], whole))
        return await explain_all(client, partial(read_once, config), config, subjects)

    explanations = trio.run(_with_cluster, config, run)
    messages = [] if found is None else found.skipped
    if whole and not explanations:
        messages = [f"there is no {KIND} in namespace {whole}"]
    return _output(explanations, messages, output, text.explained)


def run_plan(config: Config, paths: Sequence[str], *, namespace: str, output: str, stdin: TextIO) -> Output:
    """Explain definitions in files as if they were applied.

    Raises:
        UsageError: there is no file, or one can't be read; in an exception group while a backend is open.
        KubeError: the cluster can't be read.
    """
    if not paths:
        raise UsageError("plan needs --file (-f): a file, a folder, or - for standard input")
    manifests = load(paths, stdin=stdin)

    async def run(client: KubeClient, default_namespace: str) -> list[Explanation]:
        subjects = await apply_all(client, manifests.found, namespace=namespace or default_namespace)
        return await explain_all(client, partial(read_once, config), config, subjects)

    return _output(trio.run(_with_cluster, config, run), manifests.skipped, output, text.planned)


async def find(client: KubeClient, targets: Targets) -> list[Subject]:
    """Find definitions in the cluster.

    Raises:
        KubeError: the cluster can't be read.
    """
    subjects: list[Subject] = []
    for key in targets.keys:
        try:
            subjects.append(Subject(await client.get(SECRET_DEFINITIONS, key)))
        except NotFound:
            text = f"there is no {KIND} {key}: correct the name, or the context of the kubeconfig"
            subjects.append(Subject(unknown(key, "DefinitionNotFound", text)))
        except Forbidden as error:
            subjects.append(Subject(_unreadable(key, error)))
    if targets.namespace:
        found = await list_all(client, SECRET_DEFINITIONS, targets.namespace)
        subjects += [Subject(definition) for definition in found]
    return subjects


async def apply_all(client: KubeClient, found: Iterable[FoundDefinition], *, namespace: str) -> list[Subject]:
    """Return the definitions of files as `kubectl apply` would leave them. `namespace` is that of those without one.

    Raises:
        KubeError: the cluster can't be read.
    """
    return [
        Subject(
            unknown(ObjectKey("", ""), "DefinitionInvalid", each.definition, location=each.location)
            if isinstance(each.definition, str)
            else await _apply(client, _in_namespace(each.definition, namespace)),
            each.location,
        )
        for each in found
    ]


async def explain_all(client: KubeClient, read: Read, config: Config, subjects: Sequence[Subject]) -> list[Explanation]:
    """Explain each definition. Makes GET requests only."""
    definitions = [each.definition for each in subjects if isinstance(each.definition, SecretDefinition)]
    reading = await read([each for each in definitions if each.metadata.deletion_timestamp is None])
    secrets = await observe(client, definitions)
    reads_as = identity(config)
    found = without_rivals(
        (definition, explain(definition, reading, own, config.controller, identity=reads_as))
        for definition, own in zip(definitions, secrets, strict=True)
    )
    return [
        msgspec.structs.replace(
            subject.definition if isinstance(subject.definition, Explanation) else next(found),
            location=subject.location,
        )
        for subject in subjects
    ]


async def _with_cluster(
    config: Config, run: Callable[[KubeClient, str], Awaitable[list[Explanation]]]
) -> list[Explanation]:
    """Run with a client of the cluster and the namespace of this process."""
    cluster = await find_cluster(config.kube)
    async with open_client(cluster) as client:
        return await run(client, cluster.namespace)


async def _apply(client: KubeClient, manifest: SecretDefinition) -> SecretDefinition | Explanation:
    try:
        existing = await client.get(EXISTING_DEFINITIONS, manifest.key)
    except NotFound:
        existing = None
    except Forbidden as error:
        return _unreadable(manifest.key, error)
    return applied(manifest, existing)


def _unreadable(key: ObjectKey, error: Forbidden) -> Explanation:
    step = f"let this user get {SECRET_DEFINITIONS.plural} in namespace {key.namespace}"
    return unknown(key, "DefinitionUnreadable", f"{KIND} {key} can't be read: {redact(error, ())}: {step}")


def _in_namespace(definition: SecretDefinition, default: str) -> SecretDefinition:
    metadata = definition.metadata
    if metadata.namespace:
        return definition
    return msgspec.structs.replace(definition, metadata=msgspec.structs.replace(metadata, namespace=default))


def _key(name: str, namespace: str) -> ObjectKey:
    """Parse NAMESPACE/NAME, or NAME in the namespace.

    Raises:
        UsageError: it is neither.
    """
    prefix, slash, last = name.rpartition("/")
    key = ObjectKey(prefix if slash else namespace, last)
    if not key.namespace or not all(map(is_object_name, key)):
        raise UsageError("explain takes definitions as NAMESPACE/NAME, or as NAME with --namespace (-n)")
    return key


def _output(
    explanations: Sequence[Explanation],
    messages: list[str],
    output: str,
    printed: Callable[[Sequence[Explanation]], str],
) -> Output:
    return Output(
        json.encoded(explanations) if output == "json" else printed(explanations),
        messages,
        has_problems=any(each.problem is not None for each in explanations),
        has_changes=any(each.changes for each in explanations),
    )
