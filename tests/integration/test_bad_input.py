"""Bad input to every method, generated from the descriptors: refused by field, in words, giving nothing away."""

import asyncio
import base64
import re
from collections.abc import Iterable, Sequence

import grpc
import orjson
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from dutyloop.kit.v1 import kit_pb2
from services.kit.catalogue import LOCALES, PROBLEMS, Locale, describe_problem, describe_reason
from services.kit.clients import MAX_MESSAGE_BYTES
from services.kit.paging import page_of
from services.kit.policy import MethodRule
from services.kit.server import PERSONS_NEVER
from tests.integration.examples import INTEGERS, Mistake, extremes, mistakes, row_mistakes, stream_of, well_formed
from tests.integration.house import CALL_SECONDS, Caller, Refusal, hosted_services, rules_of
from tests.integration.people import City
from tests.integration.stock import Stock

RULES = rules_of(hosted_services())
AT_ONCE = 16
INTERNALS = re.compile(
    r"Traceback|asyncpg|psycopg|postgres|protobuf|temporalio|DecodeError|SELECT |INSERT |constraint|/work/|/root/"
    r"|site-packages|\.py\b|line \d+|0x[0-9a-f]{6}",
    re.IGNORECASE,
)
NEVER_CLOSED = b"\x0a\x7f"
"""A length-delimited field 1 of 127 bytes that never come: no message can end so."""


def by_path(*, lists: bool = False, masks: bool = False, imports: bool | None = None) -> pytest.MarkDecorator:
    """Parametrise a test with every method, or with those that page, mask, or take streams."""
    chosen = [
        rule
        for rule in RULES.values()
        if (not lists or "page_token" in rule.request.fields_by_name)
        and (not masks or "update_mask" in rule.request.fields_by_name)
        and (imports is None or rule.client_streaming == imports)
    ]
    return pytest.mark.parametrize("rule", chosen, ids=lambda rule: rule.path.rpartition(".v1.")[2])


def entitled(city: City, rule: MethodRule) -> Caller:
    """Return somebody who may use the method: at home in every role, or the worker."""
    return city.house.worker() if rule.kind in PERSONS_NEVER else city.all_rounder


async def answer_to(city: City, rule: MethodRule, raws: Sequence[bytes], locale: Locale = "en") -> Refusal | bytes:
    """Send raw messages to a method of any kind and return its refusal or its (first) answer."""
    return await city.house.send(entitled(city, rule), rule, raws, locale=locale)


async def refusal_of(city: City, rule: MethodRule, *requests: Message, locale: Locale = "en") -> Refusal:
    """Send requests that must be refused as invalid; check what every such refusal has in common."""
    answer = await answer_to(city, rule, [request.SerializeToString() for request in requests], locale)
    assert isinstance(answer, Refusal), requests
    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"), (answer, requests)
    assert (locale, describe_reason("INVALID_FIELD", {}, locale)) == (answer.locale, answer.words)
    descriptions = {describe_problem(problem, locale) for problem in answer.fields.values()}
    assert descriptions <= set(answer.texts)
    for text in answer.texts:
        assert not INTERNALS.search(text), text
    return answer


async def check_all(city: City, rule: MethodRule, found: Iterable[Mistake]) -> int:
    """Send every mistake, several at once, in both languages by turns; return how many there were."""
    places = asyncio.Semaphore(AT_ONCE)
    wrong: list[tuple[str, str, dict[str, str]]] = []

    async def check(mistake: Mistake, locale: Locale) -> None:
        async with places:
            refusal = await refusal_of(city, rule, mistake.request, locale=locale)
        if refusal.fields.get(mistake.field) != mistake.problem:
            wrong.append((mistake.field, mistake.problem, refusal.fields))

    listed = list(found)
    await asyncio.gather(*(check(each, LOCALES[index % 2]) for index, each in enumerate(listed)))
    assert wrong == []
    return len(listed)


@by_path(imports=False)
async def test_every_field_is_refused_by_name(city: City, rule: MethodRule) -> None:
    """A form could not mark what is wrong, or a bad value would reach a rule, the database or a reader."""
    checked = await check_all(city, rule, mistakes(rule))
    assert checked or all(field.type in (*INTEGERS, FieldDescriptor.TYPE_BOOL) for field in rule.request.fields)


@by_path(imports=True)
async def test_an_import_is_refused_by_its_header(city: City, rule: MethodRule) -> None:
    """An import that cannot be repeated would be taken, and doubled after a cut."""
    request = stream_of(rule)
    header = GetMessageClass(rule.request)()
    assert (await refusal_of(city, rule, header, locale="zh-CN")).fields == {"header": "expected_header"}
    for locale, request_id, problem in (
        ("en", "", "required"),
        ("zh-CN", "a" * 129, "too_long"),
        ("en", "\0", "bad_character"),
    ):
        request.header.request_id = request_id
        assert problem in (await refusal_of(city, rule, request, locale=locale)).fields.values()  # type: ignore[arg-type]
    answer = await answer_to(city, rule, [])
    assert isinstance(answer, Refusal) and answer.fields == {"header": "expected_header"}


@by_path(imports=True)
async def test_every_field_of_a_row_is_reported_by_name(city: City, rule: MethodRule) -> None:
    """A clerk with ten thousand rows would not learn which cell to correct, or would lose all of them for one."""
    checked, stock = 0, Stock(city.house, city.home)
    into = {"dutyloop/ResponsibilityList": await stock.draft(await stock.post(), items=False)}
    for index, mistake in enumerate(row_mistakes(rule, into)):
        locale = LOCALES[index % 2]
        answer = await answer_to(city, rule, [mistake.request.SerializeToString()], locale)
        assert isinstance(answer, bytes), (mistake, answer)
        report = kit_pb2.ImportReport.FromString(answer)
        assert (report.rows, report.rejected, report.dry_run) == (1, 1, True), mistake
        (error,) = report.errors
        expected = (
            mistake.field.rpartition(".")[2],
            mistake.problem.upper(),
            describe_problem(mistake.problem, locale),
        )
        assert expected == (error.column, error.reason, error.description), mistake
        checked += 1
    assert checked


@by_path()
async def test_bytes_that_are_no_message_are_refused(city: City, rule: MethodRule) -> None:
    """A cut or hostile body would be answered with the deserialiser's text, or crash a handler."""
    good = (stream_of(rule) if rule.client_streaming else well_formed(rule)).SerializeToString()
    for raw in (good + NEVER_CLOSED, NEVER_CLOSED, b"\xff" * 20, b"\x0b" * 50_000, b"\x0a\x02\xc3\x28\xff"):
        for locale in LOCALES:
            answer = await answer_to(city, rule, [raw], locale)
            assert isinstance(answer, Refusal), raw[:20]
            assert grpc.StatusCode.INVALID_ARGUMENT is answer.code, answer
            assert answer.fields == {"request": "malformed"}
            assert not any(INTERNALS.search(text) for text in answer.texts)


@by_path()
async def test_a_message_over_four_megabytes_is_refused(city: City, rule: MethodRule) -> None:
    """One caller could fill the memory of the process."""
    answer = await city.house.send(entitled(city, rule), rule, [bytes(MAX_MESSAGE_BYTES + 1)], patience=CALL_SECONDS)
    assert isinstance(answer, Refusal)
    assert grpc.StatusCode.RESOURCE_EXHAUSTED is answer.code, answer
    assert not any(INTERNALS.search(text) for text in answer.texts)


@by_path(imports=False)
async def test_numbers_at_their_limits_break_nothing(city: City, rule: MethodRule) -> None:
    """A number that PostgreSQL or the calendar cannot hold would be answered with an internal error."""
    for request in extremes(rule):
        answer = await answer_to(city, rule, [request.SerializeToString()])
        if isinstance(answer, Refusal):
            assert answer.code not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN), (request, answer)
            assert not any(INTERNALS.search(text) for text in answer.texts)


@by_path(lists=True, imports=False)
async def test_forged_pages_are_refused(city: City, rule: MethodRule) -> None:
    """A caller who edits a page token would get an internal error, or rows that are not his."""
    request = well_formed(rule)
    for token in ("nonsense", "AAAA", base64.urlsafe_b64encode(b'["x","y"]').decode().rstrip("=")):
        request.page_token = token
        assert list((await refusal_of(city, rule, request)).fields) == ["page_token"]
    request.page_token = ""
    request.page_size = -1
    assert (await refusal_of(city, rule, request)).fields == {"page_size": "out_of_range"}
    request.page_size = 0
    fingerprint = page_of(request).fingerprint
    for key in (["x"], ["x", "y"], ["' OR 1=1", "%"], ["9" * 400], ["2026-01-01T00:00:00+00:00"], ["-1"]):
        raw = orjson.dumps([fingerprint, *key])
        request.page_token = base64.urlsafe_b64encode(raw).decode().rstrip("=")
        answer = await answer_to(city, rule, [request.SerializeToString()])
        if isinstance(answer, Refusal):
            assert answer.code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND), (key, answer)


@by_path(masks=True, imports=False)
async def test_a_mask_names_only_what_can_be_changed(city: City, rule: MethodRule) -> None:
    """A mask could change what never changes, or carry NUL into a handler."""
    for path in ("nonsense", "name", "etag", "a\0", "", "*", "display_name.x", "__class__"):
        request = well_formed(rule)
        request.update_mask.paths.append(path)
        assert list((await refusal_of(city, rule, request)).fields) == ["update_mask"]


def test_every_problem_is_generated() -> None:
    """A field rule that nothing tries would not be missed if it went."""
    generated = {each.problem for rule in RULES.values() if not rule.client_streaming for each in mistakes(rule)}
    assert {
        "required",
        "too_long",
        "too_many",
        "malformed",
        "unknown_value",
        "bad_character",
        "not_exact",
        "out_of_range",
    } == generated
    assert generated <= set(PROBLEMS)
