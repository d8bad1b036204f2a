"""Build the documentation site: `make docs`. A warning is an error.

The site is complete: it loads nothing from another host, and it can be read and searched without
a server, from site/index.html.
"""

import re
import subprocess
import sys
from pathlib import Path

import site_pages

SHIM = "https://unpkg.com/iframe-worker/shim"
"""The plugin `offline` of Zensical loads this script; assets/worker.js replaces it."""
LOADED = re.compile(
    r"<(?:script|img|link|iframe|source)\b[^>]*?(?:src|href)=[\"']?(?:https?:)?//\S*"
)


def build(root: Path) -> Path:
    """Build the site of a folder with a zensical.toml, and return its folder."""
    site_pages.write(root / "build" / "pages")
    zensical = Path(sys.executable).with_name("zensical")
    done = subprocess.run([zensical, "build", "--clean", "--strict"], cwd=root)
    if done.returncode:
        raise SystemExit("the documentation has warnings: see above")
    site = root / "site"
    (site / "404.html").unlink(missing_ok=True)  # its paths fit only the root of a host
    for page in site.rglob("*.html"):
        to_site = "../" * (len(page.relative_to(site).parts) - 1)
        text = page.read_text().replace(SHIM, f"{to_site}assets/worker.js")
        page.write_text(text)
        if loaded := LOADED.search(text):
            raise SystemExit(f"{page}: loads a file of another host: {loaded[0]}")
    return site


if __name__ == "__main__":
    print(f"{build(site_pages.ROOT)}/index.html")
