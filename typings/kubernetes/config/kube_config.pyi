from collections.abc import Mapping

from kubernetes.client import Configuration

class ConfigNode:
    def __init__(self, name: str, value: Mapping[str, object], path: str | None = None) -> None: ...

class KubeConfigLoader:
    def __init__(self, config_dict: Mapping[str, object]) -> None: ...
    def load_and_set(self, client_configuration: Configuration) -> None: ...
