# From a fresh clone: `make demo` shows it at work, `make test` checks everything. Both prepare what they need,
# the first time with Debian's packages and a virtual environment in .venv, and `make help` names the others.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# To a person pip shows its progress. What setuptools has to say about every editable installation is left out.
PIP     = PYTHONWARNINGS=ignore::UserWarning $(BIN)/python -m pip install $$([ -t 1 ] || echo -q)

# One shell a recipe, which ends at its first failure.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test check bench picture install uninstall runtime develop venv system clean

help:
	@cat <<-END
	make demo      watch the whole chain at work on a virtual slide
	make test      ruff, mypy and every test
	make check     ruff and mypy alone
	make bench     measure the throughput of classify against what this machine can do
	make picture   draw the README's picture anew, docs/demo.png
	make runtime   the program alone: $(BIN)/leukoscope
	make develop   the program, and what training, converting and testing need
	make clean     remove $(VENV) and what the tools leave behind

	On the device, as root (with sudo), see docs/operation.md:
	make install     the program in /opt/leukoscope, and its two services
	make uninstall   both away again; what was counted and configured stays
	DRY_RUN=1 says what they would do, DESTDIR=DIR does it below a folder.

	Another Python than python3 (3.11 to 3.13): make test PYTHON=python3.12
	END

demo: runtime
	@$(BIN)/leukoscope demo

test: check
	@$(BIN)/python -m pytest -q --durations=10 --timeout=600

check: develop
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: develop
	@$(BIN)/python bench/throughput.py

# Eight of the fields that a demonstration keeps, on a slide that shows all five kinds.
picture: runtime
	@$(BIN)/leukoscope demo --seed 5 --picture $(BIN)/fields.png > /dev/null
	$(BIN)/python - <<-END
	from PIL import Image
	rows = Image.open("$(BIN)/fields.png").crop((0, 480, 2560, 1440)).resize((1280, 480), Image.Resampling.LANCZOS)
	rows.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save("docs/demo.png", optimize=True)
	END

# The files .runtime and .develop in the environment say that an installation was finished.

runtime: venv
	@if [ ! $(BIN)/.runtime -nt setup.py ]; then
	    echo "Installing leukoscope and the packages that it runs on into $(VENV)."
	    $(PIP) -e ".[dashboard]"
	    touch $(BIN)/.runtime
	fi

# TensorFlow has wheels for 64-bit Linux alone; without it the tests of training and conversion are skipped.
develop: venv
	@if [ ! $(BIN)/.develop -nt setup.py ]; then
	    extras=dev
	    if $(BIN)/python -c 'import platform, sys; sys.exit(
	            sys.maxsize < 2**32 or platform.machine() not in ("x86_64", "aarch64"))'; then
	        extras=dev,convert
	        echo "Installing leukoscope, its tools and TensorFlow (2 GB) into $(VENV): some minutes."
	    else
	        echo "Installing leukoscope and its tools into $(VENV). TensorFlow has no wheel for this machine."
	    fi
	    $(PIP) -e ".[$$extras]"
	    touch $(BIN)/.runtime $(BIN)/.develop
	fi

# picamera2 is a package of the system, and only a virtual environment that looks there finds it.
venv: system
	@options=
	if dpkg -s python3-picamera2 > /dev/null 2>&1; then options=--system-site-packages; fi
	made=$(BIN)/.made-$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')$$options
	if [ ! -e $$made ]; then
	    echo "Making $(VENV) with $$($(PYTHON) --version)."
	    $(PYTHON) -m venv --clear $$options $(VENV)
	    $(PIP) --upgrade pip
	    touch $$made
	fi

system:
	@missing=()
	if ! command -v $(PYTHON) > /dev/null; then
	    if [ "$(PYTHON)" != python3 ]; then echo "There is no $(PYTHON) here." >&2; exit 1; fi
	    missing+=(python3-venv)
	else
	    if ! $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'; then
	        echo "leukoscope runs on Python 3.11 to 3.13, and $(PYTHON) is $$($(PYTHON) --version):" \
	            "name another one, as in PYTHON=python3.12." >&2
	        exit 1
	    fi
	    # Debian keeps the module that brings pip apart from Python.
	    $(PYTHON) -c 'import ensurepip' 2> /dev/null ||
	        missing+=($$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'))
	fi
	PATH=$$PATH:/usr/sbin:/usr/local/sbin command -v mosquitto > /dev/null || missing+=(mosquitto)
	command -v mosquitto_sub > /dev/null || missing+=(mosquitto-clients)
	# The tests open the dashboard's pages in it.
	if [ -n "$(filter test,$(MAKECMDGOALS))" ]; then
	    command -v chromium > /dev/null || missing+=(chromium)
	    compgen -G '/usr/lib/postgresql/*/bin/initdb' > /dev/null || command -v initdb > /dev/null || missing+=(postgresql)
	    command -v openssl > /dev/null || missing+=(openssl)
	fi
	if [ $${#missing[@]} -gt 0 ]; then
	    root=$$([ "$$(id -u)" = 0 ] || echo sudo)
	    if ! command -v apt-get > /dev/null || ! command -v $${root:-true} > /dev/null; then
	        echo "Please install these first, as root: apt-get install $${missing[*]}" >&2
	        echo "(or what your system has in place of apt-get and calls them)" >&2
	        exit 1
	    fi
	    echo "Installing Debian packages$${root:+ with sudo}: $${missing[*]}"
	    $$root apt-get update -q
	    $$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$${missing[@]}"
	fi

# The services.

install uninstall:
	@DESTDIR="$(DESTDIR)" PYTHON="$(PYTHON)" systemd/install.sh $@ $(if $(DRY_RUN),--dry-run)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
