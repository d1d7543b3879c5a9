"""JSON that people write for a message of the API, and what of it does not fit, in words."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import orjson
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from services.cli.words import say

SHAPES: Mapping[int, tuple[str, str]] = {
    FieldDescriptor.CPPTYPE_STRING: ("文本", "a text"),
    FieldDescriptor.CPPTYPE_BOOL: (" true 或 false", "true or false"),
    FieldDescriptor.CPPTYPE_INT32: (" 32 位整数", "a whole number of 32 bits"),
    FieldDescriptor.CPPTYPE_UINT32: (" 32 位非负整数", "a whole number of 32 bits, not negative"),
    FieldDescriptor.CPPTYPE_INT64: (" 64 位整数", "a whole number of 64 bits"),
    FieldDescriptor.CPPTYPE_UINT64: (" 64 位非负整数", "a whole number of 64 bits, not negative"),
    FieldDescriptor.CPPTYPE_FLOAT: ("数字", "a number"),
    FieldDescriptor.CPPTYPE_DOUBLE: ("数字", "a number"),
}
BASE64 = (" base64 文本", "a text in base64")
"""What a field of bytes takes, which otherwise counts as text."""
OBJECT = (" JSON 对象", "a JSON object")
WELL_KNOWN: Mapping[str, tuple[str, str]] = {
    "google.protobuf.Timestamp": ("时刻，如 2024-05-01T08:00:00+08:00", "an instant such as 2024-05-01T08:00:00+08:00"),
    "google.protobuf.Duration": ("时长，如 3.5s", "a duration such as 3.5s"),
    "google.protobuf.FieldMask": ("以逗号分隔的字段名", "names of fields, joined by commas"),
}
"""Messages that are no objects in JSON."""


class ValueProblem(ValueError):
    """A text does not fit its field; the text is for people."""


def json_of(text: str) -> Any:
    """Read JSON. Raises ValueProblem, which says where it is broken."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if not text.strip():
            raise ValueProblem(say("内容为空，应为 JSON", "is empty, should be JSON")) from None
        place = say(f"第 {error.lineno} 行第 {error.colno} 列", f"line {error.lineno}, column {error.colno}")
        raise ValueProblem(say(f"不是有效的 JSON（{place}）", f"is not valid JSON ({place})")) from None


def put_json(data: Any, message: Message) -> None:
    """Fill a message from JSON. Raises ValueProblem, which names the field at fault and what it takes."""
    if not isinstance(data, dict):
        raise _wrong("", OBJECT)
    try:
        ParseDict(data, message)
    except ParseError as error:
        for problem in _problems(data, cast("Descriptor", message.DESCRIPTOR), ""):
            raise problem from error
        raise ValueProblem(say(f"请求不符合接口：{error}", f"does not fit the method: {error}")) from error


def _problems(data: Any, kind: Descriptor, path: str) -> Iterator[ValueProblem]:
    """Yield what does not fit, found by trying each field on its own."""
    if not isinstance(data, dict):
        yield _wrong(path, OBJECT)
        return
    fields = kind.fields_by_name
    named = {**{field.json_name: field for field in kind.fields}, **fields}
    for key, value in data.items():
        at = f"{path}.{key}" if path else str(key)
        field = named.get(key)
        if field is None:
            known = ", ".join(fields)
            yield ValueProblem(say(f"没有字段 {at}（可用：{known}）", f"there is no field {at} (there are {known})"))
            continue
        try:
            ParseDict({key: value}, GetMessageClass(kind)())
        except ParseError:
            yield from _field_problems(field, value, at)


def _field_problems(field: FieldDescriptor, value: Any, at: str) -> Iterator[ValueProblem]:
    if field.is_repeated and not isinstance(value, list):
        yield _wrong(at, ("数组", "an array"))
        return
    kind = field.message_type
    if kind is None or kind.full_name in WELL_KNOWN:
        yield _wrong(at, _shape(field))
    elif field.is_repeated:
        for place, each in enumerate(value):
            yield from _problems(each, kind, f"{at}[{place}]")
    else:
        yield from _problems(value, kind, at)


def _shape(field: FieldDescriptor) -> tuple[str, str]:
    if field.message_type is not None:
        return WELL_KNOWN[field.message_type.full_name]
    if field.enum_type is not None:
        values = ", ".join(value.name for value in field.enum_type.values if value.number)
        return f" {values} 之一", f"one of {values}"
    return BASE64 if field.type == FieldDescriptor.TYPE_BYTES else SHAPES[field.cpp_type]


def _wrong(at: str, shape: tuple[str, str]) -> ValueProblem:
    chinese, english = shape
    if not at:
        return ValueProblem(say(f"应为{chinese}", f"should be {english}"))
    return ValueProblem(say(f"字段 {at} 应为{chinese}", f"field {at} should be {english}"))


def body_of(data: Any, kind: Descriptor) -> Message:
    """Return the message that JSON describes. Raises ValueProblem."""
    message: Message = GetMessageClass(kind)()
    put_json(data, message)
    return message
