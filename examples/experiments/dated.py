"""When and with which commit a file of results was written."""

import datetime
import subprocess
from pathlib import Path


def commit() -> str:
    """The library's commit, with a plus where files were changed since."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=here, capture_output=True, text=True, check=False
        ).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + "+" * bool(
        git("status", "--porcelain", ":/dfedge")
    )


def dated() -> dict[str, str]:
    """When and with what a file of results was written."""
    return {"date": datetime.date.today().isoformat(), "commit": commit()}
