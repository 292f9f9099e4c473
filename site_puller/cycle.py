"""One cycle of the puller: read, count, plan, submit, report. `prepare` looks and decides, `act` does it.

What a cycle writes, in this order: the records of ended glideins, the ledger as the queue's answers left it, the
breakers, the pool token and the log form, how far the pool's keys were followed, the demand's number; for each shape
the ledger before and after each batch command; the heartbeat, and the record for `glidepost puller why`. A crash
between any two of these costs at most a report or some minutes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Optional

from glidepost.schema.errors import GlidepostError, exit_code
from glidepost.schema.files import remove_leftovers, write_atomic
from glidepost.schema.puller_config import PullerConfig, Shape

from . import drain, fetch, freshness, heartbeat, log_form, logs, outcomes, pool_token, record, shut_out
from .breaker import Breakers
from .documents import Documents, read
from .evidence import Evidence, View, evidence_of
from .gate import Gate
from .holding import Holding, Trouble, holding, others, trouble
from .ledger import Ledger, LedgerFile
from .observe import Observed, observe, rebuilt
from .plan import ShapePlan, Situation, plan
from .pool_token import TokenLife
from .queue import Answer, Queue
from .report import Findings, report_of
from .source import Source
from .submit import Books, Submitter

LOG = logging.getLogger(__name__)

# From the start of a glidein until a census can show what it took: start-up, negotiation, the schedd's update.
START_GRACE: Final = timedelta(minutes=2)


@dataclass(frozen=True)
class Prepared:
    """What a cycle found and what it would do. `errors` are what went wrong so far, the gravest first."""

    documents: Documents
    token: Optional[TokenLife]
    ledger: Ledger
    is_ledger_lost: bool
    breakers: Breakers
    drained: drain.Drained
    inbox: outcomes.Inbox
    plans: tuple[ShapePlan, ...]
    errors: tuple[GlidepostError, ...]


@dataclass(frozen=True)
class Done:
    """What a cycle did."""

    prepared: Prepared
    plans: tuple[ShapePlan, ...]
    breakers: Breakers
    errors: tuple[GlidepostError, ...]

    @property
    def submitted(self) -> dict[str, int]:
        """Glideins submitted, by shape's name."""
        return {line.name: line.submit for line in self.plans}

    @property
    def exit_code(self) -> int:
        """0, or the code of the gravest error."""
        return exit_code(self.errors)


class Cycle:
    """One run at one site. Everything from outside comes in here: configuration, queues, documents, time."""

    def __init__(
        self,
        config: PullerConfig,
        *,
        now: datetime,
        queues: Mapping[str, Queue],
        source: Source,
        route: heartbeat.Route,
    ) -> None:
        self._config = config
        self._now = now
        self._queues = queues
        self._source = source
        self._route = route
        self._file = LedgerFile(config.state / "ledger.json")

    def prepare(self) -> Prepared:
        """Returns what this cycle would do. Writes nothing but the kept copies of the pool's documents.

        Raises:
            ConfigError: when the key cannot be read: it needs a person.
        """
        config, errors = self._config, list[GlidepostError]()
        before, problem = self._file.load(was_here=heartbeat.was_here(config.state))
        if problem:
            errors.append(problem)
        found = self.documents(errors)
        known = found.known
        token = pool_token.read(found.letter, errors)
        answers = self._count(errors)
        breakers = Breakers.load(config.state / "breaker.json", config.site)
        inbox = outcomes.read(
            config.outcomes_folder, config.state / "reports.json", judged=(before.serial, breakers.serial)
        )
        seen = self._observed(before, answers, inbox)
        troubles = {name: trouble(seen.ledger, answer, self._beside(name)) for name, answer in answers.items()}
        drained = drain.load(config.state / "drained.json")
        view = View(
            site=config.site,
            before=before,
            ledger=seen.ledger,
            records=inbox.since(breakers.serial),
            demand=known.demand if known else None,
            idle_shutdown_s=config.glidein.idle_shutdown_s,
            now=self._now,
        )
        breakers = breakers.judged(self._evidence(view, seen, breakers, troubles), self._now, serial=inbox.serial)
        breakers = breakers.resumed(drained.resumed, self._now)
        is_out = shut_out.gate(known.demand if known else None, config.site)
        situation = Situation(
            # Without a token a glidein could not join, so a site without one plans as one without demand.
            demand=known.demand if known and token else None,
            site=config.site,
            shapes=config.shapes,
            holdings=self._holdings(seen.ledger, answers, troubles, known),
            gates={
                shape.name: gate
                for shape in config.shapes
                if (gate := is_out or self._gate(shape, drained, token, breakers))
            },
            limits=config.limits,
            prefer=config.prefer,
            others=others([shape.name for shape in config.shapes], seen.ledger),
            drained=frozenset(shape.name for shape in config.shapes if is_out or drained.is_drained(shape.name)),
        )
        plans = plan(situation)
        ledger = replace(seen.ledger, excess_s=_excess(plans, seen.ledger))
        is_lost = problem is not None
        return Prepared(found, token, ledger, is_lost, breakers, drained, inbox, plans, tuple(errors))

    def documents(self, errors: list[GlidepostError]) -> Documents:
        """Returns what the pool says, as far as it may be believed; what is wrong with the rest goes into `errors`.

        Raises:
            ConfigError: when the key cannot be read.
        """
        return read(self._config, self._source, errors, now=self._now)

    def act(self, prepared: Prepared) -> Done:
        """Does what was prepared: submits, removes, remembers, reports."""
        config, errors = self._config, list(prepared.errors)
        heartbeat.instance_id(config.state)  # before the ledger, so that one that is lost is known for lost
        prepared.inbox.save()
        if prepared.is_ledger_lost:
            self._file.set_aside(self._now)
        books = Books(prepared.ledger, self._file, prepared.breakers, self._now)
        books.write(prepared.ledger)
        prepared.breakers.save(config.state / "breaker.json")
        self._remember(prepared)
        submitter = Submitter(config, self._queues, books)
        known = prepared.documents.known
        demand = known.demand if known else None
        plans = []
        for shape, line in zip(config.shapes, prepared.plans):
            outcome = submitter.carry_out(shape, line, demand)
            plans.append(outcome.line)
            if outcome.error:
                errors.append(outcome.error)
        done = Done(prepared, tuple(plans), books.breakers, tuple(errors))
        done = replace(done, errors=(*errors, *self._report(done)))
        record.save(config.state / "cycle.json", record.Record.of(done.plans, done.errors, self._now))
        for folder in (config.state, config.state / "documents"):
            remove_leftovers(folder)
        logs.tidy(config.log_folder, config.glidein.log_size_mib * 2**20, live=books.ledger.entries)
        return done

    def _remember(self, prepared: Prepared) -> None:
        """Writes what glideins need of the pool's documents, and how new these were."""
        config, found = self._config, prepared.documents
        if found.letter and prepared.token:
            write_atomic(config.token_file, found.letter.pool_token.encode() + b"\n", mode=0o600)
        if found.letter:
            log_form.write(found.letter, config.log_form_file)
        if found.believed:
            found.believed.remember(config)
        if found.known:
            freshness.remember(config.state, found.known.demand, found.known.epoch)

    def _count(self, errors: list[GlidepostError]) -> dict[str, Answer]:
        """Returns per shape what its batch system says, each asked once."""
        answers: dict[tuple[object, ...], Answer] = {}
        for shape in self._config.shapes:
            queue = self._queues[shape.name]
            if queue.identity not in answers:
                answer = queue.count()
                if answer.error:
                    errors.append(answer.error)
                answers[queue.identity] = answer
        return {shape.name: answers[self._queues[shape.name].identity] for shape in self._config.shapes}

    def _beside(self, name: str) -> list[str]:
        """Returns the shapes that the same answer is about."""
        identity = self._queues[name].identity
        return [other for other, queue in self._queues.items() if queue.identity == identity]

    def _holdings(
        self,
        ledger: Ledger,
        answers: Mapping[str, Answer],
        troubles: Mapping[str, Optional[Trouble]],
        known: Optional[fetch.KnownDemand],
    ) -> dict[str, Holding]:
        demand_at = known.demand.generated_at - START_GRACE if known else None
        return {
            shape.name: holding(
                shape,
                ledger,
                demand_at=demand_at,
                is_counted=answers[shape.name].error is None,
                trouble=troubles[shape.name],
            )
            for shape in self._config.shapes
        }

    def _observed(self, before: Ledger, answers: Mapping[str, Answer], inbox: outcomes.Inbox) -> Observed:
        """Returns the ledger after what the batch systems said, and after the records of ended glideins.

        The records are judged once, and only when all queues were counted: what they explain may be in any of them.
        """
        complete = {name: answer.jobs if answer.error is None else None for name, answer in answers.items()}
        is_complete = all(jobs is not None for jobs in complete.values())
        ends = inbox.ends(before.serial) if is_complete else {}
        seen = observe(before.ticked(self._now), complete, ends, self._config.shapes, self._config.site)
        return replace(seen, ledger=rebuilt(replace(seen.ledger, serial=inbox.serial))) if is_complete else seen

    def _evidence(
        self, view: View, seen: Observed, breakers: Breakers, troubles: Mapping[str, Optional[Trouble]]
    ) -> dict[str, Evidence]:
        return {
            shape.name: evidence_of(
                view,
                shape.name,
                breakers.canary(shape.name),
                short=seen.short.get(shape.name, 0),
                is_counted=troubles[shape.name] is None,
            )
            for shape in self._config.shapes
        }

    def _gate(
        self, shape: Shape, drained: drain.Drained, token: Optional[TokenLife], breakers: Breakers
    ) -> Optional[Gate]:
        short = token.gate(shape, self._now) if token else None
        return drained.gate(shape.name) or short or breakers.gate(shape.name, self._now)

    def _report(self, done: Done) -> tuple[GlidepostError, ...]:
        """Sends the heartbeat if it is due. Returns what went wrong: a failure to report never undoes a cycle."""
        config, prepared = self._config, done.prepared
        last, sequence = heartbeat.last_sent(config.state)
        findings = Findings(
            known=prepared.documents.known,
            plans=done.plans,
            breakers={shape.name: done.breakers.view(shape.name, self._now) for shape in config.shapes},
            drained=frozenset(shape.name for shape in config.shapes if prepared.drained.gate(shape.name)),
            errors=done.errors,
            outcomes=prepared.inbox.pending,
            token_expires_at=prepared.token.expires_at if prepared.token else None,
        )
        report = report_of(
            config,
            findings,
            instance_id=heartbeat.instance_id(config.state),
            sequence=sequence + 1,
            sent_at=self._now,
        )
        letter = prepared.documents.letter
        if letter is None or not heartbeat.is_due(report, last, self._now):
            return ()
        error = heartbeat.deliver(report, letter.heartbeat_form, self._route, config.state)
        if error:
            return (error,)
        prepared.inbox.reported(report.outcomes).write()
        return ()


def _excess(plans: Sequence[ShapePlan], ledger: Ledger) -> dict[str, int]:
    """Returns since when each shape has had more than it wants, by the ledger's clock."""
    return {line.name: ledger.excess_s.get(line.name, ledger.clock_s) for line in plans if line.excess}
