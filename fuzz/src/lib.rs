//! What the fuzz targets check, as plain functions, so that `cargo test` can replay the seeds.

pub mod bitfield;
pub mod config;
pub mod frame;
pub mod metainfo;
pub mod range_header;
pub mod registry_route;
pub mod scenario;
pub mod swarm;

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Every seed of the target; a directory without any is an error.
    fn replay(target: &str, check: fn(&[u8])) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
        let mut seeds = 0;
        for entry in std::fs::read_dir(&dir).unwrap() {
            check(&std::fs::read(entry.unwrap().path()).unwrap());
            seeds += 1;
        }
        assert!(seeds > 0, "no seeds in {}", dir.display());
    }

    #[test]
    fn frame() {
        replay("frame", crate::frame::check);
    }

    #[test]
    fn bitfield() {
        replay("bitfield", crate::bitfield::check);
    }

    #[test]
    fn config() {
        replay("config", crate::config::check);
    }

    #[test]
    fn metainfo() {
        replay("metainfo", crate::metainfo::check);
    }

    #[test]
    fn registry_route() {
        replay("registry_route", crate::registry_route::check);
    }

    #[test]
    fn range_header() {
        replay("range_header", crate::range_header::check);
    }

    #[test]
    fn scenario() {
        replay("scenario", crate::scenario::check);
    }

    #[test]
    fn swarm() {
        replay("swarm", crate::swarm::check);
    }
}
