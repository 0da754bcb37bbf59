"""The picture of a report for the documentation can be made again by a command."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from PIL import Image

from rvm_trt.benchmarks import report_screenshot
from rvm_trt.benchmarks.browser import BrowserError, headless_browser
from rvm_trt.benchmarks.report import write_report

helpers = runpy.run_path(str(Path(__file__).with_name("report_helpers.py")))


def test_the_picture_shows_the_page_to_its_first_chart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = helpers["make_document"]()
    folder = helpers["fill"](tmp_path / "bench", document)
    write_report(document, folder)
    with helpers["browser_or_skip"]():
        pass
    path = tmp_path / "report.png"
    assert report_screenshot.main([str(folder), "-o", str(path), "--width", "800", "--dark"]) == 0
    assert capsys.readouterr().out.strip() == str(path)
    with Image.open(path) as image:
        assert image.width == 800
        assert 600 < image.height < 3000
        assert image.convert("L").getpixel((5, 5)) < 60


def test_a_folder_without_a_report_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report_screenshot.main([str(tmp_path), "-o", str(tmp_path / "report.png")]) == 1
    assert "result.json" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_a_browser_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("playwright")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrowserError, match="apt-get install chromium"), headless_browser():
        pass


def test_without_a_browser_tests_are_skipped_or_fail_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("RVM_TRT_REQUIRE_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="Install"), helpers["browser_or_skip"]():
        pass
    monkeypatch.setenv("RVM_TRT_REQUIRE_BROWSER", "1")
    with pytest.raises(BrowserError), helpers["browser_or_skip"]():
        pass
