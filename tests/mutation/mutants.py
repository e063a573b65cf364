"""The mutants of mutmut, which writes them and what is known of them to `mutants/`."""

import contextlib
import io
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from mutmut.__main__ import create_mutants
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.mutation.trampoline_templates import CLASS_NAME_SEPARATOR
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import walk_mutatable_files
from mutmut.utils.format_utils import mangled_name_from_mutant_name

MUTANTS = Path("mutants")
KILLED = frozenset({"killed", "timeout"})


class Module(NamedTuple):
    """A module that is mutated, and the verdict on each of its mutants."""

    name: str
    data: SourceFileMutationData

    def status(self, mutant: str) -> str:
        return status_by_exit_code[self.data.exit_code_by_key[mutant]]

    def change(self, mutant: str) -> str:
        """Describe what differs, in words that stay the same when other code changes."""
        lines = get_diff_for_mutant(mutant, path=self.data.path).splitlines()[2:]
        parts = [" ".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+"]
        return f"{function_of(mutant)}: {parts[0]} => {parts[1]}".rstrip()


def function_of(mutant: str) -> str:
    """The function in the words of its source: `controller.reading.step`, `kube.store.Store.apply`."""
    name = mangled_name_from_mutant_name(mutant).removeprefix("secrets_manager.")
    module, _, function = name.rpartition(".")
    return f"{module}.{function[2:].replace(CLASS_NAME_SEPARATOR, '.')}"


def generate(patterns: Sequence[str]) -> list[Module]:
    """Write the mutants of modules whose source has changed since, and load those that are asked for, in that order."""
    MUTANTS.mkdir(exist_ok=True)
    with contextlib.redirect_stdout(io.StringIO()):
        create_mutants(1)
    known = [Module(_name_of(path), SourceFileMutationData(path=path)) for path in sorted(walk_mutatable_files())]
    asked = {module.name: module for pattern in patterns for module in known if fnmatchcase(module.name, pattern)}
    for module in asked.values():
        module.data.load()
    return list(asked.values())


def _name_of(path: Path) -> str:
    return ".".join(path.relative_to("src/secrets_manager").with_suffix("").parts)
