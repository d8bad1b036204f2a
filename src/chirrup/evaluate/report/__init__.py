"""A run as one HTML page that needs nothing else: tables, plots, players, settings and versions.

>>> write_report(Results.read(folder / RESULTS), folder, folder / "report.html", METRICS)

``summary`` turns rows into means and intervals, ``tables``, ``plots`` and ``listening`` show them,
``page`` puts the page together with ``page.html``, ``page.css`` and ``page.js``. The page opens
from a disk, fetches nothing, and its content security policy forbids that anything else runs.
"""

from chirrup.evaluate.report.page import write_report

__all__ = ["write_report"]
