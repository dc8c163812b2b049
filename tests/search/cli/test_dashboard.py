from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from autoopt.search.backends.optuna_storage import database_url
from autoopt.search.backends.optuna_study import OptunaStudy
from autoopt.search.cli.main import autoopt
from autoopt.search.dashboards.optuna_site import LOOPBACK
from autoopt.search.dashboards.servers import Server, check_free, serve
from autoopt.search.experiment.experiment import load_experiment
from autoopt.search.experiment.opening import directions, open_data, space_of
from autoopt.search.paths import Root
from autoopt.strategies.errors import EnvironmentProblem
from tests.search.samples import write_experiment


def run(*arguments: object) -> Result:
    return CliRunner().invoke(autoopt, ["dashboard", *map(str, arguments)])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def started(root: Root, tmp_path: Path) -> Root:
    """A root in which the study ``news`` was started and has no trial yet."""

    experiment = load_experiment(write_experiment(tmp_path / "given"))
    folder = root.study("news")
    folder.path.mkdir(parents=True)
    folder.experiment.write_text(experiment.to_yaml(), encoding="utf-8")
    OptunaStudy.open(
        database_url(root.optuna_database),
        "news",
        space_of(experiment, open_data(experiment)),
        objectives=directions(experiment),
        limits=experiment.budget,
        sampler="tpe",
        seed=0,
    )
    return root


def child(port: int, *, code: str = "") -> Server:
    handler = "http.server.SimpleHTTPRequestHandler"
    listen = f"import http.server; http.server.HTTPServer(('{LOOPBACK}', {port}), {handler}).serve_forever()"
    return Server("a server", port, [sys.executable, "-c", code or listen], {})


def test_no_other_address_than_loopback_is_served(started: Root) -> None:
    for host in ("0.0.0.0", "::", "example.org"):  # noqa: S104
        result = run("news", "--root", started.path, "--host", host)
        assert result.exit_code == 2
        assert "127.0.0.1 only" in result.stderr


def test_an_unknown_study_is_answered_before_anything_starts(started: Root) -> None:
    result = run("nwes", "--root", started.path)
    assert result.exit_code == 2
    assert "did you mean 'news'" in result.stderr


def test_a_port_that_is_taken_is_named_with_the_option_to_change_it(started: Root) -> None:
    with socket.socket() as occupied:
        occupied.bind((LOOPBACK, 0))
        occupied.listen()
        port = occupied.getsockname()[1]
        result = run("news", "--root", started.path, "--port", port, "--mlflow-port", free_port())
    assert result.exit_code == 5
    assert f"port {port} is not available" in result.stderr
    assert "--mlflow-port" in result.stderr
    with pytest.raises(EnvironmentProblem, match="both dashboards would use port 8080"):
        check_free([8080, 8080])


def test_servers_are_ended_whatever_happens(tmp_path: Path) -> None:
    port = free_port()

    def interrupted() -> None:
        with serve([child(port)], tmp_path / "log"), urllib.request.urlopen(f"http://{LOOPBACK}:{port}/") as answer:
            assert answer.status == 200
            raise KeyboardInterrupt("while it runs")

    with pytest.raises(KeyboardInterrupt, match="while it runs"):
        interrupted()
    check_free([port])


def test_a_server_that_ends_by_itself_is_reported_and_ends_the_others(tmp_path: Path) -> None:
    good, bad = free_port(), free_port()
    servers = [child(good), child(bad, code="raise SystemExit(3)")]
    with (
        pytest.raises(EnvironmentProblem, match=r"exited with code 3; see .*log"),
        serve(servers, tmp_path / "log"),
    ):
        pytest.fail("a server that does not answer was taken for one that does")
    check_free([good])


def status(address: str, method: str = "GET", body: Any = None, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(address, body, named, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def check_optuna_dashboard(address_with_token: str, address: str) -> None:
    """Open the printed address as a browser does; without its token nothing is answered, and nothing can write."""
    assert status(f"{address}/api/studies") == 403
    assert status(f"{address}/api/studies?token=guessed") == 403
    jar = CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    with browser.open(address_with_token) as page:
        assert page.url == f"{address}/dashboard", "the token stays in no address and no history"
        assert b"<html" in page.read()
    with browser.open(f"{address}/api/studies") as answer:
        studies = json.load(answer)["study_summaries"]
    assert [study["study_name"] for study in studies] == ["news"]
    study = f"{address}/api/studies/{studies[0]['study_id']}"
    (cookie,) = jar
    known = {"Cookie": f"{cookie.name}={cookie.value}"}
    assert status(study, **known) == 200
    assert status(study, "DELETE", **known) == 405, "the bin icon"
    assert status(f"{study}/rename", "POST", b'{"study_name": "mine"}', **known) == 405
    assert status(study, **known, Host="evil.example") == 403
    assert status(study, **known, Origin="http://evil.example") == 403
    assert status(study, **known, Origin=address) == 200
    assert status(study, **known) == 200


def check_mlflow(address: str) -> None:
    """Pages of other sites cannot write."""
    create = f"{address}/api/2.0/mlflow/experiments/create"
    assert status(f"{address}/health") == 200
    body, json_body = b'{"name": "foreign"}', {"Content_Type": "application/json"}
    assert status(create, "POST", body, **json_body, Origin="http://evil.example") == 403
    assert status(create, "POST", body, **json_body, Host="evil.example") == 403
    assert status(create, "POST", body, **json_body, Host="192.168.0.7:5000") == 403
    assert status(create, "POST", body, **json_body) == 200


def test_both_dashboards_answer_and_end_with_the_command(started: Root) -> None:
    port, mlflow_port = free_port(), free_port()
    program = "from autoopt.search.cli.main import main; main()"
    options = ["--root", str(started.path), "--port", str(port), "--mlflow-port", str(mlflow_port)]
    with subprocess.Popen(
        [sys.executable, "-c", program, "dashboard", "news", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout
        assert process.stderr
        lines = [process.stdout.readline() for _ in range(3)]
        address = re.fullmatch(r"Optuna dashboard: (http://127\.0\.0\.1:\d+/\?token=\S+) \(read-only\)\n", lines[0])
        assert address, process.stderr.read()
        assert lines[1:] == [
            f"MLflow: http://127.0.0.1:{mlflow_port} (it can edit and delete runs, and has no password)\n",
            "Press Ctrl-C to stop.\n",
        ]
        check_optuna_dashboard(address[1], f"http://127.0.0.1:{port}")
        check_mlflow(f"http://127.0.0.1:{mlflow_port}")
        assert address[1].rpartition("=")[2] not in (started.path / "dashboards.log").read_text(encoding="utf-8")
        process.send_signal(signal.SIGINT)
        process.wait(30)
    assert process.returncode == 130
    for _ in range(50):
        try:
            check_free([port, mlflow_port])
            return
        except EnvironmentProblem:
            time.sleep(0.1)
    pytest.fail("a dashboard outlived the command")
