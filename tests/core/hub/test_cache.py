"""One rule for where the Hub's things lie, and it is the client's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from core.hub.cache import hub_cache, hub_home

NAMES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME")
ASK = "import json; from huggingface_hub import constants as c; print(json.dumps([c.HF_HOME, c.HF_HUB_CACHE]))"


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"HF_HOME": "~/elsewhere"},
        {"HF_HOME": "$HOME/by-variable"},
        {"XDG_CACHE_HOME": "/var/tmp/caches"},
        {"HF_HUB_CACHE": "/data/hub", "HF_HOME": "/data/home"},
        {"HUGGINGFACE_HUB_CACHE": "/old/name"},
    ],
)
def test_the_places_are_those_of_huggingface_hub(named: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    answer = subprocess.run(
        [sys.executable, "-c", ASK], env=dict(os.environ), capture_output=True, text=True, check=True
    )
    assert [str(hub_home()), str(hub_cache())] == json.loads(answer.stdout)
