"""Whatever a role grants and the flags say: the token never dies, and Vault is not asked more than it takes."""

import math
from typing import NamedTuple

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.backends.vault.harness import gaps_of, token_manager_of
from tests.doubles.vault import VaultState


class Setting(NamedTuple):
    """What a role grants, and what the flags say."""

    token_ttl: int
    token_max_ttl: int
    token_period: int
    token_type: str
    polling_period: float
    max_token_ttl: float

    @property
    def life(self) -> float:
        return self.token_period or min(self.token_ttl, self.token_max_ttl or math.inf)


ttls = st.integers(min_value=4, max_value=5000)
settings_of_all_kinds = st.builds(
    Setting,
    token_ttl=ttls,
    token_max_ttl=st.just(0) | ttls,
    token_period=st.just(0) | ttls,
    token_type=st.sampled_from(["service", "batch"]),
    polling_period=st.floats(min_value=1, max_value=120),
    max_token_ttl=st.floats(min_value=0, max_value=900),
)


@settings(max_examples=25)
@given(setting=settings_of_all_kinds)
def test_token_never_dies_and_requests_stay_few(setting: Setting) -> None:
    async def main() -> tuple[int, int]:
        vault = VaultState()
        credentials = vault.approle(
            "app",
            token_ttl=setting.token_ttl,
            token_max_ttl=setting.token_max_ttl,
            token_period=setting.token_period,
            token_type=setting.token_type,
        )
        async with token_manager_of(
            vault, credentials, max_token_ttl=setting.max_token_ttl, token_polling_period=setting.polling_period
        ) as token_manager:
            gaps = await gaps_of(token_manager, vault, seconds=200)
        return gaps, len(vault.requests)

    gaps, requests = trio.run(main, clock=MockClock(autojump_threshold=0))

    assert gaps == 0
    checks = 200 / min(setting.polling_period, setting.life / 9)
    assert requests <= 3 * checks + 5
