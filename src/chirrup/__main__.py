"""Run the command ``chirrup`` as ``python -m chirrup``, for example under ``torchrun -m``."""

from chirrup.cli import main

main()
