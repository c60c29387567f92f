#!/usr/bin/env bash
# Configures and builds the compiler into build/: bin/espmm-opt, bin/espmm-translate, lib/libespmm.so; and lib/libespmm_torch.so and
# lib/libespmm_torch_autograd.so, the operators for torch, where the Python of .venv has torch.
#
#   JOBS=N         compilations at a time (default: one a processor)
#   BUILD_DIR=DIR  where to build (default: build)
#   LLVM_PREFIX    LLVM 22 and MLIR 22 (default: /usr/lib/llvm-22, Debian's)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

use_checkout

configuration=(
  -G Ninja
  -DCMAKE_BUILD_TYPE=Release
  -DCMAKE_C_COMPILER="$LLVM_PREFIX/bin/clang"
  -DCMAKE_CXX_COMPILER="$LLVM_PREFIX/bin/clang++"
  -DMLIR_DIR="$LLVM_PREFIX/lib/cmake/mlir"
  -DPython3_EXECUTABLE="$VENV/bin/python"
)
if command -v ccache >/dev/null; then
  configuration+=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
fi

STAMP="$BUILD_DIR/.configuration"

configure() {
  cmake -S "$ROOT" -B "$BUILD_DIR" "${configuration[@]}" | sed -u 's/^/    /'
  printf '%s\n' "${configuration[@]}" > "$STAMP"
}

compile() { NINJA_STATUS='    [%f/%t %es] ' cmake --build "$BUILD_DIR" --parallel "$JOBS"; }

# Once configured, Ninja runs CMake by itself when a CMakeLists.txt changes.
if [ -f "$BUILD_DIR/build.ninja" ] && [ "$(cat "$STAMP" 2>/dev/null)" = "$(printf '%s\n' "${configuration[@]}")" ]; then
  skip "Configuring" "$BUILD_DIR is configured already"
else
  step "Configuring $BUILD_DIR (LLVM and MLIR from $LLVM_PREFIX)" configure
fi
step "Building with $JOBS compilations at a time (from nothing: several minutes)" compile
for product in bin/espmm-opt bin/espmm-translate lib/libespmm.so; do
  [ -e "$BUILD_DIR/$product" ] || fail "the build ended without $BUILD_DIR/$product"
done
[ -e "$BUILD_DIR/lib/libespmm_torch.so" ] ||
  say "    without lib/libespmm_torch.so: $VENV has no torch 2.10 or later (install it, remove $STAMP, and build again)"
