"""plan: what is asked on the command line, the plan, and how it is shown."""

from simmerge_hub.cli.plan.command import options, run

__all__ = ["options", "run"]
