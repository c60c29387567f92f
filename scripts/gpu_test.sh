#!/usr/bin/env bash
# Tests and benchmark on a machine that has a GPU and Python with torch, but no build tools and perhaps no network. Takes the
# wheel that `make wheel-cp312` wrote elsewhere (copy dist/ and this repository there).
#
#   bash scripts/gpu_test.sh [--wheels FOLDER] [--clients FOLDER] [--tests-only | --bench-only | --sanitize] [-- ARGUMENTS]
#
#   --wheels FOLDER  the wheels to install (default: dist): espmm's, and of pytest, hypothesis, e3nn, tqdm and what they
#                    need those that the machine has not; pytest-xdist and execnet, if tests are to run side by side
#   --clients FOLDER the tests of clients' models too (test/clients): FOLDER has a folder for each, such as `mace`, with what
#                    `pip install --target` puts there for it and this machine lacks (e3nn 0.4.4 for MACE); espmm's wheels come after it
#   --tests-only     no benchmark
#   --bench-only     no tests; ARGUMENTS go to `python -m espmm bench` (default: --suite all)
#   --sanitize       a sample of every schedule under compute-sanitizer (memcheck, racecheck, initcheck, synccheck), and
#                    nothing else
#
# Everything is installed into a folder that goes away at the end. Results are written to $OUT (default: gpu-results).
# PYTHON is the interpreter (default: python3).
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

PYTHON="${PYTHON:-python3}"
OUT="${OUT:-gpu-results}"
wheels="dist"
clients=""
parts="tests bench"
while [ $# -gt 0 ]; do
  case "$1" in
    --wheels)
      [ $# -ge 2 ] || fail "--wheels needs a folder"
      wheels="$2"
      shift
      ;;
    --clients)
      [ $# -ge 2 ] || fail "--clients needs a folder"
      clients="$2"
      shift
      ;;
    --tests-only) parts="tests" ;;
    --bench-only) parts="bench" ;;
    --sanitize) parts="sanitize" ;;
    --help | -h)
      sed -n '2,/^source/{/^source/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    --)
      shift
      break
      ;;
    *) fail "unknown argument $1 (see --help)" ;;
  esac
  shift
done
bench_arguments=("$@")
[ "${#bench_arguments[@]}" -gt 0 ] || bench_arguments=(--suite all)

ls "$wheels"/espmm-*.whl >/dev/null 2>&1 || fail "no espmm-*.whl in $wheels: write it with 'make wheel-cp312' where the build tools are"
command -v "$PYTHON" >/dev/null || fail "no $PYTHON (PYTHON= names another)"

SITE="$(mktemp -d)"
trap 'rm -rf "$SITE"' EXIT
mkdir -p "$OUT"

install_wheels() {
  "$PYTHON" -m pip install -q --disable-pip-version-check --no-index --no-deps --no-compile --upgrade --target "$SITE" "$wheels"/*.whl
}
step "Installing $(ls "$wheels"/*.whl | wc -l) wheels from $wheels into a temporary folder" install_wheels
export PYTHONPATH="$SITE"
# What an older build left on this machine is not what is tested.
export ESPMM_CACHE_DIR="$SITE/cache"

check_machine() {
  "$PYTHON" - "$SITE" <<'PY'
import importlib.util, pathlib, sys
missing = [name for name in ("torch", "numpy", "e3nn", "pytest", "hypothesis", "tqdm") if importlib.util.find_spec(name) is None]
if missing:
    sys.exit(f"error: this Python has no {', '.join(missing)}: put the wheels beside espmm's")
import torch
if not torch.cuda.is_available():
    sys.exit(f"error: torch {torch.__version__} sees no GPU")
import espmm
if not pathlib.Path(espmm.__file__).is_relative_to(sys.argv[1]):
    sys.exit(f"error: espmm was imported from {espmm.__file__}, not from the wheel")
print(f"    {torch.cuda.get_device_name()}, Python {sys.version.split()[0]}, torch {torch.__version__}, espmm {espmm.__version__}")
PY
}
step "Looking at the machine" check_machine
"$PYTHON" -m espmm info | tee "$OUT/info.txt"

# The wheel, not the checkout's python/, is what is imported: the name of the report, PYTHONPATH, the folder of tests.
pytest_cuda() {
  PYTHONPATH="$2" "$PYTHON" -m pytest -q -m cuda -o pythonpath="$3" -p no:cacheprovider --durations=10 \
    ${parallel[@]+"${parallel[@]}"} --junit-xml "$OUT/$1.xml" "$3" | tee "$OUT/$1.txt"
}
# Compiling takes most of the time: with pytest-xdist as many processes as have two cores each, at most 8.
parallel=()
processes=$(($(nproc) / 2))
if "$PYTHON" -c "import xdist" 2>/dev/null; then
  parallel=(-n "$((processes < 1 ? 1 : processes > 8 ? 8 : processes))")
fi
gpu_tests() { pytest_cuda tests "$SITE" test/python; }
client_tests() { pytest_cuda "tests-$1" "$clients/$1:$SITE" test/clients; }
gpu_bench() { "$PYTHON" -m espmm bench --device cuda --json "$OUT/bench.json" "${bench_arguments[@]}" | tee "$OUT/bench.txt"; }
gpu_sanitize() {
  # Each tensor an allocation of its own: in torch's pools the sanitizer sees neither what is written past one's end nor what nobody wrote.
  export PYTORCH_NO_CUDA_MEMORY_CACHING=1
  local tool
  for tool in memcheck racecheck initcheck synccheck; do
    say "    $tool"
    compute-sanitizer --tool "$tool" --error-exitcode 9 "$PYTHON" scripts/sanitize_sample.py 2>&1 | tee -a "$OUT/sanitize.txt" || return
  done
}

for part in $parts; do
  case "$part" in
    tests)
      attempt "Tests on the GPU (pytest -m cuda)" gpu_tests
      for client in ${clients:+"$clients"/*/}; do
        client="$(basename "$client")"
        attempt "Tests of $client's models on the GPU" client_tests "$client"
      done
      ;;
    bench) attempt "Benchmark on the GPU" gpu_bench ;;
    sanitize) attempt "A sample of every schedule under compute-sanitizer" gpu_sanitize ;;
  esac
done
say "==> Results are in $OUT:"
ls -l "$OUT"
[ "$failures" -eq 0 ] || fail "$failures of these steps failed: $parts"
