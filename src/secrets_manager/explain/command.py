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
from secrets_manager.controller.definition import KIND, SecretDefinition
from secrets_manager.controller.names import is_object_name
from secrets_manager.errors import UsageError
from secrets_manager.explain import json, text
from secrets_manager.explain.cluster import observe
from secrets_manager.explain.explaining import explain
from secrets_manager.explain.explanation import Explanation
from secrets_manager.explain.rivals import without_rivals
from secrets_manager.explain.subjects import Subject, of_files, of_files_applied, of_keys, of_namespace
from secrets_manager.inputs.documents import Reading, read_once
from secrets_manager.inputs.manifests import Manifests, load
from secrets_manager.inputs.progress import Progress, announced, silent
from secrets_manager.kube.client import KubeClient, open_client
from secrets_manager.kube.credentials import find_cluster
from secrets_manager.kube.objects import ObjectKey

Read = Callable[[Iterable[SecretDefinition]], Awaitable[Reading]]
"""Reads the documents of definitions."""
Find = Callable[[KubeClient, str], Awaitable[list[Subject]]]
"""Finds what is to be explained, with the namespace of this process for definitions without one."""


class Output(NamedTuple):
    """The output. `messages` are lines for standard error."""

    text: str
    messages: list[str]
    has_problems: bool
    has_changes: bool


def run_explain(
    config: Config,
    names: Sequence[str],
    *,
    namespace: str,
    paths: Sequence[str],
    output: str,
    stdin: TextIO | None,
    progress: Progress = silent,
) -> Output:
    """Explain definitions in the cluster: by name, of files, or all in a namespace.

    Raises:
        UsageError: nothing, or no valid name is given, or a file can't be read; in an exception group while a backend
            is open.
        KubeError: the cluster can't be read.
    """
    keys = [_key(name, namespace) for name in names]
    manifests = load(paths, stdin=stdin) if paths else Manifests([], [])

    async def find(client: KubeClient, default: str) -> list[Subject]:
        if not names and not paths:
            return await of_namespace(client, namespace)
        found = await of_files(client, manifests.found, namespace=namespace or default)
        return [*await of_keys(client, keys), *found]

    explanations = trio.run(_run, config, find, progress)
    nothing = [] if explanations else [f"there is no {KIND} in namespace {namespace}"]
    return _output(explanations, [*manifests.skipped, *nothing], output, text.explained)


def run_plan(
    config: Config,
    paths: Sequence[str],
    *,
    namespace: str,
    output: str,
    stdin: TextIO | None,
    progress: Progress = silent,
) -> Output:
    """Explain definitions in files as if they were applied.

    Raises:
        UsageError: there is no file, or one can't be read; in an exception group while a backend is open.
        KubeError: the cluster can't be read.
    """
    manifests = load(paths, stdin=stdin)

    async def find(client: KubeClient, default: str) -> list[Subject]:
        return await of_files_applied(client, manifests.found, namespace=namespace or default)

    return _output(trio.run(_run, config, find, progress), manifests.skipped, output, text.planned)


async def explain_all(
    client: KubeClient, read: Read, config: Config, subjects: Sequence[Subject], progress: Progress = silent
) -> list[Explanation]:
    """Explain each definition. Makes GET requests only."""
    definitions = [each.definition for each in subjects if isinstance(each.definition, SecretDefinition)]
    explained = iter(await _explain(client, read, config, definitions, progress) if definitions else ())
    return [
        msgspec.structs.replace(
            subject.definition if isinstance(subject.definition, Explanation) else next(explained),
            location=subject.location,
        )
        for subject in subjects
    ]


async def _run(config: Config, find: Find, progress: Progress) -> list[Explanation]:
    cluster = await find_cluster(config.kube)
    async with open_client(cluster) as client:
        with announced(progress, "reading the definitions ..."):
            subjects = await find(client, cluster.namespace)
        read = partial(read_once, config, progress=progress)
        return await explain_all(client, read, config, subjects, progress)


async def _explain(
    client: KubeClient, read: Read, config: Config, definitions: Sequence[SecretDefinition], progress: Progress
) -> list[Explanation]:
    reading = await read([each for each in definitions if each.metadata.deletion_timestamp is None])
    with announced(progress, "reading the Secrets ..."):
        secrets = await observe(client, definitions)
    reads_as = identity(config)
    return without_rivals(
        [
            (definition, explain(definition, reading, own, config.controller, identity=reads_as))
            for definition, own in zip(definitions, secrets, strict=True)
        ]
    )


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
