from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
import sqlalchemy

from autoopt.search.backends.optuna_board import reading_storage
from autoopt.search.backends.optuna_storage import database_url, storage_at
from autoopt.search.dashboards.read_only_site import ReadOnlySite
from tests.places import ROOT
from tests.servers import free_port


def ask(site: ReadOnlySite, method: str = "GET", path: str = "/", query: str = "", **headers: str) -> dict[str, Any]:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_PORT": "8080",
    }
    environ |= {"HTTP_HOST": "127.0.0.1:8080", **{f"HTTP_{name.upper()}": value for name, value in headers.items()}}
    setup_testing_defaults(environ)
    answer: dict[str, Any] = {}

    def start(status: str, pairs: list[tuple[str, str]], *_: object) -> Any:
        answer.update({"status": int(status[:3]), **dict(pairs)})

    answer["body"] = b"".join(site(environ, start))
    return answer


def content(_: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"content"]


OPEN, LOCKED = ReadOnlySite(content), ReadOnlySite(content, token="secret-token")  # noqa: S106


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "MOVE"])
def test_what_may_write_is_refused(method: str) -> None:
    answer = ask(OPEN, method)
    assert (answer["status"], answer["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:9000", "LOCALHOST", "[::1]:8080"])
def test_reading_is_answered_under_every_name_of_this_machine(method: str, host: str) -> None:
    assert ask(OPEN, method, host=host)["status"] == 200
    assert ask(OPEN, method, host=host, origin=f"http://{host}")["status"] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "192.168.0.7:8080", "[::1", "a@b:c:d"]
)
def test_a_foreign_host_is_refused(host: str) -> None:
    answer = ask(OPEN, host=host)
    assert answer["status"] == 403
    assert b"is not a name of this site; open it as 127.0.0.1 or" in answer["body"]


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:3000", "null", ""])
def test_a_page_of_another_site_is_refused(origin: str) -> None:
    assert ask(OPEN, origin=origin)["status"] == 403


def test_without_its_token_nothing_is_answered() -> None:
    assert ask(LOCKED)["status"] == 403
    assert ask(LOCKED, query="token=")["status"] == 403
    assert ask(LOCKED, query="token=secret-toke")["status"] == 403
    assert ask(LOCKED, cookie="autoopt_8080=other")["status"] == 403
    assert ask(LOCKED, cookie="autoopt_8081=secret-token")["status"] == 403
    assert ask(LOCKED, cookie="\x7f;;=")["status"] == 403


def test_the_token_in_the_address_becomes_a_cookie_and_leaves_the_address() -> None:
    admitted = ask(LOCKED, path="//evil.example", query="token=secret-token&page=2")
    assert (admitted["status"], admitted["Location"]) == (303, "/evil.example?page=2")
    assert admitted["Set-Cookie"] == "autoopt_8080=secret-token; Path=/; HttpOnly; SameSite=Strict"
    assert ask(LOCKED, cookie="other=1; autoopt_8080=secret-token")["body"] == b"content"


def test_a_storage_for_reading_reads_and_refuses_to_write(tmp_path: Path) -> None:
    url = database_url(tmp_path / "optuna.db")
    optuna.create_study(storage=storage_at(url), study_name="news")
    storage = reading_storage(url)
    assert [study.study_name for study in storage.get_all_studies()] == ["news"]
    with pytest.raises((sqlalchemy.exc.OperationalError, optuna.exceptions.StorageInternalError)):
        storage.delete_study(storage.get_study_id_from_name("news"))
    with pytest.raises((sqlalchemy.exc.OperationalError, optuna.exceptions.StorageInternalError)):
        storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "other")
    assert optuna.get_all_study_names(storage=storage_at(url)) == ["news"]


def test_the_stacks_dashboard_is_read_only_under_its_own_names(tmp_path: Path) -> None:
    """With gunicorn, as ``docker/serve.sh`` starts it, from a folder that holds the two files of the image."""
    pytest.importorskip("gunicorn")
    url = database_url(tmp_path / "optuna.db")
    optuna.create_study(storage=storage_at(url), study_name="news")
    folder = tmp_path / "dashboard"
    folder.mkdir()
    for file in (ROOT / "docker/dashboard.py", ROOT / "search/dashboards/read_only_site.py"):
        (folder / file.name).write_bytes(file.read_bytes())
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--chdir", str(folder), "--bind", f"127.0.0.1:{port}"]
    environment = {"AUTOOPT_DATABASE": url, "PYTHONPATH": ""}
    with subprocess.Popen([*command, "dashboard:application"], env=environment, stderr=subprocess.PIPE) as server:
        try:
            address = f"http://127.0.0.1:{port}/api/studies"
            for _ in range(200):
                try:
                    assert status(address) == 200
                    break
                except urllib.error.URLError:
                    time.sleep(0.1)
            assert status(f"{address}/1", method="DELETE") == 405
            assert status(address, method="POST", data=b"{}") == 405
            assert status(address, headers={"Host": "evil.example"}) == 403
            assert status(address, headers={"Host": "dashboard:8080"}) == 200
        finally:
            server.terminate()


def status(address: str, **request: Any) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, **request)) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
