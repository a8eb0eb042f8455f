"""The suites: what `make bench` runs, what each needs, and what was promised of its figures."""

from __future__ import annotations

from suite_runner import bench_suites, converter_suites, device_suites, line_suites

__all__ = ["SUITES"]

SUITES = (*device_suites.SUITES, *bench_suites.SUITES, *line_suites.SUITES, *converter_suites.SUITES)
