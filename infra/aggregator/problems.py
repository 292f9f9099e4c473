"""What is wrong, since when, and who was told: a silent site, a paused shape, an overdue demand and the like. Pure.

A problem's id follows from what is wrong and not from who noticed it when, so that doubled runs notice one problem, and
two histories of it can be put together. It begins and ends once; the same site silent once more is another problem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final, Optional

import msgspec

from glidepost.schema.document import Moment
from glidepost.schema.status import SiteStatus, Status

from .text import clean
from .verdict import PRESENT
from .words import moment, plural

SILENT: Final = "site-silent"
UNREADABLE: Final = "site-unreadable"
PAUSED: Final = "breaker"
OVERDUE: Final = "demand-overdue"

# The publisher writes a new one when half of its life is over. Sites stop at the end.
OVERDUE_AFTER: Final = 0.75
# A store that does not give one object for a minute is no trouble of the site's.
UNREADABLE_AFTER: Final = timedelta(minutes=20)
# So that what a store is asked to keep is bounded, whatever sites do.
MAX_OPEN: Final = 20_000
MAX_ENDED: Final = 200
# Who says that he is sending has so long to say that he has.
CLAIM_LIFE: Final = timedelta(minutes=10)


class Told(msgspec.Struct):
    """What one channel was told. `claimed` is when a run said that it is sending."""

    begin: Optional[Moment] = None
    end: Optional[Moment] = None
    claimed: Optional[Moment] = None


class Problem(msgspec.Struct):
    """Something that is wrong. `subject` is the site, or "site/shape", or empty for the pool."""

    id: str
    kind: str
    subject: str
    since: Moment
    noticed_at: Moment
    text: str
    action: str = ""
    ended_at: Optional[Moment] = None
    end_text: str = ""
    told: dict[str, Told] = {}

    @property
    def site(self) -> str:
        """The site that it is about, if it is about one."""
        return self.subject.split("/", 1)[0]


def look(status: Status) -> Iterator[Problem]:
    """Yields what is wrong now."""
    now, demand = status.generated_at, status.demand
    if demand is not None and now - demand.generated_at >= OVERDUE_AFTER * (demand.expires_at - demand.generated_at):
        made, expires = moment(demand.generated_at, now).text, moment(demand.expires_at, now).text
        text = f"no demand has followed number {demand.sequence}, made at {made}; sites act on it until {expires}"
        action = 'for the pool\'s admin: does "glidepost publisher run" still run?'
        yield _problem(OVERDUE, "", demand.generated_at, now)(text, action)
    for site in status.sites:
        if site.state == "silent" and site.heartbeat_at is not None:
            text = f"site {site.site} is silent: last heard at {moment(site.heartbeat_at, now).text}"
            action = f'for the admin of {site.site}: does "glidepost puller run" still run?'
            yield _problem(SILENT, site.site, site.heartbeat_at, now)(text, action)
        elif site.state == "unreadable" and site.errors_since and now - site.errors_since >= UNREADABLE_AFTER:
            text = f"what site {site.site} reports cannot be believed: {'; '.join(site.errors[:1])}"
            action = f'for the admin of {site.site}: what does "glidepost puller check" say there?'
            yield _problem(UNREADABLE, site.site, site.errors_since, now)(text, action)
        elif site.state in PRESENT:
            yield from _paused(site, now)


def _paused(site: SiteStatus, now: datetime) -> Iterator[Problem]:
    for shape in site.shapes:
        breaker = shape.breaker
        if breaker is not None:
            text = f"shape {shape.name} of site {site.site} is paused after {breaker.code}: {breaker.detail}"
            action = f"for the admin of {site.site}: docs/reference/reasons.md says what the code means"
            yield _problem(PAUSED, f"{site.site}/{shape.name}", breaker.since, now)(text, action)


def _problem(kind: str, subject: str, since: datetime, now: datetime) -> Callable[[str, str], Problem]:
    """Returns what makes the problem of its text and of what to do about it."""
    subject, since = clean(subject), since.replace(microsecond=0)
    name = f"{kind}:{subject}:{since:%Y%m%dT%H%M%SZ}"
    return lambda text, action: Problem(name, kind, subject, since, now, clean(text), action)


def follow(known: Mapping[str, Problem], status: Status) -> dict[str, Problem]:
    """Returns all problems: those that go on, those that have begun or ended since, and the last of the ended.

    Args:
        known: As the run before left them, by their ids.
        status: What is there now. A problem of which it can say nothing goes on: a shape's, while its site is silent.
    """
    seen = {(problem.kind, problem.subject): problem for problem in look(status)}
    sites = {site.site: site for site in status.sites}
    found = dict(known)
    for name, problem in known.items():
        if problem.ended_at is None:
            goes_on = seen.pop((problem.kind, problem.subject), None) is not None
            if not goes_on and _is_over(problem, sites, status):
                found[name] = _ended(problem, sites, status)
    begun = sum(problem.ended_at is None for problem in found.values())
    for problem in seen.values():
        before = known.get(problem.id)
        if begun >= MAX_OPEN or (
            before is not None and (before.ended_at or status.generated_at) >= status.generated_at
        ):
            continue  # the latter: a later run than this one has seen its end
        # What has ended stays ended, also when two runs put together what they know: it is another problem now.
        again = f":{status.generated_at:%Y%m%dT%H%M%SZ}" if before is not None else ""
        found[problem.id + again] = msgspec.structs.replace(problem, id=problem.id + again)
        begun += 1
    return bounded(found)


def _is_over(problem: Problem, sites: Mapping[str, SiteStatus], status: Status) -> bool:
    """Returns whether a problem that is not seen any more is over, as far as this status can tell."""
    if problem.noticed_at > status.generated_at:
        return False
    if problem.kind == OVERDUE:
        return status.demand is not None
    site = sites.get(problem.site)
    if site is None:
        return True
    return site.state in PRESENT if problem.kind == PAUSED else site.state != "unreadable"


def _ended(problem: Problem, sites: Mapping[str, SiteStatus], status: Status) -> Problem:
    site = sites.get(problem.site)
    if problem.kind == OVERDUE:
        text = f"demand {status.demand.sequence} is there" if status.demand else ""
    elif problem.kind == PAUSED:
        name = problem.subject.split("/", 1)[-1]
        text = f"shape {name} of site {problem.site} is not paused any more"
    elif problem.kind == UNREADABLE and site is not None and site.heartbeat_at is not None:
        text = f"site {problem.site} can be read again"
    elif site is not None and site.heartbeat_at is not None and site.state in PRESENT:
        text = f"site {problem.site} is back: heard at {moment(site.heartbeat_at, status.generated_at).text}"
    else:
        text = f"site {problem.site} is not waited for any more"
    return msgspec.structs.replace(problem, ended_at=status.generated_at, end_text=clean(text))


def bounded(problems: Mapping[str, Problem]) -> dict[str, Problem]:
    """Returns all that go on, and of those that have ended the last ones, in the order in which they were noticed."""
    ended = [problem for problem in problems.values() if problem.ended_at is not None]
    ended.sort(key=lambda problem: (problem.ended_at or problem.noticed_at, problem.id), reverse=True)
    left = {problem.id for problem in ended[MAX_ENDED:]}
    kept = [problem for problem in problems.values() if problem.id not in left]
    return {problem.id: problem for problem in sorted(kept, key=lambda problem: (problem.noticed_at, problem.id))}


def merged(ours: Mapping[str, Problem], theirs: Mapping[str, Problem]) -> dict[str, Problem]:
    """Returns what two runs know together: a problem that ended for one has ended, and what was told was told."""
    both = {name: _together(ours[name], theirs[name]) for name in ours if name in theirs}
    return bounded({**theirs, **ours, **both})


def _together(one: Problem, other: Problem) -> Problem:
    """Returns what was noticed first of the begin, and of the end."""
    first = min(one, other, key=lambda problem: (problem.noticed_at, problem.text))
    ends = [(problem.ended_at, problem.end_text) for problem in (one, other) if problem.ended_at is not None]
    ended_at, end_text = min(ends, default=(None, ""))
    told = {
        channel: _told_together(one.told.get(channel, Told()), other.told.get(channel, Told()))
        for channel in sorted({*one.told, *other.told})
    }
    return msgspec.structs.replace(first, ended_at=ended_at, end_text=end_text, told=told)


def _told_together(one: Told, other: Told) -> Told:
    begin, end = _earlier(one.begin, other.begin), _earlier(one.end, other.end)
    # A claim to tell what was told meanwhile is settled.
    claims = [
        told.claimed
        for told in (one, other)
        if told.claimed and (told.begin is None, told.end is None) == (begin is None, end is None)
    ]
    return Told(begin, end, max(claims, default=None))


def _earlier(one: Optional[datetime], other: Optional[datetime]) -> Optional[datetime]:
    return min((time for time in (one, other) if time), default=None)


def to_tell(problems: Mapping[str, Problem], channel: str, now: datetime) -> tuple[list[Problem], list[Problem]]:
    """Returns the problems that a channel is to be told of, and those of whose end.

    A problem that has ended before it could be told is not told, and neither is its end.
    """
    begun, ended = [], []
    for problem in problems.values():
        told = problem.told.get(channel, Told())
        if told.claimed is not None and now - told.claimed < CLAIM_LIFE:
            continue
        if problem.ended_at is None and told.begin is None:
            begun.append(problem)
        elif problem.ended_at is not None and told.begin is not None and told.end is None:
            ended.append(problem)
    return begun, ended


def claimed(
    problems: Mapping[str, Problem], channel: str, some: Iterable[Problem], at: Optional[datetime]
) -> dict[str, Problem]:
    """Returns the problems with a claim to tell some of them; `at` None takes the claim back."""
    names = {problem.id for problem in some}
    return {
        name: _with_told(problem, channel, claimed=at) if name in names else problem
        for name, problem in problems.items()
    }


def told(
    problems: Mapping[str, Problem], channel: str, begun: Iterable[Problem], ended: Iterable[Problem], now: datetime
) -> dict[str, Problem]:
    """Returns the problems, with what a channel has been told."""
    begins, ends = {problem.id for problem in begun}, {problem.id for problem in ended}
    made = {}
    for name, problem in problems.items():
        made[name] = problem
        if name in begins:
            made[name] = _with_told(problem, channel, begin=now, claimed=None)
        elif name in ends:
            made[name] = _with_told(problem, channel, end=now, claimed=None)
    return made


def _with_told(problem: Problem, channel: str, **changes: Optional[datetime]) -> Problem:
    before = problem.told.get(channel, Told())
    return msgspec.structs.replace(problem, told={**problem.told, channel: msgspec.structs.replace(before, **changes)})


def summary(problems: Iterable[Problem]) -> str:
    """Returns how many there are, for the subject of a message."""
    names = {SILENT: "silent site", UNREADABLE: "unreadable site", PAUSED: "paused shape", OVERDUE: "overdue demand"}
    counts = {kind: sum(problem.kind == kind for problem in problems) for kind in names}
    return ", ".join(plural(count, names[kind]) for kind, count in counts.items() if count)
