"""The command `secrets-manager`: runs a subcommand and reports its errors.

    0    success, or stopped by a signal
    1    the process failed (lost lease, port in use), or `render`, `plan`, `explain` or `doctor` has found a
         problem
    2    wrong flags or environment, or a file that they name
    3    `plan` has found changes
    130  ended by SIGINT while it started, or before it could stop cleanly; a second signal ends the process at once
    143  the same by SIGTERM

Expected errors are printed as one line, others are logged with a traceback. Subcommands import their parts themselves,
so that `--help` and usage errors are fast.
"""

import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence

from secrets_manager import logs
from secrets_manager.cli import flags, usage
from secrets_manager.cli.gosyntax import ARGUMENT, Value, did_you_mean, quoted, scan
from secrets_manager.cli.table import FLAGS
from secrets_manager.config import Config, LogConfig
from secrets_manager.errors import SecretsManagerError, StartError, UsageError, leaves
from secrets_manager.kube.errors import CredentialsError

log = logging.getLogger(__name__)

PROGRAM = "secrets-manager"
OK, FAILED, USAGE_ERROR, CHANGES, INTERRUPTED = 0, 1, 2, 3, 130

GC_THRESHOLD = 10_000
"""New objects per run of the garbage collector. There are hardly any cycles but in refused connections. With Python's
default of 700, the collector takes 0.1 s of a first sync of 1,000 definitions."""

ParsedFlags = Sequence[tuple[str, Value]]
"""The flags of a command line, in order. Other arguments have the name ARGUMENT."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line without the program's name. Return the exit code."""
    logs.configure(LogConfig(), sys.stderr)
    try:
        try:
            return _dispatch(list(sys.argv[1:] if argv is None else argv))
        finally:
            if argv is None:  # this is the process: from here on Ctrl-C ends it at once, without a traceback
                signal.signal(signal.SIGINT, signal.SIG_DFL)
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:  # noqa: BLE001 - this is the outermost handler
        return _report(leaves(error))


def _dispatch(arguments: list[str]) -> int:
    name = arguments.pop(0) if arguments and not arguments[0].startswith("-") else "run"
    if name not in usage.COMMANDS:
        raise UsageError(f"unknown command {quoted(name)}: {did_you_mean(name, usage.COMMANDS)}")
    command = usage.COMMANDS[name]
    values = scan(arguments, usage.flags_of(command), arguments=bool(command.arguments), see=usage.see(name))
    if ("help", True) in values:
        return _print(usage.help_text(name))
    return _RUN[name](values)


def _run(values: ParsedFlags) -> int:
    if ("version", True) in values:
        from importlib.metadata import version  # noqa: PLC0415 - takes time

        return _print(f"{PROGRAM} {version(PROGRAM)}\n")
    config = flags.configure(dict(values), os.environ)
    logs.configure(config.log, sys.stderr)

    gc.disable()  # collecting while modules load takes a tenth of the start and finds nothing
    import trio  # noqa: PLC0415 - takes time

    from secrets_manager import supervisor  # noqa: PLC0415 - takes time

    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    gc.enable()
    trio.run(supervisor.run, config)
    return OK


def _crd(_: ParsedFlags) -> int:
    from secrets_manager.controller.crd import manifest  # noqa: PLC0415 - takes time

    return _print(manifest())


def _render(values: ParsedFlags) -> int:
    files = _files(values, "render")
    config = _configure_quietly(values)

    from secrets_manager.render.command import render  # noqa: PLC0415 - takes time

    check = ("check", True) in values
    rendering = render(config, files, stdin=sys.stdin, check=check, progress=_progress)
    printed = _print_all(rendering.text, rendering.messages)
    return printed if rendering.complete else FAILED


def _plan(values: ParsedFlags) -> int:
    files = _files(values, "plan")
    config = _configure_quietly(values)

    from secrets_manager.explain.command import run_plan  # noqa: PLC0415 - takes time

    plan = run_plan(
        config,
        files,
        namespace=_last(values, "namespace"),
        output=_last(values, "output"),
        stdin=sys.stdin,
        progress=_progress,
    )
    printed = _print_all(plan.text, plan.messages)
    if plan.has_problems:
        return FAILED
    return CHANGES if printed == OK and plan.has_changes else printed


def _explain(values: ParsedFlags) -> int:
    if not any(_all(values, name) for name in (ARGUMENT, "file", "namespace")):
        raise UsageError("explain needs NAMESPACE/NAME, or --namespace (-n) for all in one, or --file (-f)")
    config = _configure_quietly(values)

    from secrets_manager.explain.command import run_explain  # noqa: PLC0415 - takes time

    explained = run_explain(
        config,
        _all(values, ARGUMENT),
        namespace=_last(values, "namespace"),
        paths=_all(values, "file"),
        output=_last(values, "output"),
        stdin=sys.stdin,
        progress=_progress,
    )
    printed = _print_all(explained.text, explained.messages)
    return FAILED if explained.has_problems else printed


def _doctor(values: ParsedFlags) -> int:
    config = _configure_quietly(values)
    settings = flags.given({name: value for name, value in values if name in FLAGS}, os.environ)

    from secrets_manager.doctor.command import run_doctor  # noqa: PLC0415 - takes time

    report = run_doctor(
        config,
        settings,
        may_log_in=("skip-login", True) not in values,
        output=_last(values, "output"),
        progress=_progress,
    )
    printed = _print(report.text)
    return FAILED if report.has_failures else printed


def _demo(values: ParsedFlags) -> int:
    try:
        from secrets_manager.demo.command import run_demo  # noqa: PLC0415 - what it needs may not be installed
    except ModuleNotFoundError:
        raise UsageError("the demo needs more packages: run `.ci/setup demo` in the clone") from None
    return run_demo(keep=("keep", True) in values, context=_last(values, "kube-context"))


_RUN: dict[str, Callable[[ParsedFlags], int]] = {
    "run": _run,
    "crd": _crd,
    "render": _render,
    "plan": _plan,
    "explain": _explain,
    "doctor": _doctor,
    "demo": _demo,
}


def _configure_quietly(values: ParsedFlags) -> Config:
    """Return the configuration of a command that prints a result, and log warnings alone, unless flags say more."""
    config = flags.configure({name: value for name, value in values if name in FLAGS}, os.environ)
    quiet = LogConfig(level=logging.WARNING)
    logs.configure(quiet if config.log == LogConfig() else config.log, sys.stderr)
    return config


def _files(values: ParsedFlags, command: str) -> list[str]:
    """Return the files of a command that needs one: without any, no other setting matters."""
    if files := _all(values, "file"):
        return files
    raise UsageError(f"{command} needs --file (-f): a file, a folder, or - for standard input")


def _all(values: ParsedFlags, name: str) -> list[str]:
    """Return all values of a flag."""
    return [str(value) for each, value in values if each == name]


def _last(values: ParsedFlags, name: str) -> str:
    """Return the last value of a flag; empty if there is none."""
    return str(dict(values).get(name, ""))


def _report(errors: Sequence[BaseException]) -> int:
    """Report each error once. Return the exit code."""
    if any(isinstance(error, KeyboardInterrupt) for error in errors):
        return INTERRUPTED
    expected = dict.fromkeys(str(error) for error in errors if isinstance(error, SecretsManagerError))
    logs.write_lines(sys.stderr, [_prefixed(line) for line in expected])
    for error in errors:
        if not isinstance(error, SecretsManagerError):
            log.error("the process failed with an unexpected error", exc_info=error)
    return USAGE_ERROR if all(isinstance(error, UsageError | CredentialsError) for error in errors) else FAILED


def _print_all(text: str, messages: Sequence[str]) -> int:
    """Write the messages to standard error and the text to standard output."""
    logs.write_lines(sys.stderr, [_prefixed(line) for line in messages], timeout=None)
    return _print(text)


def _print(text: str) -> int:
    """Write to standard output, in its encoding. A closed pipe is not reported, a full disk is."""
    if sys.stdout is None:
        return FAILED
    encoding = sys.stdout.encoding
    try:
        sys.stdout.write(text.encode(encoding, errors="backslashreplace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        # The rest of the buffer would fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return FAILED
        raise StartError(f"can't write to standard output: {error.strerror}") from None
    return OK


def _progress(line: str) -> None:
    """Tell what takes long."""
    logs.write_lines(sys.stderr, [_prefixed(line)])


def _prefixed(line: str) -> str:
    return f"{PROGRAM}: {line}"
