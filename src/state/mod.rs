//! What a stream remembers between runs: SQLite on a volume.
