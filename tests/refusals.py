"""What rules refuse, in a form that tests compare: which rule, which field, which two steps."""

from collections.abc import Callable

from services.kit.errors import DomainError, InvalidFields, RuleNotMet


def refusal(check: Callable[[], object]) -> str | None:
    """Return in short what a check refuses, None when it lets pass."""
    try:
        check()
    except DomainError as error:
        return in_short(error)
    return None


def in_short(error: DomainError) -> str:
    """Name a refusal: the rule, the fields with their problems, else the reason and what it says."""
    if isinstance(error, InvalidFields):
        return ", ".join(f"{each.field} {each.problem}" for each in error.violations)
    if isinstance(error, RuleNotMet):
        return error.metadata["rule"]
    return " ".join((error.reason, *error.metadata.values()))
