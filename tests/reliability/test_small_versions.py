"""A study in trouble: killed, refused to a second driver, its database restarted, its MLflow silent, stopped, resumed.

The small version of what the nightly tests of this folder do many times and one by one.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests import postgres
from tests.reliability.harness import Study
from tests.reliability.test_mlflow_away import silent_server


def test_a_study_survives_a_day_of_trouble(tmp_path: Path) -> None:
    with postgres.running_server() as server, silent_server() as port:
        url = server.create_database("studies")
        changes = {"storage": {"url": url}, "tracking": {"uri": f"http://127.0.0.1:{port}"}}
        study = Study(tmp_path, trials=3, changes=changes)
        with study.searching(**study.failpoint("before-tell", "kill")) as killed:
            assert killed.wait() == -signal.SIGKILL
        with study.searching() as run:
            run.wait_for("resuming 'news'")
            with study.searching() as second:
                assert second.wait() == 5
                assert f"this study is being searched by process {run.process.pid} of " in second.errors
            server.stop("fast")
            time.sleep(0.5)
            server.start()
            run.wait_for("verifying the front")
            run.send(signal.SIGTERM)
            assert run.wait() == 143
            assert run.errors.strip().splitlines()[-2] == "Error: stopped"
            assert run.leftovers() == []
        last = study.finish()
        tally = study.tally(url)
        assert tally.is_clean, tally
        assert tally.ended == study.trials
        assert f"autoopt sync news --root {study.root}" in last.errors
        assert not any("Traceback" in one.errors for one in (killed, second, run, last))
        assert study.remnants() == []
