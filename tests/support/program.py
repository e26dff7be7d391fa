"""Find the programs that tests run."""

from __future__ import annotations

import shutil


class MissingProgram(Exception):
    """A program that `script/bootstrap` installs is not there."""


def find_program(name: str) -> str:
    """Return the path of a program on PATH or in the directories of servers, which are not on the PATH of users."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise MissingProgram(f"{name} is not installed; script/bootstrap installs it")
    return path
