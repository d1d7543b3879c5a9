"""How activities call the services: refusals end the activity, trouble is retried by Temporal."""

from collections.abc import Mapping
from typing import Any

from temporalio.exceptions import ApplicationError

from dutyloop.kit.v1 import kit_pb2
from services.kit.clients import Clients
from services.kit.errors import RETRYABLE_CODES, STATUS, DomainError
from workflows.payloads import Outer

MAX_REASON_FIELDS = 5


async def call(clients: Clients, method: Any, request: Any) -> Any:
    """Call a service method; a domain refusal becomes a failure that is not retried."""
    try:
        return await clients.call(method, request)
    except DomainError as error:
        if STATUS[type(error)] in RETRYABLE_CODES:
            raise
        metadata: Mapping[str, str] = error.metadata
        if error.violations:
            metadata = {"field": error.violations[0].field, "problem": error.violations[0].problem}
        raise ApplicationError(error.reason, dict(metadata), type=error.reason, non_retryable=True) from None


def outer_command(outer: Outer | None) -> kit_pb2.OuterCommand | None:
    """Return the protobuf form of the outer command, None for what no person asked for."""
    if outer is None:
        return None
    return kit_pb2.OuterCommand(
        principal=outer.principal,
        on_behalf_of=outer.on_behalf_of,
        method=outer.method,
        request_id=outer.request_id,
        body_hash=bytes.fromhex(outer.body_hash),
    )
