"""A small server that speaks the part of the Hub's protocol which the real client uses."""

import hashlib
import http.server
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT, OLDER = "1234567" + "a" * 33, "7654321" + "b" * 33

REPOSITORIES = {
    "models/house/small": {
        "config.json": b'{"model_type": "llama"}',
        "model.safetensors": b"weights",
        "tokenizer.json": b"{}",
        "pytorch_model.bin": b"pickle",
        "modeling_small.py": b"import os",
        "onnx/model.safetensors": b"another format",
    },
    "models/house/shaped": {
        "config.json": b'{"model_type": "llama", "hidden_size": 16, "intermediate_size": 28, "num_hidden_layers": 2, '
        b'"num_attention_heads": 2, "vocab_size": 40, "dtype": "bfloat16"}'
    },
    "models/house/pickled": {"config.json": b"{}", "pytorch_model.bin": b"pickle"},
    "datasets/house/rows": {
        "train.jsonl": b"".join(b'{"text": "row %d"}\n' % i for i in range(4)),
        "more.jsonl": b'{"text": "more"}\n',
    },
    "datasets/house/scripted": {
        "scripted.py": b"raise SystemExit('it ran')",
        "a/rows.jsonl": b'{"text": "a", "more": "b"}\n',
        "c/rows.jsonl": b'{"text": "c"}\n',
    },
}
REFUSALS = {"models/house/gated": (403, "GatedRepo"), "models/house/absent": (404, "RepoNotFound")}


class Hub(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = unquote(urlsplit(self.path).path).strip("/").removeprefix("api/")
        if not path.startswith(("models/", "datasets/")):
            path = f"models/{path}"
        if path.count("/") < 2:  # the client also reports which library it serves
            return self.refuse(404, "EntryNotFound")
        kind, owner, name, *rest = path.split("/")
        repository = f"{kind}/{owner}/{name}"
        if repository in REFUSALS or repository not in REPOSITORIES:
            return self.refuse(*REFUSALS.get(repository, (404, "RepoNotFound")))
        known = REPOSITORIES[repository]
        entries = [
            {"type": "file", "path": file, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            for file, data in known.items()
        ]
        match rest:
            case ["commits", *_]:
                dates = {"date": "2024-01-01T00:00:00.000Z", "title": "t", "message": "", "authors": []}
                return self.reply([{"id": commit} | dates for commit in (COMMIT, OLDER)])
            case ["revision", revision] if revision in {"main", COMMIT}:
                siblings = [{"rfilename": file} for file in known]
                return self.reply({"id": f"{owner}/{name}", "sha": COMMIT, "siblings": siblings})
            case ["tree", _, *folder]:
                return self.reply([e for e in entries if e["path"].startswith("/".join(folder))])
            case ["paths-info", _]:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                wanted = json.loads(body)["paths"] if body.startswith(b"{") else unquote(body.decode())
                return self.reply([e for e in entries if e["path"] in wanted])
            case ["resolve", _, *file] if "/".join(file) in known:
                return self.reply(known["/".join(file)])
            case ["resolve", *_]:
                return self.refuse(404, "EntryNotFound")
        return self.refuse(404, "RevisionNotFound")

    do_HEAD = do_POST = do_GET

    def reply(self, content):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, status, code):
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def serving(cache: Path) -> Iterator[dict[str, str]]:
    """The environment of a process that takes the server for the Hub; the client reads its endpoint at import."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
    }
    for offline in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):  # other stages set them
        environment.pop(offline, None)
    try:
        yield environment
    finally:
        server.shutdown()
        server.server_close()
