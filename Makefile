# Everything a person or CI asks of this checkout. `make demo` and `make test` need Python 3.11 or newer and nothing else.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# torch: a folder of wheels if one is named, else the build that uv picks for this machine
TORCH := $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS),--torch-backend auto)
# bytecode is made once here: each notebook, kernel and worker is a process that imports much
INSTALL := $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python $(TORCH) --constraint constraints.txt
DEMO := demo
STORE := multimap-store
CLIENT := multimap_kernel/share/client
PROXY := $(VENV)/node/node_modules/.bin/configurable-http-proxy
export MULTIMAP_STORE ?= $(abspath $(STORE))

.PHONY: client demo hub lab test check test-line test-browser test-batch test-platform validate bench pictures lock clean

demo: $(VENV)/.demo  ## simulate two sessions, run the whole line over both, say where the results are
	@$(BIN)/multimap simulate $(DEMO)/bids --size demo --sessions 2
	@$(BIN)/multimap batch notebooks/session_report.ipynb $(DEMO)/bids --study demo --recipe notebooks/demo.yaml --jobs 2

lab: demo client  ## JupyterLab on the demo study
	@$(BIN)/multimap lab notebooks

hub: $(VENV)/.test $(VENV)/.proxy client  ## a JupyterHub on this machine: users alice, bob (group lab) and eve
	@mkdir -p hub && cd hub && echo "http://127.0.0.1:8000 with the password in hub/password" && \
	  MULTIMAP_HUB_FOLDER=. MULTIMAP_PROXY=../$(PROXY) ../$(BIN)/python -m jupyterhub -f ../helm/local/jupyterhub_config.py

test:  ## all tests, in parts, each with its time beside its budget
	@bash .ci/parts check test-line test-browser test-batch test-platform

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/nbstripout --verify notebooks/*.ipynb
	$(BIN)/pytest -q -n 2 --dist loadscope -m "not (line or browser or batch or platform)"
	@$(BIN)/python tests/science.py
test-line: $(VENV)/.test
	$(BIN)/pytest -q -m "line and not (browser or batch or platform)"
test-browser: $(VENV)/.test $(VENV)/.chromium client
	$(BIN)/pytest -q -m "browser and not platform"
test-batch: $(VENV)/.test $(VENV)/.chromium
	$(BIN)/pytest -q -m "batch and not (browser or platform)"
test-platform: $(VENV)/.test $(BIN)/helm $(VENV)/.proxy $(VENV)/.chromium client
	$(BIN)/pytest -q -m platform

validate: $(VENV)/.test  ## many seeds and large data; writes VALIDATION.md
	$(BIN)/python tests/validate/validate.py
bench: $(VENV)/.test $(VENV)/.chromium  ## paired with the peers; writes BENCHMARKS.md
	$(BIN)/python tests/bench/bench.py
	$(BIN)/python tests/bench/screen.py
	$(BIN)/python tests/bench/widget.py
pictures: $(VENV)/.test $(VENV)/.chromium demo  ## the pictures of the README, drawn from the demo study
	$(BIN)/python tests/pictures/pictures.py
	$(BIN)/python tests/pictures/screens.py

client: $(CLIENT)/dist/index.html  ## the static viewer that links are opened with, from npm

lock: $(BIN)/uv  ## resolve the pins again, without torch
	$(BIN)/uv pip compile --quiet --python-version 3.11 pyproject.toml --extra cloud --extra hub --extra lab --extra test --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --output-file constraints.txt

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit("multimap needs Python 3.11 or newer; name it: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/uv
	@echo "installing the pinned packages into $(VENV) (about 2 GB)"
	@$(INSTALL) --editable '.[train]'
	@$(BIN)/python -m multimap_kernel.kernelspec install >/dev/null
	@touch $@
$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/uv
	@echo "installing the pinned packages and the test tools into $(VENV)"
	@$(INSTALL) --editable '.[train,cloud,hub,test]'
	@$(BIN)/python -m multimap_kernel.kernelspec install >/dev/null
	@ln -sfn $(abspath multimap_kernel/share/button) $(VENV)/share/jupyter/labextensions/multimap
	@touch $@ $(VENV)/.demo
$(BIN)/helm: .ci/helm | $(VENV)/.test
	@$(BIN)/python .ci/helm $@
$(VENV)/.proxy:
	@command -v npm >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq npm >/dev/null; } \
	  || { echo "the tests of the hub need npm: install it, for instance apt-get install npm"; exit 1; }
	@npm install --silent --prefix $(VENV)/node configurable-http-proxy@5.2.0
	@touch $@
$(VENV)/.chromium:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } \
	  || { echo "the browser tests need chromium: install it, for instance apt-get install chromium"; exit 1; }
	@touch $@
# npm works in build/, so that the package holds nothing but our own files and what is made from them
$(CLIENT)/dist/index.html: $(addprefix $(CLIENT)/,package.json package-lock.json vite.config.js index.html)
	@command -v npm >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq npm >/dev/null; } \
	  || { echo "the client of links is made with npm: install it, for instance apt-get install npm"; exit 1; }
	@echo "building the viewer of links (about a minute)"
	@mkdir -p build/client && cp $^ build/client
	@cd build/client && npm ci --no-audit --no-fund --loglevel error && npm run --silent build -- --logLevel warn
	@rm -rf $(CLIENT)/dist && cp -r build/client/dist $(CLIENT)/dist

clean:
	rm -rf $(VENV) $(DEMO) $(STORE) build
