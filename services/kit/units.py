"""How units stand to each other in the tree. Paths nest by prefix: ``a/`` has ``a/b/`` below it, never ``ab/``."""

from collections.abc import Iterable


def is_within(unit_path: str, responsible_path: str) -> bool:
    """Tell whether a unit is the responsible one or below it; '' when nobody is responsible."""
    return bool(responsible_path) and unit_path.startswith(responsible_path)


def judges_itself(unit_paths: Iterable[str], responsible_path: str) -> bool:
    """Tell whether somebody would judge the responsible unit only through posts of that unit or of ones below it."""
    paths = tuple(unit_paths)
    return bool(paths) and all(is_within(path, responsible_path) for path in paths)
