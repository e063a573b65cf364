"""The command `secrets-manager`: which part runs, and how its end is told.

    0    done, or stopped by a signal
    1    the process failed: a lost lease, a port that is taken; or `render` could not resolve everything
    2    it was not told what it needs: flags, environment, or a file that they name
    130  interrupted before it could stop by itself

What is expected to go wrong is told in one line, without a traceback; anything else is an error in the log. Each
command imports its parts itself, since `--help` and a wrong flag should answer at once.
"""

import gc
import logging
import os
import sys
from collections.abc import Callable, Sequence

from secrets_manager import logs
from secrets_manager.cli import flags, usage
from secrets_manager.cli.gosyntax import Value, did_you_mean, scan, shown
from secrets_manager.cli.table import FLAGS
from secrets_manager.config import LogConfig
from secrets_manager.errors import SecretsManagerError, StartError, UsageError, leaves
from secrets_manager.kube.errors import CredentialsError

log = logging.getLogger(__name__)

PROGRAM = "secrets-manager"
OK, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130

GARBAGE = 10_000
"""New objects after which the garbage collector looks for cycles. Hardly any arise but where a connection is refused;
at Python's 700, to look for them takes a tenth of a second of a first sync with a thousand definitions."""

Told = Sequence[tuple[str, Value]]
"""The flags of a command line, in their order."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, which is without the program's name, and return the exit code."""
    logs.configure(LogConfig(), sys.stderr)
    try:
        return _dispatch(list(sys.argv[1:] if argv is None else argv))
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:  # noqa: BLE001 - nobody is left to tell it to
        return _end(leaves(error))


def _dispatch(arguments: list[str]) -> int:
    name = arguments.pop(0) if arguments and not arguments[0].startswith("-") else "run"
    if name not in usage.COMMANDS:
        raise UsageError(f"unknown command {shown(name)}: {did_you_mean(name, usage.COMMANDS)}")
    told = scan(arguments, usage.flags_of(usage.COMMANDS[name]))
    if ("help", True) in told:
        return _print(usage.help_text(name))
    return _RUN[name](told)


def _run(told: Told) -> int:
    if ("version", True) in told:
        from importlib.metadata import version  # noqa: PLC0415 - takes time

        return _print(f"{PROGRAM} {version(PROGRAM)}\n")
    config = flags.configured(dict(told), os.environ)
    logs.configure(config.log, sys.stderr)

    gc.disable()  # it would look at every module again and again, a tenth of the start, and find nothing
    import trio  # noqa: PLC0415 - takes time

    from secrets_manager import supervisor  # noqa: PLC0415 - takes time

    gc.freeze()
    gc.set_threshold(GARBAGE)
    gc.enable()
    trio.run(supervisor.run, config)
    return OK


def _crd(_: Told) -> int:
    from secrets_manager.controller.crd import manifest  # noqa: PLC0415 - takes time

    return _print(manifest())


def _render(told: Told) -> int:
    config = flags.configured({name: value for name, value in told if name in FLAGS}, os.environ)
    quiet = LogConfig(level=logging.WARNING)
    logs.configure(quiet if config.log == LogConfig() else config.log, sys.stderr)

    from secrets_manager.render.command import render  # noqa: PLC0415 - takes time

    paths = [str(path) for name, path in told if name == "file"]
    rendering = render(config, paths, stdin=sys.stdin, check=("check", True) in told)
    logs.say(sys.stderr, [_complaint(line) for line in rendering.remarks], within=None)
    printed = _print(rendering.text)
    return printed if rendering.complete else FAILED


def _demo(told: Told) -> int:
    try:
        from secrets_manager.demo import show  # noqa: PLC0415 - what it needs may not be installed
    except ModuleNotFoundError:
        raise UsageError("the demo needs more packages: pip install 'secrets-manager[demo]'") from None
    return show.main(keep=("keep", True) in told, context=str(dict(told).get("context", "")))


_RUN: dict[str, Callable[[Told], int]] = {"run": _run, "crd": _crd, "render": _render, "demo": _demo}


def _end(errors: Sequence[BaseException]) -> int:
    """Tell each error once, and choose the exit code."""
    if any(isinstance(error, KeyboardInterrupt) for error in errors):
        return INTERRUPTED
    expected = dict.fromkeys(str(error) for error in errors if isinstance(error, SecretsManagerError))
    logs.say(sys.stderr, [_complaint(line) for line in expected])
    for error in errors:
        if not isinstance(error, SecretsManagerError):
            log.error("the process ends by an unexpected error", exc_info=error)
    return MISUSED if all(isinstance(error, UsageError | CredentialsError) for error in errors) else FAILED


def _print(text: str) -> int:
    """Write to standard output. A reader who went away is no error worth a word; a full disk is."""
    if sys.stdout is None:
        return FAILED
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would fail again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return FAILED
        raise StartError(f"can't write to standard output: {error.strerror}") from None
    return OK


def _complaint(line: str) -> str:
    return f"{PROGRAM}: {line}"
