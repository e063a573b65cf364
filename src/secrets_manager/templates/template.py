"""A template that was read, and can be rendered."""

import msgspec

from secrets_manager.templates import rendering
from secrets_manager.templates.bounds import MAX_TEMPLATE, MAX_TEXT
from secrets_manager.templates.errors import RenderFailed, TemplateInvalid
from secrets_manager.templates.nodes import Body
from secrets_manager.templates.rendering import Lookup, Rendered

PARSER = "language"
"""The module of this package that the first call of `parse` imports, for a fifth of a second."""


class Template(msgspec.Struct, frozen=True):
    """A template.

    `source_names` are all sources that it can ever ask for, `modules` those of this package that rendering imports.
    """

    text: str
    source_names: frozenset[str]
    modules: frozenset[str]
    body: Body

    def render(self, lookup: Lookup) -> Rendered:
        """Return what the template makes of the values that `lookup` returns.

        Raises:
            RenderFailed: The values make no text. Whatever `lookup` raises passes unchanged.
        """
        rendered = rendering.render(self.text, self.body, lookup)
        size = len(rendered.text.encode(errors="surrogatepass"))
        if size > MAX_TEXT:
            raise RenderFailed(f"the text is {size} bytes, and a Secret holds {MAX_TEXT}: split it into several")
        return rendered


def parse(text: str) -> Template:
    """Read a template.

    Raises:
        TemplateInvalid: The message has the line, what is wrong and how to mend it.
    """
    if len(text) > MAX_TEMPLATE:
        raise TemplateInvalid(f"the template is longer than {MAX_TEMPLATE} characters: make several keys of it")
    from secrets_manager.templates import language  # noqa: PLC0415 - takes time, and not everybody has templates

    read = language.read(text)
    return Template(text, read.sources, read.modules, read.body)
