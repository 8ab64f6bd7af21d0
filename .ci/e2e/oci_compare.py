#!/usr/bin/env python3
"""Says whether what a client has pulled is the image that was pushed, byte for byte.

    oci_compare.py LAYOUT TOP DIR

LAYOUT is what oci_layout.py wrote, TOP the digest that the image was pushed under, DIR where the client put its blobs: a
layout of skopeo's, its `dir:`, or a content store of containerd's. Every blob from TOP downwards is hashed. The configs must
be those of LAYOUT; the layers, which docker compresses anew when it pushes, must unpack to what those configs name.

    oci_compare.py --configs LAYOUT          prints the digest of each config, the first platform's first
    oci_compare.py --layers LAYOUT           prints the digests of the first platform's layers, unpacked
    oci_compare.py --top LAYOUT              prints the digest of the image
"""
import hashlib
import json
import os
import sys
import zlib

CHUNK = 1 << 20


class Pulled:
    """Blobs by digest in a directory of some client's."""

    def __init__(self, root):
        self.root = root

    def paths(self, digest):
        name = digest.removeprefix("sha256:")
        for place in (name, f"blobs/sha256/{name}", f"{name}.manifest.json", "manifest.json"):
            path = os.path.join(self.root, place)
            if os.path.exists(path):
                yield path

    def read(self, digest):
        for path in self.paths(digest):
            with open(path, "rb") as file:
                data = file.read()
            if f"sha256:{hashlib.sha256(data).hexdigest()}" == digest:
                return data
        raise ValueError(f"{digest} is not in {self.root}, or not with these bytes")

    def unpacked(self, descriptor):
        """The digest of a layer's tar, once the layer's own digest and size have been found right."""
        for path in self.paths(descriptor["digest"]):
            packed, tar, size = hashlib.sha256(), hashlib.sha256(), 0
            unpack = zlib.decompressobj(wbits=31)
            with open(path, "rb") as file:
                while chunk := file.read(CHUNK):
                    size += len(chunk)
                    packed.update(chunk)
                    tar.update(unpack.decompress(chunk))
            tar.update(unpack.flush())
            if (f"sha256:{packed.hexdigest()}", size) == (descriptor["digest"], descriptor["size"]):
                return f"sha256:{tar.hexdigest()}"
        raise ValueError(f"layer {descriptor['digest']} is not in {self.root}, or not with these bytes")


def manifests(blobs, digest):
    """The manifests below one, itself if it is no index."""
    manifest = json.loads(blobs.read(digest))
    if "manifests" not in manifest:
        return [manifest]
    return [found for entry in manifest["manifests"] for found in manifests(blobs, entry["digest"])]


def top_of(layout):
    with open(os.path.join(layout, "index.json")) as file:
        return json.load(file)["manifests"][0]["digest"]


def configs_of(layout):
    return [manifest["config"]["digest"] for manifest in manifests(Pulled(layout), top_of(layout))]


def compare(layout, top, directory):
    pulled = Pulled(directory)
    images = manifests(pulled, top)
    found, expected = [image["config"]["digest"] for image in images], configs_of(layout)
    if found != expected:
        raise ValueError(f"configs {found}, pushed were {expected}")
    for image in images:
        diff_ids = json.loads(pulled.read(image["config"]["digest"]))["rootfs"]["diff_ids"]
        unpacked = [pulled.unpacked(layer) for layer in image["layers"]]
        if unpacked != diff_ids:
            raise ValueError(f"layers unpack to {unpacked}, pushed were {diff_ids}")


def main(args):
    match args:
        case ["--top", layout]:
            print(top_of(layout))
        case ["--configs", layout]:
            print(*configs_of(layout), sep="\n")
        case ["--layers", layout]:
            config = json.loads(Pulled(layout).read(configs_of(layout)[0]))
            print(*config["rootfs"]["diff_ids"], sep="\n")
        case [layout, top, directory] if not layout.startswith("-"):
            compare(layout, top, directory)
        case _:
            sys.exit(__doc__)


try:
    main(sys.argv[1:])
except (ValueError, KeyError, zlib.error) as error:
    sys.exit(f"oci_compare: {error}")
