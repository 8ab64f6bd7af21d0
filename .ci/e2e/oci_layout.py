#!/usr/bin/env python3
"""Writes an OCI image layout with one tag `1`: incompressible layers, one manifest a platform, an index over several.

    oci_layout.py DIR --platforms amd64 [arm64 ...] --layers N --layer-bytes BYTES
"""
import argparse
import gzip
import hashlib
import io
import json
import os
import random
import tarfile


class Layout:
    def __init__(self, root):
        self.blobs = os.path.join(root, "blobs", "sha256")
        os.makedirs(self.blobs)
        with open(os.path.join(root, "oci-layout"), "w") as file:
            file.write('{"imageLayoutVersion":"1.0.0"}')
        self.root = root

    def add_file(self, path, media_type):
        digest, size = hashlib.sha256(), 0
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
        os.rename(path, os.path.join(self.blobs, digest.hexdigest()))
        return {"mediaType": media_type, "digest": f"sha256:{digest.hexdigest()}", "size": size}

    def add_json(self, value, media_type):
        path = os.path.join(self.root, "tmp")
        with open(path, "w") as file:
            json.dump(value, file)
        return self.add_file(path, media_type)


class Random(io.RawIOBase):
    """So many random bytes, as a file to put in a tar."""

    def __init__(self, size, seed):
        self.left, self.random = size, random.Random(seed)

    def read(self, size=-1):
        size = min(self.left, size if size >= 0 else self.left)
        self.left -= size
        return self.random.randbytes(size)


def layer(layout, size, seed):
    path, digest = os.path.join(layout.root, "tmp"), hashlib.sha256()

    class Both:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            digest.update(data)
            return self.file.write(data)

    with gzip.GzipFile(path, "wb", compresslevel=0, mtime=0) as zipped:
        with tarfile.open(fileobj=Both(zipped), mode="w|") as tar:
            info = tarfile.TarInfo(f"random-{seed}")
            info.size = size
            tar.addfile(info, Random(size, seed))
    descriptor = layout.add_file(path, "application/vnd.oci.image.layer.v1.tar+gzip")
    return descriptor, f"sha256:{digest.hexdigest()}"


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("dir")
    args.add_argument("--platforms", nargs="+", required=True)
    args.add_argument("--layers", type=int, required=True)
    args.add_argument("--layer-bytes", type=int, required=True)
    args = args.parse_args()
    layout = Layout(args.dir)
    manifests = []
    for architecture in args.platforms:
        layers = [layer(layout, args.layer_bytes, f"{architecture}-{n}") for n in range(args.layers)]
        config = layout.add_json(
            {
                "architecture": architecture,
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
            },
            "application/vnd.oci.image.config.v1+json",
        )
        manifest = layout.add_json(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": config,
                "layers": [descriptor for descriptor, _ in layers],
            },
            "application/vnd.oci.image.manifest.v1+json",
        )
        manifests.append(manifest | {"platform": {"architecture": architecture, "os": "linux"}})
    top = manifests[0]
    if len(manifests) > 1:
        media_type = "application/vnd.oci.image.index.v1+json"
        top = layout.add_json({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}, media_type)
    top = {key: value for key, value in top.items() if key != "platform"}
    top["annotations"] = {"org.opencontainers.image.ref.name": "1"}
    with open(os.path.join(args.dir, "index.json"), "w") as file:
        json.dump({"schemaVersion": 2, "manifests": [top]}, file)


main()
