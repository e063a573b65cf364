"""The root of the project's own exceptions. Each part draws its own tree beside its code.

SecretsManagerError
├── UsageError       wrong flags, environment or configuration: one line, exit code 2
├── StartError       the process can't begin its work (port taken): one line, exit code 1
├── KubeError        kube/errors.py: what the Kubernetes API answered, or that it did not
└── BackendError     backends/base.py: what the secret store answered, or that it did not

Third-party exceptions are translated where they are raised; none of them crosses the adapter.
"""


class SecretsManagerError(Exception):
    """Whatever this program raises on purpose. Its text may be shown to users and holds no secret."""


class UsageError(SecretsManagerError):
    """The command line, the environment or a file that they name can't be used as it is."""


class StartError(SecretsManagerError):
    """The machine refuses what the process needs in order to start."""


class Unfit(ValueError):
    """A text is no value of its kind. Says what is allowed, in words that follow the text; never the text itself."""


def leaves(error: BaseException) -> list[BaseException]:
    """The single errors that nurseries have put into groups, or into groups of groups."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for each in error.exceptions for leaf in leaves(each)]
