"""The calls under which a service does what nobody asks it for: it installs what it brings along."""

from datetime import datetime

from google.protobuf.empty_pb2 import Empty

from dutyloop.policy.v1 import policy_pb2
from services.kit.access import EVERYWHERE
from services.kit.call import Call
from services.kit.crypto import digest
from services.kit.policy import MethodRule


def own_call(service: str, deed: str, now: datetime, request_id: str = "") -> Call:
    """Return the call of a service's own deed; it is done once, or once for each ``request_id``.

    Answers on record are forgotten in time: whoever does the deed looks first whether it is done.
    """
    rule = MethodRule(
        path=deed,
        name=deed,
        kind=policy_pb2.METHOD_KIND_COMMAND,
        roles=frozenset(),
        scope_field="",
        worker=False,
        request=Empty.DESCRIPTOR,
        client_streaming=False,
        server_streaming=False,
    )
    return Call(
        rule=rule,
        principal=f"services/{service}",
        internal=True,
        grants=(),
        scope=EVERYWHERE,
        now=now,
        locale="zh-CN",
        deadline=0,
        request_id=request_id or deed,
        body_hash=digest(deed.encode()),
    )
