"""Which paths the definitions of a namespace may name: the controller's login may read more than each should have.

A pattern is written as in Vault's policies: `+` stands for one segment, `*` at the end for whatever follows. In it,
`{namespace}` stands for the definition's own namespace, so that one pattern gives each namespace a folder of its own.
It is matched against the segments that a read would ask for, and never against the path as it is written.
"""

import re
from collections.abc import Callable, Iterable

from secrets_manager.backends.base import SourceMalformed
from secrets_manager.controller.definition import Reason, SecretDefinition, Spec
from secrets_manager.controller.problem import Problem, problem_of, summary
from secrets_manager.controller.validation import checked

NAMESPACE = "{namespace}"

Segments = Callable[[str], tuple[str, ...]]
"""Takes a path apart, as the backend does. Raises: SourceMalformed."""


class PathPolicy:
    """Allows every path that can be one if there are no patterns."""

    def __init__(self, patterns: Iterable[str], segments: Segments) -> None:
        self._patterns = tuple(patterns)
        self._segments = segments

    def admitted(self, definition: SecretDefinition) -> Spec | Problem:
        """What may be read for this definition, or the reason why nothing is."""
        spec = checked(definition.spec)
        if isinstance(spec, Problem):
            return spec
        paths = self._parsed(spec)
        if isinstance(paths, Problem):
            return paths
        return self._forbidden(paths, definition.metadata.namespace or "default") or spec

    def _parsed(self, spec: Spec) -> dict[str, tuple[str, ...]] | Problem:
        """The segments of each key's path."""
        paths: dict[str, tuple[str, ...]] = {}
        problems: list[Problem] = []
        for key in sorted(spec.keys_map):
            try:
                paths[key] = self._segments(spec.keys_map[key].path)
            except SourceMalformed as error:
                problems.append(problem_of(error, key=key))
        return summary(problems) if problems else paths

    def _forbidden(self, paths: dict[str, tuple[str, ...]], namespace: str) -> Problem | None:
        patterns = [_compiled(pattern.replace(NAMESPACE, namespace)) for pattern in self._patterns]
        for key, segments in paths.items():
            path = "/".join(segments)
            if patterns and not any(pattern.fullmatch(path) for pattern in patterns):
                return Problem(
                    Reason.PATH_NOT_ALLOWED,
                    f"key {key}: path {path} is not allowed to namespace {namespace}: "
                    f"use one of {', '.join(self._patterns)}",
                )
        return None


def _compiled(pattern: str) -> re.Pattern[str]:
    """As Vault reads it: a slash at the start means nothing."""
    wild = re.escape(pattern.removeprefix("/")).replace(r"\+", "[^/]+")
    return re.compile(wild.removesuffix(r"\*") + ".+" if wild.endswith(r"\*") else wild)
