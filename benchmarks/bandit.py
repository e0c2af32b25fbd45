"""The bandit on streams of the zoo's pairs: cumulative regret beside simpler ways to choose.

    python benchmarks/bandit.py develop     # choices, on pairs that are offline in all others
    python benchmarks/bandit.py run         # 30 seeds of every policy -> bandit.json
    python benchmarks/bandit.py scenarios   # what changes in mid-stream, a wrong start
    python benchmarks/bandit.py curve       # what more offline outcomes are worth
    python benchmarks/bandit.py peer        # contexts and rewards for benchmarks/bandit_peer.py

No model of a stream is in the offline outcomes, and no stream repeats a (pair, task).
"""

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from simmerge_hub.operators import BALANCED
from simmerge_hub.selector.bandit import bandit as b
from simmerge_hub.selector.bandit import posterior, representation
from simmerge_hub.selector.bandit.corrections import NOISE, Corrections
from simmerge_hub.selector.bandit.history import History, Suggestion
from simmerge_hub.selector.models import network
from simmerge_hub.selector.tables.features import load_features
from simmerge_hub.selector.tables.outcomes import load_outcomes
from simmerge_hub.selector.tables.rows import Rows, join, stack

HERE = Path(__file__).parent
TABLES = HERE.parent / "recipes" / "outcomes"
DEAL, SHARE = 100, 0.4
"""Seed of the deal of zoo v2's models, and the share of each regime's that is known offline."""
ROUNDS, SEEDS, EVERY = 500, 30, 100
"""Rounds of a stream, streams, rounds between retrainings."""
SCENARIO_SEEDS = 10
DEVELOPMENT, KNOWN = 24, 0.7
"""Deals that choices are made on, and the share of models that are known in each."""
SHARES = (0.25, 0.35, 0.5, 0.7, 1.0)
"""Of the models known offline, for the curve."""
TIE = 0.02


def table() -> Rows:
    """Zoo v2, whose models are dealt, and more outcomes, which are offline always."""
    names = ("zoo-v2", "zoo-more")
    return stack(
        [
            join(
                load_outcomes(TABLES / f"{name}.jsonl.gz"),
                load_features(TABLES / f"{name}-features.jsonl.gz"),
                BALANCED,
            )
            for name in names
        ]
    )


def homes(rows: Rows) -> dict[str, str]:
    """Model -> regime."""
    pairs = zip(rows.experts, rows.auxiliaries, rows.regimes, strict=True)
    return {model: regime for *pair, regime in pairs for model in pair}


def deal(rows: Rows, seed: int, share: float, among: set[str]) -> set[str]:
    """A share of the models `among` which it is dealt, regime by regime."""
    known = homes(rows)
    random, found = np.random.default_rng(seed), set()
    for regime in sorted({known[m] for m in among}):
        models = sorted(m for m in among if known[m] == regime)
        mixed = random.permutation(len(models))
        found |= {models[i] for i in mixed[: round(share * len(models))]}
    return found


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Models whose outcomes are known offline, and those of the streams."""

    offline: set[str]
    streamed: set[str]


def sides(rows: Rows) -> Sides:
    more = {model for model, regime in homes(rows).items() if regime.startswith("zoo-more/")}
    dealt = set(rows.models) - more
    known = deal(rows, DEAL, SHARE, dealt)
    return Sides(offline=known | more, streamed=dealt - known)


def places(rows: Rows, models: set[str]) -> np.ndarray:
    """Rows of which both models are in `models`."""
    both = zip(rows.experts, rows.auxiliaries, strict=True)
    return np.array([i for i, (e, a) in enumerate(both) if e in models and a in models], int)


@dataclass(kw_only=True)
class Stream:
    """Rounds in order, and what a learner has seen of them."""

    rows: Rows
    order: np.ndarray
    suggestions: dict[str, Suggestion] = field(default_factory=dict)
    gains: dict[str, float] = field(default_factory=dict)
    added: tuple = ()

    @property
    def history(self) -> History:
        return History(suggestions=self.suggestions, gains=self.gains, added=self.added)

    def tell(self, place: int, column: int, gain: float, forecast: float) -> None:
        name = f"s{len(self.suggestions) + 1:06d}"
        self.suggestions[name] = Suggestion(
            id=name, arm=self.rows.arms[column].label, task=self.rows.tasks[place],
            expert=self.rows.experts[place],
            auxiliary=self.rows.auxiliaries[place], chance={}, forecast=forecast, expected=0.0,
            values=tuple(self.rows.values[place]), effects=tuple(self.rows.effects[place, column]),
        )  # fmt: skip
        self.gains[name] = float(gain)


Pick = Callable[[Corrections, np.ndarray, np.ndarray, np.random.Generator, float], int]
"""Beliefs, forecasts [arms], contexts [arms, d], randomness, explore -> the arm's place."""


def thompson(beliefs, forecasts, contexts, random, explore) -> int:
    return int(np.argmax(forecasts + beliefs.draws(contexts, random, explore=explore)[0]))


def greedy(beliefs, forecasts, contexts, random, explore) -> int:
    if random.random() < 0.1:
        return int(random.integers(len(forecasts)))
    return int(np.argmax(forecasts + beliefs.means(contexts)))


def upper(beliefs, forecasts, contexts, random, explore) -> int:
    widths = NOISE * posterior.widths(beliefs.belief, contexts)
    return int(np.argmax(forecasts + beliefs.means(contexts) + widths))


def play(
    bandit: b.Bandit,
    rows: Rows,
    order: np.ndarray,
    *,
    seed: int,
    pick: Pick = thompson,
    every: int = EVERY,
    arrives: tuple[int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Regret and pulled column of every round; `arrives`: (round, column) of an arm that is new."""
    columns = {a.label: i for i, a in enumerate(rows.arms)}
    stream = Stream(rows=rows, order=order)
    usable = [columns[label] for label in bandit.labels]
    models = sorted({m for i in order for m in (rows.experts[i], rows.auxiliaries[i])})
    regrets, pulls = [], []
    for number, place in enumerate(order):
        arrived = arrives is not None and number == arrives[0]
        if arrived:
            stream.added = (rows.arms[arrives[1]],)
            usable.append(arrives[1])
        elif every and number and number % every == 0:
            bandit = b.retrain(bandit, stream.history)
        if arrived or (every and number % every == 0) or not number:
            beliefs = bandit.beliefs(stream.history, models)
            forecasts = bandit.forecasts(rows.values, rows.effects[:, usable], stream.history)
        names = rows.experts[place], rows.auxiliaries[place]
        contexts, random = beliefs.contexts(*names), np.random.default_rng([seed, number])
        arm = pick(beliefs, forecasts[place], contexts, random, bandit.settings.explore)
        gain = float(rows.gains[place, usable[arm]])
        stream.tell(place, usable[arm], gain, float(forecasts[place, arm]))
        beliefs = beliefs.learn(contexts[arm], gain - forecasts[place, arm])
        regrets.append(rows.gains[place, usable].max() - gain)
        pulls.append(usable[arm])
    return np.array(regrets), np.array(pulls)


def full_feedback(
    bandit: b.Bandit, rows: Rows, offline: np.ndarray, order: np.ndarray, *, seed: int
) -> np.ndarray:
    """The same representation, trained anew as often on every arm's gain of all past rounds."""
    regrets = []
    represent = bandit.represent
    for start in range(0, len(order), EVERY):
        if start:
            known = rows.take(np.concatenate([offline, order[:start]]))
            represent = b.start(known, replace(bandit.settings, seed=seed)).represent
        regrets.append(alone(represent, rows, order[start : start + EVERY]))
    return np.concatenate(regrets)


def alone(represent: representation.Representation, rows: Rows, order: np.ndarray) -> np.ndarray:
    """The offline predictor alone."""
    asked = rows.take(order)
    chosen = represent.forecast(asked.values, asked.effects, asked.arms).argmax(axis=1)
    return asked.gains.max(axis=1) - asked.gains[np.arange(len(order)), chosen]


def cold_contexts(rows: Rows, offline: np.ndarray, directions: int = 15) -> np.ndarray:
    """[n, 16]: the ranks' first principal directions, from features without outcomes, and 1."""
    ranked = network.ranks(rows.values, network.quantiles(rows.values[offline]))
    _, scales, axes = np.linalg.svd(ranked[offline], full_matrices=False)
    spread = scales[:directions] / np.sqrt(len(offline))
    return np.column_stack([np.ones(len(rows)), ranked @ axes[:directions].T / spread])


def cold(rows: Rows, order: np.ndarray, contexts: np.ndarray, *, seed: int, explore: float):
    """LinTS without outcomes: λ = 0.25, a₀ = b₀ = 6, two first pulls of each arm."""
    size, count = contexts.shape[1], len(rows.arms)
    heads = [posterior.prior(size, spread=2.0) for _ in range(count)]
    regrets, scale = [], NOISE
    for number, place in enumerate(order):
        random = np.random.default_rng([seed, number])
        z = contexts[place][None]
        scores = [posterior.draws(h, z, random, explore=explore)[0, 0] for h in heads]
        arm = number % count if number < 2 * count else int(np.argmax(scores))
        gain = rows.gains[place, arm]
        heads[arm] = posterior.update(heads[arm], contexts[place], gain / scale)
        regrets.append(rows.gains[place].max() - gain)
    return np.array(regrets)


def one_seed(job: tuple[Rows, np.ndarray, np.ndarray, int]) -> dict[str, np.ndarray]:
    """Every policy on one stream; what is trained is trained with the stream's seed, too."""
    rows, offline, pool, seed = job
    order = pool[np.random.default_rng(seed).permutation(len(pool))][:ROUNDS]
    gains = rows.gains[order]
    bandit = b.start(rows.take(offline), b.Settings(seed=seed))
    cold_z = cold_contexts(rows, offline)
    return {
        "oracle": np.zeros(len(order)),
        "predictor with full feedback": full_feedback(bandit, rows, offline, order, seed=seed),
        "bandit": play(bandit, rows, order, seed=seed)[0],
        "bandit, never retrained": play(bandit, rows, order, seed=seed, every=0)[0],
        "ε-greedy (0.1), warm": play(bandit, rows, order, seed=seed, every=0, pick=greedy)[0],
        "LinUCB, warm": play(bandit, rows, order, seed=seed, every=0, pick=upper)[0],
        "offline predictor alone": alone(bandit.represent, rows, order),
        "best fixed in hindsight": gains.max(1) - gains[:, gains.mean(0).argmax()],
        "cold LinTS": cold(rows, order, cold_z, seed=seed, explore=1.0),
        "cold LinTS, explore 0.3": cold(rows, order, cold_z, seed=seed, explore=0.3),
        "random": gains.max(1) - gains[
            np.arange(len(order)),
            np.random.default_rng(seed).integers(gains.shape[1], size=len(gains)),
        ],
    }  # fmt: skip


def band(values) -> dict[str, float]:
    low, middle, high = np.quantile(np.asarray(values, float), [0.05, 0.5, 0.95])
    return {"median": round(middle, 4), "low": round(low, 4), "high": round(high, 4)}


def paired_difference(differences: np.ndarray) -> dict[str, float]:
    """Mean over seeds, its standard error (streams share rows: too small), share below zero."""
    error = differences.std(ddof=1) / len(differences) ** 0.5
    return {
        "mean": round(float(differences.mean()), 4),
        "standard_error": round(float(error), 4),
        "better": round(float((differences < 0).mean()), 3),
    }


def summary(found: list[dict[str, np.ndarray]]) -> dict:
    names = list(found[0])
    fixed = np.array([f["best fixed in hindsight"].sum() for f in found])
    headroom = np.array([f["best fixed in hindsight"].mean() for f in found])
    cold_ = np.array([f["cold LinTS"].sum() for f in found])
    best_cold = np.array([f["cold LinTS, explore 0.3"].sum() for f in found])
    full = np.array([f["predictor with full feedback"].sum() for f in found])
    offline = np.array([f["offline predictor alone"].sum() for f in found])
    out = {}
    for name in names:
        sums = np.array([f[name].sum() for f in found])
        last = np.array([f[name][-100:].mean() for f in found])
        last_full = np.array([f["predictor with full feedback"][-100:].mean() for f in found])
        curves = np.array([np.cumsum(f[name]) for f in found])[:, 9::10]
        out[name] = {
            "regret": band(sums),
            "of_best_fixed": band(sums / fixed),
            "of_cold": band(sums / cold_),
            "of_better_cold": band(sums / best_cold),
            "last_100_per_round": band(last),
            "last_100_of_headroom": band(last / headroom),
            "over_full_feedback_of_best_fixed": band((sums - full) / (fixed - full)),
            "over_offline_of_best_fixed": paired_difference((sums - offline) / fixed),
            "last_100_over_full_of_headroom": band((last - last_full) / headroom),
            "curve": {
                k: np.round(np.quantile(curves, q, axis=0), 3).tolist()
                for k, q in (("low", 0.05), ("median", 0.5), ("high", 0.95))
            },
        }
    return out


def scenario(job: tuple[str, Rows, Sides, int]) -> list[dict[str, float]]:
    """All seeds of a kind in one process, so that what they begin with is trained once."""
    kind, rows, models, seeds = job
    return [SCENARIOS[kind](rows, models, seed) for seed in range(seeds)]


WARM_STARTS: dict[str, b.Bandit] = {}


def warm_start(name: str, offline: Rows, seed: int) -> b.Bandit:
    """A bandit trained once per process; the seed is that of its draws."""
    if name not in WARM_STARTS:
        WARM_STARTS[name] = b.start(offline)
    return replace(WARM_STARTS[name], settings=replace(WARM_STARTS[name].settings, seed=seed))


def new_domain(rows: Rows, models: Sides, seed: int) -> dict[str, float]:
    """A domain that neither the offline outcomes nor the first 150 rounds hold, then only it."""
    domains = np.array([task.partition("/")[0] for task in rows.tasks])
    names = sorted(set(domains))
    new = names[seed * len(names) // SCENARIO_SEEDS]
    random = np.random.default_rng(seed)
    offline = places(rows, models.offline)
    offline = offline[domains[offline] != new]
    pool = random.permutation(places(rows, models.streamed))
    before, after = pool[domains[pool] != new][:150], pool[domains[pool] == new]
    rest = pool[domains[pool] != new][150:]
    bandit = warm_start(f"without {new}", rows.take(offline), seed)
    regrets, _ = play(bandit, rows, np.concatenate([before, after]), seed=seed, every=50)
    gains = rows.gains[after]
    fixed = (gains.max(1) - gains[:, rows.gains[offline].mean(0).argmax()]).mean()
    old = alone(bandit.represent, rows, rest).mean()
    return {
        "domain": new, "rounds": len(after), "before": regrets[100:150].mean(),
        "first_20": regrets[150:170].mean(), "21_to_60": regrets[170:210].mean(),
        "after_60": regrets[210:].mean(),
        "offline_on_new": alone(bandit.represent, rows, after).mean(),
        "old_best_fixed_on_new": fixed, "offline_on_old": old,
        "learned_after": rounds_to_learn(regrets[150:], regrets[50:150].mean() + TIE),
    }  # fmt: skip


def rounds_to_learn(regrets: np.ndarray, level: float, window: int = 20) -> int:
    """Rounds until the mean regret of the following `window` is at most `level`; -1: never."""
    means = np.convolve(regrets, np.ones(window) / window, mode="valid")
    below = np.flatnonzero(means <= level)
    return int(below[0]) if len(below) else -1


def new_operator(column_label: str, known: tuple[str, ...] = ()):
    def run(rows: Rows, models: Sides, seed: int) -> dict[str, float]:
        """An arm that was not known offline arrives after 150 rounds, beside all others or some."""
        labels = [a.label for a in rows.arms]
        column = labels.index(column_label)
        others = [i for i, a in enumerate(labels) if i != column and (not known or a in known)]
        offline = places(rows, models.offline)
        pool = np.random.default_rng(seed).permutation(places(rows, models.streamed))
        order = pool[:ROUNDS]
        bandit = warm_start(f"{column_label} beside {known}", rows.take(offline).only(others), seed)
        regrets, pulls = play(bandit, rows, order, seed=seed, arrives=(150, column))
        ignored, _ = play(bandit, rows, order, seed=seed)
        mine = pulls[150:] == column
        gains = rows.gains[order[150:]]
        rest = gains[:, others].max(axis=1)
        good = gains[:, column] >= rest - TIE
        wanted = good.mean()
        # Regret of the bandit that is not told, against the same best arms.
        lost = np.maximum(gains[:, column] - rest, 0)
        share = np.convolve(mine, np.ones(20) / 20, mode="valid")
        adopted = np.flatnonzero(share >= wanted / 2)
        return {
            "best_or_tied_share": wanted,
            "better_share": (gains[:, column] > rest + TIE).mean(),
            "regret": regrets[150:].mean(), "regret_without": (ignored[150:] + lost).mean(),
            "regret_last_100_without": (ignored[150:] + lost)[-100:].mean(),
            "pulls_60": int(mine[:60].sum()),
            "pulls": int(mine.sum()), "pulls_last_100": int(mine[-100:].sum()),
            "adopted_after": int(adopted[0]) + 20 if len(adopted) else -1,
            "share_where_good": mine[good].mean(), "share_where_not": mine[~good].mean(),
            "regret_last_100": regrets[-100:].mean(),
        }  # fmt: skip

    return run


def wrong_start(rows: Rows, models: Sides, seed: int) -> dict[str, float]:
    """Offline outcomes with their rows permuted; every arm's too, so not even the means hold."""
    random = np.random.default_rng(0)
    offline = rows.take(places(rows, models.offline))
    mixed = np.array(
        [random.permutation(r) for r in offline.gains[random.permutation(len(offline))]]
    )
    pool = places(rows, models.streamed)
    pool = np.random.default_rng(seed).permutation(pool)[:ROUNDS]
    right = warm_start("right", offline, seed)
    wrong = warm_start("wrong", replace(offline, gains=mixed), seed)
    good, bad = (play(x, rows, pool, seed=seed)[0] for x in (right, wrong))
    contexts = cold_contexts(rows, places(rows, models.offline))
    chill = cold(rows, pool, contexts, seed=seed, explore=0.3)
    gains = rows.gains[pool]
    fixed = gains.max(1) - gains[:, gains.mean(0).argmax()]
    return {
        "wrong_less_cold": (bad - chill).mean(),
        "wrong_less_cold_last_100": (bad - chill)[-100:].mean(),
    } | {
        f"{name}_{when}": part.mean()
        for name, r in (("wrong", bad), ("right", good), ("cold", chill), ("best_fixed", fixed))
        for when, part in (("first_100", r[:100]), ("last_100", r[-100:]), ("all", r))
    }


PAPER = ("linear", "slerp", "ties(density=0.2)")
SCENARIOS = {
    "new domain": new_domain,
    "new operator beside ten": new_operator("nuslerp"),
    "new operator beside the paper's three": new_operator("nuslerp", PAPER),
    "new operator, worse on average": new_operator("task_arithmetic(scale=0.4)"),
    "wrong warm start": wrong_start,
}


def develop() -> dict:
    """Choices, on what is offline in `run`: pairs of models that are dealt away are streamed.

    Regret as a share of the best fixed arm's in hindsight, mean over deals; lower is better.
    """
    rows = table()
    jobs = [(rows, sides(rows).offline, seed) for seed in range(DEVELOPMENT)]
    with ProcessPoolExecutor(2) as workers:
        found = list(workers.map(one_deal, jobs))
    return {name: round(float(np.mean([f[name] for f in found])), 3) for name in found[0]}


def one_deal(job: tuple[Rows, set[str], int]) -> dict[str, float]:
    rows, inside, seed = job
    known = deal(rows, seed, KNOWN, inside)
    offline, order = places(rows, known), places(rows, inside - known)
    order = np.random.default_rng(seed).permutation(order)
    gains = rows.gains[order]
    fixed = (gains.max(1) - gains[:, gains.mean(0).argmax()]).mean()
    bandit = b.start(rows.take(offline), b.Settings(seed=seed))
    return {name: float(r.mean() / fixed) for name, r in trials(bandit, rows, order, seed)}


def trials(bandit: b.Bandit, rows: Rows, order: np.ndarray, seed: int):
    """(name, regrets) of everything that was chosen between."""
    yield "offline alone", alone(bandit.represent, rows, order)
    yield "bandit", play(bandit, rows, order, seed=seed, every=0)[0]
    for explore in (0.0, 0.1, 0.3, 1.0):
        made = replace(bandit, settings=replace(bandit.settings, explore=explore))
        yield f"explore {explore:g}", play(made, rows, order, seed=seed, every=0)[0]
    for trust in (0.25, 0.5):
        made = replace(bandit, settings=replace(bandit.settings, trust=trust))
        yield f"trust {trust:g}", play(made, rows, order, seed=seed, every=0)[0]
    alike = replace(bandit, ties=np.eye(len(bandit.arms)))
    yield "arms not tied", play(alike, rows, order, seed=seed, every=0)[0]
    yield "retrained every 25 rounds", play(bandit, rows, order, seed=seed, every=25)[0]


def curve() -> dict:
    """What more offline outcomes are worth: the forecast alone on all pairs of streamed models.

    Shares of the models that are known, five deals of each (of all of them: five training seeds);
    regret as a share of the best fixed arm's in hindsight.
    """
    rows = table()
    models = sides(rows)
    order = places(rows, models.streamed)
    gains = rows.gains[order]
    fixed = (gains.max(1) - gains[:, gains.mean(0).argmax()]).mean()
    found = []
    for share in SHARES:
        counts, regrets = [], []
        for inner in range(5):
            offline = places(rows, deal(rows, inner, share, models.offline))
            bandit = b.start(rows.take(offline), b.Settings(seed=inner))
            counts.append(len(offline))
            regrets.append(alone(bandit.represent, rows, order).mean() / fixed)
        found.append({"share_of_models": share, "rows": round(float(np.mean(counts)))})
        found[-1] |= {"of_best_fixed": band(regrets)}
        print(found[-1], flush=True)
    return {"curve": found}


def run() -> dict:
    """Every policy on every seed."""
    rows = table()
    models = sides(rows)
    offline, pool = places(rows, models.offline), places(rows, models.streamed)
    jobs = [(rows, offline, pool, seed) for seed in range(SEEDS)]
    with ProcessPoolExecutor(2) as workers:
        found = list(workers.map(one_seed, jobs))
    chosen = b.Settings()
    halves = rows.halves[pool]
    lucky = halves.max(axis=1).mean() - np.mean(
        [halves[np.arange(len(pool)), halves[..., i].argmax(1), 1 - i] for i in (0, 1)]
    )
    return {
        "settings": {
            "rounds": ROUNDS, "seeds": len(found), "retrained_every": EVERY,
            "arms": len(rows.arms), "offline_rows": len(offline),
            "offline_models": len(models.offline), "stream_rows": len(pool),
            "stream_models": len(models.streamed), "deal": DEAL,
            "headroom_per_round": round(
                float(np.mean([f["best fixed in hindsight"].mean() for f in found])), 4
            ),
            # What the best arm on 50 prompts loses on 50 others; an oracle of 100 is less lucky.
            "luck_of_50_prompts": round(float(lucky), 4),
            **{k: getattr(chosen, k) for k in ("explore", "trust", "keep")},
        },
        "policies": summary(found),
    }  # fmt: skip


def scenarios(seeds: int) -> dict:
    """What changes in mid-stream, and a wrong start."""
    rows = table()
    models = sides(rows)
    found = {}
    jobs = [(kind, rows, models, seeds) for kind in SCENARIOS]
    with ProcessPoolExecutor(2) as workers:
        for kind, results in zip(SCENARIOS, workers.map(scenario, jobs), strict=True):
            found[kind] = combine(results)
            print(kind, found[kind], flush=True)
    return {"scenarios": found}


def combine(results: list[dict]) -> dict:
    numbers = [k for k, v in results[0].items() if not isinstance(v, str)]
    return {"seeds": len(results)} | {k: band([r[k] for r in results]) for k in numbers}


def peer_data(target: Path) -> None:
    """Contexts and gains of all streams, for a library that is not installed here."""
    rows = table()
    models = sides(rows)
    offline, pool = places(rows, models.offline), places(rows, models.streamed)
    contexts = cold_contexts(rows, offline)
    orders = [np.random.default_rng(s).permutation(pool)[:ROUNDS] for s in range(SEEDS)]
    ours = [
        cold(rows, order, contexts, seed=s, explore=1.0).sum() for s, order in enumerate(orders)
    ]
    np.savez(target, contexts=contexts, gains=rows.gains, orders=np.array(orders), ours=ours)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["develop", "run", "scenarios", "curve", "peer"])
    parser.add_argument("--to", type=Path, default=HERE / "bandit.json")
    parser.add_argument("--seeds", type=int, default=SCENARIO_SEEDS, help="of the scenarios")
    options = parser.parse_args()
    if options.what == "peer":
        return peer_data(options.to)
    done = json.loads(options.to.read_text()) if options.to.exists() else {}
    done |= {
        "develop": lambda: {"development": develop()},
        "run": run,
        "scenarios": lambda: scenarios(options.seeds),
        "curve": curve,
    }[options.what]()
    options.to.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n")
    return None


if __name__ == "__main__":
    main()
