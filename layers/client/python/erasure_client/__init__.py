"""Client of the erasure service."""
