# `make demo` and `make test` do their own set-up: a virtual environment in .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test fuzz check fix docs bench zoo

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv || (apt-get update && apt-get install -y python3-venv && $(PYTHON) -m venv .venv)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(READY)  ## a local Hub, nano specialists on it, plan, merge, push, card, answers
	$(BIN)/simmerge-hub demo

test: $(READY)  ## every test, on all cores; no network beyond a package registry
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile

fuzz: $(READY)  ## thousands of random models of many families against what transformers and PEFT load
	FUZZ_EXAMPLES=1000 $(BIN)/python -m pytest tests/fuzz

check: $(READY)  ## ruff, pyright, import-linter, docs --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir .site

fix: $(READY)  ## what ruff can repair by itself; generated pages
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python docs/generate.py

docs: $(READY)  ## the documentation, served on loopback
	$(BIN)/mkdocs serve --dev-addr 127.0.0.1:8000

# Not here: activation_ablation.py, at_once.py, catalogue.py, coefficients.py, multiway.py,
# off_probes.py, real_exams.py, search.py and trying_trees.py, which need a built zoo;
# search_report.py, which needs what search.py measured; bandit_peer.py, parity_recipes.py,
# parity_reference.py and regmean_parity.py, which run in an environment of a peer's;
# cluster.py, which needs the extra ray; and architectures.py, which takes an hour.
bench: $(READY)  ## every benchmark that needs nothing else (hours, 20 GB of disk); writes benchmarks/*.json
	$(BIN)/python benchmarks/operator_speed.py --json benchmarks/operator_speed.json
	$(BIN)/python benchmarks/merge_vs_mergekit.py
	$(BIN)/python benchmarks/merge_profile.py --work build/bench
	$(BIN)/python benchmarks/merge_memory.py
	$(BIN)/python benchmarks/regmean_memory.py
	$(BIN)/python benchmarks/adapters.py
	$(BIN)/python benchmarks/signature_cost.py
	$(BIN)/python benchmarks/signing.py
	$(BIN)/python benchmarks/planning_speed.py
	$(BIN)/python benchmarks/first_merge.py --install
	$(BIN)/python benchmarks/demo_pairs.py
	$(BIN)/python benchmarks/dose.py
	$(BIN)/python benchmarks/trying.py report
	$(BIN)/python benchmarks/signature_accuracy.py
	$(BIN)/python benchmarks/signature_merging.py
	$(BIN)/python benchmarks/selection.py
	$(BIN)/python benchmarks/worlds.py
	$(BIN)/python benchmarks/few_models.py
	$(BIN)/python benchmarks/selection_plots.py
	$(BIN)/python benchmarks/selection_cost.py
	$(BIN)/python benchmarks/kills.py
	$(BIN)/python benchmarks/learned.py
	$(BIN)/python benchmarks/learning_cost.py
	$(BIN)/python benchmarks/belief.py
	$(BIN)/python benchmarks/real_pairs.py
	$(BIN)/python benchmarks/leaning.py
	$(BIN)/python benchmarks/other_prompts.py --report
	$(BIN)/python benchmarks/activations.py
	$(BIN)/python benchmarks/bandit.py run
	$(BIN)/python benchmarks/bandit.py scenarios
	$(BIN)/python benchmarks/bandit.py curve
	$(BIN)/python benchmarks/bandit_plot.py

zoo: $(READY)  ## rebuild the zoo, measure every merge, train the default predictor (about five hours on two cores)
	$(BIN)/simmerge-hub zoo build recipes/zoo.yaml -o build/zoo
	$(BIN)/simmerge-hub zoo measure build/zoo -o recipes/outcomes/zoo-v3.jsonl.gz
	$(BIN)/simmerge-hub zoo features build/zoo recipes/outcomes/zoo-v3.jsonl.gz -o recipes/outcomes/zoo-v3-features.jsonl.gz --no-dose
	$(BIN)/simmerge-hub zoo build recipes/zoo-more.yaml -o build/zoo-more
	$(BIN)/simmerge-hub zoo measure build/zoo-more -o recipes/outcomes/zoo-more.jsonl.gz
	$(BIN)/simmerge-hub zoo features build/zoo-more recipes/outcomes/zoo-more.jsonl.gz -o recipes/outcomes/zoo-more-features.jsonl.gz --no-dose
	$(BIN)/python benchmarks/multiway.py measure build/zoo --part train
	$(BIN)/python benchmarks/multiway.py measure build/zoo --part across
	$(BIN)/python benchmarks/multiway.py plant build/zoo
	rm -f recipes/outcomes/zoo-v2-merges.jsonl.gz
	$(BIN)/python benchmarks/multiway.py table build/zoo
	$(BIN)/simmerge-hub predictor train recipes/outcomes/zoo-v3.jsonl.gz --features recipes/outcomes/zoo-v3-features.jsonl.gz --merges recipes/outcomes/zoo-v2-merges.jsonl.gz -o simmerge_hub/selector/predictor/default.json
