"""The page as a file: who may use it, and what of another boot or format says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from patroni.fence import page as p
from patroni.fence.page_file import DIRECTORY, PageUnusable, boot_id, make_page, open_page


@pytest.fixture
def name() -> Iterator[str]:
    """Return the name of a page that nobody uses; its file is removed."""
    chosen = f"patroni-test-{os.urandom(8).hex()}"
    yield chosen
    for path in Path(DIRECTORY).glob(f"{chosen}*"):
        path.unlink()


def test_what_one_writes_the_other_reads(name: str) -> None:
    made = make_page(name)
    opened = open_page(name, os.geteuid())
    assert opened is not None
    assert opened.page[p.STATE] == p.STATE_IDLE
    made.page[p.DEADLINE_BOOT_NS] = (1 << 64) - 1
    made.page.note = "killed: ordered"
    assert opened.page[p.DEADLINE_BOOT_NS] == (1 << 64) - 1
    assert opened.page.note == "killed: ordered"
    opened.close()
    made.close()


def test_it_is_a_file_of_our_own(name: str) -> None:
    make_page(name).close()
    status = Path(DIRECTORY, name).stat()
    assert (status.st_mode & 0o777, status.st_uid) == (0o600, os.geteuid())


def test_there_is_none(name: str) -> None:
    assert open_page(name, os.geteuid()) is None


@pytest.mark.parametrize(("field", "value"), [(p.BOOT_ID, boot_id() ^ 1), (p.FORMAT_FIELD, p.FORMAT + 1)])
def test_a_page_of_another_boot_or_format_says_nothing(name: str, field: int, value: int) -> None:
    made = make_page(name)
    made.page[field] = value
    made.close()
    assert open_page(name, os.geteuid()) is None
    make_page(name).close()
    found = open_page(name, os.geteuid())
    assert found is not None
    found.close()


def test_a_short_file_says_nothing(name: str) -> None:
    Path(DIRECTORY, name).touch(mode=0o600)
    assert open_page(name, os.geteuid()) is None


@pytest.mark.parametrize("fault", ["link", "open to others", "directory", "another user's"])
def test_what_none_of_us_made_is_refused(name: str, fault: str) -> None:
    path, user = Path(DIRECTORY, name), os.geteuid()
    match fault:
        case "link":
            path.symlink_to("/dev/null")
        case "directory":
            path.mkdir()
        case _:
            make_page(name).close()
    if fault == "open to others":
        path.chmod(0o644)
    with pytest.raises(PageUnusable):
        open_page(name, user + 1 if fault == "another user's" else user)
    if fault == "directory":
        path.rmdir()


def test_a_reader_cannot_write(name: str) -> None:
    make_page(name).close()
    reader = open_page(name, os.geteuid(), is_writable=False)
    assert reader is not None
    with pytest.raises(TypeError):
        reader.page[p.STATE] = p.STATE_KILLED
    reader.close()


def test_each_field_has_a_place_of_its_own(name: str) -> None:
    made = make_page(name)
    for field in range(32):
        made.page[field] = field + 1
    made.page.note = "x" * 10_000
    assert [made.page[field] for field in range(32)] == list(range(1, 33))
    assert len(made.page.note) == 2047
    made.close()
