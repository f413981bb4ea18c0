# make demo    environment, embedded data, all trainings, evaluation, report
# make test    environment, then the tests
# make check   formatting, lint, types
# make faults  the tests on two kinds of SLURM of their own, one by one: root, and Debian's slurmctld slurmd
#              slurm-client; for the kind with accounting and control groups also munge slurmdbd mariadb-server.
#              FAULTS="-k cancelled" runs some of them, SLURM_TEST_KINDS=real those on one kind of cluster,
#              SLURM_TEST_PATIENCE=3 waits longer on a slow machine
# make install the environment alone
# make docs    the documentation site, in build/site; with the demo's report where make demo has made it
# make links   the external links of the documentation
# make package sdist and wheel in build/dist, their metadata checked
#
# VENV names the environment: .venv here, or one that exists already (make demo VENV=$CONDA_PREFIX).
# TOOLS names another environment, which docs, links and package make for themselves.
# TORCH_INDEX names an index of wheels with another build of the pinned torch than pip's own index has, such as one for
# an older driver (docs/how-to/gpu-environment.md): make install TORCH_INDEX=https://...

PYTHON ?= python3.11
VENV ?= .venv
TOOLS ?= .venv-tools
# A folder may have spaces in its name: $(abspath ...) and targets would take its words for several
BIN := $(if $(filter /%,$(firstword $(VENV))),$(VENV),$(CURDIR)/$(VENV))/bin
# CFLAGS replace Python's own, its -O with them
MMCV_FLAGS := -O2 -DNDEBUG -g0 -w $(CFLAGS)
SPACE := $() $()
STAMP := $(subst $(SPACE),\$(SPACE),$(VENV))/.installed
# A build has a label behind its version, which pip prefers: 2.13.0+cu126 to 2.13.0
TORCH_FROM := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
# pip keeps what it compiled without a word about the torch and the GPUs that it was compiled for
MMCV_CACHE := $(if $(TORCH_INDEX)$(FORCE_CUDA),--no-cache-dir)
EXPERIMENT := results/mini/experiment.yaml
SOURCES := gumbel tests benchmarks configs
export PATH := $(BIN):$(PATH)

.PHONY: demo test faults check install docs links package prerequisites

demo: $(STAMP)
	@mkdir -p .snakemake
	@exec 9>.snakemake/demo.lock; \
	if ! flock --nonblock 9; then \
	  echo "Expected no other run in this folder, found one, or a training that it left behind. Wait for it, or stop it."; \
	  exit 1; \
	fi; \
	snakemake --unlock --quiet all >/dev/null 2>&1; \
	echo "The matrix: 15 trainings of tiny models on embedded data, two at a time. About 20 minutes on 2 cores."; \
	snakemake --quiet rules -- reports/summary.html && \
	python -m gumbel headline --experiment $(EXPERIMENT) && \
	echo "The report: $(CURDIR)/reports/summary.html"

test: $(STAMP)
	python -m pytest

faults: $(STAMP)
	SLURM_TESTS=1 python -m pytest --numprocesses 0 tests/slurm $(FAULTS)

check: $(STAMP)
	ruff format --check $(SOURCES)
	ruff check $(SOURCES)
	snakefmt --check Snakefile workflow
	mypy
	snakemake --lint

install: $(STAMP)

docs: $(TOOLS)/.installed
	$(TOOLS)/bin/python -m sphinx -q -W --keep-going -b html docs build/site
	@echo "The site: $(CURDIR)/build/site/index.html"

links: $(TOOLS)/.installed
	$(TOOLS)/bin/python -m sphinx -q -b linkcheck docs build/links

package: $(TOOLS)/.installed
	@rm -rf build/dist
	$(TOOLS)/bin/python -m build --outdir build/dist .
	$(TOOLS)/bin/python -m twine check --strict build/dist/*

$(TOOLS)/.installed: pyproject.toml requirements.txt
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(TOOLS)/bin/python -m pip install --quiet --constraint requirements.txt $(TORCH_FROM) torch \
	  --group docs --group package
	@touch $@

$(STAMP): requirements.txt pyproject.toml | prerequisites
	@test -x "$(BIN)/python" || "$(PYTHON)" -m venv "$(VENV)"
	@echo "1/3  torch (a CUDA build of several GB, unless pip is pointed at a CPU build of the same version)"
	@"$(BIN)/python" -m pip install --quiet --constraint requirements.txt $(TORCH_FROM) torch setuptools wheel ninja psutil numpy
	@echo "2/3  mmcv's operators are compiled once: 2 minutes on two cores, 5 on a slow machine; pip keeps the result"
# Three quarters of the time would go into reading torch's headers, 77 times: they are precompiled. A compiler that
# can't use the precompiled file reads the header beside it. Compilers split flags at spaces: the environment gets a
# name without any.
	@place=$$(mktemp -d) && trap "rm -rf '$$place'" EXIT && ln -s "$(BIN)/.." $$place/venv && \
	python=$$place/venv/bin/python header=$$place/torch_types.h; \
	echo '#include <torch/types.h>' > $$header; \
	$(CXX) $(MMCV_FLAGS) -fPIC -std=c++17 -x c++-header $$header -o $$header.gch \
	  $$($$python -c 'from torch.utils.cpp_extension import include_paths; print(*("-I" + path for path in include_paths()))') || true; \
	MMCV_WITH_OPS=1 CFLAGS="$(MMCV_FLAGS) -include $$header" MAX_JOBS=$${MAX_JOBS:-$$(nproc)} $$python -m pip install --quiet \
	  --no-build-isolation --no-deps $(MMCV_CACHE) $$(grep '^mmcv==' requirements.txt)
	@echo "3/3  everything else"
	@"$(BIN)/python" -m pip install --quiet --no-build-isolation --no-deps --requirement requirements.txt
	@"$(BIN)/python" -m pip install --quiet --no-build-isolation --no-deps --editable .
	@"$(BIN)/python" -c "from mmcv.ops import nms"
	@"$(BIN)/python" -m gumbel.evaluation.compiled
	@touch "$(VENV)/.installed"

prerequisites:
	@missing=; \
	say() { missing=1; echo "missing: $$1"; echo "  get it: $$2"; }; \
	test -x "$(BIN)/python" || "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || \
	  say "Python 3.11 ($(PYTHON))" "Debian 12: apt-get install python3.11 python3.11-venv python3.11-dev; or make PYTHON=/path/to/python3.11"; \
	test -x "$(BIN)/python" || ! "$(PYTHON)" -c '' 2>/dev/null || "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
	  say "Python's venv module" "Debian: apt-get install python3.11-venv"; \
	! "$(PYTHON)" -c '' 2>/dev/null || \
	  "$(PYTHON)" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || \
	  say "Python's headers" "Debian: apt-get install python3.11-dev"; \
	command -v c++ >/dev/null || command -v g++ >/dev/null || \
	  say "a C++ compiler" "Debian: apt-get install g++"; \
	command -v flock >/dev/null || \
	  say "flock" "Debian: apt-get install util-linux"; \
	test -z "$$missing"
