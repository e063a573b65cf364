"""The commands and their flags as `--help` prints them."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from secrets_manager.cli.gosyntax import BOOLEAN, Flag
from secrets_manager.cli.table import GROUPS, HELP
from secrets_manager.cli.values import NAME, PATH

Groups = Mapping[str, Iterable[Flag]]

FILE = Flag(
    "file",
    PATH,
    "File or folder with SecretDefinitions, or - for standard input. May be given often; -f is short for it.",
)
CHECK = Flag("check", BOOLEAN, "Print for each key whether it can be read, and never a value.")
KEEP = Flag("keep", BOOLEAN, "Stay up afterwards, to try by hand.")
CONTEXT = Flag("context", NAME, "Context of a kubeconfig: play in that cluster, and not in an API in memory.")


class Command(NamedTuple):
    """What the user may ask for, and the flags that go with it, by their titles."""

    about: str
    groups: Groups


COMMANDS = {
    "run": Command("Run the controller. It is what happens without a command, too.", GROUPS),
    "crd": Command("Print the CustomResourceDefinition:  secrets-manager crd | kubectl apply -f -", {"Flags": (HELP,)}),
    "render": Command(
        "Print the Secrets that SecretDefinitions in files lead to, or check them. Needs no cluster.",
        {
            "Flags": (FILE, CHECK, HELP),
            **{title: GROUPS[title] for title in ("Backend", "Vault", "Azure Key Vault", "Log")},
        },
    ),
    "demo": Command(
        "Show all of it at work on this machine. Needs no cluster and no Vault.", {"Flags": (KEEP, CONTEXT, HELP)}
    ),
}
SHORT = {"h": HELP, "f": FILE}

INTRODUCTION = """\
secrets-manager is a Kubernetes controller that keeps Secrets in sync with Vault, OpenBao or Azure Key Vault.
A SecretDefinition says which keys come from which paths; it writes the Secret, and again when a value changes.

Usage:  secrets-manager [command] [flags]
"""
NOTES = """\
A flag has one dash or two, and its value after = or a space; one without a value here is true, or takes =false.
Durations are like 300ms, 5s or 1m30s. Where a flag has an environment variable, the variable wins.
"""


def flags_of(command: Command) -> dict[str, Flag]:
    """All names that its flags may be written with."""
    flags = {flag.name: flag for group in command.groups.values() for flag in group}
    return flags | {name: flag for name, flag in SHORT.items() if flag.name in flags}


def help_text(name: str = "run") -> str:
    """What `--help` prints, alone or with a command."""
    about, groups = COMMANDS[name]
    flags = NOTES + "".join(f"\n{title}\n{''.join(map(_entry, group))}" for title, group in groups.items())
    if name != "run":
        return f"{about}\n\nUsage:  secrets-manager {name} [flags]\n\n{flags}"
    width = max(map(len, COMMANDS)) + 2
    commands = "".join(f"  {each:{width}}{command.about}\n" for each, command in COMMANDS.items())
    return f"{INTRODUCTION}\nCommands\n{commands}\nFlags of run\n{flags}"


def _entry(flag: Flag) -> str:
    facts = [f"default {flag.default}"] if flag.default and flag.kind is not BOOLEAN else []
    facts += [f"environment {flag.env}"] if flag.env else []
    end = f" ({', '.join(facts)})" if facts else ""
    return f"  --{flag.name} {flag.kind.word}".rstrip() + f"\n      {flag.help}{end}\n"
