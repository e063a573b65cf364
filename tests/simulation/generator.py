"""Generate the plan of a seed by swarm testing: each seed enables a random subset of all actions, faults and names.

Each plan has one more fault window, for the pair of fault and step whose turn it is (targeting.py).
"""

from collections.abc import Callable
from typing import TypeVar

from secrets_manager.config import LeaseConfig
from tests.simulation.draws import Draws
from tests.simulation.environment import Action
from tests.simulation.faults import CRASHES, KINDS
from tests.simulation.invariants import PINNED
from tests.simulation.nemesis import ClockSkew, EndWatches, Kill, Partition, Pause, RevokeTokens, Terminate, WhileDown
from tests.simulation.plan import Event, FaultWindow, Plan, ScheduledAction, Settings
from tests.simulation.servers import COMMON, ELSEWHERE, FOLDERS
from tests.simulation.targeting import targeted_events, targeted_settings
from tests.simulation.workload import (
    EDITS,
    FOREIGN,
    MERGE,
    ORPHAN,
    Annotate,
    ApplyKeys,
    Break,
    ChangePolicy,
    Contend,
    CopySecret,
    CreateForeign,
    CreateWorkload,
    Define,
    DeleteCrd,
    DeleteDefinition,
    DeleteNamespace,
    DeletePath,
    DeleteSecret,
    DeleteVersion,
    DeleteWorkload,
    DocumentSource,
    Edit,
    KeySource,
    Mark,
    Name,
    OverwriteStatus,
    Rename,
    Rotate,
    SetPolicy,
    Templated,
    UndeleteVersion,
)

T = TypeVar("T")
Draw = Callable[[Draws], Action]

IN_FOLDER = ("one", "two", "three", "four")
LEASES = (
    LeaseConfig(enabled=True),
    LeaseConfig(enabled=True, duration=30.0, renew_deadline=20.0, retry_period=5.0),
    LeaseConfig(enabled=True, duration=60.0, renew_deadline=40.0, retry_period=10.0),
)
PLAIN = (("k1", "", ""), ("k1", "", ""), ("k2", "", ""))
ENCODED = (("base64", "base64", ""), ("base64", "", ""), ("json", "", "inner"), ("k1", "base64", ""), ("none", "", ""))
"""Field, encoding and property of a source; the last two can not be read."""
IDLE_REQUESTS = 1000
"""About so many requests an idle stretch may cost."""
LATENCIES = (0.0, 0.0, 0.0, 0.005, 0.3)
OF_OTHERS, WORKLOADS = 2, 2
"""The number of names of each in a namespace."""
SHARING = 2
"""So many definitions of a namespace have the same names of keys, and may want one key of a Secret. Only the first of
these may adopt, since two that do, and merge, would fight over a key for ever."""
ADOPTING = (0, 2, 3)
"""The definitions that may adopt."""
POLICIES = ("", MERGE, MERGE, ORPHAN, ORPHAN)
MARKS = ((), (), (), ("team",), ("tier",), ("team", "tier"))
FILTERS = (
    *[((), ())] * 6,
    *[(("k*",), ()), (("k*", "json"), ("k2",)), ((), ("json",))] * 3,
    (("nothing",), ()),
)
"""Globs of dataFrom, to include and to exclude."""


def generate(seed: int) -> Plan:
    """Return the plan of a seed."""
    random = Draws(seed)
    settings = targeted_settings(seed, _settings(random), random)
    settings = settings._replace(idle=_idle(random, settings))
    events: list[Event] = [*_initial_actions(random), *_actions(random, settings), *_fault_windows(random, settings)]
    events += targeted_events(seed, settings, random)
    return Plan(seed, settings, tuple(sorted(events, key=lambda event: event.at)))


def _settings(random: Draws) -> Settings:
    replicas = random.choice((1, 1, 1, 1, 2, 2, 3))
    return Settings(
        replicas=replicas,
        lease=random.choice((*LEASES, LEASES[-1], LEASES[-1]))
        if replicas > 1 or random.random() < 0.3
        else LeaseConfig(),
        workers=random.choice((1, 2, 16)),
        period=random.choice((5.0, 5.0, 30.0, 60.0, 60.0, 300.0)),
        list_period=random.choice((0.0, 1.0, 5.0, 10.0)),
        by_namespace=random.random() < 0.25,
        restricted=random.random() < 0.25,
        token_ttl=random.choice((60, 600, 3600)),
        token_max_ttl=random.choice((0, 0, 300, 900)),
        token_polling_period=random.choice((15.0, 15.0, 5.0, 120.0)),
        backend_concurrency=random.choice((16, 16, 2, 1)),
        lists=random.random() < 0.75,
        latency_to_kubernetes=random.choice(LATENCIES),
        latency_to_vault=random.choice(LATENCIES),
        restart=random.choice((0.5, 5.0, 30.0)),
        collected_every=random.choice((0.0, 0.0, 2.0, 20.0)),
        api_servers=random.choice(((0.0,), (0.0, 0.0, 0.0), (0.0, 0.5), (0.0, 3.0, 12.0))),
        duration=random.uniform(200.0, 600.0),
        rounds=random.choice((1, 1, 2)),
        list_batch=random.choice((15, 2, 1)),
    )


def _idle(random: Draws, settings: Settings) -> float:
    """Return up to four hours, as long as the program sends few requests at rest."""
    if random.random() < 0.7:
        return 0.0
    lists = settings.lists and settings.list_period
    rate = 3 / settings.list_period if lists else 12 / settings.period
    rate += settings.replicas / settings.token_polling_period
    rate += settings.replicas / settings.lease.retry_period if settings.lease.enabled else 0.0
    return min(4 * 3600.0, IDLE_REQUESTS / rate)


def _name(random: Draws, namespace: str = "") -> Name:
    namespace = namespace or random.choice(random.namespaces)
    return Name(namespace, f"{namespace}-d{random.randrange(random.definitions)}")


def _secret(random: Draws, namespace: str = "") -> Name:
    namespace = namespace or random.choice(random.namespaces)
    if random.random() < 0.25:
        return _of_others(random, namespace)
    return Name(namespace, f"{namespace}-s{random.randrange(random.secrets)}")


def _of_others(random: Draws, namespace: str = "") -> Name:
    """Return a Secret that no definition has by its own number."""
    namespace = namespace or random.choice(random.namespaces)
    return Name(namespace, f"{namespace}-t{random.randrange(OF_OTHERS)}")


def _workload(random: Draws) -> Name:
    namespace = random.choice(random.namespaces)
    return Name(namespace, f"{namespace}-w{random.randrange(WORKLOADS)}")


def _suffix(name: Name) -> str:
    """Return the end of the keys of a definition; see SHARING."""
    return "" if int(name.name[-1]) < SHARING else name.name[-1]


def _adopting(random: Draws) -> Name:
    namespace = random.choice(random.namespaces)
    return Name(namespace, f"{namespace}-d{random.choice(ADOPTING)}")


def _path(random: Draws, folder: str = "") -> str:
    return f"{folder or random.choice(random.folders)}/{random.choice(IN_FOLDER)}"


def _key_source(key: str, path: str, random: Draws) -> KeySource:
    field, encoding, property_ = random.choice(PLAIN if random.random() < 0.8 else ENCODED)
    if random.random() < 0.9:
        return KeySource(key, path, field, 0, encoding, property_)
    return KeySource(f"{key}-{PINNED}", path, field, random.choice((1, 1, 2)), encoding, property_)


def _copy(random: Draws) -> CopySecret:
    secret = _secret(random)
    taken = random.random() < 0.3
    return CopySecret(secret, _secret(random, secret.namespace).name if taken else f"{secret.namespace}-copy")


def _document(name: Name, path: str, random: Draws) -> DocumentSource:
    suffix = _suffix(name)
    if random.random() < 0.1:
        return DocumentSource(path, random.choice((1, 1, 2)), prefix=f"{PINNED}{suffix}-")
    if random.random() < 0.1:
        return DocumentSource(path, include=("base64",), encoding="base64", prefix=f"e{suffix}-")
    include, exclude = random.choice(FILTERS)
    renamed = random.choice(("", "", "", f"a{suffix}", f"renamed{suffix}"))
    prefix = f"d{suffix}-" if suffix else random.choice(("", "d-"))
    return DocumentSource(path, 0, include, exclude, renamed, prefix)


def _define(random: Draws) -> Define:
    name = _name(random)
    folders = (name.namespace,) * 6 + (COMMON,) * 3 + (ELSEWHERE,)

    def path() -> str:
        return _path(random, random.choice(folders))

    suffix = _suffix(name)
    keys = tuple(
        _key_source(f"{key}{suffix}", path(), random) for key in random.choice((("a",), ("a", "b"), ("a", "b", "c")))
    )
    policy = random.choice(POLICIES) if random.random() < 0.5 else ""
    own = f"{name.namespace}-s{name.name[-1]}"
    secret = own if random.random() < 0.8 else _secret(random, name.namespace).name
    adopts = int(name.name[-1]) in ADOPTING and random.random() < 0.3
    if adopts and random.random() < 0.5:  # what may be another one's
        secret = f"{name.namespace}-s{random.randrange(random.definitions)}"
    if policy == MERGE and random.random() < 0.8:
        secret = _of_others(random, name.namespace).name
    define = Define(
        name,
        secret,
        keys if random.random() < 0.9 else (),
        interval=random.choice(("", "", "", "30s", "1m")),
        adopt=adopts,
        inherited=random.random() < (0.4 if policy == ORPHAN else 0.1),
        documents=tuple(_document(name, path(), random) for _ in range(random.choice((0, 0, 0, 0, 1, 2)))),
        template=_template(suffix, path, random) if random.random() < 0.2 else None,
        policy=policy,
    )
    if not (define.keys or define.documents or define.template):
        define = define._replace(keys=keys)
    if policy == MERGE:
        return define
    return define._replace(
        type=random.choice(("", "", "", "example.com/custom")),
        immutable=random.random() < 0.1,
        marks=random.choice(MARKS),
        copies=random.random() < 0.8,
        targets=random.choice(((), (), (f"{name.namespace}-w0",), tuple(f"{name.namespace}-w{n}" for n in range(2)))),
    )


def _template(suffix: str, path: Callable[[], str], random: Draws) -> Templated:
    paths = tuple(path() for _ in range(random.choice((1, 2))))
    field = random.choice(("base64", "json", "k2", "none")) if random.random() < 0.2 else random.choice(("k1", "k2"))
    return Templated(f"t{suffix}", paths, field)


def _rename(random: Draws) -> Rename:
    name = _name(random)
    return Rename(name, _secret(random, name.namespace).name)


def _policy(random: Draws) -> ChangePolicy:
    return ChangePolicy(_name(random), random.choice(("", ORPHAN, MERGE)))


def _foreign(name: Name, random: Draws) -> CreateForeign:
    return CreateForeign(name, random.choice(("plain", "plain", "with a key of ours")))


def _apply_keys(random: Draws) -> ApplyKeys:
    keys = random.choice((("theirs",), ("more", "theirs"), ("a",), ("a", "more"), ()))
    return ApplyKeys(_of_others(random), keys, alike=random.random() < 0.3)


def _while_down(random: Draws) -> WhileDown:
    names = ("define", "rename", "policy", "undefine", "undefine", "remove", "edit", "apply")
    return WhileDown(USERS[random.choice(names)](random))


def _rotate_many(random: Draws) -> Rotate:
    paths = [f"{folder}/{name}" for folder in random.folders for name in IN_FOLDER]
    random.shuffle(paths)
    return Rotate(tuple(paths * 2))


USERS: dict[str, Draw] = {
    "define": _define,
    "rename": _rename,
    "force": lambda random: Annotate(_name(random), "force-sync", f"{random.random()}"),
    "policy": _policy,
    "mark": lambda random: Mark(_name(random), random.choice(("team", "tier")), random.choice(("copied", None))),
    "break": lambda random: Break(_name(random), repaired=random.random() < 0.5),
    "adopt": lambda random: Annotate(_adopting(random), "adopt", random.choice(("true", None))),
    "undefine": lambda random: DeleteDefinition(_name(random), inherited=random.random() < 0.2),
    "spoil status": lambda random: OverwriteStatus(_name(random)),
    "edit": lambda random: Edit(_secret(random), random.choice(sorted(EDITS))),
    "remove": lambda random: DeleteSecret(_secret(random)),
    "foreign": lambda random: CreateForeign(_secret(random), random.choice(sorted(FOREIGN))),
    "foreign of others": lambda random: _foreign(_of_others(random), random),
    "apply": _apply_keys,
    "workload goes": lambda random: DeleteWorkload(_workload(random)),
    "workload comes": lambda random: CreateWorkload(_workload(random)),
    "copy": _copy,
    "contend": lambda random: Contend(
        _secret(random), random.choice(("a value", "a key more", "the label", "the owner")),
        random.choice((0.3, 2.0, 10.0)), random.choice((3, 10, 120)),
    ),
    "namespace goes": lambda random: DeleteNamespace(random.choice(random.namespaces), random.choice((0.0, 3.0, 60.0))),
    "crd goes": lambda random: DeleteCrd(random.choice((0.0, 3.0, 60.0))),
    "rotate": lambda random: Rotate((_path(random),)),
    "rotate many": _rotate_many,
    "delete version": lambda random: DeleteVersion(_path(random)),
    "undelete version": lambda random: UndeleteVersion(_path(random)),
    "forget path": lambda random: DeletePath(_path(random)),
    "allow": lambda random: SetPolicy(random.choice(random.folders), random.random() < 0.7, random.random() < 0.7),
}  # fmt: skip
MACHINES: dict[str, Draw] = {
    "kill": lambda random: Kill(random.randrange(3)),
    "while down": _while_down,
    "terminated": lambda random: Terminate(random.randrange(3)),
    "paused": lambda random: Pause(random.randrange(3), random.choice((0.5, 5.0, 20.0, 60.0))),
    "partition": lambda random: Partition(random.randrange(3), random.choice((1.0, 12.0, 60.0))),
    "clock skew": lambda random: ClockSkew(random.randrange(3), random.choice((-3600.0, -5.0, 5.0, 86400.0))),
    "revoke tokens": lambda _: RevokeTokens(),
    "watches end": lambda random: EndWatches(random.random() < 0.5),
}
RARE = ("namespace goes", "crd goes", "rotate many")
"""At most twice in a run, since they undo most of what happened before."""


def _initial_actions(random: Draws) -> list[Event]:
    """Fill most paths, and create some definitions."""
    paths = tuple(f"{folder}/{name}" for folder in FOLDERS for name in IN_FOLDER if random.random() < 0.9)
    first: list[Event] = [ScheduledAction(0.0, Rotate(paths))]
    for namespace in random.namespaces:
        names = [Name(namespace, f"{namespace}-t{number}") for number in range(OF_OTHERS)]
        others: list[Action] = [_foreign(name, random) for name in names]
        names = [Name(namespace, f"{namespace}-w{number}") for number in range(WORKLOADS)]
        workloads: list[Action] = [CreateWorkload(name) for name in names]
        first += [ScheduledAction(0.0, action) for action in (*others, *workloads) if random.random() < 0.9]
    return first + [ScheduledAction(0.0, _define(random)) for _ in range(random.randrange(3, 9))]


def _actions(random: Draws, settings: Settings) -> list[Event]:
    kinds = USERS | (MACHINES if random.random() < 0.6 else {})
    used = [name for name in kinds if random.random() < 0.4] or ["define"]
    gap = random.choice((2.0, 6.0, 20.0))
    events: list[Event] = []
    rare = 0
    at = random.uniform(0.0, 10.0)
    while at < settings.duration:
        name = random.choice(used)
        rare += name in RARE
        if name not in RARE or rare <= 2:
            events.append(ScheduledAction(at, kinds[name](random)))
        at += random.expovariate(1 / gap)
    return events


def _fault_windows(random: Draws, settings: Settings) -> list[Event]:
    kinds = random.sample(sorted(KINDS), random.choice((0, 2, 4, 8)))
    events: list[Event] = []
    for kind in kinds:
        for _ in range(random.choice((1, 2, 4))):
            at = random.uniform(0.0, settings.duration)
            seconds = min(random.expovariate(1 / 60.0), settings.duration - at)
            steps = KINDS[kind].steps
            some = steps if random.random() < 0.3 else tuple(random.sample(steps, min(len(steps), 2)))
            replica = random.randrange(3) if random.random() < 0.3 else None
            server = random.randrange(len(settings.api_servers)) if random.random() < 0.3 else None
            events.append(FaultWindow(at, seconds, kind, some, _rate(kind, random), replica, server))
    return events


def _rate(kind: str, random: Draws) -> float:
    """Keep crashes rare, so that other faults have their time."""
    if kind in CRASHES:
        return random.choice((0.02, 0.1))
    return random.choice((0.05, 0.3, 1.0))
