"""Whole jobs over targets that lead to each other: the service's functions and the real erasers, on moto."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from erasure.domain.data_map import parse_data_map
from erasure.domain.request import FINISHED, STARTED
from erasure.domain.subject import Subject
from tests.functional.job_stack import JobStack, stack_on_moto

pytestmark = pytest.mark.timeout(120)

ANN, BOB = Subject("acme", "ann"), Subject("acme", "bob")
DATA_MAP: dict[str, Any] = {
    "version": 1,
    "targets": [
        {"name": "homes", "category": "content", "s3": {"bucket": "app-files", "prefix": "{tenant_id}/{user_id}/"}},
        {
            "name": "docs",
            "category": "content",
            "dynamodb": {"table": "app-docs", "index": "by-owner", "key": {"owner": "{tenant_id}#{user_id}"}},
        },
        {
            "name": "files",
            "for_each": "docs",
            "s3": {"bucket": "app-files", "key": "{docs.files}"},
        },
        {"name": "pages", "for_each": "docs", "dynamodb": {"table": "app-pages", "key": {"doc": "{docs.id}"}}},
        {"name": "images", "for_each": "pages", "s3": {"bucket": "app-images", "prefix": "{pages.image}/"}},
    ],
}


class Library:
    """Documents, found through an index, with files (a set), pages, and these with images."""

    def __init__(self, stack: JobStack) -> None:
        self.stack = stack
        self.stack.create_table("app-docs", ("id",), {"by-owner": ("owner",)})
        self.stack.create_table("app-pages", ("doc", "number"))
        self.stack.s3.create_bucket(Bucket="app-images")
        self.stack.maps.put(parse_data_map(DATA_MAP), datetime.now(UTC))

    def put_document(self, owner: Subject, name: str, *files: str, pages: int = 2) -> None:
        for file in files:
            self.stack.s3.put_object(Bucket="app-files", Key=file, Body=b"one")
            self.stack.s3.put_object(Bucket="app-files", Key=file, Body=b"two")
        item: dict[str, Any] = {"id": {"S": name}, "owner": {"S": f"{owner.tenant_id}#{owner.id}"}}
        if files:
            item["files"] = {"SS": list(files)}
        self.stack.dynamodb.put_item(TableName="app-docs", Item=item)
        for number in range(pages):
            image = f"{name}-{number}"
            page = {"doc": {"S": name}, "number": {"S": str(number)}, "image": {"S": image}}
            self.stack.dynamodb.put_item(TableName="app-pages", Item=page)
            self.stack.s3.put_object(Bucket="app-images", Key=f"{image}/large", Body=b"image")

    def names(self, *buckets: str) -> set[str]:
        """Ids of documents, pages and objects, of these buckets or of both."""
        found = {item["id"]["S"] for item in self.stack.items("app-docs")}
        found |= {f"{item['doc']['S']} {item['number']['S']}" for item in self.stack.items("app-pages")}
        for bucket in buckets or ("app-files", "app-images"):
            answer = self.stack.s3.list_object_versions(Bucket=bucket)
            found |= {version["Key"] for version in [*answer.get("Versions", []), *answer.get("DeleteMarkers", [])]}
        return found


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    for stack in stack_on_moto(monkeypatch):
        yield Library(stack)


def erase(library: Library, subject: Subject) -> str:
    request_id = library.stack.confirm(subject)
    library.stack.work()
    return request_id


BOBS = {"bobs", "bobs 0", "bobs 1", "bob.pdf", "bobs-0/large", "bobs-1/large"}


def test_a_tree_goes_and_nothing_else(library: Library) -> None:
    """Three levels over two tables and two buckets go, with all versions, each counted; another person's stay."""
    library.put_document(ANN, "one", "one.pdf", "one.txt")
    library.put_document(ANN, "two", "two.pdf", pages=30)
    library.put_document(ANN, "three", pages=0)
    library.put_document(BOB, "bobs", "bob.pdf")
    request_id = erase(library, ANN)
    assert library.stack.request(request_id).state == FINISHED
    assert library.names() == BOBS
    counts = {name: outcome.count for name, outcome in library.stack.outcomes(request_id).items()}
    assert counts == {"homes": 0, "docs": 3, "files": 6, "pages": 32, "images": 32}


def test_a_file_of_another_person_stays(library: Library) -> None:
    """A document that names a file in another person's folder: nothing of that folder goes, the document stays."""
    library.stack.s3.put_object(Bucket="app-files", Key="acme/bob/diary", Body=b"bob's")
    library.put_document(ANN, "fine", "fine.pdf", "acme/ann/letter", pages=0)
    library.put_document(ANN, "forged", pages=0)
    library.stack.dynamodb.update_item(
        TableName="app-docs",
        Key={"id": {"S": "forged"}},
        UpdateExpression="SET files = :files",
        ExpressionAttributeValues={":files": {"L": [{"S": "acme/bob/diary"}]}},
    )
    request_id = erase(library, ANN)
    assert library.stack.request(request_id).state == STARTED
    outcomes = library.stack.outcomes(request_id)
    assert (outcomes["files"].outcome, outcomes["files"].reason) == ("failed", "ambiguous_identifier")
    assert (outcomes["docs"].outcome, outcomes["docs"].reason) == ("failed", "children_failed")
    assert {"acme/bob/diary", "forged"} <= library.names()
    assert not {"fine.pdf", "acme/ann/letter"} & library.names()


def test_a_bucket_that_is_gone_keeps_its_documents(library: Library) -> None:
    """If the images' bucket cannot be reached, pages and documents stay, so that a retry finds the images."""
    library.put_document(ANN, "one", "one.pdf")
    for key in ("one-0/large", "one-1/large"):
        library.stack.s3.delete_object(Bucket="app-images", Key=key)
    library.stack.s3.delete_bucket(Bucket="app-images")
    request_id = erase(library, ANN)
    outcomes = library.stack.outcomes(request_id)
    assert {name: outcome.reason for name, outcome in outcomes.items() if outcome.reason} == {
        "images": "target_missing",
        "pages": "children_failed",
        "docs": "children_failed",
    }
    assert library.names("app-files") == {"one", "one 0", "one 1"}


@pytest.mark.parametrize("calls", [1, 2, 3, 5, 8, 13])
def test_a_write_that_fails_leaves_no_orphans(library: Library, calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the table refuses deletions for a while, what is left is found again, and the job finishes."""
    library.put_document(ANN, "one", "one.pdf")
    library.put_document(ANN, "two", "two.pdf")
    refused = iter(range(calls))

    def delete(**arguments: Any) -> Any:
        if next(refused, None) is not None:
            raise ClientError({"Error": {"Code": "InternalServerError", "Message": ""}}, "DeleteItem")
        return real(**arguments)

    real = library.stack.dynamodb.delete_item
    monkeypatch.setattr(library.stack.dynamodb, "delete_item", delete)
    request_id = erase(library, ANN)
    assert library.stack.request(request_id).state == FINISHED
    assert library.names() == set()


def test_two_children_in_one_bucket(library: Library) -> None:
    """Files and previews of a document may be in the same bucket: each is found by its own attribute."""
    children = [
        {"name": name, "for_each": "docs", "s3": {"bucket": "app-images", "key": f"{{docs.{attribute}}}"}}
        for name, attribute in (("originals", "original"), ("thumbs", "thumb"))
    ]
    document = {"version": 1, "targets": [DATA_MAP["targets"][1], *children]}
    library.stack.maps.put(parse_data_map(document), datetime.now(UTC))
    library.put_document(ANN, "one", pages=0)
    library.stack.dynamodb.update_item(
        TableName="app-docs",
        Key={"id": {"S": "one"}},
        UpdateExpression="SET original = :original, thumb = :thumb",
        ExpressionAttributeValues={":original": {"S": "a.png"}, ":thumb": {"S": "b.png"}},
    )
    for key in ("a.png", "b.png", "c.png"):
        library.stack.s3.put_object(Bucket="app-images", Key=key, Body=b"image")
    request_id = erase(library, ANN)
    assert {name: outcome.reason for name, outcome in library.stack.outcomes(request_id).items()} == dict.fromkeys(
        ("docs", "originals", "thumbs")
    )
    assert library.names() == {"c.png"}
