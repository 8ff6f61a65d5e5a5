"""The house rules that no linter knows: sizes, names, docstrings, what may be pinned, what must not be in a file."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
LINES_MAX, FUNCTION_LINES_MAX = 400, 70
NAMES_TO_AVOID = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "handler", "handlers"}

# What a function may import for itself, because few runs need it and all would pay for it.
HEAVY = {
    "litellm": "takes seconds and 180 MB to import; only its bridge, the Router baseline and the bill check use it",
    "matplotlib": "only a report with figures needs it",
    "pandas": "only for those who ask for a pandas frame",
    "ray": "only where a cluster is used; not installed otherwise",
    "uvicorn": "only `clawbench serve` needs it",
}

# In pieces, so that this file does not contain what it looks for.
REGISTRIES = re.compile("|".join(re.escape(".".join(host)) for host in (("pypi", "org"), ("pythonhosted", "org"))))
MACHINE_PATHS = re.compile(r"(?<![\w.%])/(?:" + "|".join(("ro" + "ot", "wo" + "rk", "opt/" + "wheels")) + ")/")


def python_files() -> list[Path]:
    return sorted(path for folder in ("clawbench", "tests") for path in (ROOT / folder).rglob("*.py"))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in python_files():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{named(path)}:{node.lineno} {node.name}", node


def project_files() -> list[Path]:
    """What is in the repository, or would be with the next commit."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git, or no repository here: nothing says which files belong to the project")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_every_python_file_that_is_not_empty_opens_with_a_docstring() -> None:
    texts = {named(path): path.read_text("utf-8") for path in python_files()}
    assert not [name for name, text in texts.items() if text.strip() and not ast.get_docstring(ast.parse(text))]


def test_no_file_is_over_400_lines() -> None:
    lengths = {named(path): len(path.read_text("utf-8").splitlines()) for path in python_files()}
    assert not {name: length for name, length in lengths.items() if length > LINES_MAX}


def test_no_function_is_over_70_lines() -> None:
    lengths = {place: (node.end_lineno or 0) - node.lineno + 1 for place, node in functions()}
    assert not {place: length for place, length in lengths.items() if length > FUNCTION_LINES_MAX}


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert not [named(path) for path in python_files() if NAMES_TO_AVOID & set(path.stem.lower().split("_"))]


def test_every_folder_of_tests_is_a_package_so_that_equal_file_names_do_not_clash() -> None:
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
    assert not [named(folder) for folder in folders if not (folder / "__init__.py").is_file()]


def test_functions_import_nothing_but_heavy_optional_libraries() -> None:
    found: list[str] = []
    for place, function in functions():
        for node in ast.walk(function):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or "."]
            found += [f"{place}: {module}" for module in modules if module.partition(".")[0] not in HEAVY]
    assert not found


def test_no_file_names_a_package_registry_or_a_folder_of_some_machine() -> None:
    found: list[str] = []
    for path in project_files():
        text = path.read_bytes().decode("utf-8", "replace")
        found += [
            f"{named(path)}: {match[0]}" for match in (REGISTRIES.search(text), MACHINE_PATHS.search(text)) if match
        ]
    assert not found


def test_what_the_last_test_looks_for_is_found_where_it_is() -> None:
    assert REGISTRIES.search("--index-url https://" + "pypi" + ".org/simple")
    assert MACHINE_PATHS.search('open("' + "/ro" + 'ot/.cache/x")')
    assert not MACHINE_PATHS.search("https://example.com" + "/wo" + "rk/of/art")


def pins() -> dict[str, list[Version]]:
    """Name → versions pinned, one a platform or Python."""
    found: dict[str, list[Version]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", LOCK.read_text(), re.M):
        found.setdefault(canonicalize_name(name), []).append(Version(version))
    return found


def test_the_lock_names_no_place_and_hashes_every_pin() -> None:
    text = LOCK.read_text()
    assert "://" not in text
    assert not re.findall(r"^\s*-(?!-hash=)\S*", text, re.M)  # no option, such as an index or a folder of wheels
    assert " @ " not in text
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) > 50
    assert not [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry]


def test_the_lock_has_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    asked = [Requirement(line) for line in (*project["dependencies"], *(line for extra in extras for line in extra))]
    locked = pins()
    missing = [str(need) for need in asked if not locked.get(canonicalize_name(need.name))]
    assert not missing
    assert not [
        str(need) for need in asked for pin in locked[canonicalize_name(need.name)] if pin not in need.specifier
    ]


def test_neither_the_lock_nor_the_project_lets_a_poisoned_litellm_or_an_old_vcrpy_in() -> None:
    poisoned = [Version("1.82.7"), Version("1.82.8")]  # published with a credential stealer
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {need.name: need.specifier for need in map(Requirement, project["dependencies"])}
    assert not [version for version in poisoned if version in asked["litellm"] or version in pins()["litellm"]]
    assert Version("8.99") not in asked["vcrpy"]
    assert min(pins()["vcrpy"]) >= Version("9")


def test_notebooks_are_committed_without_outputs_and_execution_counts() -> None:
    ran: list[str] = []
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        for index, cell in enumerate(json.loads(path.read_text("utf-8"))["cells"]):
            if cell.get("outputs") or cell.get("execution_count") is not None:
                ran.append(f"{named(path)}, cell {index}")
    assert not ran


def test_importing_clawbench_loads_nothing_heavy() -> None:
    heavy = {*HEAVY, "polars", "pyarrow", "numpy", "fastapi", "starlette", "IPython", "vcr", "tqdm"}
    listing = "import sys, clawbench; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", listing], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not heavy & {name.partition(".")[0] for name in loaded.stdout.split()}


def test_no_file_refers_to_a_document_that_the_project_does_not_have() -> None:
    known = {path.name for path in project_files() if path.suffix == ".md"}
    for path in project_files():
        if path.suffix in (".py", ".md", ".toml", ".ipynb") and "tests" not in path.relative_to(ROOT).parts:
            for name in re.findall(r"[A-Za-z_-]+\.md\b", path.read_text(encoding="utf-8")):
                assert name in known, f"{path.relative_to(ROOT)} refers to {name}"
