"""Print the lowest version of every library that setup.cfg allows, as constraints for pip."""

import configparser
import re
from pathlib import Path

SETUP = Path(__file__).parents[1] / "setup.cfg"
TOOLS = {"dev", "docs"}
"""Extras of those who work on darkconv; tools/constraints.txt has their versions."""


def main() -> None:
    """Print a line for each library."""
    config = configparser.ConfigParser()
    config.read(SETUP, encoding="utf-8")
    extras = config["options.extras_require"]
    texts = [config["options"]["install_requires"]]
    texts += [text for name, text in extras.items() if name not in TOOLS]
    for line in "\n".join(texts).splitlines():
        found = re.match(r"([\w-]+)>=([\d.]+)(.*)", line)
        if found:
            name, version, rest = found.groups()
            print(f"{name}=={version}{rest}")


if __name__ == "__main__":
    main()
