"""What all suites with real servers share: ports, processes, directories, a TCP proxy, etcd, HAProxy, Postgres."""
