"""What `simmerge-hub plan` prints: the decision on one screen, or all of it."""

from typing import TYPE_CHECKING

from simmerge_hub.cli import results
from simmerge_hub.cli.plan.page.details import fold, print_details
from simmerge_hub.cli.plan.page.screen import print_decision

if TYPE_CHECKING:
    from simmerge_hub.planning.plan import Plan
    from simmerge_hub.publishing.licenses.verdict import Licence

__all__ = ["fold", "page", "print_decision", "print_details"]


def page(
    plan: "Plan", *, written: str = "", verbose: bool = False, licence: "Licence | None" = None
) -> None:
    """A plan on stdout.

    Args:
        plan: as `planning.plan` made it.
        written: the file it was written to; empty if it was not.
        verbose: everything, not only the decision.
        licence: of the merge, where it is known.
    """
    print_decision(plan, written=written, verbose=verbose, licence=licence)
    if verbose:
        print_details(plan)
        if licence:
            results.licence(licence)
