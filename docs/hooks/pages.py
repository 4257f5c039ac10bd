"""Pages of the site that lie elsewhere in the repository, and links that lead out of docs/.

README is the first page.  A file that a page links to outside docs/ is copied into the site, so
that every link works without a network.
"""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "targets/README.md": "targets.md",
    "examples/experiments/README.md": "experiments.md",
}
"""Path in the repository -> page of the site."""
LINK = re.compile(r"(\]\()([^)\s:]+)(\))")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of `ELSEWHERE`, and every file that a page links to."""
    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for file in list(files.documentation_pages()):
        source = Path(file.abs_src_path)
        for found in LINK.finditer(source.read_text()):
            path = _target(source, found[2].partition("#")[0])
            place = _place(path) if path else None
            if place and files.get_file_from_path(place) is None:
                files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turn a link that is right in the repository into one that is right in the site."""
    source = Path(page.file.abs_src_path)
    here = os.path.dirname(page.file.src_uri)  # noqa: PTH120 - a path of the site

    def moved(found: re.Match[str]) -> str:
        link, mark, anchor = found[2].partition("#")
        path = _target(source, link)
        if not path:
            return found[0]
        return f"{found[1]}{os.path.relpath(_place(path), here or '.')}{mark}{anchor}{found[3]}"

    return LINK.sub(moved, markdown)


def _target(source: Path, link: str) -> str | None:
    """The file that a link leads to, from the root of the repository; None: no file."""
    path = (source.parent / link).resolve()
    return str(path.relative_to(ROOT)) if link and path.is_file() else None


def _place(path: str) -> str:
    """Where a file of the repository lies in the site."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return ELSEWHERE.get(path) or f"repository/{path}"
