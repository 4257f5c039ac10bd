# Two commands from a fresh clone, with python3, pip and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint fast long docs wheel tools board-report clean

demo: $(STAMP)
	$(BIN)/dfedge demo --out out/demo

test: lint
	$(BIN)/python -m pytest -n 2

fast: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m "not slow"

# The large counts, hours in all; what is done is not done again, and each writes its results.
LONG := strangers mutations kills power_loss run_store random_nets threads \
	harm harm_streams harm_optimisers harm_writers
EXPERIMENTS := examples/experiments

long: export OMP_NUM_THREADS ?= 1
long: $(LONG:%=out/long/%.done)
	$(BIN)/python $(EXPERIMENTS)/harm.py --report

out/long/harm.done: $(STAMP) .data
	$(BIN)/python $(EXPERIMENTS)/harm.py --cells 0:92
	mkdir -p $(@D) && touch $@

out/long/harm_%.done: out/long/harm.done
	$(BIN)/python $(EXPERIMENTS)/harm_$*.py
	touch $@

out/long/random_nets.done: $(STAMP)
	$(BIN)/python $(EXPERIMENTS)/random_nets.py
	mkdir -p $(@D) && touch $@

out/long/run_store.done: out/long/mcu/manifest.json
	$(BIN)/python $(EXPERIMENTS)/run_store.py out/long/mcu
	touch $@

out/long/%.done: out/long/bundle/manifest.json
	$(BIN)/python $(EXPERIMENTS)/$*.py out/long/bundle
	touch $@

out/long/bundle/manifest.json: $(STAMP)
	$(BIN)/dfedge train --qat --out out/long/run
	$(BIN)/dfedge calibrate out/long/run
	$(BIN)/dfedge export out/long/run --out $(@D) \
		--format onnx --format litert --format executorch --format c

out/long/mcu/manifest.json: $(STAMP)
	$(BIN)/dfedge train --net examples/mcu_net.toml --qat --out out/long/mcu-run
	$(BIN)/dfedge calibrate out/long/mcu-run
	$(BIN)/dfedge export out/long/mcu-run --out $(@D) --format c --target mps2-an386 --batch 1

# What a board did and how fast, on two boards in QEMU; docs/native.md says how on a real one.
BOARDS := mps2-an386 mps3-an547

board-report: $(BOARDS:%=out/board-report/%.txt)
	@cat $^
	@echo "Both are emulated. Lines of a real board: docs/native.md#a-real-board"

out/board-report/run/run.json: $(STAMP)
	$(BIN)/dfedge train --net examples/mcu_net.toml --qat --out $(@D)

out/board-report/%.txt: out/board-report/run/run.json
	$(BIN)/dfedge export $(<D) --format c --target $* --batch 1 --out $(@D)/$*
	cmake -S $(@D)/$*/c -B $(@D)/$*-build -DNET_MAIN=examples/report/main.c \
		-DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/$(@D)/$*/c/board/toolchain.cmake
	cmake --build $(@D)/$*-build
	qemu-system-arm -M $* -nographic -semihosting -icount shift=0 \
		-kernel $(@D)/$*-build/app 2> $@ || { cat $@; rm $@; false; }

.data:
	@echo "no .data: see the head of $(EXPERIMENTS)/harm.py" && false

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python tests/vocabulary.py

# The extra privacy without its dependencies: it asks for attrs < 24, coremltools (of ExecuTorch) for
# a newer one. Its RDP accountant runs with both.
PRIVACY := dp-accounting absl-py dm-tree wrapt

# torch first: its plain wheel is the CPU build here, and nothing may replace it afterwards.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[all,dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps $(PRIVACY)
	touch $@

# The site in out/site: opens from the disk; `python3 -m http.server -d out/site` also searches.
docs: export NO_MKDOCS_2_WARNING := 1
docs: $(VENV)/.docs
	$(BIN)/python -m mkdocs build --quiet

$(VENV)/.docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	touch $@

# Wheel and sdist in dist/, and README's first quick start with the wheel in an empty environment.
wheel: $(STAMP)
	rm -rf dist out/wheel
	$(BIN)/python -m build
	$(PYTHON) -m venv out/wheel
	out/wheel/bin/python -m pip install --quiet -c constraints.txt torch
	out/wheel/bin/python -m pip install --quiet -c constraints.txt "$$(echo dist/*.whl)[train,onnx,images]"
	DFEDGE_BIN=out/wheel/bin $(BIN)/python -m pytest -n 0 tests/test_quick_starts.py -k "photos or python"

# For the C sources: a compiler, CMake, and the processors that tests emulate (Debian, as root).
TOOLS := gcc g++ libc6-dev cmake make \
	qemu-system-arm gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-user \
	gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-riscv64-linux-gnu libc6-dev-riscv64-cross \
	gcc-s390x-linux-gnu libc6-dev-s390x-cross \
	gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc

tools:
	dpkg -s $(TOOLS) >/dev/null 2>&1 || { apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends $(TOOLS); }

clean:
	rm -rf $(VENV) out build dist
