"""A seed leads to a plan, by swarm testing: each seed draws which kinds of actions and of faults it uses at all.

Every plan has one bout more, of the pair of fault and step whose turn it is: so no situation is left out for long.
"""

from collections.abc import Callable
from random import Random
from typing import TypeVar

from secrets_manager.config import LeaseConfig
from tests.simulation.faults import KINDS, PAIRS
from tests.simulation.machines import ClockJumps, CutOff, Killed, Paused, Stopped, TokensDie, WatchesEnd
from tests.simulation.people import (
    EDITS,
    FOREIGN,
    Allow,
    Annotate,
    CrdGoes,
    Define,
    DeleteVersion,
    Edit,
    Fight,
    Foreign,
    ForgetPath,
    Name,
    NamespaceGoes,
    Remove,
    Rename,
    Rotate,
    SpoilStatus,
    Undefine,
    UndeleteVersion,
)
from tests.simulation.plan import Act, Bout, Event, Plan, Settings
from tests.simulation.servers import COMMON, ELSEWHERE, FOLDERS, NAMESPACES
from tests.simulation.stage import Action

T = TypeVar("T")
Draw = Callable[[Random], Action]

IN_FOLDER = ("one", "two", "three", "four")
LEASES = (
    LeaseConfig(enabled=True),
    LeaseConfig(enabled=True, duration=30.0, renew_deadline=20.0, retry_period=5.0),
    LeaseConfig(enabled=True, duration=60.0, renew_deadline=40.0, retry_period=10.0),
)
ROADS = (0.0, 0.0, 0.0, 0.005, 0.3)
DEFINITIONS, SECRETS = 4, 5
"""So many names there are of each in a namespace."""


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    random = Random(f"plan {seed}")
    settings = _settings(random)
    events: list[Event] = [*_beginning(random), *_actions(random, settings), *_bouts(random, settings)]
    kind, step = PAIRS[seed % len(PAIRS)]
    at = random.uniform(0.0, settings.duration / 2)
    events.append(Bout(at, random.uniform(10.0, settings.duration / 2), kind, (step,), _rate(kind, random)))
    return Plan(seed, settings, tuple(sorted(events, key=lambda event: event.at)))


def _settings(random: Random) -> Settings:
    replicas = random.choice((1, 1, 1, 1, 2, 2, 3))
    return Settings(
        replicas=replicas,
        lease=random.choice((*LEASES, LEASES[-1])) if replicas > 1 or random.random() < 0.3 else LeaseConfig(),
        workers=random.choice((1, 2, 16)),
        period=random.choice((5.0, 30.0, 60.0, 60.0, 60.0)),
        list_period=random.choice((0.0, 1.0, 5.0, 10.0)),
        by_namespace=random.random() < 0.25,
        restricted=random.random() < 0.25,
        token_ttl=random.choice((60, 600, 3600)),
        token_max_ttl=random.choice((0, 0, 300, 900)),
        lists=random.random() < 0.75,
        road_to_kubernetes=random.choice(ROADS),
        road_to_vault=random.choice(ROADS),
        restart=random.choice((0.5, 5.0, 30.0)),
        collected_every=random.choice((0.0, 0.0, 2.0, 20.0)),
        duration=random.uniform(200.0, 600.0),
    )


def _name(random: Random, namespace: str = "") -> Name:
    namespace = namespace or random.choice(NAMESPACES)
    return Name(namespace, f"{namespace}-d{random.randrange(DEFINITIONS)}")


def _secret(random: Random, namespace: str = "") -> Name:
    namespace = namespace or random.choice(NAMESPACES)
    return Name(namespace, f"{namespace}-s{random.randrange(SECRETS)}")


def _path(random: Random, folder: str = "") -> str:
    return f"{folder or random.choice(FOLDERS)}/{random.choice(IN_FOLDER)}"


def _define(random: Random) -> Define:
    name = _name(random)
    folders = (name.namespace,) * 6 + (COMMON,) * 3 + (ELSEWHERE,)
    keys = tuple(
        (key, _path(random, random.choice(folders)), random.choice(("k1", "k1", "k2")))
        for key in random.choice((("a",), ("a", "b"), ("a", "b", "c")))
    )
    own = f"{name.namespace}-s{name.name[-1]}"
    return Define(
        name,
        own if random.random() < 0.8 else _secret(random, name.namespace).name,
        keys,
        type=random.choice(("", "", "", "example.com/custom")),
        interval=random.choice(("", "", "", "30s", "1m")),
        adopt=random.random() < 0.1,
        inherited=random.random() < 0.1,
    )


def _rename(random: Random) -> Rename:
    name = _name(random)
    return Rename(name, _secret(random, name.namespace).name)


def _rotate_many(random: Random) -> Rotate:
    paths = [f"{folder}/{name}" for folder in FOLDERS for name in IN_FOLDER]
    random.shuffle(paths)
    return Rotate(tuple(paths * 2))


PEOPLE: dict[str, Draw] = {
    "define": _define,
    "rename": _rename,
    "force": lambda random: Annotate(_name(random), "force-sync", f"{random.random()}"),
    "adopt": lambda random: Annotate(_name(random), "adopt", random.choice(("true", None))),
    "undefine": lambda random: Undefine(_name(random)),
    "spoil status": lambda random: SpoilStatus(_name(random)),
    "edit": lambda random: Edit(_secret(random), random.choice(sorted(EDITS))),
    "remove": lambda random: Remove(_secret(random)),
    "foreign": lambda random: Foreign(_secret(random), random.choice(sorted(FOREIGN))),
    "fight": lambda random: Fight(
        _secret(random), random.choice(("a value", "a key more", "the label", "the owner")),
        random.choice((0.3, 2.0, 10.0)), random.choice((3, 10, 120)),
    ),
    "namespace goes": lambda random: NamespaceGoes(random.choice(NAMESPACES), random.choice((0.0, 3.0, 60.0))),
    "crd goes": lambda random: CrdGoes(random.choice((0.0, 3.0, 60.0))),
    "rotate": lambda random: Rotate((_path(random),)),
    "rotate many": _rotate_many,
    "delete version": lambda random: DeleteVersion(_path(random)),
    "undelete version": lambda random: UndeleteVersion(_path(random)),
    "forget path": lambda random: ForgetPath(_path(random)),
    "allow": lambda random: Allow(random.choice(FOLDERS), random.random() < 0.7, random.random() < 0.7),
}  # fmt: skip
MACHINES: dict[str, Draw] = {
    "killed": lambda random: Killed(random.randrange(3)),
    "stopped": lambda random: Stopped(random.randrange(3)),
    "paused": lambda random: Paused(random.randrange(3), random.choice((0.5, 5.0, 20.0, 60.0))),
    "cut off": lambda random: CutOff(random.randrange(3), random.choice((1.0, 12.0, 60.0))),
    "clock jumps": lambda random: ClockJumps(random.randrange(3), random.choice((-3600.0, -5.0, 5.0, 86400.0))),
    "tokens die": lambda _: TokensDie(),
    "watches end": lambda random: WatchesEnd(random.random() < 0.5),
}
RARE = ("namespace goes", "crd goes", "rotate many")
"""Once or twice in a run at most: they leave little of it to others."""


def _beginning(random: Random) -> list[Event]:
    """Most paths hold something, and some definitions are there."""
    paths = tuple(f"{folder}/{name}" for folder in FOLDERS for name in IN_FOLDER if random.random() < 0.9)
    first: list[Event] = [Act(0.0, Rotate(paths))]
    return first + [Act(0.0, _define(random)) for _ in range(random.randrange(3, 9))]


def _actions(random: Random, settings: Settings) -> list[Event]:
    kinds = PEOPLE | (MACHINES if random.random() < 0.6 else {})
    used = [name for name in kinds if random.random() < 0.4] or ["define"]
    gap = random.choice((2.0, 6.0, 20.0))
    events: list[Event] = []
    rare = 0
    at = random.uniform(0.0, 10.0)
    while at < settings.duration:
        name = random.choice(used)
        rare += name in RARE
        if name not in RARE or rare <= 2:
            events.append(Act(at, kinds[name](random)))
        at += random.expovariate(1 / gap)
    return events


def _bouts(random: Random, settings: Settings) -> list[Event]:
    kinds = random.sample(sorted(KINDS), random.choice((0, 2, 4, 8)))
    events: list[Event] = []
    for kind in kinds:
        for _ in range(random.choice((1, 2, 4))):
            at = random.uniform(0.0, settings.duration)
            seconds = min(random.expovariate(1 / 60.0), settings.duration - at)
            steps = KINDS[kind].steps
            some = steps if random.random() < 0.3 else tuple(random.sample(steps, min(len(steps), 2)))
            replica = random.randrange(3) if random.random() < 0.3 else None
            events.append(Bout(at, seconds, kind, some, _rate(kind, random), replica))
    return events


def _rate(kind: str, random: Random) -> float:
    """Deaths are rare, or nothing else would be seen."""
    if kind in ("killed before", "killed after", "stopped", "paused", "cut off"):
        return random.choice((0.02, 0.1))
    return random.choice((0.05, 0.3, 1.0))
