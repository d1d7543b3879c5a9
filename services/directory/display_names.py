"""SQL for what people call things: many of several kinds in one query."""

from collections.abc import Iterable

from services.kit.call import Call
from services.kit.db import Database, Row


class NameStore:
    """Reads display names."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Each part is what reading one of the kind would show: regions are public facts, and everybody may read himself.
    SELECT_DISPLAY_NAMES = """
    SELECT 'units/' || id AS name, display_name
    FROM unit
    WHERE id = ANY($3::text[]) AND (region_code ^@ ANY($1::text[]) OR path ^@ ANY($2::text[]))
    UNION ALL
    SELECT 'posts/' || id, display_name
    FROM post
    WHERE id = ANY($4::text[]) AND (region_code ^@ ANY($1::text[]) OR unit_path ^@ ANY($2::text[]))
    UNION ALL
    SELECT 'people/' || id, display_name
    FROM person
    WHERE id = ANY($5::text[])
        AND (region_code ^@ ANY($1::text[]) OR unit_path ^@ ANY($2::text[]) OR 'people/' || id = $8)
    UNION ALL
    SELECT 'sites/' || id, display_name
    FROM site
    WHERE id = ANY($6::text[]) AND (region_code ^@ ANY($1::text[]) OR unit_path ^@ ANY($2::text[]))
    UNION ALL
    SELECT 'regions/' || code, display_name
    FROM region
    WHERE code = ANY($7::text[])
    """

    async def display_names(self, call: Call, names: Iterable[str]) -> list[Row]:
        """Return the display names of what is known and within reach."""
        wanted: dict[str, list[str]] = {"units": [], "posts": [], "people": [], "sites": [], "regions": []}
        for name in set(names):
            collection, _, identifier = name.partition("/")
            if collection in wanted:
                wanted[collection].append(identifier)
        return await self._database.fetch(
            self.SELECT_DISPLAY_NAMES, *call.scope.prefixes, *wanted.values(), call.principal
        )
