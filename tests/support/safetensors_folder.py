"""Folders of safetensors files after the description of the format, right and wrong, without the code under test."""

import json
from pathlib import Path

import numpy as np

NAMES = {
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float64": "F64",
    "int64": "I64",
    "float8_e4m3fn": "F8_E4M3",
    "uint8": "U8",
}


def header_and_data(tensors):
    """The header's entries and the bytes after it."""
    entries, data = {}, b""
    for name, array in tensors.items():
        raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8).tobytes()
        entries[name] = {
            "dtype": NAMES[str(array.dtype)],
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    return entries, data


def framed(text, data):
    """A file of this header (text) and these bytes."""
    return len(text.encode()).to_bytes(8, "little") + text.encode() + data


def write_file(path, tensors):
    """A right file."""
    entries, data = header_and_data(tensors)
    Path(path).write_bytes(framed(json.dumps({"__metadata__": {"format": "pt"}, **entries}), data))


def write_index(folder, weight_map):
    """An index of several files."""
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def read_file(path):
    """All tensors of a right file, F32 and BF16 as float32."""
    raw = Path(path).read_bytes()
    length = int.from_bytes(raw[:8], "little")
    found = {}
    for name, entry in json.loads(raw[8 : 8 + length]).items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            piece = raw[8 + length + first : 8 + length + last]
            if entry["dtype"] == "BF16":
                wide = np.frombuffer(piece, np.uint16).astype(np.uint32) << 16
                values = wide.view(np.float32)
            else:
                values = np.frombuffer(piece, {"F32": np.float32, "F16": np.float16}[entry["dtype"]])
            found[name] = values.astype(np.float32).reshape(entry["shape"])
    return found


def read_all(folder):
    """All tensors of a folder's files together."""
    return {name: array for path in sorted(folder.glob("*.safetensors")) for name, array in read_file(path).items()}
