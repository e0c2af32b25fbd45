"""Tables of the page on selection, from benchmarks/selection.json."""

import gzip
import json
from collections.abc import Mapping
from typing import Any

from measured import BENCHMARKS, read, table

from simmerge_hub.operators import ARMS, FED_ARMS

SIMPLER = (
    "random", "best fixed", "per task", "label only", "norm rule", "nearest", "ridge",
    "random forest", "xgboost, shuffled features", "xgboost, heads", "xgboost, conditioned",
    "xgboost", "oracle by halves", "oracle",
)  # fmt: skip
SETS = ("all", "balanced", "paper")
CHOSEN = ("all", "weights", "balanced")
"""What a plan chooses from: with prompts, without, and without leaning."""


def selection_pairs() -> str:
    """Every way to choose, judged on both tasks of a pair."""
    return _strategies("pairs")


def selection_strategies() -> str:
    """The same judged on the expert's task alone."""
    return _strategies("sets")


def selection_fixed() -> str:
    """Every arm, always."""
    report = read("selection")["main"]
    pairs, tasks = (report[what]["all"]["strategies"] for what in ("pairs", "sets"))
    fixed = [name for name in pairs if name.startswith("always ")]
    fixed.sort(key=lambda name: -pairs[name]["mean"])
    rows = [
        (f"`{name.removeprefix('always ')}`", _spread(pairs[name]), _spread(tasks[name]))
        for name in fixed
    ]
    return table(("arm", "both tasks of a pair", "the expert's task alone"), rows)


def selection_regimes() -> str:
    """Headroom captured, pooled and by regime."""
    report = read("selection")
    rows = []
    for name in CHOSEN:
        pooled = report["sets"][name]["both"]
        rows.append((NAMES[name], "pooled", pooled["cases"], *_captured(pooled)))
        rows += [
            (NAMES[name], regime.partition("/")[2], each["cases"], *_captured(each))
            for regime, sets in report["regimes"].items()
            for each in [sets[name]["both"]]
        ]
    return table(("arms", "regime", "pairs", *CAPTURED), rows)


def selection_ablations() -> str:
    """What each kind of evidence is worth."""
    report = read("selection")["ablations"]
    rows = [
        (
            name,
            each["features"],
            *(f"{each[arms]['both']['xgboost']['mean']:.3f}" for arms in CHOSEN),
            *(_spread(each[arms]["both"]["over best fixed"]) for arms in CHOSEN[:2]),
            f"{each['all']['both']['advantage r2']:.2f}",
        )
        for name, each in sorted(
            report.items(), key=lambda item: -item[1]["all"]["both"]["xgboost"]["mean"]
        )
    ]
    heads = (
        "features", "how many", *(NAMES[arms] for arms in CHOSEN),
        *(f"over best fixed: {NAMES[arms]}" for arms in CHOSEN[:2]), "R² of the advantage, all",
    )  # fmt: skip
    return table(heads, rows)


def selection_unseen() -> str:
    """A base size and domains that were never trained on."""
    report = read("selection")
    sizes = {f"×4 base, trained on {n}": each for n, each in report["unseen size"].items()}
    domains = report["unseen domain"]
    every = {"every domain": domains["pooled"]}
    rows = [
        (name, "both tasks", NAMES[arms], each[arms]["both"]["cases"],
         *_captured(each[arms]["both"]))
        for name, each in (sizes | every).items()
        for arms in CHOSEN[:2]
    ]  # fmt: skip
    alone = {f"domain {name}": each for name, each in domains.items() if name != "pooled"} | every
    rows += [
        (name, "the expert's", NAMES["balanced"], each["balanced"]["task"]["cases"],
         *_captured(each["balanced"]["task"]))
        for name, each in alone.items()
    ]  # fmt: skip
    return table(("never trained on", "judged on", "arms", "cases", *CAPTURED), rows)


def selection_operators() -> str:
    """Operators that were left out of training."""
    found = read("selection")["main"]["unmeasured"]
    rows = [
        (f"`{name}`", f"{each['compared']:,}", f"{100 * each['right']:.0f} %")
        for name, each in found.items()
    ]
    return table(("operator left out", "comparisons with other arms", "ranked right"), rows)


def selection_coverage() -> str:
    """How often 90 % intervals hold."""
    found = read("selection")["coverage"]
    rows = [
        ("an arm", _spread(found["arms"]), f"{found['mean width of an arm']:.2f}"),
        ("the chosen arm", _spread(found["chosen"]), f"{found['width of the chosen']:.2f}"),
    ]
    rows += [(f"`{name}`", f"{held:.2f}", "") for name, held in found["by arm"].items()]
    return table(("interval of", "holds (over splits)", "mean width"), rows)


def selection_experts() -> str:
    """Experts named, and experts inferred."""
    report = read("selection")["inferred experts"]
    rows = [
        (how, NAMES[arms], *_captured(report[how][arms]["task"]))
        for arms in ("all", "balanced")
        for how in ("known", "inferred")
    ]
    return table(("the expert is", "arms", *CAPTURED), rows)


def selection_tokens() -> str:
    """The same choices judged by token accuracy."""
    report = read("selection")["secondary"]
    views = [(name, report[name]["both"]) for name in CHOSEN]
    rows = [(NAMES[name], each["cases"], *_captured(each)) for name, each in views]
    return table(("arms", "pairs", *CAPTURED), rows)


def selection_real() -> str:
    """Every arm on pairs of a real language model, ours of two builds and the judge's."""
    found = read("real_pairs")
    again = found["again"]
    judged = json.loads((BENCHMARKS / "judged_pairs.json").read_text())
    ordered = sorted(found["arms"].items(), key=lambda each: -each[1]["mean"])
    rows = [
        (
            f"always `{label}`",
            _spread(arm),
            f"{arm['lost']:.0%}",
            _spread(again["arms"][label]),
            f"{again['arms'][label]['lost']:.0%}",
            _known(judged["gains"], label),
        )
        for label, arm in ordered
    ]
    others = judged["best arm of each pair"], judged["ranking of the predictor"]
    oracles = _spread(found["oracle"]), "", _spread(again["oracle"]), "", ""
    rows += [
        ("best arm of each pair in hindsight", *oracles),
        ("best of equal arms on weights alone", *[""] * 4, f"{others[0]:.3f}"),
        ("what a predictor of such arms ranked first", *[""] * 4, f"{others[1]:.3f}"),
    ]
    builds = f"our {found['pairs']} pairs", f"second build, {again['pairs']} pairs"
    heads = (builds[0], "a skill is lost", builds[1], "lost", f"the judge's {judged['pairs']}")
    return table(("choice", *heads), rows)


def selection_real_again() -> str:
    """The arms that the package takes far from training, on a second build of the zoo."""
    return _taken("again")


def selection_real_family() -> str:
    """The same on specialists of another family's model, and there on weights alone."""
    found = read("real_pairs")
    builds = [each["arms"] for each in (found["family"], found, found["again"])]
    alike = [arm.label for arm in ARMS if arm == arm.swapped() and arm.label in builds[0]]
    rows = [
        (
            f"`{label}`",
            f"{builds[0][label]['mean']:.3f}",
            *(_spread(arms[label]["over linear"]) for arms in builds),
        )
        for label in sorted(alike, key=lambda each: -builds[0][each]["mean"])
    ]
    heads = "on weights alone", "it closes", "over Linear", "in Gemma", "in its second build"
    return f"{_taken('family')}\n\n{table(heads, rows)}"


def _taken(key: str) -> str:
    """The arms that are taken far from training, on pairs by which nothing was chosen."""
    unseen = read("real_pairs")[key]
    arms, rows = unseen["arms"], []
    for name, label in unseen["taken"].items():
        known = {arm.label for arm in (*ARMS, *(FED_ARMS if name == "all" else ()))}
        best = max(known & arms.keys(), key=lambda each: arms[each]["mean"])
        lost = [f"{arms[each]['lost']:.0%}" for each in (label, best)]
        rows.append(
            (
                NAMES[name],
                f"`{label}`",
                _spread(arms[label]),
                lost[0],
                f"`{best}`",
                _spread(arms[best]),
                lost[1],
            )
        )
    heads = "arms", "taken", "it closes", "a skill is lost", "best fixed in hindsight"
    known = f"{unseen['pairs']} pairs of {unseen['models']} models so far:\n\n"
    return known + table((*heads, "it closes", "lost"), rows)


def selection_leaning() -> str:
    """Equal and leaning Linear in every zoo."""
    rows = []
    for zoo, each in read("leaning")["zoos"].items():
        seen = [_spread(each[name]) for name in ("equal", "leaning", "over")]
        lost = [f"{each[name]['lost']:.0%}" for name in ("equal", "leaning")]
        rows.append((f"`{zoo}`", each["pairs"], f"{each['leaned']:.0%}", *seen, *lost))
    heads = "table", "pairs", "it leans in", "equal", "leaning", "difference"
    return table((*heads, "equal loses a skill", "leaning"), rows)


def selection_other_prompts() -> str:
    """RegMean by prompts of the package, and by the same ones for both models."""
    rows = []
    for zoo, kinds in read("other_prompts")["zoos"].items():
        for kind, prompts in (("package", "of each one's domain"), ("mixed", "the same for both")):
            for group in ("two domains", "one domain"):
                found = kinds[kind][group]
                if not found["pairs"]:
                    continue
                arms, ours = found["arms"], f"{kind}: "
                for label in (name.removeprefix(ours) for name in arms if name.startswith(ours)):
                    seen = [arms[f"{ours}{label}"], arms[f"own: {label}"], arms["own: linear"]]
                    of, over = f"{prompts}; experts of {group}", seen[0]["over linear"]
                    cells = (*map(_spread, seen), _spread(over))
                    rows.append((f"`{zoo}`", of, found["pairs"], f"`{label}`", *cells))
    heads = ("by these", "by own prompts", "equal Linear", "these over Linear")
    return table(("table", "the package's prompts", "pairs", "arm", *heads), rows)


def selection_same_prompts() -> str:
    """RegMean where both models were fed the same prompts."""
    of = {"real": "both real models", "zoo-v3": "nano, two experts of one task"}
    rows = []
    for world, found in read("other_prompts")["same"].items():
        arms = found["arms"]
        for label in (name for name in arms if name.startswith("same: ")):
            seen = [arms[label], arms["own: linear"], arms[label]["over linear"]]
            name = f"`{label.removeprefix('same: ')}`"
            rows.append((of[world], found["pairs"], name, *map(_spread, seen)))
    return table(("pairs of", "pairs", "arm", "it", "equal Linear", "difference"), rows)


def _known(gains: Mapping[str, float], label: str) -> str:
    return f"{gains[label]:.3f}" if label in gains else "not measured"


def selection_worlds() -> str:
    """What predictors reach by the zoo they learned on, with and without features of doses: among
    all arms, and among those that look at weights alone."""
    report, tables = read("worlds"), []
    for arms, among, last in (
        ("all", "all arms", "held"),
        ("weights", "those that look at weights alone", "oracle"),
    ):
        rows = []
        for question in (name for name in report["doses"] if name != "features"):
            about, _, known = question.partition(", trained on ")
            for features in ("no doses", "doses"):
                each = report[features][question]
                seen = each["exact match"][arms]["both"]
                means = {what: f"{seen[what]['mean']:.3f}" for what in _JUDGED}
                found = f"{each['held']['chosen']:.0%}" if arms == "all" else means["oracle"]
                over = _spread(seen["over best fixed"])
                reached = means["best fixed"], means["xgboost"], over, found
                rows.append((about, known, features, seen["cases"], *reached))
        heads = ("asked about", "learned from", "features", "pairs", "best fixed", "choice")
        tables.append(f"Among {among}:\n\n" + table((*heads, "over it", last), rows))
    return "\n\n".join(tables)


_JUDGED = ("best fixed", "xgboost", "oracle")


def few_models() -> str:
    """What two learners reach on weights alone, by which real models are left out."""
    report, tables = read("few_models"), []
    heads = ("learned from", "features", "choice", "over the best fixed arm", "of the headroom")
    for question, known in report["doses"].items():
        rows = []
        for learner in (name for name in known if name != "learned from"):
            for features in ("no doses", "doses"):
                seen = report[features][question][learner]["exact match"]
                share = _spread(seen["headroom captured"], 2)
                over = _spread(seen["over best fixed"])
                rows.append((learner, features, f"{seen['xgboost']['mean']:.3f}", over, share))
        title = f"{question.capitalize()} ({known['learned from']:.0f} real rows are learned from):"
        tables.append(f"{title}\n\n" + table(heads, rows))
    return "\n\n".join(tables)


def selection_coefficients() -> str:
    """What a search over a scale for each model finds, beside the arms that were measured."""
    report, rows = read("coefficients"), []
    for features in ("all features", "without prompts"):
        for known, each in report[features].items():
            own = each["table's arms"]
            for lead, found in each["searched"].items():
                rows.append(
                    (
                        features,
                        known,
                        lead.removeprefix("lead "),
                        f"{found['taken']:.0%}",
                        _spread(own),
                        _spread(found["gap closed"]),
                        _spread(found["over the table's arms"]),
                    )
                )
    heads = ("features", "learned from", "lead asked for", "taken", "measured arms", "searched",
             "difference")  # fmt: skip
    return table(heads, rows)


def activations() -> str:
    """The best fixed arm and the oracle of each set of arms, on both tasks of a pair."""
    found, rows = read("activations"), []
    for regime, each in found.items():
        name = regime.rpartition("/")[2]
        for arms, sets in each["sets"].items():
            best = sets["best fixed"]
            spreads = (_spread(sets[what]) for what in ("gap closed", "oracle"))
            rows.append((name, each["cases"], arms, f"`{best}`", *spreads))
    return table(("regime", "pairs", "arms", "best fixed", "it closes", "oracle"), rows)


def activation_ablation() -> str:
    """What RegMean needs, each setting beside the others that differ from it in one thing."""
    found = read("activation_ablation")["settings"]
    rows = []
    for label, each in found.items():
        alpha, inputs, others, prompts, answers = (part.split()[:2] for part in label.split(", "))
        settings = (alpha[1], inputs[1], others[1], prompts[0], answers[0])
        rows.append((*settings, _spread(each)))
    heads = ("alpha", "inputs", "others", "prompts", "tokens of answers", "gap closed (95 %)")
    return table(heads, rows)


def off_probes() -> str:
    """What merges lose on tasks that nobody asked for."""
    found = read("off_probes")["loss"]
    ordered = sorted(found.items(), key=lambda each: each[1]["mean"])
    rows = [(name if name.startswith("the ") else f"`{name}`", _spread(e)) for name, e in ordered]
    return table(("model or merge", "loss per token (95 %)"), rows)


def selection_belief() -> str:
    """How often a ranking is followed, near and far, and what that gains."""
    found, rows = read("belief"), []
    for view, what, arms in (("task", "one task", "balanced"), ("both", "both tasks", "all")):
        for kind, each in found["held out"].items():
            by = each[arms][view]
            rows.append((f"{kind} left out", what, *_followed(by["any evidence"])))
            rows.append(
                (f"{kind} left out, nothing of its kind", what, *_followed(by["kind unseen"]))
            )
        rows.append(("other zoo", what, *_followed(found["other zoo"][arms][view])))
    heads = ("cases", "judged on", "how many", "followed", "the plan", "unguarded", "safe arm",
             "plan over unguarded")  # fmt: skip
    return table(heads, rows)


def _followed(each: Mapping[str, Any]) -> tuple[object, ...]:
    means = (f"{each[name]['mean']:.3f}" for name in ("plan", "unguarded", "safe"))
    return (each["cases"], f"{each['followed']:.0%}", *means, _spread(each["plan over unguarded"]))


def selection_cost() -> str:
    """A plan beside merging and evaluating every candidate."""
    rows = [
        (
            size, each["arms"], f"{each['merge_seconds']} s", f"{each['evaluate_seconds']} s",
            f"{each['plan_cached_seconds']} s", f"{each['plan_signing_seconds']} s",
            f"{each['times_cheaper_cached']:g}", f"{each['times_cheaper_signing']:g}",
        )
        for size, each in read("selection_cost").items()
    ]  # fmt: skip
    heads = (
        "models", "candidates", "merge all", "evaluate all", "plan, signed before",
        "plan with signing", "times cheaper, signed before", "with signing",
    )  # fmt: skip
    return table(heads, rows)


def zoo_gates() -> str:
    """Whether there is anything to select, by regime and set of arms."""
    return _gates("zoo-v3", ("all", "balanced", "paper"))


def zoo_more_gates() -> str:
    """The same of the outcomes that the bandit alone starts from."""
    return _gates("zoo-more", ("balanced",))


def _gates(zoo: str, kinds: tuple[str, ...]) -> str:
    path = BENCHMARKS.parent / "recipes" / "outcomes" / f"{zoo}.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        gates = json.loads(lines.readline())["provenance"]["gates"]
    rows = [
        (
            regime.rpartition("/")[2], arms, found["rows"], f"`{found['best_fixed']}`",
            f"{found['fixed']:.3f}", f"{found['split_half']:.3f}", f"{found['headroom']:.3f}",
            f"{found['tie_share']:.0%}", f"{found['base_closes']:.3f}",
        )
        for regime, sets in gates.items()
        for arms, found in sets.items()
        if arms in kinds
    ]  # fmt: skip
    heads = (
        "regime", "arms", "rows", "best fixed", "its mean", "oracle by halves", "headroom",
        "ties", "the base alone",
    )  # fmt: skip
    return table(heads, rows)


NAMES = {
    "all": "all",
    "weights": "weights alone",
    "balanced": "weights alone, equal",
    "paper": "the paper's three",
}
CAPTURED = ("best fixed", "XGBoost", "oracle", "over best fixed", "headroom captured")


def _captured(each: Mapping[str, Any]) -> tuple[str, ...]:
    share = each["headroom captured"]
    return (
        f"{each['best fixed']['mean']:.3f}",
        f"{each['xgboost']['mean']:.3f}",
        f"{each['oracle']['mean']:.3f}",
        _spread(each["over best fixed"]),
        _spread(share, 2) if share else "nothing to win",
    )


def _strategies(what: str) -> str:
    found = read("selection")["main"][what]
    rows = []
    for name in SIMPLER:
        strong = "**" if name == "xgboost" else ""
        cells = [_spread(found[arms]["strategies"][name]) for arms in SETS]
        rows.append((f"{strong}{name}{strong}", *cells))
    names = NAMES | {"balanced": f"{NAMES['balanced']}, without `delta_regmean`"}
    cases = [f"{names[arms]} ({len(found[arms]['arms'])} arms)" for arms in SETS]
    return table(("strategy", *cases), rows)


def _spread(found: Mapping[str, float], places: int = 3) -> str:
    mean, low, high = (f"{found[key]:.{places}f}" for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"
