"""Page tokens: opaque, bound to one list and its filters."""

import base64
from datetime import date

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutyloop.directory.v1 import directory_pb2
from services.kit.errors import InvalidFields
from services.kit.paging import DEFAULT_SIZE, MAX_SIZE, page_of
from tests.refusals import refusal


def problem_of(request: object) -> tuple[str, str]:
    """Return field and problem of the refusal of a page."""
    with pytest.raises(InvalidFields) as refusal:
        page_of(request)  # type: ignore[arg-type]
    (violation,) = refusal.value.violations
    return violation.field, violation.problem


def sealed(*content: object) -> str:
    """Return what a caller could make up after looking into a token."""
    return base64.urlsafe_b64encode(orjson.dumps(content)).decode().rstrip("=")


def token_of(request: directory_pb2.ListUnitsRequest, *key: str) -> str:
    """Return the token with which a list continues after ``key``."""
    page = page_of(request)
    return page.token(*key)


@pytest.mark.parametrize(("asked", "given_size"), [(0, DEFAULT_SIZE), (1, 1), (1000, 1000), (2**31 - 1, MAX_SIZE)])
def test_page_sizes_are_capped(asked: int, given_size: int) -> None:
    """One caller could make the service load a whole table."""
    page = page_of(directory_pb2.ListUnitsRequest(page_size=asked))
    assert (given_size, given_size + 1) == (page.size, page.limit)


def test_a_negative_page_size_is_refused() -> None:
    """PostgreSQL would answer an internal error to LIMIT -1."""
    assert problem_of(directory_pb2.ListUnitsRequest(page_size=-1)) == ("page_size", "out_of_range")


def test_a_list_continues_after_its_last_key() -> None:
    """Whoever pages through a list would meet rows twice or never."""
    request = directory_pb2.ListUnitsRequest(region="regions/13", page_size=2)
    page = page_of(request)
    rows = [{"id": name, "version": number, "day": date(2014, 6, number)} for number, name in enumerate("abc", 1)]
    assert page.after_key() == ""
    assert page.cut(rows[:2], "id") == (rows[:2], "")
    shown, request.page_token = page.cut(rows, "id", "version", "day")
    following = page_of(request)
    assert shown == rows[:2]
    assert (following.after_key(), following.after_number(1), following.after_date(2)) == ("b", 2, date(2014, 6, 2))


def test_a_list_at_hand_is_paged_to_its_end() -> None:
    """The last clock of the catalogue, or line of a case, would be left out, or an empty page follow."""
    request = directory_pb2.ListUnitsRequest(page_size=2)
    shown, request.page_token = page_of(request).part("abcd")
    assert shown == "ab"
    assert page_of(request).part("abcd") == ("cd", "")


def test_another_page_size_continues_the_same_list() -> None:
    """A caller that reads the rest in bigger pages would have to start anew."""
    token = token_of(directory_pb2.ListUnitsRequest(page_size=2), "b")
    assert page_of(directory_pb2.ListUnitsRequest(page_size=500, page_token=token)).after_key() == "b"


def test_a_token_of_another_filter_or_list_is_refused() -> None:
    """A page would silently skip rows of the list it does not belong to."""
    token = token_of(directory_pb2.ListUnitsRequest(region="regions/13"), "b")
    refused = ("page_token", "not_current")
    assert refused == problem_of(directory_pb2.ListUnitsRequest(page_token=token))
    assert refused == problem_of(directory_pb2.ListUnitsRequest(region="regions/11", page_token=token))
    assert refused == problem_of(directory_pb2.ListSitesRequest(region="regions/13", page_token=token))


TAMPERED = ["!", "§", "a", "=", "====", "YWJj", sealed(), sealed(7), sealed("x"), sealed([]), sealed({}), "W10" * 9]


@pytest.mark.parametrize("token", TAMPERED)
def test_a_made_up_token_is_refused(token: str) -> None:
    """A caller that edits a token would get an internal error, and its traceback would fill the log."""
    assert problem_of(directory_pb2.ListUnitsRequest(page_token=token))[0] == "page_token"


@given(st.text())
def test_no_text_at_all_breaks_the_reading_of_tokens(token: str) -> None:
    """Some text nobody thought of would be answered with an internal error."""
    if token:
        assert problem_of(directory_pb2.ListUnitsRequest(page_token=token))[0] == "page_token"


@pytest.mark.parametrize("key", [[], [7], [None], ["a\0"], [["a"]]])
def test_a_forged_key_is_refused(key: list[object]) -> None:
    """A key that is no text, or holds NUL, would reach PostgreSQL and fail there."""
    request = directory_pb2.ListUnitsRequest()
    request.page_token = sealed(page_of(request).fingerprint, *key)
    assert problem_of(request)[0] == "page_token"


def test_a_forged_key_with_too_few_parts_is_refused_where_it_is_read() -> None:
    """A shortened token would be answered with an internal error by lists with two keys."""
    request = directory_pb2.ListUnitsRequest()
    request.page_token = token_of(request, "b")
    assert refusal(lambda: page_of(request).after_key(1)) == "page_token malformed"


def test_a_forged_time_is_refused_where_it_is_read() -> None:
    """A token edited to hold no time would be answered with an internal error by lists in order of time."""
    request = directory_pb2.ListUnitsRequest()
    start = page_of(request).after_time()
    assert start.year == 1900 and start.tzinfo is not None
    for forged in ("yesterday", "2014-06-30", "2014-06-30T00:00:00"):
        request.page_token = token_of(directory_pb2.ListUnitsRequest(), forged)
        assert refusal(lambda: page_of(request).after_time()) == "page_token malformed"
    request.page_token = token_of(directory_pb2.ListUnitsRequest(), "2014-06-30T00:00:00+00:00")
    assert page_of(request).after_time().year == 2014


def test_forged_days_and_numbers_are_refused_where_they_are_read() -> None:
    """A token edited to hold no day or number would be answered with an internal error by lists in their order."""
    request = directory_pb2.ListUnitsRequest()
    assert (page_of(request).after_date().year, page_of(request).after_number(0, -1)) == (1900, -1)
    assert page_of(request).after_date(default=date.min) == date.min
    for forged in ("2014-06-31", "x", "", "-12", "9" * 19, "1.5", "²", "1_0", " 1"):
        request.page_token = token_of(directory_pb2.ListUnitsRequest(), forged)
        assert refusal(lambda: page_of(request).after_date()) == "page_token malformed"
        assert refusal(lambda: page_of(request).after_number()) == "page_token malformed"
    request.page_token = token_of(directory_pb2.ListUnitsRequest(), "2014-06-30", "12")
    assert (page_of(request).after_date(0).year, page_of(request).after_number(1)) == (2014, 12)
