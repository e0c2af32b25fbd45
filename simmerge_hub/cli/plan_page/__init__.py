"""What `simmerge-hub plan` prints: the decision on one screen, or all of it."""

from typing import TYPE_CHECKING

from simmerge_hub.cli.plan_page.details import fold, print_details
from simmerge_hub.cli.plan_page.screen import print_decision

if TYPE_CHECKING:
    from simmerge_hub.planning.plan import Plan

__all__ = ["fold", "page", "print_decision", "print_details"]


def page(plan: "Plan", *, written: str = "", verbose: bool = False) -> None:
    """A plan on stdout.

    Args:
        plan: as `planning.plan` made it.
        written: the file it was written to; empty if it was not.
        verbose: everything, not only the decision.
    """
    print_decision(plan, written=written, verbose=verbose)
    if verbose:
        print_details(plan)
