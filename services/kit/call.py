"""What a handler knows of the call it serves."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from services.kit.access import Grant, Scope, scope_of
from services.kit.catalogue import Locale
from services.kit.names import derived_id
from services.kit.policy import MethodRule


async def _soon_over() -> None:
    """Stand for the check of a call that is over before its caller's posts could change."""


@dataclass(slots=True)
class Call:
    """One authenticated, authorised call.

    ``now`` is business time (aware). ``scope`` is the reach of the grants that carry one of the method's
    roles; for reads, of all grants. ``receipts`` collects the ledger leaf hashes answered to the caller.
    """

    rule: MethodRule
    principal: str
    internal: bool
    grants: tuple[Grant, ...]
    scope: Scope
    now: datetime
    locale: Locale
    deadline: float
    request_id: str = ""
    body_hash: bytes = b""
    on_behalf_of: str = ""
    home_region_code: str = ""
    """Region of the caller's first post; refusals are recorded there."""
    receipts: list[bytes] = field(default_factory=list)
    recheck: Callable[[], Awaitable[None]] = _soon_over
    """Of a stream: raises RoleMissing once the caller has lost a post that counted when it began."""

    def new_id(self, *extra: str) -> str:
        """Return the id of what this command creates: a repeated command gets the same one."""
        return derived_id(self.principal, self.rule.path, self.request_id, *extra)

    def unit_reaching(self, region_code: str, unit_path: str = "") -> str:
        """Return the unit of the first of those posts that reaches a resource: the one the caller acts for there."""
        return self.units_reaching(region_code, unit_path)[0]

    def units_reaching(self, region_code: str, unit_path: str = "") -> tuple[str, ...]:
        """Return the units of those posts that reach a resource; what the caller is elsewhere does not count there."""
        return tuple(grant.unit for grant in self.grants if scope_of([grant]).covers(region_code, unit_path))

    @property
    def posts(self) -> tuple[str, ...]:
        """Posts through which the caller holds the method's roles."""
        return tuple(grant.post for grant in self.grants)

    @property
    def units(self) -> tuple[str, ...]:
        """Units of those posts."""
        return tuple(grant.unit for grant in self.grants)
