"""Resource names and derived ids."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kit.errors import InvalidFields
from services.kit.names import ID, derived_id, id_of, name_of, optional_id
from tests.refusals import refusal

MALFORMED = [
    "",
    "units",
    "units/",
    "7",
    "/7",
    "people/7",
    "units/7/8",
    "units//7",
    "units/../7",
    "units/.7",
    "units/7\n",
    "units/7 ",
    "units/七",
    "units/7;DROP TABLE unit",
    "units/%",
    "units/" + "7" * 65,
    "units/units/7",
]


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_name_is_refused_by_its_field(name: str) -> None:
    """A caller would get NOT_FOUND for a typing error, or SQL would meet what no id may hold."""
    with pytest.raises(InvalidFields) as refusal:
        id_of(name, "units", "unit.parent")
    assert [(each.field, each.problem) for each in refusal.value.violations] == [("unit.parent", "malformed")]


@given(st.from_regex(ID, fullmatch=True))
def test_a_name_and_its_id_are_each_other_s_inverse(identifier: str) -> None:
    """A resource that was created could not be read under the name it was answered with."""
    if "\n" not in identifier:
        assert identifier == id_of(name_of("units", identifier), "units")


def test_an_absent_reference_is_empty_both_ways() -> None:
    """A top unit would be stored with a parent called "units/"."""
    assert (name_of("units", None), name_of("units", ""), optional_id("", "units", "unit.parent")) == ("", "", "")
    assert optional_id("units/7", "units", "unit.parent") == "7"


def test_an_optional_name_is_checked_once_it_is_given() -> None:
    """A misspelt parent would silently make a top unit."""
    assert refusal(lambda: optional_id("people/7", "units", "unit.parent")) == "unit.parent malformed"


@given(st.lists(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x1f")), min_size=1))
def test_a_derived_id_is_repeatable_and_a_valid_id(parts: list[str]) -> None:
    """A command sent twice would create two resources, or one whose name is malformed."""
    made = derived_id(*parts)
    assert made == derived_id(*parts)
    assert re.fullmatch("[a-z2-7]{16}", made) and ID.fullmatch(made)


def test_derived_ids_keep_their_parts_apart() -> None:
    """Two persons' commands could land on the same id by shifting a letter between the parts."""
    assert derived_id("people/1", "1x") != derived_id("people/11", "x")
    assert derived_id("a", "", "b") != derived_id("a", "b")
