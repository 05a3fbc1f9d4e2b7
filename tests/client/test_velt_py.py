"""The real ``velt-py`` client works against this service unchanged. It ignores the HTTP status: bodies tell all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from velt_py import VeltSDK
from velt_py.models.gdpr import DeleteAllUserDataRequest, GetDeleteUserDataStatusRequest
from velt_py.services.api.base_api_service import BaseApiService

from erasure.entry.velt import VeltFamily
from tests.client.gateway import Gateway
from tests.functional.backend_calls import BackendApi

USERS = ["yourUserId1", "yourUserId2"]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[BackendApi]:
    """The API, served where the client looks for Velt's."""
    api = BackendApi()
    with Gateway(api.handle, VeltFamily(api.world.erasures).routes()) as gateway:
        monkeypatch.setattr(BaseApiService, "VELT_API_BASE_URL", gateway.url)
        yield api


def gdpr(api: BackendApi, key: str | None = None) -> Any:
    """The client's service, with a key of ours in the place of both of its credentials."""
    key = key or api.key
    return VeltSDK.initialize({"apiKey": key.split("_")[2], "authToken": key}).api.gdpr


def test_delete_and_status(api: BackendApi) -> None:
    """The client starts a deletion, asks for it until it is completed, and the users' data are gone."""
    subjects = [api.world.put_user(user_id) for user_id in USERS]
    started = gdpr(api).deleteAllUserData(DeleteAllUserDataRequest(userIds=USERS))
    assert (started["status"], started["statusCode"], started["data"]["tasksCount"]) == ("success", 202, 4)
    job = GetDeleteUserDataStatusRequest(jobId=started["data"]["jobId"])
    assert gdpr(api).getDeleteUserDataStatus(job)["result"]["data"] == {"isDeleteCompleted": False, "tasksLeft": 4}
    api.world.run_batch()
    data = gdpr(api).getDeleteUserDataStatus(job)["result"]["data"]
    assert (data["isDeleteCompleted"], data["tasksLeft"]) == (True, 0)
    assert data["lastTaskCompletedTime"] == int(api.world.clock().timestamp() * 1000)
    assert all("files" not in api.world.left(subject) for subject in subjects)


def test_organizations(api: BackendApi) -> None:
    """The client's ``organizationIds`` bound the deletion."""
    request = DeleteAllUserDataRequest(userIds=USERS[:1], organizationIds=["yourOrganizationId1"])
    assert gdpr(api).deleteAllUserData(request)["data"]["tasksCount"] == 1
    assert api.world.only_request().organization_ids == ("yourOrganizationId1",)


def test_what_is_refused_says_so_in_its_body(api: BackendApi) -> None:
    """A wrong key, a wrong argument and an unknown job come back as errors that the client's callers can read."""
    unknown = GetDeleteUserDataStatusRequest(jobId="dsQuvPmIynANgPLLEhCm")
    answers = [
        gdpr(api, f"{api.key[:-1]}-").deleteAllUserData(DeleteAllUserDataRequest(userIds=USERS)),
        gdpr(api).deleteAllUserData(DeleteAllUserDataRequest(userIds=[])),
        gdpr(api).getDeleteUserDataStatus(unknown),
    ]
    assert [(answer["error"]["status"], answer["error"]["code"]) for answer in answers] == [
        ("UNAUTHENTICATED", 401),
        ("INVALID_ARGUMENT", 400),
        ("NOT_FOUND", 404),
    ]
    assert api.world.requests.records == {}
