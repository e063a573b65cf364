"""Three real processes and one lease: whatever befalls the leader, never do two write, and soon another one does."""

import random
from pathlib import Path

from secrets_manager.config import LeaseConfig
from tests.process.replicas import cut_off, kill, pause, running_replicas, stop
from tests.real.cluster import ControlPlane
from tests.real.openbao import OpenBao

QUICK = LeaseConfig(duration=3.0, renew_deadline=2.0, retry_period=0.4)


def test_one_writes_at_a_time_and_another_follows_soon(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with running_replicas(control_plane, openbao, tmp_path, QUICK) as replicas:
        for happens in (kill, pause, cut_off):
            replicas.busy_for(random.uniform(0, 2 * QUICK.retry_period))
            leader = replicas.leader

            took = replicas.followed(leader, happens)

            assert took <= QUICK.duration + QUICK.retry_period + 1
            if happens is not kill:
                assert leader.ended() == 1
            leader.start()
        replicas.busy_for(0.5)
        assert len(set(replicas.terms)) == len(replicas.terms)


def test_a_standby_takes_over_at_once_from_one_that_stops_without_a_login_and_without_a_list(
    control_plane: ControlPlane, openbao: OpenBao, tmp_path: Path
) -> None:
    with running_replicas(control_plane, openbao, tmp_path, QUICK) as replicas:
        logins, seen = openbao.count("POST", "auth/approle/login"), len(replicas.seen)

        took = replicas.followed(replicas.leader, stop)
        replicas.busy_for(0.5)

        assert took <= QUICK.retry_period + 1
        assert openbao.count("POST", "auth/approle/login") == logins
        assert [each.target for each in replicas.seen[seen:] if "limit=" in each.target] == []
        assert len(set(replicas.terms)) == len(replicas.terms)
