"""`python -m nestevo_hw` is `nestevo-hw`."""

from nestevo_hw.cli import main

if __name__ == "__main__":
    main(prog_name="nestevo-hw")
