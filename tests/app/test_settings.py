"""Settings survive a restart and a crash; broken files are kept aside and said in a sentence."""

import json

import pytest

from app.settings import VERSION, Settings
from app.storage import Storage


@pytest.fixture
def storages():
    made = []

    def make() -> Storage:
        made.append(Storage())
        return made[-1]

    yield make
    for storage in made:
        storage.close()


def test_values_presets_and_panels_come_back(tmp_path, storages, qtbot):
    settings = Settings(tmp_path, storages())
    with qtbot.waitSignal(settings.changed) as told:
        settings.set("theme", "dark")
    assert told.args == ["theme"]
    settings.set_preset("txt2img", "quick", {"steps": 5})
    settings.set_panel("image", {"prompt": "a cat", "points": [1, 2]})
    assert settings.flush()
    again = Settings(tmp_path, storages())
    assert again.get("theme") == "dark"
    assert again.presets("txt2img") == {"quick": {"steps": 5}}
    assert again.panel("image") == {"prompt": "a cat", "points": [1, 2]}
    assert again.notice == ""


def test_what_was_set_is_on_disk_without_closing(tmp_path, storages):
    """A crash runs no clean-up: everything must already be with the I/O thread."""
    settings = Settings(tmp_path, storages())
    settings.set("threads", 3)
    settings.storage.flush(5)
    assert json.loads((tmp_path / "settings.json").read_text())["values"]["threads"] == 3


def test_a_preset_can_be_removed(tmp_path, storages):
    settings = Settings(tmp_path, storages())
    settings.set_preset("txt2img", "quick", {"steps": 5})
    settings.set_preset("txt2img", "quick", None)
    assert settings.presets("txt2img") == {}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b"\xff\xfe\x00", b'{"values": {}}', b'{"version": "1"}', b"null", b"[" * 100000],
    ids=["empty", "cut", "list", "binary", "no version", "word", "null", "deep"],
)
def test_a_broken_file_is_kept_aside_and_defaults_are_used(tmp_path, storages, content):
    (tmp_path / "settings.json").write_bytes(content)
    settings = Settings(tmp_path, storages())
    assert settings.get("theme") == "system"
    assert "settings.json.broken" in settings.notice
    assert (tmp_path / "settings.json.broken").read_bytes() == content


def test_a_file_of_a_newer_version_is_kept_aside(tmp_path, storages):
    (tmp_path / "settings.json").write_text(json.dumps({"version": VERSION + 1, "values": {"theme": "dark"}}))
    settings = Settings(tmp_path, storages())
    assert settings.get("theme") == "system" and settings.notice
    assert (tmp_path / "settings.json.broken").exists()


def test_single_wrong_values_fall_back_and_the_rest_stays(tmp_path, storages):
    values = {"theme": "pink", "threads": -4, "device": "cuda", "reduced_motion": "yes", "window": [], "own": [1]}
    (tmp_path / "settings.json").write_text(json.dumps({"version": VERSION, "values": values}))
    settings = Settings(tmp_path, storages())
    assert settings.get("theme") == "system"
    assert settings.get("threads") == 0
    assert settings.get("reduced_motion") is False
    assert settings.get("window") == {}
    assert settings.get("device") == "cuda"
    assert settings.get("own") == [1]


def test_a_broken_panel_state_does_not_touch_the_others(tmp_path, storages):
    settings = Settings(tmp_path, storages())
    settings.set_panel("image", {"prompt": "a cat"})
    settings.flush()
    (tmp_path / "panels" / "chat.json").write_text("{oops")
    again = Settings(tmp_path, storages())
    assert again.panel("image") == {"prompt": "a cat"}
    assert again.panel("chat") == {}
    assert "chat.json.broken" in again.notice
    assert (tmp_path / "panels" / "chat.json.broken").read_text() == "{oops"
