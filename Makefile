# Entry points; each is a line of ordinary commands. `make` builds .venv, `make demo` runs the main job.
PYTHON ?= python3
PROMPT ?= a heavy red ball is thrown fast to the right
OUT ?= out/demo
PILA := .venv/bin/pila

.DEFAULT_GOAL := $(PILA)
.PHONY: demo strip docs smoke test lint format types check clean

# The console script is the stamp: pip writes it last, so a broken install is tried again.
$(PILA): pyproject.toml constraints.txt
	@echo "== building .venv (PyTorch is the large download; once)"
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev]'
	@touch $@
	@echo "== .venv is ready: $(PILA) --help"

demo: $(PILA)  ## a prompt to two clips, frozen and corrected, and both beside each other
	$(PILA) generate "$(PROMPT)" --compare --explain $(OUT)/explain --output $(OUT)/pila.mp4

strip: demo  ## the README's picture, from the demo's own clips
	cp $(OUT)/explain/strip.png docs/strip.png

docs: $(PILA)  ## the pages and the README's table that derive from the relations
	.venv/bin/python -m pila.physics.catalogue

smoke: $(PILA)  ## the demo's job with few steps, into a folder of its own
	$(PILA) generate "$(PROMPT)" --compare --explain out/smoke/explain --output out/smoke/pila.mp4 --steps 3 --json

test: $(PILA)  ## the whole suite; ARGS="-m 'not slow'" for the quick part
	.venv/bin/python -m pytest $(ARGS)

lint: $(PILA)
	.venv/bin/ruff check && .venv/bin/ruff format --check

format: $(PILA)
	.venv/bin/ruff check --fix && .venv/bin/ruff format

types: $(PILA)
	.venv/bin/pyright

check: lint types test  ## what a pull request must pass

clean:
	rm -rf .venv out build dist .pytest_cache .ruff_cache .hypothesis
