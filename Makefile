# make demo and make test need nothing but make, git and Debian 12: each installs what is missing, builds, and does its
# job. The work is in scripts/, one script a step; variables on the command line (JOBS=4 make build) reach them.
#
#   DEMO_FLAGS   for examples/carbon_forces.py    PYTHON    the interpreter of .venv
#   JOBS         compilations at a time           PYTHON311 CPython 3.11, for clients
#                                                 PYTHON312 CPython 3.12, for wheel-cp312

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help bootstrap build demo test test-all clients test-clients wheel wheel-cp312 clean

help:
	@echo 'make demo         run the carbon example: e3nn and espmm side by side (writes demo.png)'
	@echo 'make test         run every test'
	@echo 'make test-all     the same, with 2,000 random products instead of 200'
	@echo 'make clients      environments with MACE, NequIP and SevenNet, in .clients/'
	@echo 'make test-clients run the tests of their models'
	@echo 'make build        build the compiler into build/'
	@echo 'make wheel        write dist/espmm-*.whl, and check it in an empty environment of the Python at hand'
	@echo 'make wheel-cp312  the same, checked with CPython 3.12 (pyenv'"'"'s, or PYTHON312=)'
	@echo 'make clean        remove build/ and dist/ (.venv and .clients stay)'

bootstrap:
	@bash scripts/bootstrap.sh

build: bootstrap
	@bash scripts/build.sh

demo: build
	@bash scripts/demo.sh $(DEMO_FLAGS)

test: build
	@bash scripts/test.sh

test-all: build
	@ESPMM_EXAMPLES=2000 bash scripts/test.sh

clients:
	@bash scripts/clients.sh

test-clients: build clients
	@bash scripts/test_clients.sh

wheel: build
	@bash scripts/wheel.sh

wheel-cp312: build
	@bash scripts/wheel.sh 3.12

clean:
	@echo '==> Removing build/ and dist/'
	@rm -rf build dist
