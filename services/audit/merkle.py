"""The Merkle tree of RFC 6962 / RFC 9162 §2: frontier, inclusion and consistency proofs, and their checks.

Pure functions. Stored nodes are the roots of complete subtrees: node (level, index) covers the leaves
``index << level`` up to ``(index + 1) << level``; level 0 are the leaf hashes.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

LEAF_PREFIX = b"\x00"
NODE_PREFIX = b"\x01"
EMPTY_ROOT = hashlib.sha256().digest()

Coordinates = tuple[int, int]
"""Level and index of a complete subtree."""
ReadNodes = Callable[[Sequence[Coordinates]], Awaitable[Mapping[Coordinates, bytes]]]


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(LEAF_PREFIX + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an interior node."""
    return hashlib.sha256(NODE_PREFIX + left + right).digest()


def frontier_of(size: int) -> list[Coordinates]:
    """Return the complete subtrees that make up a tree of ``size`` leaves, largest first."""
    found = []
    start = 0
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            found.append((level, start >> level))
            start += 1 << level
    return found


def subtrees_of(start: int, end: int) -> list[Coordinates]:
    """Return the complete subtrees of the range [start, end) that RFC 6962 splits off, left to right.

    ``start`` must be a multiple of the largest power of two below ``end - start``.
    """
    return [(level, index + (start >> level)) for level, index in frontier_of(end - start)]


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the root over complete subtrees given left to right, as RFC 6962 folds them: from the right."""
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


class Frontier:
    """An append-only tree, of which only the complete subtrees on the right edge are held."""

    __slots__ = ("_hashes", "size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        """Continue a tree of ``size`` leaves whose ``frontier_of(size)`` has these hashes."""
        self.size = size
        self._hashes = list(hashes)
        if len(self._hashes) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} frontier nodes")

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Append a leaf hash; return the interior nodes that it completes, as (level, index, hash)."""
        completed = []
        position = self.size
        level = 0
        current = leaf
        while position >> level & 1:
            current = node_hash(self._hashes.pop(), current)
            level += 1
            completed.append((level, position >> level, current))
        self._hashes.append(current)
        self.size = position + 1
        return completed

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Append many leaf hashes; the quick way when nobody asks for the completed nodes."""
        start, end = 0, len(leaves)
        while start < end:
            # The largest subtree that fits and is aligned here; its levels are hashed whole.
            level = min((end - start).bit_length() - 1, (self.size & -self.size).bit_length() - 1 if self.size else 63)
            nodes = leaves[start : start + (1 << level)]
            start += 1 << level
            sha256 = hashlib.sha256
            for _ in range(level):
                nodes = [sha256(b"\x01%b%b" % pair).digest() for pair in zip(nodes[::2], nodes[1::2], strict=True)]
            self._append_subtree(nodes[0], level)

    def _append_subtree(self, root: bytes, level: int) -> None:
        rest = self.size >> level
        while rest & 1:
            root = node_hash(self._hashes.pop(), root)
            rest >>= 1
        self._hashes.append(root)
        self.size += 1 << level

    def hashes(self) -> list[bytes]:
        """Return the hashes of ``frontier_of(size)``."""
        return list(self._hashes)

    def root(self) -> bytes:
        """Return the root hash."""
        return fold(self._hashes)


def split(size: int) -> int:
    """Return the largest power of two smaller than ``size`` (which is at least 2)."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_path(position: int, size: int) -> list[list[Coordinates]]:
    """Return what the proof of a leaf consists of, leaf first: each hash as the subtrees to fold."""
    if not 0 <= position < size:
        raise ValueError(f"position {position} is not in a tree of {size}")
    path = []
    start, end = 0, size
    while end - start > 1:
        middle = start + split(end - start)
        if position < middle:
            path.append(subtrees_of(middle, end))
            end = middle
        else:
            path.append(subtrees_of(start, middle))
            start = middle
    path.reverse()
    return path


def consistency_path(first: int, second: int) -> list[list[Coordinates]]:
    """Return what the proof consists of that a tree of ``second`` leaves extends the one of ``first``."""
    if not 0 < first <= second:
        raise ValueError(f"a tree of {second} cannot extend one of {first}")
    if first == second:
        return []
    path = []
    start, end, whole = 0, second, True
    while first != end:
        middle = start + split(end - start)
        if first <= middle:
            path.append(subtrees_of(middle, end))
            end = middle
        else:
            path.append(subtrees_of(start, middle))
            start = middle
            whole = False
    if not whole:
        path.append(subtrees_of(start, end))
    path.reverse()
    return path


async def read_path(path: Sequence[Sequence[Coordinates]], read: ReadNodes) -> list[bytes]:
    """Fetch a path's stored nodes at once and fold each element. Raises KeyError when a node is missing."""
    nodes = await read([coordinates for element in path for coordinates in element])
    return [fold([nodes[coordinates] for coordinates in element]) for element in path]


def verify_inclusion(leaf: bytes, position: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether the proof shows the leaf hash at ``position`` of the tree (RFC 9162 §2.1.3.2)."""
    if not 0 <= position < size:
        return False
    index, last, current = position, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if index & 1 or index == last:
            current = node_hash(sibling, current)
            while not index & 1 and index:
                index >>= 1
                last >>= 1
        else:
            current = node_hash(current, sibling)
        index >>= 1
        last >>= 1
    return last == 0 and current == root


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether the proof shows that the second tree only adds to the first (RFC 9162 §2.1.4.2)."""
    if not 0 < first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    hashes = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    if not hashes:
        return False
    index, last = first - 1, second - 1
    while index & 1:
        index >>= 1
        last >>= 1
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if index & 1 or index == last:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
            while not index & 1 and index:
                index >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        index >>= 1
        last >>= 1
    return last == 0 and old == first_root and new == second_root
