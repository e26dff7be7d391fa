"""What the distribution is: name, version, entry points and what it needs."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def version() -> str:
    """Return the version from its one place, without importing the package."""
    text = (HERE / "patroni" / "version.py").read_text(encoding="utf-8")
    found = re.search(r'^VERSION = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise SystemExit("patroni/version.py: no VERSION")
    return found[1]


def readme() -> str:
    """Return the long description; empty where the file was left out."""
    path = HERE / "README.md"
    return path.read_text(encoding="utf-8") if path.exists() else ""


STORES: dict[str, list[str]] = {
    "etcd": ["python-etcd>=0.4.5,<0.5"],
    "etcd3": [],  # its gateway is plain HTTP
    "consul": ["py-consul>=1.6"],
    "zookeeper": ["kazoo>=2.10"],
}
# A driver is the installer's choice: psycopg2-binary for a trial, psycopg2 for those who build.
DRIVERS = {"psycopg2": ["psycopg2>=2.9.9"], "psycopg2-binary": ["psycopg2-binary>=2.9.9"]}

setup(
    name="patroni-agent",
    version=version(),
    description="High-availability agent for PostgreSQL",
    long_description=readme(),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["patroni", "patroni.*"]),
    install_requires=["click>=8.1", "httptools>=0.6", "python-dateutil>=2.8.2", "PyYAML>=6.0.1", "urllib3>=2.0"],
    extras_require={
        **STORES,
        **DRIVERS,
        "all": sorted({need for store in STORES.values() for need in store} | set(DRIVERS["psycopg2-binary"])),
    },
    entry_points={"console_scripts": ["patroni = patroni.agent.entry:main", "patronictl = patroni.ctl.main:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.13",
        "Topic :: Database",
        "Topic :: System :: Clustering",
    ],
)
