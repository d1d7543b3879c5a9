"""What the house does by itself, unasked, is in the ledger like everything else."""

import asyncio
from collections import Counter

from services.accountability.presets import PRESETS
from services.accountability.store import SupervisionStore
from services.kit import db
from tests.integration.house import RunningHouse

DEEDS = """
SELECT type, actor, method, objects
FROM ledger.entry
WHERE method IN ('bootstrap', 'start_clock', 'install_presets')
"""
EXPECTED = Counter(
    {
        ("directory.installation.bootstrapped", "services/directory", "bootstrap", "units/root"): 1,
        ("directory.clock.started", "services/directory", "start_clock", ""): 1,
        **{
            (
                "accountability.escalation_policy.created",
                "services/accountability",
                "install_presets",
                f"escalationPolicies/{preset.id}",
            ): 1
            for preset in PRESETS
        },
    }
)


async def deeds(house: RunningHouse) -> Counter[tuple[str, str, str, str]]:
    """Count what the ledger has of them, by type, actor, method and first object."""
    return Counter(
        (row["type"], row["actor"], row["method"], next(iter(row["objects"]), "")) for row in await house.fetch(DEEDS)
    )


async def test_what_the_house_sets_up_is_on_record_once(house: RunningHouse) -> None:
    """An auditor would come upon ladders and a clock of which the ledger does not say where they come from."""
    now = await house.now()
    async with asyncio.timeout(20):
        while True:  # the presets are installed while the house serves already
            if (await deeds(house)).total() >= EXPECTED.total():
                break
            await asyncio.sleep(0.05)
    database = await db.connect(house.settings, "accountability")
    try:
        await SupervisionStore(database).install_presets(now)
    finally:
        await database.close()
    assert await deeds(house) == EXPECTED
