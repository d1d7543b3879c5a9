"""The words by which values of enums are stored."""

import pytest

from dutyloop.directory.v1 import directory_pb2
from services.kit.contexts import CONTEXTS
from services.kit.words_of import Words


def test_a_word_is_stored_for_each_value_and_read_back() -> None:
    """A row would be shown with another state than it was stored with."""
    colours = Words(directory_pb2.RiskColour)
    assert colours.of(directory_pb2.RISK_COLOUR_YELLOW) == "YELLOW"
    assert colours.number("YELLOW") == directory_pb2.RISK_COLOUR_YELLOW
    assert (colours.of(0), colours.given(0), colours.given(directory_pb2.RISK_COLOUR_RED)) == ("UNSPECIFIED", "", "RED")


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_values_of_every_enum_share_what_their_words_leave_out(context: str) -> None:
    """A word would carry a prefix that no row, no filter and no sentence has."""
    for enum in CONTEXTS[context].file.enum_types_by_name.values():
        shared = enum.values[0].name.removesuffix("UNSPECIFIED")
        assert all(value.name.startswith(shared) and value.name != shared for value in enum.values), enum.full_name
