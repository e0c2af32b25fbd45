"""What the features say in plain words, for people who are told why an operator was chosen.

Knows names and numbers, nothing of models. A feature without a clause here cannot be registered.
"""

import math
import re

PHRASES = {
    "weight_distance":
        "the distance of the two models' weights{where} is {small} ({value} of their norm)",
    "weight_cosine": "the cosine of the two models' weights is {low} ({value})",
    "delta_norm": "the {side}'s delta{where} is {small} ({value} of the base)",
    "delta_log_ratio": "the expert's delta{where} is {times} times the other's",
    "delta_cosine": "the cosine of the two deltas{where} is {low} ({value})",
    "sign_conflict":
        "the share of entries that both moved in opposite directions is {low} ({percent})",
    "sign_conflict_trimmed":
        "the deltas' largest entries{where} disagree in sign to a {low} share ({percent})",
    "sign_conflict_mass":
        "the part of the deltas{where} that cancels in their sum is {small} ({percent})",
    "support_overlap": "the overlap of both deltas' largest entries{where} is {small} ({percent})",
    "trim_energy": "the part of the {side}'s delta in its largest entries is {small} ({percent})",
    "delta_density": "the evenness of the {side}'s delta is {low} ({value}, 1 = all entries alike)",
    "rank_share": "the rank of the {side}'s delta is {low} ({value} of the base's)",
    "rank_log_ratio": "the rank of the expert's delta is {times} times the other's",
    "subspace_overlap": "the overlap of the deltas' leading directions is {small} ({percent})",
    "kl_mean": "the {side}'s predictions are {far} from the other's ({value} nats)",
    "kl_median": "the {side}'s predictions are typically {far} from the other's ({value} nats)",
    "kl_q90": "the {side}'s predictions are {far} from the other's where most apart ({value} nats)",
    "js_mean": "the difference of the two models' predictions is {small} ({value} nats)",
    "js_median": "the typical difference of the two models' predictions is {small} ({value} nats)",
    "js_q90":
        "the two models' predictions differ by a {small} amount where most apart ({value} nats)",
    "js_end": "the predictions differ by a {small} amount where answers begin ({value} nats)",
    "agreement": "the share of tokens on which both models agree is {small} ({percent})",
    "agreement_end": "the share of answers that both models begin alike is {small} ({percent})",
    "hidden_cosine": "the cosine of the two models' hidden states{where} is {low} ({value})",
    "hidden_cka": "the likeness of the two models' hidden states{where} is {low} (CKA {value})",
    "attention_cosine": "the cosine of the two models' attention is {low} ({value})",
    "attention_js": "the difference of the two models' attention is {small} ({value} nats)",
    "loss_difference":
        "the expert's loss on the prompts is {low} beside the other's ({signed} nats)",
    "entropy_difference":
        "the expert's doubt where answers begin is {low} beside the other's ({signed} nats)",
    "confidence_log_ratio":
        "the expert is {times} times as certain of how answers begin as the other model",
    "drift_kl": "the {side}'s predictions are {far} from the base's ({value} nats)",
    "drift_kl_q90":
        "the {side}'s predictions are {far} from the base's where most apart ({value} nats)",
    "drift_kl_end":
        "the {side}'s predictions are {far} from the base's where answers begin ({value} nats)",
    "drift_agreement_end":
        "the {side} begins a {small} share of answers as the base does ({percent})",
    "drift_hidden":
        "the {side}'s hidden states{where} are {far} from the base's ({value} of their norm)",
    "drift_cka": "the {side}'s hidden states changed by a {small} amount (1 - CKA = {value})",
    "drift_attention": "the {side}'s attention is {far} from the base's ({value} nats)",
    "drift_kl_log_ratio":
        "the expert's predictions are {times} times as far from the base's as the other's",
    "drift_hidden_log_ratio":
        "the expert's hidden states are {times} times as far from the base's as the other's",
    "drift_attention_log_ratio":
        "the expert's attention is {times} times as far from the base's as the other's",
    "drift_hidden_cosine":
        "the cosine of both models' changes to hidden states{where} is {low} ({value})",
    "drift_fisher_cosine": "the cosine of both models' changes to predictions is {low} ({value})",
    "drift_fisher_cosine_end":
        "the cosine of both models' changes to how answers begin is {low} ({value})",
    "drift_loss": "the change of the {side}'s loss on the prompts is {low} ({signed} nats)",
    "drift_entropy":
        "the change of the {side}'s doubt where answers begin is {low} ({signed} nats)",
    "dose_answers":
        "the share of its own answers that the {side} keeps{where} is {low} ({percent})",
    "dose_tokens":
        "the share of tokens of its own answers that the {side} keeps{where} is {low} ({percent})",
    "dose_loglik":
        "the log-likelihood of the {side}'s own answers{where} is {low} ({signed} nats a token)",
    "dose_gain":
        "what the {side}'s delta adds to the log-likelihood of its answers is {small} "
        "({signed} nats a token)",
    "dose_half":
        "the share of the {side}'s delta that half of its skill takes is {low} ({percent})",
    "dose_area":
        "what the {side} keeps of its own answers at parts of its delta is {low} ({percent})",
    "cross_answers":
        "the share of the {side}'s answers that the mean of both models keeps is {low} ({percent})",
    "cross_tokens":
        "the share of tokens of the {side}'s answers that the mean of both models keeps is {low} "
        "({percent})",
    "cross_loglik":
        "the log-likelihood of the {side}'s answers by the mean of both models is {low} "
        "({signed} nats a token)",
    "cross_regained":
        "the part of the {side}'s log-likelihood that the mean of both models has is {low} "
        "({percent})",
}  # fmt: skip
"""The name of a feature's function -> a clause in which `{side}` and `{where}` stand for its side
and the place of its group; a level, `{small}`, `{low}` or `{far}`, for how its value compares with
training's; and `{value}`, `{signed}`, `{percent}` or `{times}` (of a logarithm) for the value."""
GROUP_PHRASES = {
    "": "",
    "all": "",
    "embedding": " of the embedding",
    "attention": " in the attention blocks",
    "mlp": " in the MLP blocks",
    "norm": " of norms and biases",
    "head": " of the output head",
    "early": " in the early layers",
    "middle": " in the middle layers",
    "late": " in the late layers",
    "s03": " at 0.3 of its delta",
    "s05": " at half of its delta",
    "s07": " at 0.7 of its delta",
    "s15": " at 1.5 times its delta",
}
SIDE_PHRASES = {"": "", "expert": "expert", "auxiliary": "other model"}
"""The two models of a pair, seen from the task."""
VERB = re.compile(r" (?:is|are|disagree|differ|changed|begins)\b")
LEVEL_NAMES = {
    "small": ("small", "moderate", "large"),
    "low": ("low", "moderate", "high"),
    "far": ("not far", "moderately far", "far"),
}
"""Words for the lowest, the middle and the highest third of what training saw."""


def clause(name: str, side: str, group: str) -> str:
    """What a feature says, with only the level and the value still open. KeyError if nothing."""
    return (
        PHRASES[name].replace("{side}", SIDE_PHRASES[side]).replace("{where}", GROUP_PHRASES[group])
    )


def phrase(says: str, value: float, rank: float) -> str:
    """A clause with its value: `the expert's delta is large (0.31 of the base)`.

    Args:
        says: what `clause` gave.
        value: of the feature; finite.
        rank: its place in [0, 1] among the values seen in training.
    """
    third = min(2, int(3 * rank))
    return says.format(
        value=f"{value:.2g}",
        signed=f"{value:+.2g}",
        percent=f"{value:.0%}",
        times=f"{math.exp(min(value, 99.0)):.2g}",
        **{word: levels[third] for word, levels in LEVEL_NAMES.items()},
    )


def subject(says: str) -> str:
    """What a clause is about, without its value: `the expert's delta`."""
    return VERB.split(says, maxsplit=1)[0]
