"""`python -m unlearning mask | inspect-mask`: make a mask by hand, and see what one asks for."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from unlearning import json_objects, masks, recipe
from unlearning.console import bar
from unlearning.errors import MaskError, UnlearningError
from unlearning.maskfile import PROOF_BYTES_PER_CHUNK, cost, read_mask


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Add both commands to the program's."""
    make = commands.add_parser(
        "mask", help="choose the weights to zero for a forget set; writes mask.bin, recipe.json"
    )
    make.add_argument("--architecture", type=Path, required=True)
    make.add_argument("--weights", type=Path, required=True, help="the global model, safetensors")
    make.add_argument("--config", type=Path, help="a mask configuration as JSON; the options below go before it")
    make.add_argument("--dataset")
    make.add_argument("--forget", type=_object, help='JSON such as {"class": 8}, {"samples": [17, 203]}')
    make.add_argument("--budget", type=float, metavar="PERCENT", help="of all target weights (default 4)")
    make.add_argument("--score", help=f"one of {', '.join(masks.SCORES)}")
    make.add_argument("--granularity", help="weight, row or chunk")
    make.add_argument("--density", type=float, help="the largest share of a row or chunk to mask")
    make.add_argument("--targets", help="fc1, fc2, fc1+fc2, or a pattern of tensor names")
    make.add_argument("--seed", type=int)
    make.add_argument("--out", type=Path, required=True)
    make.set_defaults(run=_mask)

    look = commands.add_parser("inspect-mask", help="say what a mask file masks, and what proving it will cost")
    look.add_argument("file", type=Path)
    look.add_argument("--cpu-seconds-per-chunk", type=float, help="default: measured figures for the chunk's size")
    look.add_argument("--proof-bytes-per-chunk", type=float, default=PROOF_BYTES_PER_CHUNK)
    look.add_argument("--json", action="store_true")
    look.set_defaults(run=_inspect)


def describe(
    data: bytes, cpu_seconds: float | None = None, proof_bytes: float = PROOF_BYTES_PER_CHUNK
) -> dict[str, Any]:
    """What a mask file says, as JSON, and what proving will cost: see `maskfile.cost`. Raises MaskError."""
    mask = read_mask(data)
    price = cost(mask, cpu_seconds, proof_bytes)
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "masked": len(mask.indices),
        "total": mask.total,
        "chunkWeights": mask.chunk,
        "touchedChunks": len(mask.touched),
        "chunks": mask.chunks,
        "cpuSeconds": round(price.cpu_seconds, 1),
        "proofBytes": price.proof_bytes,
    }


def _mask(options: argparse.Namespace) -> None:
    config = json_objects.read(options.config) if options.config else {}
    for name in ("dataset", "forget", "score", "granularity", "density", "targets", "seed"):
        if getattr(options, name) is not None:
            config[name] = getattr(options, name)
    if options.budget is not None:
        config["budget"] = options.budget / 100
    with bar("mask") as progress:
        made = recipe.compute_mask(json_objects.read(options.architecture), options.weights, config, progress)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "mask.bin").write_bytes(made.file)
    (options.out / "recipe.json").write_text(json.dumps(made.recipe, indent=2) + "\n", encoding="utf-8")
    if made.directions_file is not None:
        (options.out / "directions.bin").write_bytes(made.directions_file)
    _print(describe(made.file))
    print(f"recipe    {recipe.recipe_digest(made.recipe)}")


def _inspect(options: argparse.Namespace) -> None:
    if min(options.cpu_seconds_per_chunk or 0, options.proof_bytes_per_chunk) < 0:
        raise MaskError("the cost of a chunk cannot be negative; give seconds and bytes of at least 0")
    found = describe(options.file.read_bytes(), options.cpu_seconds_per_chunk, options.proof_bytes_per_chunk)
    if options.json:
        print(json.dumps(found))
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    share = 100 * found["masked"] / found["total"]
    touched = 100 * found["touchedChunks"] / found["chunks"]
    print(f"file      {found['sha256']}, {found['bytes']:,} bytes")
    print(f"masked    {found['masked']:,} of {found['total']:,} weights ({share:.2f} %)")
    print(
        f"touched   {found['touchedChunks']:,} of {found['chunks']:,} chunks of {found['chunkWeights']:,} weights "
        f"({touched:.1f} %); only these are proved"
    )
    print(
        f"proving   about {found['cpuSeconds']:,.0f} CPU-seconds ({found['cpuSeconds'] / 3600:.2f} CPU-hours) and "
        f"{found['proofBytes']:,} bytes of proof for each client"
    )


def _object(text: str) -> dict[str, Any]:
    try:
        return json_objects.parse(text)
    except UnlearningError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
