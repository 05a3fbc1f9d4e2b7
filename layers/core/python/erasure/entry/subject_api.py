"""The API of subjects: what people do about their own data, with a token of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import erasure
from erasure.entry.api import Api, Verifier
from erasure.entry.exchange import OPEN, Call, Route, answer
from erasure.entry.h2o import H2OFamily, SelfDeletion

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.event_handler.api_gateway import Response
    from aws_lambda_powertools.logging import Logger

    from erasure.entry.settings import SubjectApiSettings
    from erasure.services.erasure_plans import ErasurePlans


class _WithHealth(H2OFamily):
    """The family, and the one route of the service that tells whether it is there."""

    def routes(self) -> list[Route]:
        return [*super().routes(), Route("GET", "/health", OPEN, _health)]


def make_subject_api(
    service: SelfDeletion,
    verifier: Verifier,
    settings: SubjectApiSettings,
    logger: Logger,
    plans: Callable[[], ErasurePlans],
) -> Api:
    """``plans`` is asked when somebody wants a preview."""
    family = _WithHealth(service, settings.confirm_wait_seconds, plans)
    return Api([family], logger, default=family, subjects=verifier, paths_are_encoded=settings.paths_are_encoded)


def _health(_call: Call) -> Response[str]:
    return answer(200, {"status": "ok", "message": "ok", "version": erasure.__version__})
