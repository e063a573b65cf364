"""How long it takes until another replica writes: three real processes, whose leader is killed, stopped or cut off.

    .venv/bin/python -m benchmarks.take_over --rounds 20

At random times, with client-go's durations unless flags are given. It ends with an error as soon as two have written at
once, or a stopped process has written one thing more after it was followed.
"""

import argparse
import random
import tempfile
from pathlib import Path

from secrets_manager.config import LeaseConfig
from tests.process.replicas import Replicas, cut_off, kill, pause, running_replicas
from tests.real.cluster import assets, running_cluster
from tests.real.openbao import running_openbao

DEFAULTS = LeaseConfig()


class Options(argparse.Namespace):
    rounds: int
    duration: float
    renew_deadline: float
    retry_period: float


def main() -> None:
    options = parser().parse_args(namespace=Options())
    lease = LeaseConfig(
        duration=options.duration, renew_deadline=options.renew_deadline, retry_period=options.retry_period
    )
    binaries = assets()
    assert binaries, "no control plane: get it by `just envtest`"
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as made,
        running_cluster(binaries) as cluster,
        running_openbao(Path(made)) as bao,
        running_replicas(cluster, bao, Path(made), lease) as replicas,
    ):
        took = [one_round(number, replicas) for number in range(options.rounds)]
    bound = lease.duration + lease.retry_period + 1
    print(f"longest {max(took):.2f} s, shortest {min(took):.2f} s, of {len(took)}; may take {bound:g} s")


def one_round(number: int, replicas: Replicas) -> float:
    """Seconds from what happened to the leader until the first write of another one."""
    happens = random.choice((kill, pause, cut_off))
    replicas.busy_for(random.uniform(0, 2 * replicas.lease.retry_period))
    leader = replicas.leader
    took = replicas.followed(leader, happens)
    replicas.busy_for(random.uniform(0, replicas.lease.retry_period))
    code = None if happens is kill else leader.ended()
    leader.start()
    leader.program.ready()
    replicas.busy_for(1.0)
    print(f"{number + 1:3}  {happens.__name__:8} {took:6.2f} s, exit code {code}", flush=True)
    if len(set(replicas.terms)) != len(replicas.terms):
        raise SystemExit(f"two wrote at once: {replicas.terms}")
    return took


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks.take_over", description=__doc__)
    made.add_argument("--rounds", type=int, default=20)
    made.add_argument("--duration", type=float, default=DEFAULTS.duration, help="seconds, of the lease")
    made.add_argument("--renew-deadline", type=float, default=DEFAULTS.renew_deadline, help="seconds")
    made.add_argument("--retry-period", type=float, default=DEFAULTS.retry_period, help="seconds")
    return made


if __name__ == "__main__":
    main()
