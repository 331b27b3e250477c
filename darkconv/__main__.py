"""Run `python -m darkconv`, which is the same program as `darkconv`."""

from darkconv.cli import main

if __name__ == "__main__":
    main(prog_name="darkconv")
