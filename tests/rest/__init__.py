"""The REST API: tables for its rules, real sockets for its server."""
