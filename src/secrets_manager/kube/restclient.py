"""Send requests to an API server: at the pace of its throttle, counted, and with translated errors.

One call is one request. Nothing is retried here: only the caller knows whether that is safe. Every failure is a
KubeError that names method and path, never a body. Responses are read whole, within a deadline. A watch streams for
minutes and has a read timeout: most API servers send a bookmark about once a minute, so after longer silence the
connection may be lost.

A server that sheds load (Overloaded) throttles the whole client: it sends nothing until the Retry-After has passed,
then paces its requests (kube/throttle.py). Any other 429 concerns one request.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import trio

from secrets_manager.kube.errors import (
    ApiError,
    MalformedResponse,
    Overloaded,
    ResponseTooLarge,
    Unreachable,
    WatchTimedOut,
)
from secrets_manager.kube.status import error_from_status
from secrets_manager.kube.throttle import Throttle
from secrets_manager.net import errors as http_errors
from secrets_manager.net.client import HttpClient, Response, StreamedResponse

JSON = "application/json"
WATCH_READ_TIMEOUT = 90.0
"""Seconds without a byte after which a watch fails: one and a half times the interval of bookmarks."""
ERROR_BODY_TIMEOUT = 10.0
"""Seconds for the body of a refused watch."""
MAX_ERROR_BODY = 1024 * 1024
"""Bytes that are read of the response to a failed watch."""
NO_STATUS = "<error>"
"""client-go's label value for a request without a response."""

RequestCounter = Callable[[str, str], None]
"""Called once for each request, with its method and its status or NO_STATUS."""


def no_count(method: str, code: str) -> None:
    """Count nothing."""


class RestClient:
    """Sends requests to one API server. Every method raises KubeError; see kube/errors.py.

    Args:
        http: Sends them.
        where: The address of the server, and the proxy that leads there, for errors.
        read_timeout: Seconds that a watch may receive nothing.
        count: Called when the head of a response has come, or the request has failed.
    """

    def __init__(
        self,
        http: HttpClient,
        *,
        where: str,
        read_timeout: float = WATCH_READ_TIMEOUT,
        count: RequestCounter = no_count,
    ) -> None:
        self._http = http
        self._where = where
        self._read_timeout = read_timeout
        self._count = count
        self._throttle = Throttle()

    def with_own_throttle(self) -> "RestClient":
        """Return a client that does not wait while this one is throttled."""
        return RestClient(self._http, where=self._where, read_timeout=self._read_timeout, count=self._count)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        content: bytes = b"",
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Response:
        """Return the response if it is a success. Empty values of the query are left out."""
        headers = {"Accept": accept} | ({"Content-Type": content_type} if content else {})
        await self._wait_for_slot()
        with _translating_http_errors(f"{method} {path}", self._where), self._count_failures(method):
            response = await self._http.request(
                method, path, query=_without_empty(query or {}), content=content, headers=headers
            )
        self._count(method, str(response.status))
        if not response.is_success:
            raise self._note_throttling(
                error_from_status(response.status, response.headers, response.body, request=f"{method} {path}")
            )
        return response

    @asynccontextmanager
    async def stream(self, path: str, query: Mapping[str, str], *, accept: str) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Stream the response to a watch. Errors while reading are raised inside the block.

        Raises:
            WatchTimedOut: Nothing came within the read timeout.
        """
        await self._wait_for_slot()
        with _translating_http_errors(f"watch of {path}", self._where):
            async with self._open(path, query, accept=accept) as chunks:
                try:
                    yield chunks
                except http_errors.TimedOut:
                    raise WatchTimedOut(f"watch of {path}: no data for {self._read_timeout:g} s") from None

    async def _wait_for_slot(self) -> None:
        """Wait until the throttle lets the request go."""
        slot = self._throttle.reserve(trio.current_time())
        while trio.current_time() < slot:
            await trio.sleep_until(slot)
            if self._throttle.is_stale(slot):
                slot = self._throttle.reserve(trio.current_time())

    def _note_throttling(self, error: ApiError) -> ApiError:
        """Throttle later requests if the error concerns the whole client. Returns the error."""
        if isinstance(error, Overloaded):
            self._throttle.back_off(trio.current_time(), retry_after=error.retry_after)
        return error

    @contextmanager
    def _count_failures(self, method: str) -> Generator[None]:
        """Count a request that gets no response."""
        try:
            yield
        except http_errors.HttpError:
            self._count(method, NO_STATUS)
            raise

    @asynccontextmanager
    async def _open(self, path: str, query: Mapping[str, str], *, accept: str) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Send a watch request and wait for the head of its response."""
        async with AsyncExitStack() as stack:
            with self._count_failures("GET"):
                response = await stack.enter_async_context(
                    self._http.stream(
                        "GET",
                        path,
                        query=_without_empty(query),
                        headers={"Accept": accept},
                        silence=self._read_timeout,
                    )
                )
                body = b"" if response.is_success else await _error_body(response)
            self._count("GET", str(response.status))
            if not response.is_success:
                raise self._note_throttling(
                    error_from_status(response.status, response.headers, body, request=f"watch of {path}")
                )
            yield response.chunks


async def _error_body(response: StreamedResponse) -> bytes:
    """Read the body of a refused watch, which may not last as a watch does."""
    with trio.move_on_after(ERROR_BODY_TIMEOUT):
        return await response.read(max_body=MAX_ERROR_BODY)
    raise http_errors.TimedOut(f"no whole response within {ERROR_BODY_TIMEOUT:g} s")


def _without_empty(query: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in query.items() if value}


@contextmanager
def _translating_http_errors(request: str, where: str) -> Generator[None]:
    """Translate errors of the HTTP client."""
    try:
        yield
    except http_errors.ResponseTooLarge as error:
        raise ResponseTooLarge(f"{request}: {error}") from None
    except http_errors.MalformedResponse as error:
        raise MalformedResponse(f"{request}: {error}") from None
    except http_errors.HttpError as error:
        raise Unreachable(f"{request} at {where}: {error}") from None
