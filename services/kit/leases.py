"""Connections leased from asyncpg's pool for as long as they are sound, and the callers who wait for one.

asyncpg makes two tasks, a future and a proxy of every acquisition and release, which costs as much as the query
between them. A connection given back sound is therefore kept and handed to the next caller; any other goes through
asyncpg's own release, which waits for a cancelled query to end, rolls back and closes what is broken.
"""

import asyncio
from collections import deque
from types import TracebackType
from typing import TypeAlias

import asyncpg

from services.kit.errors import DomainError, Overloaded

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Place: TypeAlias = "Connection | None"
"""One of the pool's connections: leased, or yet to be leased."""

ACQUIRE_SECONDS = 1.0


class Misused(Exception):
    """Our own code has used a sound connection wrongly: asyncpg says so by the class by which it tells of dead ones."""


def is_sound(connection: Connection) -> bool:
    """Tell whether a connection is open and outside any transaction."""
    return _is_open(connection) and not connection.is_in_transaction()


def _is_open(connection: Connection) -> bool:
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:  # it died, and the pool has taken it back by itself
        return False


class Leases:
    """All connections of a pool: as many places as it may have connections, each free or borrowed."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool
        self._free: deque[Place] = deque([None] * pool.get_max_size())
        """The connection used last is used next, at the right; what must be leased anew stands at the left."""
        self._waiting: deque[asyncio.Future[Place]] = deque()

    def borrow(self) -> "Borrowed":
        """Return a context manager that lends a connection. It raises Overloaded when none is free within a second."""
        return Borrowed(self)

    async def take(self) -> Connection:
        """Return a sound connection that is the caller's until ``give_back`` or ``end``. Raises Overloaded."""
        until = asyncio.get_running_loop().time() + ACQUIRE_SECONDS
        place = self._free.pop() if self._free else await self._wait(until)
        if place is not None and is_sound(place):
            return place
        try:
            async with asyncio.timeout_at(until):
                if place is not None:
                    await self._pool.release(place)
                return await self._pool.acquire()
        except BaseException as error:
            self._free_up(None)
            if isinstance(error, TimeoutError):
                raise Overloaded from None
            raise

    async def give_back(self, connection: Connection) -> None:
        """Take back a connection after work that ended well."""
        if is_sound(connection):
            self._free_up(connection)
        else:
            await self.end(connection)

    async def end(self, connection: Connection) -> None:
        """Take back a connection in an unknown state: in a transaction, in a cancelled query, or broken."""
        try:
            await self._pool.release(connection)
        finally:
            self._free_up(None)

    async def close(self) -> None:
        """Close the pool once every borrowed connection has come back; closing twice does no harm."""
        if self._pool.is_closing():
            return
        try:
            for _ in range(self._pool.get_max_size()):
                place = self._free.pop() if self._free else await self._wait(None)
                if place is not None:
                    await self._pool.release(place)
            await self._pool.close()
        except BaseException:
            self._pool.terminate()
            raise

    async def _wait(self, until: float | None) -> Place:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Place] = loop.create_future()
        self._waiting.append(waiter)
        timer = None if until is None else loop.call_at(until, _give_up, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled() and not waiter.exception():  # the caller was cancelled just when its turn came
                self._free_up(waiter.result())
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _free_up(self, place: Place) -> None:
        """Hand a place to whoever has waited longest, or keep it."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(place)
                return
        if place is None:
            self._free.appendleft(place)
        else:
            self._free.append(place)


def _give_up(waiter: "asyncio.Future[Place]") -> None:
    if not waiter.done():
        waiter.set_exception(Overloaded())


class Borrowed:
    """``async with`` around a borrowed connection; a class, for a generator would cost more than all it does."""

    __slots__ = ("_connection", "_leases")

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._connection: Connection

    async def __aenter__(self) -> Connection:
        self._connection = await self._leases.take()
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, DomainError):  # refused by our own code, between queries
            await self._leases.give_back(self._connection)
        else:
            misused = issubclass(kind, asyncpg.InterfaceError) and _is_open(self._connection)
            await self._leases.end(self._connection)
            if misused:
                raise Misused from error
