"""What the tests of the command share: pictures, and no network."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

# The tests import the module beside them.
sys.path.insert(0, str(Path(__file__).parent))

from fakes import FakeSession


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """A folder of four images, 96 by 64."""
    folder = tmp_path / "shots"
    folder.mkdir()
    for index in range(4):
        Image.new("RGB", (96, 64), (50 * index, 0, 0)).save(folder / f"{index}.png")
    return folder


@pytest.fixture(autouse=True)
def only_this_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other commands have tests of their own."""
    monkeypatch.setattr("rvm_trt.cli.COMMANDS", ("matte",))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replaces engine and session; collects the engines asked for."""
    import sys
    from types import ModuleType

    asked: list[Any] = []

    def provide_engine(profile: Any, **options: Any) -> Any:
        asked.append((profile, options))
        return SimpleNamespace(profile=profile, manifest=SimpleNamespace(seal=lambda: "0" * 64))

    provision, openvino, session = ModuleType("provision"), ModuleType("openvino"), ModuleType("session")
    vars(provision).update(provide_engine=provide_engine)
    vars(openvino).update(supports_bf16=lambda: True)
    vars(session).update(MattingSession=FakeSession)
    monkeypatch.setitem(sys.modules, "rvm_trt.engines.provision", provision)
    monkeypatch.setitem(sys.modules, "rvm_trt.engines.openvino", openvino)
    monkeypatch.setitem(sys.modules, "rvm_trt.runtime.session", session)
    return asked
