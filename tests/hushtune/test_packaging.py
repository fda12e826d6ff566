"""What a plain installation would put on someone's machine."""

import re
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

import hushtune

ROOT = Path(__file__).parents[2]


if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def settings() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def project() -> dict[str, Any]:
    return settings()["project"]


def package_folders() -> dict[str, str]:
    return settings()["tool"]["setuptools"]["package-dir"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--wheel-dir",
            str(folder),
            str(ROOT),
        ],
        check=True,
        capture_output=True,
    )
    return next(folder.glob("hushtune-*.whl"))


def test_nothing_but_hushtune_is_installed(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"hushtune"}
    for room in ("support", "configs", "model", "training", "fhe", "eval", "hushtune"):
        for module in (ROOT / room).rglob("*.py"):
            inside = module.relative_to(ROOT).as_posix().removeprefix("hushtune/")
            assert f"hushtune/{inside}" in names


def test_the_shipped_configs_travel(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for path in (ROOT / "configs").glob("*.yaml"):
        assert f"hushtune/configs/{path.name}" in names


def test_the_page_travels(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for path in (ROOT / "hushtune" / "app" / "static").iterdir():
        assert f"hushtune/app/static/{path.name}" in names


def test_every_public_name_is_there_and_documented():
    for name in hushtune.__all__:
        assert getattr(hushtune, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        getattr(hushtune, "Nothing")  # noqa: B009


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12"])
def test_the_locks_pin_versions_and_files_and_name_no_addresses(python):
    lines = (ROOT / "locks" / f"python-{python}.txt").read_text().splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]
    assert len(packages) > 50
    for line in packages:
        assert re.fullmatch(r"[a-z0-9-]+==[\w.+!]+ --hash=sha256:[0-9a-f]{64}", line), line
    pinned = {line.split("==")[0] for line in packages}
    assert any(line.startswith("concrete-ml==1.9.0 ") for line in packages)
    assert any(line.startswith("setuptools==75.3.0 ") for line in packages)
    for requirement in project()["dependencies"] + project()["optional-dependencies"]["dev"]:
        assert re.match(r"[\w-]+", requirement)[0].lower().replace("_", "-") in pinned, requirement


def test_a_lock_is_written_from_pips_report():
    report = {
        "environment": {"python_version": "3.11"},
        "install": [
            {
                "metadata": {"name": name, "version": version},
                "download_info": {
                    "url": "https://example.org/file.whl",
                    "archive_info": {"hashes": {"sha256": digest * 64}},
                },
            }
            for name, version, digest in (("Zope.Interface_x", "2.0", "b"), ("attrs", "1.0", "a"))
        ],
    }
    local = {"metadata": {"name": "hushtune", "version": "1"}, "download_info": {"dir_info": {}}}
    report["install"].append(local)
    written = runpy.run_path(str(ROOT / "locks" / "write.py"))["lock_of"](report)
    header, *lines = written.splitlines()
    assert header.startswith("# ") and "3.11" in header
    assert lines == [
        f"attrs==1.0 --hash=sha256:{'a' * 64}",
        f"zope-interface-x==2.0 --hash=sha256:{'b' * 64}",
    ]


def test_the_changelog_has_this_version():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    titles = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text, re.M)
    assert titles[0] == ("Unreleased", "")
    assert all(day for _, day in titles[1:])
    assert project()["version"] == hushtune.__version__ == titles[1][0]
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.M)) <= kinds


def test_the_container_gets_every_room():
    copied = re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), re.M)
    needed = {folder.split("/")[0] for folder in package_folders().values()}
    assert set(copied) == needed
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {f"!{room}" for room in needed} <= set(ignored)


def test_templates_and_hooks_can_be_read():
    forms = list((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert len(forms) >= 3
    for form in forms:
        assert yaml.safe_load(form.read_text("utf-8")), form
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in hooks["repos"]] == ["local"]
    makefile = (ROOT / "Makefile").read_text()
    for hook in hooks["repos"][0]["hooks"]:
        assert f"\n{hook['entry'].split()[-1]}: " in makefile, hook
