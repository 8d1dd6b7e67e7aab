"""Writes the generated files: `_proto/` from `protos/`, `docs/lifecycle.md` from the table.

`--check` writes nothing and fails when a committed file is not what would be written.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from google.api import http_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
TARGET = ROOT / "src" / "websocketmanager" / "_proto"
#: Both files say `package virtufin` and may clash in names, so each has a
#: folder and a descriptor pool of its own.
FILES = ("websocketmanager", "virtufin_api")


def generated_protos() -> dict[Path, str]:
    """Returns what protoc makes of every proto, moved into our packages and pools."""
    results: dict[Path, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in FILES:
            arguments = [
                "protoc",
                f"--proto_path={PROTOS}",
                f"--proto_path={Path(protoc.__file__).parent / '_proto'}",
                f"--proto_path={Path(http_pb2.__file__).parents[2]}",
                f"--python_out={folder}",
                f"--pyi_out={folder}",
                f"--grpc_python_out={folder}",
                f"{name}.proto",
            ]
            if protoc.main(arguments) != 0:
                raise SystemExit(f"protoc failed on {name}.proto")
            for suffix in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py"):
                text = (Path(folder) / f"{name}{suffix}").read_text()
                results[TARGET / name / f"{name}{suffix}"] = _moved(text, name)
    return results


def _moved(text: str, name: str) -> str:
    pool_import = "from google.protobuf import descriptor_pool as _descriptor_pool"
    text = text.replace(pool_import, "from ._pool import POOL as _POOL")
    text = text.replace("_descriptor_pool.Default()", "_POOL")
    text = text.replace(f"import {name}_pb2 as", f"from . import {name}_pb2 as")
    return text.replace(f"'{name}_pb2'", f"'websocketmanager._proto.{name}.{name}_pb2'")


def generated_docs() -> dict[Path, str]:
    """Returns the documents that are made from code."""
    from websocketmanager.domain import lifecycle_doc

    return {ROOT / "docs" / "lifecycle.md": lifecycle_doc.render()}


def main() -> int:
    """Writes or, with `--check`, compares. Returns the exit code."""
    wanted = generated_protos() | generated_docs()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            sys.stderr.write(f"stale: {path.relative_to(ROOT)} (run `make protos`)\n")
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
