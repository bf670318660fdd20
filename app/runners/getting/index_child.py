"""A program of its own that fetches one file of a package index in a way that survives an interruption:
`python -m app.runners.getting.index_child`, with a JSON object as its argument.

pip throws half a file away. This asks pip what it is configured with (`pip config list`), finds the file by the Simple API of those
very indexes (PEP 503, PEP 691) and fetches it with range requests into NAME.part, renamed when it has its size. It prints one JSON
object: {"file": path}, or {"error": kind, "words": …}. The kind "pip" means: nothing lost, but only pip can do this (an index in a
folder, a keyring, a certificate of one's own); "broken": the connection broke, what came is kept. What the file hashes to is checked
by who asked for it.
"""

from __future__ import annotations

import base64
import errno
import http.client
import json
import netrc
import os
import re
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

PYPI = "https://pypi.org/simple"
SIMPLE = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
TIMEOUT_S, CONFIG_WITHIN_S = 20.0, 60.0
MAX_PAGE_BYTES = 32 * 2**20
PIECE = 256 * 1024
TRIES = 4
"""Attempts in a row that bring next to nothing."""
NEXT_TO_NOTHING = 64 * 1024
PAUSE_S = 0.5
SETTING = re.compile(r"(global|download|:env:)\.([\w-]+)='(.*)'$")
OWN_WAYS = ("client-cert", "no-index", "keyring-provider")


class PipNeededError(Exception):
    """pip may be able to do what this cannot."""


class BrokenError(Exception):
    """The connection broke, again and again."""


# --- what pip is configured with ---


def settings(pip: list[str]) -> dict[str, str]:
    """pip's configuration as it counts for `pip download`: environment over the command's own section over the global one."""
    told = subprocess.run(
        [sys.executable, *pip, "config", "list"], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=CONFIG_WITHIN_S,
    )  # fmt: skip
    if told.returncode != 0:
        raise PipNeededError("pip does not tell its configuration")
    return parsed(told.stdout)


def parsed(listing: str) -> dict[str, str]:
    """The lines of `pip config list`: SECTION.NAME='VALUE'."""
    found: dict[str, dict[str, str]] = {"global": {}, "download": {}, ":env:": {}}
    for line in listing.splitlines():
        if match := SETTING.match(line.strip()):
            section, name, value = match.groups()
            found[section][name.replace("_", "-")] = value.replace("\\n", " ")
    return {**found["global"], **found["download"], **found[":env:"]}


def indexes(config: dict[str, str]) -> list[str]:
    """The addresses of the indexes, in pip's order."""
    for name in OWN_WAYS:
        if config.get(name, "").lower() not in ("", "0", "false", "no", "off", "auto", "disabled"):
            raise PipNeededError(f"pip is configured with {name}")
    every = [config.get("index-url") or config.get("pypi-url") or PYPI, *config.get("extra-index-url", "").split()]
    return [each for each in every if each.startswith(("https://", "http://"))]


def opener(config: dict[str, str]) -> urllib.request.OpenerDirector:
    """Goes through the proxy and trusts the certificates that pip does."""
    trust = ssl.create_default_context()
    for bundle in filter(None, (_certifi(), config.get("cert") or os.environ.get("REQUESTS_CA_BUNDLE"))):
        trust.load_verify_locations(bundle)
    proxy = config.get("proxy")
    handler = urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else None)
    return urllib.request.build_opener(handler, urllib.request.HTTPSHandler(context=trust))


def _certifi() -> str:
    """The authorities that come with pip's and the hub's clients: a Python of its own may know none."""
    try:
        import certifi
    except ImportError:
        return ""
    return certifi.where()


def request(url: str, home: str, **headers: str) -> urllib.request.Request:
    """A request for an address; a name and password of the index `home` go to its own host and nowhere else."""
    parts, own = urlsplit(url), urlsplit(home)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    made = urllib.request.Request(bare.geturl(), headers={"User-Agent": "glassbox", **headers})
    if (parts.scheme, parts.hostname, parts.port) == (own.scheme, own.hostname, own.port):
        name, password = unquote(own.username or ""), unquote(own.password or "")
        if not name and (known := _netrc(parts.hostname or "")):
            name, password = known
        if name:
            word = base64.b64encode(f"{name}:{password}".encode()).decode()
            made.add_unredirected_header("Authorization", f"Basic {word}")
    return made


def _netrc(host: str) -> tuple[str, str] | None:
    try:
        entry = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return None
    return (entry[0] or "", entry[2] or "") if entry else None


# --- where the file is ---


class Links(HTMLParser):
    """The links of a page of the Simple API: name and address."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base, self.found = base, {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if tag == "base" and href:
            self.base = urljoin(self.base, href)
        if tag == "a" and href:
            address = urldefrag(urljoin(self.base, href)).url
            self.found[unquote(urlsplit(address).path.rpartition("/")[2])] = address


def links(body: bytes, kind: str, base: str) -> dict[str, str]:
    """File names and addresses on a page of the Simple API, as JSON or HTML."""
    if kind.endswith("json"):
        return {str(row["filename"]): urldefrag(urljoin(base, str(row["url"]))).url for row in json.loads(body)["files"]}
    page = Links(base)
    page.feed(body.decode("utf-8", "replace"))
    return page.found


class Place(NamedTuple):
    """Where a file is, and the index that said so."""

    url: str
    index: str


def find(package: str, file: str, config: dict[str, str], way: urllib.request.OpenerDirector) -> Place:
    """Ask the indexes in their order; `PipNeededError` if none of them tells."""
    name = re.sub(r"[-_.]+", "-", package).lower()
    why = "no index of pip's answers over the network"
    for index in indexes(config):
        page = f"{index.rstrip('/')}/{name}/"
        try:
            with way.open(request(page, index, Accept=SIMPLE), timeout=TIMEOUT_S) as answer:
                found = links(answer.read(MAX_PAGE_BYTES), answer.headers.get_content_type(), answer.url)
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            why = f"{type(error).__name__}: {error}"
            continue
        if found.get(file, "").startswith(("https://", "http://")):
            return Place(found[file], index)
        why = f"the index has no {file}"
    raise PipNeededError(why)


# --- fetching it ---


def fetch(place: Place, part: Path, size: int, way: urllib.request.OpenerDirector) -> None:
    """Bring the file into `part`, going on where it ends, until it has its size."""
    failures = 0
    while (have := part.stat().st_size if part.exists() else 0) < size:
        why = "the connection ended early"
        try:
            _append(place, part, have, size, way)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # nothing there to go on with
                part.unlink()
            elif error.code < 500 and error.code != 429:
                raise PipNeededError(f"the index answers {error.code}") from None
            why = f"the index answers {error.code}"
        except (OSError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
                raise
            why = f"{type(error).__name__}: {error}"
        came = part.stat().st_size - have if part.exists() else 0
        failures = failures + 1 if came < NEXT_TO_NOTHING else 1
        if part.exists() and part.stat().st_size >= size:
            return
        if failures >= TRIES:
            raise BrokenError(why) if part.exists() and part.stat().st_size else PipNeededError(why)
        time.sleep(PAUSE_S * failures)


def _append(place: Place, part: Path, have: int, size: int, way: urllib.request.OpenerDirector) -> None:
    asked = request(place.url, place.index, **{"Accept-Encoding": "identity"}, **({"Range": f"bytes={have}-"} if have else {}))
    with way.open(asked, timeout=TIMEOUT_S) as answer:
        begin, whole = _begins(answer)
        if whole not in (size, None) or begin not in (0, have):
            raise PipNeededError(f"the file of the index has {whole} bytes instead of {size}")
        with open(part, "r+b" if part.exists() else "wb") as file:
            file.truncate(begin)  # an index without ranges sends everything again
            file.seek(begin)
            while begin < size and (piece := answer.read1(min(PIECE, size - begin))):
                file.write(piece)
                file.flush()  # what came outlives this program
                begin += len(piece)
            os.fsync(file.fileno())


def _begins(answer: Any) -> tuple[int, int | None]:
    """The place of an answer's first byte in the file, and the bytes of the whole file, None if it does not say."""
    if answer.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if not match:
            raise PipNeededError("the index answers with a range of its own")
        return int(match[1]), None if match[2] == "*" else int(match[2])
    length = answer.headers.get("Content-Length")
    return 0, int(length) if length and length.isdigit() else None


def main(argument: str) -> int:
    """Do what the argument says and print the answer."""
    wish = json.loads(argument)
    target, size = Path(wish["folder"]) / wish["file"], int(wish["bytes"])
    part = target.with_name(f"{target.name}.part")
    try:
        config = settings(wish["pip"])
        way = opener(config)
        fetch(find(wish["package"], wish["file"], config, way), part, size, way)
        os.replace(part, target)
        answer = {"file": str(target)}
    except BrokenError as error:
        answer = {"error": "broken", "words": str(error)}
    except Exception as error:  # whatever it is, pip may know a way, or a better sentence
        full = getattr(error, "errno", None) == errno.ENOSPC
        answer = {"error": "disk" if full else "pip", "words": f"{type(error).__name__}: {error}"[:2000]}
    print(json.dumps(answer))
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
