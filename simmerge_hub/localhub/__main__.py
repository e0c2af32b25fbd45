"""`python -m simmerge_hub.localhub --dir ./hub`: serve a folder, or check it."""

import argparse
import sys
from pathlib import Path

from simmerge_hub.localhub import LocalhubError, serve


def main() -> int:
    """Exit code 0, or 1 with the reason on stderr."""
    arguments = _parser().parse_args()
    try:
        if arguments.verify:
            return _verify(arguments.dir)
        serve(
            dir=arguments.dir,
            port=arguments.port,
            idle=arguments.idle,
            tokens=dict(arguments.token),
            exit_with_parent=arguments.exit_with_parent,
        )
    except LocalhubError as error:
        print(f"localhub: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="localhub", description="A Hugging Face Hub on 127.0.0.1."
    )
    parser.add_argument("--dir", type=Path, required=True, help="where the Hub keeps its state")
    parser.add_argument(
        "--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)"
    )
    parser.add_argument(
        "--token",
        type=_user,
        action="append",
        default=[],
        metavar="NAME=TOKEN",
        help="one more user, who may write only below NAME/ (repeatable)",
    )
    parser.add_argument(
        "--idle", type=float, metavar="SECONDS", help="stop after so long without a request"
    )
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when stdin ends")
    parser.add_argument(
        "--verify", action="store_true", help="check the folder instead of serving it"
    )
    return parser


def _user(text: str) -> tuple[str, str]:
    name, _, token = text.partition("=")
    if not name or not token:
        raise argparse.ArgumentTypeError("expected NAME=TOKEN")
    return name, token


def _verify(root: Path) -> int:
    from simmerge_hub.localhub.store.storage import verify

    problems = verify(root)
    print("\n".join(problems) or f"{root} is intact")  # noqa: T201
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
