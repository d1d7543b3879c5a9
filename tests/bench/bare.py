"""The bare gRPC server: the same queries on the same pool, and nothing of what makes them a product.

No authentication, roles, validation, deadlines, clock, logging, stored answers or composed ledger entries. The
command is one statement that writes the same three rows, the audit row from constants of the usual size.
Run as ``python -m tests.bench.bare ADDRESS``.
"""

import os
import sys
import time
from datetime import date
from typing import Any

import asyncpg
import grpc
import uvloop

from dutyloop.plan.v1 import plan_pb2
from services.kit.db import SESSION_SETTINGS
from services.kit.settings import Settings
from services.plan import messages
from services.plan.messages import TASK_COLUMNS
from services.plan.task_store import LIST_TASKS
from tests.bench.city import database_login

GET, LIST, REPORT, ECHO = "/bench.Bare/Get", "/bench.Bare/List", "/bench.Bare/Report", "/bench.Bare/Echo"
POOL_SIZE = 5
STATES = ["OPEN", "SUBMITTED", "DONE"]
GET_ONE = "SELECT " + TASK_COLUMNS + " FROM task t WHERE t.id = $1"
REPORT_IN_ONE = (
    """
WITH task AS (
    UPDATE task t SET revision = t.revision + 1, progress_percent = $2, remark = $3
    WHERE t.id = $1 AND t.state = 'OPEN'
    RETURNING t.*
), command AS (
    INSERT INTO command (principal, method, request_id, body_hash, answer, receipts)
    VALUES ('people/bare', 'Report', $4, $5::bytea, $6, ARRAY[$5::bytea])
), entry AS (
    INSERT INTO ledger.entry (id, type, actor, business_time, recorded_time, objects, region_code, unit_path,
        request_id, workflow_id, on_behalf_of, method, policy_version, envelope, salt, payload, leaf_hash)
    VALUES ($4, 'plan.task.progressed', 'people/bare', now(), now(), $7, '1303', 'u/', $4, 'w', '', 'Report', '',
        $8::bytea, $9, $8::bytea, $5::bytea)
)
SELECT """
    + TASK_COLUMNS
    + " FROM task t"
)
HASH, ENVELOPE, SALT = bytes(32), b"e" * 700, bytes(16)
OBJECTS = ["tasks/bench1-100", "annualTaskLists/bench1", "dutyItems/i1", "posts/abcdefghijklmnop"]


class Bare:
    """The handlers."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    async def get(self, request: plan_pb2.GetTaskRequest, context: Any) -> plan_pb2.Task:
        """Read one task."""
        row = await self._pool.fetchrow(GET_ONE, request.name.removeprefix("tasks/"))
        assert row is not None
        return messages.task_message(row, time.time())

    async def list(self, request: plan_pb2.ListTasksRequest, context: Any) -> plan_pb2.ListTasksResponse:
        """Read a page of tasks."""
        scope: tuple[object, ...] = (
            ["1303"],
            [],
            request.annual_task_list.removeprefix("annualTaskLists/"),
            request.unit,
            request.post,
        )
        every = (STATES, date.max, date.min, None, date.min, "", request.page_size + 1)
        rows = await self._pool.fetch(LIST_TASKS[True, False, True], *scope, *every)
        response, now = plan_pb2.ListTasksResponse(), time.time()
        for row in rows[: request.page_size]:
            messages.fill_task(row, now, response.tasks.add())
        response.total_size = rows[0]["total"]
        return response

    async def report(self, request: plan_pb2.ReportProgressRequest, context: Any) -> plan_pb2.Task:
        """Note progress, in one statement."""
        row = await self._pool.fetchrow(
            REPORT_IN_ONE,
            request.name.removeprefix("tasks/"),
            request.progress_percent,
            request.remark,
            request.request_id,
            HASH,
            ENVELOPE[:350],
            OBJECTS,
            ENVELOPE,
            SALT,
        )
        assert row is not None
        return messages.task_message(row, time.time())

    async def echo(self, request: bytes, context: Any) -> bytes:
        """Give back what came."""
        return request


async def _keep_session(connection: object) -> None:
    """Do without asyncpg's reset, as ours does."""


async def main(address: str) -> None:
    """Serve until killed."""
    url, password = database_login(Settings(), "plan")
    pool = await asyncpg.create_pool(
        url,
        user="plan",
        password=password,
        min_size=POOL_SIZE,
        max_size=POOL_SIZE,
        reset=_keep_session,
        server_settings={**SESSION_SETTINGS, "search_path": "plan"},
    )
    bare = Bare(pool)

    def unary(handler: Any, request: Any) -> Any:
        answers = {
            "request_deserializer": request.FromString,
            "response_serializer": lambda each: each.SerializeToString(),
        }
        return grpc.unary_unary_rpc_method_handler(handler, **answers)

    handlers = {
        "Get": unary(bare.get, plan_pb2.GetTaskRequest),
        "List": unary(bare.list, plan_pb2.ListTasksRequest),
        "Report": unary(bare.report, plan_pb2.ReportProgressRequest),
        "Echo": grpc.unary_unary_rpc_method_handler(bare.echo),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Bare", handlers),))
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    uvloop.run(main(sys.argv[1]))
