"""Hugging Face's real client against a server of our own: what is offered, what is refused, and going on after an interruption."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest

from app import paths
from app.jobs.models import CheckModel, FetchHub, ListModels, LookUpHub, RemoveModel
from app.protocol.errors import UserError
from app.protocol.job import job_from_dict
from app.protocol.models import HubFile, HubOffer, ModelRow
from app.runners import models
from app.runners.getting import files, hub
from app.runners.getting.shelf import Shelf
from tests.runners import model_fakes as fakes
from tests.runners.test_models import Ctx, refused, result

REPO = "someone/tiny-llama"


@pytest.fixture
def server(monkeypatch):
    """A hub that runs on this machine; the client knows no other, and finds no settings of the person."""
    with fakes.serving() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url())
        monkeypatch.setenv("HF_HOME", str(paths.cache_dir() / "hf"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        yield running


@pytest.fixture
def folder_repo(server, tmp_path) -> dict[str, bytes]:
    """A repository with safetensors, and things beside them that are not wanted."""
    made = fakes.tiny_folder(tmp_path / "net")
    contents = {path.name: path.read_bytes() for path in made.iterdir()}
    extra = {
        "pytorch_model.bin": b"pickle", "README.md": b"# hello", "training_args.bin": b"pickle", "tokenizer.model": b"x",
        "onnx/model.onnx": b"x", "../evil.json": b"{}", "sub/model.safetensors": b"x", ".hidden.json": b"{}", "adapter.safetensors": b"x",
        "train.py": b"import os",
    }  # fmt: skip
    fakes.repository(server, REPO, {**contents, **extra})
    return contents


@pytest.fixture
def gguf_repo(server, tmp_path) -> bytes:
    """A repository with one GGUF file, large enough to be interrupted."""
    data = fakes.tiny_gguf(tmp_path / "tiny.gguf").read_bytes() + fakes.content(24_000_000)  # the client writes pieces of 10 MB
    fakes.repository(server, REPO, {"tiny.gguf": data}, config=None, gguf={"architecture": "llama"})
    return data


def offered(drive) -> HubOffer:
    facts = result(drive(LookUpHub(repo=REPO)))
    offer = job_from_dict(FetchHub, {"offer": facts["offer"]})[0].offer
    assert offer == job_from_dict(FetchHub, json.loads(json.dumps({"offer": facts["offer"]})))[0].offer
    return offer


def fetched(server) -> list[str]:
    return [path for command, path, _ in server.asked if command == "GET" and "/resolve/" in path]


# --- what is offered ---


def test_size_files_and_licence_are_told_and_nothing_is_fetched(server, folder_repo, drive) -> None:
    offer = offered(drive)
    (choice,) = offer.choices
    assert (offer.repo, offer.licence, offer.commit, choice.label) == (REPO, "apache-2.0", fakes.COMMIT, "safetensors")
    assert {file.name for file in choice.files} == {"model.safetensors", "config.json", "tokenizer.json"}
    assert choice.bytes == sum(len(data) for data in folder_repo.values())
    assert not fetched(server) and not (paths.models_dir() / files.STAGES).exists()


@pytest.mark.parametrize(
    "name", ["", "x", "a/b/c", "../etc/passwd", "a/..", "http://elsewhere.org/a/b", "-a/b", "a/b?x=1", "a" * 200 + "/b", "a b/c"]
)
def test_what_is_no_name_never_reaches_the_network(name, monkeypatch) -> None:
    with pytest.raises(UserError, match="is not the name of a repository"):
        hub.check_name(name)


@pytest.mark.parametrize("name", ["a/b", " a/b/ ", "https://huggingface.co/a/b"])
def test_names_as_people_paste_them(name) -> None:
    assert hub.check_name(name) == "a/b"


def answer(*names: str, size: int = 1000, **about: object) -> dict:
    rows = [{"name": name, "bytes": size, "digest": ""} for name in names]
    return {"repo": REPO, "commit": fakes.COMMIT, "licence": "mit", "gated": "", "model_type": "llama", "files": rows, **about}


def test_every_gguf_file_is_a_choice_of_its_own() -> None:
    offer = hub.offer_of(answer("a.Q4_0.gguf", "a.Q8_0.gguf", "big-00001-of-00002.gguf", "config.json"))
    assert [choice.label for choice in offer.choices] == ["a.Q4_0.gguf", "a.Q8_0.gguf"]
    assert hub.choose(offer, "a.Q8_0.gguf").files[0].name == "a.Q8_0.gguf"
    with pytest.raises(UserError, match="several models"):
        hub.choose(offer, "")
    with pytest.raises(UserError, match="has no"):
        hub.choose(offer, "b.gguf")


@pytest.mark.parametrize(
    "given, words",
    [
        (answer("pytorch_model.bin", "config.json"), "pickles only"),
        (answer("README.md"), "no language model"),
        (answer("model.safetensors", "config.json"), "no language model"),
        (answer("model.safetensors", "config.json", "tokenizer.json", model_type="bert"), "of the kind 'bert'"),
        (answer("../a.gguf", "sub/b.gguf", "c\\d.gguf"), "no language model"),
    ],
)
def test_what_is_not_offered(given, words) -> None:
    with pytest.raises(UserError, match=words) as told:
        hub.check_offer(hub.offer_of(given))
    assert told.value.hint


def test_a_mixture_of_experts_is_offered_as_a_folder_only() -> None:
    folder = ("model.safetensors", "config.json", "tokenizer.json")
    (choice,) = hub.offer_of(answer("a.gguf", *folder, model_type="olmoe")).choices
    assert choice.label == hub.FOLDER
    with pytest.raises(UserError, match="no language model"):
        hub.offer_of(answer("a.gguf", model_type="olmoe"))


def test_a_repository_without_a_licence_says_so() -> None:
    offer = hub.offer_of(answer("a.gguf", licence="", gated="manual"))
    assert offer.licence == "not named" and "no licence" in offer.notes[0] and "gated" in offer.notes[1]


def test_a_shard_counts_and_an_adapter_does_not() -> None:
    names = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "adapter_model.safetensors")
    (choice,) = hub.offer_of(answer(*names, "model.safetensors.index.json", "config.json", "tokenizer.json", "notes.txt")).choices
    assert {file.name for file in choice.files} == {*names[:2], "model.safetensors.index.json", "config.json", "tokenizer.json"}


# --- fetching ---


def test_a_folder_is_fetched_checked_and_listed(server, folder_repo, drive) -> None:
    job = FetchHub(repo=REPO, offer=offered(drive))
    facts = result(drive(job))
    home = paths.models_dir() / "hub" / "someone--tiny-llama" / "tiny-llama"
    assert facts["path"] == str(home) and facts["licence"] == "apache-2.0"
    assert {path.name: path.read_bytes() for path in home.iterdir()} == folder_repo
    assert {path.rsplit("/", 1)[1] for path in fetched(server)} == set(folder_repo), "nothing else was asked for"
    rows = {row["key"]: ModelRow(**row) for row in result(drive(ListModels()))["models"]}
    row = rows[facts["key"]]
    assert (row.state, row.licence, row.removal) == ("ready", "apache-2.0", "delete") and fakes.COMMIT[:8] in row.source
    assert not any(row.state == "partial" for row in rows.values())
    assert result(drive(FetchHub(repo=REPO)))["path"] == str(home), "once more, in the place of the first"
    (home / "config.json").write_text("{}")
    assert "config.json is damaged" in result(drive(CheckModel(model=row.key)))["found"][row.key]
    (home / "config.json").unlink()
    assert "config.json is missing" in result(drive(CheckModel(model=row.key)))["found"][row.key]
    result(drive(RemoveModel(model=row.key)))
    assert not home.exists()


def test_an_interrupted_fetch_goes_on_where_it_was(server, gguf_repo, drive) -> None:
    path = f"/{REPO}/resolve/{fakes.COMMIT}/tiny.gguf"
    server.slow.add(path)
    run = models.fetch_hub(FetchHub(repo=REPO, offer=offered(drive)), Ctx())
    folder = paths.models_dir()
    while next(run).done < 1.0:
        pass
    run.close()
    assert not (folder / "hub").exists()
    server.slow.clear()
    server.go_on.set()

    facts = result(drive(ListModels()))
    row = next(ModelRow(**row) for row in facts["models"] if row["state"] == "partial")
    here = len(gguf_repo) - row.fetch_bytes
    assert 2**20 <= here < len(gguf_repo) and row.title == REPO and "interrupted" in row.note
    job, warnings = job_from_dict(FetchHub, facts["interrupted"][row.key])
    assert not warnings
    done = result(drive(job))
    ranges = [headers["Range"] for command, asked, headers in server.asked if asked == path and "Range" in headers]
    assert len(ranges) == 1 and int(ranges[0].removeprefix("bytes=").rstrip("-")) >= 2**20 - 4096
    assert (folder / "hub" / "someone--tiny-llama" / "tiny.gguf").read_bytes() == gguf_repo
    keys = [row["key"] for row in result(drive(ListModels()))["models"]]
    assert done["key"] in keys and row.key not in keys


def test_a_connection_that_breaks_in_the_middle_loses_nothing(server, gguf_repo, drive) -> None:
    """Whether the client takes it up again by itself or not: what came is never asked for twice."""
    path, job = f"/{REPO}/resolve/{fakes.COMMIT}/tiny.gguf", FetchHub(repo=REPO, offer=offered(drive))
    server.breaks[path] = [11_000_000] + [0] * 20
    assert "what is here already is kept" in refused(drive(job))
    assert not (paths.models_dir() / "hub").exists()
    server.breaks.clear()
    server.asked.clear()
    result(drive(job))
    (asked,) = [headers["Range"] for command, where, headers in server.asked if command == "GET" and where == path]
    assert int(asked.removeprefix("bytes=").rstrip("-")) >= 10_000_000
    assert (paths.models_dir() / "hub" / "someone--tiny-llama" / "tiny.gguf").read_bytes() == gguf_repo


def test_a_repository_of_pickles_is_refused_and_none_of_it_fetched(server, drive) -> None:
    fakes.repository(server, REPO, {"pytorch_model.bin": b"pickle", "config.json": b"{}", "tokenizer.json": b"{}", "a.pt": b"x"})
    for job in (LookUpHub(repo=REPO), FetchHub(repo=REPO)):
        told = refused(drive(job))
        assert "pickles only" in told and "safetensors or GGUF" in told
    assert not fetched(server)


def test_what_an_interrupted_fetch_left_can_be_thrown_away(server, gguf_repo, drive) -> None:
    server.slow.add(f"/{REPO}/resolve/{fakes.COMMIT}/tiny.gguf")
    run = models.fetch_hub(FetchHub(repo=REPO, offer=offered(drive)), Ctx())
    while next(run).done < 1.0:
        pass
    key = next(row["key"] for row in result(drive(ListModels()))["models"] if row["state"] == "partial")
    assert "another Glassbox" in refused(drive(RemoveModel(model=key))), "not while it is being fetched"
    run.close()
    result(drive(RemoveModel(model=key)))
    assert not any(row["state"] == "partial" for row in result(drive(ListModels()))["models"])


def test_a_file_that_is_not_what_was_announced_is_thrown_away(server, folder_repo, drive) -> None:
    offer = offered(drive)
    path = f"/{REPO}/resolve/{fakes.COMMIT}/model.safetensors"
    status, headers, data = server.pages[path]
    server.pages[path] = status, headers, data[:-1] + b"\xff"
    assert "not what Hugging Face announced" in refused(drive(FetchHub(repo=REPO, offer=offer)))
    assert not (paths.models_dir() / "hub").exists() and not Shelf(paths.models_dir()).entries
    server.pages[path] = status, headers, data
    result(drive(FetchHub(repo=REPO, offer=offer)))


def test_a_model_that_cannot_be_read_is_not_put_in_place(server, drive) -> None:
    fakes.repository(server, REPO, {"tiny.gguf": b"no gguf at all"}, config=None)
    assert "is no GGUF file" in refused(drive(FetchHub(repo=REPO)))
    assert not (paths.models_dir() / "hub").exists()


def test_the_persons_token_goes_to_the_hub_and_nowhere_else(server, gguf_repo, drive, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    path = f"/{REPO}/resolve/{fakes.COMMIT}/tiny.gguf"
    server.pages["/elsewhere"] = server.pages[path]
    server.pages[path] = 302, {"Location": f"{server.url('localhost')}/elsewhere"}, b""
    result(drive(FetchHub(repo=REPO)))
    sent = {asked: headers.get("Authorization", headers.get("authorization")) for _, asked, headers in server.asked}
    assert sent[path] == "Bearer hf_secret" and sent["/elsewhere"] is None


# --- what can go wrong ---


@pytest.mark.parametrize(
    "status, headers, words",
    [
        (404, {"X-Error-Code": "RepoNotFound"}, "has no public repository"),
        (404, {"X-Error-Code": "RevisionNotFound"}, "no such revision"),
        (403, {"X-Error-Code": "GatedRepo"}, "is gated"),
        (500, {}, "answered with an error"),
    ],
)
def test_the_hub_says_no(status, headers, words, server, drive) -> None:
    server.pages[f"/api/models/{REPO}/revision/main"] = status, headers, b"{}"
    assert words in refused(drive(LookUpHub(repo=REPO)))


def test_no_network_is_one_sentence(drive, monkeypatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert refused(drive(LookUpHub(repo=REPO))).startswith("Hugging Face cannot be reached.")


def test_a_person_who_forbids_the_network_is_obeyed(server, drive, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in refused(drive(LookUpHub(repo=REPO)))
    assert server.asked == []


def test_a_full_disk_is_told_before(server, gguf_repo, drive, monkeypatch) -> None:
    monkeypatch.setattr(files, "free_bytes", lambda _folder: 1000)
    assert "not enough room" in refused(drive(FetchHub(repo=REPO)))
    assert not fetched(server)


def test_a_child_that_says_nothing(drive, monkeypatch) -> None:
    monkeypatch.setattr(hub, "CHILD", ("-c", "import sys; sys.exit('I fell over')"))
    assert "I fell over" in refused(drive(LookUpHub(repo=REPO)))


@pytest.mark.parametrize(
    "change",
    [{"repo": "../../x/y"}, {"commit": "../.."}, {"choices": ()}],
)
def test_a_job_that_was_tampered_with_leaves_its_folder_alone(change, server, folder_repo, drive, tmp_path) -> None:
    offer = dataclasses.replace(offered(drive), **change)
    assert refused(drive(FetchHub(repo=REPO, offer=offer)))
    assert sorted(os.listdir(tmp_path)) == ["glassbox-home", "net"]


@pytest.mark.parametrize("name", ["../evil.gguf", "a/b.gguf", ".x.gguf", "train.py", "/abs.gguf"])
def test_file_names_of_a_job_are_checked_again(name, server, folder_repo, drive) -> None:
    offer = offered(drive)
    choice = dataclasses.replace(offer.choices[0], files=(HubFile(name=name, bytes=5),))
    told = refused(drive(FetchHub(repo=REPO, offer=dataclasses.replace(offer, choices=(choice,)))))
    assert "is not fetched" in told and not fetched(server)
