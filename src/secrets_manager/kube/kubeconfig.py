"""The credentials that a kubeconfig names, as kubectl takes them.

Several files count as one: of two entries with one name the first counts, and paths are relative to their own file. No
error quotes what is in a file but names of entries. Nothing is written: certificates that stand in a kubeconfig stay in
memory.
"""

import base64
import binascii
import ssl
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
import yaml

from secrets_manager.kube.access import Access, Credential, header, kubeconfig_files
from secrets_manager.kube.errors import CredentialsError
from secrets_manager.kube.objects import without_nulls
from secrets_manager.net.tls import UnusableFile, client_context

T = TypeVar("T")

LEGAL_IN_A_NAME = "!#$&'*+^`|~"
"""Of the name of a header, beside letters, digits and `_.-~`. All else of an extra's key is percent-encoded."""


class Kubeconfig:
    """A context of one kubeconfig, or of several, written as in the variable KUBECONFIG."""

    def __init__(self, paths: str, *, context: str = "") -> None:
        self._paths = paths
        self._context = context
        self._login: _Login | None = None

    def __str__(self) -> str:
        context = f"context {self._context!r}" if self._context else "the current context"
        return f"{context} of the kubeconfig {self._paths}"

    def look(self, *, thorough: bool) -> Access:
        """Read tokens and certificates as they are now; a thorough look reads the kubeconfig, and runs a plugin."""
        try:
            if self._login is None or thorough:
                self._login = _chosen(_merged(self._paths), self._context)
            return self._login.access()
        except (CredentialsError, UnusableFile) as error:
            raise CredentialsError(f"{self} can't be used: {error}") from None


class _Entry(NamedTuple):
    """A cluster, a user or a context, and the folder that its paths are relative to."""

    content: dict[str, object]
    folder: Path


class _Merged(NamedTuple):
    contexts: dict[str, _Entry]
    clusters: dict[str, _Entry]
    users: dict[str, _Entry]
    current: str


class _Named(msgspec.Struct, frozen=True):
    name: str
    context: dict[str, object] = {}
    cluster: dict[str, object] = {}
    user: dict[str, object] = {}


class _File(msgspec.Struct, frozen=True, rename="kebab"):
    contexts: tuple[_Named, ...] = ()
    clusters: tuple[_Named, ...] = ()
    users: tuple[_Named, ...] = ()
    current_context: str = ""


class _Context(msgspec.Struct, frozen=True):
    cluster: str = ""
    user: str = ""
    namespace: str = ""


class _Cluster(msgspec.Struct, frozen=True, rename="kebab"):
    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""


class _User(msgspec.Struct, frozen=True, rename="kebab"):
    token: str = ""
    token_file: str = msgspec.field(name="tokenFile", default="")
    username: str = ""
    password: str = ""
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    exec: dict[str, object] = {}
    auth_provider: dict[str, object] = {}
    impersonated: str = msgspec.field(name="as", default="")
    impersonated_uid: str = msgspec.field(name="as-uid", default="")
    impersonated_groups: tuple[str, ...] = msgspec.field(name="as-groups", default=())
    impersonated_extra: dict[str, tuple[str, ...]] = msgspec.field(name="as-user-extra", default={})

    def __repr__(self) -> str:
        return "_User()"


class _Login:
    """One context, read and found whole. The TLS context lasts as long as the client's certificate."""

    def __init__(
        self, context: _Context, cluster: _Cluster, folder: Path, user: _User, credential: Callable[[], Credential]
    ) -> None:
        self._context = context
        self._cluster = cluster
        self._folder = folder
        self._url = _checked(cluster.server.rstrip("/"), what="server", schemes=("https", "http"))
        self._proxy = _checked(cluster.proxy_url, what="proxy-url", schemes=("", "https", "http"))
        self._impersonation = tuple(_impersonation(user))
        self._credential = credential
        self._client_pem = b""
        self._tls: ssl.SSLContext | None = None

    def access(self) -> Access:
        credential = self._credential()
        if credential == Credential() and self._context.user and self._url.startswith("https:"):
            raise CredentialsError(
                f"user {self._context.user!r} has no credentials: give it a token, a tokenFile, a client-certificate "
                "with its client-key, or a login plugin (exec)"
            )
        if self._tls is None or credential.client_pem != self._client_pem:
            self._tls, self._client_pem = self._trusting(credential.client_pem), credential.client_pem
        return Access(
            url=self._url,
            namespace=self._context.namespace or "default",
            authorization=header(credential.authorization),
            context=self._tls,
            proxy=self._proxy,
            server_name=self._cluster.tls_server_name,
            impersonation=self._impersonation,
        )

    def _trusting(self, client_pem: bytes) -> ssl.SSLContext:
        authorities = _decoded(self._cluster.certificate_authority_data, what="certificate-authority-data")
        file = self._cluster.certificate_authority
        return client_context(
            ca_file=str(self._folder / file) if file and not authorities else "",
            ca_pem=authorities.decode("ascii", "replace"),
            client_pem=client_pem,
            verify=not self._cluster.insecure_skip_tls_verify,
        )


def _merged(paths: str) -> _Merged:
    """All files that are there. Raises: CredentialsError."""
    merged = _Merged({}, {}, {}, "")
    for file in kubeconfig_files(paths):
        folder = file.absolute().parent
        read = _read(file)
        for name, context in ((each.name, each.context) for each in read.contexts):
            merged.contexts.setdefault(name, _Entry(context, folder))
        for name, cluster in ((each.name, each.cluster) for each in read.clusters):
            merged.clusters.setdefault(name, _Entry(cluster, folder))
        for name, user in ((each.name, each.user) for each in read.users):
            merged.users.setdefault(name, _Entry(user, folder))
        merged = merged._replace(current=merged.current or read.current_context)
    if not merged.contexts:
        raise CredentialsError("there is no context in it: write one, or name another file by --kubeconfig")
    return merged


def _read(file: Path) -> _File:
    """A file that is empty, or not there, is one without entries. Raises: CredentialsError."""
    try:
        document = yaml.safe_load(file.read_text())
    except (FileNotFoundError, NotADirectoryError):
        document = None
    except OSError as error:
        raise CredentialsError(f"{file} can't be read ({error.strerror}): let this user read it") from None
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise CredentialsError(f"{file} is no YAML{line}: correct it") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise CredentialsError(f"{file} is no YAML: it holds a character or a date that can't be") from None
    return _converted({} if document is None else document, _File, what=str(file))


def _converted(content: object, shape: type[T], *, what: str) -> T:
    """Raises: CredentialsError, which names the field."""
    try:
        return msgspec.convert(without_nulls(content), shape)
    except msgspec.ValidationError as error:
        raise CredentialsError(f"{what} is not as a kubeconfig has it: {error}") from None


def _chosen(merged: _Merged, name: str) -> _Login:
    """Find what a context consists of; an empty name stands for the current one. Raises: CredentialsError."""
    there = f"there is {_listed(merged.contexts)}"
    if not name and not merged.current:
        raise CredentialsError(f"it names no current context: choose one by --kube-context, {there}")
    name = name or merged.current
    if name not in merged.contexts:
        raise CredentialsError(f"it has no context {name!r}: choose another one by --kube-context, {there}")
    context = _converted(merged.contexts[name].content, _Context, what=f"context {name!r}")
    cluster = _entry(merged.clusters, context.cluster, kind="cluster", context=name)
    user = _entry(merged.users, context.user, kind="user", context=name) if context.user else _Entry({}, Path())
    login = _converted(user.content, _User, what=f"user {context.user!r}")
    return _Login(
        context,
        _converted(cluster.content, _Cluster, what=f"cluster {context.cluster!r}"),
        cluster.folder,
        login,
        _credential_of(login, folder=user.folder, cluster=cluster.content),
    )


def _entry(entries: Mapping[str, _Entry], name: str, *, kind: str, context: str) -> _Entry:
    if name not in entries:
        raise CredentialsError(
            f"context {context!r} names the {kind} {name!r}, which is not there: add it, or correct the context, "
            f"there is {_listed(entries)}"
        )
    return entries[name]


def _listed(entries: Iterable[str]) -> str:
    return ", ".join(map(repr, entries)) or "none"


def _credential_of(user: _User, *, folder: Path, cluster: Mapping[str, object]) -> Callable[[], Credential]:
    """How to come by the user's credential; a token wins over a plugin, as with kubectl."""
    certificate = _Pem("client-certificate", user.client_certificate_data, user.client_certificate, folder)
    key = _Pem("client-key", user.client_key_data, user.client_key, folder)
    external = None if user.token or user.token_file else _external(user, folder, cluster)

    def credential() -> Credential:
        found = external() if external else Credential(_token(user, folder))
        chain, secret = certificate.read(), key.read()
        if bool(chain) != bool(secret):
            raise CredentialsError(
                "a client-certificate and its client-key belong together, and one is missing: add it"
            )
        return found._replace(client_pem=chain + b"\n" + secret) if chain else found

    return credential


def _external(user: _User, folder: Path, cluster: Mapping[str, object]) -> Callable[[], Credential] | None:
    """A plugin. What runs it is imported only for one: it weighs 19 MB, and the image is without it.

    Raises: CredentialsError.
    """
    if not user.exec and not user.auth_provider:
        return None
    try:
        from secrets_manager.kube.plugin import Plugin, Provider  # noqa: PLC0415 - heavy
    except ModuleNotFoundError:
        raise CredentialsError(
            "a login plugin (exec or auth-provider) needs the Python package kubernetes, which the image leaves out: "
            "install it, or give the user a token, a tokenFile, or a client-certificate with its client-key"
        ) from None
    if user.exec:
        return Plugin(user.exec, folder=str(folder), cluster=cluster).credential
    return Provider(user.auth_provider).credential


def _token(user: _User, folder: Path) -> str:
    """The header of a user with a token, which a file may hold, or with a password. Raises: CredentialsError."""
    if user.token_file:
        token = _file(folder / user.token_file).decode("utf-8", "replace").strip()
        if not token:
            raise CredentialsError(f"{folder / user.token_file} is empty: write the token into it")
        return f"Bearer {token}"
    if user.token:
        return f"Bearer {user.token.strip()}"
    if user.username:
        return f"Basic {base64.b64encode(f'{user.username}:{user.password}'.encode()).decode()}"
    return ""


class _Pem(NamedTuple):
    """A certificate or a key, in the kubeconfig itself or in a file."""

    what: str
    data: str
    file: str
    folder: Path

    def read(self) -> bytes:
        """Raises: CredentialsError."""
        if self.data:
            return _decoded(self.data, what=f"{self.what}-data")
        return _file(self.folder / self.file) if self.file else b""


def _file(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CredentialsError(f"{file} can't be read ({error.strerror}): correct its path, or write it") from None


def _decoded(data: str, *, what: str) -> bytes:
    try:
        return base64.b64decode(data)
    except (binascii.Error, ValueError):
        raise CredentialsError(f"{what} is no base64: write it anew") from None


def _impersonation(user: _User) -> list[tuple[str, str]]:
    """The headers for `as` and what belongs to it. Raises: CredentialsError."""
    told = [("Impersonate-User", user.impersonated)] if user.impersonated else []
    more = [("Impersonate-Uid", user.impersonated_uid)] if user.impersonated_uid else []
    more += [("Impersonate-Group", group) for group in user.impersonated_groups]
    for key, values in user.impersonated_extra.items():
        more += [(f"Impersonate-Extra-{quote(key, safe=LEGAL_IN_A_NAME)}", value) for value in values]
    if more and not told:
        raise CredentialsError("as-uid, as-groups and as-user-extra need `as`: add it, or take them out")
    if not all(value.isprintable() for _, value in more + told):
        raise CredentialsError("as, as-uid, as-groups or as-user-extra hold a character that no name has: correct it")
    return told + more


def _checked(url: str, *, what: str, schemes: tuple[str, ...]) -> str:
    """Raises: CredentialsError, without the URL, for it may hold a password."""
    parts = urlsplit(url)
    if parts.scheme not in schemes or (parts.scheme and not parts.hostname):
        raise CredentialsError(f"its {what} must be a URL that begins with https:// or http://")
    return url
