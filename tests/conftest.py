"""What all rings of tests share: the real parts, each started at most once for a whole run."""

pytest_plugins = [
    "tests.doubles.key_vault_fixtures",
    "tests.real.control_plane",
    "tests.real.key_vault",
    "tests.real.openbao",
]
