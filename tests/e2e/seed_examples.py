"""The calls that the documentation of the four systems shows, quoted as they stand there, and what it says they answer.

June's and HelloJohn's are whole ``curl`` commands. H2O's and Velt's texts show a request's line, headers and body:
their commands here are made of exactly those.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HELLOJOHN_TENANT = "tnt_01HABCDEF654321"
HELLOJOHN_USER = "usr_01HABCDEF123456"
HELLOJOHN_SECOND_USER = "usr_01HABCDEF789012"
"""Of the example that deletes two users."""

HOSTS = (
    "https://api.hellojohn.dev",
    "https://api.june.so",
    "https://api.velt.dev",
    "https://your-instance.com",
)
KEYS = ("sk_live_abc123", "YOUR_SECRET_API_KEY", "YOUR_API_KEY", "<your-token>", "<your-auth-token>")
"""What stands in the place of a secret, a text before those that it contains."""

HELLOJOHN_DELETE = """\
curl -X DELETE "https://api.hellojohn.dev/v1/users/usr_01HABCDEF123456" \\
  -H "Authorization: Bearer sk_live_abc123" \\
  -H "X-Tenant-ID: tnt_01HABCDEF654321"
"""
HELLOJOHN_DISABLE = """\
curl -X POST "https://api.hellojohn.dev/v1/users/usr_01HABCDEF123456/disable" \\
  -H "Authorization: Bearer sk_live_abc123" \\
  -H "X-Tenant-ID: tnt_01HABCDEF654321" \\
  -H "Content-Type: application/json" \\
  -d '{"revoke_sessions": true}'
"""
HELLOJOHN_NOT_FOUND = {"error": "resource_not_found", "message": "User not found."}

JUNE_USER_DELETION = """\
curl -X POST "https://api.june.so/api/platform/data_management/user_deletion_request" \\
-H "Authorization: Basic YOUR_API_KEY" \\
-H "Content-Type: application/json" \\
-d '{"user_id":"abcd-256"}'
"""
JUNE_USER_LISTS = (
    """\
curl -X GET "https://api.june.so/api/platform/data_management/user_deletion_requests" \\
-H "Authorization: Basic YOUR_API_KEY" \\
-H "Content-Type: application/json"
""",
    """\
curl -X GET "https://api.june.so/api/platform/data_management/user_deletion_requests?state=requested" \\
-H "Authorization: Basic YOUR_SECRET_API_KEY" \\
-H "Content-Type: application/json"
""",
    """\
curl -X GET "https://api.june.so/api/platform/data_management/user_deletion_requests?page=1" \\
-H "Authorization: Basic YOUR_SECRET_API_KEY" \\
-H "Content-Type: application/json"
""",
)
JUNE_GROUP_DELETION = """\
curl -X POST "https://api.june.so/api/platform/data_management/group_deletion_request" \\
-H "Authorization: Basic YOUR_SECRET_API_KEY" \\
-H "Content-Type: application/json" \\
-d '{"group_id":"abcd-256"}'
"""
JUNE_GROUP_LISTS = (
    """\
curl -X GET "https://api.june.so/api/platform/data_management/group_deletion_requests" \\
-H "Authorization: Basic YOUR_SECRET_API_KEY" \\
-H "Content-Type: application/json"
""",
    """\
curl -X GET "https://api.june.so/api/platform/data_management/group_deletion_requests?state=requested" \\
-H "Authorization: Basic YOUR_SECRET_API_KEY" \\
-H "Content-Type: application/json"
""",
    """\
curl -X GET "https://api.june.so/api/platform/data_management/group_deletion_requests?page=1" \\
-H "Authorization: Basic YOUR_SECRET_API_KEY" \\
-H "Content-Type: application/json"
""",
)

VELT_DELETE = """\
curl -X POST "https://api.velt.dev/v2/users/data/delete" \\
  -H "x-velt-api-key: <your-api-key>" \\
  -H "x-velt-auth-token: <your-auth-token>" \\
  -d '{
  "data": {
    "userIds": [
      "yourUserId1",
      "yourUserId2"
    ],
    "organizationIds": [
      "yourOrganizationId1",
      "yourOrganizationId2"
    ]
  }
}'
"""

H2O_REQUEST = """\
curl -X DELETE "https://your-instance.com/users/current" \\
  -H "Authorization: Bearer <your-token>"
"""
H2O_CONFIRM = """\
curl -X POST "https://your-instance.com/users/current/confirm-delete?timeout=300" \\
  -H "Authorization: Bearer <your-token>" \\
  -H "Content-Type: application/json" \\
  -d '{
"delete_id": "abc123def456"
}'
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What curl received. ``headers`` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


def run_curl(example: str, base_url: str, secret: str, others: Mapping[str, str] | None = None) -> Answer:
    """Run an example, as a shell would: its host and its secret replaced, and what ``others`` names; the rest as it
    stands."""
    for host in HOSTS:
        example = example.replace(host, base_url)
    for placeholder in KEYS:
        example = example.replace(placeholder, secret)
    for placeholder, value in (others or {}).items():
        example = example.replace(placeholder, value)
    command = example.replace("curl ", "curl --silent --show-error --max-time 60 --include ", 1)
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    status_line, *lines = head.split("\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(status_line.split()[1]), headers, body)
