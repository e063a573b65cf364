"""`secrets-manager render`: print or check the Secrets of definitions without a cluster, for CI and for debugging.

It uses the controller's own code, so the results are the same.
"""

from collections.abc import Sequence
from typing import TextIO

import trio

from secrets_manager.config import Config
from secrets_manager.inputs.documents import read_once
from secrets_manager.inputs.manifests import load
from secrets_manager.inputs.progress import Progress, silent
from secrets_manager.render.rendering import Rendering, evaluate, render_check, render_secrets


def render(
    config: Config, paths: Sequence[str], *, stdin: TextIO | None, check: bool, progress: Progress = silent
) -> Rendering:
    """Load definitions, read their sources and render them.

    Raises:
        UsageError: in an exception group while a backend is open.
    """
    manifests = load(paths, stdin=stdin)
    reading = trio.run(read_once, config, manifests.definitions, progress)
    results = [evaluate(found, reading.documents, reading.policy) for found in manifests.found]
    rendering = render_check(results) if check else render_secrets(results)
    return rendering._replace(messages=[*manifests.skipped, *rendering.messages])
