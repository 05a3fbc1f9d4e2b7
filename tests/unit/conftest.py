"""How properties are tried: as often as ever, but without a time limit for each try, which a busy machine would miss."""

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
