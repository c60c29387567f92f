"""Seconds from `espmm.compile` to kernels that are loaded, without and with the disk cache, each in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from .measure import Setting
from .reference import Product


def measure_all(names: Sequence[str], setting: Setting) -> list[dict[str, object]]:
    """For each problem, all passes of its convolution: `compiled_s` from nothing, `cached_s` from the disk cache."""
    from tqdm import tqdm

    figures: list[dict[str, object]] = []
    for name in tqdm(names, desc="compile", unit="problem", file=sys.stderr):
        with tempfile.TemporaryDirectory() as folder:
            compiled, cached = (_in_fresh_process(name, setting, folder) for _ in range(2))
        figures.append({"problem": name, "compiled_s": compiled, "cached_s": cached})
    return figures


def _in_fresh_process(name: str, setting: Setting, cache: str) -> float:
    request = {
        "name": name,
        "device": -1 if setting.device.type == "cpu" else setting.device.index,
        "dtype": str(setting.dtype).removeprefix("torch."),
        "layout": setting.layout,
        "deterministic": setting.deterministic,
    }
    # The disk cache is on, and empty the first time.
    environment = {key: value for key, value in os.environ.items() if key != "ESPMM_CACHE"} | {"ESPMM_CACHE_DIR": cache}
    done = subprocess.run(
        [sys.executable, "-m", __name__, json.dumps(request)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout)


def _seconds(name: str, device: int, dtype: str, layout: str, deterministic: bool) -> float:
    """In this process: imports, the library and the GPU's context are ready before the clock starts."""
    import espmm
    from espmm import _capi

    target = "cpu"
    if device >= 0:
        import torch

        torch.zeros(1, device=f"cuda:{device}")
        target = "cuda:sm_{}{}".format(*torch.cuda.get_device_capability(device))
    _capi.library()
    product = Product.named(name)
    before = time.perf_counter()
    problem = product.problem(dtype, layout)
    kernel = espmm.compile(problem, target, conv=True, grad_order=2, deterministic=deterministic)
    kernel.load(device)
    return time.perf_counter() - before


if __name__ == "__main__":
    print(_seconds(**json.loads(sys.argv[1])))
