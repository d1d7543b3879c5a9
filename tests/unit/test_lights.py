"""The traffic light of a term."""

from datetime import UTC, datetime, timedelta

import pytest

from dutyloop.kit.v1 import kit_pb2
from services.kit.lights import light

NOW = datetime(2024, 6, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("due", "ended", "expected"),
    [
        (None, False, kit_pb2.LIGHT_UNSPECIFIED),
        (NOW, True, kit_pb2.LIGHT_UNSPECIFIED),
        (NOW, False, kit_pb2.LIGHT_RED),
        (NOW + timedelta(seconds=1), False, kit_pb2.LIGHT_YELLOW),
        (NOW + timedelta(days=5), False, kit_pb2.LIGHT_YELLOW),
        (NOW + timedelta(days=5, seconds=1), False, kit_pb2.LIGHT_GREEN),
    ],
)
def test_the_light_follows_from_the_term(due: datetime | None, ended: bool, expected: kit_pb2.Light.ValueType) -> None:
    """An overdue hazard, tour or case would not stand out on anybody's list."""
    assert light(due, NOW, ended=ended) == expected
