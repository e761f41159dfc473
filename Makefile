# Each target makes .venv with everything it needs if it is missing.
PYTHON ?= python3
VENV := .venv/.installed

.PHONY: demo test lint docs bench

demo: $(VENV)
	rm -rf demo_output
	.venv/bin/megavid demo -o demo_output

test: $(VENV)
	.venv/bin/python -m pytest -n auto --maxprocesses 8 --dist worksteal

lint: $(VENV)
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

docs: $(VENV)
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

bench: $(VENV)
	.venv/bin/python -m benchmarks.speed --plot docs/speed.png
	.venv/bin/python -m benchmarks.memory
	.venv/bin/python -m benchmarks.training
	.venv/bin/python -m benchmarks.scoring

$(VENV): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -c constraints.txt -e ".[dev]"
	touch $@
