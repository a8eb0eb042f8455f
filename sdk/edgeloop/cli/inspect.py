"""`edgeloop inspect`: what an artifact is, and whether it may run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from edgeloop.cli import Command, Result

if TYPE_CHECKING:
    from edgeloop.artifact import Artifact

__all__ = ["COMMAND"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("artifact", help="the .tflite file")
    parser.add_argument(
        "--trust", metavar="KEY.pub", action="append", default=[], help="also check that it is signed by this key"
    )


def run(args: argparse.Namespace) -> Result:
    """Read it, check its hash (and its signature where asked), and describe it."""
    from edgeloop.artifact import read_artifact
    from edgeloop.signing import load_public_key

    artifact = read_artifact(args.artifact)
    if args.trust:
        artifact.verify([load_public_key(path) for path in args.trust])
    return Result(data=_data(artifact), text=_text(artifact, verified=bool(args.trust)))


def _data(artifact: Artifact) -> dict[str, Any]:
    import msgspec

    data: dict[str, Any] = msgspec.to_builtins(artifact.manifest)
    data["signed_by"] = artifact.signature.key_id if artifact.signature else None
    data["file_bytes"] = artifact.size_bytes
    return data


def _text(artifact: Artifact, *, verified: bool) -> str:
    m = artifact.manifest
    signed = "not signed"
    if artifact.signature:
        signed = f"signed by key {artifact.signature.key_id}" + (
            ", which is trusted" if verified else " (not checked: --trust)"
        )
    lines = [
        f"{m.name} version {m.version}, {m.task}, made {m.created}",
        f"  file      {artifact.size_bytes:,} bytes, of which the model {m.model.size_bytes:,}; {signed}",
        *(f"  input     {_tensor(s)}" for s in m.inputs),
        *(f"  output    {_tensor(s)}" for s in m.outputs),
    ]
    if m.labels:
        lines.append(f"  labels    {', '.join(m.labels[:12])}{', …' if len(m.labels) > 12 else ''}")
    if m.recipe:
        lines.append(f"  recipe    {m.recipe.name} (seed {m.recipe.seed})")
    lines.extend(f"  measured  {name} {value:g}" for name, value in sorted(m.metrics.items()))
    if m.baseline:
        names = ", ".join(f.name for f in m.baseline.features[:8])
        lines.append(f"  baseline  {len(m.baseline.features)} features: {names}")
    if m.expires:
        lines.append(f"  expires   {m.expires}")
    return "\n".join(lines)


def _tensor(spec: Any) -> str:
    quantized = "" if spec.scale is None else f", real = {spec.scale:g} × (stored - {spec.zero_point})"
    return f"{spec.name} {spec.dtype}{list(spec.shape)}{quantized}"


COMMAND = Command(help="show what an artifact says of itself, and check it", configure=configure, run=run)
