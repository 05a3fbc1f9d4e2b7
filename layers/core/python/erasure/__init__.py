"""The erasure service: finds a person's data by a declared map, erases it, verifies it, proves it.

Imports run one way: functions -> entry -> services, adapters, targets -> domain.
``tests/unit/test_import_direction.py`` enforces it.
"""

__version__ = "0.4.0"
