"""The Ray cluster: start or join one, and check that it can run the trials."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from autoopt.search.experiment.sections import ResourcesSection
from autoopt.strategies.errors import EnvironmentProblem

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_worker_niceness": "0",  # Ray's default of 15 distorts latencies on a busy machine.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Tune would swallow Ctrl-C and end as if successful.
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",  # Without its head Ray would end this process after 60 s.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "30",  # A stopped trial frees its memory; Tune would drop the next after 2 s.
}
_LOCAL = "local"
_PRELOAD = f"{__package__}.preload"
"""Module that workers import before their first trial."""
CONNECT_TIMEOUT_S = 10.0
HEAD_INTERVAL_S = 3.0
HEAD_PATIENCE_S = 30.0
SHUTDOWN_TIMEOUT_S = 20.0
JOIN_PATIENCE_S = 40.0
"""How long a cluster that grows on demand has to offer what a trial needs."""


class Cluster:
    """The Ray cluster at ``RAY_ADDRESS``, or a local one if it is unset or empty, within a ``with`` block.

    It is started by a thread, so that the block can do something else until ``wait``. The same thread ends it: the
    processes of a local cluster end with the thread that started them.
    """

    def __init__(self, resources: ResourcesSection) -> None:
        self._resources = resources
        self._address = os.environ.get("RAY_ADDRESS") or _LOCAL
        self._gpus: Future[float] = Future()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="autoopt-ray", daemon=True)

    def __enter__(self) -> Cluster:
        """Start it; raises ``EnvironmentProblem`` at once if nobody listens at the address."""
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        _refuse_client(self._address)
        _check_reachable(self._address)
        if self._resources.cpus_per_worker == 1:  # Ray starts a process for each processor in advance.
            os.environ.setdefault("RAY_preload_python_modules", _PRELOAD)
        import ray  # noqa: F401  Here, since two threads that import the same packages can deadlock.

        logging.getLogger("ray._private.worker").setLevel(logging.ERROR)  # It would miss a handler of SIGTERM.
        self._thread.start()
        return self

    def wait(self) -> float:
        """Wait until the cluster is up and return the GPUs of each worker.

        Raises ``EnvironmentProblem`` if it does not start, or if no node of it can ever run a trial.
        """
        try:
            return self._gpus.result()
        finally:
            _take_sigterm_back()

    def __exit__(self, *_: object) -> None:
        """Disconnect; without its head that would wait for minutes, so then it is left to the exit."""
        import ray

        self._ended.set()
        self._thread.join(SHUTDOWN_TIMEOUT_S)
        if self._thread.is_alive():
            atexit.unregister(ray.shutdown)
        _take_sigterm_back()
        sys.stdout.flush()

    def _work(self) -> None:
        import ray

        try:
            self._gpus.set_result(self._start())
        except BaseException as error:  # noqa: BLE001  Raised again by the thread that waits.
            self._gpus.set_exception(error)
        self._ended.wait()
        ray.shutdown()

    def _start(self) -> float:
        _connect(self._address, self._resources)
        gpus = self._resources.gpu_share(_gpu_count())
        _check_capacity(self._resources, gpus, patience_s=0.0 if self._address == _LOCAL else JOIN_PATIENCE_S)
        return gpus


class HeadWatch:
    """Watches the cluster's head from a thread; Ray itself waits for a lost one without a word."""

    def __init__(self) -> None:
        import ray

        self._address = ray.get_runtime_context().gcs_address
        self._seen_at = time.monotonic()
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name="autoopt-head-watch", daemon=True).start()

    def check(self) -> None:
        """Raise ``EnvironmentProblem`` if the head could not be reached for a while."""
        if time.monotonic() - self._seen_at > HEAD_PATIENCE_S:
            raise EnvironmentProblem(
                f"the head of the Ray cluster at {self._address} is gone; start it again, or another one"
            )

    def close(self) -> None:
        """Stop watching."""
        self._ended.set()

    def _watch(self) -> None:
        host, _, port = self._address.rpartition(":")
        while not self._ended.wait(HEAD_INTERVAL_S):
            with contextlib.suppress(OSError):
                socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
                self._seen_at = time.monotonic()


def check_cluster() -> str:
    """Start a cluster, stop it and return a description; raises ``EnvironmentProblem`` if that fails."""
    with Cluster(ResourcesSection(workers=1)) as starting:
        starting.wait()
        import ray

        return f"{ray.__version__} starts, with {ray.cluster_resources().get('CPU', 0):g} processors"


def _take_sigterm_back() -> None:
    """Install Python's handler of SIGTERM again: Ray puts its own before it, and takes both away when it ends."""
    handler = signal.getsignal(signal.SIGTERM)
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _refuse_client(address: str) -> None:
    if address.startswith("ray://"):
        raise EnvironmentProblem(
            f"RAY_ADDRESS={address} is an address of Ray Client, which cannot run a search; run autoopt on a node of "
            "the cluster with RAY_ADDRESS=auto or RAY_ADDRESS=HOST:6379, or submit it with 'ray job submit'"
        )


def _check_reachable(address: str) -> None:
    """Raise ``EnvironmentProblem`` if nobody listens at HOST:PORT; Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise EnvironmentProblem(
            f"no Ray cluster at '{address}': {error}; check RAY_ADDRESS, or unset it to use this machine alone"
        ) from None


def _connect(address: str, resources: ResourcesSection) -> None:
    import ray

    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == _LOCAL:
        settings |= {"include_dashboard": False, "num_cpus": max(1, resources.workers * resources.cpus_per_worker)}
    for attempt in (1, 2):
        try:
            ray.init(address=address, **settings)
            return
        except (ConnectionError, TimeoutError, RuntimeError, ValueError) as error:
            ray.shutdown()
            if attempt == 2:
                cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise EnvironmentProblem(
                    f"no Ray cluster at '{address}': {cause}; check RAY_ADDRESS and, since 'ray start' asks for a "
                    "token unless it is told otherwise, RAY_AUTH_MODE; or unset RAY_ADDRESS to use this machine alone"
                ) from error


def _gpu_count() -> int:
    """Return the number of GPUs of the cluster as it is now."""
    return int(sum(node.get("GPU", 0.0) for node in _nodes()))


def _check_capacity(resources: ResourcesSection, gpus: float, *, patience_s: float) -> None:
    """Raise ``EnvironmentProblem`` if no node offers the resources of one trial within ``patience_s``."""
    needed = {"CPU": float(resources.cpus_per_worker), "GPU": gpus}
    given_up_at = time.monotonic() + patience_s
    while not any(_fits(needed, node) for node in _nodes()):
        if time.monotonic() >= given_up_at:
            nodes = "; ".join(_describe(node) for node in _nodes()) or "no node"
            raise EnvironmentProblem(
                f"each trial needs {_describe(needed)} on one node (resources.cpus_per_worker, "
                f"resources.gpus_per_worker), but the cluster has: {nodes}"
            )
        time.sleep(1.0)


def _nodes() -> list[Mapping[str, float]]:
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _fits(needed: Mapping[str, float], node: Mapping[str, float]) -> bool:
    return all(node.get(name, 0.0) >= amount for name, amount in needed.items())


def _describe(amounts: Mapping[str, float]) -> str:
    return f"{amounts.get('CPU', 0.0):g} CPU, {amounts.get('GPU', 0.0):g} GPU"
