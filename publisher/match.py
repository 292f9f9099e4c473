"""Which groups of user jobs a glidein of a shape can run: HTCondor's own matchmaking, held offline.

The ad of a user job and the ad of a slot match when both Requirements are true. They are cut into clauses, and each
clause is evaluated once for each distinct combination of attributes that it looks at. So the work follows what differs
between groups and between shapes, not their number; and a clause that is false says why there is no match.

A verdict is about a whole glidein, as it starts. A user job whose Requirements are about what others have left of a
slot (`TARGET.Cpus == 1`) may still get a place in one where the verdict is no.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Optional

from glidepost.schema import resources, start
from glidepost.schema.demand import Tarball
from glidepost.schema.heartbeat import ShapeReport
from glidepost.schema.publisher_config import SiteRules

from . import classads, clauses, slot_ad
from .census import JobGroup, Slot

# Clauses that only look at these repeat what resources.shortfalls says better.
_RESOURCES: Final = frozenset({"cpus", "memory", "disk", "gpus", "condorversion"})
_HIDDEN: Final = frozenset({"availablegpus"})  # long, and each property is shown by itself
_LONGEST_VALUE: Final = 60
_NO_RULES: Final = SiteRules()


@dataclass(frozen=True)
class Verdict:
    """Whether a group's user jobs can run in a shape's glideins, and if not, every reason, in words."""

    fits: bool
    reasons: tuple[str, ...] = ()


_FITS: Final = Verdict(fits=True)


@dataclass(frozen=True)
class _Clause:
    """An operand of Requirements.

    `names` are the attributes of the other ad that it looks at, `other` the same in lower case. `number` is the same
    for the same text over the same attributes of its own ad.
    """

    text: str
    tree: Any
    names: tuple[str, ...]
    other: frozenset[str]
    number: int


@dataclass
class _Side:
    """One of the two ads. `keys` are, per set of attribute names, a number for the values that this ad has for them."""

    who: str
    ad: Any
    clauses: tuple[_Clause, ...] = ()
    keys: dict[frozenset[str], int] = field(default_factory=dict)
    attributes: frozenset[str] = frozenset()


class Matcher:
    """Verdicts of one run, remembered.

    Args:
        rules: Per site, what the pool decides.
        tarballs: What glideins run, for the version of HTCondor that they will advertise; without any, it is taken to
            be that of the access point's own library.
    """

    def __init__(
        self, rules: Mapping[str, SiteRules] = MappingProxyType({}), *, tarballs: Iterable[Tarball] = ()
    ) -> None:
        self._rules = rules
        self._tarballs = tuple(tarballs)
        self._numbers: dict[object, int] = {}
        self._values: dict[tuple[int, int], Optional[str]] = {}
        self._jobs: dict[int, tuple[JobGroup, _Side]] = {}
        self._shapes: dict[tuple[str, str], tuple[ShapeReport, _Side]] = {}
        self._slots: dict[str, _Side] = {}

    def verdict(self, job: JobGroup, site: str, shape: ShapeReport) -> Verdict:
        """Returns whether a glidein of this shape of this site can run such user jobs, and why not."""
        try:
            mine = self._job(job)
        except ValueError as error:
            return Verdict(fits=False, reasons=(f"its ad cannot be read: {error}",))
        try:
            theirs = self._shape(site, shape)
        except ValueError as error:  # a report is foreign: it must not keep the others from their shares
            return Verdict(fits=False, reasons=(f"what the site reports cannot be read: {error}",))
        reasons = self._reasons(job, mine, site, shape, theirs)
        return Verdict(fits=False, reasons=reasons) if reasons else _FITS

    def fits_slot(self, job: JobGroup, slot: Slot) -> int:
        """Returns how many such user jobs the free part of a slot of the pool takes now; 0 when it does not match."""
        request = job.group.request
        count = resources.places(
            request,
            cpus=slot.cpus_free,
            memory_mib=slot.memory_free_mib,
            disk_mib=slot.disk_free_mib,
            gpus=slot.gpus_free,
        )
        if not count:
            return 0
        try:
            mine, theirs = self._job(job), self._slot(slot)
        except ValueError:
            return 0
        if not theirs.clauses or next(self._false(mine, theirs), None) is not None:
            return 0
        return count if slot.is_partitionable else 1

    def _reasons(self, job: JobGroup, mine: _Side, site: str, shape: ShapeReport, theirs: _Side) -> tuple[str, ...]:
        group, rules = job.group, self._rules.get(site, _NO_RULES)
        found = list(group.shortfalls(shape.offers, backfill=shape.gpu_backfill))
        refusals = (
            ("the pool's rules for this site", rules.accept, rules.deny),
            ("the site", shape.accept, shape.deny),
        )
        for who, accept, deny in refusals:
            if not accept and not deny:
                continue
            words = start.refusal(group.accounting_group, domain=job.domain, accept=accept, deny=deny)
            if words:
                found.append(f"{words} by {who}")
        said = bool(found)
        for side, clause, words in self._false(mine, theirs):
            # What the glidein's own Requirements ask is said above, but for what nobody has thought of.
            if not said or (side is mine and not clause.other <= _RESOURCES):
                found.append(words if side is mine else f"the glidein asks: {words}")
        return tuple(found)

    def _false(self, mine: _Side, theirs: _Side) -> Iterator[tuple[_Side, _Clause, str]]:
        """Yields each clause of either side that is not true, with its side and why, in words."""
        values = self._values
        for one, other in ((mine, theirs), (theirs, mine)):
            for clause in one.clauses:
                seen = other.keys.get(clause.other)
                if seen is None:
                    seen = self._key(other, clause.other)
                key = (clause.number, seen)
                if not seen:
                    words = _words(clause, one, other)
                elif key in values:
                    words = values[key]
                else:
                    words = values[key] = _words(clause, one, other)
                if words is not None:
                    yield one, clause, words

    def _key(self, side: _Side, names: frozenset[str]) -> int:
        """Returns the number of the values that these attributes, with all that they refer to, have in an ad.

        0 if one looks back at the other ad, and so has no value of its own.
        """
        found: set[str] = set()
        looks_back = False
        for name in names & side.attributes:
            own, other = classads.references(side.ad, side.ad.lookup(name))
            found |= {name, *own}
            looks_back = looks_back or bool(other)
        key = 0 if looks_back else self._number((names, _texts(side.ad, found)))
        side.keys[names] = key
        return key

    def _number(self, thing: object) -> int:
        return self._numbers.setdefault(thing, len(self._numbers) + 1)

    def _side(self, who: str, ad: Any) -> _Side:
        side = _Side(who, ad, attributes=frozenset(name.lower() for name in ad))
        if "requirements" in side.attributes:
            side.clauses = tuple(self._clauses(side, str(ad.lookup("Requirements"))))
        return side

    def _clauses(self, side: _Side, text: str, within: frozenset[str] = frozenset()) -> Iterator[_Clause]:
        for part in clauses.split(text):
            # A startd's Requirements are `Start && WithinResourceLimits`: it is their clauses that say something.
            inner = str(side.ad.lookup(part)) if part.lower() in side.attributes - within else ""
            if len(clauses.split(inner)) > 1:
                yield from self._clauses(side, inner, within | {part.lower()})
                continue
            tree = classads.expression(part)
            own, names = classads.references(side.ad, tree)
            number = self._number((part, _texts(side.ad, own)))
            yield _Clause(part, tree, names, frozenset(name.lower() for name in names), number)

    def _job(self, job: JobGroup) -> _Side:
        known = self._jobs.get(id(job))
        if known is None or known[0] is not job:
            known = (job, self._side("the user job", _job_ad(job)))
            self._jobs[id(job)] = known
        return known[1]

    def _shape(self, site: str, shape: ShapeReport) -> _Side:
        known = self._shapes.get((site, shape.name))
        if known is None or (known[0] is not shape and known[0] != shape):
            version = slot_ad.condor_version(shape, self._tarballs) or classads.VERSION
            rules = self._rules.get(site, _NO_RULES)
            text = slot_ad.offline(site, shape, version, rules)
            known = (shape, self._side("the site", classads.parse(text)))
            self._shapes[site, shape.name] = known
        return known[1]

    def _slot(self, slot: Slot) -> _Side:
        if slot.ad not in self._slots:
            self._slots[slot.ad] = self._side("the slot", classads.parse(slot.ad))
        return self._slots[slot.ad]


def _job_ad(job: JobGroup) -> Any:
    """Returns a group's ad, with what the census evaluated in place of the expressions."""
    ad, request = classads.parse(job.ad), job.group.request
    numbers = {
        "RequestCpus": request.cpus,
        "RequestMemory": request.memory_mib,
        "RequestDisk": request.disk_mib * 1024,
        "RequestGPUs": request.gpus,
    }
    for name, number in numbers.items():
        if number or name in ad:
            ad[name] = number
    if job.group.accounting_group and "AcctGroup" not in ad:
        ad["AcctGroup"] = job.group.accounting_group
    if job.domain:
        ad["User"] = f"@{job.domain}"
    return ad


def _texts(ad: Any, names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(ad.lookup(name))) for name in sorted(names))


def _words(clause: _Clause, one: _Side, other: _Side) -> Optional[str]:
    """Returns None when a clause is true, else why it is not."""
    value = clause.tree.eval(one.ad, other.ad)
    if classads.is_true(value):
        return None
    words = f"`{clause.text}` {'has no value' if classads.is_undefined(value) else 'is false'}"
    here = {name.lower(): name for name in other.ad}
    missing, said = [], []
    for name in clause.names:
        shown = here.get(name.lower()) or here.get(f"gpus_{name.lower()}")
        if shown is None:
            missing.append(name)
        elif shown.lower() not in _HIDDEN:
            said.append(f"{shown} = {str(other.ad.lookup(shown))[:_LONGEST_VALUE]}")
    if missing:
        return f"{words}: {other.who} does not say {', '.join(missing)}"
    return f"{words}: {other.who} has {', '.join(said)}" if said else words
