"""The Prometheus Operator's own CRDs, made by .ci/operator-crds. Where they are missing, tests that ask are skipped."""

from pathlib import Path

import pytest
import yaml

from fake_kubernetes.documents import Object

FOLDER = Path.home() / ".cache" / "operator-crds"


def operator_crd_or_skip(plural: str) -> Object:
    """The CRD of one kind."""
    file = FOLDER / f"monitoring.coreos.com_{plural}.yaml"
    if not file.exists():
        pytest.skip(f"no CRDs of the Prometheus Operator in {FOLDER}. Get them with: .ci/operator-crds")
    made: Object = yaml.safe_load(file.read_text())
    return made
