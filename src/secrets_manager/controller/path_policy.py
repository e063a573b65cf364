"""Which paths the definitions of a namespace may name: the controller reads with one token for everybody.

A pattern is written as in Vault's policies: `+` stands for one segment, `*` at the end for whatever follows. In it,
`{namespace}` stands for the definition's own namespace, so that one pattern gives each namespace a folder of its own.
"""

import re
from collections.abc import Iterable

from secrets_manager.controller.definition import Reason, SecretDefinition, Spec
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.validation import checked

NAMESPACE = "{namespace}"


class PathPolicy:
    """Allows everything if there are no patterns."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = tuple(patterns)

    def admitted(self, definition: SecretDefinition) -> Spec | Problem:
        """What may be read for this definition, or the reason why nothing is."""
        spec = checked(definition.spec)
        if isinstance(spec, Problem) or not self._patterns:
            return spec
        namespace = definition.metadata.namespace or "default"
        for key in sorted(spec.keys_map):
            path = spec.keys_map[key].path
            if not any(_matches(pattern.replace(NAMESPACE, namespace), path) for pattern in self._patterns):
                return Problem(
                    Reason.PATH_NOT_ALLOWED,
                    f"key {key}: path {path} is not allowed to namespace {namespace}: "
                    f"use one of {', '.join(self._patterns)}",
                )
        return spec


def _matches(pattern: str, path: str) -> bool:
    """Vault's own reading: a slash at the start of a path means nothing."""
    wild = re.escape(pattern.removeprefix("/")).replace(r"\+", "[^/]+")
    if wild.endswith(r"\*"):
        wild = wild.removesuffix(r"\*") + ".+"
    return re.fullmatch(wild, path.removeprefix("/"), re.DOTALL) is not None
