"""`edgeloop keygen` and `edgeloop sign`: who may say what runs on a device."""

from __future__ import annotations

import argparse

from edgeloop.cli import Command, Result

__all__ = ["KEYGEN", "SIGN"]


def configure_keygen(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("key", help="where the private key goes; the public one goes beside it, as KEY.pub")


def run_keygen(args: argparse.Namespace) -> Result:
    """Make a key pair."""
    from edgeloop.signing import generate_key, key_id

    name = key_id(generate_key(args.key).public_key())
    text = f"key {name}: keep {args.key} secret, put {args.key}.pub on the devices (trusted_keys)"
    return Result(data={"key_id": name, "private": args.key, "public": f"{args.key}.pub"}, text=text)


def configure_sign(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("artifact", help="the .tflite file; it is replaced by the signed one")
    parser.add_argument("--key", required=True, help="the private key file, of `edgeloop keygen`")


def run_sign(args: argparse.Namespace) -> Result:
    """Sign an artifact in place."""
    from edgeloop.artifact import read_artifact, write_artifact
    from edgeloop.signing import key_id, load_private_key

    key = load_private_key(args.key)
    artifact = read_artifact(args.artifact).sign(key)
    write_artifact(args.artifact, artifact)
    name = key_id(key.public_key())
    return Result(data={"artifact": args.artifact, "key_id": name}, text=f"{args.artifact}: signed by key {name}")


KEYGEN = Command(help="make a key pair to sign artifacts with", configure=configure_keygen, run=run_keygen)
SIGN = Command(help="sign an artifact", configure=configure_sign, run=run_sign)
