"""Read and render templates in the event loop, which no definition may hold for long.

A template takes ten milliseconds at most (`templates/bounds.py`); between two of them other tasks run. The
first needs Liquid, and the first that takes certificates apart cryptography: they take a fifth of a second to import,
so a thread does that. A program without templates spares both, which are 16 MB.
"""

from importlib import import_module

import trio

from secrets_manager import templates as package
from secrets_manager.controller.checkpoints import with_checkpoints
from secrets_manager.controller.documents import Documents
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.spec import Spec
from secrets_manager.controller.templated import Templates, Texts, has_templates, parsed, rendered, templates


async def read_templates(spec: Spec) -> Templates | Problem:
    """Return the templates of a definition, or a problem with all their faults."""
    if not has_templates(spec):
        return {}
    await _imported(package.PARSER)
    return templates(await with_checkpoints(parsed(spec)))


async def render_templates(found: Templates, spec: Spec, documents: Documents) -> Texts:
    """Return the text, or the problem, of each template."""
    for module in frozenset[str]().union(*(each.modules for each in found.values())):
        await _imported(module)
    return dict(await with_checkpoints(rendered(found, spec, documents)))


async def _imported(module: str) -> None:
    """Import a module of the package in a thread, unless that was done."""
    if not hasattr(package, module):  # where Python puts it once it is loaded to its end
        await trio.to_thread.run_sync(import_module, f"{package.__name__}.{module}", abandon_on_cancel=True)
