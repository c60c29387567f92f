"""Tests of the compiler: .mlir and .test files whose RUN line is the test.

Run over the build folder, which says where the tools are: `lit -v build/test`, or one file of it,
`lit -v build/test/Dialect/Equivariant/canonicalize.mlir`.
"""

import os
import shutil

import lit.formats

config.name = "espmm"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.binary_root, "test")
# These are pytest's and ctest's.
config.excludes = ["python", "readme", "unit", "wheel", "Inputs"]

config.environment["PATH"] = os.pathsep.join(
    [os.path.join(config.binary_root, "bin"), config.llvm_tools_dir, os.path.dirname(config.python), os.environ["PATH"]]
)
for name in ("HOME", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES"):
    if name in os.environ:
        config.environment[name] = os.environ[name]
# FileCheck prints what it compared with when a test fails.
config.environment["FILECHECK_OPTS"] = "--dump-input-filter=all --allow-unused-prefixes=false"

config.substitutions += [
    ("%source_root", config.source_root),
    ("%binary_root", config.binary_root),
    ("%llvm_include", config.llvm_include_dir),
    ("%python", config.python),
]

if os.path.exists("/dev/nvidia0"):
    config.available_features.add("cuda")
if shutil.which("ptxas", path=config.environment["PATH"]):
    config.available_features.add("ptxas")
