"""Turn pip's installation report into a lock of ``name==version --hash=...`` lines, no addresses.

``python locks/write.py report.json`` prints the lock. Only the files that pip chose for this
Python on this platform are allowed; pip refuses any other with ``--require-hashes``.
"""

import json
import re
import sys


def lock_of(report: dict) -> str:
    """The lock's text.

    Args:
        report: what ``pip install --dry-run --ignore-installed --report`` wrote.

    Raises:
        KeyError: a package that is to be locked comes without a SHA-256 hash.
    """
    python = ".".join(report["environment"]["python_version"].split(".")[:2])
    pins = {}
    for item in report["install"]:
        name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
        if name == "hushtune":
            continue
        sha256 = item["download_info"]["archive_info"]["hashes"]["sha256"]
        pins[name] = f"{name}=={item['metadata']['version']} --hash=sha256:{sha256}\n"
    title = (
        f"# Exact versions and files for Python {python} on Linux x86-64, written by `make lock`.\n"
    )
    return title + "".join(pins[name] for name in sorted(pins))


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        print(lock_of(json.load(file)), end="")
