"""learn and search, killed with SIGKILL at ten random moments each: are the final tables the same?

    python benchmarks/kills.py      # some minutes; writes kills.json

Merges, signatures and files are real; evaluations are the stand-in of the tests, scores that follow
from a model's bytes. tests/learning/test_killed.py does it with two kills.
"""

import json
import os
import sys
import tempfile
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RUNS, TIMES = 5, 2
"""Runs of a command, and kills in each."""


def main() -> None:
    """Kill both commands, and write what became of them."""
    sys.path.insert(0, str(HERE.parent))
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["HF_HOME"] = scratch  # signatures of this run alone
        result = {
            command: [kill(command, Path(scratch), seed) for seed in range(RUNS)]
            for command in ("learn", "search")
        }
    (HERE / "kills.json").write_text(json.dumps(result, indent=1) + "\n")
    for command, seen in result.items():
        print(command, seen)


def kill(command: str, scratch: Path, seed: int) -> dict[str, Any]:
    """What a command's state held at each kill, and which of its final files are the same."""
    from tests.learning.killed import ENDS, STATES, kill_at_random, run

    folder = scratch / f"{command}{seed}"
    lines = kill_at_random(partial(run, command), folder, STATES[command], TIMES, seed)
    whole = folder.with_name(f"{folder.name}-whole")
    return {
        "kills": len(lines),
        "lines of the state at each": lines,
        "lines at the end": (folder / STATES[command]).read_text().count("\n"),
        "the same": {
            name: _digest(folder / name) == _digest(whole / name) for name in ENDS[command]
        },
    }


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
