"""A bandit that several people and programs use: start, suggest, report, look, retrain.

It lives in a folder or a repository, as the two files of `selector.state` and the history's lines;
`hub.ledger` sees to it that nobody's lines are lost. Everything that is decided is decided on the
newest page, and again if somebody was quicker.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simmerge_hub.errors import BanditError
from simmerge_hub.hub.upload import ledger
from simmerge_hub.hub.upload.ledger import Addition, Page
from simmerge_hub.operators import Arm, find
from simmerge_hub.selector.bandit import bandit as learning
from simmerge_hub.selector.bandit import history as events
from simmerge_hub.selector.bandit import state
from simmerge_hub.selector.bandit.bandit import Bandit
from simmerge_hub.selector.bandit.corrections import Corrections
from simmerge_hub.selector.bandit.history import History, Suggestion
from simmerge_hub.selector.models import conditioned
from simmerge_hub.selector.tables.features import LARGEST, plain
from simmerge_hub.selector.tables.rows import Floats

FARTHEST = 10.0
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One pair and task to suggest an arm for.

    Args:
        task, expert, auxiliary: their names.
        names: of the features.
        schema: of the features.
        values: float64 [features], NaN = missing.
        effect_names: of what arms do to a pair.
        effects: arm label -> float64 [effects], what the arm does to this pair; of an arm that is
            left out nothing is known.
    """

    task: str
    expert: str
    auxiliary: str
    names: tuple[str, ...]
    schema: int
    values: Floats
    effect_names: tuple[str, ...] = ()
    effects: Mapping[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A bandit with its history, as they were on one page."""

    where: str
    bandit: Bandit
    history: History


@dataclass(slots=True)
class Reader:
    """Reads pages one after another, and no file twice."""

    reference: str
    lines: dict[str, str] = field(default_factory=dict)
    bandits: dict[str, Bandit] = field(default_factory=dict)

    def state(self, page: Page) -> State:
        """What a page holds. Raises BanditError if it is not a bandit's."""
        _demand_bandit(page, self.reference)
        found = State(
            where=page.location.name, bandit=self._bandit(page), history=self.history(page)
        )
        _check(found)
        return found

    def history(self, page: Page) -> History:
        """The events of a page, without the bandit's own files."""
        _demand_bandit(page, self.reference)
        try:
            self.lines = page.lines(self.lines)
        except UnicodeDecodeError as error:
            raise BanditError(
                f"the history of {self.reference} cannot be believed: {error}",
                hint="the history is append-only: restore events/ from an earlier commit",
            ) from error
        return events.read(self.lines.items())

    def _bandit(self, page: Page) -> Bandit:
        paths = [page.file(name) for name in (state.JSON, state.TENSORS)]
        key = "\n".join(str(path.resolve()) for path in paths)
        if page.location.folder is not None or key not in self.bandits:
            self.bandits = {key: state.load(*paths, name=page.location.name)}
        return self.bandits[key]


def _demand_bandit(page: Page, reference: str) -> None:
    if not {state.JSON, state.TENSORS} <= set(page.files):
        raise BanditError(
            f"{reference} holds no bandit",
            hint=f"start one: simmerge-hub bandit init {reference} OUTCOMES --features FILE",
        )


def init(reference: str, bandit: Bandit, *, private: bool = False) -> str:
    """Put a bandit where none is: a repository `org/name` or a folder. Returns where."""
    card = README.format(repo=reference).encode()
    written = {**state.files(bandit), "README.md": card}
    return ledger.create(reference, written, private=private, message="Start a bandit")


def look(reference: str) -> State:
    """The bandit and its history as they are now."""
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
        made = tuple(_suggestions(reader.state(page), asked, together, among))
        return Addition(lines=events.suggested(made), result=made)

    noun = "arm" if len(asked) == 1 else "arms"
    return ledger.append(reference, decide, message=f"Suggest {len(asked)} {noun}")


def report(reference: str, gains: Sequence[tuple[str, float]]) -> None:
    """Report what suggestions gained, in one commit: (id, share of the gap closed) each.

    Raises:
        BanditError: an unknown id, one that was reported, or no gain; then none is reported.
        HubError: the repository cannot be read or written.
    """
    reader = Reader(reference)

    def decide(page: Page) -> Addition[None]:
        reader.history(page).check(gains)
        return Addition(lines=events.reported(gains), result=None)

    noun = "outcome" if len(gains) == 1 else "outcomes"
    ledger.append(reference, decide, message=f"Report {len(gains)} {noun}")


def add(reference: str, arm: Arm) -> None:
    """Add an arm; it starts from a forecast by what it is and does to a pair.

    Raises:
        BanditError: it is there already, perhaps with its defaults left out or spelled out, or it
            favours one of the two models, or its scale or weights are beyond FARTHEST.
        HubError: the repository cannot be read or written.
    """
    numbers = [*conditioned.describe(arm, ()), *(arm.parameters.get("weights") or ())]
    if any(abs(number) > FARTHEST for number in numbers):
        raise BanditError(
            f"{arm.label} is far from anything that was measured; a forecast would say nothing",
            hint=f"scales and weights from {-FARTHEST:g} to {FARTHEST:g}",
        )
    if arm != arm.swapped():
        raise BanditError(
            f"{arm.label} treats the two models differently",
            hint="a bandit chooses between arms that treat both alike",
        )
    reader = Reader(reference)

    def decide(page: Page) -> Addition[None]:
        found = reader.state(page)
        for known in found.bandit.all_arms(found.history):
            if known.label == arm.label or _spelled_out(known) == _spelled_out(arm):
                same = (
                    ""
                    if known.label == arm.label
                    else f"{arm.label} is the same as {known.label}: "
                )
                raise BanditError(
                    f"{same}{known.label} is one of the arms already",
                    hint=f"simmerge-hub bandit status {reference} lists them",
                )
        return Addition(lines=events.added(arm), result=None)

    ledger.append(reference, decide, message=f"Add {arm.label}")


def retrain(reference: str) -> tuple[int, bool]:
    """Train the representation again on all that was reported.

    Returns:
        How many reports there are, and whether the offline outcomes were left out because they
        mislead; without a report nothing is trained.
    """
    reader = Reader(reference)

    def decide(page: Page) -> Addition[tuple[int, bool]]:
        found = reader.state(page)
        if not found.history.gains:
            return Addition(result=(0, False))
        made = learning.retrain(found.bandit, found.history)
        dropped = len(made.gains) < len(found.bandit.gains)
        return Addition(files=state.files(made), result=(len(found.history.gains), dropped))

    return ledger.append(reference, decide, message="Retrain the representation")


def _spelled_out(arm: Arm) -> tuple[str, dict[str, Any]]:
    """What an arm does: its operator with all parameters, the defaults too.

    A number for each model is the same for both here, and equal weights are none where they are
    normalized.
    """
    alike = {n: v[0] if isinstance(v, tuple) else v for n, v in arm.parameters.items()}
    whole = {**find(arm.operator).parameters, **alike}
    if whole.get("normalize"):
        whole["weights"] = None
    return arm.operator, whole


def _check(found: State) -> None:
    """Raise BanditError unless the history is this bandit's: its arms, as many numbers of each."""
    labels = {a.label for a in found.bandit.all_arms(found.history)}
    for s in found.history.suggestions.values():
        read = (len(found.bandit.names), len(found.bandit.effect_names))
        if s.arm not in labels or (len(s.values), len(s.effects)) != read:
            raise BanditError(
                f"the history of {found.where} is another bandit's: {s.id} suggests {s.arm} "
                f"from {len(s.values)} features and {len(s.effects)} effects",
                hint="restore bandit.json and events/ from one commit",
            )


def _suggestions(
    found: State, asked: Sequence[Asked], together: bool, among: Collection[str] | None
) -> list[Suggestion]:
    labels = {a.label for a in found.bandit.all_arms(found.history)}
    if among is not None and not labels & set(among):
        raise BanditError(
            f"the bandit of {found.where} has none of the arms that can be used here: "
            f"{', '.join(sorted(among))}",
            hint="plan without --bandit",
        )
    for one in asked:
        _check_asked(found, one)
    ids = events.following(found.history, len(asked))
    named = list(zip(ids, asked, strict=True))
    models = sorted({name for one in asked for name in (one.expert, one.auxiliary)})
    beliefs = found.bandit.beliefs(found.history, models)
    groups = [named] if together else [[one] for one in named]
    return [made for group in groups for made in _group(found, beliefs, group, among)]


def _check_asked(found: State, one: Asked) -> None:
    """Raise BanditError unless the bandit reads these features, and these effects if any."""
    bandit = found.bandit
    if one.schema != bandit.schema:
        raise BanditError(
            f"the bandit of {found.where} reads features of schema {bandit.schema}, but is given "
            f"schema {one.schema}",
            hint="compute them with the version that started the bandit, or start another",
        )
    told = [("features", bandit.names, one.names, [one.values])]
    if bandit.effect_names:
        every = list(one.effects.values())
        told.append(("effects of an arm", bandit.effect_names, one.effect_names, every))
    for what, wanted, names, numbers in told:
        if names != wanted:
            same = len(names) == len(wanted)
            given = "others" if same else str(len(names))
            raise BanditError(
                f"the bandit of {found.where} reads {len(wanted)} {what}, but is given {given}",
                hint="compute them with the version that started the bandit, or start another",
            )
        if any(len(n) != len(wanted) or (np.abs(n) > LARGEST).any() for n in numbers):
            raise BanditError(
                f"the {what} of {one.expert} + {one.auxiliary} are not {len(wanted)} numbers",
                hint="compute them again; NaN stands for what is missing",
            )


def _group(
    found: State,
    beliefs: Corrections,
    group: Sequence[tuple[str, Asked]],
    among: Collection[str] | None,
) -> list[Suggestion]:
    """One arm for all of these, the best for their mean."""
    values = np.array([one.values for _, one in group])
    unknown = np.full(len(found.bandit.effect_names), np.nan)
    read = [one.effects if len(unknown) else {} for _, one in group]
    effects = [[known.get(arm, unknown) for arm in beliefs.arms] for known in read]
    forecasts = found.bandit.forecasts(values, np.array(effects), found.history)
    contexts = [beliefs.contexts(one.expert, one.auxiliary) for _, one in group]
    chosen = learning.choose(
        found.bandit,
        beliefs,
        forecasts.mean(axis=0),
        np.mean(contexts, axis=0),
        number=int(group[0][0][1:]),
        among=among,
    )
    place = beliefs.arms.index(chosen.arm)
    own = forecasts[:, place]
    expected = own + [beliefs.means(each)[place] for each in contexts]
    return [
        Suggestion(
            id=identifier,
            arm=chosen.arm,
            task=one.task,
            expert=one.expert,
            auxiliary=one.auxiliary,
            values=tuple(plain(one.values)),
            effects=tuple(plain(known.get(chosen.arm, unknown))),
            chance={k: round(v, 4) for k, v in chosen.chance.items()},
            forecast=round(float(own[i]), 6),
            expected=round(float(expected[i]), 6),
        )
        for i, ((identifier, one), known) in enumerate(zip(group, read, strict=True))
    ]
