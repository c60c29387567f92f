#!/usr/bin/env bash
# Runs every test: the unit tests (ctest), the compiler's (lit), and Python's with the README's and the wheel's (pytest).
# All three run even if one fails; the summary and the exit status are of all. The last line is 'N passed, N failed, N skipped'.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

use_checkout
REPORTS="$BUILD_DIR/test-reports"
# The release of NVIDIA's compiler whose ptxas is used where the machine has none.
PTXAS_PACKAGE="nvidia-cuda-nvcc==13.0.88"

install_ptxas() {
  # Without its dependencies: ptxas stands alone.
  python -m pip install --disable-pip-version-check --no-input -q --no-deps "$PTXAS_PACKAGE"
  ln -sf "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia/cu13/bin/ptxas" "$VENV/bin/ptxas"
  ptxas --version >/dev/null
}

if ! command -v ptxas >/dev/null; then
  step "Installing ptxas into $VENV (from the PyPI package $PTXAS_PACKAGE)" install_ptxas
fi

unit_tests() { ctest --test-dir "$BUILD_DIR" --no-tests=error --output-on-failure --output-junit "$REPORTS/unit.xml"; }
lit_tests() { lit -sv --xunit-xml-output "$REPORTS/lit.xml" "$BUILD_DIR/test"; }
# A process a core, at most 8: most tests keep one core busy. A test that hangs is stopped and fails, with the stacks of its threads; the longest takes some two
# minutes.
python_tests() {
  local processes=$(($(nproc) > 8 ? 8 : $(nproc)))
  pytest -q --timeout=600 --durations=10 -n "$processes" --dist worksteal --junit-xml "$REPORTS/pytest.xml" test/python test/readme test/wheel
}

rm -rf "$REPORTS"
mkdir -p "$REPORTS"
attempt "Unit tests of the C++ libraries (ctest)" unit_tests
attempt "Tests of the compiler (lit)" lit_tests
attempt "Tests of the Python package, the README and the wheel (pytest)" python_tests
if [ -s "$REPORTS/spills.txt" ]; then
  say "==> Kernels of the benchmark that spill registers (ptxas; a thread's bytes, and how many test_ptx.py allows)"
  sed 's/^/    /' "$REPORTS/spills.txt"
fi
# Fails if a test failed, or if a runner ended without a report.
python scripts/test_summary.py "$REPORTS/unit.xml" "$REPORTS/lit.xml" "$REPORTS/pytest.xml"
[ "$failures" -eq 0 ] || fail "a test runner failed although every test in its report passed"
