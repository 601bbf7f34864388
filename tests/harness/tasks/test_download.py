"""Downloads from a server on this machine: whole, resumed, damaged, unreachable."""

import hashlib
import io
import re
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from attacks.errors import BadInput
from harness.tasks import download
from harness.tasks.files import questionfiles
from harness.tasks.files.archives import unzip
from harness.tasks.files.dataroot import VARIABLE
from harness.tasks.files.fetch import fetch

CONTENT = bytes(range(256)) * 1_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUIET = Console(file=io.StringIO())


@dataclass
class Server:
    """The served content, the kind of server, and the requests."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: {"/file": CONTENT})
    resumes: bool = True
    cut: int | None = None
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    told = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content, wanted = told.files.get(self.path), self.headers.get("Range")
            told.asked.append(wanted)
            if content is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and told.resumes else 0
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            self.wfile.write(content[start : told.cut])

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        told.url = f"http://127.0.0.1:{http.server_port}"
        yield told
        http.shutdown()
        thread.join()


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "new" / "file"
    for _ in range(2):
        fetch(f"{server.url}/file", target, SHA256, QUIET)
    assert target.read_bytes() == CONTENT and server.asked == [None]
    assert list(target.parent.iterdir()) == [target]


def test_what_broke_off_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.cut = 100_000
    with pytest.raises(BadInput, match=r"broke off after 100000 of 256000 bytes\): connect to the network"):
        fetch(f"{server.url}/file", tmp_path / "file", SHA256, QUIET)
    assert not (tmp_path / "file").exists() and (tmp_path / "file.partial").stat().st_size == 100_000
    server.cut = None
    fetch(f"{server.url}/file", tmp_path / "file", SHA256, QUIET)
    assert (tmp_path / "file").read_bytes() == CONTENT and server.asked == [None, "bytes=100000-"]


@pytest.mark.parametrize("had", [1, len(CONTENT), len(CONTENT) + 9])
@pytest.mark.parametrize("resumes", [True, False])
def test_whatever_was_there_the_file_is_whole(had: int, resumes: bool, server: Server, tmp_path: Path) -> None:
    server.resumes = resumes
    (tmp_path / "file.partial").write_bytes((CONTENT + b"x" * 9)[:had])
    fetch(f"{server.url}/file", tmp_path / "file", SHA256, QUIET)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_another_checksum_is_refused_and_begins_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.partial").write_bytes(b"y" * 10)
    with pytest.raises(BadInput, match=f"not the published {SHA256}: it was removed"):
        fetch(f"{server.url}/file", tmp_path / "file", SHA256, QUIET)
    assert list(tmp_path.iterdir()) == []


def test_no_file_no_network_no_folder(server: Server, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="answers 404 Not Found"):
        fetch(f"{server.url}/nothing", tmp_path / "file", None, QUIET)
    with pytest.raises(BadInput, match=r"cannot be reached .*: connect to the network"):
        fetch("http://127.0.0.1:9/file", tmp_path / "file", None, QUIET)
    (tmp_path / "taken").touch()
    with pytest.raises(BadInput, match="cannot be written"):
        fetch(f"{server.url}/file", tmp_path / "taken" / "file", None, QUIET)


def archive(names: list[str]) -> bytes:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 2
            tar.addfile(member, io.BytesIO(b"ok"))
    return memory.getvalue()


RECORDINGS = [
    f"{digit}_{speaker}_{take}.wav" for digit in range(10) for speaker in download.SPEAKERS for take in range(50)
]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["download", *arguments])
    with pytest.raises(SystemExit) as stop:
        download.main()
    return int(stop.value.code or 0)


def test_fsdd_is_unpacked_and_nothing_else(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(download, "FSDD", f"{server.url}/fsdd")
    paths = [f"fsdd-master/recordings/{name}" for name in RECORDINGS]
    extra = [
        "fsdd-master/README.md",
        "../../0_theo_0.wav",
        "fsdd-master/recordings/../../evil.wav",
        "x/recordings/other.wav",
    ]
    root = tmp_path / "data"
    for content, said in (
        (archive(paths[1:]), "lacks 1 of 3000 recordings, 0_george_0.wav"),
        (b"no archive", "cannot be unpacked"),
    ):
        server.files["/fsdd"] = content
        assert run(monkeypatch, "fsdd", "--data-root", str(root)) == 2
        assert said in capsys.readouterr().err and not (root / "fsdd" / "recordings").exists()
    server.files["/fsdd"] = archive([*extra, *paths])
    for _ in range(2):
        assert run(monkeypatch, "fsdd", "--data-root", str(root)) == 0
    assert sorted(path.name for path in (root / "fsdd" / "recordings").iterdir()) == sorted(RECORDINGS)
    assert [path.name for path in (root / "fsdd").iterdir()] == ["recordings"] and list(tmp_path.iterdir()) == [root]
    assert server.asked == [None] * 3


def test_mnist_is_four_checked_files(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr(download, "MNIST", f"{server.url}/")
    server.files = {f"/{name}": name.encode() for name in download.MNIST_FILES}
    assert run(monkeypatch, "mnist") == 2  # not the published content
    monkeypatch.setattr(
        download, "MNIST_FILES", {name: hashlib.sha256(name.encode()).hexdigest() for name in download.MNIST_FILES}
    )
    assert run(monkeypatch, "mnist") == 0
    assert sorted(path.name for path in (tmp_path / "mnist").iterdir()) == sorted(download.MNIST_FILES)


def zipped(names: list[str]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as members:
        for name in names:
            members.writestr(name, name.rpartition("/")[2])
    return memory.getvalue()


def test_an_archive_gives_what_is_wanted_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(zipped(["a/B/one.txt", "a/B/../../evil.txt", "a/other.md", "/B/abs.txt"]))
    assert unzip(path, r"[^/]+/(B/.+\.txt)", tmp_path / "out", 1) == 1
    assert unzip(path, r"a/(other)\.md", tmp_path / "out", 1) == 1  # beside the existing files
    assert sorted(str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*") if each.is_file()) == [
        "out/B/one.txt",
        "out/other",
        "x.zip",
    ]
    with pytest.raises(BadInput, match="has 1 of at least 2 files"):
        unzip(path, r"a/(other)\.md", tmp_path / "new", 2)
    path.write_bytes(b"no archive")
    with pytest.raises(BadInput, match=r"cannot be unpacked: .*; run the same command again"):
        unzip(path, r"(.*)", tmp_path / "new", 1)
    assert not (tmp_path / "new").exists()


def test_question_files_are_fetched_archive_by_archive(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    real = questionfiles.ARCHIVES["howmany-qa"]
    names = ["HowMany-QA/question_ids.json", *(f"v2_{what}.json" for what in ("a", "b", "c", "d"))]
    local = tuple(
        questionfiles.Archive(f"{server.url}/{row}", each.pattern, each.least) for row, each in enumerate(real)
    )
    monkeypatch.setitem(questionfiles.ARCHIVES, "howmany-qa", local)
    server.files = {f"/{row}": zipped([name, "readme"]) for row, name in enumerate(names[:-1])} | {
        "/4": zipped(["readme"])
    }
    assert run(monkeypatch, "howmany-qa") == 2 and "has 0 of at least 1 files" in capsys.readouterr().err
    server.files["/4"], asked = zipped([names[-1]]), len(server.asked)
    # unpacked files are not fetched again
    assert run(monkeypatch, "howmany-qa") == 0 and len(server.asked) == asked + 1
    assert "images: unpack train2014.zip and val2014.zip" in capsys.readouterr().out.replace("\n", " ")
    folder = tmp_path / "howmany-qa"
    assert sorted(str(each.relative_to(folder)) for each in folder.rglob("*.json")) == sorted(names)
    assert [path.name for path in tmp_path.iterdir()] == ["howmany-qa"]


def test_patterns_fit_the_published_archives() -> None:
    published = {
        "bccd": [
            "BCCD_Dataset-master/BCCD/JPEGImages/BloodImage_00000.jpg",
            "BCCD_Dataset-master/BCCD/ImageSets/Main/val.txt",
        ],
        "tallyqa": ["train.json", "test.json"],
        "vqav2": ["v2_OpenEnded_mscoco_val2014_questions.json"],
    }
    for name, members in published.items():
        for member in members:
            assert re.fullmatch(questionfiles.ARCHIVES[name][0].pattern, member)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mnis"], "unknown data set 'mnis': did you mean mnist"),
        (["mnist"], "no data folder is given: name it with --data-root or ROBUSTNESS_DATA"),
        *(([name, "--data-root", "data"], f"to put into {Path('data') / name}") for name in download.ASK),
        (["mosi", "--data-root", "data"], "CMU-MOSI is for research only, and you have to request it"),
    ],
)
def test_what_cannot_be_fetched_is_one_sentence(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "")
    assert run(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and said in error
