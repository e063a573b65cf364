"""Judges mutants by the fast tests. pytest collects them once; then each mutant is tried in a fork of that process.

A mutant is tried by the tests that reach its function: all in files that are named after its module, then the quickest
of the others, for so many seconds. The first that fails, or takes far longer than without a mutant, kills it.
"""

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from hashlib import blake2b
from math import ceil
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest
from hypothesis import HealthCheck, Phase, settings
from mutmut.configuration import config
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state
from mutmut.stats import load_stats, save_stats
from mutmut.utils.format_utils import mangled_name_from_mutant_name

from tests.mutation.mutants import KILLED, MUTANTS, Module

OPTIONS = ["-q", "-p", "no:cacheprovider", "--assert=plain", "--tb=native", "-o", "faulthandler_timeout=0"]
SURVIVORS = MUTANTS / "survivors.json"
"""For each mutant that has survived: a digest of the tests that it has survived."""
MEASURED = MUTANTS / "measured.json"
"""For each file of tests: a digest of what it was when they were measured."""
TESTED_BY_TOO: dict[str, tuple[str, ...]] = {
    "controller": ("freshness", "merge", "namespaces", "reporter", "rollout_restarter", "status_page", "status_writer"),
    "documents": ("desired",),
    "key_writer": ("merge",),
    "lease": ("leadership",),
    "lister": ("folders",),
    "merged_secret": ("merge",),
    "names": ("data_from", "validation"),
    "reconciler": (
        "change_lag",
        "contested_secrets",
        "controller",
        "freshness",
        "merge",
        "sources_freshness",
        "spec_fields",
        "write_failures",
    ),
    "reporter": ("copies", "freshness", "merge", "rollout_restarter", "sources_freshness"),
    "rollout_restart": ("rollout_restarter",),
    "rules": ("validation",),
    "secret": ("contested_secrets",),
    "secret_merger": ("merge",),
    "secret_syncer": ("contested_secrets", "controller", "copies", "rollout_restarter", "warnings", "write_failures"),
    "secret_writer": ("controller", "copies", "rollout_restarter", "spec_fields", "warnings", "write_failures"),
    "source_table": ("folders", "sources"),
    "sources": ("folders",),
    "spec": ("definition", "desired", "spec_fields"),
    "templated": ("templating",),
    "token_auth": ("token_manager",),
    "unanswered": ("contested_secrets", "merge"),
    "view": ("status_page",),
    "watches": ("merge", "namespaces"),
    "workload": ("rollout_restart", "rollout_restarter"),
}
"""The tests of a module beside those that are named after it. A name stands for `test_NAME` and `test_NAME_*`."""
TIMEOUT, ALARM = 36, -signal.SIGALRM
AT_A_TIME = 100
"""Tests that are measured before what they tell is saved."""
MEMORY = 3 << 30
"""Bytes of address space for one mutant: an endless loop may fill a list."""


class Case(NamedTuple):
    """A mutant, and the tests that judge it."""

    module: Module
    name: str
    tests: Sequence[pytest.Item]
    digest: str


class Judge:
    """Give a verdict on each mutant that has none yet, or that has survived other tests than there are now."""

    def __init__(self, modules: Sequence[Module], *, seconds: float, minutes: float, jobs: int) -> None:
        self._modules = modules
        self._seconds = seconds
        self._ends_at = time.monotonic() + 60 * minutes
        self._jobs = jobs
        self._survivors: dict[str, str] = json.loads(SURVIVORS.read_text()) if SURVIVORS.exists() else {}
        self._running: dict[int, Case] = {}

    def run(self) -> int:
        """Collect the tests, against the mutated source, and judge. Returns pytest's exit code."""
        sys.path.insert(0, str((MUTANTS / "src").resolve()))
        settings.register_profile(
            "mutation",
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=[HealthCheck.too_slow],
        )
        return int(pytest.main([*OPTIONS, "--hypothesis-profile=mutation", *self._selection()], plugins=[self]))

    def _selection(self) -> list[str]:
        """What pytest collects: without seconds for other files, only those that are named after a module."""
        selected = config().pytest_add_cli_args_test_selection
        if self._seconds > 0:
            return selected
        files = sorted(path for each in selected for path in Path(each).rglob("test_*.py"))
        own = [str(path) for path in files if any(_is_own(module, path) for module in self._modules)]
        return [*own, *(each for each in selected if not Path(each).is_dir())]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed:  # when they were collected: pytest says so
            return None
        load_stats()
        self._measure(session)
        began, done = time.monotonic(), 0
        cases = sorted(
            self._cases({item.nodeid: item for item in session.items}), key=lambda case: case.name in self._survivors
        )
        checked: set[str] = set()
        for case in cases:
            if time.monotonic() > self._ends_at:
                break
            if case.module.name not in checked:
                checked.add(case.module.name)
                self._check(session, [each for each in cases if each.module is case.module])
            self._start(session, case)
            done += 1
            while len(self._running) >= self._jobs:
                self._wait()
        while self._running:
            self._wait()
        print(f"\njudged {done} of {len(cases)} mutants in {time.monotonic() - began:.0f} s")
        return True

    def _measure(self, session: pytest.Session) -> None:
        """Let each test tell how long it takes, and which functions it reaches: once, and when its file has changed."""
        measured: dict[str, str] = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
        present = {str(path): _digest([path]) for path in {item.path for item in session.items}}
        _forget({item.nodeid for item in session.items if measured.get(str(item.path)) != present[str(item.path)]})
        new = [item for item in session.items if item.nodeid not in state().duration_by_test]
        for some in (new[start : start + AT_A_TIME] for start in range(0, len(new), AT_A_TIME)):
            if time.monotonic() > self._ends_at:
                pytest.exit("not all tests are measured yet: run this again", returncode=1)
            pid = _fork(session)
            if pid == 0:
                _measured(session, some)
            _, status = os.waitpid(pid, 0)
            if status != 0:
                pytest.exit("the tests must pass first", returncode=1)
            load_stats()
            measured |= {str(item.path): present[str(item.path)] for item in some}
            MEASURED.write_text(json.dumps(measured, indent=0))

    def _check(self, session: pytest.Session, cases: Iterable[Case]) -> None:
        """Let the tests of a module pass without a mutant: one may fail for what another one has left behind."""
        pid = _fork(session)
        if pid == 0:
            _checked(session, dict.fromkeys(item for case in cases for item in case.tests))
        _, status = os.waitpid(pid, 0)
        if status != 0:
            pytest.exit("the tests must pass in any order", returncode=1)

    def _cases(self, items: dict[str, pytest.Item]) -> Iterator[Case]:
        for module in self._modules:
            for name in module.data.exit_code_by_key:
                if module.status(name) in KILLED:
                    continue
                tests = [items[id_] for id_ in self._tests_of(module, name) if id_ in items]
                digest = _digest({item.path for item in tests}, *(item.nodeid for item in tests))
                if self._survivors.get(name) != digest or module.status(name) != "survived":
                    yield Case(module, name, tests, digest)

    def _tests_of(self, module: Module, mutant: str) -> list[str]:
        duration = state().duration_by_test
        reaching = state().tests_by_mangled_function_name.get(mangled_name_from_mutant_name(mutant), set())
        chosen: list[str] = []
        left = self._seconds
        for other, took, id_ in sorted((not _is_own(module, _file_of(id_)), duration[id_], id_) for id_ in reaching):
            left -= took if other else 0.0
            if left < 0 or (other and not self._seconds):
                break
            chosen.append(id_)
        return chosen

    def _start(self, session: pytest.Session, case: Case) -> None:
        pid = _fork(session)
        if pid != 0:
            self._running[pid] = case
            return
        code = 3
        try:
            _be(case.name)
            code = next((1 for item in case.tests if not _try(session, item)), 0)
        finally:
            os._exit(code)

    def _wait(self) -> None:
        pid, status = os.wait()
        case = self._running.pop(pid)
        code = os.waitstatus_to_exitcode(status)
        case.module.data.exit_code_by_key[case.name] = TIMEOUT if code == ALARM else code
        case.module.data.save()
        if code == 0:
            self._survivors[case.name] = case.digest
            SURVIVORS.write_text(json.dumps(self._survivors, indent=0))


def _fork(session: pytest.Session) -> int:
    """Fork a process that runs tests and says nothing. Returns as `os.fork` does."""
    pid = os.fork()
    if pid == 0:
        session.config.pluginmanager.unregister(name="terminalreporter")
    return pid


def _file_of(id_: str) -> Path:
    return Path(id_.partition("::")[0])


def _is_own(module: Module, path: Path) -> bool:
    """Whether this file is one of the module's own tests."""
    stem = module.name.rpartition(".")[2]
    names = (stem, *TESTED_BY_TOO.get(stem, ()))
    return any(f"{path.stem}_".startswith(f"test_{name}_") for name in names)


def _measured(session: pytest.Session, items: Iterable[pytest.Item]) -> NoReturn:
    """End this process with what it has learnt of these tests on disk."""
    set_mutant_under_test("stats")
    reached = state()._stats
    for item in items:
        reached.clear()
        began = time.process_time()
        if not _try(session, item):
            sys.stderr.write(f"{item.nodeid} fails without any mutant\n")
            os._exit(1)
        state().duration_by_test[item.nodeid] = time.process_time() - began
        for function in reached:
            state().tests_by_mangled_function_name[function].add(item.nodeid)
    save_stats()
    os._exit(0)


def _checked(session: pytest.Session, items: Iterable[pytest.Item]) -> NoReturn:
    """End this process once all of these tests have passed, or one has failed."""
    for item in items:
        if not _try(session, item):
            sys.stderr.write(f"{item.nodeid} fails after others without any mutant\n")
            os._exit(1)
    os._exit(0)


def _be(mutant: str) -> None:
    """Make this process the mutant."""
    set_mutant_under_test(mutant)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _try(session: pytest.Session, item: pytest.Item) -> bool:
    """Run one test; whether no test has failed so far. One that waits for ever ends the process."""
    signal.alarm(5 + ceil(20 * state().duration_by_test[item.nodeid]) if item.nodeid in state().duration_by_test else 0)
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
    return session.testsfailed == 0


def _forget(tests: Collection[str]) -> None:
    """Forget how long these tests take, and which functions they reach."""
    for id_ in tests:
        state().duration_by_test.pop(id_, None)
    for reaching in state().tests_by_mangled_function_name.values():
        reaching.difference_update(tests)


def _digest(files: Iterable[Path], *names: str) -> str:
    digest = blake2b(digest_size=8)
    for name in sorted(names):
        digest.update(name.encode())
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()
