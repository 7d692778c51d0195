# Entry points; each is a line of ordinary commands. `make` builds .venv, `make demo` runs the main job.
PYTHON ?= python3
# The demo's prompt is found by a rule, not picked: the first of the showcase's captions (worded as in
# training) on which, from the noise of `pila generate --seed 0`, the frozen clip breaks a law and
# PILA's obeys all. `make showcase` finds it anew: "demo" in docs/showcase.json.
PROMPT ?= a rectangular tank with deep purple water that swings gently from the left
OUT ?= out/demo
PILA := .venv/bin/pila

.DEFAULT_GOAL := $(PILA)
.PHONY: demo strip pictures showcase page-picture docs site smoke test torture lint format types check
.PHONY: clean
.PHONY: embedded embedded-vae embedded-text embedded-generator embedded-adapter embedded-controls

# A .venv is kept where it is whole and its Python is one of these, and PYTHON's where that is given.
VERSIONS := 3.11 3.12 3.13
version = $(shell $(1) -c 'import sys$(2); print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
comma := ,
OWN = $(call version,.venv/bin/python,$(comma) pip)
GIVEN = $(call version,$(PYTHON))
WANTED := $(VERSIONS)
ifneq ($(origin PYTHON),file)
WANTED := $(GIVEN)
ifneq ($(GIVEN),$(OWN))
.PHONY: $(PILA)
endif
endif
KEPT = $(filter $(WANTED),$(filter $(VERSIONS),$(OWN)))

# The console script is the stamp: pip writes it last, so a broken install is tried again.
$(PILA): pyproject.toml constraints.txt
	@$(if $(KEPT)$(filter $(VERSIONS),$(GIVEN)),:,echo "$(PYTHON) is $(if $(GIVEN),Python $(GIVEN),no Python that runs); pila takes one of $(VERSIONS): make PYTHON=python3.12, say" >&2; exit 1)
	@echo "== building .venv (PyTorch is the large download; once)"
	$(if $(KEPT),,$(PYTHON) -m venv --clear .venv)
	.venv/bin/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev]'
	@touch $@
	@echo "== .venv is ready: $(PILA) --help"

demo: $(PILA)  ## a prompt to two clips, frozen and corrected, and both beside each other
	$(PILA) generate "$(PROMPT)" --compare --explain $(OUT)/explain --output $(OUT)/pila.mp4

strip: demo  ## frames of the demo's own clips, as a picture
	cp $(OUT)/explain/strip.png docs/strip.png

showcase: $(PILA)  ## the moving picture, chosen by the rule in docs/showcase.json, and the demo's prompt
	.venv/bin/python -m pila.lab.experiments.showcase

# Charts of experiments are drawn with their tables: `pila experiment NAME`.
pictures: showcase strip  ## every picture under docs/ that needs no browser; nothing is trained
	.venv/bin/python benchmarks/scaling.py --rows $(lastword $(sort $(wildcard benchmarks/results/scaling-*.json)))
	.venv/bin/python benchmarks/page_memory.py --rows $(lastword $(sort $(wildcard benchmarks/results/page-memory-*.json)))
	.venv/bin/python -m pila.lab.experiments.tables.summary
	$(PILA) diagnose routing embedded --output $(OUT)/diagnose
	$(PILA) diagnose correction embedded --scenes ball_collision hot_spot --output $(OUT)/diagnose
	cp $(OUT)/diagnose/routing-weights.png $(OUT)/diagnose/correction-where.png docs/diagnose/

page-picture: $(PILA)  ## docs/page.png: the page with the demo's prompt, by this machine's Chromium
	.venv/bin/python -m pila.web.screenshot "$(PROMPT)"

docs: $(PILA)  ## the pages and the table that derive from relations, scenes and commands
	.venv/bin/python -m pila.physics.catalogue
	.venv/bin/python -m pila.lab.world.catalogue
	.venv/bin/python -m pila.cli.reference

site: $(PILA)  ## the documentation as a site that opens from a file: out/site/index.html
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict

smoke: $(PILA)  ## the demo's job with few steps, into a folder of its own
	$(PILA) generate "$(PROMPT)" --compare --explain out/smoke/explain --output out/smoke/pila.mp4 --steps 3 --json

# One thread in each process: more would wait for one another.
test: $(PILA)  ## the whole suite, a process a core, eight at most; ARGS="-m 'not slow'" for the quick part
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n logical --maxprocesses 8 --dist loadfile $(ARGS)

torture: $(PILA)  ## kills, crash points, nonsense; some ten minutes; resumes; ARGS="--only kill" (docs/reliability.md)
	OMP_NUM_THREADS=1 .venv/bin/python -m tests.torture $(ARGS)

lint: $(PILA)
	.venv/bin/ruff check && .venv/bin/ruff format --check

format: $(PILA)
	.venv/bin/ruff check --fix && .venv/bin/ruff format

types: $(PILA)
	.venv/bin/pyright

check: lint types test  ## what a pull request must pass

# The embedded model anew, in the order in which each part needs the one before. Hours on two CPU
# cores; neither `demo` nor `test` runs it. Each step resumes where it was stopped, and only a
# finished one is copied into the package; `rm -r runs/embedded` starts over.
RUNS ?= runs/embedded
ASSETS := src/pila/assets
COPY = mkdir -p $(dir $(2)) && rm -rf $(2) && cp -r $(1) $(2)

embedded: embedded-adapter embedded-controls  ## train everything in src/pila/assets, and the controls into runs/

embedded-vae: $(PILA)
	$(PILA) train embedded-vae --output $(RUNS)/vae-first
	$(call COPY,$(RUNS)/vae-first/vae,$(ASSETS)/embedded/vae)
	$(PILA) train embedded-vae-small --output $(RUNS)/vae
	$(call COPY,$(RUNS)/vae/vae,$(ASSETS)/embedded/vae)

embedded-text: $(PILA)
	$(PILA) train embedded-text --output $(RUNS)/text
	$(call COPY,$(RUNS)/text/parts/text_encoder,$(ASSETS)/embedded/text_encoder)
	$(call COPY,$(RUNS)/text/parts/tokenizer,$(ASSETS)/embedded/tokenizer)

embedded-generator: embedded-vae embedded-text
	$(PILA) train embedded-generator --output $(RUNS)/generator
	$(call COPY,$(RUNS)/generator/model/transformer,$(ASSETS)/embedded/transformer)
	$(call COPY,$(RUNS)/generator/model/scheduler,$(ASSETS)/embedded/scheduler)
	cp $(RUNS)/generator/model/model_index.json $(RUNS)/generator/model/pila.json $(ASSETS)/embedded/
	$(PILA) train embedded-generator-fine --output $(RUNS)/generator-fine
	$(call COPY,$(RUNS)/generator-fine/model/transformer,$(ASSETS)/embedded/transformer)
	$(PILA) train embedded-generator-deep --steps 600 --output $(RUNS)/generator-deep
	$(call COPY,$(RUNS)/generator-deep/model/transformer,$(ASSETS)/embedded/transformer)
	$(PILA) train embedded-generator-deep --output $(RUNS)/generator-deeper
	$(call COPY,$(RUNS)/generator-deeper/model/transformer,$(ASSETS)/embedded/transformer)
	$(PILA) train embedded-generator-even --output $(RUNS)/generator-even
	$(call COPY,$(RUNS)/generator-even/model/transformer,$(ASSETS)/embedded/transformer)
	cp $(RUNS)/generator-even/model/pila.json $(ASSETS)/embedded/

embedded-adapter: embedded-generator  ## all three stages, and what its scores are worth
	$(PILA) train embedded-long --output $(RUNS)/adapter
	$(call COPY,$(RUNS)/adapter/adapter,$(ASSETS)/adapter)
	$(PILA) experiment score --output $(RUNS)/score
	cp $(RUNS)/score/score.json $(ASSETS)/

embedded-controls: embedded-generator  ## adapters to compare with; they stay in runs/
	$(PILA) train embedded-couple-plain --output $(RUNS)/couple-plain
	$(PILA) train embedded-couple-mix --output $(RUNS)/couple-mix
	$(PILA) train embedded-prophy --output $(RUNS)/prophy
	$(PILA) train embedded-lora --output $(RUNS)/lora

clean:
	rm -rf .venv out build dist .pytest_cache .ruff_cache .hypothesis
