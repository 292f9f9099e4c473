"""One cycle of the puller: read, count, plan, submit, report. `prepare` looks and decides, `act` does it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib import metadata
from typing import Final, Optional

import requests

from glidepost.backends import registry
from glidepost.backends.base import BatchJob, GlideinRequest, JobState
from glidepost.schema.errors import BatchError, GlidepostError
from glidepost.schema.files import make_folder, write_atomic
from glidepost.schema.heartbeat import Counts, Heartbeat, ShapeReport
from glidepost.schema.keys import SigningKey
from glidepost.schema.mailbox import Letter
from glidepost.schema.puller_config import PullerConfig, Shape

from . import fetch, heartbeat, outcomes, record
from .advertise import advertises
from .ledger import Entry, Ledger, name_prefix, new_name
from .plan import Holding, ShapePlan, plan
from .queue import LostAnswer, Queue
from .script import render

LOG = logging.getLogger(__name__)

# From the start of a glidein until a census can show what it took: start-up, negotiation, the schedd's update.
START_GRACE: Final = timedelta(minutes=2)


@dataclass(frozen=True)
class Prepared:
    """What a cycle found and what it would do. `errors` are what went wrong so far, the gravest first."""

    known: Optional[fetch.KnownDemand]
    letter: Optional[Letter]
    ledger: Ledger
    plans: tuple[ShapePlan, ...]
    errors: tuple[GlidepostError, ...]


@dataclass(frozen=True)
class Done:
    """What a cycle did."""

    prepared: Prepared
    plans: tuple[ShapePlan, ...]
    submitted: dict[str, int]
    errors: tuple[GlidepostError, ...]

    @property
    def exit_code(self) -> int:
        """0, or the code of the gravest error."""
        return max((error.exit_code for error in self.errors), default=0)


class Cycle:
    """One run at one site. Everything from outside comes in here: configuration, queues, HTTP session, time."""

    def __init__(
        self, config: PullerConfig, *, now: datetime, queues: Mapping[str, Queue], session: requests.Session
    ) -> None:
        self._config = config
        self._now = now
        self._queues = queues
        self._session = session

    def prepare(self) -> Prepared:
        """Returns what this cycle would do. Writes nothing but the kept copies of the pool's documents.

        Raises:
            ConfigError: when key or ledger cannot be read: both need a person.
        """
        config, errors = self._config, list[GlidepostError]()
        key = SigningKey.load(config.key)
        ledger = Ledger.load(config.state / "ledger.json")
        reader = fetch.Reader(config.url, config.state / "documents", timeout_s=config.timeout_s, session=self._session)
        known, letter = None, None
        try:
            known = fetch.demand(config, reader, now=self._now)
        except GlidepostError as error:
            errors.append(error)
        try:
            letter = fetch.letter(config, reader, key, now=self._now)
        except GlidepostError as error:
            errors.append(error)
        jobs = self._count(errors)
        ledger = self._reconciled(ledger, jobs)
        # Without a token a glidein could not join, so a site without a letter plans as one without demand.
        demand = known.demand if known and letter else None
        holdings = {shape.name: self._holding(shape, ledger, jobs, known) for shape in config.shapes}
        plans = plan(demand, config.site, config.shapes, holdings, max_total=config.max_total)
        return Prepared(known, letter, ledger, plans, tuple(errors))

    def act(self, prepared: Prepared) -> Done:
        """Does what was prepared: submits, remembers, reports."""
        config, errors = self._config, list(prepared.errors)
        ledger, plans, submitted = prepared.ledger, [], dict[str, int]()
        ledger.save(config.state / "ledger.json")
        if prepared.letter:
            write_atomic(config.token_file, prepared.letter.pool_token.encode() + b"\n", mode=0o600)
        if prepared.known:
            fetch.remember_sequence(config.state / "demand.sequence", prepared.known.demand)
        for shape, line in zip(config.shapes, prepared.plans):
            submitted[shape.name] = 0
            if line.submit and prepared.known:
                ledger, failure = self._submit(shape, line, prepared.known, ledger)
                if failure:
                    errors.append(failure)
                    line = replace(line, submit=0, reason="submit-failed", detail=failure.what[:400])  # noqa: PLW2901
                submitted[shape.name] = line.submit
            plans.append(line)
        done = Done(prepared, tuple(plans), submitted, tuple(errors))
        done = replace(done, errors=(*errors, *self._report(done)))
        record.save(config.state / "cycle.json", record.Record.of(done.plans, done.errors, self._now))
        return done

    def _count(self, errors: list[GlidepostError]) -> dict[str, Optional[list[BatchJob]]]:
        """Returns per shape the batch jobs of this user, None where the batch system could not be asked."""
        answers: dict[tuple[object, ...], Optional[list[BatchJob]]] = {}
        for shape in self._config.shapes:
            queue = self._queues[shape.name]
            if queue.identity not in answers:
                try:
                    answers[queue.identity] = queue.jobs()
                except BatchError as error:
                    errors.append(error)
                    answers[queue.identity] = None
        return {shape.name: answers[self._queues[shape.name].identity] for shape in self._config.shapes}

    def _reconciled(self, ledger: Ledger, jobs: Mapping[str, Optional[list[BatchJob]]]) -> Ledger:
        """Returns the ledger after what the batch systems said; entries of one that did not answer stay as they are."""
        listed: dict[str, list[tuple[str, bool]]] = {}
        for answer in jobs.values():
            for job in answer or ():
                member = (job.batch_id, job.state is JobState.RUNNING)
                if job.state is not JobState.GONE and member not in listed.setdefault(job.name, []):
                    listed[job.name].append(member)
        silent = {name for name, answer in jobs.items() if answer is None}
        unknown = {name: entry for name, entry in ledger.entries.items() if entry.shape in silent}
        heard = Ledger({name: entry for name, entry in ledger.entries.items() if name not in unknown})
        return Ledger({**heard.observed(listed, now=self._now).entries, **unknown})

    def _holding(
        self,
        shape: Shape,
        ledger: Ledger,
        jobs: Mapping[str, Optional[list[BatchJob]]],
        known: Optional[fetch.KnownDemand],
    ) -> Holding:
        answer = jobs[shape.name]
        prefix = name_prefix(self._config.site, shape.name)
        counts = None
        if answer is not None:
            states = [job.state for job in answer if job.name.startswith(prefix)]
            counts = Counts(
                idle=states.count(JobState.IDLE),
                running=states.count(JobState.RUNNING),
                held=states.count(JobState.HELD),
                unknown=states.count(JobState.UNKNOWN),
            )
        fresh = ledger.started_since(shape.name, known.demand.generated_at - START_GRACE) if known else 0
        return Holding(counts, ledger.unreported(shape.name, now=self._now), fresh)

    def _submit(
        self, shape: Shape, line: ShapePlan, known: fetch.KnownDemand, ledger: Ledger
    ) -> tuple[Ledger, Optional[BatchError]]:
        """Submits, with an entry in the ledger before the batch command runs.

        Returns:
            The ledger, and why it failed, if it did. What was refused is out of the ledger again; what may have been
            accepted without an answer stays in it.
        """
        config, file = self._config, self._config.state / "ledger.json"
        name = new_name(config.site, shape.name)
        make_folder(config.outcomes_folder)
        make_folder(config.log_folder)
        request = GlideinRequest(
            name=name,
            resources=shape.resources,
            count=line.submit,
            script=render(config, shape, known.demand, name=name),
            log_folder=str(config.log_folder),
        )
        entry = Entry(name, shape.name, line.submit, self._now)
        intended = ledger.with_entry(entry)
        intended.save(file)
        try:
            batch_id = self._queues[shape.name].submit(request)
        except LostAnswer as error:
            return intended, error
        except BatchError as error:
            refused = intended.without(name)
            refused.save(file)
            return refused, error
        LOG.info("submitted shape=%s count=%d name=%s batch_id=%s", shape.name, line.submit, name, batch_id)
        completed = ledger.with_entry(replace(entry, batch_id=batch_id))
        completed.save(file)
        return completed, None

    def _report(self, done: Done) -> tuple[GlidepostError, ...]:
        """Sends the heartbeat if it is due. Returns what went wrong: a failure to report never undoes a cycle."""
        config, prepared = self._config, done.prepared
        ended, files = outcomes.collect(config.outcomes_folder)
        last, sequence = heartbeat.last_sent(config.state)
        report = Heartbeat(
            site=config.site,
            instance_id=heartbeat.instance_id(config.state),
            version=metadata.version("glidepost"),
            sequence=sequence + 1,
            sent_at=self._now,
            shapes=tuple(_shape_report(config, shape, line, done) for shape, line in zip(config.shapes, done.plans)),
            max_total=config.max_total,
            demand_sequence=prepared.known.demand.sequence if prepared.known else None,
            demand_age_s=prepared.known.age_s if prepared.known else None,
            clock_skew_s=prepared.known.clock_skew_s if prepared.known else None,
            errors=tuple(error.what[:500] for error in done.errors[:20]),
            outcomes=ended,
        )
        if prepared.letter is None or not heartbeat.is_due(report, last, self._now):
            return ()
        form = prepared.letter.heartbeat_form
        try:
            heartbeat.send(report, form, config.state, timeout_s=config.timeout_s, session=self._session)
        except GlidepostError as error:
            return (error,)
        outcomes.remove(files)
        return ()


def _shape_report(config: PullerConfig, shape: Shape, line: ShapePlan, done: Done) -> ShapeReport:
    return ShapeReport(
        name=shape.name,
        backend=shape.backend,
        offers=shape.resources,
        limits=shape.limits,
        counts=line.holding.counts,
        submitted=done.submitted[shape.name],
        removed=0,
        reason=line.reason,
        detail=line.detail,
        advertises=advertises(config, shape),
        accept=shape.accept,
        deny=shape.deny,
    )


def open_queues(config: PullerConfig) -> dict[str, Queue]:
    """Returns each shape's batch system.

    Raises:
        ConfigError: when a backend does not know an option.
    """
    return {
        shape.name: Queue(registry.create(shape.backend, shape.options), shape.command_prefix)
        for shape in config.shapes
    }
