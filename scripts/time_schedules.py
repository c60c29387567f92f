"""Times schedules of a program beside the compiler's own, in turns, on a GPU: what to look at before a rule of `equivariant-tile` is changed.

    python scripts/time_schedules.py nequip-benzene@A nequip-lips@B --schedule '{"instances": 1}' '{"group_by": 2}'
    python scripts/time_schedules.py tetris-1-shared@50000 mace-large:det@A mace-large:float64@A --orders 2 --schedule '{"warps": 4}'

A case is a problem of `python -m espmm bench`, `:det` for deterministic sums, `:float64` and the like for another dtype, and a graph of the
benchmark's (default A; a number: so many rows). Each line has the median of the turns, the shortest and the longest, and the largest relative
error of a result beside what the compiler's own schedule gives. A schedule that does not compile says why.
"""

from __future__ import annotations

import argparse
import json
import statistics
from typing import Any, Iterator, Mapping, Optional

import torch

import espmm
from espmm.background import together
from espmm.bench.graphs import named_graph
from espmm.bench.reference import Product
from espmm.device_runner import DeviceRunner
from espmm.errors import ProblemError
from espmm.program import Program
from espmm.tuning import programs_to_tune


def runner_of(graph: str) -> DeviceRunner:
    size = named_graph(graph)
    if size.is_batch:
        return DeviceRunner(None, size.nodes)
    receivers, senders = size.indices(torch.device("cuda"))
    return DeviceRunner(espmm.Graph(receivers, senders, size.nodes), None)


def times(runner: DeviceRunner, program: Program, schedules: list[Mapping[str, int]], turns: int) -> Iterator[tuple[Mapping[str, int], str]]:
    """For each schedule what is printed of it."""
    programs = [program.with_schedule(schedule) for schedule in schedules]

    def problem_of(each: Program) -> Optional[str]:
        try:
            runner.prepare(each)
        except (ProblemError, RuntimeError) as error:
            return str(error).splitlines()[0]
        return None

    problems = together([lambda each=each: problem_of(each) for each in programs])
    wanted = runner.run(programs[0])
    good = [each for each, problem in zip(programs, problems) if problem is None]
    measured: dict[Program, list[float]] = {each: [] for each in good}
    for _ in range(turns):
        for each in measured:
            measured[each].append(1e3 * runner.seconds(each))
    for schedule, each, problem in zip(schedules, programs, problems):
        if problem is not None:
            yield schedule, problem
            continue
        error = max(runner.error(a, b) for a, b in zip(runner.run(each), wanted))
        ms = measured[each]
        yield schedule, f"{statistics.median(ms):.4f} ms ({min(ms):.4f} to {max(ms):.4f}), error {error:.1e}"


def main(argv: Optional[list[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", metavar="PROBLEM[:det][:DTYPE][@GRAPH]")
    parser.add_argument("--schedule", nargs="*", default=[], type=json.loads, metavar="JSON", help="besides the compiler's own")
    parser.add_argument("--orders", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="orders of derivatives (default 0 1 2)")
    parser.add_argument("--turns", type=int, default=3, help="how often each is measured (default 3)")
    arguments = parser.parse_args(argv)
    if not torch.cuda.is_available():
        parser.error("expected a GPU, torch sees none")
    schedules: list[Any] = [{}, *arguments.schedule]
    for case in arguments.cases:
        text, _, graph = case.partition("@")
        name, *flags = text.split(":")
        dtypes = [flag for flag in flags if flag != "det"] or ["float32"]
        problem = Product.named(name).problem(dtypes[0], "mul_ir")
        runner = runner_of(graph or "A")
        conv = not named_graph(graph or "A").is_batch
        programs = programs_to_tune(problem, conv, max(arguments.orders), None, "det" in flags)
        for order in arguments.orders:
            for schedule, line in times(runner, programs[order], schedules, arguments.turns):
                print(f"{text}@{graph or 'A'} order {order} {json.dumps(schedule):32} {line}", flush=True)
        del runner
        torch.cuda.empty_cache()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
