"""Compile each module that the program imports, of its packages and of the standard library.

In the image nothing can be written, so a module without bytecode would be compiled at each start. What the program does
not import stays without: the whole standard library would weigh twice as much. The bytecode is not checked against its
source at run time, for neither can change.
"""

import importlib
import pkgutil
import py_compile
import sys
from types import CodeType

import secrets_manager

LEFT_OUT = "kubernetes"
"""A dependency that is not installed: see `just lock`."""
LAZY = ["encodings.idna"]
"""Modules of the standard library that are imported at the first use of a function."""


def import_all() -> None:
    """Import every module of the program but the one that runs it."""
    found = [each.name for each in pkgutil.walk_packages(secrets_manager.__path__, "secrets_manager.")]
    for name in found + LAZY:
        if name.endswith(".__main__"):
            continue
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != LEFT_OUT:
                raise


def note(event: str, arguments: tuple[object, ...]) -> None:
    """Take the source of whatever is executed, also of modules that then fail for a package that is not there."""
    if event == "exec" and isinstance(arguments[0], CodeType):
        sources.add(arguments[0].co_filename)


sources = {getattr(module, "__file__", None) or "" for module in sys.modules.values()} - {__file__}
sys.addaudithook(note)
import_all()
for source in sources:
    if source.endswith(".py"):
        py_compile.compile(source, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
