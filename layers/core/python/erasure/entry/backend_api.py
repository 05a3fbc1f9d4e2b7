"""The API of backends: every wire family that comes with an API key, over one native way in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from erasure.entry.api import Api, KeyChecker
from erasure.entry.api_keys import ApiKeysFamily
from erasure.entry.data_map_routes import DataMapFamily
from erasure.entry.docs_pages import DocsFamily
from erasure.entry.hellojohn import HelloJohnFamily
from erasure.entry.june import JuneFamily
from erasure.entry.native import NativeFamily
from erasure.entry.previews import PlansFamily
from erasure.entry.suppressions import SuppressionsFamily
from erasure.entry.velt import VeltFamily

if TYPE_CHECKING:
    from aws_lambda_powertools.logging import Logger

    from erasure.entry.data_map_routes import DataMaps
    from erasure.entry.exchange import Family
    from erasure.ports import Clock, SuppressionStore
    from erasure.services.accounts import AccountService
    from erasure.services.api_keys import ApiKeyService
    from erasure.services.erasure_plans import ErasurePlans
    from erasure.services.erasures import ErasureService
    from erasure.services.idempotent import Idempotency


def make_backend_api(
    *,
    verifier: KeyChecker,
    erasures: ErasureService,
    plans: Callable[[], ErasurePlans],
    accounts: AccountService,
    keys: ApiKeyService,
    suppressions: SuppressionStore,
    data_maps: DataMaps,
    sla: Family,
    holds: Family,
    retention: Family,
    idempotency: Idempotency,
    digest_key: Callable[[], bytes],
    now: Clock,
    logger: Logger,
    paths_are_encoded: bool = True,
) -> Api:
    """The API with all its families. ``digest_key`` returns the HMAC key of the subject digests; ``plans`` is asked
    when somebody wants a plan; ``sla``: :class:`erasure.entry.sla.SlaFamily`; ``holds``:
    :class:`erasure.entry.holds.HoldsFamily`; ``retention``: :class:`erasure.entry.retention.RetentionFamily`."""
    native = NativeFamily(erasures, idempotency, now)
    families: list[Family] = [
        JuneFamily(erasures),
        VeltFamily(erasures),
        HelloJohnFamily(accounts, erasures),
        native,
        PlansFamily(plans),
        SuppressionsFamily(suppressions, idempotency, digest_key),
        DataMapFamily(data_maps, idempotency, now),
        sla,
        holds,
        retention,
        ApiKeysFamily(keys, idempotency),
        DocsFamily(),
    ]
    return Api(families, logger, default=native, backends=verifier, paths_are_encoded=paths_are_encoded)
