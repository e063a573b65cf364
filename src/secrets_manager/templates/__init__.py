"""Templates of a Secret's keys, in a part of Liquid: a text with places that the values of sources fill.

    {{ db.password | json }}        the key `password` of the source `db`, as a JSON string

python-liquid reads a template; what it has read is translated to the few nodes of `nodes.py`, and these alone are
evaluated. So a tag or a filter that is not named here can't run, and what runs is bounded: there is no loop, and each
step pays from a budget (`bounds.py`) before it works. The same template makes the same text of the same values.

Pure: no I/O, no clock, no randomness. But two modules import much when they are first needed: `language` python-liquid,
and `certificates` cryptography. Who can't wait imports `PARSER` before parsing, and a template's `modules` before
rendering.
"""

from secrets_manager.templates.bounds import MAX_PARTS, MAX_TEMPLATE, MAX_TEXT
from secrets_manager.templates.errors import RenderFailed, TemplateInvalid
from secrets_manager.templates.rendering import Lookup, Rendered
from secrets_manager.templates.template import PARSER, Template, parse

__all__ = [
    "MAX_PARTS",
    "MAX_TEMPLATE",
    "MAX_TEXT",
    "PARSER",
    "Lookup",
    "RenderFailed",
    "Rendered",
    "Template",
    "TemplateInvalid",
    "parse",
]
