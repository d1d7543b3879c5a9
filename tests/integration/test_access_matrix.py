"""Who may do what: every method × every role × one's own things and next door's, as the golden matrix says.

Generated from the descriptors and measured over the wire, on real things in the state that each method starts from:
whoever may, succeeds. After a deliberate change run
``make test ARGS="tests/integration/test_access_matrix.py --update-golden"`` and review the difference like code.
"""

import asyncio
import csv
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from dutyloop.audit.v1 import audit_pb2
from dutyloop.audit.v1.audit_pb2_grpc import AuditServiceStub
from dutyloop.kit.v1 import kit_pb2
from dutyloop.policy.v1 import policy_pb2
from services.kit.policy import ANY_RESOURCE, MethodRule
from services.kit.server import PERSONS_NEVER
from tests.integration.examples import (
    COLLECTIONS,
    Reference,
    absent_like,
    named_by,
    references,
    renamed,
    resource_type,
    stream_of,
    well_formed,
)
from tests.integration.house import (
    NOBODY,
    STREAM_SECONDS,
    Caller,
    Refusal,
    hosted_services,
    method_descriptor,
    rules_of,
)
from tests.integration.people import ROLES, City, Place, Role, appoint, hire, role_word
from tests.integration.stock import Stock
from tests.integration.successes import Examples
from tests.integration.successes_of_cases import CASES
from tests.integration.successes_of_records import RECORDS

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "access_matrix.csv"
REGENERATE = 'run make test ARGS="tests/integration/test_access_matrix.py --update-golden" and review the new rows'
ADD_EXAMPLE = "add a request with which an allowed caller succeeds to tests/integration/successes_of_{records,cases}.py"
EXAMPLES = Examples(RECORDS | CASES)
RULES = rules_of(hosted_services())
COLUMNS = ("method", "kind", "things", *map(role_word, ROLES), "worker", "service")
NATIONAL = {
    "/dutyloop.directory.v1.DirectoryService/PublishHolidayNotice": "the calendar is one for the whole country",
    "/dutyloop.directory.v1.DirectoryService/AdvanceClock": "business time is one for all",
}
"""Methods for which a post must reach nationwide: the operator who founded the house succeeds, no region's does."""
OPEN_TO_EVERY_POST = {
    "/dutyloop.directory.v1.DirectoryService/GetRegion": "regions are public facts",
    "/dutyloop.directory.v1.DirectoryService/ListRegions": "regions are public facts",
}
"""Methods that show next door's things to everybody."""
NAMED_OTHERWISE = {
    "/dutyloop.audit.v1.AuditService/ExportHistory": "workflow_id",
    "/dutyloop.hazard.v1.HazardService/ImportHazards": "rows.site_legacy_id",
    "/dutyloop.inspection.v1.InspectionService/ImportVisits": "rows.site_legacy_id",
}
"""Fields that name what a call is about, and are no resource names."""
ACROSS_REGIONS: dict[tuple[str, str], str] = {
    ("ImportDutyItems", "rows.item.area"): "regions are public facts, and naming one gives no reach there",
}
"""References that may lead next door, by method and field, and why."""
UNREAD: dict[tuple[str, str], str] = {
    ("UpdateResponsibilityList", "responsibility_list.unit"): "an update leaves what is immutable as it is",
    ("UpdateResponsibilityList", "responsibility_list.post"): "an update leaves what is immutable as it is",
    ("UpdateResponsibilityList", "responsibility_list.predecessor"): "an update leaves what is immutable as it is",
}
"""References that the method does not follow, wherever they lead, and why."""
NEVER_TAKEN: dict[tuple[str, str], str] = {
    ("ImportRegions", "header.source_region"): "regions have no legacy ids",
    ("ImportDutyItems", "header.source_region"): "duty items have no legacy ids",
}
"""References that the method refuses, wherever they lead, and why."""
FROM_ABOVE = ("dutyloop/EscalationPolicy",)
"""Resource types of which both cities' lists show those that serve them from above; here, of the whole country."""
PATIENCE_SECONDS = 2.0
"""How long a follower is listened to in silence before its rows are judged; it looks for new ones twice a second."""
NO_PLACE = {"dutyloop/HolidayNotice": "holds nationwide"}
EVERY_METHOD = pytest.mark.parametrize("path", RULES, ids=lambda path: path.rpartition(".v1.")[2])
OF_PEOPLE = [path for path, rule in RULES.items() if rule.kind not in PERSONS_NEVER]
Row = Mapping[str, str]
Rows = dict[tuple[str, str], Row]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Two cities with something of every kind in both."""

    city: City
    home: Stock
    next_door: Stock
    commuters: dict[tuple[Role, ...], Caller] = field(default_factory=dict)

    async def commuter(self, roles: tuple[Role, ...]) -> Caller:
        """Return somebody who serves next door in these roles, and at home in all the others."""
        if roles not in self.commuters:
            person = await hire(self.city.house, self.city.next_door.office, *roles)
            others = [role for role in ROLES if role not in roles]
            await appoint(self.city.house, person, self.city.home.office, *others)
            self.commuters[roles] = person
        return self.commuters[roles]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def neighbours(city: City) -> Neighbours:
    """Stock both cities."""
    home, next_door = Stock(city.house, city.home), Stock(city.house, city.next_door)
    await asyncio.gather(home.names(), next_door.names())
    return Neighbours(city, home, next_door)


@pytest.fixture(scope="module")
def golden(update_golden: bool) -> Iterator[Rows]:
    """The golden rows by method and things; measured rows put into it are kept when golden files are to be updated."""
    rows: Rows = {}
    if GOLDEN.exists():
        with GOLDEN.open(newline="") as file:
            rows = {(row["method"], row["things"]): row for row in csv.DictReader(file)}
    yield rows
    if update_golden:
        GOLDEN.parent.mkdir(exist_ok=True)
        with GOLDEN.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows[path, things] for path in RULES for things in THINGS if (path, things) in rows)


THINGS = ("own", "foreign", "absent")
"""What a caller asks about: things of his own region, next door's, and what does not exist."""
SAY_ALL = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT)
"""Codes beside which the golden file needs no reason."""


async def attempt(
    city: City, caller: Caller, rule: MethodRule, request: Message | None = None, *, patience: float = STREAM_SECONDS
) -> Refusal | bytes:
    """Call a method, once more if the request was sent before; with a well-formed request if none is given."""
    sent: Any = (stream_of(rule) if rule.client_streaming else well_formed(rule)) if request is None else request
    holder = sent.header if rule.client_streaming else sent
    if "request_id" in holder.DESCRIPTOR.fields_by_name:
        holder.request_id = uuid.uuid4().hex
    return await city.house.send(caller, rule, [sent.SerializeToString()], patience=patience)


def outcome(rule: MethodRule, answer: Refusal | bytes) -> str:
    """Return what the golden file says of an answer."""
    if isinstance(answer, Refusal):
        assert answer.code not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAUTHENTICATED)
        if answer.code is grpc.StatusCode.PERMISSION_DENIED:
            assert answer.reason == "ROLE_MISSING"
        fields = [f"{field} {problem}" for field, problem in sorted(answer.fields.items())]
        why = [answer.reason, *answer.metadata.values()] if answer.code not in SAY_ALL else []
        return " ".join([answer.code.name, *why, *fields])
    kind = method_descriptor(rule.path).output_type
    message: Any = GetMessageClass(kind).FromString(answer)
    if isinstance(message, kit_pb2.ImportReport):
        return "REJECTED " + ",".join(error.column for error in message.errors) if message.rejected else "OK"
    if "next_page_token" in kind.fields_by_name or rule.name.startswith("BatchGet"):
        rows = next(field for field in kind.fields if field.is_repeated)
        return "OK" if getattr(message, rows.name) else "EMPTY"
    return "OK"


def told(answer: Refusal | bytes, name: str) -> str:
    """Return all that a caller is told, but for the name that he asked with."""
    return repr(answer).replace(name, "…") if name else repr(answer)


def main_field(rule: MethodRule) -> str:
    """Return the field that names what a call is about: the scope's, else the first that names something.

    An import's header names where its rows come from, not what they are about.
    """
    named = rule.scope_field or NAMED_OTHERWISE.get(rule.path)
    return named or next((each.path for each in references(rule) if not each.path.startswith("header.")), "")


def allowed_roles(rule: MethodRule) -> tuple[Role, ...]:
    """Return the roles that the policy lets in."""
    if rule.kind in PERSONS_NEVER:
        return ()
    everybody = rule.kind == policy_pb2.METHOD_KIND_READ and not rule.roles
    return tuple(role for role in ROLES if everybody or role in rule.roles)


def tried(city: City, place: Place, rule: MethodRule, role: Role) -> Caller:
    """Return who tries a method in a role; at home the nationwide operator, where only such a one can succeed."""
    national = rule.path in NATIONAL and place is city.home and role in rule.roles
    return city.house.operator if national else place.people[role]


async def measure(at: Neighbours, rule: MethodRule) -> dict[str, Row]:
    """Try a method as everybody: on next door's things and absent ones first, then on one's own until it is done."""
    city, worker = at.city, at.city.house.worker()
    allowed = allowed_roles(rule)
    first = tried(city, city.home, rule, allowed[0]) if allowed else worker
    request = (await EXAMPLES.requests(rule, at.home, first))[0]
    results = {} if rule.kind in PERSONS_NEVER else await measure_from_next_door(at, rule, request)
    own: dict[str, str] = {}
    for role in sorted(ROLES, key=allowed.__contains__):  # first those who must be refused: nothing is done yet
        caller = tried(city, city.home, rule, role)
        asked = (await EXAMPLES.requests(rule, at.home, caller))[0] if role in allowed[1:] else request
        own[role_word(role)] = outcome(rule, await attempt(city, caller, rule, asked))
    if rule.worker and rule.kind not in PERSONS_NEVER:
        request = (await EXAMPLES.requests(rule, at.home, worker))[0]
    for part, caller in (("service", city.house.service()), ("worker", worker)):  # first who may have to be refused
        own[part] = outcome(rule, await attempt(city, caller, rule, request))
    kind = policy_pb2.MethodKind.Name(rule.kind).removeprefix("METHOD_KIND_").lower()  # type: ignore[arg-type]
    head = {"method": rule.path, "kind": kind, "worker": "-", "service": "-"}
    return {things: {**head, "things": things, **row} for things, row in {"own": own, **results}.items()}


async def measure_from_next_door(at: Neighbours, rule: MethodRule, request: Message) -> dict[str, dict[str, str]]:
    """Have next door's people send a request about things of home, and about absent ones: they are told the same."""
    callers = {role: tried(at.city, at.city.next_door, rule, role) for role in ROLES}
    foreign = {role: await attempt(at.city, caller, rule, request) for role, caller in callers.items()}
    results = {"foreign": {role_word(role): outcome(rule, answer) for role, answer in foreign.items()}}
    if rule.roles and (allowed := allowed_roles(rule)) != ROLES:  # a post elsewhere must not lend its roles here
        answer = await attempt(at.city, await at.commuter(allowed), rule, request)
        assert outcome(rule, answer) == results["foreign"][role_word(allowed[0])], (
            "a post's roles went beyond its reach"
        )
    if not (named := main_field(rule)) or not (names := named_by(request, named)):
        return results
    asked = renamed(request, names[0], absent_like(names[0]), [named])
    absent = {role: await attempt(at.city, caller, rule, asked) for role, caller in callers.items()}
    for role in ROLES if rule.path not in OPEN_TO_EVERY_POST else ():
        assert told(foreign[role], names[0]) == told(absent[role], absent_like(names[0])), role_word(role)
    return {**results, "absent": {role_word(role): outcome(rule, answer) for role, answer in absent.items()}}


@EVERY_METHOD
async def test_every_role_succeeds_or_is_refused_as_the_matrix_says(
    neighbours: Neighbours, path: str, golden: Rows, update_golden: bool
) -> None:
    """Somebody could do what his post does not carry, could no longer do his work, or would reach next door."""
    measured = await measure(neighbours, RULES[path])
    if update_golden:
        for things in THINGS:
            golden.pop((path, things), None)
        golden.update({(path, things): row for things, row in measured.items()})
    expected = {things: golden[path, things] for things in THINGS if (path, things) in golden}
    assert expected, f"{path} has no row in {GOLDEN.name}: {REGENERATE}"
    assert expected == measured, f"where an allowed role does not get OK, {ADD_EXAMPLE}; otherwise {REGENERATE}"


@EVERY_METHOD
def test_the_matrix_is_the_contract(path: str, golden: Rows) -> None:
    """A row accepted in haste could open a method to roles that the API documents refuse, or close it to others."""
    rule, row = RULES[path], golden.get((path, "own"))
    assert row is not None, f"{path} has no row in {GOLDEN.name}: {REGENERATE}"
    allowed = set(allowed_roles(rule))
    for role in ROLES:
        expected = "OK" if role in allowed else "PERMISSION_DENIED"
        assert expected == row[role_word(role)], f"{path} as {role_word(role)}: {ADD_EXAMPLE}"
    others = rule.worker and rule.kind in (policy_pb2.METHOD_KIND_READ, policy_pb2.METHOD_KIND_SERVICE)
    for part, let_in in (("worker", rule.worker), ("service", others)):
        assert ("OK" if let_in else "PERMISSION_DENIED") == row[part], f"{path} as {part}: {ADD_EXAMPLE}"


@pytest.mark.parametrize("path", OF_PEOPLE, ids=lambda path: path.rpartition(".v1.")[2])
def test_next_door_is_the_same_as_absent(path: str, golden: Rows) -> None:
    """Whoever guesses names would learn what a sibling city has, and would be told that it is forbidden."""
    rule = RULES[path]
    own, foreign, absent = (golden.get((path, things)) for things in THINGS)
    assert own is not None and foreign is not None, f"{path} has no row in {GOLDEN.name}: {REGENERATE}"
    for role in map(role_word, allowed_roles(rule)):
        if path in OPEN_TO_EVERY_POST or not (main_field(rule) or path in NATIONAL or rule.client_streaming):
            assert foreign[role] == "OK"
        elif rule.scope_field or path in NATIONAL:
            assert foreign[role] == "NOT_FOUND"
        else:
            assert foreign[role].partition(" ")[0] in ("NOT_FOUND", "EMPTY", "REJECTED")
        if main_field(rule) and path not in OPEN_TO_EVERY_POST and path not in NATIONAL:
            assert absent is not None, f"{path} names something by {main_field(rule)}: {ADD_EXAMPLE} that sets it"
            assert absent[role] == foreign[role]


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
            assert outcome(rule, answer) == "EMPTY", caller.name  # a list of one's own, with nothing on it
            continue
        assert isinstance(answer, Refusal), caller.name
        assert (code, reason) == (answer.code, answer.reason), caller.name


def secondary(rule: MethodRule) -> list[Reference]:
    """Return the fields by which a request names something beside what it is about."""
    return [each for each in references(rule) if each.path != main_field(rule)]


@pytest.mark.parametrize(
    "path", [path for path in OF_PEOPLE if secondary(RULES[path])], ids=lambda path: path.rpartition(".v1.")[2]
)
async def test_a_foreign_reference_is_refused_like_an_absent_one(neighbours: Neighbours, path: str) -> None:
    """Next door's people, units or hazards would be drawn into one's own affairs, or be found out by guessing."""
    rule, foreign_names = RULES[path], await neighbours.next_door.names()
    caller = tried(neighbours.city, neighbours.city.home, rule, allowed_roles(rule)[0])
    left = {each.path for each in secondary(rule) if (rule.name, each.path) not in NEVER_TAKEN}
    variants = len(await EXAMPLES.requests(rule, neighbours.home, caller))
    for number in range(variants):
        request = (await EXAMPLES.requests(rule, neighbours.home, caller))[number]
        for reference in secondary(rule):
            if not named_by(request, reference.path):
                continue
            left.discard(reference.path)
            kind = reference.type
            names = list(foreign_names.values()) if kind == ANY_RESOURCE else [foreign_names[kind]]
            for foreign in names:
                if await follows(neighbours, caller, rule, request, reference, foreign):
                    request = (await EXAMPLES.requests(rule, neighbours.home, caller))[number]
        assert outcome(rule, await attempt(neighbours.city, caller, rule, request)) == "OK", request
    assert left == set(), f"{path}: {ADD_EXAMPLE} that sets them too, beside the first one if need be"


async def follows(
    at: Neighbours, caller: Caller, rule: MethodRule, request: Message, reference: Reference, foreign: str
) -> bool:
    """Turn a reference to next door's thing and to an absent one; tell whether the request took effect."""
    own = named_by(request, reference.path)[-1]
    absent = absent_like(foreign)
    everywhere = [each.path for each in secondary(rule)]
    about_foreign, about_absent = [
        await attempt(at.city, caller, rule, renamed(request, own, name, everywhere)) for name in (foreign, absent)
    ]
    key = (rule.name, reference.path)
    result = outcome(rule, about_foreign)
    if key in UNREAD:
        assert (result, outcome(rule, about_absent)) == ("OK", "OK"), f"{key} is followed: {about_foreign!r}"
        return True
    assert outcome(rule, about_absent) != "OK", f"{key} is not followed: say why in UNREAD"
    if key in ACROSS_REGIONS:
        assert result == "OK", f"{key} does not lead next door: {about_foreign!r}"
        return True
    assert result != "OK", f"{key} led next door: {foreign}"
    assert told(about_foreign, foreign) == told(about_absent, absent), key
    if isinstance(about_foreign, Refusal):
        named = {*map(indexless, about_foreign.fields), *about_foreign.metadata.values()}
        swapped = {path for path in everywhere if own in named_by(request, path)}
        assert named & {foreign, *swapped}, f"{key} was not what was refused: {about_foreign}"
    return False


def indexless(field: str) -> str:
    """Return a field's path without the numbers of elements."""
    return ".".join(part.partition("[")[0] for part in field.split("."))


def listed_field(rule: MethodRule) -> FieldDescriptor | None:
    """Return the field of an answer that lists resources within reach, None for methods that list none."""
    if rule.kind != policy_pb2.METHOD_KIND_READ or rule.scope_field:
        return None
    for each in method_descriptor(rule.path).output_type.fields:
        if each.is_repeated and each.message_type is not None and resource_type(each.message_type):
            return each
    return None


async def rows_of(city: City, caller: Caller, rule: MethodRule, listed: FieldDescriptor) -> dict[str, Any]:
    """Read every page of a list; return its rows by name. What is counted is what is shown."""
    request: Any = GetMessageClass(rule.request)()
    rows: dict[str, Any] = {}
    total = None
    while True:
        if "page_size" in rule.request.fields_by_name:
            request.page_size = 1_000
        answer = await attempt(city, caller, rule, request, patience=PATIENCE_SECONDS)
        assert isinstance(answer, bytes), answer
        page: Any = GetMessageClass(method_descriptor(rule.path).output_type).FromString(answer)
        rows |= {row.name: row for row in getattr(page, listed.name)}
        if total is None:
            total = getattr(page, "total_size", None)
        if not (token := getattr(page, "next_page_token", "")):
            assert total in (None, len(rows)), "the total counts what is not shown"
            return rows
        request.page_token = token


@pytest.mark.parametrize(
    "path", [path for path in OF_PEOPLE if listed_field(RULES[path])], ids=lambda path: path.rpartition(".v1.")[2]
)
async def test_lists_show_one_s_own_and_nothing_from_next_door(neighbours: Neighbours, path: str) -> None:
    """A county would read its sibling's hazards, people or sites in its own lists, or would miss its own."""
    rule, city = RULES[path], neighbours.city
    listed = cast("FieldDescriptor", listed_field(rule))
    kind = resource_type(cast("Descriptor", listed.message_type))
    own, foreign = (await neighbours.home.names())[kind], (await neighbours.next_door.names())[kind]
    for role in allowed_roles(rule):
        shown = await rows_of(city, city.home.people[role], rule, listed)
        shown_next_door = await rows_of(city, city.next_door.people[role], rule, listed)
        assert own in shown and foreign in shown_next_door, f"{role_word(role)} misses his own"
        if path in OPEN_TO_EVERY_POST:
            continue
        assert foreign not in shown and own not in shown_next_door, role_word(role)
        both = shown.keys() & shown_next_door.keys()
        assert both == set() or (kind in FROM_ABOVE and not any(shown[name].region for name in both)), both


async def test_the_ledger_shows_of_next_door_only_what_one_s_own_people_tried_there(neighbours: Neighbours) -> None:
    """An auditor would read the neighbours' affairs, or would not see that his people pry into them."""
    city = neighbours.city
    auditor = city.home.people[policy_pb2.ROLE_AUDITOR]
    request = audit_pb2.ListLedgerEntriesRequest(page_size=1_000)
    answer = await auditor.calls(AuditServiceStub(city.house.channel).ListLedgerEntries, request)
    foreign = {name for kind, name in (await neighbours.next_door.names()).items() if kind != "dutyloop/Region"}
    strangers = {person.name for person in city.next_door.people.values()}
    about = [entry for entry in answer.ledger_entries if foreign & set(entry.objects)]
    assert {"access.call.refused"} >= {entry.type for entry in about}
    assert not strangers & {entry.actor for entry in answer.ledger_entries}
    assert answer.ledger_entries


async def test_both_cities_have_something_of_every_kind(neighbours: Neighbours) -> None:
    """Access to a new kind of resource would not be tried, and nobody would notice."""
    for stock in (neighbours.home, neighbours.next_door):
        made = (await stock.names()).keys()
        assert COLLECTIONS.keys() - NO_PLACE.keys() == made, "make one in tests/integration/stock.py (Stock.names)"


def test_nothing_is_said_of_methods_and_fields_that_are_gone(golden: Rows) -> None:
    """Whoever reads the matrix or the exceptions from it would believe in what no longer exists."""
    known = {path for path, _ in golden} | NATIONAL.keys() | OPEN_TO_EVERY_POST.keys() | NAMED_OTHERWISE.keys()
    assert set() == (known | EXAMPLES.keys()) - rules_of().keys()
    fields = {(rule.name, each.path) for rule in RULES.values() for each in references(rule)}
    assert set() == (ACROSS_REGIONS.keys() | UNREAD.keys() | NEVER_TAKEN.keys()) - fields
