"""The Merkle tree against the vectors of RFC 6962 implementations and a naive recursive one."""

import hashlib
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audit import merkle

DATA = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
"""The leaves that the test suites of Certificate Transparency implementations share."""
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    middle = 1
    while middle * 2 < len(leaves):
        middle *= 2
    return merkle.node_hash(naive_root(leaves[:middle]), naive_root(leaves[middle:]))


def naive_path(position: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 6962 §2.1.1."""
    if len(leaves) == 1:
        return []
    middle = 1
    while middle * 2 < len(leaves):
        middle *= 2
    if position < middle:
        return [*naive_path(position, leaves[:middle]), naive_root(leaves[middle:])]
    return [*naive_path(position - middle, leaves[middle:]), naive_root(leaves[:middle])]


def naive_proof(first: int, leaves: Sequence[bytes], *, whole: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 6962 §2.1.2."""
    if first == len(leaves):
        return [] if whole else [naive_root(leaves)]
    middle = 1
    while middle * 2 < len(leaves):
        middle *= 2
    if first <= middle:
        return [*naive_proof(first, leaves[:middle], whole=whole), naive_root(leaves[middle:])]
    return [*naive_proof(first - middle, leaves[middle:], whole=False), naive_root(leaves[:middle])]


def leaves_of(size: int) -> list[bytes]:
    """Return distinct leaf hashes."""
    return [merkle.leaf_hash(b"%d" % number) for number in range(size)]


class Stored:
    """The nodes as the sequencer stores them."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.nodes = {(0, position): leaf for position, leaf in enumerate(leaves)}
        frontier = merkle.Frontier()
        for leaf in leaves:
            self.nodes |= {(level, index): value for level, index, value in frontier.append(leaf)}

    async def read(self, wanted: Sequence[merkle.Coordinates]) -> Mapping[merkle.Coordinates, bytes]:
        """Read stored nodes."""
        return {coordinates: self.nodes[coordinates] for coordinates in wanted}


def test_roots_are_those_of_certificate_transparency() -> None:
    """If a root differed from RFC 6962, no other implementation could verify our log."""
    frontier = merkle.Frontier()
    assert frontier.root() == hashlib.sha256(b"").digest()
    roots = []
    for data in DATA:
        frontier.append(merkle.leaf_hash(data))
        roots.append(frontier.root().hex())
    assert roots == ROOTS


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_frontier_can_be_continued_anywhere(size: int, cut: int) -> None:
    """If a restarted sequencer continued with another tree, every later checkpoint would be wrong."""
    cut = min(size, cut)
    leaves = leaves_of(size)
    stored = Stored(leaves[:cut])
    frontier = merkle.Frontier(cut, [stored.nodes[each] for each in merkle.frontier_of(cut)])
    assert frontier.root() == naive_root(leaves[:cut])
    frontier.extend(leaves[cut:])
    assert (frontier.size, frontier.root()) == (size, naive_root(leaves))


@given(st.data())
async def test_inclusion_proofs_are_those_of_the_rfc(data: st.DataObject) -> None:
    """An auditor who checks a receipt with another RFC 6962 implementation would call us liars."""
    size = data.draw(st.integers(1, 130))
    position = data.draw(st.integers(0, size - 1))
    leaves = leaves_of(size + data.draw(st.integers(0, 20)))
    proof = await merkle.read_path(merkle.inclusion_path(position, size), Stored(leaves).read)
    assert proof == naive_path(position, leaves[:size])
    root = naive_root(leaves[:size])
    assert merkle.verify_inclusion(leaves[position], position, size, proof, root)
    wrong = data.draw(st.integers(0, size + 3))
    if wrong != position:
        assert not merkle.verify_inclusion(leaves[position], wrong, size, proof, root)
    assert not merkle.verify_inclusion(merkle.leaf_hash(b"forged"), position, size, proof, root)
    assert not merkle.verify_inclusion(leaves[position], position, size, [*proof, root], root)
    if proof:
        assert not merkle.verify_inclusion(leaves[position], position, size, proof[:-1], root)


@given(st.data())
async def test_consistency_proofs_are_those_of_the_rfc(data: st.DataObject) -> None:
    """A witness would have to refuse our honest log, or could not tell a rewritten one."""
    second = data.draw(st.integers(1, 130))
    first = data.draw(st.integers(1, second))
    leaves = leaves_of(second)
    proof = await merkle.read_path(merkle.consistency_path(first, second), Stored(leaves).read)
    assert proof == naive_proof(first, leaves)
    old, new = naive_root(leaves[:first]), naive_root(leaves)
    assert merkle.verify_consistency(first, second, old, new, proof)
    forged = naive_root([merkle.leaf_hash(b"forged"), *leaves[1:first]])
    assert not merkle.verify_consistency(first, second, forged, new, proof)
    assert not merkle.verify_consistency(first, second, old, merkle.leaf_hash(b"x"), proof)
    if proof:
        assert not merkle.verify_consistency(first, second, old, new, proof[:-1])
        assert not merkle.verify_consistency(first, second, old, new, [*proof, new])


def test_what_is_not_in_the_tree_has_no_proof() -> None:
    """A proof for a position beyond the size would be nonsense that looks like evidence."""
    for position, size in ((0, 0), (5, 5), (-1, 3)):
        with pytest.raises(ValueError, match="not in a tree"):
            merkle.inclusion_path(position, size)
        assert not merkle.verify_inclusion(DATA[0], position, size, [], DATA[0])
    for first, second in ((0, 4), (5, 4)):
        with pytest.raises(ValueError, match="cannot extend"):
            merkle.consistency_path(first, second)
        assert not merkle.verify_consistency(first, second, DATA[0], DATA[0], [])
    with pytest.raises(ValueError, match="frontier nodes"):
        merkle.Frontier(3, [DATA[0]])
