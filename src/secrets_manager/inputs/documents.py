"""Read the documents of definitions once, without the controller."""

from collections.abc import Callable, Iterable
from typing import NamedTuple, Self

import trio

from secrets_manager.backends import Backend, BackendError, Document, Reader, Source, TimedOut
from secrets_manager.backends.factory import open_backend
from secrets_manager.config import Config, ControllerConfig
from secrets_manager.controller.definition import SecretDefinition
from secrets_manager.controller.documents import Documents
from secrets_manager.controller.path_policy import PathPolicy
from secrets_manager.controller.spec import Spec
from secrets_manager.inputs.progress import Progress, announced, silent


class NoMetrics:
    """Metrics that record nothing."""

    def vault(self) -> Self:
        return self

    def azure(self) -> Self:
        return self

    def follow_token(self, ttl: Callable[[], float]) -> None: ...

    def renewal_error(self, operation: str, error: str) -> None: ...

    def login_error(self, error: str = "") -> None: ...

    def read_error(self, path: str, error: str) -> None: ...

    def forget(self, path: str) -> None: ...

    def request(self, operation: str, status: str, seconds: float) -> None: ...

    def server(self, *, version: str, cluster_id: str, cluster_name: str) -> None: ...


class Reading(NamedTuple):
    """The documents of definitions, and the policy that says which of them each may use."""

    policy: PathPolicy
    documents: Documents


async def read_once(config: Config, definitions: Iterable[SecretDefinition], progress: Progress = silent) -> Reading:
    """Open the backend and read the documents of all valid definitions.

    Raises:
        UsageError: in an exception group: the backend can't be opened.
    """
    with announced(progress, "reading the sources ..."):
        async with open_backend(config, NoMetrics()) as backend, trio.open_nursery() as nursery:
            await nursery.start(backend.maintain)
            reading = await read_documents(backend, definitions, config.controller)
            nursery.cancel_scope.cancel("all sources are read")
    return reading


async def read_documents(
    backend: Backend, definitions: Iterable[SecretDefinition], config: ControllerConfig
) -> Reading:
    """Read the documents of all valid definitions from an open backend."""
    policy = PathPolicy(config.allowed_paths, backend.segments)
    specs = [policy.admit(definition) for definition in definitions]
    sources = frozenset(source for spec in specs if isinstance(spec, Spec) for source in spec.read_sources)
    return Reading(policy, await read_all(backend, sources, concurrency=config.workers))


async def read_all(backend: Reader, sources: Iterable[Source], *, concurrency: int) -> Documents:
    """Read each source once. Return its document or error.

    Where as many reads as run at a time have timed out, and none has had an answer, the others fail at once: the store
    does not answer.
    """
    documents: dict[Source, Document | BackendError] = {}
    unanswered: list[TimedOut] = []
    limiter = trio.CapacityLimiter(concurrency)

    async def read(source: Source) -> None:
        async with limiter:
            try:
                if len(unanswered) == len(documents) >= concurrency:
                    raise unanswered[0].for_others()
                documents[source] = await backend.read(source)
            except BackendError as error:
                documents[source] = error
                if isinstance(error, TimedOut):
                    unanswered.append(error)

    async with trio.open_nursery() as nursery:
        for source in sources:
            nursery.start_soon(read, source)
    return documents
