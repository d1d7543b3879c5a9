"""Business time: the wall clock, or directory's forward-only clock where virtual time is on."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

ReadClock = Callable[[], Awaitable[datetime]]


async def wall_clock() -> datetime:
    """Return the wall clock (aware, UTC)."""
    return datetime.now(UTC)
