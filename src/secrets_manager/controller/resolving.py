"""Compute the desired Secret in the event loop, which no definition may hold for long.

It may have thousands of keys in values of megabytes, or take documents of as many names through hundreds of globs. So
it is made key by key and entry by entry, and between two of them other tasks have their turn.
"""

from secrets_manager.controller.desired import Desired, combine, inputs_of, resolving
from secrets_manager.controller.documents import Documents
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.spec import Spec
from secrets_manager.controller.templated import Texts
from secrets_manager.controller.turns import in_turns


async def make_desired(spec: Spec, documents: Documents, texts: Texts) -> Desired | Problem:
    """Return the desired Secret, or a problem if any key has one."""
    found = await in_turns(resolving(spec, documents, texts))
    return combine(spec, dict(filter(None, found)), inputs=inputs_of(spec, documents))
