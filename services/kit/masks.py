"""Which fields an update changes: those that its mask names, or all that are set."""

from collections.abc import Collection
from typing import Any

from google.protobuf.message import Message

from services.kit.errors import InvalidFields, Violation


def changed_fields(
    request: Any, field: str, changeable: Collection[str], required: Collection[str] = ()
) -> frozenset[str]:
    """Return the fields that an update changes of the message in its ``field``.

    Raises InvalidFields when its mask names what never changes, and when it would clear a required field.
    """
    given: Message = getattr(request, field)
    present = frozenset(each.name for each, _ in given.ListFields())
    mask = frozenset(request.update_mask.paths)
    changed = mask or present & frozenset(changeable)
    violations = [] if mask <= frozenset(changeable) else [Violation("update_mask", "not_in_mask")]
    violations += [Violation(f"{field}.{each}", "required") for each in required if each in changed - present]
    if violations:
        raise InvalidFields(*violations)
    return changed
