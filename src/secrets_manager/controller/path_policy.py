"""Which paths the definitions of a namespace may use: the controller's login may read more than each of them should.

Patterns are as in Vault's policies: `+` matches a segment, `*` at the end any suffix. `{namespace}` stands for the
namespace of the definition. Patterns match the segments that are read, not the path as it is written.
"""

import re
from collections.abc import Callable, Iterable

from secrets_manager.backends import SourceMalformed
from secrets_manager.controller.definition import Reason, SecretDefinition
from secrets_manager.controller.problem import Problem, read_problem, summarize
from secrets_manager.controller.spec import Spec
from secrets_manager.controller.validation import validate_spec

NAMESPACE = "{namespace}"

Segments = Callable[[str], tuple[str, ...]]
"""Splits a path as the backend does. Raises: SourceMalformed."""


class PathPolicy:
    """The policy. Without patterns every valid path is allowed."""

    def __init__(self, patterns: Iterable[str], segments: Segments) -> None:
        self._patterns = tuple(patterns)
        self._segments = segments

    def admit(self, definition: SecretDefinition) -> Spec | Problem:
        """Return the spec if all its paths are allowed, else the problem."""
        spec = validate_spec(definition.spec)
        if isinstance(spec, Problem):
            return spec
        paths = self._split_paths(spec)
        if isinstance(paths, Problem):
            return paths
        return self._not_allowed(paths, definition.metadata.namespace or "default") or spec

    def _split_paths(self, spec: Spec) -> dict[str, tuple[str, ...]] | Problem:
        """Return the segments of each path, by its place in the spec."""
        paths: dict[str, tuple[str, ...]] = {}
        problems: list[Problem] = []
        for where, source in spec.references:
            try:
                paths[where] = self._segments(source.path)
            except SourceMalformed as error:
                problems.append(read_problem(error, where=where))
        return summarize(problems) if problems else paths

    def _not_allowed(self, paths: dict[str, tuple[str, ...]], namespace: str) -> Problem | None:
        patterns = [_compile(pattern.replace(NAMESPACE, namespace)) for pattern in self._patterns]
        for where, segments in paths.items():
            path = "/".join(segments)
            if patterns and not any(pattern.fullmatch(path) for pattern in patterns):
                return Problem(
                    Reason.PATH_NOT_ALLOWED,
                    f"{where}: path {path} is not allowed to namespace {namespace}: "
                    f"use one of {', '.join(self._patterns)}",
                )
        return None


def _compile(pattern: str) -> re.Pattern[str]:
    """Compile a pattern. As in Vault, a leading slash is ignored."""
    wild = re.escape(pattern.removeprefix("/")).replace(r"\+", "[^/]+")
    return re.compile(wild.removesuffix(r"\*") + ".*" if wild.endswith(r"\*") else wild)
