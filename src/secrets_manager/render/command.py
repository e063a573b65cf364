"""`secrets-manager render`: the way from definitions to Secrets without a cluster, for CI and for the curious.

It reads the backend and judges by the controller's own code, so what is well here is well there.
"""

from collections.abc import Iterable, Sequence
from typing import Self, TextIO

import trio

from secrets_manager.backends.base import BackendError, Document, Reader, Source
from secrets_manager.backends.factory import open_backend
from secrets_manager.config import Config
from secrets_manager.controller.definition import SecretDefinition, Spec
from secrets_manager.controller.desired import Documents
from secrets_manager.controller.path_policy import PathPolicy
from secrets_manager.errors import UsageError
from secrets_manager.render.manifests import Found, load
from secrets_manager.render.rendering import Outcome, Rendering, as_check, as_secrets, outcome


class Uncounted:
    """The metrics of a process that nobody scrapes."""

    def vault(self) -> Self:
        return self

    def azure(self) -> Self:
        return self

    def token_ttl(self, seconds: float) -> None: ...

    def renewal_error(self, operation: str, error: str) -> None: ...

    def login_error(self, error: str = "") -> None: ...

    def read_error(self, path: str, error: str) -> None: ...

    def forget(self, path: str) -> None: ...

    def request(self, operation: str, status: str, seconds: float) -> None: ...

    def server(self, *, version: str, cluster_id: str, cluster_name: str) -> None: ...


def render(config: Config, paths: Sequence[str], *, stdin: TextIO, check: bool) -> Rendering:
    """Load the definitions, read what they need, and tell what becomes of them.

    Raises: UsageError, in a group where a backend is open.
    """
    if not paths:
        raise UsageError("render needs --file (-f is short for it): a file, a folder, or - for standard input")
    manifests = load(paths, stdin=stdin)
    outcomes = trio.run(_judged, config, manifests.found)
    rendering = as_check(outcomes) if check else as_secrets(outcomes)
    return rendering._replace(remarks=[*manifests.passed_over, *rendering.remarks])


async def read_all(backend: Reader, sources: Iterable[Source], *, at_a_time: int) -> Documents:
    """Read each source once. An error stands in the place of its document."""
    documents: dict[Source, Document | BackendError] = {}
    limiter = trio.CapacityLimiter(at_a_time)

    async def read(source: Source) -> None:
        async with limiter:
            try:
                documents[source] = await backend.read(source)
            except BackendError as error:
                documents[source] = error

    async with trio.open_nursery() as nursery:
        for source in sources:
            nursery.start_soon(read, source)
    return documents


async def _judged(config: Config, found: Sequence[Found]) -> list[Outcome]:
    async with open_backend(config, Uncounted()) as backend, trio.open_nursery() as upkeep:
        await upkeep.start(backend.maintain)
        policy = PathPolicy(config.controller.allowed_paths, backend.segments)
        documents = await read_all(backend, _sources(found, policy), at_a_time=config.controller.workers)
        upkeep.cancel_scope.cancel("all is read")
    return [outcome(each, documents, policy) for each in found]


def _sources(found: Iterable[Found], policy: PathPolicy) -> frozenset[Source]:
    """Of those definitions that can be right at all."""
    specs = [policy.admit(each.definition) for each in found if isinstance(each.definition, SecretDefinition)]
    return frozenset(source for spec in specs if isinstance(spec, Spec) for source in spec.sources)
