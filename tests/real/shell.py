"""Shell commands, as a user runs them who has activated the project's environment."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def run_shell(command: str, *, environment: Mapping[str, str], folder: Path) -> str:
    """Return what the command prints. It runs in `folder`, with these variables and the programs of .venv/bin.

    Raises: subprocess.CalledProcessError
    """
    folders = [*environment.get("PATH", "").split(os.pathsep), str(Path(sys.executable).parent), os.environ["PATH"]]
    path = os.pathsep.join(filter(None, folders))
    done = subprocess.run(
        ["sh", "-ec", command],
        env={"HOME": str(folder), **environment, "PATH": path},
        cwd=folder, check=True, stdout=subprocess.PIPE, text=True, timeout=120,
    )  # fmt: skip
    return done.stdout
