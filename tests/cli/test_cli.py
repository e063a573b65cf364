"""The command as users run it: a process with its exit code and its two streams."""

import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from socket import create_server
from typing import NamedTuple

import pytest
import yaml

from secrets_manager.cli import main as cli
from secrets_manager.cli.usage import COMMANDS, flags_of, help_text
from secrets_manager.errors import StartError, UsageError, leaves
from secrets_manager.kube.lease import LeadershipLost
from tests.real.full_pipe import full_pipe

PYTHON = (sys.executable, "-m", "secrets_manager")
VAULT_URL = "--vault.url: the value is not the URL of a server: write it like https://vault.example.com:8200"


class Result(NamedTuple):
    code: int
    stdout: str
    stderr: str


def ran(*argv: str, environ: dict[str, str] | None = None, stdin: str = "") -> Result:
    done = subprocess.run(
        [*PYTHON, *argv], input=stdin, capture_output=True, text=True, timeout=60, env=environ or {}, check=False
    )
    return Result(done.returncode, done.stdout, done.stderr)


def misuse(line: str) -> Result:
    return Result(2, "", f"secrets-manager: {line}\n")


@pytest.mark.parametrize("argument", ["--help", "-help", "-h"])
def test_help_is_printed(argument: str) -> None:
    assert ran(argument) == Result(0, help_text(), "")


@pytest.mark.parametrize("command", ["run", "crd", "render", "plan", "explain", "doctor", "demo"])
def test_each_command_has_its_help(command: str) -> None:
    assert ran(command, "--help") == Result(0, help_text(command), "")


def test_help_lists_commands_defaults_and_environment_variables() -> None:
    lines = help_text().splitlines()

    commands = ["run", "crd", "render", "plan", "explain", "doctor", "demo"]
    assert [line.split()[0] for line in lines[lines.index("Commands") + 1 :][:7]] == commands
    assert (
        lines[lines.index("  --vault.url URL") + 1]
        == "      Address of Vault or OpenBao. (default https://127.0.0.1:8200, environment VAULT_ADDR)"
    )
    assert max(map(len, lines)) <= 120


def test_help_says_which_flags_without_a_value_are_on() -> None:
    lines = help_text().splitlines()

    assert lines[lines.index("  --status-page") + 1].endswith(" (default true)")
    assert lines[lines.index("  --enable-leader-election") + 1].endswith(".")


@pytest.mark.parametrize(
    "argv", [["-version"], ["--version"], ["run", "--version=true", "-backend=vault"]], ids=" ".join
)
def test_version_is_printed(argv: list[str]) -> None:
    assert ran(*argv) == Result(0, f"secrets-manager {version('secrets-manager')}\n", "")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["-nope"], "unknown flag -nope: see `secrets-manager --help`"),
        (["rendr"], "unknown command 'rendr': did you mean render?"),
        (["a\nb"], "unknown command 'a\\nb': see `secrets-manager --help`"),
        (["-reconcile-period=0"], "--reconcile-period: '0' is too small: the minimum is 100ms"),
        (["crd", "-backend=vault"], "unknown flag -backend: see `secrets-manager crd --help`"),
        (["render", "--version"], "unknown flag --version: see `secrets-manager render --help`"),
        (["demo", "now"], "there is an argument that is not a flag: see `secrets-manager demo --help`"),
        (["run", "-nope"], "unknown flag -nope: see `secrets-manager --help`"),
        (
            [],
            (
                "--vault.auth-method=approle needs --vault.role-id and --vault.secret-id "
                "(better: VAULT_ROLE_ID and VAULT_SECRET_ID)"
            ),
        ),
        (["plan", "shop.yaml"], "there is an argument that is not a flag: name a file by --file (-f)"),
        (
            ["render"],
            "render needs --file (-f): a file, a folder, or - for standard input",
        ),
        (["plan"], "plan needs --file (-f): a file, a folder, or - for standard input"),
        (
            ["explain"],
            "explain needs NAMESPACE/NAME, or --namespace (-n) for all in one, or --file (-f)",
        ),
        (
            ["explain", "shop-database", "-vault.role-id=r"],
            "explain takes definitions as NAMESPACE/NAME, or as NAME with --namespace (-n)",
        ),
        (["render", "-vault.url=https://x/?token=hunter2"], VAULT_URL),
        (["explain", "a/b", "-o", "yaml"], "--output: 'yaml' is unknown: use text or json"),
    ],
    ids=str,
)
def test_misuse_is_one_line_and_exit_code_2(argv: list[str], line: str) -> None:
    assert ran(*argv) == misuse(line)


def test_missing_kubeconfig_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    result = ran("-vault.role-id=r", f"-kubeconfig={tmp_path}/none", environ={"HOME": str(tmp_path)})

    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith("secrets-manager: no credentials for Kubernetes: no kubeconfig at ")
    assert result.stderr.count("\n") == 1


def test_port_that_is_taken_is_one_line_and_exit_code_1(kubeconfig: Path) -> None:
    with create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        result = ran("-vault.role-id=r", f"-kubeconfig={kubeconfig}", f"-metrics-addr={address}")

    assert result == Result(
        1,
        "",
        f"secrets-manager: metrics-addr {address}: "
        "the port is in use: stop the other process, or choose another port\n",
    )


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """Credentials of a cluster that is not reached."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    }
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(document))
    return file


def test_crd_is_printed() -> None:
    result = ran("crd")

    assert (result.code, result.stderr) == (0, "")
    assert yaml.safe_load(result.stdout)["kind"] == "CustomResourceDefinition"


@pytest.mark.parametrize("command", ["--help", "crd"])
def test_reader_who_goes_away_is_no_error_worth_a_word(command: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        done = subprocess.run([*PYTHON, command], stdout=pipe, stderr=subprocess.PIPE, timeout=60, env={}, check=False)

    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*PYTHON, "crd"], stdout=full, stderr=subprocess.PIPE, timeout=60, env={}, check=False)

    assert (done.returncode, done.stderr) == (
        1,
        b"secrets-manager: can't write to standard output: No space left on device\n",
    )


def test_output_that_the_encoding_of_the_stream_does_not_have_is_escaped() -> None:
    script = "from secrets_manager.cli.main import _print; import sys; sys.exit(_print('\u20ac ü\\udcff'))"

    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        timeout=60,
        env={"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "1"},
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, rb"\u20ac " + b"\xfc" + rb"\udcff")


@pytest.mark.parametrize("descriptor", [1, 2], ids=["output", "errors"])
def test_stream_that_was_closed_before_the_start_changes_no_exit_code(descriptor: int) -> None:
    script = f'exec "$@" {descriptor}>&-'

    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *PYTHON, "-nope"], capture_output=True, timeout=60, env={}, check=False
    )

    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Traceback" not in done.stderr


def test_blocked_stderr_does_not_keep_the_process_from_exiting(tmp_path: Path) -> None:
    with full_pipe(tmp_path / "pipe"), (tmp_path / "pipe").open("ab") as errors:
        done = subprocess.run(
            [*PYTHON, "-nope"], stdout=subprocess.PIPE, stderr=errors, timeout=60, env={}, check=False
        )

    assert (done.returncode, done.stdout) == (2, b"")


IMPORTED = "import sys; from secrets_manager.cli.main import main; main(sys.argv[1:]); print(*sys.modules, sep='\\n')"


@pytest.mark.parametrize("argument", ["--help", "-nope"])
def test_what_takes_time_to_import_is_not_imported_for_help_or_a_wrong_flag(argument: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, argument], capture_output=True, text=True, timeout=60, check=True
    )

    heavy = {"trio", "httpx", "hypercorn", "kubernetes", "prometheus_client", "yaml", "ssl", "importlib.metadata"}
    assert heavy & set(done.stdout.splitlines()) == set()


AT_WORK = (
    "import gc, trio; from secrets_manager.cli.main import main; "
    "trio.run = lambda *_: print(gc.isenabled(), gc.get_freeze_count() > 10_000); main(['-vault.role-id=r'])"
)


def test_the_garbage_collector_works_and_passes_over_what_stays_for_life() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_WORK],
        capture_output=True, text=True, timeout=60, env={"VAULT_SECRET_ID": "s"}, check=True,
    )  # fmt: skip

    assert done.stdout == "True True\n"


@pytest.mark.parametrize(
    ("error", "code", "printed"),
    [
        (UsageError("a flag"), 2, "secrets-manager: a flag\n"),
        (StartError("a\nport"), 1, "secrets-manager: a\\nport\n"),
        (ExceptionGroup("", [ExceptionGroup("", [LeadershipLost("the lease")])]), 1, "secrets-manager: the lease\n"),
        (ExceptionGroup("", [UsageError("a flag"), UsageError("a flag")]), 2, "secrets-manager: a flag\n"),
        (
            ExceptionGroup("", [UsageError("a flag"), StartError("a port")]),
            1,
            "secrets-manager: a flag\nsecrets-manager: a port\n",
        ),
        (KeyboardInterrupt(), 130, ""),
        (BaseExceptionGroup("", [KeyboardInterrupt(), StartError("a port")]), 130, ""),
    ],
    ids=repr,
)
def test_expected_error_sets_the_exit_code_and_is_printed_once(
    error: BaseException, code: int, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli._report(leaves(error)) == code
    assert capsys.readouterr() == ("", printed)


def test_unexpected_error_is_logged_and_exits_with_1(caplog: pytest.LogCaptureFixture) -> None:
    error = ZeroDivisionError("of what")

    assert cli._report([error, UsageError("a flag")]) == 1
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("ERROR", "the process failed with an unexpected error")
    ]
    assert caplog.records[0].exc_info == (ZeroDivisionError, error, None)


INTERRUPTED_AT_ITS_END = """
import atexit, os, signal, sys
from secrets_manager.cli.main import main
atexit.register(os.kill, os.getpid(), signal.SIGINT)
sys.argv = ["secrets-manager", "crd"]
sys.exit(main())
"""


def test_signal_after_the_end_ends_the_process_without_a_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AT_ITS_END], capture_output=True, timeout=60, env={}, check=False
    )

    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


def test_the_context_of_the_demo_has_the_name_of_the_others_and_its_earlier_one() -> None:
    demo, explain = (flags_of(COMMANDS[name]) for name in ("demo", "explain"))

    assert demo["context"] is demo["kube-context"]
    assert "context" not in explain
    assert "--kube-context NAME" in help_text("demo")


WITHOUT_RICH = (
    "import sys; sys.modules['rich'] = None; from secrets_manager.cli.main import main; sys.exit(main(['demo']))"
)


def test_demo_says_what_to_install_if_its_extra_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_RICH], capture_output=True, text=True, timeout=60, env={}, check=False
    )

    line = "secrets-manager: the demo needs more packages: run `.ci/setup demo` in the clone\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


EARLY_SIGNAL = """
import runpy, signal, sys
from importlib.metadata import entry_points

class Signal:
    def find_spec(self, name, *_):
        if name == "secrets_manager.cli.main":
            signal.raise_signal(signal.Signals[sys.argv[1]])

def script():
    (found,) = entry_points(group="console_scripts", name="secrets-manager")
    sys.exit(found.load()())

def module():
    runpy.run_module("secrets_manager", run_name="__main__")

sys.meta_path.insert(0, Signal())
"""


@pytest.mark.parametrize("command", ["script()", "module()"])
@pytest.mark.parametrize(("signum", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_signal_before_anything_is_imported_ends_the_process_by_its_own_handler(
    command: str, signum: str, code: int
) -> None:
    """As PID 1, in a container, a process is sent no signal that it has no handler for."""
    done = subprocess.run(
        [sys.executable, "-c", EARLY_SIGNAL + command, signum], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


HANDED_BACK = """
import signal, sys
from secrets_manager.cli import entry, main
main.main = lambda: print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
entry.main()
"""


def test_sigint_is_the_commands_own_once_all_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", HANDED_BACK], capture_output=True, text=True, timeout=60, check=False)

    assert (done.stdout, done.stderr) == ("True\n", "")
