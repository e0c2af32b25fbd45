"""Parse, call one verb, print; the console command, which can be ended from its first import on."""

import sys


def run() -> None:
    """As `main.run`, also where Ctrl-C comes while the commands are imported."""
    try:
        from simmerge_hub.cli.main import run as run_command
    except KeyboardInterrupt:
        print("interrupted: nothing was begun", file=sys.stderr)
        raise SystemExit(130) from None
    run_command()
