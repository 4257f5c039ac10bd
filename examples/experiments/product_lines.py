"""Lines of product code: Python and C without blanks, comments, docstrings and generated files.

    python examples/experiments/product_lines.py [COMMIT ...]     # and the working tree

Counted are dfedge/, targets/ and calibrate/; not counted, on any side, what tries the product out
(`reproduce`; trials, which were once part of the package), and the data of nets and targets.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
COUNTED = ("dfedge/", "targets/", "calibrate/")
TRIALS = ("dfedge/faults/", "dfedge/reproduce/", "dfedge/verify/random_nets.py")
GENERATED = ("dfedge/native/src/layout.h",)
MOST = 350
"""Lines of one file, with everything in it."""


def python_lines(text: str) -> int:
    """Lines that hold anything but comments and docstrings."""
    kept = set()
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
               tokenize.ENCODING, tokenize.ENDMARKER)  # fmt: skip
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skipped:
            kept |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        value = node.value if isinstance(node, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            kept -= set(range(value.lineno, (value.end_lineno or value.lineno) + 1))
    return len(kept)


def c_lines(text: str) -> int:
    """Lines that hold anything but comments."""
    plain = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return sum(bool(re.sub(r"//.*", "", line).strip()) for line in plain.splitlines())


def files(commit: str | None) -> Iterator[tuple[str, str]]:
    """Path and text of every source file, of a commit or of the working tree."""
    command = ["git", "-C", str(ROOT), "ls-files"]
    if commit:
        command = ["git", "-C", str(ROOT), "ls-tree", "-r", "--name-only", commit]
    for path in subprocess.check_output(command, text=True).splitlines():
        if not path.startswith(COUNTED) or not path.endswith((".py", ".c", ".h", ".cpp")):
            continue
        if commit:
            show = ["git", "-C", str(ROOT), "show", f"{commit}:{path}"]
            yield path, subprocess.check_output(show, text=True)
        elif (ROOT / path).exists():
            yield path, (ROOT / path).read_text()


def main() -> None:
    for commit in [*sys.argv[1:], None]:
        sums, large, trials = {"python": 0, "c": 0}, [], 0
        for path, text in files(commit):
            kind = "python" if path.endswith(".py") else "c"
            count = python_lines(text) if kind == "python" else c_lines(text)
            if path.startswith(TRIALS):
                trials += count
            elif path not in GENERATED:
                sums[kind] += count
                large += [path] * (len(text.splitlines()) > MOST)
        print(f"{commit or 'working tree':14} {sum(sums.values()):,} lines {sums}, trials "
              f"{trials:,}; files over {MOST}: {', '.join(large) or 'none'}")  # fmt: skip


if __name__ == "__main__":
    main()
