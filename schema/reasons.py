"""Why a shape got what it got in a cycle: the codes of plans and heartbeats, and what they mean in a few words.

docs/reference/reasons.md says it in full. A reader may meet a code of a newer version: it shows that as it is.
"""

from __future__ import annotations

from typing import Final

REASONS: Final = {
    "satisfied": "all that are missing are submitted",
    "covered": "enough glideins are queued or have just started",
    "held": "queued glideins are held by the batch system, and those that wait for them get no others",
    "excess-removed": "queued glideins that nothing waits for any more were removed, the youngest first",
    "no-demand": "no user job of the pool is idle",
    "no-share": "no idle user job is assigned to this site",
    "no-fit": "no assigned user job fits into this shape",
    "max-queued": "the shape's limit of queued glideins",
    "max-running": "the shape's limit of running glideins",
    "max-total": "the shape's limit of glideins",
    "max-cpus": "the shape's limit of cores",
    "max-memory": "the shape's limit of memory",
    "max-gpus": "the shape's limit of GPUs",
    "site-max-queued": "the limit of queued glideins over all shapes",
    "site-max-total": "the limit of glideins over all shapes",
    "site-max-cpus": "the limit of cores over all shapes",
    "site-max-memory": "the limit of memory over all shapes",
    "site-max-gpus": "the limit of GPUs over all shapes",
    "budget": "the shape's budget",
    "site-budget": "the budget over all shapes",
    "max-per-hour": "the shape's limit of glideins an hour",
    "site-max-per-hour": "the limit of glideins an hour over all shapes",
    "max-per-cycle": "the shape's limit of glideins a cycle",
    "canary": "one glidein tries whether all is well again",
    "canary-out": "one glidein is out to try whether all is well again",
    "paused": "its glideins failed, so that it waits before it tries again",
    "drained": "somebody drains it: glidepost puller resume takes that back",
    "revoked": "the pool has shut this site out, so nothing is submitted and queued glideins are removed",
    "queue-unknown": "the batch system could not be asked, so nothing is submitted",
    "queue-partial": "the batch system listed a part of the queue only, so nothing is submitted",
    "queue-implausible": "the batch system's answer is not believed, so nothing is submitted",
    "ledger-rebuilt": "the ledger was lost, so nothing is submitted until the queue has been counted",
    "demand-unknown": "there is no demand that may be acted on, so nothing is submitted",
    "token-short": "the pool token would end before a glidein does, so nothing is submitted",
    "submit-limit": "the batch system takes no more of this account now",
    "refused": "the batch system refused for a reason that a person must mend",
    "submit-failed": "the batch system failed, or its answer was lost",
}
