"""The report of a run: one HTML page with tables, plots, players, settings and versions.

>>> write_report(Results.read(folder / RESULTS), folder, folder / "report.html", METRICS)

``summary`` computes means and intervals; ``html_tables``, ``plots`` and ``listening`` show them;
``page`` joins the parts with ``page.html``, ``page.css`` and ``page.js``. The page opens from a
disk and fetches nothing. Its content security policy allows no other script.
"""

from chirrup.evaluate.report.page import write_report

__all__ = ["write_report"]
