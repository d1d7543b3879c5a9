"""``dutyloop call SERVICE.METHOD JSON``: any method of the API, for what has no verb of its own."""

from typing import Annotated, Any

import typer
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import MessageToDict

from services.cli.bodies import ValueProblem, body_of, json_of
from services.cli.connection import CALL_SECONDS, Connection
from services.cli.output import Exit, leave, print_json
from services.cli.verbs import Person, RequestId, Timeout, find_method, new_request_id, read_argument, telling
from services.cli.words import say

BODY = say("JSON|@文件|-", "JSON|@FILE|-")


def register(app: typer.Typer) -> None:
    """Add ``dutyloop call``."""
    app.command(help=say("调用任意接口方法", "call any method of the API"))(call)


def call(
    method: Annotated[
        str,
        typer.Argument(
            metavar=say("服务.方法", "SERVICE.METHOD"), help=say("如 duty.ListDutyItems", "such as duty.ListDutyItems")
        ),
    ],
    body: Annotated[
        str,
        typer.Argument(
            metavar=BODY,
            help=say("请求（客户端流方法为数组）", "the request; an array of requests for a client stream"),
        ),
    ] = "{}",
    person: Person = None,
    request_id: RequestId = None,
    timeout: Timeout = CALL_SECONDS,
) -> None:
    """Send the JSON and print the answer as JSON; a server stream prints a line for each message."""
    descriptor, stub = find_method(method)
    requests = _requests(descriptor, body)
    sent_id = _identify(requests[0], request_id) if requests else ""
    connection = Connection(person)
    rpc = getattr(connection.stub(stub), descriptor.name)
    with telling(sent_id):
        if descriptor.server_streaming:
            for message in connection.stream(rpc, requests[0], timeout):
                print_json(_answer(message))
        else:
            request = iter(requests) if descriptor.client_streaming else requests[0]
            answer = connection.call(rpc, request, timeout)
            print_json(_answer(answer))
            if getattr(answer, "rejected", 0):  # an import that refused rows
                leave(Exit.MISMATCH)


def _requests(descriptor: MethodDescriptor, body: str) -> list[Any]:
    try:
        data = json_of(read_argument(body))
        found = data if descriptor.client_streaming and isinstance(data, list) else [data]
        return [body_of(each, descriptor.input_type) for each in found]
    except ValueProblem as error:
        raise typer.BadParameter(str(error), param_hint=say("请求", "the request")) from error


def _identify(request: Any, request_id: str | None) -> str:
    """Give a request its id when its method needs one; returns the id, empty for reads."""
    fields = request.DESCRIPTOR.fields_by_name
    holder = request if "request_id" in fields else request.header if "header" in fields else None
    if holder is None:
        return ""
    if request_id or not holder.request_id:
        holder.request_id = request_id or new_request_id()
    return str(holder.request_id)


def _answer(message: Any) -> Any:
    return MessageToDict(message, preserving_proto_field_name=True)
