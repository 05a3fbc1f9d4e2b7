"""Client of the erasure service: have a person's data erased, and know when it is gone.

::

    from erasure_client import ErasureClient

    with ErasureClient("https://erasure.example.com/prod", api_key="sk_live_…") as client:
        request = client.requests.create("usr_1").request
        done = client.requests.wait(request.id, timeout=3600)
        print(done.is_complete)

A person deletes themselves with a ``token`` in the place of the key: ``request_current_user_deletion()``, then
``confirm_current_user_deletion(delete_id)``. :class:`AsyncErasureClient` has the same methods for coroutines. All
exceptions are :class:`ErasureClientError`; the tree is in :mod:`erasure_client.errors`. For tests of your own:
:mod:`erasure_client.testing`.
"""

from erasure_client._client import AsyncErasureClient, ErasureClient
from erasure_client._models_others import (
    ApiKey,
    BulkResult,
    DataMap,
    DataMapWarning,
    Deletion,
    Health,
    Hold,
    PutDataMap,
    RetentionRule,
    RetentionRun,
    SelfDeletion,
    SlaFigures,
    Suppression,
    User,
)
from erasure_client._models_plans import DeletionPreview, DryRun, Plan, PlannedTarget, PlanTarget
from erasure_client._models_requests import (
    Attempt,
    AuditEntry,
    AuditTrail,
    Batch,
    Disposition,
    ErasureRequest,
    Job,
    Sla,
    Target,
)
from erasure_client._subjects import Subject, SubjectLike
from erasure_client._version import __version__
from erasure_client.errors import (
    BrokenRule,
    ConfigurationError,
    ConflictError,
    ErasureClientError,
    HeldError,
    InvalidRequestError,
    NeedsAttentionError,
    NoAnswerError,
    NotAllowedError,
    NotFoundError,
    NotSignedInError,
    PlanChangedError,
    RefusedError,
    ServiceError,
    StillRunningError,
    StoppedError,
    TooManyCallsError,
    UnexpectedAnswerError,
    UnfinishedError,
)

__all__ = [
    "ApiKey",
    "AsyncErasureClient",
    "Attempt",
    "AuditEntry",
    "AuditTrail",
    "Batch",
    "BrokenRule",
    "BulkResult",
    "ConfigurationError",
    "ConflictError",
    "DataMap",
    "DataMapWarning",
    "Deletion",
    "DeletionPreview",
    "Disposition",
    "DryRun",
    "ErasureClient",
    "ErasureClientError",
    "ErasureRequest",
    "Health",
    "HeldError",
    "Hold",
    "InvalidRequestError",
    "Job",
    "NeedsAttentionError",
    "NoAnswerError",
    "NotAllowedError",
    "NotFoundError",
    "NotSignedInError",
    "Plan",
    "PlanChangedError",
    "PlanTarget",
    "PlannedTarget",
    "PutDataMap",
    "RefusedError",
    "RetentionRule",
    "RetentionRun",
    "SelfDeletion",
    "ServiceError",
    "Sla",
    "SlaFigures",
    "StillRunningError",
    "StoppedError",
    "Subject",
    "SubjectLike",
    "Suppression",
    "Target",
    "TooManyCallsError",
    "UnexpectedAnswerError",
    "UnfinishedError",
    "User",
    "__version__",
]
