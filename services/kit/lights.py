"""The traffic light of a term; nothing is stored as overdue."""

from datetime import datetime, timedelta

from dutyloop.kit.v1 import kit_pb2

YELLOW_DAYS = 5
"""How long before the end of a term the light turns yellow (our default, not statutory)."""
YELLOW = timedelta(days=YELLOW_DAYS)


def light(due: datetime | None, now: datetime, *, ended: bool = False) -> kit_pb2.Light.ValueType:
    """Derive the light of a matter: none without a term, nor once the matter has ended."""
    if due is None or ended:
        return kit_pb2.LIGHT_UNSPECIFIED
    if now >= due:
        return kit_pb2.LIGHT_RED
    return kit_pb2.LIGHT_YELLOW if due - now <= YELLOW else kit_pb2.LIGHT_GREEN
