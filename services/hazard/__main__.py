"""Serves the hazard service alone."""

from services.kit.serve import run

if __name__ == "__main__":
    run(["hazard"])
