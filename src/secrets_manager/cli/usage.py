"""The commands and their flags as `--help` prints them."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from secrets_manager.cli.gosyntax import BOOLEAN, SEE_HELP, Flag, choice
from secrets_manager.cli.table import FLAGS, GROUPS, HELP
from secrets_manager.cli.values import NAME, NAMESPACE, PATH

Groups = Mapping[str, Iterable[Flag]]

FILE = Flag(
    "file",
    PATH,
    "File or folder with SecretDefinitions, or - for standard input. Can be repeated. Short: -f.",
)
CHECK = Flag("check", BOOLEAN, "Print for each key whether it can be read, never its value.")
OF_NAMESPACE = Flag(
    "namespace",
    NAMESPACE,
    "Namespace of definitions that are given without one. Without any, all in it. Short: -n.",
)
DEFAULT_NAMESPACE = Flag("namespace", NAMESPACE, "Namespace of definitions that have none. Short: -n.")
OUTPUT = Flag("output", choice("text", "json"), "Format of the output. Short: -o.", "text")
SKIP_LOGIN = Flag(
    "skip-login",
    BOOLEAN,
    "Do not log in to Vault, and skip what needs it. With AppRole a login spends a use of the secret_id.",
)
KEEP = Flag("keep", BOOLEAN, "Keep running afterwards, to try things out.")
CONTEXT = Flag("kube-context", NAME, "Context of a kubeconfig. Use that cluster instead of an in-memory API.")


class Command(NamedTuple):
    """A command and its flags, by the titles of their groups."""

    about: str
    groups: Groups
    arguments: str = ""
    """The arguments that it takes beside flags, as the help shows them; empty if none."""


STORE_AND_LOG = {title: GROUPS[title] for title in ("Backend", "Vault", "Azure Key Vault", "Log")}
CLUSTER_AND_STORE = {
    title: GROUPS[title] for title in ("Backend", "Vault", "Azure Key Vault", "Kubernetes", "Controller", "Log")
} | {"Controller": (FLAGS["reconcile-period"],)}
"""The flags by which the result is that of a controller with the same flags."""

GROUPS_OF_RUN = {title: GROUPS[title] for title in GROUPS if title != "Other"}

COMMANDS = {
    "run": Command("Run the controller. This is the default.", GROUPS),
    "crd": Command("Print the CustomResourceDefinition:  secrets-manager crd | kubectl apply -f -", {"Flags": (HELP,)}),
    "render": Command(
        "Print the Secrets of SecretDefinitions in files, or check them. Needs no cluster.",
        {"Flags": (FILE, CHECK, HELP), **STORE_AND_LOG},
    ),
    "plan": Command(
        "Print what the controller would do if SecretDefinitions in files were applied. Writes nothing.",
        {"Flags": (FILE, DEFAULT_NAMESPACE, OUTPUT, HELP), **CLUSTER_AND_STORE},
    ),
    "explain": Command(
        "Print what the controller would do with SecretDefinitions in the cluster, and why. Writes nothing.",
        {"Flags": (FILE, OF_NAMESPACE, OUTPUT, HELP), **CLUSTER_AND_STORE},
        arguments="[NAMESPACE/NAME ...]",
    ),
    "doctor": Command(
        "Check an installation, and print the fix for each fault. Writes nothing.",
        {"Flags": (SKIP_LOGIN, OUTPUT, HELP), **GROUPS_OF_RUN},
    ),
    "demo": Command(
        "Show how it works on this machine. Needs no cluster and no Vault.", {"Flags": (KEEP, CONTEXT, HELP)}
    ),
}
OLD = {"context": CONTEXT}
"""Earlier names of flags."""
SHORT = {"h": HELP, "f": FILE, "n": OF_NAMESPACE, "o": OUTPUT}

INTRODUCTION = """\
secrets-manager is a Kubernetes controller that keeps Secrets in sync with Vault, OpenBao or Azure Key Vault.
A SecretDefinition says what a Secret holds. The controller writes the Secret, and writes it again when a value changes.

Usage:  secrets-manager [command] [flags]
"""
NOTES = """\
Flags start with one dash or two. Values follow after = or a space; flags without a value here are true, or take =false.
Durations are like 300ms, 5s or 1m30s. Environment variables override their flags.
"""


def flags_of(command: Command) -> dict[str, Flag]:
    """Return a command's flags by their names, short and earlier ones included."""
    flags = {flag.name: flag for group in command.groups.values() for flag in group}
    short = {name: flags[flag.name] for name, flag in SHORT.items() if flag.name in flags}
    return flags | short | {name: flag for name, flag in OLD.items() if flag is flags.get(flag.name)}


def see(name: str) -> str:
    """Return the pointer of a message to the help of a command."""
    return SEE_HELP if name == "run" else f"see `secrets-manager {name} --help`"


def help_text(name: str = "run") -> str:
    """Return the text of `--help` for a command."""
    about, groups, arguments = COMMANDS[name]
    flags = NOTES + "".join(f"\n{title}\n{''.join(map(_entry, group))}" for title, group in groups.items())
    if name != "run":
        usage = " ".join(filter(None, ("secrets-manager", name, arguments, "[flags]")))
        return f"{about}\n\nUsage:  {usage}\n\n{flags}"
    width = max(map(len, COMMANDS)) + 2
    commands = "".join(f"  {each:{width}}{command.about}\n" for each, command in COMMANDS.items())
    return f"{INTRODUCTION}\nCommands\n{commands}\nFlags of run\n{flags}"


def _entry(flag: Flag) -> str:
    has_default = flag.default not in ("", "false")
    facts = [f"default {flag.default}"] if has_default else []
    facts += [f"environment {flag.env}"] if flag.env else []
    end = f" ({', '.join(facts)})" if facts else ""
    return f"  --{flag.name} {flag.type.word}".rstrip() + f"\n      {flag.help}{end}\n"
