"""What a person asks on the page, checked; as the end of an address that asks the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from urllib.parse import urlencode

from simmerge_hub.errors import RequestError
from simmerge_hub.hub.reference import can_be_on_a_hub
from simmerge_hub.planning.ask.objective import Objective
from simmerge_hub.planning.ask.options import Catalogue, Signals, Sources, Tasks

Aim = Literal["mean", "worst"]
MOST_MODELS = 24
"""Models that are named on the page; more are chosen from a collection."""
LONGEST_NAME = 300
"""Characters of a reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be planned.

    Args:
        models: references; empty if a collection is named.
        collection: its name or address, or "".
        base: what the models were made from, or "" where their cards say it.
        experts: task -> model, where the person knows better than the cards.
        evidence: `published`: what is signed already, else byte ranges; `structural`: byte ranges;
            `full`: models that are not signed are downloaded and run.
        aim: the mean over tasks, or the worst of them.
    """

    models: tuple[str, ...] = ()
    collection: str = ""
    base: str = ""
    experts: Mapping[str, str] = field(default_factory=dict)
    evidence: Signals = "published"
    aim: Aim = "mean"

    def options(self) -> dict[str, Any]:
        """What `simmerge_hub.plan` is told, besides the models."""
        return {
            "catalogue": Catalogue(collection=self.collection) if self.collection else None,
            "base": self.base or None,
            "tasks": Tasks(experts=self.experts),
            "objective": Objective(worst=self.aim == "worst"),
            "sources": Sources(signals=self.evidence),
        }

    def check(self, *, folders: bool) -> None:
        """Refuse what cannot be planned.

        Args:
            folders: whether folders of this machine may be named.

        Raises:
            RequestError: too few or too many models, or a folder of a machine that is not theirs.
        """
        if self.models and self.collection:
            raise RequestError(
                "both models and a collection are given", hint="clear one of the two"
            )
        if len(self.models) < 2 and not self.collection:
            raise RequestError(
                "a merge takes two models or more",
                hint="type part of a name, choose two fine-tunes of the same base, and plan again",
            )
        if len(self.models) > MOST_MODELS:
            raise RequestError(
                f"{len(self.models)} models are given, and at most {MOST_MODELS} can be",
                hint="put them into a collection on the Hub, and name that",
            )
        for name in (*self.models, self.base) if not folders else ():
            if name and not can_be_on_a_hub(name):
                raise RequestError(
                    f"{name!r} is no repository on the Hub",
                    hint="write org/name; for folders run the page on your own machine: "
                    "simmerge-hub ui",
                )

    def query(self) -> str:
        """The end of the page's address, from `?` on, that asks this again."""
        given = {
            "models": ",".join(self.models),
            "collection": self.collection,
            "base": self.base,
            "tasks": ",".join(f"{task}:{expert}" for task, expert in self.experts.items()),
            "evidence": "" if self.evidence == "published" else self.evidence,
            "aim": "" if self.aim == "mean" else self.aim,
        }
        return "?" + urlencode({name: text for name, text in given.items() if text}, safe="/,:@")


def read(
    models: Sequence[str] | None = None,
    collection: str | None = None,
    base: str | None = None,
    evidence: str | None = None,
    aim: str | None = None,
    experts: Mapping[str, str] | None = None,
) -> Question:
    """What stands in the fields of the page -> a question."""
    names = dict.fromkeys(_clean(name) for name in models or ())
    return Question(
        models=tuple(name for name in names if name),
        collection=_clean(collection or ""),
        base=_clean(base or ""),
        experts=dict(experts or {}),
        evidence=_choose(evidence, get_args(Signals), "published"),
        aim=_choose(aim, get_args(Aim), "mean"),
    )


def read_query(query: Mapping[str, str]) -> Question:
    """The question that an address asks; what it does not say is as on an empty page.

    Opening a link downloads and runs nothing: `full` evidence needs a click.
    """
    pairs = [text.partition(":") for text in query.get("tasks", "").split(",") if ":" in text]
    return read(
        query.get("models", "").split(","),
        query.get("collection"),
        query.get("base"),
        query.get("evidence", "").replace("full", ""),
        query.get("aim"),
        {_clean(task): _clean(expert) for task, _, expert in pairs if expert},
    )


def _clean(text: str) -> str:
    return " ".join(text.split())[:LONGEST_NAME]


def _choose(text: str | None, known: Sequence[Any], default: Any) -> Any:
    return text if text in known else default
