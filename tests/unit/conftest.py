"""Properties are tried without a time limit for each try: a busy machine would miss it."""

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
