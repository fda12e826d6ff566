"""CSV files as people and spreadsheets write them: commas, semicolons or tabs, UTF-8 or UTF-16."""

import codecs
import csv
import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...support.errors import CatalogueError

DELIMITERS = ",;\t|"


def read_rows(manifest: Path, required: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file with a header, each with the number of its line.

    Names become lower case, names and values lose the blanks around them; columns without a name
    are left out.

    Args:
        manifest: the file.
        required: columns that it must have.

    Raises:
        CatalogueError: no such file, neither UTF-8 nor UTF-16, or a column is missing.
    """
    if not manifest.is_file():
        raise CatalogueError(f"{manifest}: no such file.")
    try:
        with manifest.open("rb") as opened:
            wide = opened.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        with manifest.open(newline="", encoding="utf-16" if wide else "utf-8-sig") as file:
            header = file.readline()
            delimiter = max(DELIMITERS, key=header.count)
            columns = next(csv.reader([header], delimiter=delimiter), [])
            names = [name.strip().lower() for name in columns]
            _check_header(manifest, names, required)
            rows = csv.reader(file, delimiter=delimiter)
            for row in rows:
                if any(value.strip() for value in row):
                    values = [value.strip() for value in row] + [""] * (len(names) - len(row))
                    yield (
                        1 + rows.line_num,
                        {n: v for n, v in zip(names, values, strict=False) if n},
                    )
    except (OSError, UnicodeError, csv.Error) as error:
        raise CatalogueError(f"{manifest}: not a CSV file in UTF-8 or UTF-16 ({error}).") from error


def _check_header(manifest: Path, names: list[str], required: Iterable[str]) -> None:
    missing = sorted(set(required) - set(names))
    if not missing:
        return
    near = [difflib.get_close_matches(name, [n for n in names if n], 1) for name in missing]
    told = ", ".join(
        f"{name} (is it {match[0]!r}?)" if match else name
        for name, match in zip(missing, near, strict=True)
    )
    found = ", ".join(name for name in names if name) or "nothing"
    raise CatalogueError(f"{manifest}: column {told} is missing; found {found}.")
