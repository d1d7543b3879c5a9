"""Command-line words in Chinese and English, chosen by DUTYLOOP_LOCALE or the terminal's locale."""

from services.kit.catalogue import Locale
from services.kit.failures import Failure
from services.kit.labels import HINTS, LABELS
from services.kit.library_words import describe_os_error
from services.kit.settings import terminal_locale

LOCALE: Locale = terminal_locale()


def say(chinese: str, english: str) -> str:
    """Return the words in the chosen language."""
    return chinese if LOCALE == "zh-CN" else english


def label(field: str) -> str:
    """Return what people call a field; one that has no words is shown by its name."""
    return say(*LABELS.get(field, (field, field)))


def hint(field: str) -> str:
    """Return what help says of a field: its label, or more where that does not explain it."""
    return say(*HINTS[field]) if field in HINTS else label(field)


def worded(error: Exception) -> str:
    """Return what went wrong in the chosen language: failures of ours, and the system's; other texts as they are."""
    if isinstance(error, Failure):
        return error.worded(LOCALE)
    return describe_os_error(error, LOCALE) if isinstance(error, OSError) else str(error)
