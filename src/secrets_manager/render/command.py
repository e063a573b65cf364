"""`secrets-manager render`: print or check the Secrets of definitions without a cluster, for CI and for debugging.

It uses the controller's own code, so the results are the same.
"""

from collections.abc import Iterable, Sequence
from typing import Self, TextIO

import trio

from secrets_manager.backends import BackendError, Document, Reader, Source
from secrets_manager.backends.factory import open_backend
from secrets_manager.config import Config
from secrets_manager.controller.definition import SecretDefinition
from secrets_manager.controller.documents import Documents
from secrets_manager.controller.path_policy import PathPolicy
from secrets_manager.controller.spec import Spec
from secrets_manager.errors import UsageError
from secrets_manager.render.manifests import FoundDefinition, load
from secrets_manager.render.rendering import Rendering, Result, evaluate, render_check, render_secrets


class NoMetrics:
    """Metrics that record nothing."""

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
    """Load definitions, read their sources and render them.

    Raises:
        UsageError: in an exception group while a backend is open.
    """
    if not paths:
        raise UsageError("render needs --file (-f): a file, a folder, or - for standard input")
    manifests = load(paths, stdin=stdin)
    results = trio.run(_evaluate_all, config, manifests.found)
    rendering = render_check(results) if check else render_secrets(results)
    return rendering._replace(messages=[*manifests.skipped, *rendering.messages])


async def read_all(backend: Reader, sources: Iterable[Source], *, concurrency: int) -> Documents:
    """Read each source once. Return its document or error."""
    documents: dict[Source, Document | BackendError] = {}
    limiter = trio.CapacityLimiter(concurrency)

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


async def _evaluate_all(config: Config, found: Sequence[FoundDefinition]) -> list[Result]:
    async with open_backend(config, NoMetrics()) as backend, trio.open_nursery() as nursery:
        await nursery.start(backend.maintain)
        policy = PathPolicy(config.controller.allowed_paths, backend.segments)
        documents = await read_all(backend, _sources(found, policy), concurrency=config.controller.workers)
        nursery.cancel_scope.cancel("all sources are read")
    return [evaluate(each, documents, policy) for each in found]


def _sources(found: Iterable[FoundDefinition], policy: PathPolicy) -> frozenset[Source]:
    """Return the sources of all valid definitions."""
    specs = [policy.admit(each.definition) for each in found if isinstance(each.definition, SecretDefinition)]
    return frozenset(source for spec in specs if isinstance(spec, Spec) for source in spec.read_sources)
