"""The tables by name, and their place in a README."""

import re
from pathlib import Path

from dfedge.atomic import write_file
from dfedge.errors import DfedgeError, foreign
from dfedge.regular import read_bytes
from dfedge.reproduce.accuracy import TABLE_A, TABLE_F
from dfedge.reproduce.depth import TABLE_D
from dfedge.reproduce.feedback import TABLE_C
from dfedge.reproduce.negatives import TABLE_B
from dfedge.reproduce.noise import TABLE_E
from dfedge.reproduce.table import PaperTable, Row, load_results

TABLES = {table.name: table for table in (TABLE_A, TABLE_B, TABLE_C, TABLE_D, TABLE_E, TABLE_F)}


def markdown(table: PaperTable, rows: dict[str, Row]) -> str:
    """Title, table, what was spent on it, and the command."""
    ran = [row for row in rows.values() if row["status"] != "not run"]
    spent = sum(row["seconds"] for row in ran)
    devices = sorted({row["device"] for row in ran})
    short = sum(row["status"] == "short" for row in ran)
    seen = sorted({row["images_seen"] for row in ran if "images_seen" in row})
    facts = [f"{len(ran)} of {len(table.jobs)} cells ran", f"{spent / 60:.0f} min on {devices}"]
    if short:
        facts.append(
            f"{short} of them short (images seen by each: {', '.join(map('{:,}'.format, seen))})"
        )
    command = f"`dfedge reproduce {table.name}`"
    return f"**{table.name}. {table.title}** ({command})\n\n{table.render(rows)}\n\n" + (
        "; ".join(facts) + "."
    )


def fill_readme(readme: Path, results: Path) -> list[str]:
    """Put every table between its marks ``<!-- table NAME -->`` and ``<!-- end NAME -->``.

    Raises:
        DfedgeError: no such file, or a README without marks.
    """
    with foreign(readme, "a README"):
        text = read_bytes(readme).decode()
    filled = []
    for name, table in TABLES.items():
        mark = re.compile(f"(<!-- table {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        found = mark.search(text)
        if found:
            body = markdown(table, load_results(results / f"{name}.json"))
            text = text[: found.start()] + found[1] + body + "\n" + found[2] + text[found.end() :]
            filled.append(name)
    if not filled:
        raise DfedgeError(f"{readme}: no marks <!-- table a --> ... <!-- end a --> to fill")
    write_file(readme, text.encode())
    return filled
