# Everything a person needs: `make run` and `make test` do their own set-up. A second call reuses the environment.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready

.PHONY: run test setup soak bench check clean

run: setup
	@$(BIN)/intern run --task pocket/addition

setup: $(STAMP)

# torch first: with the pinned build there, nothing later pulls another one.
$(STAMP): pyproject.toml constraints.txt
	@echo "setting up $(VENV) (about two minutes, once)"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name it with make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,eval,dev]'
	@touch $@

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

# Whole runs want the machine to themselves, and are left out, by name, when the time runs out (tests/conftest.py).
ifndef INTERN_TESTS_BEGAN
export INTERN_TESTS_BEGAN := $(shell date +%s)
endif
test: check
	$(BIN)/python -m pytest -m "not soak and not slow" -n 2 --dist loadfile
	$(BIN)/python -m pytest -m "slow and not soak" --bounded -rs

soak: setup
	$(BIN)/python -m pytest -m soak --timeout 3600

bench: setup
	$(BIN)/python -m tests.benchmarks.store_bench
	$(BIN)/python -m tests.benchmarks.ui_bench
	$(BIN)/python -m tests.benchmarks.detectors_bench
	$(BIN)/python -m tests.benchmarks.detectors_bench --held-out
	$(BIN)/python -m tests.benchmarks.detectors_simulated --first-seed 1000
	$(BIN)/python -m tests.benchmarks.aa_bench
	$(BIN)/python -m tests.benchmarks.compute_bench
	$(BIN)/python -m tests.benchmarks.overhead_bench
	$(BIN)/python -m tests.benchmarks.agent_bench
	$(BIN)/python -m tests.benchmarks.data_quality
	$(BIN)/python -m tests.benchmarks.data_bench
	$(BIN)/intern bench

clean:
	rm -rf $(VENV) build dist
