"""Compute the desired Secret in the event loop, which no definition may hold for long.

It may have thousands of keys in values of megabytes, or take documents of as many names through hundreds of globs. So
it is made key by key and entry by entry, and between two of them other tasks run.
"""

from collections.abc import Iterable, Iterator

from secrets_manager.controller.checkpoints import with_checkpoints
from secrets_manager.controller.desired import Desired, combine, inputs_of, resolving
from secrets_manager.controller.documents import Documents
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.spec import Spec
from secrets_manager.controller.templated import Texts

_Found = tuple[str, bytes | Problem] | None


async def make_desired(spec: Spec, documents: Documents, texts: Texts) -> Desired | Problem:
    """Return the desired Secret, or a problem if any key has one."""
    found = await with_checkpoints(_with_one_problem(resolving(spec, documents, texts)))
    return combine(spec, dict(filter(None, found)), inputs=inputs_of(spec, documents, texts))


def _with_one_problem(found: Iterable[_Found]) -> Iterator[_Found]:
    """Replace all problems by the first: their texts may be megabytes, and only their number is reported."""
    first: Problem | None = None
    for each in found:
        if each is not None and isinstance(each[1], Problem):
            first = first or each[1]
            yield each[0], first
        else:
            yield each
