"""Runs device code on the host, for tests where there is no GPU: its LLVM IR, with what it asks of a GPU replaced by calls of ``emulator/lanes.c``.

Threads run one after another from barrier to barrier, so races within such a span are not found, nor is anything of time or of registers. Buffers that a
kernel is to write begin as NaN, shared memory too; asynchronous copies arrive when they are waited for. A launch that another may overlap is run as late as may be: when the other's first thread waits for it, or has ended.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np
from espmm import _capi
from espmm.program import Program

_CALLS = {
    "read.ptx.sreg.tid.x": "tid_x",
    "read.ptx.sreg.tid.y": "tid_y",
    "read.ptx.sreg.ctaid.x": "ctaid_x",
    "shfl.sync.idx.i32": "shfl_idx_i32",
    "shfl.sync.bfly.i32": "shfl_bfly_i32",
    "shfl.sync.bfly.f32": "shfl_bfly_f32",
    "bar.warp.sync": "bar_warp",
    "barrier.cta.sync.aligned.all": "bar_block",
    "griddepcontrol.wait": "wait_for_grid",
    "griddepcontrol.launch.dependents": "launch_dependents",
    "cp.async.commit.group": "commit",
    "cp.async.wait.group": "wait",
    "f2tf32.rna": "f2tf32",
    "mma.m16n8k8.row.col.tf32": "mma_tf32",
    "mma.m16n8k4.row.col.tf32": "mma_half_tf32",
    "mma.m8n8k4.row.col.f64": "mma_f64",
}
#: Products of matrices give several numbers at once, which C hands over through memory.
_WRAPPERS = """
define {{ {results} }} @emu_mma_{name}({parameters}) {{
  %left = alloca [4 x {factor}]
  %right = alloca [2 x {factor}]
  %sums = alloca [4 x {element}]
{stores}  call void @emu_mma(ptr %left, ptr %right, ptr %sums, i32 {is_double}, i32 {halves})
{loads}  ret {{ {results} }} %r{count}
}}
"""


def _wrapper(name: str, element: str, factor: str, counts: Sequence[int]) -> str:
    """LLVM IR of a function of fragments that calls the emulator's product."""
    arrays = [("left", factor, counts[0]), ("right", factor, counts[1]), ("sums", element, counts[2])]
    places = [(array, kind, n) for array, kind, count in arrays for n in range(count)]
    stores = "".join(
        f"  %p{m} = getelementptr {kind}, ptr %{array}, i32 {n}\n  store {kind} %a{m}, ptr %p{m}\n" for m, (array, kind, n) in enumerate(places)
    )
    results, loads = ", ".join([element] * counts[2]), ""
    for n in range(counts[2]):
        before = f"%r{n}" if n else "poison"
        loads += f"  %q{n} = getelementptr {element}, ptr %sums, i32 {n}\n  %v{n} = load {element}, ptr %q{n}\n"
        loads += f"  %r{n + 1} = insertvalue {{ {results} }} {before}, {element} %v{n}, {n}\n"
    return _WRAPPERS.format(
        results=results, name=name, parameters=", ".join(f"{kind} %a{m}" for m, (_, kind, _) in enumerate(places)), factor=factor, element=element,
        stores=stores, loads=loads, is_double=int(element == "double"), halves=counts[1], count=counts[2],
    )  # fmt: skip


#: numpy has no bfloat16: such arrays are of their bits.
_DTYPES = {"f32": np.float32, "f64": np.float64, "bf16": np.uint16, "f16": np.float16}
_LLVM = {"f32": "float", "f64": "double", "b16": "i16", "b32": "i32"}


def clang() -> str | None:
    """The compiler, if there is one."""
    return shutil.which("clang-22") or shutil.which("clang")


def translate(ir: str) -> str:
    """Host IR for a device module."""
    declared: set[str] = set()

    def call(name: str, types: str, arguments: str) -> str:
        declared.add(f"declare void @emu_{name}({types})")
        return f"call void @emu_{name}({arguments})"

    def copy(match: re.Match) -> str:
        width, sized, arguments = match.groups()
        to, source, *size = arguments.split(", ")
        return call("copy", "ptr, ptr, i32, i32", f"{to}, {source}, i32 {width}, {size[0] if sized else f'i32 {width}'}")

    def assembly(match: re.Match) -> str:
        text, arguments = match.groups()
        values = arguments.split(", ") if arguments else []
        if found := re.match(r"cp\.async\.c[ag]\.shared\.global\.L2::cache_hint \[\$0\], \[\$1\], (\d+)(, \$3)?, \$2;", text):
            width = found[1]
            return call("copy", "ptr, ptr, i32, i32", f"{values[0]}, {values[1]}, i32 {width}, {values[3] if found[2] else f'i32 {width}'}")
        if found := re.match(r"(st\.global\.cs|red\.relaxed\.gpu\.global\.add)(?:\.v(\d))?\.(f32|f64|b16|b32) ", text):
            kind, count = "store" if found[1].startswith("st") else "add", int(found[2] or 1)
            return call(f"{kind}_{count}_{found[3]}", ", ".join(["ptr"] + [_LLVM[found[3]]] * count), ", ".join(values))
        raise ValueError(f"expected inline assembly of copies, stores or reductions, got {text}")

    ir = re.sub(r"^target .*\n", "", ir, flags=re.M)
    ir = re.sub(r" addrspace\([13]\)", "", ir).replace("ptx_kernel ", "").replace(" immarg", "")
    ir = re.sub(r"^declare void @llvm\.nvvm\.cp\.async\.c[ag].*\n", "", ir, flags=re.M)
    ir = re.sub(r'call i64 asm "createpolicy[^"]*", "=l"\(\)', "add i64 0, 0", ir)
    ir = re.sub(r'call ptr asm sideeffect "mov.b64 \$0, \$1;", "=l,l"\(ptr ([^()]*(?:\([^()]*\))?)\)', r"freeze ptr \1", ir)
    ir = re.sub(r'call i32 asm sideeffect "mov.b32 \$0, \$1;", "=r,r"\(i32 ([^()]*)\)', r"freeze i32 \1", ir)
    ir = re.sub(r"call void @llvm\.nvvm\.cp\.async\.c[ag]\.shared\.global\.(\d+)(\.s)?\(([^)]*)\)", copy, ir)
    ir = re.sub(r'call void asm sideeffect "([^"]*)", "[^"]*"\(([^)]*)\)', assembly, ir)
    ir = re.sub(r"@llvm\.nvvm\.([a-z0-9.]+)", lambda match: f"@emu_{_CALLS[match[1]]}", ir)
    for name, arguments in {"tf32": ("float", "i32", (4, 2, 4)), "half_tf32": ("float", "i32", (2, 1, 4)), "f64": ("double", "double", (1, 1, 2))}.items():
        if f"@emu_mma_{name}(" in ir:
            ir = re.sub(rf"^declare .*@emu_mma_{name}\(.*\n", "", ir, flags=re.M) + _wrapper(name, *arguments)
            declared.add("declare void @emu_mma(ptr, ptr, ptr, i32, i32)")
    return ir + "\n" + "\n".join(sorted(declared)) + "\n"


_FAILURES = {1: "wait for others that have ended", 2: "have ended without waiting for what they overlap"}


class EmulatedProgram:
    """A program compiled for a GPU, to run on the host.

    Args:
        text, pipeline: what to compile, and how.
        folder: where to build.
    """

    @classmethod
    def of(cls, program: Program, folder: Path) -> EmulatedProgram:
        return cls(program.text, program.pipeline("cuda:sm_90"), folder)

    def __init__(self, text: str, pipeline: str, folder: Path) -> None:
        executable = _capi.Executable(text, pipeline)
        self.manifest, ir = executable.manifest, translate(executable.code("llvmir"))
        self.kernels = dict(re.findall(r"^define void @(\w+)\((.*)\)", ir, flags=re.M))
        name = hashlib.sha256(ir.encode()).hexdigest()[:16]
        (folder / f"{name}.ll").write_text(ir)
        entries = ""
        for kernel, parameters in self.kernels.items():
            count = parameters.count("%")
            entries += f"void {kernel}({', '.join(['long'] * count)});\n"
            entries += f"void entry_{kernel}(long *a) {{ {kernel}({', '.join(f'a[{n}]' for n in range(count))}); }}\n"
        (folder / f"{name}.c").write_text(entries)
        library = folder / f"{name}.so"
        sources = [folder / f"{name}.ll", folder / f"{name}.c", Path(__file__).parent / "emulator" / "lanes.c"]
        command = [clang(), "-O1", "-w", "-shared", "-fPIC", "-o", library, *sources]
        subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
        self._path = library
        self.library = ctypes.CDLL(str(library))

    def _copy(self) -> ctypes.CDLL:
        """The library with memory of its own, for what runs inside of a launch."""
        copy = self._path.with_suffix(".2.so")
        if not copy.exists():
            shutil.copyfile(self._path, copy)
        return ctypes.CDLL(str(copy))

    def __call__(self, arrays: Sequence[np.ndarray | None], sizes: Mapping[str, int], plan: Any = None) -> list[np.ndarray]:
        """The results: arrays in the order of the program's arguments; sizes E, R and S; a `HostPlan`, or what has its `pointer`."""

        def evaluate(expression: Any) -> int:
            if isinstance(expression, int):
                return expression
            if isinstance(expression, str):
                return sizes[expression]
            operation, a, b = expression[0], *map(evaluate, expression[1:])
            return {"+": a + b, "-": a - b, "*": a * b, "ceildiv": -(-a // b) if b else 0, "min": min(a, b), "max": max(a, b)}[operation]

        rows = {"edges": sizes["E"], "receivers": sizes["R"], "senders": sizes["S"], "all": 1}
        results = [np.full((rows[r["rows"]], r["width"]), 0xFFFF if r["dtype"] == "bf16" else np.nan, _DTYPES[r["dtype"]]) for r in self.manifest["results"]]
        scratch = [np.full(max(evaluate(entry["bytes"]), 1), 0xFF, np.uint8) for entry in self.manifest["scratch"]]

        def address(reference: Sequence[Any]) -> int:
            kind, n = reference
            if kind in ("expression", "size", "const"):
                return evaluate(n)
            if kind == "plan":
                name = self.manifest["plan"][n]
                return 0 if name.endswith(".nodes") else plan.pointer(name)
            array = {"argument": arrays, "result": results, "scratch": scratch}[kind][n]
            return 0 if array is None else array.ctypes.data

        steps = self.manifest["steps"]
        for step, following in zip(steps, [*steps[1:], {}]):
            if step["op"] == "fill":
                ctypes.memset(address(step["buffer"]), 0, evaluate(step["bytes"]))
                continue
            words = (ctypes.c_int64 * len(step["args"]))(*map(address, step["args"]))
            grid = evaluate(step["grid"][0])
            block_rows = evaluate(step["rows"]) if "rows" in step else step["block"][1]
            assert evaluate(step["shared"]) <= 227 << 10, "more shared memory than a multiprocessor has"
            if following.get("overlaps") and grid:
                other = self._copy()
                launched = (getattr(other, f"entry_{step['kernel']}"), words, ctypes.c_int64(grid), step["block"][0], block_rows)
                self.library.emu_overlap(other.emu_launch, *launched)
                continue
            if not grid:
                continue
            failure = self.library.emu_launch(getattr(self.library, f"entry_{step['kernel']}"), words, ctypes.c_int64(grid), step["block"][0], block_rows)
            if failure:
                raise RuntimeError(f"{step['kernel']}: some threads {_FAILURES[failure]}")
        return results
