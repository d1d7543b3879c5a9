"""Recomputes every figure of the demo from the ledger alone, as an auditor reads it."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from infra.demo.actors import Actor
from services.kit.dates import time_of
from services.kit.names import id_of
from workflows.payloads import task_supervision

ENDED: Mapping[str, tuple[str, ...]] = {
    "hazard.hazard.": ("CLOSED",),
    "inspection.tour.": ("CLOSED",),
    "accountability.supervision_case.": ("CONCLUDED",),
    "accountability.accountability_case.": ("CLOSED", "EXEMPTED"),
}
"""The states in which a case's workflow has ended, by the beginning of its entries' types."""
POSITION_SECONDS = 1.0
"""Several times what the sequencer takes to give a new entry its position."""
RUNG_KINDS = ("REMINDER", "SUPERVISION_NOTICE", "TALK", "CIRCULAR", "INQUIRY")


@dataclass(slots=True)
class Account:
    """What the ledger tells, kept while it is read entry by entry."""

    entries: int = 0
    units: set[str] = field(default_factory=set)
    sites: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    dispositions: Counter[str] = field(default_factory=Counter)
    orders: Counter[str] = field(default_factory=Counter)
    written_off: set[str] = field(default_factory=set)
    reopened: set[str] = field(default_factory=set)
    tasks_generated: int = 0
    overdue_tasks: set[str] = field(default_factory=set)
    unconfirmed: Counter[str] = field(default_factory=Counter)
    """Tasks that nobody has confirmed yet, by annual list."""
    rungs: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    rung_kinds: Counter[str] = field(default_factory=Counter)
    decided: set[str] = field(default_factory=set)
    exempted: set[str] = field(default_factory=set)
    refusals: Counter[str] = field(default_factory=Counter)
    closed: set[str] = field(default_factory=set)
    first: datetime | None = None
    last: datetime | None = None

    def place(self, time: datetime, kind: str, workflow_id: str, state: object) -> None:
        """Take an entry's business time into account, and the state to which it brought a case."""
        self.first = min(self.first or time, time)
        self.last = max(self.last or time, time)
        ended = next((states for start, states in ENDED.items() if kind.startswith(start)), ())
        if not workflow_id or not ended or not state:
            return
        if state in ended:
            self.closed.add(workflow_id)
        else:
            self.closed.discard(workflow_id)

    def read(self, kind: str, actor: str, objects: list[str], payload: Mapping[str, Any]) -> None:
        """Take one entry into account."""
        self.entries += 1
        subject = objects[0] if objects else ""
        match kind:
            case "inspection.visit.recorded":
                target = payload["target"]
                if payload["tour"]:
                    self.units.add(target)
                else:
                    self.sites.add(target)
            case "duty.list.acknowledged":
                self.acknowledged.add(actor)
            case "hazard.hazard.reported":
                self.dispositions[payload["disposition"]] += 1
                if payload["state"] == "CLOSED":
                    self.written_off.add(subject)
            case "hazard.hazard.written_off":
                self.written_off.add(subject)
            case "hazard.hazard.reopened":
                self.written_off.discard(subject)
                self.reopened.add(subject)
            case "hazard.site.suspended" | "hazard.site.closed_down":
                self.orders[kind] += 1
            case "plan.list.generated":
                self.tasks_generated += payload["tasks"]
                self.unconfirmed[subject] += payload["tasks"]
            case "plan.task.confirmed":
                self.unconfirmed[objects[1]] -= 1
            case "plan.task.overdue":
                self.overdue_tasks.add(subject)
            case "accountability.measure.taken":
                if payload.get("rung"):
                    self.rungs[(payload["supervision_case"], payload["cycle"], payload["rung"])] += 1
                    self.rung_kinds[payload["kind"]] += 1
            case "accountability.accountability_case.decided":
                self.decided.add(subject)
            case "accountability.accountability_case.exempted":
                self.exempted.add(subject)
            case "access.call.refused":
                self.refusals[payload["reason"]] += 1

    @property
    def finished_lists(self) -> list[str]:
        """Annual lists of which every task is confirmed."""
        return [annual_list for annual_list, left in self.unconfirmed.items() if not left]

    @property
    def ended_cases(self) -> set[str]:
        """Workflow ids of all cases that have ended; the supervision of a list ends with its last task."""
        return self.closed | {
            task_supervision.workflow_id(id_of(each, "annualTaskLists")) for each in self.finished_lists
        }

    def figures(self) -> dict[str, Any]:
        """Return the figures by their names in ``build/demo.json``."""
        return {
            "units_covered": len(self.units),
            "leaders_acknowledged": len(self.acknowledged),
            "sites_visited": len(self.sites),
            "hazards_on_the_spot": self.dispositions["ON_THE_SPOT"],
            "hazards_time_limited": self.dispositions["TIME_LIMITED"],
            "sites_suspended": self.orders["hazard.site.suspended"],
            "sites_closed_down": self.orders["hazard.site.closed_down"],
            "hazards_written_off": len(self.written_off),
            "hazards_reopened": len(self.reopened & self.written_off),
            "tasks_generated": self.tasks_generated,
            "tasks_overdue": len(self.overdue_tasks),
            "task_lists_finished": len(self.finished_lists),
            "rungs_fired": sum(self.rungs.values()),
            "rung_kinds": sum(self.rung_kinds[kind] > 0 for kind in RUNG_KINDS),
            "rung_duplicates": sum(count - 1 for count in self.rungs.values()),
            "cases_decided": len(self.decided),
            "cases_exempted": len(self.exempted),
            "refusals": sum(self.refusals.values()),
            "cases_closed": len(self.ended_cases),
            "virtual_days": (self.last - self.first).days if self.first and self.last else 0,
        }


async def entries(auditor: Actor) -> AsyncIterator[Any]:
    """Yield every ledger entry within the auditor's reach, the newest too: they get their positions a moment later."""
    found = True
    filters: dict[str, int] = {}
    while found:
        found = False
        async for entry in auditor.pages("audit.ListLedgerEntries", "ledger_entries", **filters):
            found, filters = True, {"after_position": entry.position}
            yield entry
        await asyncio.sleep(POSITION_SECONDS)


async def from_ledger(auditor: Actor) -> Account:
    """Read the whole ledger, as far as the auditor reaches: the city, not the bootstrap nor the clock's entries."""
    account = Account()
    async for entry in entries(auditor):
        payload = json.loads(entry.payload_json or "{}")
        account.place(time_of(entry.business_time), entry.type, entry.workflow_id, payload.get("state"))
        account.read(entry.type, entry.actor, list(entry.objects), payload)
    return account
