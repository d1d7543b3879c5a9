"""Serves directory alone: ``python -m services.directory``."""

from services.kit.serve import run

run(["directory"])
