"""The audit service: sequences the ledger, lets auditors read and prove it, and tells the story of a case."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from dutyloop.audit.v1 import audit_pb2
from dutyloop.policy.v1 import policy_pb2
from services.audit import merkle, timeline
from services.audit.histories import Histories, ToldEvent
from services.audit.messages import checkpoint_message, entry_message
from services.audit.sequencer import Sequencer
from services.audit.store import AuditStore, EntryFilter
from services.kit.access import scope_of
from services.kit.call import Call
from services.kit.dates import optional_time
from services.kit.db import Database
from services.kit.errors import CaseUnavailable, NotFound, invalid
from services.kit.ledger import REFUSALS
from services.kit.paging import page_of
from services.kit.serve import House

PAGE_BYTES = 2_000_000
"""A page of large entries ends early, and a follower's message: one entry beyond this is below a message's cap."""
FOLLOW_BATCH = 200
FOLLOW_POLL_SECONDS = 0.5
SIGN_OF_LIFE_SECONDS = 15.0
DEADLINE_MARGIN_SECONDS = 0.2
"""A follower's stream ends in good order this long before the deadline would cut it."""


class AuditService:
    """Serves dutyloop.audit.v1.AuditService."""

    descriptor = audit_pb2.DESCRIPTOR.services_by_name["AuditService"]

    def __init__(self, database: Database, house: House) -> None:
        self.database = database
        self._store = AuditStore(database)
        self._histories = Histories(house.temporal)
        self._sequencer = Sequencer.of(database, house.settings)

    def background(self) -> Sequence[Callable[[], Any]]:
        """Keep sequencing and signing."""
        return (self._sequencer.run,)

    async def ListLedgerEntries(
        self, request: audit_pb2.ListLedgerEntriesRequest, call: Call
    ) -> audit_pb2.ListLedgerEntriesResponse:
        """List entries by position."""
        page = page_of(request)
        after = request.after_position if request.HasField("after_position") else -1
        kept = EntryFilter(
            request.object,
            request.type_prefix,
            request.actor,
            request.workflow_id,
            optional_time(request, "start_time"),
            optional_time(request, "end_time"),
        )
        rows = await self._store.list_entries(
            call.scope, max(after, page.after_number(default=-1)), kept, page.limit, PAGE_BYTES
        )
        response = audit_pb2.ListLedgerEntriesResponse()
        shown = rows[: page.size]
        for row in shown:
            entry_message(row, response.ledger_entries.add())
        if shown and shown[0]["found"] > len(shown):
            response.next_page_token = page.token(shown[-1]["position"])
        return response

    async def GetLedgerEntry(self, request: audit_pb2.GetLedgerEntryRequest, call: Call) -> audit_pb2.LedgerEntry:
        """Read one entry."""
        row = await self._store.entry(request.name, call.scope)
        return entry_message(row, audit_pb2.LedgerEntry())

    async def GetCheckpoint(self, request: audit_pb2.GetCheckpointRequest, call: Call) -> audit_pb2.Checkpoint:
        """Read a signed checkpoint."""
        size = request.tree_size if request.HasField("tree_size") else None
        return checkpoint_message(await self._store.checkpoint(size))

    async def GetInclusionProof(
        self, request: audit_pb2.GetInclusionProofRequest, call: Call
    ) -> audit_pb2.GetInclusionProofResponse:
        """Prove that an entry is in the log."""
        row = await self._store.entry(request.name, call.scope)
        size = await self._tree_size(request, "tree_size")
        if row["position"] is None or row["position"] >= size:
            raise NotFound(request.name)
        hashes = await merkle.read_path(merkle.inclusion_path(row["position"], size), self._store.nodes)
        return audit_pb2.GetInclusionProofResponse(
            position=row["position"], tree_size=size, leaf_hash=row["leaf_hash"], hashes=hashes
        )

    async def GetConsistencyProof(
        self, request: audit_pb2.GetConsistencyProofRequest, call: Call
    ) -> audit_pb2.GetConsistencyProofResponse:
        """Prove that a larger log only adds to a smaller one."""
        second = await self._tree_size(request, "second_tree_size")
        first = request.first_tree_size
        if not 0 < first <= second:
            raise invalid("first_tree_size", "out_of_range")
        hashes = await merkle.read_path(merkle.consistency_path(first, second), self._store.nodes)
        return audit_pb2.GetConsistencyProofResponse(first_tree_size=first, second_tree_size=second, hashes=hashes)

    async def GetCaseTimeline(
        self, request: audit_pb2.GetCaseTimelineRequest, call: Call
    ) -> audit_pb2.GetCaseTimelineResponse:
        """Tell the story of a case."""
        if bool(request.case_name) == bool(request.workflow_id):
            raise invalid("case_name", "required")
        page = page_of(request)
        entries, workflow_id = await self._story(request, call)
        events, missing = await self._events(workflow_id)
        lines = timeline.tell(entries, events, request.case_name)
        shown, following = page.part(lines)
        return audit_pb2.GetCaseTimelineResponse(
            lines=shown, next_page_token=following, workflow_id=workflow_id, history_missing=missing
        )

    async def _story(self, request: audit_pb2.GetCaseTimelineRequest, call: Call) -> tuple[list[Any], str]:
        """Return the entries of the case that are within reach, and the id of its workflow. Raises NotFound."""
        name, workflow_id = request.case_name, request.workflow_id
        rows = await self._store.story(name, workflow_id)
        own = own_entries(rows, name)
        if name:
            workflow_id = next((row["workflow_id"] for row in own if row["workflow_id"]), "")
            if workflow_id:
                rows = await self._store.story(name, workflow_id)
        reached = [row for row in rows if call.scope.covers(row["region_code"], row["unit_path"])]
        if not any(call.scope.covers(row["region_code"], row["unit_path"]) for row in own):
            raise NotFound(name or f"workflows/{workflow_id}")
        return reached, workflow_id

    async def _events(self, workflow_id: str) -> tuple[list[ToldEvent], bool]:
        """Read a history; without one, the ledger tells the story alone."""
        if not workflow_id:
            return [], False
        try:
            return await self._histories.read(workflow_id), False
        except (NotFound, CaseUnavailable):
            return [], True

    async def ExportHistory(
        self, request: audit_pb2.ExportHistoryRequest, call: Call
    ) -> AsyncIterator[audit_pb2.ExportHistoryResponse]:
        """Export one run's history."""
        own = own_entries(await self._store.story("", request.workflow_id))
        if not any(call.scope.covers(row["region_code"], row["unit_path"]) for row in own):
            raise NotFound(f"workflows/{request.workflow_id}")
        async for part in self._histories.export(request.workflow_id, request.run_id):
            yield audit_pb2.ExportHistoryResponse(**dataclasses.asdict(part))

    async def FollowLedger(
        self, request: audit_pb2.FollowLedgerRequest, call: Call
    ) -> AsyncIterator[audit_pb2.FollowLedgerResponse]:
        """Follow the ledger until the deadline."""
        audited = scope_of(grant for grant in call.grants if policy_pb2.ROLE_AUDITOR in grant.roles)
        position = told = request.after_position if request.HasField("after_position") else -1
        loop = asyncio.get_running_loop()
        silent_since = loop.time()
        ends = call.deadline - DEADLINE_MARGIN_SECONDS
        ending = False
        while not ending:
            rows = await self._store.follow_entries(
                call.scope, audited, position, request.type_prefix, FOLLOW_BATCH, PAGE_BYTES
            )
            ending = loop.time() >= ends
            response = audit_pb2.FollowLedgerResponse()
            for row in rows:
                position = row["position"]
                if row["kept"]:
                    entry_message(row, response.ledger_entries.add())
            response.position = max(position, 0)
            silent = loop.time() - silent_since >= SIGN_OF_LIFE_SECONDS and position >= 0
            if response.ledger_entries or silent or (ending and position > told):
                silent_since, told = loop.time(), position
                yield response
            all_read = not rows or len(rows) == rows[0]["found"] < FOLLOW_BATCH
            if all_read and not ending:
                await asyncio.sleep(max(0.0, min(FOLLOW_POLL_SECONDS, ends - loop.time())))

    async def _tree_size(self, request: Any, field: str) -> int:
        """Return the size asked for, or that of the latest checkpoint. Raises InvalidFields beyond the log."""
        if not request.HasField(field):
            latest: int = (await self._store.checkpoint(None))["tree_size"]
            return latest
        size: int = getattr(request, field)
        if not 0 < size <= await self._store.size():
            raise invalid(field, "out_of_range")
        return size


def own_entries(rows: Sequence[Any], name: str = "") -> list[Any]:
    """Return the entries of a story that are the case's own: the case lies where these do.

    That a related thing's entry names the case does not open it, nor does a visit that a tour's workflow knows of.
    Least of all does a refusal: it is recorded where the refused person serves, and names what he tried to reach.
    Without a name the case is what the workflow's first entry is about.
    """
    told = [row for row in rows if not row["type"].startswith(REFUSALS)]
    about = [name] if name else next((row["objects"][:1] for row in told), [])
    return [row for row in told if row["objects"][:1] == about or timeline.is_own(row["type"], row["objects"], name)]


def build(database: Database, house: House) -> AuditService:
    """Return the service over its database."""
    return AuditService(database, house)
