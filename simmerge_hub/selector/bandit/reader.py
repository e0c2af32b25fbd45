"""A page of a folder or a repository -> the bandit and the history it holds, checked."""

import shlex
from dataclasses import dataclass, field

from simmerge_hub.errors import BanditError
from simmerge_hub.hub.upload.ledger import Page
from simmerge_hub.selector.bandit import history as events
from simmerge_hub.selector.bandit import state
from simmerge_hub.selector.bandit.bandit import Bandit
from simmerge_hub.selector.bandit.history import History


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
        bandit, history = self._bandit(page), self.history(page)
        _check(bandit, history, page.location.name)
        return State(where=page.location.name, bandit=bandit, history=history)

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
        others = set(page.files) - {".gitattributes"}  # where something is, none can be started
        there = "NEW" if others else shlex.quote(reference)
        raise BanditError(
            f"{reference} holds no bandit",
            hint=f"start one: simmerge-hub bandit init {there} OUTCOMES --features FILE",
        )


def _check(bandit: Bandit, history: History, where: str) -> None:
    """Raise BanditError unless the history is this bandit's: its arms, as many numbers of each."""
    labels = {a.label for a in bandit.all_arms(history)}
    for s in history.suggestions.values():
        counts = (len(bandit.names), len(bandit.effect_names))
        if s.arm not in labels or (len(s.values), len(s.effects)) != counts:
            raise BanditError(
                f"the history of {where} is another bandit's: {s.id} suggests {s.arm} "
                f"from {len(s.values)} features and {len(s.effects)} effects",
                hint="restore bandit.json and events/ from one commit",
            )
