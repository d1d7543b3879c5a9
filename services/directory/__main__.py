"""Serves the directory service alone."""

from services.kit.serve import run

if __name__ == "__main__":
    run(["directory"])
