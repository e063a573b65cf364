"""Which definitions are shown, and in which order: failing ones first, then those that wait, each by name. Pure.

This is done for all definitions at each request, so it counts microseconds: texts are joined before they are searched,
and sorted as strings.
"""

from secrets_manager.controller.definition import SecretDefinition
from secrets_manager.controller.spec import Spec
from secrets_manager.controller.standing import Standing, State
from secrets_manager.statuspage.query import Query
from secrets_manager.statuspage.report import Counts, Paging

PAGE_SIZE = 100


class Selection:
    """The definitions that match a query, added one by one."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._text = query.text.lower()
        self._found: dict[State, dict[str, SecretDefinition]] = {state: {} for state in State}
        """By namespace and name, in a form that sorts."""

    def is_in_namespace(self, definition: SecretDefinition) -> bool:
        """Whether the definition is in the requested namespace: those of others need not be added."""
        return self._query.namespace in ("", definition.metadata.namespace)

    def add(self, definition: SecretDefinition, standing: Standing) -> None:
        """Add a definition of the namespace, if it matches the text."""
        meta = definition.metadata
        if self._text and self._text not in _texts(definition, standing):
            return
        self._found[standing.state][f"{meta.namespace}\0{meta.name}"] = definition

    @property
    def counts(self) -> Counts:
        failing, pending, in_sync = (len(self._found[state]) for state in State)
        return Counts(failing=failing, pending=pending, in_sync=in_sync)

    def page(self) -> tuple[Paging, list[SecretDefinition]]:
        """Return the requested page, or the last one if there are fewer.

        Only the states that are on it are sorted.
        """
        wanted = [self._query.state] if self._query.state else [*State]
        matching = sum(len(self._found[state]) for state in wanted)
        pages = max(1, -(-matching // PAGE_SIZE))
        number = min(self._query.page, pages)
        start, shown = (number - 1) * PAGE_SIZE, list[SecretDefinition]()
        for state in wanted:
            found, room = self._found[state], PAGE_SIZE - len(shown)
            if start < len(found) and room:
                shown += [found[name] for name in sorted(found)[start : start + room]]
            start = max(0, start - len(found))
        return Paging(number=number, size=PAGE_SIZE, pages=pages, matching=matching), shown


def _texts(definition: SecretDefinition, standing: Standing) -> str:
    """Return all that is searched, in lower case."""
    meta, spec = definition.metadata, definition.spec
    texts = [f"{meta.namespace}/{meta.name}", spec.name, standing.reason, standing.message]
    if isinstance(spec, Spec):
        texts += [key.path for key in spec.keys_map.values() if key.path]
        texts += [document.path for document in spec.data_from if document.path]
        texts += [named.path for named in spec.sources.values()]
    return "\n".join(texts).lower()
