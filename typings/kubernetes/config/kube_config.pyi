from kubernetes.client import Configuration

class ConfigNode: ...

class KubeConfigMerger:
    def __init__(self, paths: str) -> None: ...
    @property
    def config(self) -> ConfigNode | None: ...

class KubeConfigLoader:
    def __init__(
        self,
        config_dict: ConfigNode,
        active_context: str | None = ...,
        *,
        config_base_path: str | None = ...,
        temp_file_path: str | None = ...,
    ) -> None: ...
    @property
    def current_context(self) -> dict[str, dict[str, str]]: ...
    def load_and_set(self, client_configuration: Configuration) -> None: ...
