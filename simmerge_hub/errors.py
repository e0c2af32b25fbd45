"""Every error a user can meet. Each says what is wrong and what was seen; `hint` says what to do.

SimmergeError
├── HubError                 the Hub, or the way to it
│   ├── RepoNotFound           no such repository or collection (or a private one, without a token)
│   ├── RevisionNotFound       the repository has no such branch, tag or commit
│   ├── GatedRepo              access must be asked for on the model's page
│   ├── EndpointDown           nothing answers at HF_ENDPOINT
│   ├── OfflineWithoutCache    offline, and the files are not in the cache
│   └── PushFailed             the upload was refused; no commit was made
├── CheckpointError          a repository or folder that is not a checkpoint we can merge
│   ├── NoSafetensors          no safetensors weights
│   └── CorruptHeader          a header or index that must not be believed
├── AlignmentError           checkpoints that do not fit together
│   └── BaseUnknown            no common base, or several that disagree
├── OperatorError            an unknown operator, or parameters it does not take
├── RecipeError              a recipe that cannot be read or run
├── ProbeError               a probe set that cannot be used
├── SignatureError           a signature that must not be believed or compared
│   └── NotSigned              what a model does is signed nowhere, and it must not be run
├── EvaluationError          a task that cannot be evaluated, or a model on it
├── PredictorError           a predictor that cannot be read, trained or applied
├── BanditError              a bandit's state or a report to it that must not be believed
├── RequestError             too few models, one named twice, options that exclude each other
├── ObjectiveError           what a plan shall aim at makes no sense, or cannot be reached
├── OutputError              a folder that exists, a full disk
└── MissingExtra             an optional dependency is not installed
"""


class SimmergeError(Exception):
    """The root. `str(error)` is the message; `error.hint` the next thing to do, or ""."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class HubError(SimmergeError):
    """The Hub, or the way to it."""


class RepoNotFound(HubError):
    """No such repository or collection, or a private one that the token does not open.

    `repo` is the name of the repository that is not there, and `kind` what it should be: "model",
    "dataset" or "space"; "" of anything else.
    """

    def __init__(self, message: str, *, hint: str = "", repo: str = "", kind: str = "") -> None:
        super().__init__(message, hint=hint)
        self.repo, self.kind = repo, kind


class RevisionNotFound(HubError):
    """The repository has no such branch, tag or commit."""


class GatedRepo(HubError):
    """Access to the repository must be asked for first."""


class EndpointDown(HubError):
    """Nothing answers at the Hub's address."""


class OfflineWithoutCache(HubError):
    """Offline mode is on and the cache does not hold what is needed."""


class PushFailed(HubError):
    """The upload was refused; no commit was made."""


class CheckpointError(SimmergeError):
    """A repository or folder that is not a checkpoint we can merge."""


class NoSafetensors(CheckpointError):
    """There are no safetensors weights."""


class CorruptHeader(CheckpointError):
    """A safetensors header or index that must not be believed."""


class AlignmentError(SimmergeError):
    """Checkpoints that do not fit together."""


class BaseUnknown(AlignmentError):
    """The models have no common base, or name several that disagree."""


class OperatorError(SimmergeError):
    """An unknown operator, or parameters it does not take."""


class RecipeError(SimmergeError):
    """A recipe that cannot be read or run."""


class ProbeError(SimmergeError):
    """A probe set that cannot be used."""


class SignatureError(SimmergeError):
    """A signature that must not be believed, or not be compared with another."""


class NotSigned(SignatureError):
    """What a model does is signed nowhere, and it must not be run."""


class EvaluationError(SimmergeError):
    """A task that cannot be evaluated, or a model that cannot be run on it."""


class PredictorError(SimmergeError):
    """A predictor that cannot be read, trained or applied."""


class BanditError(SimmergeError):
    """A bandit's state, or a report to it, that must not be believed; nothing was changed."""


class RequestError(SimmergeError):
    """What is asked for makes no sense: too few models, or options that exclude each other."""


class ObjectiveError(SimmergeError):
    """What a plan shall aim at makes no sense, or no operator is predicted to reach it."""


class OutputError(SimmergeError):
    """An output folder that exists already, or a disk too full for it."""


class MissingExtra(SimmergeError):
    """An optional dependency is not installed."""
