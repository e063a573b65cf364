"""Keeps each Secret as it is wanted, at a pace that nobody can drive up.

It remembers what it brought about, so a foreign change is told from a change of what is wanted. contention.py says when
to write, secret_writer.py writes.
"""

from typing import NamedTuple

import trio

from secrets_manager.controller.contender import contended
from secrets_manager.controller.contention import Calm, Fields, Look, State, step
from secrets_manager.controller.decision import lacking
from secrets_manager.controller.definition import SecretDefinition
from secrets_manager.controller.desired import Desired
from secrets_manager.controller.metadata import LAST_UPDATE
from secrets_manager.controller.ownership import Claim
from secrets_manager.controller.problem import Problem
from secrets_manager.controller.secret import CurrentSecret
from secrets_manager.controller.secret_writer import SecretWriter
from secrets_manager.kube.objects import ObjectKey
from secrets_manager.kube.store import Store


class Written(NamedTuple):
    """The Secret is as it should be.

    Whether it was written, by what right, whether that undid a foreign change, and what Kubernetes warned of; the time
    of its last write, as it says itself; and the copies of it that somebody has made.
    """

    wrote: bool
    claim: Claim
    reverted: bool
    warning: str
    at: str
    copies: list[CurrentSecret]


class Slowed(NamedTuple):
    """Somebody works against us: what to tell, and in how many seconds to look again."""

    problem: Problem
    wait: float


class _Contest(NamedTuple):
    """Who works against us, and which fields lacked something when that was asked."""

    problem: Problem
    fields: Fields


class _Known(NamedTuple):
    """What was last brought about for a definition, and what others made of it."""

    definition: SecretDefinition
    name: str
    digest: bytes
    state: State = Calm()
    contest: _Contest | None = None


class _Course(NamedTuple):
    """How it went until there was nothing to write, or not now."""

    state: State
    wait: float | None
    look: Look
    fields: Fields
    current: CurrentSecret | None
    claim: Claim = Claim.OWNED
    wrote: bool = False
    warning: str = ""


class SecretKeeper:
    """Decides and has written, one definition at a time."""

    def __init__(self, secrets: Store[CurrentSecret], writer: SecretWriter) -> None:
        self._secrets = secrets
        self._writer = writer
        self._known: dict[ObjectKey, _Known] = {}

    async def keep(self, definition: SecretDefinition, desired: Desired) -> Written | Slowed | Problem:
        """Bring about what is desired, then remove what this definition once had under another name.

        Raises: KubeError where a retry can help.
        """
        before = self._known.get(definition.key)
        if before is not None and before.definition.metadata.uid != definition.metadata.uid:
            before = None
        now = _Known(definition, desired.name, desired.digest)
        if before is not None and before.name == desired.name:
            now = now._replace(state=before.state, contest=before.contest)
        course = await self._course(before, now, desired)
        if isinstance(course, Problem):
            return course
        now = now._replace(state=course.state, contest=None if course.wait is None else now.contest)
        self._known[definition.key] = now
        copies = await self._writer.remove_leftovers(definition, desired) if course.current is not None else []
        if course.wait is not None:
            return Slowed(await self._problem(now, desired, course), course.wait)
        reverted = _still_wanted(before, definition, desired)
        at = course.current.metadata.annotations.get(LAST_UPDATE, "") if course.current is not None else ""
        return Written(course.wrote, course.claim, reverted, course.warning, at, copies)

    async def delete_last(self, definition: SecretDefinition, name: str) -> None:
        """Delete the Secret of a definition that goes, if it is ours to delete.

        Raises: KubeError where a retry can help.
        """
        await self._writer.delete_last(definition, ObjectKey(definition.metadata.namespace, name))

    def forget(self, key: ObjectKey) -> None:
        """The definition is gone."""
        self._known.pop(key, None)

    async def _course(self, before: _Known | None, now: _Known, desired: Desired) -> _Course | Problem:
        """Look, and write as long as that is the next step. A course that fails leaves what is known as it was."""
        definition = now.definition
        look = Look.FOUND if _still_wanted(before, definition, desired) else Look.WANTED
        current = self._secrets.get(ObjectKey(definition.metadata.namespace, desired.name))
        state, claim, wrote, warning = now.state, Claim.OWNED, False, ""
        while True:
            decision = self._writer.decide(definition, desired, current)
            if isinstance(decision, Problem):
                return decision
            fields = lacking(definition, desired, current)
            state, wait = step(state, look, fields, trio.current_time())
            if decision is None or wait != 0:
                return _Course(state, wait, look, fields, current, claim, wrote, warning)
            reply = await self._writer.write(definition, desired, decision, seen_before=before is not None)
            if isinstance(reply, Problem):
                return reply
            current, claim, wrote, warning = reply.secret, reply.claim, wrote or reply.wrote, reply.warning
            look = Look.ANSWERED

    async def _problem(self, known: _Known, desired: Desired, course: _Course) -> Problem:
        """What to tell of the contest: asked once, and again where other fields come to lack something."""
        contest = known.contest
        if contest is None or (course.fields and course.fields != contest.fields):
            definition = known.definition
            seen = await self._writer.look_closely(definition, definition.key._replace(name=known.name))
            by_admission = course.look is Look.ANSWERED
            problem = contended(definition, desired, seen, by_admission=by_admission)
            contest = _Contest(problem, course.fields)
            self._known[definition.key] = known._replace(contest=contest)
        return contest.problem


def _still_wanted(known: _Known | None, definition: SecretDefinition, desired: Desired) -> bool:
    """Whether nothing is wanted but what was brought about before."""
    return known is not None and known.digest == desired.digest and known.definition.wants_the_same_as(definition)
