class Configuration:
    host: str
    ssl_ca_cert: str | None
    cert_file: str | None
    key_file: str | None
    verify_ssl: bool
    tls_server_name: str | None
    proxy: str | None
    def __init__(self) -> None: ...
    def get_api_key_with_prefix(self, identifier: str, alias: str | None = ...) -> str | None: ...
