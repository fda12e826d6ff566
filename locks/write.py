"""Turn pip's installation report into a lock of ``name==version`` lines, without addresses."""

import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    report = json.load(file)
pins = {
    item["metadata"]["name"].lower().replace("_", "-"): item["metadata"]["version"]
    for item in report["install"]
}
python = ".".join(report["environment"]["python_version"].split(".")[:2])
print(f"# Exact versions for Python {python} on Linux x86-64, written by `make lock`.")
for name in sorted(set(pins) - {"hushtune"}):
    print(f"{name}=={pins[name]}")
