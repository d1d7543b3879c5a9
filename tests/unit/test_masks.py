"""Update masks: what an update changes, and what it cannot."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from dutyloop.directory.v1 import directory_pb2
from services.kit.errors import InvalidFields
from services.kit.masks import changed_fields

CHANGEABLE = ("display_name", "kind", "enforcement")
REQUIRED = ("display_name", "kind")


def changes(unit: directory_pb2.Unit, *paths: str) -> frozenset[str]:
    """Return what an update of a unit with this mask changes."""
    request = directory_pb2.UpdateUnitRequest(unit=unit, update_mask=FieldMask(paths=paths))
    return changed_fields(request, "unit", CHANGEABLE, REQUIRED)


def refused(unit: directory_pb2.Unit, *paths: str) -> list[tuple[str, str]]:
    """Return fields and problems of the refusal of an update."""
    with pytest.raises(InvalidFields) as error:
        changes(unit, *paths)
    return [(each.field, each.problem) for each in error.value.violations]


def test_the_mask_decides_what_changes() -> None:
    """A client that cleared one field would change others it merely sent along."""
    assert changes(directory_pb2.Unit(display_name="应急管理局"), "enforcement") == {"enforcement"}


def test_without_a_mask_what_is_set_changes() -> None:
    """An update without a mask would change nothing, or clear what was left out."""
    assert changes(directory_pb2.Unit(name="units/a", display_name="应急管理局")) == {"display_name"}
    assert changes(directory_pb2.Unit()) == frozenset()


@pytest.mark.parametrize("path", ["name", "region", "path", "etag", "*", "", "display_name.x"])
def test_a_mask_cannot_name_what_never_changes(path: str) -> None:
    """A unit could be moved out of its region by an update."""
    unit = directory_pb2.Unit(display_name="应急管理局")
    assert refused(unit, "display_name", path) == [("update_mask", "not_in_mask")]


def test_a_mask_cannot_clear_what_is_required() -> None:
    """A unit would be left without a name; and whoever mends one field would learn of the next only then."""
    wrong = [("update_mask", "not_in_mask"), ("unit.display_name", "required"), ("unit.kind", "required")]
    assert refused(directory_pb2.Unit(), "kind", "display_name", "region") == wrong
