"""``python -m chirrup`` is the command ``chirrup``, also under ``torchrun -m``."""

from chirrup.cli import main

main()
