"""Generates, lints and checks the protos.

Builds a tree under ``build/protos`` with our protos beside the google/api ones of the
googleapis-common-protos wheel, so that buf sees both and nothing of Google's is copied into git.

    python protos/generate.py            regenerate protos/gen
    python protos/generate.py --check    fail when protos/gen is not up to date; lint; breaking check
    python protos/generate.py --baseline accept the present protos as the new baseline
"""

import argparse
import filecmp
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import google.api.annotations_pb2
import grpc_tools

HERE = Path(__file__).resolve().parent
TREE = HERE.parent / "build" / "protos"
BASELINE = HERE / "baseline.binpb"
GOOGLE_PACKAGES = ("api", "rpc", "type")


def lay_out_tree() -> None:
    """Copy both proto sets into the build tree that buf and protoc read."""
    shutil.rmtree(TREE, ignore_errors=True)
    ours = TREE / "dutyloop-protos"
    shutil.copytree(HERE / "dutyloop", ours / "dutyloop")
    wheel = Path(google.api.annotations_pb2.__file__).resolve().parent.parent
    for package in GOOGLE_PACKAGES:
        for proto in (wheel / package).glob("*.proto"):
            target = TREE / "googleapis" / "google" / package / proto.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(proto, target)
    shutil.copy(HERE / "buf.yaml", TREE / "buf.yaml")


def generate(out: Path) -> None:
    """Write messages, stubs and their type hints for every proto of ours below ``out``."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    ours = TREE / "dutyloop-protos"
    protos = sorted(str(path.relative_to(ours)) for path in ours.rglob("*.proto"))
    bin_dir = Path(sys.executable).parent
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"--plugin=protoc-gen-mypy={bin_dir / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={bin_dir / 'protoc-gen-mypy_grpc'}",
        f"-I{ours}",
        f"-I{TREE / 'googleapis'}",
        f"-I{files(grpc_tools) / '_proto'}",
        f"--python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--grpc_python_out={out}",
        f"--mypy_grpc_out=quiet:{out}",
        *protos,
    ]
    subprocess.run(command, check=True)  # noqa: S603 (fixed program, our own files)
    for package in {path.parent for path in out.rglob("*.py")} | {out / "dutyloop"}:
        for folder in [package, *package.parents]:
            if folder == out:
                break
            (folder / "__init__.py").touch()
            (folder / "py.typed").touch()


def buf(*arguments: str) -> int:
    """Run buf in the build tree; return its exit code."""
    program = Path(sys.executable).parent / "buf"
    return subprocess.run([str(program), *arguments], cwd=TREE, check=False).returncode  # noqa: S603


def differing_files(left: Path, right: Path) -> list[str]:
    """List the relative paths that differ or stand on one side only."""
    names = {
        path.relative_to(root)
        for root in (left, right)
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return sorted(
        str(name)
        for name in names
        if not (left / name).is_file()
        or not (right / name).is_file()
        or not filecmp.cmp(left / name, right / name, shallow=False)
    )


def main() -> int:
    """Write the generated code, or check that it is up to date and that nothing breaks; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="check instead of writing")
    parser.add_argument("--baseline", action="store_true", help="write the breaking-change baseline")
    arguments = parser.parse_args()
    lay_out_tree()
    if arguments.baseline:
        return buf("build", "dutyloop-protos", "--exclude-source-info", "-o", str(BASELINE))
    if not arguments.check:
        generate(HERE / "gen")
        return 0
    fresh = TREE.parent / "gen"
    generate(fresh)
    stale = differing_files(fresh, HERE / "gen")
    if stale:
        print("protos/gen is not up to date, run `make proto`:", *stale[:20], sep="\n  ", file=sys.stderr)  # noqa: T201
        return 1
    if buf("breaking", "dutyloop-protos", "--against", str(BASELINE)):
        return 1
    return buf("lint", "dutyloop-protos")


if __name__ == "__main__":
    sys.exit(main())
