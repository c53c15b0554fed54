"""`python -m fedmarket` is `fedmarket`."""

from __future__ import annotations

from fedmarket.cli import main

if __name__ == "__main__":
    main()
