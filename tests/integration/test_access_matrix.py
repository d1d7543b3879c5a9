"""Who may do what: every method × every role × home and next door, as tests/golden/access_matrix.csv says.

Generated from the descriptors and measured over the wire. After a deliberate change run
``pytest tests/integration/test_access_matrix.py --update-golden`` and review the difference like code.
"""

import asyncio
import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
import pytest

from dutyloop.audit.v1 import audit_pb2
from dutyloop.audit.v1.audit_pb2_grpc import AuditServiceStub
from dutyloop.policy.v1 import policy_pb2
from services.kit.policy import MethodRule
from services.kit.server import PERSONS_NEVER
from tests.integration.examples import stream_of, well_formed
from tests.integration.house import NOBODY, Caller, Refusal, hosted_services, rules_of
from tests.integration.people import ROLES, City, Place, role_word

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "access_matrix.csv"
REGENERATE = "review it, then run: pytest tests/integration/test_access_matrix.py --update-golden"
RULES = rules_of(hosted_services())
COLUMNS = ("method", "kind", *map(role_word, ROLES), "service", "absent", "foreign")
OPEN_TO_EVERY_POST = frozenset({"/dutyloop.directory.v1.DirectoryService/GetRegion"})
"""Reads of public facts: regions are the same for everybody."""
EVERY_METHOD = pytest.mark.parametrize("path", RULES, ids=lambda path: path.rpartition(".v1.")[2])
Row = Mapping[str, str]


@pytest.fixture(scope="module")
def golden(update_golden: bool) -> Iterator[dict[str, Row]]:
    """The golden rows by method; measured rows put into it are kept when golden files are to be updated."""
    rows: dict[str, Row] = {}
    if GOLDEN.exists():
        with GOLDEN.open(newline="") as file:
            rows = {row["method"]: row for row in csv.DictReader(file)}
    yield rows
    if update_golden:
        GOLDEN.parent.mkdir(exist_ok=True)
        with GOLDEN.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows[path] for path in RULES if path in rows)


async def attempt(
    city: City, caller: Caller, rule: MethodRule, names: Mapping[str, str] | None = None
) -> Refusal | str:
    """Call a method with a well-formed request about ``names``; return the refusal, or the answer as text."""
    request = stream_of(rule, names) if rule.client_streaming else well_formed(rule, names)
    answer = await city.house.send(caller, rule, [request.SerializeToString()])
    return answer if isinstance(answer, Refusal) else answer.decode(errors="replace")


def may(answer: Refusal | str) -> str:
    """Tell whether the caller was let in, whatever was answered then."""
    if isinstance(answer, Refusal) and answer.code is grpc.StatusCode.PERMISSION_DENIED:
        assert answer.reason == "ROLE_MISSING"
        return "deny"
    if isinstance(answer, Refusal):
        assert answer.code not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAUTHENTICATED)
    return "allow"


def shape(answer: Refusal | str) -> str:
    """Return what a caller can tell from an answer about absent or foreign things."""
    if isinstance(answer, str):
        return "OK"
    fields = ",".join(f"{field} {problem}" for field, problem in sorted(answer.fields.items()))
    return f"{answer.code.name} {fields}".strip()


async def let_in(city: City, place: Place, rule: MethodRule) -> list[str]:
    """Try a method in every role of a place, one after the other where two imports of a kind must not meet."""
    attempts = [attempt(city, place.people[role], rule) for role in ROLES]
    if rule.client_streaming:
        return [may(await each) for each in attempts]
    return [may(answer) for answer in await asyncio.gather(*attempts)]


async def measure(city: City, rule: MethodRule) -> Row:
    """Try a method as everybody, and about what is absent and what lies next door."""
    home, next_door = [await let_in(city, place, rule) for place in (city.home, city.next_door)]
    assert home == next_door, "a role means the same in every region"
    entitled = city.house.service() if rule.kind in PERSONS_NEVER else city.all_rounder
    absent = shape(await attempt(city, entitled, rule))
    foreign = "-"
    if rule.kind not in PERSONS_NEVER:
        foreign = shape(await attempt(city, city.all_rounder, rule, city.next_door.names))
    return {
        "method": rule.path,
        "kind": policy_pb2.MethodKind.Name(rule.kind).removeprefix("METHOD_KIND_").lower(),  # type: ignore[arg-type]
        **dict(zip(map(role_word, ROLES), home, strict=True)),
        "service": may(await attempt(city, city.house.service(), rule)),
        "absent": absent,
        "foreign": foreign,
    }


@EVERY_METHOD
async def test_every_role_is_let_in_or_refused_as_the_matrix_says(
    city: City, path: str, golden: dict[str, Row], update_golden: bool
) -> None:
    """Somebody could do what his post does not carry, or could no longer do his work."""
    measured = await measure(city, RULES[path])
    if update_golden:
        golden[path] = measured
    assert path in golden, f"{path} has no row in {GOLDEN.name}: {REGENERATE}"
    assert golden[path] == measured, REGENERATE


@EVERY_METHOD
def test_the_matrix_is_the_contract(path: str, golden: dict[str, Row]) -> None:
    """A row accepted in haste could open a method to roles that the API documents refuse."""
    rule, row = RULES[path], golden.get(path)
    assert row is not None, f"{path} has no row in {GOLDEN.name}: {REGENERATE}"
    allowed = {role for role in ROLES if row[role_word(role)] == "allow"}
    everybody = rule.kind == policy_pb2.METHOD_KIND_READ and not rule.roles
    expected = set() if rule.kind in PERSONS_NEVER else set(ROLES) if everybody else set(rule.roles)
    assert expected == allowed
    assert ("allow" if rule.worker else "deny") == row["service"]


@EVERY_METHOD
def test_next_door_is_the_same_as_absent(path: str, golden: dict[str, Row]) -> None:
    """Whoever guesses names would learn what a sibling city has, and would be told that it is forbidden."""
    rule, row = RULES[path], golden.get(path)
    assert row is not None, f"{path} has no row in {GOLDEN.name}: {REGENERATE}"
    assert "PERMISSION_DENIED" not in row["foreign"]
    if rule.scope_field and rule.kind not in PERSONS_NEVER and path not in OPEN_TO_EVERY_POST:
        assert row["absent"] == row["foreign"]
        assert row["foreign"] == "NOT_FOUND"


@EVERY_METHOD
async def test_nobody_gets_in_without_token_or_post(city: City, path: str) -> None:
    """Anyone who reaches the port, or whose last post has ended, could go on working."""
    rule = RULES[path]
    stranger = (grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING")
    if rule.subject:  # open to the subject of what is named, whatever posts he holds; there is none to anybody else
        stranger = (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    for caller, code, reason in (
        (NOBODY, grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"),
        (Caller("people/1", "not.a.token"), grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"),
        (city.postless, *stranger),
        (city.house.person("people/unheard-of"), *stranger),
    ):
        answer = await attempt(city, caller, rule)
        if rule.subject and not rule.scope_field and code is grpc.StatusCode.NOT_FOUND:
            assert answer == "", caller.name  # a list of one's own, with nothing on it
            continue
        assert isinstance(answer, Refusal), caller.name
        assert (code, reason) == (answer.code, answer.reason), caller.name


@pytest.mark.parametrize(
    "path",
    [
        path
        for path, rule in RULES.items()
        if rule.kind == policy_pb2.METHOD_KIND_READ and not rule.scope_field and ".audit." not in path
    ],
)
async def test_lists_show_nothing_from_next_door(city: City, path: str) -> None:
    """A county would read its sibling's hazards, people or sites in its own lists."""
    answer = await attempt(city, city.all_rounder, RULES[path])
    for kind, name in city.next_door.names.items():
        if isinstance(answer, str) and kind != "dutyloop/Region":
            assert name not in answer, kind


async def test_the_ledger_shows_of_next_door_only_what_one_s_own_people_tried_there(city: City) -> None:
    """An auditor would read the neighbours' affairs, or would not see that his people pry into them."""
    auditor = city.home.people[policy_pb2.ROLE_AUDITOR]
    request = audit_pb2.ListLedgerEntriesRequest(page_size=1_000)
    answer = await auditor.calls(AuditServiceStub(city.house.channel).ListLedgerEntries, request)
    foreign = {name for kind, name in city.next_door.names.items() if kind != "dutyloop/Region"}
    strangers = {person.name for person in city.next_door.people.values()}
    about = [entry for entry in answer.ledger_entries if foreign & set(entry.objects)]
    assert {"access.call.refused"} >= {entry.type for entry in about}
    assert not strangers & {entry.actor for entry in answer.ledger_entries}
    assert answer.ledger_entries


@pytest.mark.parametrize(
    "path", [path for path, rule in RULES.items() if rule.name.startswith("Get") and rule.scope_field]
)
async def test_what_is_one_s_own_is_found(city: City, path: str) -> None:
    """The matrix would be as green if everything were hidden from everybody."""
    resource = RULES[path].scope_field
    answer = await attempt(city, city.all_rounder, RULES[path], city.home.names)
    named = getattr(well_formed(RULES[path], city.home.names), resource)
    if not named.endswith("/absent"):
        assert isinstance(answer, str), answer


def test_the_matrix_has_no_rows_of_methods_that_are_gone(golden: dict[str, Row]) -> None:
    """Whoever reads the matrix would believe in a method that no longer exists."""
    assert set() == golden.keys() - rules_of().keys()
