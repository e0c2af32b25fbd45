"""A bandit that several people and programs use: start, suggest, report, look, retrain.

It lives in a folder or a repository, as the two files of `selector.bandit.state` and the history's
lines; `hub.upload.ledger` sees to it that nobody's lines are lost. Everything that is decided is
decided on the newest page, and again if somebody was quicker.
"""

import shlex
from collections.abc import Collection, Sequence
from typing import Any

from simmerge_hub.errors import BanditError
from simmerge_hub.hub.upload import ledger
from simmerge_hub.hub.upload.ledger import Addition, Page
from simmerge_hub.operators import Arm, find
from simmerge_hub.selector.bandit import bandit as learning
from simmerge_hub.selector.bandit import history as events
from simmerge_hub.selector.bandit import state, suggestions
from simmerge_hub.selector.bandit.bandit import Bandit
from simmerge_hub.selector.bandit.history import Suggestion
from simmerge_hub.selector.bandit.reader import Reader, State
from simmerge_hub.selector.bandit.suggestions import Asked
from simmerge_hub.selector.models import conditioned
from simmerge_hub.units import spell_count

LARGEST_PARAMETER = 10.0
"""No scale or weight of an added arm may be larger: forecasts know nothing like it."""
README = """---
library_name: simmerge-hub
tags: [simmerge, merge, bandit]
---

# A bandit of merge operators

It learns which operator to merge two models with, from merges that were made and scored.

    simmerge-hub bandit status {repo}
    simmerge-hub plan org/expert org/other --bandit {repo} -o plan.yaml
    simmerge-hub bandit report {repo} s000001=0.81

`events/` is only ever added to: every suggestion, and every report about one.
"""


def init(reference: str, bandit: Bandit, *, private: bool = False) -> str:
    """Put a bandit where none is: a repository `org/name` or a folder. Returns where."""
    card = README.format(repo=reference).encode()
    written = {**state.files(bandit), "README.md": card}
    return ledger.create(reference, written, private=private, message="Start a bandit")


def look(reference: str) -> State:
    """The bandit and its history as they are current."""
    return Reader(reference).state(Page.read(reference))


def suggest(
    reference: str,
    asked: Sequence[Asked],
    *,
    together: bool = False,
    among: Collection[str] | None = None,
) -> tuple[Suggestion, ...]:
    """Suggest an arm for each, and note that in one commit; reports may come later, or never.

    Args:
        reference: of the bandit.
        asked: at least one; several are a batch, none of which waits for another's report.
        together: they are tasks of one pair and get one arm, the best for their mean.
        among: the labels of the arms that may be suggested; all if None.

    Raises:
        BanditError: it reads other features or effects, or has none of these arms; then nothing is
            noted.
        HubError: the repository cannot be read or written.
    """
    reader = Reader(reference)

    def decide(page: Page) -> Addition[tuple[Suggestion, ...]]:
        current = reader.state(page)
        suggested = tuple(suggestions.suggest(current, asked, together=together, among=among))
        return Addition(lines=events.suggestion_lines(suggested), result=suggested)

    return ledger.append(reference, decide, message=f"Suggest {spell_count(len(asked), 'arm')}")


def report(reference: str, gains: Sequence[tuple[str, float]]) -> None:
    """Report what suggestions gained, in one commit: (id, share of the gap closed) each.

    Raises:
        BanditError: an unknown id, one that was reported, or no gain; then none is reported.
        HubError: the repository cannot be read or written.
    """
    reader = Reader(reference)

    def decide(page: Page) -> Addition[None]:
        reader.history(page).check(gains)
        return Addition(lines=events.report_lines(gains), result=None)

    ledger.append(reference, decide, message=f"Report {spell_count(len(gains), 'outcome')}")


def add(reference: str, arm: Arm) -> None:
    """Add an arm; it starts from a forecast by what it is and does to a pair.

    Raises:
        BanditError: it is there already, perhaps with its defaults left out or spelled out, or it
            favours one of the two models, or its scale or weights are beyond 10.
        HubError: the repository cannot be read or written.
    """
    numbers = [*conditioned.describe(arm, ()), *(arm.parameters.get("weights") or ())]
    if any(abs(number) > LARGEST_PARAMETER for number in numbers):
        raise BanditError(
            f"{arm.label} is far from anything that was measured; a forecast would say nothing",
            hint=f"scales and weights from {-LARGEST_PARAMETER:g} to {LARGEST_PARAMETER:g}",
        )
    if arm != arm.swapped():
        raise BanditError(
            f"{arm.label} treats the two models differently",
            hint="a bandit chooses between arms that treat both alike",
        )
    reader = Reader(reference)

    def decide(page: Page) -> Addition[None]:
        current = reader.state(page)
        for known in current.bandit.all_arms(current.history):
            if known.label == arm.label or _spell_out(known) == _spell_out(arm):
                alias = arm.label != known.label
                same = f"{arm.label} is the same as {known.label}: " if alias else ""
                raise BanditError(
                    f"{same}{known.label} is one of the arms already",
                    hint=f"simmerge-hub bandit status {shlex.quote(reference)} lists them",
                )
        return Addition(lines=events.arm_line(arm), result=None)

    ledger.append(reference, decide, message=f"Add {arm.label}")


def retrain(reference: str) -> tuple[int, bool]:
    """Train the representation again on all that was reported.

    Returns:
        How many reports there are, and whether the offline outcomes were left out because they
        mislead; without a report nothing is trained.
    """
    reader = Reader(reference)

    def decide(page: Page) -> Addition[tuple[int, bool]]:
        current = reader.state(page)
        if not current.history.gains:
            return Addition(result=(0, False))
        trained = learning.retrain(current.bandit, current.history)
        dropped = len(trained.gains) < len(current.bandit.gains)
        return Addition(files=state.files(trained), result=(len(current.history.gains), dropped))

    return ledger.append(reference, decide, message="Retrain the representation")


def _spell_out(arm: Arm) -> tuple[str, dict[str, Any]]:
    """What an arm does: its operator with all parameters, the defaults too.

    A number for each model is the same for both here, and equal weights are none where they are
    normalized.
    """
    alike = {n: v[0] if isinstance(v, tuple) else v for n, v in arm.parameters.items()}
    whole = {**find(arm.operator).parameters, **alike}
    if whole.get("normalize"):
        whole["weights"] = None
    return arm.operator, whole
