"""Run the command ``chirrup``, also as ``python -m chirrup``, for example under ``torchrun -m``."""

import sys


def main() -> None:
    """Run the command. Its imports are inside, so that Ctrl-C ends them with one line."""
    try:
        from chirrup import cli

        cli.main()
    except KeyboardInterrupt:
        print("chirrup: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
