"""Which stores there are: each is imported only where it is used, since each brings its own client library."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from patroni.dcs.store import Clock, Store, StoreConfigError, Timing

Section = Mapping[str, object]


def _etcd3(section: Section, timing: Timing, clock: Clock) -> Store:
    from patroni.dcs.etcd3 import Etcd3Store  # noqa: PLC0415  # see above

    return Etcd3Store(section, timing=timing, clock=clock)


def _local(section: Section, timing: Timing, clock: Clock) -> Store:
    from patroni.dcs.local import LocalStore  # noqa: PLC0415  # see above

    return LocalStore(section, timing=timing, clock=clock)


_BACKENDS: Mapping[str, Callable[[Section, Timing, Clock], Store]] = {"etcd3": _etcd3, "local": _local}  # by section
AVAILABLE = tuple(_BACKENDS)


def open_store(kind: str, section: Section, *, timing: Timing, clock: Clock) -> Store:
    """Return a client of the store of this kind; raise StoreConfigError, one line, where its section cannot be used.

    Nothing is waited for: a store that does not answer says so at the first request.
    """
    backend = _BACKENDS.get(kind)
    if backend is None:
        raise StoreConfigError(f"{kind}: this store is not supported; available: {', '.join(AVAILABLE)}")
    try:
        return backend(section, timing, clock)
    except ImportError as error:
        raise StoreConfigError(f"{kind}: a library of its client is missing: {error}") from error
