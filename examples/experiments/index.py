"""README.md of this folder: every experiment, its command and its results, from the docstrings.

    python examples/experiments/index.py

A file whose docstring has a command is an experiment; the others are parts of one.  A test fails
where README.md differs.
"""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
README = HERE / "README.md"
HEAD = """# Index of experiments

Each script measures one thing and writes what it found to `results/`. The figures in README and
docs come from these files. Run a command from the root of the repository; the head of the script
says what it needs and how long it takes. Data sets are looked for in `.data`.

This page is made from the scripts' docstrings by `python examples/experiments/index.py`.
"""
COMMAND = re.compile(r"^    (?=\S)(.*?(?:\\\n.*?)*)$", re.M)
COMPARED = "python examples/experiments/harm_compare.py BEFORE AFTER --what CHANGE --out FILE.json"
COMMANDS = {
    "bench-mnist.json": "dfedge bench out/mnist-bundle --threads 1 --threads 2 --seconds 1 "
    "--ort-training ENV/bin/python --json",
    "bench-ten-slim.json": "dfedge bench out/ten-slim-bundle --threads 1 --threads 2 --seconds 1 "
    "--ort-training ENV/bin/python --json",
    "harm_adopted.json": COMPARED,
    "harm_channels.json": COMPARED,
    "harm_surely.json": COMPARED,
    "local_loss_harm.json": COMPARED,
    "paper": "dfedge reproduce all --results examples/experiments/results/paper",
}
"""Results that no script is named after."""


def described(script: Path) -> tuple[str, list[str]]:
    """The first sentence of a script's docstring, and its commands."""
    text = ast.get_docstring(ast.parse(script.read_text()), clean=False) or ""
    title = re.split(r"(?<=\.)\s", text.replace("\n", " "), maxsplit=1)[0]
    blocks = [" ".join(found.split("\\\n")) for found in COMMAND.findall(text)]
    runs = [re.sub(r"\s+", " ", one) for one in blocks if f"/{script.name}" in one]
    return title, runs


def results(script: Path) -> list[str]:
    """Files and folders of ``results/`` that a script names, or that are named after it."""
    kept = sorted(path.name for path in (HERE / "results").iterdir() if path.name not in COMMANDS)
    text, stem = script.read_text(), script.stem
    return [name for name in kept if re.fullmatch(rf"{stem}(-\w+)*(\.json)?", name)
            or (re.search(rf"\b{name}\b", text) and "." in name)]  # fmt: skip


def linked(name: str) -> str:
    """A link to a file of results; a folder is named."""
    return f"[{name}](results/{name})" if "." in name else f"`results/{name}/`"


def page() -> str:
    """README.md's text."""
    rows, parts = [], []
    for script in sorted(HERE.glob("*.py")):
        title, runs = described(script)
        if script.name == Path(__file__).name:
            continue
        if not runs:
            parts.append(f"| [{script.name}]({script.name}) | {title.rstrip('.:')} |")
            continue
        commands = "<br>".join(f"`{one}`" for one in runs).replace("|", "\\|")
        found = ", ".join(map(linked, results(script))) or "printed"
        rows.append(
            f"| [{script.stem}]({script.name}): {title.rstrip('.:')} | {commands} | {found} |"
        )
    made = [f"| {linked(name)} | `{line}` |" for name, line in COMMANDS.items()]
    tables = [
        (HEAD, "| experiment | command | results |", "|---|---|---|", *rows),
        ("\n## Other results\n", "| results | command |", "|---|---|", *made),
        ("\n## Parts of experiments\n", "| file | what it holds |", "|---|---|", *parts),
    ]
    return "\n".join("\n".join(table) for table in tables) + "\n"


if __name__ == "__main__":
    README.write_text(page())
