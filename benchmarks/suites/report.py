"""How long the page of `edgeloop bench report` takes with many results: to make, to load, and to its first plot.

    python benchmarks/suites/report.py [--results N] [--keep DIR] [--json]

The results are synthetic: drawn at random, of boards and models that are named so. The page is opened in headless
Chromium without network, five times in a fresh browser each; the least and the most of each time are told, beside an
empty page of the same browser, and the processor's time of the page's main thread until the first plot stands, which
other work on the machine stretches less. It fails where the median of either by the wall's clock isn't under 2 s.
`--keep` leaves the page there with screenshots: light, dark, on a phone, printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from chromium import Tab, chromium, find_chromium
from synthetic_results import synthetic_results

from edgeloop_bench.report.page import render

OPENED = 5
LIMIT_S = 2.0
PHONE_PX, DESK_PX = 390, 1200
FIRST_DRAWN = "performance.getEntriesByName('drawn').map(one => one.startTime)[0] ?? null"
LOADED = "performance.getEntriesByType('navigation')[0].loadEventEnd"
SCROLLED = """(async () => {
  document.querySelectorAll("details").forEach((one) => { one.open = true; });
  for (let y = 0; y < document.body.scrollHeight; y += 500) {
    scrollTo(0, y);
    await new Promise((done) => setTimeout(done, 60));
  }
  for (let left; (left = document.querySelector("figure.drawn:not([data-drawn])"));) {
    left.scrollIntoView();  // a busy machine may have scrolled past it
    await new Promise((done) => setTimeout(done, 60));
  }
  scrollTo(0, 0);
  await new Promise((done) => setTimeout(done, 300));
})()"""


def main() -> int:
    """Measure, print, and say by the exit code whether the limit holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=int, default=10_000, metavar="N")
    parser.add_argument("--keep", type=Path, metavar="DIR")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    binary = find_chromium()
    if binary is None:
        sys.stderr.write("report.py: no chromium on this machine: apt-get install chromium\n")
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = measure(args.results, folder, binary)
        if args.keep:
            take_screenshots(folder / "report.html", folder, binary)
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if args.json else as_text(found))
    return 0 if found["holds"] else 1


def measure(count: int, folder: Path, binary: str) -> dict[str, Any]:
    """Make the page of `count` results, and open it."""
    results = synthetic_results(count, seed=0)
    start = time.perf_counter()
    html = render(results, history=results)
    made_s = time.perf_counter() - start
    page, empty = folder / "report.html", folder / "empty.html"
    page.write_text(html)
    empty.write_text("<!doctype html><title>empty</title>")
    loads, firsts, busy, empties, said = [], [], [], [], []
    for _ in range(OPENED):
        with chromium(binary) as tab:
            empties.append(tab.open(empty))
        with chromium(binary) as tab:
            tab.ask("Performance.enable", timeDomain="threadTicks")
            tab.open(page)
            loads.append(tab.evaluate(LOADED) / 1e3)
            firsts.append(first_drawn_s(tab))
            metrics = tab.ask("Performance.getMetrics")["metrics"]
            busy.append(next(one["value"] for one in metrics if one["name"] == "ThreadTime"))
            tab.evaluate(SCROLLED)
            said += tab.said
    return {
        "results": count,
        "made_s": round(made_s, 2),
        "page_bytes": len(html.encode()),
        "empty_page_s": [round(min(empties), 3), round(max(empties), 3)],
        "load_s": [round(min(loads), 3), round(max(loads), 3)],
        "load_median_s": round(statistics.median(loads), 3),
        "first_plot_s": [round(min(firsts), 3), round(max(firsts), 3)],
        "first_plot_median_s": round(statistics.median(firsts), 3),
        "first_plot_cpu_s": [round(min(busy), 3), round(max(busy), 3)],
        "load_1m": round(os.getloadavg()[0], 1),
        "console": said,
        "holds": statistics.median(loads) < LIMIT_S and statistics.median(firsts) < LIMIT_S and not said,
    }


def first_drawn_s(tab: Tab) -> float:
    """When the first plot stood there, since the page was asked for."""
    for _ in range(200):
        if (at := tab.evaluate(FIRST_DRAWN)) is not None:
            return float(at) / 1e3
        time.sleep(0.05)
    raise TimeoutError("no plot was drawn in ten seconds")


def take_screenshots(page: Path, folder: Path, binary: str) -> None:
    """As it looks: light, dark, on a phone, printed."""
    with chromium(binary) as tab:
        for name, width, dark in (("light", DESK_PX, False), ("dark", DESK_PX, True), ("phone", PHONE_PX, False)):
            tab.open(page, width=width, dark=dark)
            tab.evaluate(SCROLLED)
            (folder / f"{name}.png").write_bytes(tab.screenshot())
        tab.open(page, dark=True)
        (folder / "print.pdf").write_bytes(tab.pdf())
        tab.media("print", dark=True)
        tab.resize(718, 1000)  # A4 less its margins
        tab.evaluate("dispatchEvent(new Event('beforeprint'))")
        (folder / "print.png").write_bytes(tab.screenshot())


def as_text(found: dict[str, Any]) -> str:
    """For people."""
    spans = {
        key: f"{found[key][0]:.2f} to {found[key][1]:.2f} s"
        for key, value in found.items()
        if key.endswith("_s") and isinstance(value, list)
    }
    return (
        f"{found['results']:,} synthetic results\n"
        f"the page        {found['page_bytes'] / 1e6:.1f} MB, made in {found['made_s']} s\n"
        f"load            {spans['load_s']}\n"
        f"first plot      {spans['first_plot_s']}, of which {spans['first_plot_cpu_s']} of the processor's\n"
        f"an empty page   {spans['empty_page_s']}\n"
        f"load average    {found['load_1m']}\n"
        f"console         {found['console'] or 'silent'}\n"
        f"under {LIMIT_S:.0f} s: {'yes' if found['holds'] else 'NO'}\n"
    )


if __name__ == "__main__":
    raise SystemExit(main())
