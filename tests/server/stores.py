"""On which store a scenario runs: on each, unless it says that the store makes no difference to it."""

from __future__ import annotations

import pytest

from tests.support.cluster import StoreKind

on_etcd = pytest.mark.parametrize("cluster", [StoreKind.ETCD3], indirect=True)
on_local = pytest.mark.parametrize("cluster", [StoreKind.LOCAL], indirect=True)
