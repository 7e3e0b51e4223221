"""One cluster for all tests in this folder. Without Slurm, root or namespaces they are skipped, with the reason."""

import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster, obstacle
from tests.cluster.stories import Row, Scene, Story, tell, train_undisturbed

AT_A_TIME = 3
"""Stories at a time: they mostly wait for Slurm, and with two nodes each some nodes are left over."""


@pytest.fixture(scope="session")
def whole_cluster() -> Iterator[Cluster]:
    reason = obstacle()
    if reason is not None:
        pytest.skip(reason)
    # Treat TERM like ctrl-C, so that the cluster is cleaned up; otherwise a mount and a bridge are left behind.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Cluster() as cluster, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(cluster.conf))
        yield cluster
    signal.signal(signal.SIGTERM, before)


ROWS = pytest.StashKey[list[Row]]()
TOLD = pytest.StashKey[dict[Story, Future[None]]]()


@pytest.fixture
def cluster(request: pytest.FixtureRequest, whole_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with no story in progress and its nodes idle; jobs that a test leaves behind are cancelled."""
    wait(request.config.stash.get(TOLD, {}).values())
    whole_cluster.wait_for_nodes()
    yield whole_cluster
    whole_cluster.cancel_all()


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """A site profile for the test cluster, whose nodes all see this machine's disk."""
    path = tmp_path / "site.toml"
    path.write_text('partition = "main"\nshared = ["/"]\nminutes = 30\n')
    return path


@pytest.fixture(scope="session")
def rows(request: pytest.FixtureRequest) -> list[Row]:
    """The table of faults, printed at the end of the tests."""
    return request.config.stash.setdefault(ROWS, [])


@pytest.fixture(scope="session")
def undisturbed(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[dict[int, float]]]:
    """Losses of the same run on two processes, without Slurm and without a fault."""
    with ThreadPoolExecutor(1) as beside:
        yield beside.submit(train_undisturbed, shards, tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="session")
def told(
    request: pytest.FixtureRequest,
    whole_cluster: Cluster,
    shards: Path,
    tmp_path_factory: pytest.TempPathFactory,
    undisturbed: Future[dict[int, float]],
    rows: list[Row],
) -> Iterator[dict[Story, Future[None]]]:
    """All selected stories, several at a time on one cluster; each test waits for its own story."""
    parameters = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    stories: list[Story] = [each["story"] for each in parameters if "story" in each]
    folder = tmp_path_factory.mktemp("stories")
    pool = ThreadPoolExecutor(AT_A_TIME)
    request.config.stash[TOLD] = futures = {
        story: pool.submit(tell, story, Scene(whole_cluster, shards, folder / str(number), undisturbed, rows))
        for number, story in enumerate(stories)
    }
    yield futures
    # After an interrupted test run: stories in progress end soon once their jobs are cancelled.
    pool.shutdown(wait=False, cancel_futures=True)
    whole_cluster.cancel_all()
    pool.shutdown(wait=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.get(ROWS, [])
    if rows:
        terminalreporter.write_line("\n| fault | what was done | seconds lost | steps repeated | result |")
        terminalreporter.write_line("|---|---|---|---|---|")
    for fault, done, lost, repeated, result in sorted(rows):
        terminalreporter.write_line(f"| {fault} | {done} | {lost} | {repeated} | {result} |")
