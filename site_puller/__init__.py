"""At a site: read the demand, count own batch jobs, plan, submit, report. One run is one cycle; cron is the loop.

Where what is, in the order in which a cycle comes to it:

* documents: `source`, `web`, `fetch` (whether to believe them)
* what we hold: `queue` (the only subprocess), `ledger`, `observe`, `outcomes`, `holding`
* what keeps us: `drain`, and the breaker: `evidence`, `verdict`, `circuit`, `breaker`, `gate`
* the decision: `plan`, `coverage` (which glideins hold which user jobs), `caps` (limits)
* the deed: `cycle`, `submit`, `script`, `advertise`
* the report: `report`, `trim`, `heartbeat`, `outbox`, `record`, `logs`, `watchdog`; in words: `explain`

The verbs are in `cli`; those to set a site up in `setup`, the import of pyglidein's configuration in `legacy`.
"""
