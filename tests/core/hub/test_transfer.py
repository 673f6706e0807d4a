"""With hf_xet installed, against a server without Xet, and where its storage cannot be reached: plain transfers take over."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants, hf_hub_download

from core.compute.spec import OPEN
from core.hub.push import Push, push
from core.hub.transfer import or_without_xet
from tests.core.compute.conftest import hub_place
from tests.servers.hub import HubDataset, HubServer
from tests.servers.hub_jobs import HubJobs
from tests.servers.loopback import Answer, Request

pytestmark = pytest.mark.skipif(importlib.util.find_spec("hf_xet") is None, reason="hf_xet is not installed")


NOWHERE = "http://127.0.0.1:9"


class XetHub(HubServer):
    """Sends its clients to a Xet storage that does not answer, as behind a firewall that lets only the Hub through."""

    def respond(self, request: Request) -> Answer:
        if "/xet-" in request.path:
            told = {"X-Xet-Cas-Url": NOWHERE, "X-Xet-Access-Token": "t", "X-Xet-Token-Expiration": "4000000000"}
            return Answer(
                json.dumps({"casUrl": NOWHERE, "accessToken": "t", "exp": 4_000_000_000}).encode(), headers=told
            )
        answer = super().respond(request)
        if "/resolve/" in request.path:
            route = f"{self.url}/api/datasets/ana/d/xet-read-token/main"
            answer.headers.update({"X-Xet-Hash": "a" * 64, "X-Xet-Refresh-Route": route})
        return answer


@pytest.fixture(autouse=True)
def xet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Xet as it is by default; one try in place of three minutes of them."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "0")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("HF_TOKEN", "hf_write")


def test_the_client_alone_has_no_way_back_from_xet(tmp_path: Path) -> None:
    """What this module is for. Should this fail, the client has learnt it and `or_without_xet` can go."""
    with HubJobs(large_files=True) as hub:
        api = HfApi(endpoint=hub.url, token="hf_loopback")
        with pytest.raises(ConnectionError):
            api.upload_file(
                path_or_fileobj=b"x" * 5000, path_in_repo="t/a.gz", repo_id="me/intern-jobs", repo_type="dataset"
            )
        assert hub.asked_for_xet == 1
        assert not hub.pushed


def test_a_folder_is_published_by_git_lfs_where_xet_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights" * 1000)
    with XetHub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        push(Push(repo="me/model", folder=str(folder)))
        assert hub.repos["me/model"]["model.safetensors"] == b"weights" * 1000
        assert sum("/xet-write-token/" in r.path for r in hub.requests) == 1
        assert sum(r.method == "PUT" for r in hub.requests) == 1


def test_a_download_goes_on_by_http_and_later_ones_ask_for_no_xet(tmp_path: Path) -> None:
    files = {f"default/train/{i}.parquet": b"rows" * 500 for i in range(2)}
    with XetHub({"ana/d": HubDataset(parquet=files)}) as hub:
        for i in range(2):
            path = or_without_xet(
                lambda i=i: hf_hub_download(
                    "ana/d", f"default/train/{i}.parquet", repo_type="dataset", revision="refs/convert/parquet",
                    endpoint=hub.url, cache_dir=tmp_path,
                )
            )  # fmt: skip
            assert Path(path).read_bytes() == b"rows" * 500
        assert sum("/xet-read-token/" in r.path for r in hub.requests) == 1


def test_what_the_hub_itself_refuses_is_not_asked_twice(tmp_path: Path) -> None:
    from huggingface_hub.errors import HfHubHTTPError

    with HubJobs(large_files=True) as hub:
        api = HfApi(endpoint=hub.url, token="hf_wrong")
        with pytest.raises(HfHubHTTPError):
            or_without_xet(lambda: api.create_repo("me/x", private=True))
    assert not constants.HF_HUB_DISABLE_XET


@pytest.mark.filterwarnings("ignore:Use 'content=")  # the client's own, of bytes it uploads by LFS
def test_a_rented_job_brings_its_results_home_without_xet(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    with HubJobs(large_files=True, xet=True) as hub:
        place = hub_place(hub, tmp_path / "jobs")
        compute = place.connect()
        compute.submit(place.spec("open('made.txt', 'w').write('by a job')"))
        until = time.monotonic() + 90
        while (status := compute.inspect("job-1")).state in OPEN:
            assert time.monotonic() < until, status
            time.sleep(0.05)
        assert status.state == "done"
        assert (place.folder / "job-1" / "made.txt").read_text() == "by a job"
        assert hub.asked_for_xet == 2, "once by the host, once by the job"
        assert [p.partition("/")[2] for p in hub.pushed] == ["in.tar.gz", "out.tar.gz"]
        assert any("pushing the result failed" in line for line in hub.jobs[status.handle].lines)
