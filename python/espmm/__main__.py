"""``python -m espmm info | compile | accelerate | bench``."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Callable, Optional, Sequence

import espmm

from .program import STAGES

_EMIT = (*STAGES, "llvmir", "assembly", "ptx", "manifest", "cost", "resources", "statistics", "report")


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Runs a command; returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["bench"]:
        from . import bench

        return bench.main(argv[1:]) or 0
    if argv[:1] == ["cache"]:
        from . import cache

        return _told(lambda: cache.main(argv[1:]))
    parser = argparse.ArgumentParser(prog="python -m espmm", description="Equivariant tensor products, compiled.")
    commands = parser.add_subparsers(dest="command", required=True)
    info = commands.add_parser("info", help="versions, targets, devices, cache folder")
    info.add_argument("--json", action="store_true", help="as JSON")
    _add_compile(commands)
    _add_accelerate(commands, argv[:1] == ["accelerate"])
    commands.add_parser("bench", help="benchmarks against e3nn (python -m espmm bench --help)")
    commands.add_parser("cache", help="the disk cache: list, verify, clear (python -m espmm cache --help)")
    arguments = parser.parse_args(argv)
    return _told(lambda: {"info": _info, "compile": _compile, "accelerate": _accelerate}[arguments.command](arguments))


def _told(command: Callable[[], int]) -> int:
    """A command's exit status; of an error that its caller can do something about, the message."""
    try:
        return command()
    except (ValueError, RuntimeError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, such as head, has had enough
        sys.stderr.close()
        return 0
    except OSError as error:  # a file that can't be read or written
        print(f"error: {error}", file=sys.stderr)
        return 1


def _add_compile(commands: argparse._SubParsersAction) -> None:
    from .problems import NAMED

    parser = commands.add_parser(
        "compile",
        help="print the IR of a stage, the code, or the command that repeats the compile",
        description="Compiles a tensor product and prints a stage. The product is a named one, or given by "
        "--in1, --in2, --out and either --every-path or --instructions.",
        epilog="example: python -m espmm compile mace-large --conv --order 1 --emit fused",
    )
    parser.add_argument("problem", nargs="?", choices=list(NAMED), metavar="PROBLEM", help=f"one of {', '.join(NAMED)}")
    parser.add_argument("--in1", metavar="IRREPS", help="irreps of x, such as 8x0e+8x1o")
    parser.add_argument("--in2", metavar="IRREPS", help="irreps of y")
    parser.add_argument("--out", metavar="IRREPS", help="irreps of z; with --every-path, those that outputs may have")
    parser.add_argument("--every-path", action="store_true", help='every allowed path, "uvu" with weights')
    parser.add_argument(
        "--instructions", nargs="+", metavar="I1,I2,I3,MODE[,weightless][,PATH_WEIGHT]", help="such as 0,1,0,uvu"
    )
    parser.add_argument("--shared-weights", action="store_true", help="one vector of weights for all rows")
    parser.add_argument("--conv", action="store_true", help="the graph convolution around the product")
    parser.add_argument("--order", type=int, default=0, metavar="N", help="order of derivative (default 0)")
    parser.add_argument("--layout", default="mul_ir", help="mul_ir (default) or ir_mul")
    parser.add_argument("--dtype", default="float32", help="float32 (default), float64, bfloat16 or float16")
    parser.add_argument("--target", default="cpu", help="cpu (default) or cuda:sm_90 and the like")
    parser.add_argument("--deterministic", action="store_true", help="bit-equal results on every run on the GPU")
    parser.add_argument("--emit", default="cost", choices=_EMIT, metavar="STAGE", help=f"one of {', '.join(_EMIT)}")
    parser.add_argument(
        "--repro",
        action="store_true",
        help="print the espmm-opt command that gives STAGE from source.mlir, the source stage",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write there, not to standard output")


def _add_accelerate(commands: argparse._SubParsersAction, wanted: bool) -> None:
    if wanted:  # it brings torch
        from .acceleration import command

        command.add_parser(commands)
    else:
        commands.add_parser("accelerate", help="replace the convolutions of a MACE, NequIP or SevenNet model")


def _accelerate(arguments: argparse.Namespace) -> int:
    from .acceleration import command

    return command.run(arguments)


def _problem(arguments: argparse.Namespace) -> "espmm.TPProblem":
    from .problem import TPProblem
    from .problems import every_path_problem, named_problem

    options = {
        "irrep_dtype": arguments.dtype,
        "weight_dtype": arguments.dtype,
        "layout": arguments.layout,
        "shared_weights": arguments.shared_weights,
        "internal_weights": False,
    }
    if arguments.problem is not None:
        return named_problem(arguments.problem, **options)
    missing = [f"--{name}" for name in ("in1", "in2", "out") if getattr(arguments, name) is None]
    if missing:
        raise ValueError(f"expected the name of a problem, or {', '.join(missing)}")
    irreps = arguments.in1, arguments.in2, arguments.out
    if arguments.every_path == (arguments.instructions is not None):
        raise ValueError("expected one of --every-path and --instructions")
    if arguments.every_path:
        return every_path_problem(*irreps, **options)
    return TPProblem(*irreps, [_instruction(text) for text in arguments.instructions], **options)


def _instruction(text: str) -> tuple:
    fields = [field.strip() for field in text.split(",")]
    weighted = "weightless" not in fields
    fields = [field for field in fields if field != "weightless"]
    try:
        i1, i2, i3, mode, *rest = fields
        return (int(i1), int(i2), int(i3), mode, weighted, *map(float, rest))
    except ValueError:
        raise ValueError(f"expected an instruction I1,I2,I3,MODE[,weightless][,PATH_WEIGHT], got {text!r}") from None


def _compile(arguments: argparse.Namespace) -> int:
    from .compiled import CompiledProgram
    from .kernel import programs_up_to

    program = programs_up_to(_problem(arguments), arguments.conv, arguments.order, arguments.deterministic)[-1]
    compiled = CompiledProgram(program, arguments.target)
    stage = arguments.emit
    if arguments.repro:
        text = compiled.repro(stage) + "\n"
    elif stage in ("manifest", "cost", "resources", "statistics"):
        text = json.dumps(getattr(compiled, stage), indent=2) + "\n"
    elif stage == "report":
        text = compiled.report() + "\n"
    else:
        text = compiled.ir(stage)
    if arguments.output is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        with open(arguments.output, "w", encoding="utf-8") as file:
            file.write(text)
    return 0


def _info(arguments: argparse.Namespace) -> int:
    from . import _capi

    found = {"espmm": espmm.__version__, "python": sys.version.split()[0], "targets": ["cpu", "cuda:sm_NN"], **espmm.info()}
    found["library"] = found["library"] or [str(path) for path in _capi.candidates()]
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        for line in _lines(found):
            print(line)
    return 0


def _lines(tree: dict, indent: str = "") -> list[str]:
    """A nested dictionary as aligned lines."""
    width = max(map(len, tree), default=0)
    lines = []
    for key, value in tree.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}", *_lines(value, indent + "  ")]
        elif isinstance(value, list):
            lines.append(f"{indent}{key:{width}}  {', '.join(map(str, value)) or 'none'}")
        else:
            lines.append(f"{indent}{key:{width}}  {value}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
