"""One module per kind of place where data lives: erase and verify behind one protocol."""
