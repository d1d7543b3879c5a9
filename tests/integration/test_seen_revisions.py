"""What a person saw counts until his step is recorded: others are at work while the case is asked."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from dutyloop.policy.v1 import policy_pb2
from infra.embedded.postgres import OWNER
from services.kit.db import role_password
from services.kit.policy import MethodRule
from services.kit.settings import required
from tests.integration.house import Caller, Refusal, RunningHouse, hosted_services, rules_of
from tests.integration.people import City
from tests.integration.stock import Stock
from tests.integration.successes_of_cases import CASES

RULES = rules_of(hosted_services())
TABLES = {
    "hazards": "hazard.hazard",
    "tours": "inspection.tour",
    "supervisionCases": "accountability.supervision_case",
    "accountabilityCases": "accountability.accountability_case",
}
ACTIONS = [path for path, rule in RULES.items() if rule.kind == policy_pb2.METHOD_KIND_CASE_ACTION]
SOMEBODY_WAITS = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"


@contextlib.asynccontextmanager
async def being_changed(house: RunningHouse, table: str, identifier: str) -> AsyncIterator[str]:
    """Change a row, and yield its revision before; the change is seen once somebody waits to change the row too."""
    url = required(house.settings.database_url, "database_url").get_secret_value()
    connection = await asyncpg.connect(url, user=OWNER, password=role_password(house.settings, OWNER))
    try:
        async with connection.transaction():
            change = f"UPDATE {table} SET revision = revision + 1 WHERE id = $1 RETURNING revision"
            revision = await connection.fetchval(change, identifier)
            yield str(revision - 1)
            for _ in range(300):
                if await connection.fetchval(SOMEBODY_WAITS):
                    break
                await asyncio.sleep(0.02)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def at(city: City) -> Stock:
    """What there is at home."""
    return Stock(city.house, city.home)


async def asking(city: City, at: Stock, rule: MethodRule) -> tuple[Caller, Any]:
    """Return a request that succeeds, and who may make it."""
    holder = city.home.people[policy_pb2.ROLE_DUTY_HOLDER]
    caller = next((person for role, person in city.home.people.items() if role in rule.roles), holder)
    (request,) = await CASES.requests(rule, at, caller)
    return caller, request


@pytest.mark.parametrize("path", ACTIONS, ids=lambda path: path.rpartition(".v1.")[2])
async def test_what_changes_while_the_case_is_asked_is_noticed(city: City, at: Stock, path: str) -> None:
    """Two supervisors would act on one matter, each on what he saw before the other's step, and neither notice."""
    rule = RULES[path]
    caller, asked = await asking(city, at, rule)
    collection, _, identifier = asked.name.partition("/")
    async with being_changed(city.house, TABLES[collection], identifier) as seen:
        asked.request_id, asked.etag = uuid.uuid4().hex, seen
        acting = asyncio.create_task(city.house.send(caller, rule, [asked.SerializeToString()]))
    refusal = await acting
    assert isinstance(refusal, Refusal), "the step was taken on what had changed"
    assert (refusal.reason, refusal.metadata) == ("STALE_ETAG", {"resource": asked.name})

    asked.request_id, asked.etag = uuid.uuid4().hex, str(int(seen) + 1)
    assert isinstance(await city.house.send(caller, rule, [asked.SerializeToString()]), bytes), "the case stands still"


@pytest.mark.parametrize("path", ACTIONS, ids=lambda path: path.rpartition(".v1.")[2])
async def test_of_two_at_once_who_saw_the_same_one_acts(city: City, at: Stock, path: str) -> None:
    """Whoever comes second would be told of some rule that the first one's step has him break, and not look again."""
    rule = RULES[path]
    caller, asked = await asking(city, at, rule)
    collection, _, identifier = asked.name.partition("/")
    (row,) = await city.house.fetch(f"SELECT revision FROM {TABLES[collection]} WHERE id = $1", identifier)
    asked.etag = str(row["revision"])
    requests = []
    for _ in range(2):
        asked.request_id = uuid.uuid4().hex
        requests.append(asked.SerializeToString())
    answers = await asyncio.gather(*(city.house.send(caller, rule, [each]) for each in requests))
    (first,) = [position for position, answer in enumerate(answers) if isinstance(answer, bytes)]
    refusal = answers[1 - first]
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.metadata) == ("STALE_ETAG", {"resource": asked.name})
    assert await city.house.send(caller, rule, [requests[first]]) == answers[first], "the first answer is for good"
