"""Submissions and removals, each written to the ledger before the batch system hears of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Optional

from glidepost.backends.base import GlideinRequest
from glidepost.schema.demand import Demand
from glidepost.schema.errors import BatchError, ConfigError, GlidepostError, Refused
from glidepost.schema.files import make_folder
from glidepost.schema.puller_config import PullerConfig, Shape
from glidepost.schema.resources import Resources

from . import log_form
from .breaker import Breakers
from .coverage import of_size
from .holding import MAX_DETAIL
from .ledger import Entry, Ledger, LedgerFile, Submitted, new_name
from .plan import ShapePlan
from .queue import LostAnswer, Queue
from .script import render

LOG = logging.getLogger(__name__)

# So many submissions of one size in a cycle at most, where the batch system wants fewer at once.
_COMMANDS: Final = 20


@dataclass
class Books:
    """Ledger and breakers with their files, while a cycle writes them."""

    ledger: Ledger
    file: LedgerFile
    breakers: Breakers
    now: datetime

    def write(self, ledger: Ledger) -> None:
        """Makes this the ledger, on disk too.

        Raises:
            GlidepostError: when another puller has written it meanwhile.
            OSError: when the disk is full; then nothing may be submitted.
        """
        self.file.save(ledger)
        self.ledger = ledger


@dataclass(frozen=True)
class Outcome:
    """The line of a plan as it was carried out, and why not all of it was."""

    line: ShapePlan
    error: Optional[GlidepostError] = None


class Submitter:
    """Carries out a plan at the batch systems of a site."""

    def __init__(self, config: PullerConfig, queues: Mapping[str, Queue], books: Books) -> None:
        self._config = config
        self._queues = queues
        self._books = books

    def carry_out(self, shape: Shape, line: ShapePlan, demand: Optional[Demand]) -> Outcome:
        """Removes and submits what the line of a shape says.

        Raises:
            GlidepostError: when another puller writes this ledger too.
            OSError: when the ledger cannot be written; then the batch system was not asked.
        """
        if line.remove:
            return self._remove(shape, line)
        if demand is None:
            return Outcome(line)
        done: list[tuple[Resources, int]] = []
        split = ""
        for resources, count in line.sizes:
            try:
                accepted, error = self._submit_all(of_size(shape, resources), count, demand)
            except ConfigError as wrong:  # in what the script is made of: the batch system was not asked
                failed = replace(line, sizes=tuple(done), reason="submit-failed", detail=wrong.what[:MAX_DETAIL])
                return Outcome(failed, wrong)
            done += [(resources, accepted)] if accepted else []
            if error and accepted < count:
                return self._failed(shape, replace(line, sizes=tuple(done)), error)
            split = f"; in parts: {error.what}" if error else split
        return Outcome(replace(line, detail=f"{line.detail}{split}"[:MAX_DETAIL]))

    def _submit_all(self, shape: Shape, count: int, demand: Demand) -> tuple[int, Optional[BatchError]]:
        """Returns how many were accepted, and what the batch system last had against them.

        Most refuse as a whole what is above one of their limits: then half as many are tried, and so on.
        """
        accepted, at_once, said = 0, count, None
        for _ in range(_COMMANDS):
            part = min(at_once, count - accepted)
            error = self._submit(shape, part, demand)
            if error is None:
                accepted += part
                if accepted == count:
                    break
            else:
                said = error
                if not (isinstance(error, Refused) and error.is_size) or part == 1:
                    break
                at_once = part // 2
        return accepted, said

    def _submit(self, shape: Shape, count: int, demand: Demand) -> Optional[BatchError]:
        """Returns why a submission failed, None when it did not.

        What was refused is out of the ledger again; what may have been accepted without an answer stays in it.
        """
        books, config = self._books, self._config
        name = new_name(config.site, shape.name, books.ledger)
        request = GlideinRequest(
            name=name,
            resources=shape.resources,
            count=count,
            script=render(config, shape, demand, name=name),
            log_folder=str(config.log_folder),
            files=_files(config),
        )
        make_folder(config.outcomes_folder)
        make_folder(config.log_folder)
        before = books.ledger
        entry = Entry(name, shape.name, count, books.now, before.clock_s, shape.resources, shape.hourly_cost)
        lately = (*before.recent, Submitted(shape.name, count, books.now))
        # Once the breaker knows of a canary there is no second one, whatever becomes of the first.
        self._note(books.breakers.after_submission(shape.name, name))
        books.write(replace(before.with_entry(entry), recent=lately))
        try:
            batch_id = self._queues[shape.name].submit(request)
        except LostAnswer as error:
            return error
        except BatchError as error:
            books.write(before)
            return error
        LOG.info("submitted shape=%s count=%d name=%s batch_id=%s", shape.name, count, name, batch_id)
        books.write(books.ledger.with_entry(replace(entry, batch_id=batch_id)))
        self._note(books.breakers.after_acceptance(shape.name))
        return None

    def _note(self, breakers: Breakers) -> None:
        self._books.breakers = breakers
        breakers.save(self._config.state / "breaker.json")

    def _failed(self, shape: Shape, line: ShapePlan, error: BatchError) -> Outcome:
        LOG.warning("submission failed shape=%s error=%s", shape.name, error.what)
        self._note(self._books.breakers.after_refusal(shape.name, error, self._books.now))
        if isinstance(error, Refused) and error.is_limit:
            return Outcome(replace(line, reason="submit-limit", detail=error.what[:MAX_DETAIL]))
        reason = "refused" if isinstance(error, Refused) else "submit-failed"
        return Outcome(replace(line, reason=reason, detail=error.what[:MAX_DETAIL]), error)

    def _remove(self, shape: Shape, line: ShapePlan) -> Outcome:
        """Removes queued glideins. They are marked before, so that nobody wonders where they are."""
        books = self._books
        doomed = set(line.remove)
        for entry in books.ledger.of(shape.name):
            members = {
                batch_id: replace(member, removed=True) if batch_id in doomed else member
                for batch_id, member in entry.members.items()
            }
            if members != entry.members:
                books.ledger = books.ledger.with_entry(replace(entry, members=members))
        books.write(books.ledger)
        try:
            self._queues[shape.name].remove(line.remove)
        except BatchError as error:
            # One of them may have ended meanwhile; what is still there is tried again.
            LOG.warning("removal failed shape=%s error=%s", shape.name, error.what)
            return Outcome(replace(line, detail=f"{line.detail}; {error.what}"[:MAX_DETAIL]))
        LOG.info("removed shape=%s count=%d", shape.name, len(line.remove))
        return Outcome(line)


def _files(config: PullerConfig) -> tuple[str, ...]:
    """Returns the files that a glidein reads, the log form only where the pool and the site want logs."""
    glidein = config.glidein
    is_wanted = (glidein.logs != "never" or glidein.logs_every_s > 0) and log_form.is_there(config.log_form_file)
    return (str(config.token_file), *([str(config.log_form_file)] if is_wanted else []))
