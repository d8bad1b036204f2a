# `make demo` and `make test` set up what they need: a virtual environment and this package in it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test engine wheels release lowest lint types docs clean

demo: $(VENV)/demo engine
	$(BIN)/chirrup demo

test: $(VENV)/dev engine
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n 2

# The native engine, compiled again if a source of it has changed. Status 3: there is no compiler.
engine: $(VENV)/demo
	@command -v cc > /dev/null || $(BIN)/python -c 'import ziglang' 2> /dev/null || \
		$(BIN)/python -m pip install --quiet ziglang || true
	@$(BIN)/python native/build.py --if-changed || { test $$? = 3 && echo "Chirrup runs in ONNX Runtime."; }

# The source distribution and the wheels of all platforms, in dist/.
wheels: $(VENV)/demo
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[wheels]'
	$(BIN)/python native/wheels.py

# A release in dist/, tried: each file in a fresh environment, with files of earlier versions.
# RELEASE="--this-machine --python python3.13" tries fewer platforms, and another Python.
release: $(VENV)/demo
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[wheels]'
	$(BIN)/python native/release.py $(RELEASE)

# The package and these extras with the lowest versions that pyproject.toml allows: every command, one
# file there and back, tokens, files of earlier versions. Its size is that of current versions only.
lowest: EXTRAS = onnx tokens hub live web
lowest: $(VENV)/dev
	$(BIN)/python tests/support/lowest.py $(EXTRAS) > $(VENV)/lowest.txt
	CONSTRAINTS=$(VENV)/lowest.txt EXTRAS="$(EXTRAS)" \
		$(BIN)/python -m pytest tests/test_no_torch.py -k "not small and not names_the_extra"

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev
	$(BIN)/pyright --pythonpath $(BIN)/python

# The documentation site, in site/. A warning is an error.
docs: $(VENV)/docs
	$(BIN)/python docs/builder/build_site.py

clean:
	rm -rf $(VENV) dist build site .cache .pytest_cache .ruff_cache .hypothesis
	rm -rf src/chirrup/runtime/library

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	-$(BIN)/python -m pip install --quiet 'pesq>=0.0.4'  # for the scores; compiled where no wheel is
	touch $@

$(VENV)/dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,eval,data,dev]'
	touch $@ $(VENV)/demo

$(VENV)/docs: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@
