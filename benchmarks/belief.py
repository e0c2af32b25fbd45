"""How often a plan believes its ranking, near and far from training, and what that gains or loses.

    python benchmarks/belief.py     # some minutes on two cores; writes benchmarks/belief.json

Three sources, none of which shares a model with what the prediction or its evidence was made from:

* `held out`: the record in the packaged predictor, by what was left out of training. Every case is
  judged by the rest of the record without its two models; `kind unseen` also leaves all cases of
  its own kind out of the evidence, as if nothing like it had ever been tried.
* `other zoo`: the zoo that the packaged predictor has never seen, through `predict` and `decide`.
* `real pairs`: pairs of a real language model, of which outcomes of fixed arms are known, ours and
  the judge's: what the rule takes at that size, whatever the features.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simmerge_hub.operators import ARMS, BALANCED, FED_ARMS, PAPER_ARMS, Arm
from simmerge_hub.selector.models.resampling import resample, spread
from simmerge_hub.selector.predictor import archive
from simmerge_hub.selector.predictor.origin import packaged_predictor
from simmerge_hub.selector.predictor.predictor import Predictor
from simmerge_hub.selector.predictor.ranking import Ranking
from simmerge_hub.selector.predictor.record import Cases, Record
from simmerge_hub.selector.predictor.trust import Grounds, Trust, combine
from simmerge_hub.selector.tables.features import load_features
from simmerge_hub.selector.tables.outcomes import load_outcomes
from simmerge_hub.selector.tables.rows import Rows, join
from simmerge_hub.selector.training.scenarios import sizes_of
from simmerge_hub.signatures.features.vector import Features

HERE = Path(__file__).parent
TABLES = HERE.parent / "recipes" / "outcomes"
OTHER = "zoo-more"
SETS = {"balanced": BALANCED, "paper": PAPER_ARMS, "all": (*ARMS, *FED_ARMS)}
"""Which arms compete: `all` is what a plan chooses between; in the other zoo, where those that see
activations were not measured, the rest of them."""
SEED = 0
SIZES = (10_000_000, 270_000_000, 7_000_000_000)
"""Parameters at which the pairs of the other zoo are asked about, as if their bases had them."""


def main() -> None:
    """Run all of it and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=["real pairs"], help="the JSON keeps the rest")
    options = parser.parse_args()
    file = HERE / "belief.json"
    predictor = archive.load(packaged_predictor())
    rows, sizes = other_zoo()
    if options.only:
        known = json.loads(file.read_text())
        write(file, known | {"real pairs": real_pairs(predictor, rows)})
        return
    measured = {n: [arm for arm in arms if arm in rows.arms] for n, arms in SETS.items()}
    rankings = {name: rank(predictor, rows, sizes, arms) for name, arms in measured.items()}
    found = {
        "predictor": predictor.training,
        "held out": judge_record(predictor),
        "other zoo": {
            name: {"task": one_task(rows, sets), "both": both_tasks(rows, sets)}
            for name, sets in rankings.items()
        },
        "real pairs": real_pairs(predictor, rows),
    }
    write(file, found)


def write(file: Path, found: dict[str, Any]) -> None:
    """As JSON, numbers to four places."""
    file.write_text(json.dumps(round_all(found), indent=1, sort_keys=True) + "\n")


def judge_record(predictor: Predictor) -> dict[str, Any]:
    """Kind of held-out case -> set of arms -> one task or both -> what the rule does."""
    record, found = predictor.record, {}
    for kind in dict.fromkeys(record.kinds):
        mine = np.array([each == kind for each in record.kinds])
        asked, unseen = both_views(record.take(mine)), both_views(record.take(~mine))
        known = both_views(record)
        found[kind] = {
            name: {
                view: {
                    "any evidence": judge_cases(predictor, known[view], asked[view], arms),
                    "kind unseen": judge_cases(predictor, unseen[view], asked[view], arms),
                }
                for view in asked
            }
            for name, arms in SETS.items()
        }
        print(kind, "done", flush=True)
    return found


def both_views(record: Record) -> dict[str, Cases]:
    """One task at a time, and both tasks of a pair at once; all features there."""
    return {"task": record.each_task("complete"), "both": record.both_tasks("complete")}


def judge_cases(
    predictor: Predictor, known: Cases, asked: Cases, arms: Sequence[Arm]
) -> dict[str, Any]:
    """What the rule does with cases, by those known cases that share no model with them."""
    labels = [arm.label for arm in predictor.arms]
    places = {arm.label: labels.index(arm.label) for arm in arms}
    trusts = []
    for i in range(len(asked.first)):
        own = [asked.first[i], asked.second[i]]
        apart = known.take(~(np.isin(known.first, own) | np.isin(known.second, own)))
        grounds = Grounds(
            record=predictor.record,
            beyond=predictor.beyond,
            pattern="complete",
            coordinates=asked.distances[i],
            parameters=float(asked.sizes[i]),
            alpha=predictor.alpha,
        )
        told = {label: float(asked.predicted[i, place]) for label, place in places.items()}
        order = sorted(told, key=lambda label: -told[label])
        leads = {label: told[order[0]] - told[label] for label in order}
        trusts.append(grounds.by(apart, order, leads))
    gains = [{label: float(row[place]) for label, place in places.items()} for row in asked.gains]
    return summary(trusts, gains, asked.first.tolist(), asked.second.tolist())


def summary(
    trusts: Sequence[Trust],
    gains: Sequence[dict[str, float]],
    first: Sequence[Any],
    second: Sequence[Any],
) -> dict[str, Any]:
    """Gap closed by the plan, by its ranking unguarded and by its safe arm.

    `another arm` counts cases in which the ranking's first is not the safe arm, `followed` those of
    them in which it is taken, and `gained there` what it gained over the safe arm; in `not judged`
    too few held-out models were as far, or led by as little.
    """
    both = list(zip(trusts, gains, strict=True))
    plan = np.array([gain[trust.chosen] for trust, gain in both])
    unguarded = np.array([gain[trust.first] for trust, gain in both])
    safe = np.array([gain[trust.safe] for trust, gain in both])
    other = np.array([trust.first != trust.safe for trust in trusts])
    followed = other & np.array([trust.followed for trust in trusts])
    weights = resample(first, second, SEED)
    return {
        "cases": len(trusts),
        "plan": spread(plan, weights),
        "unguarded": spread(unguarded, weights),
        "safe": spread(safe, weights),
        "plan over unguarded": spread(plan - unguarded, weights),
        "plan over safe": spread(plan - safe, weights),
        "another arm": float(other.mean()),
        "followed": float(followed.mean()),
        "gained there": float((plan - safe)[followed].mean()) if followed.any() else None,
        "not judged": float(np.mean([np.isinf(t.error) and not t.followed for t in trusts])),
        "safe arms": counts([trust.safe for trust in trusts]),
    }


def other_zoo() -> tuple[Rows, list[int]]:
    """The rows of the zoo that was not trained on, and the parameters of their bases."""
    outcomes = load_outcomes(TABLES / f"{OTHER}.jsonl.gz")
    arms = [arm for arm in ARMS if arm in outcomes.arms]
    rows = join(outcomes, load_features(TABLES / f"{OTHER}-features.jsonl.gz"), arms)
    return rows, sizes_of(rows, outcomes.provenance).astype(int).tolist()


def rank(
    predictor: Predictor, rows: Rows, sizes: Sequence[int], arms: Sequence[Arm]
) -> list[Ranking]:
    """The ranking of every row, as a plan gets it."""
    labels = [arm.label for arm in rows.arms]
    unknown = {arm.label: np.full(rows.effects.shape[-1], np.nan) for arm in arms}
    return [
        predictor.predict(
            Features(names=rows.names, values=rows.values[i], schema=rows.schema),
            task=rows.tasks[i],
            arms=arms,
            effects=unknown | dict(zip(labels, rows.effects[i], strict=True)),
            parameters=sizes[i],
        )
        for i in range(len(rows))
    ]


def one_task(rows: Rows, rankings: Sequence[Ranking]) -> dict[str, Any]:
    """Every ranking acted on by itself."""
    trusts = [ranking.trust for ranking in rankings if ranking.trust is not None]
    gains = [gains_by_arm(rows, i) for i in range(len(rows))]
    return summary(trusts, gains, rows.experts, rows.auxiliaries) | {
        "status": shares([ranking.status for ranking in rankings])
    }


def both_tasks(rows: Rows, rankings: Sequence[Ranking]) -> dict[str, Any]:
    """Pairs whose models are each the expert on one task: one decision for both."""
    pairs: dict[frozenset[str], dict[str, int]] = {}
    for i, expert in enumerate(rows.experts):
        pairs.setdefault(frozenset((expert, rows.auxiliaries[i])), {}).setdefault(expert, i)
    trusts, gains, first, second = [], [], [], []
    for pair, places in sorted(pairs.items(), key=lambda item: sorted(item[0])):
        if len(places) < 2:
            continue
        a, b = sorted(pair)
        one, two = gains_by_arm(rows, places[a]), gains_by_arm(rows, places[b])
        swapped = {arm.label: arm.swapped().label for arm in rows.arms}
        trusts.append(decide(rankings[places[a]], rankings[places[b]], swapped))
        gains.append({label: (one[label] + two[swapped[label]]) / 2 for label in one})
        first.append(a)
        second.append(b)
    return summary(trusts, gains, first, second)


def decide(one: Ranking, two: Ranking, swapped: Mapping[str, str]) -> Trust:
    """What a plan does for the mean of both models' tasks, arms as the first ranking has them."""
    grounds = [ranking.grounds for ranking in (one, two) if ranking.grounds is not None]
    if len(grounds) < 2:
        raise SystemExit("a decision without grounds")
    second = {each.arm.label: each.gain for each in two.kept}
    means = {e.arm.label: (e.gain + second[swapped[e.arm.label]]) / 2 for e in one.kept}
    order = sorted(means, key=lambda label: -means[label])
    leads = {label: means[order[0]] - means[label] for label in order}
    return combine(grounds).weigh(order, leads, both=True)


def gains_by_arm(rows: Rows, place: int) -> dict[str, float]:
    """Arm label -> share of the gap it closed."""
    return {arm.label: float(rows.gains[place, i]) for i, arm in enumerate(rows.arms)}


def real_pairs(predictor: Predictor, rows: Rows) -> dict[str, Any]:
    """What is taken at larger sizes, and what that arm reached where it is known."""
    judged = json.loads((HERE / "judged_pairs.json").read_text())
    arms = [arm for arm in SETS["all"] if arm == arm.swapped()]
    few, taken = rows.take(np.arange(0, len(rows), 8)), {}
    for size in SIZES:
        found = rank(predictor, few, [size] * len(few), arms)
        taken[f"{size:,} parameters"] = {
            "status": shares([ranking.status for ranking in found]),
            "arms": counts([ranking.chosen.arm.label for ranking in found]),
        }
    (arm,) = taken["270,000,000 parameters"]["arms"]
    return {
        "taken": taken,
        "pairs": predictor.beyond.pairs,
        "plan": predictor.beyond.gains[arm],
        "judged": {
            "pairs": judged["pairs"],
            "plan": judged["gains"].get(arm),
            "unguarded": judged["ranking of the predictor"],
            "best arm of each pair": judged["best arm of each pair"],
        },
    }


def shares(names: Sequence[str]) -> dict[str, float]:
    """Name -> its share."""
    return {name: names.count(name) / len(names) for name in sorted(set(names))}


def counts(names: Sequence[str]) -> dict[str, int]:
    """Name -> how often."""
    return {name: names.count(name) for name in sorted(set(names))}


def round_all(value: Any) -> Any:
    """Every number to four places."""
    if isinstance(value, dict):
        return {key: round_all(inner) for key, inner in value.items()}
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
