"""Secret stores. The rest of the program knows them by what is listed here; the doctor alone looks into one.

    base       the interface Backend, its data and its errors; all of it is exported here
    factory    open_backend, which opens the configured store; to be imported from there, as it loads the store's client
    vault      HashiCorp Vault and OpenBao
    azure      Azure Key Vault

A new store is a package here with a Backend, and a case in factory.
"""

from secrets_manager.backends.base import (
    Backend,
    BackendError,
    Document,
    Folder,
    Login,
    LoginRefused,
    NotListable,
    Place,
    RateLimited,
    Reader,
    Source,
    SourceForbidden,
    SourceMalformed,
    SourceNotFound,
    SourceTooLarge,
    TimedOut,
    TlsFailed,
    Unavailable,
    Unreachable,
    VersionDeleted,
    VersionDestroyed,
    text_of,
)

__all__ = [
    "Backend",
    "BackendError",
    "Document",
    "Folder",
    "Login",
    "LoginRefused",
    "NotListable",
    "Place",
    "RateLimited",
    "Reader",
    "Source",
    "SourceForbidden",
    "SourceMalformed",
    "SourceNotFound",
    "SourceTooLarge",
    "TimedOut",
    "TlsFailed",
    "Unavailable",
    "Unreachable",
    "VersionDeleted",
    "VersionDestroyed",
    "text_of",
]
