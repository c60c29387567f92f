"""`python -m espmm bench`: speed beside correctness, against other packages and against what memory allows.

    python -m espmm bench                                     the convolutions, on the GPU if there is one
    python -m espmm bench --suite all --json results.json --plot plots
    python -m espmm bench --graph water alloy --peers e3nn openequivariance
    python -m espmm bench --from-json results.json --plot plots
    python -m espmm bench --problem mace-large --graph 500x60 --device cpu --dtype float64

Suites: `conv`, convolutions on large graphs (GPU: A and B; CPU: small); `batch`, products without a graph (GPU: 50,000
rows; CPU: 2,560); `modes`, dense products, with weights by row and shared (GPU: 50,000 rows; CPU: 1,000); `uneven`,
convolutions over unequal multiplicities (GPU: A; CPU: small); `small`, convolutions on small graphs, timed from the host
as well on the GPU; `compile`, from the Python call to kernels that are ready, without and with the disk cache; `host`, what
an eager call takes of the host's time on a tiny system, beside what torch itself takes.

Graphs: A is carbon diamond, 1000 nodes x 158 neighbours, B a cubic lattice, 23,000 x 6, small 64 x 40 at random; NxK is
any other at random; N alone is a batch of N rows; the rest are described in `espmm.bench.graphs`. What a pass, its time
and its floor mean is said in `espmm.bench.measure`, how peers are called in `espmm.bench.peers`, and all of it in
docs/Benchmarks.md. The exit status is 1 if a result of espmm's is wrong.
"""

from __future__ import annotations

import argparse
import platform
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .figures import Figures, Row
    from .graphs import BenchGraph
    from .measure import Setting

# Largest relative error (norm) that counts as right.
TOLERANCE = {"float32": 2e-6, "float64": 1e-12, "bfloat16": 3e-3, "float16": 4e-4}
SUITES = ("conv", "batch", "modes", "uneven", "small", "compile", "host")
PEER_NAMES = ("e3nn", "openequivariance", "openequivariance-det", "cuequivariance", "flashtp")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from ..problems import DENSE, NAMED, UNEVEN

    names = [*NAMED, *UNEVEN, *DENSE, *(f"{name}-shared" for name in DENSE)]

    result = argparse.ArgumentParser(
        prog="python -m espmm bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--suite", choices=(*SUITES, "all"), default="conv")
    result.add_argument(
        "--problem", nargs="+", choices=names, metavar="NAME", help=f"in place of the suite's own: {'; '.join(names)}"
    )
    result.add_argument("--graph", nargs="+", metavar="NAME|NxK|N", help="in place of the suite's own")
    result.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda if there is a GPU")
    result.add_argument("--dtype", choices=tuple(TOLERANCE), default="float32")
    result.add_argument("--layout", choices=("mul_ir", "ir_mul"), default="mul_ir")
    result.add_argument("--deterministic", action="store_true", help="bit-equal results on the GPU too")
    result.add_argument("--threads", type=int, help="CPU threads of torch and espmm (default: torch's)")
    result.add_argument(
        "--budget", type=float, default=1.0, metavar="SECONDS", help="measuring time of a pass (default 1)"
    )
    result.add_argument(
        "--resident",
        action="store_true",
        help="one set of inputs, in the cache if it fits (default: several in turn, which do not)",
    )
    peers = result.add_mutually_exclusive_group()
    peers.add_argument(
        "--peers", nargs="+", choices=PEER_NAMES, default=list(PEER_NAMES), metavar="PEER",
        help=f"what to time beside espmm, if it is installed: {', '.join(PEER_NAMES)} (default: all)",
    )  # fmt: skip
    peers.add_argument(
        "--no-peers", action="store_true", help="time espmm alone (results are still compared with e3nn)"
    )
    result.add_argument("--tracebacks", action="store_true", help="print the exceptions that peers raise in full")
    result.add_argument(
        "--json", metavar="FILE", help="write the figures and the environment to FILE, after every graph"
    )
    result.add_argument("--from-json", metavar="FILE", help="measure nothing: tables, and plots, of what --json wrote")
    result.add_argument(
        "--plot", metavar="DIR", help="draw bars and a roofline of each suite, PNGs in DIR (needs matplotlib)"
    )
    return result


def suite_problems(suite: str) -> list[str]:
    """The suite's own problems."""
    from ..problems import DENSE, NAMED, UNEVEN

    if suite == "modes":
        return [*DENSE, *(f"{name}-shared" for name in DENSE)]
    return list(UNEVEN if suite == "uneven" else NAMED)


def suite_graphs(suite: str, device: str) -> list[str]:
    """The suite's own graphs."""
    if suite == "modes":
        return ["50000" if device == "cuda" else "1000"]
    if suite == "batch":
        return ["50000" if device == "cuda" else "2560"]
    if suite == "small":
        return ["small", "8x20"]
    if suite == "uneven":
        return ["A" if device == "cuda" else "small"]
    return ["A", "B"] if device == "cuda" else ["small"]


def environment(setting: Setting, matmul: float) -> dict[str, object]:
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
        "matmul_gigaflops_per_s": 1e-9 * matmul,
        "espmm": espmm.__version__,
        "torch": torch.__version__,
        "e3nn": e3nn.__version__,
        "cuda": torch.version.cuda if setting.device.type == "cuda" else None,
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def find_peers(names: Sequence[str], device, tracebacks: bool = False) -> dict[str, dict[str, str]]:
    """For each peer its `version`, or why it is `missing`."""
    from .peers import PEERS

    found = {}
    for name in names:
        missing = PEERS[name].missing(device)
        if missing is None:
            found[name] = {"version": PEERS[name].version()}
        else:
            found[name] = {"missing": missing}
            if tracebacks and device.type == "cuda":
                try:
                    PEERS[name].version()
                except Exception:  # noqa: BLE001  what is asked for is to see it
                    traceback.print_exc()
    return found


def run_suite(
    arguments: argparse.Namespace, suite: str, setting: Setting, graphs: Sequence[BenchGraph]
) -> Iterator[list[Row]]:
    """Measures; the rows of a problem on a graph come when they are done, a progress bar on stderr."""
    from tqdm import tqdm

    from .measure import measure
    from .reference import PASSES, Product

    cases = [(Product.named(name), graph) for name in arguments.problem or suite_problems(suite) for graph in graphs]
    steps = 1 + len(PASSES) + len(setting.peers) * (1 + len(PASSES))
    with tqdm(total=len(cases) * steps, desc=suite, unit="step", file=sys.stderr) as bar:
        for i, (product, graph) in enumerate(cases):

            def progress(doing: str) -> None:
                bar.set_postfix_str(f"{product.name}, {graph.name}: {doing}", refresh=False)
                bar.update()

            yield measure(product, graph, setting, progress)
            bar.update((i + 1) * steps - bar.n)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; the exit status."""
    arguments = parser().parse_args(argv)
    if arguments.plot:
        try:
            import matplotlib  # noqa: F401
        except ImportError as error:
            return _fail(
                f"--plot needs matplotlib: {error}; without it, keep --json and draw elsewhere with --from-json"
            )
    if arguments.from_json:
        return _show(arguments)
    try:
        import e3nn  # noqa: F401
        import torch
        import tqdm  # noqa: F401
    except ImportError as error:
        return _fail(f"the benchmark needs torch, e3nn and tqdm: {error}")
    import espmm

    from .figures import WITHOUT_ROWS
    from .graphs import named_graph

    device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda":
        if not torch.cuda.is_available():
            return _fail("--device cuda, but torch sees no GPU")
        device = torch.device("cuda", torch.cuda.current_device())
    suites = SUITES if arguments.suite == "all" else (arguments.suite,)
    try:
        graphs = {
            suite: [named_graph(name) for name in arguments.graph or suite_graphs(suite, device.type)]
            for suite in suites
            if suite not in WITHOUT_ROWS
        }
    except ValueError as error:
        return _fail(f"--graph: {error}")
    except ImportError as error:
        return _fail(f"--graph: this graph is made by ase and matscipy: {error}")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
        espmm.set_num_threads(arguments.threads)
    return _measure(arguments, device, suites, graphs)


def _measure(arguments: argparse.Namespace, device, suites: Sequence[str], graphs: dict[str, list[BenchGraph]]) -> int:
    import torch

    from . import compile_time, host_time, report
    from .figures import Figures
    from .graphs import describe
    from .measure import DeviceLost, Setting
    from .timing import copy_bandwidth, matmul_rate

    dtype = getattr(torch, arguments.dtype)
    peers = find_peers([] if arguments.no_peers else arguments.peers, device, arguments.tracebacks)
    print("measuring the copy bandwidth ...", file=sys.stderr)
    setting = Setting(
        device=device,
        dtype=dtype,
        layout=arguments.layout,
        deterministic=arguments.deterministic,
        bandwidth=copy_bandwidth(device),
        budget_s=arguments.budget,
        peers=tuple(name for name, about in peers.items() if "version" in about),
        resident=arguments.resident,
        tracebacks=arguments.tracebacks,
    )
    about = environment(setting, matmul_rate(device, dtype)) | {"peers": peers}
    figures = Figures(about, TOLERANCE[arguments.dtype])
    figures.graphs = {graph.name: describe(graph) for listed in graphs.values() for graph in listed}
    print(report.heading(about))
    lost = None
    for suite in suites:
        if suite == "compile":
            figures.suites[suite] = compile_time.measure_all(arguments.problem or suite_problems(suite), setting)
        elif suite == "host":
            figures.suites[suite] = host_time.measure_all(setting)
        else:
            rows = figures.suites[suite] = []
            try:
                for found in run_suite(arguments, suite, setting.for_suite(suite), graphs[suite]):
                    rows += found
                    if arguments.json:
                        figures.save(arguments.json)
            except DeviceLost as error:
                lost = f"a peer left the GPU unusable, what follows is not measured: {error}"
        print(report.suite_table(figures, suite))
        if arguments.json:
            figures.save(arguments.json)
        if lost:
            break
    if arguments.plot:
        _draw(figures, arguments.plot)
    return max(_verdict(figures), _fail(lost) if lost else 0)


def _show(arguments: argparse.Namespace) -> int:
    from . import report
    from .figures import Figures

    try:
        figures = Figures.load(arguments.from_json)
    except (OSError, ValueError) as error:
        return _fail(f"--from-json: {error}")
    print(report.text(figures))
    if arguments.plot:
        _draw(figures, arguments.plot)
    return _verdict(figures)


def _draw(figures: Figures, folder: str) -> None:
    from . import plots

    for path in plots.draw(figures, folder):
        print(f"wrote {path}")


def _verdict(figures: Figures) -> int:
    from .figures import Row

    rows = [row for suite in figures.suites.values() for row in suite if isinstance(row, Row)]
    # `not <=`, so that NaN counts as wrong.
    wrong = sum(not row.error <= figures.tolerance for row in rows)
    if not wrong:
        return 0
    print(f"error: {wrong} results are further than {figures.tolerance:g} from e3nn in float64", file=sys.stderr)
    return 1


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
