"""The draw: anyone gets the same result from the same inputs, and no input can be bent unseen."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.inspection import draw

SEED = bytes(range(32))
targets = st.lists(st.integers(0, 99), min_size=1, max_size=12, unique=True)
people = st.lists(st.integers(0, 99), min_size=6, max_size=12, unique=True)


@st.composite
def pools(make: st.DrawFn) -> draw.Pool:
    """Pools that can be drawn from: every target keeps at least as many candidates as it needs."""
    number = make(st.integers(2, 3))
    names = tuple(f"sites/s{each}" for each in make(targets))
    candidates = tuple(draw.Candidate(f"people/p{each}", f"units/u{each % 3}") for each in make(people))
    keep = len(candidates) - number
    exclusions = []
    for name in names:
        kept = make(st.lists(st.sampled_from(candidates), max_size=keep, unique=True))
        exclusions += [draw.Exclusion(each.person, name, "RECUSAL") for each in kept]
    return draw.Pool(names, candidates, tuple(exclusions), number)


def shuffled(pool: draw.Pool, order: random.Random) -> draw.Pool:
    """Return the pool with each of its lists in another order."""

    def mix(items: tuple[object, ...]) -> tuple[object, ...]:
        return tuple(order.sample(items, len(items)))

    return draw.Pool(
        mix(pool.targets),  # type: ignore[arg-type]
        mix(pool.candidates),  # type: ignore[arg-type]
        mix(pool.exclusions),  # type: ignore[arg-type]
        pool.inspectors_per_visit,
    )


@settings(deadline=None)
@given(pools(), st.binary(min_size=32, max_size=32), st.text(max_size=20))
def test_recomputing_gives_the_same_draw(pool: draw.Pool, seed: bytes, entropy: str) -> None:
    """An auditor who recomputes an honest draw must find it right."""
    drawn = draw.draw(pool, seed, entropy)
    again = draw.verify(drawn)
    assert (again.matches, again.differing_targets) == (True, ())
    assert (again.pool_hash, again.assignments) == (drawn.pool_hash, drawn.assignments)


@settings(deadline=None)
@given(pools(), st.binary(min_size=32, max_size=32))
def test_every_target_gets_enough_inspectors_who_may_visit_it(pool: draw.Pool, seed: bytes) -> None:
    """An excluded inspector, a missing one or one twice would make the visit's record worthless."""
    excluded = {(each.target, each.inspector) for each in pool.exclusions}
    drawn = draw.draw(pool, seed)
    assert [each.target for each in drawn.assignments] == list(pool.targets)
    for each in drawn.assignments:
        assert len(set(each.inspectors)) == len(each.inspectors) == pool.inspectors_per_visit >= 2
        assert not {(each.target, inspector) for inspector in each.inspectors} & excluded


@settings(deadline=None)
@given(pools(), st.binary(min_size=32, max_size=32), st.integers())
def test_the_order_of_the_lists_means_nothing(pool: draw.Pool, seed: bytes, order: int) -> None:
    """Whoever writes the lists could otherwise steer the draw by their order."""
    mixed = shuffled(pool, random.Random(order))
    assert draw.pool_hash(mixed) == draw.pool_hash(pool)
    assert set(draw.draw(mixed, seed).assignments) == set(draw.draw(pool, seed).assignments)


@settings(deadline=None)
@given(pools(), st.data())
def test_any_change_of_the_pool_changes_its_hash(pool: draw.Pool, data: st.DataObject) -> None:
    """A pool changed after it was frozen must not pass for the frozen one."""
    first = pool.candidates[0]
    changed = data.draw(
        st.sampled_from(
            [
                replace(pool, targets=(*pool.targets, "sites/another")),
                replace(pool, targets=(*pool.targets[1:], "sites/another")),
                replace(pool, candidates=pool.candidates[1:]),
                replace(pool, candidates=(replace(first, unit="units/another"), *pool.candidates[1:])),
                replace(pool, exclusions=(*pool.exclusions, draw.Exclusion(first.person, "", "OWN_UNIT"))),
                replace(pool, inspectors_per_visit=pool.inspectors_per_visit + 1),
            ]
        )
    )
    assert draw.pool_hash(changed) != draw.pool_hash(pool)


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32), st.integers(0, 255), st.text(min_size=1, max_size=20))
def test_seed_and_public_entropy_decide_the_draw(seed: bytes, bit: int, entropy: str) -> None:
    """With either one ignored, whoever holds the other would know the result beforehand."""
    pool = draw.Pool(
        tuple(f"sites/s{each}" for each in range(40)),
        tuple(draw.Candidate(f"people/p{each}", "units/u") for each in range(20)),
        (),
        2,
    )
    other = bytearray(seed)
    other[bit // 8] ^= 1 << bit % 8
    drawn = draw.draw(pool, seed)
    assert draw.draw(pool, bytes(other)).assignments != drawn.assignments
    assert draw.draw(pool, seed, entropy).assignments != drawn.assignments


@settings(deadline=None)
@given(pools(), st.binary(min_size=32, max_size=32))
def test_load_is_level_where_nothing_is_excluded(pool: draw.Pool, seed: bytes) -> None:
    """Inspectors who are always drawn, or never, would make the pool a fiction."""
    drawn = draw.draw(replace(pool, exclusions=()), seed)
    load = Counter({each.person: 0 for each in pool.candidates})
    load.update(inspector for each in drawn.assignments for inspector in each.inspectors)
    assert max(load.values()) - min(load.values()) <= 1


@settings(deadline=None)
@given(pools(), st.binary(min_size=32, max_size=32), st.data())
def test_an_edited_assignment_is_found(pool: draw.Pool, seed: bytes, data: st.DataObject) -> None:
    """Swapping one inspector in the database must not survive verification, and must be located."""
    drawn = draw.draw(pool, seed)
    index = data.draw(st.integers(0, len(drawn.assignments) - 1))
    edited = list(drawn.assignments)
    edited[index] = replace(edited[index], inspectors=("people/friend", *edited[index].inspectors[1:]))
    found = draw.verify(replace(drawn, assignments=tuple(edited)))
    assert (found.matches, found.differing_targets) == (False, (edited[index].target,))


def test_a_dropped_assignment_and_a_wrong_hash_are_found() -> None:
    """A target left out, or a hash that fixes another pool, must not verify."""
    pool = draw.Pool(("sites/a", "sites/b"), tuple(draw.Candidate(f"people/{c}", "units/u") for c in "abc"), (), 2)
    drawn = draw.draw(pool, SEED)
    assert draw.verify(replace(drawn, assignments=drawn.assignments[:1])).differing_targets == ("sites/b",)
    assert not draw.verify(replace(drawn, pool_hash=bytes(32))).matches


def test_an_unknown_algorithm_is_not_verified() -> None:
    """A draw by another rule must not be judged by this one."""
    pool = draw.Pool(("sites/a",), tuple(draw.Candidate(f"people/{c}", "units/u") for c in "abc"), (), 2)
    with pytest.raises(draw.UnknownAlgorithm):
        draw.verify(replace(draw.draw(pool, SEED), algorithm="dutyloop-draw-0"))


def test_too_few_inspectors_for_a_target_are_refused() -> None:
    """A draw that quietly sent one inspector would break the rule of two."""
    pool = draw.Pool(
        ("sites/a", "sites/b"),
        tuple(draw.Candidate(f"people/{c}", "units/u") for c in "abc"),
        (draw.Exclusion("people/a", "sites/b", "RECUSAL"), draw.Exclusion("people/b", "sites/b", "OWN_UNIT")),
        2,
    )
    with pytest.raises(draw.TooFewInspectors) as refused:
        draw.draw(pool, SEED)
    assert refused.value.target == "sites/b"


def test_a_published_draw_never_changes() -> None:
    """Draws made with the published algorithm must verify with every later version of this code."""
    pool = draw.Pool(
        ("sites/a", "sites/b", "units/c"),
        tuple(draw.Candidate(f"people/{c}", "units/u") for c in "abcd"),
        (draw.Exclusion("people/a", "sites/a", "RECUSAL"), draw.Exclusion("people/d", "", "NOT_APPOINTED")),
        2,
    )
    drawn = draw.draw(pool, SEED, "彩票 26001期")
    assert drawn.pool_hash.hex() == "8a070a73847c43062b0fe482beb5e859ed54c4fd787a3c3bcc4dfb17c08f6efe"
    assert [(each.target, each.inspectors) for each in drawn.assignments] == [
        ("sites/a", ("people/c", "people/b")),
        ("sites/b", ("people/b", "people/a")),
        ("units/c", ("people/c", "people/a")),
    ]
