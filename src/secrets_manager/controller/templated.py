"""Parse and render the templates of keys. Pure."""

from functools import lru_cache

from secrets_manager.backends import BackendError
from secrets_manager.controller.definition import Reason
from secrets_manager.controller.documents import Documents, value_at
from secrets_manager.controller.problem import Problem, read_problem
from secrets_manager.controller.spec import Spec
from secrets_manager.errors import SecretsManagerError
from secrets_manager.templates import RenderFailed, Template, TemplateInvalid, parse

_parse = lru_cache(maxsize=1024)(parse)


class _Missing(SecretsManagerError):
    """A value that the template needs is missing."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def parsed(template: str) -> Template | str:
    """Return the template, or what is wrong with it."""
    try:
        return _parse(template)
    except TemplateInvalid as error:
        return str(error)


def render(template: str, spec: Spec, documents: Documents, *, where: str) -> str | Problem:
    """Return the text of a template, or the problem that there is none. `where` is its key, for messages."""

    def lookup(name: str, key: str) -> str:
        source = spec.sources[name].source
        document = documents[source]
        if isinstance(document, BackendError):
            raise _Missing(read_problem(document, where=where))
        place = f"{where}: {key!r} at {source}"
        found = value_at(document.values, document.key(key), place, remedy="remove it from the template")
        if isinstance(found, Problem):
            raise _Missing(found)
        return found

    try:
        return _parse(template).render(lookup)
    except _Missing as missing:
        return missing.problem
    except RenderFailed as error:
        return Problem(Reason.SOURCE_INVALID, f"{where}: template: {error}")
