"""What a user asks of a plan, as values that travel; each is checked before anything is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from simmerge_hub.errors import BanditError, ObjectiveError, ProbeError, RequestError
from simmerge_hub.planning.ask.objective import MEAN, Objective

Signals = Literal["full", "published", "structural"]

BEAM = 8
"""Intermediates of a subset of models that are built upon."""
SHORTLIST = 12
"""Models of a catalogue that are signed and searched."""
LARGEST_MERGE = 4
"""Models that a merge of a catalogue may have: larger ones were not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasks:
    """What the models are merged for, where their cards do not say it.

    Args:
        experts: task -> which of the models is good at it.
        probes: task -> `org/dataset[:split[:column]]` or a file of prompts.
        infer: tasks whose expert is inferred from their probes, with a probability; of two models.
    """

    experts: Mapping[str, str] = field(default_factory=dict)
    probes: Mapping[str, str] = field(default_factory=dict)
    infer: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the evidence for a plan comes from.

    Args:
        predictor: a file or `org/name[@revision]`; the one in the package by default.
        signals: "structural" reads a few byte ranges of the weights and runs no probes: nothing is
            downloaded whole, and intervals are wider; "published" is "full" where what all models
            do is signed already, here or on the Hub, and "structural" otherwise.
        signatures: repositories of others to take signatures from, `org/name`; spot-checked.
        bandit: a folder or `org/name` of a bandit, which may try another arm to learn from it; it
            knows two models, and no objective but the mean over tasks.
    """

    predictor: str | Path | None = None
    signals: Signals = "full"
    signatures: tuple[str, ...] = ()
    bandit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How far to search: among operators for two models, among trees for three and more.

    Args:
        balanced: of two models, only merges that treat both alike; otherwise one may count more
            than the other where that is predicted to keep more.
        least, most: how many models the merge may have; at least two, at most all (of a catalogue
            four).
        beam: intermediates of a subset that are built upon, with four models or more; 0: all.
        step_weights: `even`: the parts of a step count alike, or by their numbers of models;
            `predicted`: of the best trees, weights from 0.3 to 0.7 are tried in the last step.
    """

    balanced: bool = False
    least: int = 2
    most: int | None = None
    beam: int = BEAM
    step_weights: Literal["even", "predicted"] = "even"


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Instead of models by name: where on the Hub they are found.

    Args:
        collection: `org/title-0123456789abcdef01234567`.
        author: whose models are searched for fine-tunes of the base, which must be named.
        shortlist: how many models are searched at most: for every task the best few by the scores
            on their cards.
    """

    collection: str | None = None
    author: str | None = None
    shortlist: int = SHORTLIST


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """All that is asked of a plan, besides models that are named.

    `tries`: so many of the most promising merges, and the safe one, are really made, one at a time
    in a temporary folder (`TMPDIR`), and run on the probes with the experts' own answers, before
    one is chosen; still nothing is evaluated.
    """

    catalogue: Catalogue | None = None
    tasks: Tasks = Tasks()
    objective: Objective = MEAN
    sources: Sources = Sources()
    search: Search = Search()
    tries: int = 0

    @property
    def most(self) -> int | None:
        """How many models the merge may have, if not all."""
        return self.search.most or (LARGEST_MERGE if self.catalogue else None)

    def check(self, models: int) -> None:
        """Refuse what cannot be had of so many models that are named, or of a catalogue.

        Raises:
            RequestError: fewer than two models, both models and a catalogue, or a merge cannot have
                so many of them.
            ProbeError: probes are needed, and none are run; experts cannot be inferred.
            BanditError, ObjectiveError: a bandit is asked for what it does not know.
        """
        if models and self.catalogue:
            raise RequestError(
                "both models and a catalogue are given", hint="name models, or a catalogue"
            )
        if models < 2 and not self.catalogue:
            raise RequestError(
                f"two models make a merge, and {'one is' if models else 'none are'} given",
                hint="name two fine-tunes of the same base: simmerge-hub plan MODEL MODEL",
            )
        for task in self.tasks.infer if self.sources.signals != "full" else ():
            raise ProbeError(
                f"the expert for {task} is inferred from probes, and none are run",
                hint=f"name it with --expert {task}=MODEL, or leave out --signals structural",
            )
        if models != 2:
            self._check_many()
        if self.catalogue:
            self._check_catalogue(self.catalogue)
        else:
            self.check_size(models)
        if self.tries:
            self._check_tries()
        if self.sources.bandit is not None and self.objective != MEAN:
            raise ObjectiveError(
                "a bandit tries the best arm for the mean over tasks, and another objective is "
                "named",
                hint="leave out --bandit, or --objective, --weight and --keep",
            )

    def check_size(self, models: int) -> None:
        """Raise RequestError unless a merge can have so many of these models."""
        least, most = self.search.least, self.most or models
        if not 2 <= least <= min(most, models):
            raise RequestError(
                f"a merge shall have {least} to {most} of {models} models",
                hint=f"--min-models 2 --max-models {max(2, models)}: from 2 to all of them",
            )

    def _check_catalogue(self, catalogue: Catalogue) -> None:
        """What no catalogue has, however many models it lists: said before one is read."""
        if catalogue.shortlist < 2:
            raise RequestError(
                f"two models make a merge, and a shortlist of {catalogue.shortlist} is asked for",
                hint=f"leave out --shortlist, which is {SHORTLIST} then, or make it larger",
            )
        least, most = self.search.least, self.most or LARGEST_MERGE
        if not 2 <= least <= most:
            raise RequestError(
                f"a merge shall have {least} to {most} models",
                hint=f"--min-models 2 --max-models {LARGEST_MERGE}: it has at least 2",
            )

    def _check_many(self) -> None:
        for task in self.tasks.infer:
            raise ProbeError(
                f"the expert for {task} cannot be inferred among three or more models",
                hint=f"name it: --expert {task}=MODEL",
            )
        if self.sources.bandit is not None:
            raise BanditError(
                "a bandit chooses the operator of two models, and others are asked for",
                hint="leave out --bandit, or name two models",
            )

    def _check_tries(self) -> None:
        if self.tries < 0:
            raise RequestError(
                f"{self.tries} merges shall be tried", hint="a number above zero: --try 4"
            )
        if self.sources.signals != "full":
            raise ProbeError(
                "merges are tried on the tasks' probes, and none are run",
                hint="leave out --try, or --signals structural",
            )
        if self.sources.bandit is not None:
            raise BanditError(
                "a bandit learns from what is reported of its own suggestion, and merges shall be "
                "tried before one is chosen",
                hint="leave out --bandit, or --try",
            )
