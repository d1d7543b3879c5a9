"""Command-line words in Chinese and English, chosen by DUTYLOOP_LOCALE or the terminal's locale."""

import locale
import os

from services.kit.catalogue import Locale
from services.kit.labels import LABELS


def chosen_locale() -> Locale:
    """Return DUTYLOOP_LOCALE when it names a language of ours, else Chinese unless the terminal is English."""
    wanted = os.environ.get("DUTYLOOP_LOCALE") or os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
    if not wanted:
        wanted = locale.getlocale()[0] or ""
    return "en" if wanted.lower().startswith("en") else "zh-CN"


LOCALE: Locale = chosen_locale()


def say(chinese: str, english: str) -> str:
    """Return the words in the chosen language."""
    return chinese if LOCALE == "zh-CN" else english


def label(field: str) -> str:
    """Return what people call a field; one that has no words is shown by its name."""
    return say(*LABELS.get(field, (field, field)))
