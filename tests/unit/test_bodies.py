"""JSON for a message of the API: what does not fit is told by field, in words."""

from typing import Any

import pytest

from dutyloop.directory.v1 import directory_pb2
from dutyloop.duty.v1 import duty_pb2
from dutyloop.hazard.v1 import hazard_pb2
from services.cli import bodies
from services.cli.bodies import ValueProblem, body_of, json_of

REPORT = hazard_pb2.ReportHazardRequest.DESCRIPTOR
LIST = duty_pb2.ListDutyItemsRequest.DESCRIPTOR
UPDATE = directory_pb2.UpdateUnitRequest.DESCRIPTOR
GRADES = "HAZARD_GRADE_GENERAL, HAZARD_GRADE_MAJOR"


@pytest.fixture(params=[0, 1], ids=["zh-CN", "en"])
def language(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Read as a Chinese, then as an English user."""
    monkeypatch.setattr(bodies, "say", lambda *words: words[request.param])
    return int(request.param)


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        (REPORT, None, ("应为 JSON 对象", "should be a JSON object")),
        (REPORT, [1], ("应为 JSON 对象", "should be a JSON object")),
        (
            REPORT,
            {"x": 1},
            ("没有字段 x（可用：request_id, hazard）", "there is no field x (there are request_id, hazard)"),
        ),
        (REPORT, {"hazard": 1}, ("字段 hazard 应为 JSON 对象", "field hazard should be a JSON object")),
        (REPORT, {"request_id": 1}, ("字段 request_id 应为文本", "field request_id should be a text")),
        (
            REPORT,
            {"hazard": {"evidence": 1}},
            ("字段 hazard.evidence 应为数组", "field hazard.evidence should be an array"),
        ),
        (
            REPORT,
            {"hazard": {"site": "s", "grade": "X"}},
            (f"字段 hazard.grade 应为 {GRADES} 之一", f"field hazard.grade should be one of {GRADES}"),
        ),
        (
            REPORT,
            {"hazard": {"openTime": "soon"}},
            (
                "字段 hazard.openTime 应为时刻，如 2024-05-01T08:00:00+08:00",
                "field hazard.openTime should be an instant such as 2024-05-01T08:00:00+08:00",
            ),
        ),
        (
            LIST,
            {"page_size": "x"},
            ("字段 page_size 应为 32 位整数", "field page_size should be a whole number of 32 bits"),
        ),
        (
            LIST,
            {"page_size": True},
            ("字段 page_size 应为 32 位整数", "field page_size should be a whole number of 32 bits"),
        ),
        (
            UPDATE,
            {"update_mask": 1},
            (
                "字段 update_mask 应为以逗号分隔的字段名",
                "field update_mask should be names of fields, joined by commas",
            ),
        ),
    ],
)
def test_a_field_that_does_not_fit_is_named_with_what_it_takes(
    kind: Any, data: Any, words: tuple[str, str], language: int
) -> None:
    """Whoever writes a request would be told of ``int`` objects that are not iterable, or get a traceback."""
    with pytest.raises(ValueProblem) as told:
        body_of(data, kind)
    assert str(told.value) == words[language]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("内容为空，应为 JSON", "is empty, should be JSON")),
        ('{"name": 1\nx}', ("不是有效的 JSON（第 2 行第 1 列）", "is not valid JSON (line 2, column 1)")),
    ],
)
def test_broken_json_is_told_by_its_place(text: str, words: tuple[str, str], language: int) -> None:
    """The reader of a file of a hundred lines would look for ``char 3017``."""
    with pytest.raises(ValueProblem) as told:
        json_of(text)
    assert str(told.value) == words[language]


def test_what_fits_is_taken() -> None:
    """A request that is right would be refused by the search for what is wrong."""
    taken = body_of({"request_id": "r", "hazard": {"site": "sites/s", "openTime": "2024-05-01T08:00:00Z"}}, REPORT)
    expected = hazard_pb2.ReportHazardRequest(request_id="r", hazard=hazard_pb2.Hazard(site="sites/s"))
    expected.hazard.open_time.FromJsonString("2024-05-01T08:00:00Z")
    assert taken == expected


def test_every_kind_of_field_has_words() -> None:
    """A field of a new kind would end the search for the fault in a KeyError."""
    for descriptor in (hazard_pb2.DESCRIPTOR, duty_pb2.DESCRIPTOR, directory_pb2.DESCRIPTOR):
        for message in descriptor.message_types_by_name.values():
            for field in message.fields:
                kind = field.message_type
                if kind is None or kind.full_name in bodies.WELL_KNOWN:
                    assert bodies._shape(field)
                else:
                    assert not kind.full_name.startswith("google.protobuf."), kind.full_name
