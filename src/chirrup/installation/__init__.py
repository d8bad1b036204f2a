"""What is installed: engines, models and packages, and whether the models give their stored codes.

`about` is quick. `uses` looks for what each use of the package needs, and `check_models` runs the
models.
"""

from chirrup.installation.facts import About, about
from chirrup.installation.needs import Use, codecs, uses
from chirrup.installation.self_test import Checked, check_models

__all__ = ["About", "Checked", "Use", "about", "check_models", "codecs", "uses"]
