# make install      an environment in .venv with everything pinned by constraints.txt
# make quickstart   the main job: DATA=<RAVDESS folder, class-per-folder tree or CSV> (default: built-in
#                   synthetic corpus), MINUTES=<budget>, OUTPUT=<folder>, MAP="field=COLUMN ..."
# make test         the tests;  make lint   style and types

EXTRAS = benchmarks,dev
STAMP = .venv/.installed-$(subst $(comma),-,$(EXTRAS))
comma := ,
PY = .venv/bin/python

.PHONY: install quickstart test lint clean
install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@found=; for candidate in python3.13 python3.12 python3.11 python3.14 python3 python; do \
	  if $$candidate -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null; then \
	    found=$$candidate; break; fi; done; \
	if [ -z "$$found" ]; then echo "error: no Python 3.11 to 3.14 found: install one (for example: apt-get install python3)" >&2; exit 2; fi; \
	if ! $$found -c 'import ensurepip, venv' 2>/dev/null; then echo "error: $$found has no venv: install it (for example: apt-get install $$found-venv)" >&2; exit 2; fi; \
	echo "installing into .venv with $$found (some 3 GB, a few minutes the first time)"; \
	[ -x $(PY) ] || $$found -m venv .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$(EXTRAS)]"
	@touch $@

quickstart: install
	@$(PY) -m ssl_audio quickstart $(if $(DATA),--data "$(DATA)") $(if $(MINUTES),--minutes $(MINUTES)) $(if $(OUTPUT),--output "$(OUTPUT)") $(foreach item,$(MAP),--map "$(item)")

test: install
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --dist loadfile

lint: install
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy

clean:
	rm -rf .venv build dist *.egg-info
