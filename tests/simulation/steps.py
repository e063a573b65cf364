"""Classify requests by their purpose: the steps that faults are injected into."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class Step(StrEnum):
    """The purpose of a request."""

    LIST = "list"
    WATCH = "watch"
    GET = "get"
    WRITE = "write"
    STATUS = "status"
    EVENT = "event"
    LEASE = "lease"
    READ = "read"
    LISTING = "listing"
    LOGIN = "login"
    TOKEN = "token"
    HEALTH = "health"


OF_KUBERNETES = (Step.LIST, Step.WATCH, Step.GET, Step.WRITE, Step.STATUS, Step.EVENT, Step.LEASE)
OF_VAULT = (Step.READ, Step.LISTING, Step.LOGIN, Step.TOKEN, Step.HEALTH)
COLLECTIONS = ("/secrets", "/secretdefinitions")


class Answer(NamedTuple):
    """The response of a server. Its repr holds no body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def __repr__(self) -> str:
        return f"Answer({self.status}, {len(self.body)} bytes)"


class Call(NamedTuple):
    """One request of a replica. Its repr holds no body."""

    who: str
    step: Step
    method: str
    path: str
    query: Mapping[str, str]
    body: bytes = b""
    content_type: str = ""
    token: str = ""
    server: int = 0
    """The number of the API server."""

    def __repr__(self) -> str:
        return f"{self.who} {self.step}: {self.method} {self.path}"

    @property
    def writes(self) -> bool:
        return self.method != "GET"


def step_at_kubernetes(method: str, path: str, query: Mapping[str, str]) -> Step:
    if "/leases" in path:
        return Step.LEASE
    if "/events" in path:
        return Step.EVENT
    if method == "GET" and path.endswith(COLLECTIONS):
        return Step.WATCH if "watch" in query else Step.LIST
    if path.endswith("/status"):
        return Step.STATUS
    return Step.GET if method == "GET" else Step.WRITE


def step_at_vault(path: str, query: Mapping[str, str]) -> Step:
    if path.startswith("sys/"):
        return Step.HEALTH
    if path.startswith("auth/token/"):
        return Step.TOKEN
    if path.startswith("auth/"):
        return Step.LOGIN
    return Step.LISTING if "list" in query else Step.READ
