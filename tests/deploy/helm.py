"""Helm, as far as the documents and the tests use it:  python -m tests.deploy.helm upgrade --install NAME CHART

The work is done by Helm itself, which is here as a library; only the command line is ours. It waits for no pod, as Helm
does without `--wait`. `program` makes the command `helm` of it, for shell commands.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import helm_python
from helm_python import Chart, Config, HelmError, HelmNotFoundError

from fake_kubernetes.documents import Object, mapping
from tests.documents import ROOT


def program(folder: Path) -> Path:
    """Write the command `helm` into a folder, for `PATH`."""
    file = folder / "helm"
    file.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m tests.deploy.helm "$@"\n')
    file.chmod(0o755)
    return file


def merged(one: Object, other: Object) -> Object:
    """Values as Helm puts one source of them over another."""
    deeper = {
        name: merged(mapping(one, name), mapping(other, name)) for name in one if isinstance(other.get(name), dict)
    }
    return {**one, **other, **deeper}


def values_of(files: Sequence[str], settings: Sequence[str]) -> Object:
    values: Object = {}
    for file in files:
        values = merged(
            values, helm_python.values_from_yaml(sys.stdin.read() if file == "-" else Path(file).read_text())
        )
    for setting in settings:
        values = merged(values, helm_python.parse_set_string(setting))
    return values


def upgrade(config: Config, options: argparse.Namespace) -> str:
    """Upgrade a release, or install it where it is not there and that is asked for."""
    values = values_of(options.values, options.set)
    with Chart.load(options.chart) as chart:
        try:
            config.status(options.name)
        except HelmNotFoundError:
            if not options.install:
                raise
            config.install(chart, options.name, values, create_namespace=options.create_namespace)
        else:
            config.upgrade(chart, options.name, values, reuse_values=options.reuse_values)
    return str(config.status(options.name).get("notes", ""))


def rollback(config: Config, options: argparse.Namespace) -> str:
    config.rollback(options.name, version=options.revision)
    return "Rollback was a success! Happy Helming!"


def uninstall(config: Config, options: argparse.Namespace) -> str:
    return str(config.uninstall(options.name).get("info", ""))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="helm")
    commands = made.add_subparsers(required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("name")
    common.add_argument("--namespace", default="default")
    command = commands.add_parser("upgrade", parents=[common])
    command.add_argument("chart")
    command.add_argument("--install", action="store_true")
    command.add_argument("--create-namespace", action="store_true")
    command.add_argument("--reuse-values", action="store_true")
    command.add_argument("--values", action="append", default=[])
    command.add_argument("--set", action="append", default=[])
    command.set_defaults(act=upgrade)
    command = commands.add_parser("rollback", parents=[common])
    command.add_argument("revision", type=int)
    command.set_defaults(act=rollback)
    command = commands.add_parser("uninstall", parents=[common])
    command.set_defaults(act=uninstall)
    return made


def main() -> None:
    options = parser().parse_args()
    try:
        with Config(namespace=options.namespace) as config:
            sys.stdout.write(f"{options.act(config, options)}\n")
    except HelmError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
