"""The engines that are installed: the native one needs a C compiler or a wheel for this machine."""

import pytest

from chirrup.engines import ENGINES
from chirrup.runtime import native

INSTALLED = [name for name in ENGINES if name != "native" or native.library() is not None]
needs_native = pytest.mark.skipif("native" not in INSTALLED, reason="no native engine is compiled")
