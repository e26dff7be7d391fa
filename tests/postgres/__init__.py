"""The driver of one Postgres on real servers: the oldest and the newest that are installed."""
