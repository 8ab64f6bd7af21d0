//! Manifests of each kind, and ones that lie about their kind.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn descriptor(media_type: &str, content: &str) -> serde_json::Value {
    json!({
        "mediaType": media_type,
        "digest": Digest::sha256(content.as_bytes()).to_string(),
        "size": content.len(),
    })
}

fn parse(content_type: Option<&str>, value: &serde_json::Value) -> Result<Document> {
    Document::parse(content_type, value.to_string().as_bytes())
}

#[test]
fn an_image_lists_what_must_be_there() {
    let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    for media_type in [OCI_MANIFEST, DOCKER_MANIFEST] {
        let image = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": descriptor("application/vnd.oci.image.config.v1+json", "config"),
            "layers": [descriptor("application/x", "layer"), descriptor(foreign, "windows")],
            "subject": descriptor(OCI_MANIFEST, "subject"),
            "more": { "config": [1, 2, 3] },
        });
        let document = parse(Some(media_type), &image).unwrap();
        assert_eq!(document.media_type, media_type);
        assert_eq!(document.layers.len(), 2);
        let blobs: Vec<Digest> = document.blobs().map(|blob| blob.digest).collect();
        assert_eq!(blobs, [Digest::sha256(b"config"), Digest::sha256(b"layer")]);
        assert_eq!(document.subject.unwrap().digest, Digest::sha256(b"subject"));
    }
}

#[test]
fn an_index_lists_its_manifests() {
    for media_type in [OCI_INDEX, DOCKER_LIST] {
        let index = json!({
            "schemaVersion": 2,
            "manifests": [descriptor(OCI_MANIFEST, "a"), descriptor(OCI_MANIFEST, "b")],
        });
        let document = parse(Some(media_type), &index).unwrap();
        assert_eq!(document.manifests.len(), 2);
        assert_eq!(document.blobs().count(), 0);
    }
    let empty = json!({ "schemaVersion": 2, "manifests": null });
    assert_eq!(parse(Some(OCI_INDEX), &empty).unwrap().manifests, []);
}

#[test]
fn the_type_comes_from_header_body_or_shape() {
    let config = descriptor("application/x", "config");
    let image = json!({ "schemaVersion": 2, "config": config, "layers": [] });
    for content_type in [None, Some(""), Some("application/json; charset=utf-8")] {
        assert_eq!(parse(content_type, &image).unwrap().media_type, OCI_MANIFEST);
    }
    let own = json!({ "schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config });
    assert_eq!(parse(None, &own).unwrap().media_type, DOCKER_MANIFEST);
    let with_parameter = format!("{DOCKER_MANIFEST}; charset=utf-8");
    assert_eq!(parse(Some(&with_parameter), &own).unwrap().media_type, DOCKER_MANIFEST);
    let index = json!({ "schemaVersion": 2, "manifests": [] });
    assert_eq!(parse(None, &index).unwrap().media_type, OCI_INDEX);
    let other = json!({ "config": "not a descriptor" });
    let document = parse(Some("application/vnd.example+json"), &other).unwrap();
    assert_eq!((document.config, document.layers.len()), (None, 0));
}

#[test]
fn lies_are_refused() {
    let config = descriptor("application/x", "config");
    let long = format!("application/{}", "a".repeat(limits::MEDIA_TYPE_LEN_MAX));
    for (content_type, value) in [
        (OCI_MANIFEST, json!([])),
        (OCI_MANIFEST, json!("text")),
        (OCI_MANIFEST, json!({})),
        (OCI_MANIFEST, json!({ "schemaVersion": 2 })),
        (OCI_MANIFEST, json!({ "schemaVersion": 1, "config": config })),
        (OCI_MANIFEST, json!({ "schemaVersion": 2, "manifests": [] })),
        (OCI_MANIFEST, json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "config": config })),
        (OCI_MANIFEST, json!({ "schemaVersion": 2, "config": config, "layers": 5 })),
        (OCI_MANIFEST, json!({ "schemaVersion": 2, "config": { "digest": "md5:00" } })),
        (OCI_INDEX, json!({ "schemaVersion": 2, "config": config, "layers": [] })),
        (OCI_INDEX, json!({ "schemaVersion": 2, "manifests": [], "layers": [] })),
        ("", json!({ "schemaVersion": 2 })),
        ("no slash", json!({})),
        ("a/b c", json!({})),
        (&long, json!({})),
    ] {
        assert!(parse(Some(content_type), &value).is_err(), "{content_type} {value}");
    }
    assert!(Document::parse(Some("a/b"), br#"{"config":1,"config":2}"#).is_err());
    assert!(Document::parse(Some("a/b"), b"{").is_err());
    assert!(Document::parse(Some("a/b"), "{\"a\":".repeat(10_000).as_bytes()).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(
        content_type in prop::option::of("[a-z/+; ]{0,20}"),
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        text in "\\{(\"(config|layers|manifests|mediaType)\":[\\[\\]{}0-9,\"]{0,9},?){0,4}\\}",
    ) {
        let _ = Document::parse(content_type.as_deref(), &bytes);
        let _ = Document::parse(content_type.as_deref(), text.as_bytes());
    }
}
