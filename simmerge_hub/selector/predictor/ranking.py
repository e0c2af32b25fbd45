"""What a predictor says of a pair and a task: every arm's gain, the order, and why."""

from dataclasses import dataclass

from simmerge_hub.operators import Arm
from simmerge_hub.recipe.why import Status
from simmerge_hub.selector.predictor.novelty import Limits, Novelty
from simmerge_hub.selector.predictor.trust import Grounds, Trust
from simmerge_hub.selector.tables.outcomes import HIGHEST, LOWEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What an arm is expected to reach on a task.

    Args:
        arm: the arm.
        task: the task's name.
        gain: share of the expert–auxiliary gap closed, in [-1, 1.5]; 1 is as good as the expert,
            0 as good as the auxiliary. (Plans turn it into a utility: `planning.choice`.)
        width: half of the interval that holds the true gain with the predictor's confidence, if
            the ranking is calibrated.
    """

    arm: Arm
    task: str
    gain: float
    width: float

    @property
    def low(self) -> float:
        """The interval's lower end, at least -1."""
        return max(LOWEST, self.gain - self.width)

    @property
    def high(self) -> float:
        """Its upper end, at most 1.5."""
        return min(HIGHEST, self.gain + self.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What one feature adds: to the best arm's gain, and to its lead over the next one.

    The next one is the first arm that is not tied with the best. `says` is the value in plain
    words.
    """

    feature: str
    value: float
    gain: float
    lead: float
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The arms for one task, best first, and how far to believe them.

    Args:
        task: the task's name.
        status: `calibrated`; `extrapolated`: the intervals do not hold here; `abstained`: no
            held-out pair was this far from training, and the order of arms shows nothing.
        kept: predictions, highest gain first.
        rejected: arms left out, each with the reason.
        reason: why the first is first, and what is taken if it is not; why, `trust` says.
        contributions: the features that decided, strongest first.
        novelty: how far the pair is from the training data.
        usual: what is usual for training pairs; None if such a pair was never seen.
        trust: whether the first is acted on, or the safe arm; None of a ranking nobody acts on.
        grounds: what that was judged by; a choice for several tasks is judged anew.
    """

    task: str
    status: Status
    kept: tuple[Prediction, ...]
    rejected: tuple[tuple[Arm, str], ...]
    reason: str
    contributions: tuple[Contribution, ...]
    novelty: Novelty
    usual: Limits | None = None
    trust: Trust | None = None
    grounds: Grounds | None = None

    @property
    def best(self) -> Prediction:
        """The highest prediction; whether it is acted on, `chosen` says."""
        return self.kept[0]

    @property
    def safe(self) -> Prediction | None:
        """The arm that is taken where the order of arms shows nothing, with what is predicted."""
        return None if self.trust is None else self._of(self.trust.safe)

    @property
    def chosen(self) -> Prediction:
        """The prediction of the arm to take."""
        return self.best if self.trust is None else self._of(self.trust.chosen)

    def _of(self, label: str) -> Prediction:
        return next(each for each in self.kept if each.arm.label == label)
