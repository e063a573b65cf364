"""What all rings of tests share: real parts, each started at most once for a whole run, and how examples are drawn."""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = [
    "tests.doubles.key_vault_fixtures",
    "tests.rings",
    "tests.real.control_plane",
    "tests.real.key_vault",
    "tests.real.openbao",
]

# Nothing here depends on how fast the machine is. By hand each run draws other examples, and what failed once is kept
# and tried first; in CI the examples follow from the test alone, so that one commit always gets one verdict.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("local"), derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if "CI" in os.environ else "local")
