"""The one mechanism behind the verbs: a method of the API becomes a command, its request fields options."""

import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import Parameter, Signature
from itertools import islice
from typing import Annotated, Any, cast

import typer
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from services.cli.cells import yes_or_no
from services.cli.connection import CALL_SECONDS, Connection
from services.cli.fields import NUMBERS, Leaf, leaves, message_class, metavar_of
from services.cli.frame import FramedTyper
from services.cli.output import as_dict, err, out, print_json
from services.cli.tables import look_up, print_list, print_message
from services.cli.words import hint, label, say, worded
from services.kit.contexts import CONTEXTS
from services.kit.errors import RETRYABLE_AFTER_SECONDS, DeadlinePassed, DomainError, Internal
from services.kit.methods import METHODS
from services.kit.paging import MAX_SIZE

RETRYABLE: tuple[type[DomainError], ...] = (*RETRYABLE_AFTER_SECONDS, DeadlinePassed, Internal)
"""Refusals after which the same request, with the same id, may be sent again."""

Person = Annotated[
    str | None, typer.Option("--as", metavar="people/…", help=say("以该人员的身份操作", "act as this person"))
]
AsJson = Annotated[bool, typer.Option("--json", help=say("输出 JSON", "print JSON"))]
RequestId = Annotated[
    str | None,
    typer.Option("--request-id", help=say("请求编号（重试时用同一编号）", "request id; a retry repeats it")),
]
Limit = Annotated[
    int,
    typer.Option("--limit", min=0, help=say("最多列出的条数，0 为全部", "how many to list at most, 0 for all")),
]
Timeout = Annotated[float, typer.Option("--timeout", min=0.1, help=say("等待秒数", "seconds to wait"))]


@dataclass(frozen=True, slots=True)
class Verb:
    """A command for one method, written ``service.Method``; what people call it stands in services/kit/methods.py.

    ``places`` are the fields given by place instead of by option; ``name`` is whenever the method has it.
    ``columns`` are shown of each row of a list. ``show`` prints an answer for people.
    """

    command: str
    method: str
    places: Sequence[str] = ()
    columns: Sequence[str] = ()
    show: Callable[[Any], None] | None = None

    @property
    def words(self) -> tuple[str, str]:
        """Return what people call the method, in Chinese and English."""
        return METHODS[self.method]

    @property
    def descriptor(self) -> MethodDescriptor:
        """Return the method's descriptor."""
        return find_method(self.method)[0]

    @property
    def listed(self) -> FieldDescriptor | None:
        """Return the repeated field that the method lists, or None when it does not list."""
        answer = self.descriptor.output_type
        if "next_page_token" not in answer.fields_by_name:
            return None
        return next(field for field in answer.fields if field.is_repeated)

    def leaves(self) -> Sequence[Leaf]:
        """Return the fields that people give, those given by place first."""
        found = list(leaves(self.descriptor.input_type))
        return sorted(found, key=lambda leaf: not self.by_place(leaf))

    def by_place(self, leaf: Leaf) -> bool:
        """Tell whether a field is given by place."""
        return leaf.name in (self.places or ("name",))


def find_method(method: str) -> tuple[MethodDescriptor, type]:
    """Return a method's descriptor and its service's stub. Raises typer.BadParameter."""
    service, _, name = method.partition(".")
    known = CONTEXTS.get(service)
    found = known.service.methods_by_name.get(name) if known else None
    if known is None or found is None:
        available = ", ".join(known.service.methods_by_name if known else CONTEXTS)
        raise typer.BadParameter(
            say(f"没有方法 {method}（可用：{available}）", f"no method {method}; there are {available}")
        )
    return found, known.stub


def sub_app(app: typer.Typer, name: str, words: tuple[str, str], verbs: Sequence[Verb]) -> typer.Typer:
    """Add a context's verbs as a sub-app."""
    added = FramedTyper(help=say(*words))
    for verb in verbs:
        added.command(verb.command, help=say(*verb.words))(command_of(verb))
    app.add_typer(added, name=name)
    return added


def command_of(verb: Verb) -> Callable[..., None]:
    """Return the function that Typer makes the command from: its signature is the method's request."""
    given = verb.leaves()
    method = verb.descriptor
    parameters = [_parameter(leaf, by_place=verb.by_place(leaf)) for leaf in given]
    parameters.append(_own("acting_as", Person, None))
    parameters.append(_own("as_json", AsJson, default=False))
    if "request_id" in method.input_type.fields_by_name:
        parameters.append(_own("request_id", RequestId, None))
    if verb.listed is not None:
        parameters.append(_own("limit", Limit, 100))
    else:
        parameters.append(_own("timeout", Timeout, CALL_SECONDS))

    def run(**values: Any) -> None:
        request = message_class(method.input_type)()
        for leaf in given:
            value = values.get(leaf.name)
            if value is not None:
                leaf.put(request, value, by_place=verb.by_place(leaf))
        _name_changes(request, given, values)
        if verb.listed is not None:
            _list(verb, request, values)
        else:
            _send(verb, request, values)

    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return run


def _own(name: str, annotation: Any, default: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _parameter(leaf: Leaf, *, by_place: bool) -> Parameter:
    field = leaf.field
    kind: Any = str
    metavar: str | None = metavar_of(field)
    if field.is_repeated:
        kind = list[str]
    elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        kind, metavar = bool, None
    elif field.cpp_type in NUMBERS and field.enum_type is None:
        kind, metavar = int, None
    words = hint(leaf.name)
    if by_place:
        return _own(leaf.name, Annotated[kind, typer.Argument(metavar=metavar, help=words)], Parameter.empty)
    flag = f"{leaf.option}/--no-{leaf.option[2:]}" if kind is bool else leaf.option
    option = typer.Option(flag, metavar=metavar, help=words)
    if leaf.required and kind is not bool:
        return _own(leaf.name, Annotated[kind, option], Parameter.empty)
    return _own(leaf.name, Annotated[kind | None, option], None)


def _name_changes(request: Message, given: Sequence[Leaf], values: Mapping[str, Any]) -> None:
    """Fill the update mask with the fields that were given."""
    if "update_mask" in request.DESCRIPTOR.fields_by_name:
        changed = [
            leaf.name for leaf in given if values.get(leaf.name) is not None and leaf.name not in ("name", "etag")
        ]
        if not changed:
            raise typer.BadParameter(say("没有给出要修改的字段", "no field to change was given"))
        cast("Any", request).update_mask.paths.extend(changed)


def _send(verb: Verb, request: Any, values: Mapping[str, Any]) -> None:
    connection = Connection(values["acting_as"])
    method, stub = find_method(verb.method)
    request_id = ""
    if "request_id" in method.input_type.fields_by_name:
        request.request_id = request_id = values["request_id"] or new_request_id()
    with telling(request_id):
        answer = connection.call(getattr(connection.stub(stub), method.name), request, values["timeout"])
    if verb.show is not None and not values["as_json"]:
        verb.show(answer)
    elif values["as_json"]:
        print_json(as_dict(answer))
    else:
        print_message(answer, look_up(connection, [answer]))


def new_request_id() -> str:
    """Return an id for a request that was given none."""
    return str(uuid.uuid4())


@contextmanager
def telling(request_id: str) -> Iterator[None]:
    """When a command may be sent again, say with which id it will not take effect twice."""
    try:
        yield
    except RETRYABLE:
        if request_id:
            words = say("可用同一编号重试，不会重复生效：", "safe to repeat with the same id:")
            err.print(f"{words} --request-id {request_id}", highlight=False)
        raise


def _list(verb: Verb, request: Any, values: Mapping[str, Any]) -> None:
    limit: int = values["limit"]
    rows = cast("FieldDescriptor", verb.listed)
    request.page_size = min(limit + 1 if limit else MAX_SIZE, MAX_SIZE)
    connection = Connection(values["acting_as"])
    method, stub = find_method(verb.method)
    first = _First(getattr(connection.stub(stub), method.name))
    found = connection.pages(first, request, rows.name)
    shown = list(islice(found, limit or None))
    more = bool(limit) and next(found, None) is not None
    totals = first.totals(rows.name)
    if values["as_json"]:
        print_json({rows.name: [as_dict(row) for row in shown], **totals, "more": more})
        return
    columns = [name for name in verb.columns if name in cast("Descriptor", rows.message_type).fields_by_name]
    names = look_up(connection, shown, frozenset(columns))
    print_list(say(*verb.words), columns, shown, names)
    if totals:
        told = {name: yes_or_no(value) if isinstance(value, bool) else value for name, value in totals.items()}
        out.print(", ".join(f"{label(name)}: {value}" for name, value in told.items()), highlight=False)
    if more:
        err.print(say("还有更多，请用 --limit 增加条数（0 为全部）", "there are more; raise --limit (0 lists all)"))


class _First:
    """A method that remembers what its first answer told beside the rows: totals stand on the first page only."""

    def __init__(self, method: Any) -> None:
        self._method = method
        self._answer: Message | None = None

    def __call__(self, request: Any, **how: Any) -> Any:
        answer = self._method(request, **how)
        if self._answer is None:
            self._answer = answer
        return answer

    def totals(self, rows: str) -> Mapping[str, Any]:
        """Return the single-valued fields of the first answer."""
        if self._answer is None:
            return {}
        return {
            field.name: getattr(self._answer, field.name)
            for field in self._answer.DESCRIPTOR.fields
            if field.name not in (rows, "next_page_token") and not field.is_repeated and field.message_type is None
        }


def read_argument(text: str) -> str:
    """Return an argument, the content of ``@file``, or standard input for ``-``. Raises typer.BadParameter."""
    try:
        if text == "-":
            return sys.stdin.read()
        if text.startswith("@"):
            with open(text[1:], encoding="utf-8") as file:
                return file.read()
    except OSError as error:
        raise typer.BadParameter(worded(error)) from error
    except UnicodeDecodeError as error:
        raise typer.BadParameter(say(f"{text} 不是 UTF-8 文本", f"{text} is not text in UTF-8")) from error
    return text


def verbs_shown(verbs: Sequence[Verb]) -> Iterator[str]:
    """Yield the fields that a context's verbs show to people, as options or columns."""
    for verb in verbs:
        yield from (leaf.name for leaf in verb.leaves())
        yield from verb.columns
