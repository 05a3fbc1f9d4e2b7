"""How the outside gets in: settings, wiring, authentication, one module per wire family."""
