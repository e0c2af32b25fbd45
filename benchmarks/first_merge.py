"""A new user's first merge, timed: the commands of docs/tutorial/first-merge.md, each as it stands.

They run in order in a fresh folder, in processes of their own, with a Hub that the page's own
command starts and caches that are empty. With --install the page's installation runs first, in a
virtual environment of its own; without it the commands are those of this environment.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.docs.test_pages import Block, blocks, commands, terminal, wait_for_lines  # noqa: E402

PAGE = ROOT / "docs" / "tutorial" / "first-merge.md"
INSTALLS, SERVES, POINTS = (
    "it installs packages", "it serves until it is stopped", "the tests have a Hub of their own",
)  # fmt: skip


def main() -> None:
    """Run the page, print seconds for each step, and write first_merge.json."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--install", action="store_true", help="install first, as the page says")
    options.add_argument("--json", default=str(Path(__file__).with_suffix(".json")))
    given = options.parse_args()
    steps = []
    with tempfile.TemporaryDirectory(prefix="first-merge-") as folder:
        for step, seconds in follow(Path(folder), install=given.install):
            print(f"{seconds:7.1f} s  {step}", flush=True)
            steps.append({"step": step, "seconds": round(seconds, 1)})
    merging = sum(each["seconds"] for each in steps if not each["step"].startswith("pip install"))
    print(f"{merging:7.1f} s  in all, without the installation")
    data = {"page": PAGE.name, "cores": os.cpu_count(), "steps": steps, "seconds": round(merging)}
    Path(given.json).write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", "utf-8")


def follow(folder: Path, *, install: bool) -> Iterator[tuple[str, float]]:
    """Each step of the page, with the seconds that it took."""
    binaries = folder / "venv" / "bin" if install else Path(sys.executable).parent
    left_out = ("HF_", "PYTHONPATH") if install else ("HF_",)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    environment |= {"PATH": f"{binaries}:{os.environ['PATH']}"}
    place = folder / "first"
    place.mkdir()
    with ExitStack() as stack:
        for block in blocks(PAGE):
            if block.reason == INSTALLS:
                if install:
                    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
                    yield run(block.code.strip(), ROOT, environment)
            elif block.reason == SERVES:
                began = perf_counter()
                stack.enter_context(terminal(block.code, place, environment))
                wait_for_lines(place / "hub.env", 3)
                yield block.code.strip(), perf_counter() - began
            elif block.reason == POINTS:
                stated = (place / "hub.env").read_text("utf-8").splitlines()
                environment |= dict(line.split("=", 1) for line in stated)
            else:
                yield from _run_block(block, place, environment)


def _run_block(
    block: Block, place: Path, environment: dict[str, str]
) -> Iterator[tuple[str, float]]:
    if block.language == "bash":
        for command in commands(block.code):
            yield run(command, place, environment)
    if block.language == "python":
        (place / "step.py").write_text(block.code, "utf-8")
        _, seconds = run("python step.py", place, environment)
        yield "the lines of Python that ask it something", seconds


def run(command: str, place: Path, environment: dict[str, str]) -> tuple[str, float]:
    """Run one command as bash does; what it was, and its seconds."""
    began = perf_counter()
    done = subprocess.run(
        ["bash", "-ec", command], cwd=place, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{command}\n{done.stdout}{done.stderr}")
    return command, perf_counter() - began


if __name__ == "__main__":
    main()
