"""The root of the project's exceptions. Each package has its own tree.

SecretsManagerError
├── UsageError       wrong flags, environment or configuration: one line, exit code 2
├── StartError       the process can't start (port in use): one line, exit code 1
├── KubeError        kube/errors.py: a request to the Kubernetes API failed
└── BackendError     backends/base.py: a request to the secret store failed

Exceptions of third-party packages are translated where they are raised.
"""


class SecretsManagerError(Exception):
    """An expected error. Its message is for users, and contains no secret."""


class UsageError(SecretsManagerError):
    """The command line, the environment or a file that they name is not valid."""


class StartError(SecretsManagerError):
    """The system refuses what the process needs to start."""


class InvalidValue(ValueError):
    """A value is not valid. The message is to follow the value: it says why, without it."""


def leaves(error: BaseException) -> list[BaseException]:
    """Return the leaf exceptions of an exception group."""
    match error:
        case BaseExceptionGroup(exceptions=parts):
            return [leaf for part in parts for leaf in leaves(part)]
        case _:
            return [error]
