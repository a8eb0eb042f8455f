"""An object store with S3's protocol: moto's server, in a process of its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from brokers import free_port

BUCKET = "fleet"


@contextlib.contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """What the environment must say for a client to find it; it has the bucket `fleet`."""
    for module in ("moto", "flask"):
        pytest.importorskip(module, reason="no S3 server: pip install 'moto[server]'")
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", url.rpartition(":")[2]]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _make_bucket(url)
        yield {
            "AWS_ENDPOINT_URL": url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "not-to-be-logged",
        }
    finally:
        process.terminate()
        process.wait()


def _make_bucket(url: str) -> None:
    for _ in range(150):
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            request = urllib.request.Request(f"{url}/{BUCKET}", method="PUT")
            with urllib.request.urlopen(request, timeout=5):
                return
        time.sleep(0.1)
    raise RuntimeError("moto's server did not start")
