"""The database file: what is on disk when a commit returns, and whose file it is."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from websocketmanager.embedded.database import open_database
from websocketmanager.embedded.store import opened_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite3"


def test_commits_reach_the_disk_before_they_return(path: Path) -> None:
    database = open_database(str(path))
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert database.execute("PRAGMA fullfsync").fetchone() == (1,)
    database.close()


def test_a_new_file_is_for_its_owner_only(path: Path) -> None:
    database = open_database(str(path))
    database.execute("INSERT INTO state (service, key, value) VALUES ('s', 'k', 'v')")
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {0o600}
    database.close()


def test_what_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    text = "precious notes\n" * 100
    path.write_text(text)
    with pytest.raises(OSError, match=path.name):
        open_database(str(path))
    assert path.read_text() == text


async def test_a_newer_version_is_refused(path: Path) -> None:
    database = open_database(str(path))
    database.execute("PRAGMA user_version = 2")
    database.close()
    with pytest.raises(OSError, match="its version is 2, known is 1"):
        async with opened_store(str(path)):
            pass
