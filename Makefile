# `make demo` and `make test` set everything up by themselves, in .venv; nothing else on the machine is changed.

PYTHON ?= python3
JOBS ?= 2
ROUNDS ?= 3
BIN := .venv/bin
DEMO := build/demo

.DEFAULT_GOAL := help
.PHONY: help demo test soak bench docs lint format clean

help:
	@echo "make demo    train on handwritten digits, evaluate, predict, and write a report (about 2 minutes)"
	@echo "make test    the linter, the type checker and all tests"
	@echo "make soak    the long tests: 40 killed runs, the coverage of intervals, 102,000 damaged annotations, exports with faults, 100,000 requests to a server and 50,000 hostile ones, predictions of a million images and by Ray, every test that has a long form in this form, two hosts (about two hours)"
	@echo "make bench   measure this project beside its peers (about two hours; nothing else should run)"
	@echo "make docs    build the documentation site into build/docs"
	@echo "make lint    the linter and the type checker only"
	@echo "make format  put the sources into the common form"
	@echo "make clean   remove what the demo wrote"

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --editable .
	touch $@

.venv/.installed-dev: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --editable '.[dev]'
	touch $@ .venv/.installed

.venv/.installed-docs: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --editable '.[docs]'
	touch $@ .venv/.installed

demo: .venv/.installed
	rm -rf $(DEMO)
	$(BIN)/resnets data get digits $(DEMO)/digits
	$(BIN)/resnets train $(DEMO)/digits --model cifar_resnet20 --imgsz 16 --epochs 40 --batch 32 \
	    --set augment.crop=random_resized --set augment.scale=0.7,1 --set augment.flip=0 --out $(DEMO) --name run
	$(BIN)/resnets evaluate $(DEMO)/run $(DEMO)/digits
	$(BIN)/resnets predict $(DEMO)/run $(DEMO)/digits/test/3/0098.png $(DEMO)/digits/test/5/0135.png $(DEMO)/digits/test/8/0028.png
	@echo "The report, a file for a browser: $(CURDIR)/$(DEMO)/run/report.html"

# The tests start hundreds of processes, which read what the first one compiled.
test: lint
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n $(JOBS) --dist worksteal

soak: .venv/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/soak/killed_runs.py --kills 40
	OMP_NUM_THREADS=1 $(BIN)/python tests/soak/coverage.py --trials 2000 --kinds uneven
	OMP_NUM_THREADS=1 $(BIN)/python tests/soak/coverage_of_groups.py
	OMP_NUM_THREADS=1 $(BIN)/python tests/soak/fuzz_annotations.py --count 17000
	OMP_NUM_THREADS=1 $(BIN)/python tests/soak/exports.py
	OMP_NUM_THREADS=1 $(BIN)/python tests/soak/preprocess_graphs.py
	OMP_NUM_THREADS=1 $(BIN)/python tests/soak/serving.py
	OMP_NUM_THREADS=1 $(BIN)/python tests/soak/hostile_clients.py
	OMP_NUM_THREADS=1 $(BIN)/python tests/soak/parts_on_ray.py
	OMP_NUM_THREADS=1 $(BIN)/python tests/soak/parts_memory.py
	PYTHONDONTWRITEBYTECODE= RESNETS_EVERY_SIZE=1 $(BIN)/pytest -n $(JOBS) --dist worksteal $$(grep -rlE 'IN_SOAK|only_in_soak' tests --include 'test_*.py')
	@if [ "$$(id -u)" = 0 ]; then $(BIN)/python tests/soak/two_hosts.py --kills 3; \
	else echo "two hosts were left out: network namespaces need root"; fi

build/peers/.installed: benchmarks/peers.txt
	$(PYTHON) -m venv build/peers
	build/peers/bin/python -m pip install --requirement benchmarks/peers.txt
	touch $@

# The peers on torch get the very torch that this project runs on; their other requirements stay out of .venv.
build/peers-torch/.installed: benchmarks/peers-torch.txt .venv/.installed-dev
	$(PYTHON) -m venv build/peers-torch
	$(BIN)/python -m pip freeze | grep -E '^(torch|torchvision)==' > build/same-torch.txt
	build/peers-torch/bin/python -m pip install --requirement benchmarks/peers-torch.txt --constraint build/same-torch.txt
	touch $@

bench: .venv/.installed-dev build/peers/.installed build/peers-torch/.installed
	$(BIN)/python -m pip install openvino
	$(BIN)/python benchmarks/run.py --rounds $(ROUNDS) $(if $(FLOWERS),--flowers $(FLOWERS)) $(if $(PENN_FUDAN),--penn-fudan $(PENN_FUDAN))

docs: .venv/.installed-docs
	$(BIN)/python docs/build_site.py
	@echo "The documentation, a file for a browser: $(CURDIR)/build/docs/index.html"

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers $(JOBS)

format: .venv/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(DEMO)
