"""What all rings of tests share: the real parts, each started at most once for a whole run."""

pytest_plugins = ["tests.real.control_plane", "tests.real.openbao"]
