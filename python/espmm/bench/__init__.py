"""`python -m espmm bench`: speed beside correctness, against e3nn and against what memory allows.

    python -m espmm bench                                     the convolutions, on the GPU if there is one
    python -m espmm bench --suite all --json results.json
    python -m espmm bench --problem mace-large --graph 500x60 --device cpu --dtype float64

Suites: `conv`, convolutions on large graphs (GPU: A and B; CPU: small); `batch`, products without a graph (GPU: 50,000
rows; CPU: 2,560); `small`, convolutions on small graphs, timed from the host as well on the GPU; `compile`, from the Python call to
kernels that are ready, without and with the disk cache.

Graphs: A is 1000 nodes x 158 neighbours, B 23,000 x 6, small 64 x 40; NxK is any other; N alone is a batch of N rows. What a pass, its time and
its floor mean is said in `espmm.bench.measure`. The exit status is 1 if a result is wrong.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .measure import GraphSize, Row, Setting

# Largest relative error (norm) that counts as right.
TOLERANCE = {"float32": 2e-6, "float64": 1e-12}
NAMED_GRAPHS = {"A": (1000, 158), "B": (23000, 6), "small": (64, 40)}
SUITES = ("conv", "batch", "small", "compile")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from ..problems import NAMED

    result = argparse.ArgumentParser(
        prog="python -m espmm bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--suite", choices=(*SUITES, "all"), default="conv")
    result.add_argument("--problem", nargs="+", choices=tuple(NAMED), default=list(NAMED), metavar="NAME", help="; ".join(NAMED))
    result.add_argument("--graph", nargs="+", type=graph_size, metavar="A|B|small|NxK|N", help="in place of the suite's own")
    result.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda if there is a GPU")
    result.add_argument("--dtype", choices=tuple(TOLERANCE), default="float32")
    result.add_argument("--layout", choices=("mul_ir", "ir_mul"), default="mul_ir")
    result.add_argument("--deterministic", action="store_true", help="bit-equal results on the GPU too")
    result.add_argument("--threads", type=int, help="CPU threads of torch and espmm (default: torch's)")
    result.add_argument("--budget", type=float, default=1.0, metavar="SECONDS", help="measuring time of a pass (default 1)")
    result.add_argument(
        "--resident", action="store_true", help="one set of inputs, in the cache if it fits (default: several in turn, which do not)"
    )
    result.add_argument("--no-peers", action="store_true", help="do not time e3nn (results are still compared with it)")
    result.add_argument("--json", metavar="FILE", help="write the figures and the environment to FILE")
    return result


def graph_size(text: str) -> GraphSize:
    """Reads A, B, small, NxK or N."""
    from .measure import GraphSize

    if text in NAMED_GRAPHS:
        return GraphSize(text, *NAMED_GRAPHS[text])
    match = re.fullmatch(r"([1-9]\d*)(?:x(\d+))?", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected A, B, small, NxK such as 500x60, or N, got {text!r}")
    nodes, neighbours = match.groups()
    if neighbours is None:
        return GraphSize(f"{nodes} rows", int(nodes), None)
    return GraphSize(text, int(nodes), int(neighbours))


def suite_graphs(suite: str, device: str) -> list[GraphSize]:
    """The suite's own graphs."""
    if suite == "batch":
        return [graph_size("50000" if device == "cuda" else "2560")]
    if suite == "small":
        return [graph_size("small"), graph_size("8x20")]
    return [graph_size(name) for name in (("A", "B") if device == "cuda" else ("small",))]


def environment(setting: Setting) -> dict[str, object]:
    """What the figures depend on."""
    import e3nn
    import torch

    import espmm

    name = torch.cuda.get_device_name(setting.device) if setting.device.type == "cuda" else _processor()
    return {
        "device": name,
        "threads": torch.get_num_threads() if setting.device.type == "cpu" else None,
        "dtype": str(setting.dtype).removeprefix("torch."),
        "layout": setting.layout,
        "deterministic": setting.deterministic,
        "resident": setting.resident,
        "copy_gigabytes_per_s": 1e-9 * setting.bandwidth,
        "espmm": espmm.__version__,
        "torch": torch.__version__,
        "e3nn": e3nn.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def run_suite(arguments: argparse.Namespace, suite: str, setting: Setting) -> Iterator[Row]:
    """Measures; rows come as they are done, a progress bar on stderr."""
    from tqdm import tqdm

    from .measure import measure
    from .reference import PASSES, Product

    graphs = arguments.graph or suite_graphs(suite, setting.device.type)
    cases = [(Product.named(name), graph) for name in arguments.problem for graph in graphs]
    with tqdm(total=len(cases) * len(PASSES), desc=suite, unit="pass", file=sys.stderr) as bar:
        for product, graph in cases:
            prefix = f"{product.name}, {graph.name}: "
            for row in measure(product, graph, setting, lambda doing: bar.set_postfix_str(prefix + doing)):
                bar.update()
                yield row


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; the exit status."""
    arguments = parser().parse_args(argv)
    try:
        import e3nn  # noqa: F401
        import torch
        import tqdm  # noqa: F401
    except ImportError as error:
        print(f"error: the benchmark needs torch, e3nn and tqdm: {error}", file=sys.stderr)
        return 2
    import espmm

    from . import compile_time, report
    from .measure import Setting
    from .timing import copy_bandwidth

    device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda":
        if not torch.cuda.is_available():
            print("error: --device cuda, but torch sees no GPU", file=sys.stderr)
            return 2
        device = torch.device("cuda", torch.cuda.current_device())
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
        espmm.set_num_threads(arguments.threads)
    suites = SUITES if arguments.suite == "all" else (arguments.suite,)
    print("measuring the copy bandwidth ...", file=sys.stderr)
    setting = Setting(
        device=device,
        dtype=getattr(torch, arguments.dtype),
        layout=arguments.layout,
        deterministic=arguments.deterministic,
        bandwidth=copy_bandwidth(device),
        budget_s=arguments.budget,
        peers=not arguments.no_peers,
        resident=arguments.resident,
    )
    about = environment(setting)
    print(report.heading(about))
    tolerance = TOLERANCE[arguments.dtype]
    figures: dict[str, list[dict[str, object]]] = {}
    wrong = 0
    for suite in suites:
        if suite == "compile":
            compiled = compile_time.measure_all(arguments.problem, setting)
            print(report.compile_table(compiled))
            figures[suite] = compiled
            continue
        rows = list(run_suite(arguments, suite, setting.for_suite(suite)))
        print(report.table(suite, rows, tolerance))
        # `not <=`, so that NaN counts as wrong.
        wrong += sum(not row.error <= tolerance for row in rows)
        figures[suite] = [row.as_json() for row in rows]
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"environment": about, "tolerance": tolerance, "suites": figures}, file, indent=1)
            file.write("\n")
    if wrong:
        print(f"error: {wrong} results are further than {tolerance:g} from e3nn in float64", file=sys.stderr)
    return 1 if wrong else 0
