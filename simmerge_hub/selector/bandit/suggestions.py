"""A bandit and the pairs it is asked about -> an arm to try for each.

Knows nothing about where the bandit is kept or how suggestions are noted (`bandit.sharing`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from simmerge_hub.errors import BanditError
from simmerge_hub.selector.bandit import bandit as learning
from simmerge_hub.selector.bandit import history as events
from simmerge_hub.selector.bandit.corrections import Corrections
from simmerge_hub.selector.bandit.history import Suggestion
from simmerge_hub.selector.bandit.reader import State
from simmerge_hub.selector.tables.features import LARGEST_NUMBER, plain
from simmerge_hub.selector.tables.rows import Floats


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


def suggest(
    state: State,
    asked: Sequence[Asked],
    *,
    together: bool = False,
    among: Collection[str] | None = None,
) -> list[Suggestion]:
    """An arm for each; arguments and errors are those of `sharing.suggest`."""
    labels = {a.label for a in state.bandit.all_arms(state.history)}
    if among is not None and not labels & set(among):
        raise BanditError(
            f"the bandit of {state.where} has none of the arms that can be used here: "
            f"{', '.join(sorted(among))}",
            hint="plan without --bandit",
        )
    for one in asked:
        _check(state, one)
    ids = events.next_ids(state.history, len(asked))
    numbered = list(zip(ids, asked, strict=True))
    models = sorted({name for one in asked for name in (one.expert, one.auxiliary)})
    beliefs = state.bandit.beliefs(state.history, models)
    groups = [numbered] if together else [[one] for one in numbered]
    return [each for group in groups for each in _suggest_one(state, beliefs, group, among)]


def _check(state: State, one: Asked) -> None:
    """Raise BanditError unless the bandit reads these features, and these effects if any."""
    bandit = state.bandit
    if one.schema != bandit.schema:
        raise BanditError(
            f"the bandit of {state.where} reads features of schema {bandit.schema}, but is given "
            f"schema {one.schema}",
            hint="compute them with the version that started the bandit, or start another",
        )
    inputs = [("features", bandit.names, one.names, [one.values])]
    if bandit.effect_names:
        every = list(one.effects.values())
        inputs.append(("effects of an arm", bandit.effect_names, one.effect_names, every))
    for what, wanted, names, numbers in inputs:
        if names != wanted:
            same = len(names) == len(wanted)
            given = "others" if same else str(len(names))
            raise BanditError(
                f"the bandit of {state.where} reads {len(wanted)} {what}, but is given {given}",
                hint="compute them with the version that started the bandit, or start another",
            )
        if any(len(n) != len(wanted) or (np.abs(n) > LARGEST_NUMBER).any() for n in numbers):
            raise BanditError(
                f"the {what} of {one.expert} + {one.auxiliary} are not {len(wanted)} numbers",
                hint="compute them again; NaN stands for what is missing",
            )


def _suggest_one(
    state: State,
    beliefs: Corrections,
    group: Sequence[tuple[str, Asked]],
    among: Collection[str] | None,
) -> list[Suggestion]:
    """One arm for all of these, the best for their mean."""
    values = np.array([one.values for _, one in group])
    unknown = np.full(len(state.bandit.effect_names), np.nan)
    read = [one.effects if len(unknown) else {} for _, one in group]
    effects = [[known.get(arm, unknown) for arm in beliefs.arms] for known in read]
    forecasts = state.bandit.forecasts(values, np.array(effects), state.history)
    contexts = [beliefs.contexts(one.expert, one.auxiliary) for _, one in group]
    choice = learning.choose(
        state.bandit,
        beliefs,
        forecasts.mean(axis=0),
        np.mean(contexts, axis=0),
        number=int(group[0][0][1:]),
        among=among,
    )
    place = beliefs.arms.index(choice.arm)
    own = forecasts[:, place]
    expected = own + [beliefs.means(each)[place] for each in contexts]
    return [
        Suggestion(
            id=identifier,
            arm=choice.arm,
            task=one.task,
            expert=one.expert,
            auxiliary=one.auxiliary,
            values=tuple(plain(one.values)),
            effects=tuple(plain(known.get(choice.arm, unknown))),
            chance={k: round(v, 4) for k, v in choice.chance.items()},
            forecast=round(float(own[i]), 6),
            expected=round(float(expected[i]), 6),
        )
        for i, ((identifier, one), known) in enumerate(zip(group, read, strict=True))
    ]
