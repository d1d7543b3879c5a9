"""How activities call the services: refusals end the activity, trouble is retried by Temporal."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson
from temporalio import activity
from temporalio.exceptions import ApplicationError

from dutyloop.kit.v1 import kit_pb2
from services.kit.clients import Clients
from services.kit.errors import RETRYABLE_CODES, STATUS, DomainError, StaleEtag
from workflows.payloads import Asked


async def call(clients: Clients, method: Any, request: Any) -> Any:
    """Call a service method; a domain refusal becomes a failure that is not retried."""
    with refusals():
        return await clients.call(method, request)


@contextmanager
def refusals() -> Iterator[None]:
    """Turn a domain refusal into a failure that is not retried; trouble that passes stays as it is."""
    try:
        yield
    except DomainError as error:
        # A stale view is answered like trouble that passes, but only whoever saw it can look again.
        if STATUS[type(error)] in RETRYABLE_CODES and not isinstance(error, StaleEtag):
            raise
        metadata: Mapping[str, str] = error.metadata
        if error.violations:
            metadata = {"field": error.violations[0].field, "problem": error.violations[0].problem}
        raise ApplicationError(error.reason, dict(metadata), type=error.reason, non_retryable=True) from None


def outer_command(asked: Asked | None) -> kit_pb2.OuterCommand | None:
    """Return the protobuf form of the command that a person put to the activity's case, None for a timer's step."""
    if asked is None:
        return None
    outer = asked.action["outer"]
    return kit_pb2.OuterCommand(
        principal=outer["principal"],
        on_behalf_of=outer["on_behalf_of"],
        method=outer["method"],
        request_id=outer["request_id"],
        body_hash=bytes.fromhex(outer["body_hash"]),
        workflow_id=activity.info().workflow_id or "",
        update=asked.update,
        argument=orjson.dumps(asked.action),
        etag=outer["etag"],
    )
