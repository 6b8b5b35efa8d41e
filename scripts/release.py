"""Release one package: check, build, tag and publish. A dry run unless --publish is given.

uv run python scripts/release.py crucible-bench            # check and build, change nothing
uv run python scripts/release.py crucible-bench --publish  # tag crucible-bench/vX.Y.Z, upload
"""

import argparse
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str) -> str:
    print("$", *command, flush=True)
    return subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout


def problems_of(package: str, version: str, *, publish: bool) -> list[str]:
    """Return what stands in the way of this release, in words."""
    folder = ROOT / "packages" / package
    found = []
    first_heading = next(
        (
            line
            for line in (folder / "CHANGELOG.md").read_text().splitlines()
            if line.startswith("## ")
        ),
        "",
    )
    wanted = f"## {version} ("
    if not first_heading.startswith(wanted):
        found.append(f"CHANGELOG.md begins with {first_heading!r}, not with '{wanted}<date>)'")
    if publish and "unreleased" in first_heading:
        found.append("CHANGELOG.md still says 'unreleased': put the date of the release")
    if run("git", "status", "--porcelain").strip():
        found.append("the working tree has uncommitted changes")
    if run("git", "tag", "--list", f"{package}/v{version}").strip():
        found.append(f"the tag {package}/v{version} exists: raise the version")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    packages = sorted(path.name for path in (ROOT / "packages").iterdir())
    parser.add_argument("package", choices=packages)
    parser.add_argument("--publish", action="store_true", help="tag and upload for real")
    parser.add_argument("--skip-tests", action="store_true", help="when CI has just passed")
    options = parser.parse_args()

    project = tomllib.loads((ROOT / "packages" / options.package / "pyproject.toml").read_text())
    version = project["project"]["version"]
    problems = problems_of(options.package, version, publish=options.publish)
    for problem in problems:
        print("not ready:", problem, file=sys.stderr)
    if problems and options.publish:
        return 1

    if not options.skip_tests:
        run(*["uv", "run", "--frozen", "--isolated", "--exact", "--package"], options.package,
            *["--group", "test", "pytest", "-q"], f"packages/{options.package}")  # fmt: skip
    with tempfile.TemporaryDirectory() as out:
        run("uv", "build", "--package", options.package, "--out-dir", out)
        for artifact in sorted(Path(out).iterdir()):
            print(f"built {artifact.name}  {artifact.stat().st_size:,} bytes")
        if not options.publish:
            print(f"dry run: nothing tagged, nothing uploaded ({options.package} {version})")
            return 1 if problems else 0
        artifacts = [str(p) for p in sorted(Path(out).iterdir()) if p.suffix in (".whl", ".gz")]
        # Upload first: a tag without a release would block the next attempt.
        run("uv", "publish", *artifacts)
        run("git", "tag", "--annotate", f"{options.package}/v{version}", "--message", "release")
        print(f"published; now push the tag: git push origin {options.package}/v{version}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
