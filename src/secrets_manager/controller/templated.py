"""Read the templates of a definition, and render them with its documents. Pure.

Each may take some milliseconds, so both go template by template: the caller decides what runs between two of them.
A usual one is read in a fifth of a millisecond, less than it takes to send a request: so none is kept.
"""

from collections.abc import Iterable, Iterator, Mapping

from secrets_manager.backends import BackendError
from secrets_manager.controller import rules
from secrets_manager.controller.definition import Reason
from secrets_manager.controller.documents import Documents, value_at
from secrets_manager.controller.names import shown
from secrets_manager.controller.problem import Problem, read_problem
from secrets_manager.controller.spec import Spec
from secrets_manager.errors import SecretsManagerError
from secrets_manager.templates import MAX_PARTS, MAX_TEXT, Rendered, RenderFailed, Template, TemplateInvalid, parse

Templates = Mapping[str, Template]
"""The templates of a definition, by the keys of its Secret."""
Texts = Mapping[str, Rendered | Problem]
"""What the templates make, by the same keys."""

MAX_TEXTS = 2 * MAX_TEXT
"""Characters of all texts of a definition. A Secret holds half of that, which they may be in base64."""
MAX_PARTS_LENGTH = 2 * MAX_TEXTS
"""Characters of all that their filters make, and that is kept."""


class _Missing(SecretsManagerError):
    """A value that the template needs is missing."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.problem = problem


def has_templates(spec: Spec) -> bool:
    return any(source.template is not None for source in spec.keys_map.values())


def parsed(spec: Spec) -> Iterator[tuple[str, Template | str]]:
    """Yield each key that is a template, with what was read, or what is wrong with it."""
    for key in sorted(spec.keys_map):
        text = spec.keys_map[key].template
        if text is not None:
            yield key, _parsed(text, spec)


def _parsed(text: str, spec: Spec) -> Template | str:
    try:
        template = parse(text)
    except TemplateInvalid as error:
        return f"template: {error}"
    unknown = sorted(template.source_names - spec.sources.keys())
    return "; ".join(rules.KNOWN_SOURCE.fault(shown(name)) for name in unknown) or template


def templates(found: Iterable[tuple[str, Template | str]]) -> Templates | Problem:
    """Return the templates that were parsed, or a problem with all their faults."""
    read = dict(found)
    faults = "; ".join(f"key {key}: {fault}" for key, fault in read.items() if isinstance(fault, str))
    if faults:
        return Problem(Reason.DEFINITION_INVALID, faults)
    return {key: template for key, template in read.items() if isinstance(template, Template)}


def rendered(found: Templates, spec: Spec, documents: Documents) -> Iterator[tuple[str, Rendered | Problem]]:
    """Yield each key with the text of its template, or the problem that there is none."""
    room = MAX_TEXTS
    parts = _Parts()
    for key, template in found.items():
        where = f"key {key}"
        if room < 0:
            why = f"{where}: the templates before it make more than a Secret holds: split it into several"
            yield key, Problem(Reason.SECRET_REJECTED, why)
            continue
        made = _rendered(template, spec, documents, where=where)
        if isinstance(made, Rendered):
            room -= len(made.text)
            made = made._replace(parts=parts.added(made.parts))
        yield key, made


class _Parts:
    """What the filters of a definition have made so far.

    Each is looked for in every message of Kubernetes about the Secret. So they are bounded, and beyond that none are
    kept: no message of the definition is shown then, as any might have one of them.
    """

    def __init__(self) -> None:
        self._known: set[str] | None = set()
        self._length = 0

    def added(self, parts: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Return those that are new; None where they are too many, and from then on."""
        if self._known is None or parts is None:
            self._known = None
            return None
        new = tuple(part for part in parts if part not in self._known)
        self._known.update(new)
        self._length += sum(map(len, new))
        if len(self._known) > MAX_PARTS or self._length > MAX_PARTS_LENGTH:
            self._known = None
            return None
        return new


def _rendered(template: Template, spec: Spec, documents: Documents, *, where: str) -> Rendered | Problem:
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
        return template.render(lookup)
    except _Missing as missing:
        return missing.problem
    except RenderFailed as error:
        return Problem(Reason.SOURCE_INVALID, f"{where}: template: {error}")
