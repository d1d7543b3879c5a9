"""Command-line words in Chinese and English, chosen by DUTYLOOP_LOCALE or the terminal's locale."""

from services.kit.catalogue import Locale
from services.kit.labels import LABELS
from services.kit.settings import terminal_locale

LOCALE: Locale = terminal_locale()


def say(chinese: str, english: str) -> str:
    """Return the words in the chosen language."""
    return chinese if LOCALE == "zh-CN" else english


def label(field: str) -> str:
    """Return what people call a field; one that has no words is shown by its name."""
    return say(*LABELS.get(field, (field, field)))
