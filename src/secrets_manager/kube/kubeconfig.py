"""Load a kubeconfig as kubectl does.

Several files are merged: of two entries with one name the first wins, and paths are relative to their own file. Errors
quote names of entries, and nothing else of a file.
"""

import base64
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import quote

import msgspec

from secrets_manager.kube.errors import CredentialsError
from secrets_manager.kube.objects import without_nulls
from secrets_manager.kube.plugin import ExecPlugin
from secrets_manager.kube.restconfig import Credential, RestConfig, header_value, kubeconfig_files
from secrets_manager.kube.safeyaml import NotYaml, SeveralDocuments, load
from secrets_manager.kube.tlscontexts import Authority, Pem, TlsContexts, read_bytes
from secrets_manager.net.hosts import is_host, is_http_url
from secrets_manager.net.tls import UnusableFile

T = TypeVar("T")

HEADER_KEY_CHARS = "!#$&'*+^`|~"
"""Allowed in a header name beside letters, digits and `_.-~`; the rest of an extra's key is percent-encoded."""


class Kubeconfig:
    """A context of a kubeconfig. `paths` is a list as in the variable KUBECONFIG."""

    def __init__(self, paths: str, *, context: str = "") -> None:
        self._paths = paths
        self._context = context
        self._resolved: _ResolvedContext | None = None
        self._tls = TlsContexts()

    def __str__(self) -> str:
        context = f"context {self._context!r}" if self._context else "the current context"
        return f"{context} of the kubeconfig {self._paths}"

    def load(self, *, refresh: bool) -> RestConfig:
        """Load tokens and certificates; a refresh also reloads the kubeconfig and runs the plugin."""
        resolved = self._resolved
        try:
            if resolved is None or refresh:
                resolved = _resolve(_merge(self._paths), self._context, self._tls)
                self._tls.expire()
            found = resolved.rest_config()
        except (CredentialsError, UnusableFile) as error:
            raise CredentialsError(f"{self} can't be used: {error}") from None
        self._resolved = resolved
        return found


class _Entry(NamedTuple):
    """A cluster, user or context, and the folder that its paths are relative to."""

    content: dict[str, object]
    folder: Path


class _MergedConfig(NamedTuple):
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


class _ResolvedContext:
    """A context with its cluster and user."""

    def __init__(
        self,
        context: _Context,
        cluster: _Cluster,
        folder: Path,
        *,
        user: _User,
        credential: Callable[[], Credential],
        tls: TlsContexts,
    ) -> None:
        self._context = context
        self._cluster = cluster
        self._tls = tls
        _check_addresses(cluster)
        self._url = cluster.server.rstrip("/")
        self._impersonation = tuple(_impersonation(user))
        self._credential = credential
        self._authority = Authority(
            Pem("certificate-authority", cluster.certificate_authority_data, cluster.certificate_authority, folder),
            verify=not cluster.insecure_skip_tls_verify,
        )

    def rest_config(self) -> RestConfig:
        credential = self._credential()
        if credential == Credential() and self._context.user and self._url.startswith("https:"):
            raise CredentialsError(
                f"user {self._context.user!r} has no credentials: give it a token, a tokenFile, a client-certificate "
                "with its client-key, or a credential plugin (exec)"
            )
        return RestConfig(
            url=self._url,
            namespace=self._context.namespace or "default",
            authorization=header_value(credential.authorization),
            context=self._tls.current(self._authority, credential.client_pem),
            proxy=self._cluster.proxy_url,
            server_name=self._cluster.tls_server_name,
            impersonation=self._impersonation,
        )


def _merge(paths: str) -> _MergedConfig:
    """Merge the files that exist. Raises: CredentialsError."""
    merged = _MergedConfig({}, {}, {}, "")
    for file in kubeconfig_files(paths):
        folder = file.absolute().parent
        read = _read_file(file)
        for name, context in ((each.name, each.context) for each in read.contexts):
            merged.contexts.setdefault(name, _Entry(context, folder))
        for name, cluster in ((each.name, each.cluster) for each in read.clusters):
            merged.clusters.setdefault(name, _Entry(cluster, folder))
        for name, user in ((each.name, each.user) for each in read.users):
            merged.users.setdefault(name, _Entry(user, folder))
        merged = merged._replace(current=merged.current or read.current_context)
    if not merged.contexts:
        raise CredentialsError("it has no context: add one, or choose another file with --kubeconfig")
    return merged


def _read_file(file: Path) -> _File:
    """Read a file; an empty or missing one has no entries. Raises: CredentialsError."""
    try:
        document = without_nulls(load(file.read_text("utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        document = None
    except OSError as error:
        raise CredentialsError(f"{file} can't be read ({error.strerror}): let this user read it") from None
    except SeveralDocuments as error:
        raise CredentialsError(f"{file} has a second document, which begins{error.where}: take out the `---`") from None
    except NotYaml as error:
        raise CredentialsError(f"{file} is no YAML{error.where}: correct it") from None
    except UnicodeDecodeError:
        raise CredentialsError(f"{file} is no YAML: it is not UTF-8") from None
    except RecursionError:  # of an alias that is part of itself
        raise CredentialsError(f"{file} is nested too deep: correct it") from None
    return _convert({} if document is None else document, _File, what=str(file))


def _convert(content: object, shape: type[T], *, what: str) -> T:
    """Convert to a struct. Raises: CredentialsError, which names the field."""
    try:
        return msgspec.convert(content, shape)
    except msgspec.ValidationError as error:
        raise CredentialsError(f"{what} is not as a kubeconfig has it: {error}") from None


def _resolve(merged: _MergedConfig, name: str, tls: TlsContexts) -> _ResolvedContext:
    """Resolve a context; an empty name means the current one. Raises: CredentialsError."""
    known = f"there is {_join_names(merged.contexts)}"
    if not name and not merged.current:
        raise CredentialsError(f"it names no current context: choose one by --kube-context, {known}")
    name = name or merged.current
    if name not in merged.contexts:
        raise CredentialsError(f"it has no context {name!r}: choose another one by --kube-context, {known}")
    context = _convert(merged.contexts[name].content, _Context, what=f"context {name!r}")
    cluster = _entry(merged.clusters, context.cluster, kind="cluster", context=name)
    user = _entry(merged.users, context.user, kind="user", context=name) if context.user else _Entry({}, Path())
    login = _convert(user.content, _User, what=f"user {context.user!r}")
    return _ResolvedContext(
        context,
        _convert(cluster.content, _Cluster, what=f"cluster {context.cluster!r}"),
        cluster.folder,
        user=login,
        credential=_credential_source(login, folder=user.folder, cluster=cluster.content),
        tls=tls,
    )


def _entry(entries: Mapping[str, _Entry], name: str, *, kind: str, context: str) -> _Entry:
    if name not in entries:
        raise CredentialsError(
            f"context {context!r} names the {kind} {name!r}, which is not there: add it, or correct the context, "
            f"there is {_join_names(entries)}"
        )
    return entries[name]


def _join_names(entries: Iterable[str]) -> str:
    return ", ".join(map(repr, entries)) or "none"


def _credential_source(user: _User, *, folder: Path, cluster: Mapping[str, object]) -> Callable[[], Credential]:
    """Return what loads the user's credential. A token wins over a plugin, as in kubectl."""
    certificate = Pem("client-certificate", user.client_certificate_data, user.client_certificate, folder)
    key = Pem("client-key", user.client_key_data, user.client_key, folder)
    plugin = None if user.token or user.token_file else _plugin(user, folder, cluster)

    def credential() -> Credential:
        found = plugin() if plugin else Credential(_token(user, folder))
        chain, secret = certificate.read(), key.read()
        if bool(chain) != bool(secret):
            raise CredentialsError(
                "a client-certificate and its client-key belong together, and one is missing: add it"
            )
        return found._replace(client_pem=chain + b"\n" + secret) if chain else found

    return credential


def _plugin(user: _User, folder: Path, cluster: Mapping[str, object]) -> Callable[[], Credential] | None:
    """Return the plugin of the user, if any. The package of an auth-provider is imported on demand; the image lacks it.

    Raises:
        CredentialsError: The package is missing.
    """
    if user.exec:
        return ExecPlugin(user.exec, folder=str(folder), cluster=cluster).credential
    if not user.auth_provider:
        return None
    try:
        from secrets_manager.kube.authprovider import AuthProvider  # noqa: PLC0415 - heavy
    except ModuleNotFoundError:
        raise CredentialsError(
            "an auth-provider needs the Python package kubernetes, which the image lacks: install it, or give the user "
            "a credential plugin (exec), a token, a tokenFile, or a client-certificate with its client-key"
        ) from None
    return AuthProvider(user.auth_provider).credential


def _token(user: _User, folder: Path) -> str:
    """Return the header for a token, inline or in a file, or for a password. Raises: CredentialsError."""
    if user.token_file:
        token = read_bytes(folder / user.token_file).decode("utf-8", "replace").strip()
        if not token:
            raise CredentialsError(f"{folder / user.token_file} is empty: write the token into it")
        return f"Bearer {token}"
    if user.token:
        return f"Bearer {user.token.strip()}"
    if user.username:
        return f"Basic {base64.b64encode(f'{user.username}:{user.password}'.encode()).decode()}"
    return ""


def _impersonation(user: _User) -> list[tuple[str, str]]:
    """Return the headers for `as` and its companions. Raises: CredentialsError."""
    user_header = [("Impersonate-User", user.impersonated)] if user.impersonated else []
    other_headers = [("Impersonate-Uid", user.impersonated_uid)] if user.impersonated_uid else []
    other_headers += [("Impersonate-Group", group) for group in user.impersonated_groups]
    for key, values in user.impersonated_extra.items():
        other_headers += [(f"Impersonate-Extra-{quote(key, safe=HEADER_KEY_CHARS)}", value) for value in values]
    if other_headers and not user_header:
        raise CredentialsError("as-uid, as-groups and as-user-extra need `as`: add it, or take them out")
    if not all(value.isprintable() for _, value in other_headers + user_header):
        raise CredentialsError("as, as-uid, as-groups or as-user-extra hold a character that no name has: correct it")
    return user_header + other_headers


def _check_addresses(cluster: _Cluster) -> None:
    """Raises: CredentialsError, without the URL: it may contain a password."""
    if not is_http_url(cluster.server):
        raise CredentialsError("its server must be a URL like https://kubernetes.example.com:6443")
    if cluster.proxy_url and not is_http_url(cluster.proxy_url):
        raise CredentialsError("its proxy-url must be a URL like http://proxy.example.com:3128")
    if cluster.tls_server_name and not is_host(cluster.tls_server_name):
        raise CredentialsError("its tls-server-name must be the name of a host like kubernetes.example.com")
