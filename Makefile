# make demo and make test each set up all they need in .venv; nothing has to be installed by hand but Python and npm.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TYPING := build/typing/rvm_trt

RES ?= hd
PRECISION ?=
BACKEND ?= auto
GRAPH ?= core
CHECKPOINT ?=
SM ?=
CALIBRATION ?=
REPORT ?=
QUICK ?=
COMPARE ?=
SECONDS ?= 60

.PHONY: help setup demo test kernels test-gpu verify-schedule engine engines bench half picture report-picture parity docs reliability fuzz lint types format clean

help:
	@echo "make demo      set up, then matte a clip of a person: see build/demo/"
	@echo "make test      set up, then run the tests"
	@echo "make engine    build engines: RES=hd|4k|… [PRECISION=fp16|int8|fp32|bf16] [BACKEND=auto|tensorrt|tensorrt-rtx|cpu]"
	@echo "               [GRAPH=core|full] [SM=89,120] [CHECKPOINT=path] [CALIBRATION=clips] [REPORT=path]"
	@echo "make engines   HD and 4K, in FP16 and INT8"
	@echo "make bench     measure HD and 4K beside PyTorch, and write a report: see benchmarks/results/"
	@echo "               [QUICK=1] [COMPARE=old/result.json]"
	@echo "make parity    compare the exported graphs with PyTorch: CLIP=path CHECKPOINT=path"
	@echo "make half      prove FP16 on real frames: CLIPS='paths' CHECKPOINT=path"
	@echo "make docs      the guides and the reference as a site: see build/site/"
	@echo "make reliability  broken inputs, full disks, kills: writes docs/reliability.md (15 minutes)"
	@echo "make fuzz      everything that is read from outside, under atheris: [SECONDS=60] for each target"
	@echo "make kernels   compile the CUDA kernels for every architecture and look for spills (a minute, no GPU)"
	@echo "make test-gpu  the tests that need an NVIDIA GPU"
	@echo "make verify-schedule  prove the order of copies, kernels and states without a GPU [ENGINE=path]"
	@echo "make lint types format clean"

setup: $(READY)

$(READY): setup.cfg constraints.txt
	@echo "Setting up $(VENV) (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable ".[export,cpu,video,live,preview,rtx,cuda,bench,docs,dev]"
	@touch $(READY)

demo: $(READY)
	@$(BIN)/python -m rvm_trt.benchmarks.demo

test: $(READY)
	@$(BIN)/pytest -m "not gpu and not kernels" --numprocesses auto --dist loadfile --max-worker-restart 0

kernels: $(READY)
	@$(BIN)/pytest -m kernels

test-gpu: $(READY)
	@RVM_TRT_REQUIRE_GPU=1 $(BIN)/pytest -m gpu

verify-schedule: $(READY)
	@$(BIN)/python -m rvm_trt.runtime.verification check $(if $(ENGINE),--engine "$(ENGINE)")

BUILD = $(BIN)/rvm-trt build --graph "$(GRAPH)" --backend "$(BACKEND)" \
	$(if $(CHECKPOINT),--checkpoint "$(CHECKPOINT)") $(if $(SM),--sm "$(SM)") \
	$(if $(CALIBRATION),--calibration $(CALIBRATION))

engine: $(READY)
	@$(BUILD) --profile "$(RES)" $(if $(PRECISION),--precision "$(PRECISION)") $(if $(REPORT),--report "$(REPORT)")

engines: $(READY)
	@for precision in fp16 int8; do for res in hd 4k; do \
		$(BUILD) --profile $$res --precision $$precision && echo || exit 1; \
	done; done

bench: $(READY)
	@$(BIN)/rvm-trt bench $(if $(CHECKPOINT),--checkpoint "$(CHECKPOINT)") $(if $(QUICK),--quick) \
		$(if $(COMPARE),--compare "$(COMPARE)")

report-picture: $(READY)
	@$(BIN)/python -m rvm_trt.benchmarks.report_screenshot

parity: $(READY)
	@$(BIN)/python -m rvm_trt.benchmarks.parity_report "$(CLIP)" --checkpoint "$(CHECKPOINT)"

half: $(READY)
	@$(BIN)/python -m rvm_trt.benchmarks.half_report $(CLIPS) $(if $(CHECKPOINT),--checkpoint "$(CHECKPOINT)")

picture: $(READY)
	@$(BIN)/python -m rvm_trt.benchmarks.picture

docs: $(READY)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "build/site/index.html; external links: build/site/external-links.txt"

reliability: $(READY)
	@$(BIN)/python -m rvm_trt.benchmarks.reliability

fuzz: $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt atheris
	@nice -n 19 $(BIN)/python tests/fuzz --seconds $(SECONDS)

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

# The import name rvm_trt is spread over folders at the root; the type checker needs to see them as one package.
types: $(READY)
	@rm -rf $(TYPING) && mkdir -p $(TYPING)
	@for path in rvm_trt/*; do ln -s "$(CURDIR)/$$path" "$(TYPING)/"; done
	@for name in export engines runtime benchmarks; do ln -s "$(CURDIR)/$$name" "$(TYPING)/$$name"; done
	@$(BIN)/mypy

format: $(READY)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
