"""The draw of inspectors: pure, published, recomputable by anyone with the standard library.

In order, so that nobody who can still change an input knows what it will give:

1. **Freeze.** ``pool_hash`` = SHA-256 over the canonical JSON of targets, candidates, exclusions and number,
   each list sorted; it is written down (the tour's history) before step 2.
2. **Seed.** 32 random bytes are made, and written down. Public randomness that nobody in the house controls
   may be named beside it.
3. **Key.** ``key`` = SHA-256(algorithm id, 0x00, pool hash, seed, public entropy in UTF-8).
4. **Rank.** The rank of some names under a key is SHA-256(key, then 0x00 and the name for each of them).
   Targets are taken in the order of rank(target). For each one, the candidates who are not kept from it
   are ordered by (targets drawn so far, rank(target, candidate)) and the first ``inspectors_per_visit`` taken.

So the load is level as far as exclusions allow, and the order in which anybody wrote the lists means nothing.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ALGORITHM = "dutyloop-draw-1"
LEAST_INSPECTORS = 2
"""At least two officers at every visit: statute for penalties, our default for tours of units."""
SEPARATOR = b"\x00"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A person in the pool and the unit that the person belongs to."""

    person: str
    unit: str


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Keeps a candidate from a target, or from all of them when ``target`` is empty.

    ``reason`` is an ExclusionReason name without its prefix.
    """

    inspector: str
    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class Pool:
    """All that is fixed before the seed is made."""

    targets: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    exclusions: tuple[Exclusion, ...]
    inspectors_per_visit: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """The inspectors of a target, in the order in which they were drawn."""

    target: str
    inspectors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A draw with all that it takes to recompute it."""

    pool: Pool
    pool_hash: bytes
    seed: bytes
    public_entropy: str
    assignments: tuple[Assignment, ...]
    algorithm: str = ALGORITHM


@dataclass(frozen=True, slots=True)
class Verification:
    """What a draw comes to when it is recomputed."""

    matches: bool
    pool_hash: bytes
    assignments: tuple[Assignment, ...]
    differing_targets: tuple[str, ...]


class UnknownAlgorithm(ValueError):
    """The draw names an algorithm that is not published here."""


class TooFewInspectors(ValueError):
    """Exclusions leave a target with fewer candidates than inspectors are needed; ``target`` names it."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.target = target


def pool_hash(pool: Pool) -> bytes:
    """Return the SHA-256 that fixes a pool."""
    content = {
        "algorithm": ALGORITHM,
        "candidates": sorted([each.person, each.unit] for each in pool.candidates),
        "exclusions": sorted([each.inspector, each.target, each.reason] for each in pool.exclusions),
        "inspectors_per_visit": pool.inspectors_per_visit,
        "targets": sorted(pool.targets),
    }
    canonical = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(canonical.encode()).digest()


def draw(pool: Pool, seed: bytes, public_entropy: str = "") -> Drawn:
    """Draw every target's inspectors. Raises TooFewInspectors."""
    fixed = pool_hash(pool)
    key = hashlib.sha256(ALGORITHM.encode() + SEPARATOR + fixed + seed + public_entropy.encode()).digest()
    kept_from = _kept_from(pool.exclusions)
    kept_from_all = kept_from.get("", frozenset())
    load = {each.person: 0 for each in pool.candidates}
    chosen: dict[str, tuple[str, ...]] = {}
    for target in sorted(pool.targets, key=lambda name: _rank(key, name)):
        kept = kept_from_all | kept_from.get(target, frozenset())
        order = sorted(
            (person for person in load if person not in kept),
            key=lambda person, target=target: (load[person], _rank(key, target, person)),  # type: ignore[misc]
        )
        if len(order) < pool.inspectors_per_visit:
            raise TooFewInspectors(target)
        chosen[target] = tuple(order[: pool.inspectors_per_visit])
        for person in chosen[target]:
            load[person] += 1
    assignments = tuple(Assignment(target, chosen[target]) for target in pool.targets)
    return Drawn(pool, fixed, seed, public_entropy, assignments)


def verify(drawn: Drawn) -> Verification:
    """Recompute a draw from its inputs and compare. Raises UnknownAlgorithm."""
    if drawn.algorithm != ALGORITHM:
        raise UnknownAlgorithm(drawn.algorithm)
    try:
        again = draw(drawn.pool, drawn.seed, drawn.public_entropy)
    except TooFewInspectors as error:
        return Verification(False, pool_hash(drawn.pool), (), (error.target,))
    differing = _differing(drawn.assignments, again.assignments)
    matches = not differing and again.pool_hash == drawn.pool_hash
    return Verification(matches, again.pool_hash, again.assignments, differing)


def _differing(claimed: Sequence[Assignment], recomputed: Sequence[Assignment]) -> tuple[str, ...]:
    stated = {each.target: each.inspectors for each in claimed}
    expected = {each.target: each.inspectors for each in recomputed}
    return tuple(target for target in {**expected, **stated} if stated.get(target) != expected.get(target))


def _kept_from(exclusions: Iterable[Exclusion]) -> dict[str, frozenset[str]]:
    kept: dict[str, set[str]] = {}
    for each in exclusions:
        kept.setdefault(each.target, set()).add(each.inspector)
    return {target: frozenset(persons) for target, persons in kept.items()}


def _rank(key: bytes, *names: str) -> bytes:
    return hashlib.sha256(key + b"".join(SEPARATOR + name.encode() for name in names)).digest()
