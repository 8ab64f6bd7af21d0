//! Reading a file into memory that nobody cleared first.

use std::fs::File;
use std::io;
use std::ops::Range;

use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};

/// Appends the bytes `range` of `file` to `buf`, without zeroing the memory they go to.
/// `UnexpectedEof` where the file is shorter; on any failure `buf` holds what it held. Blocks.
pub fn append_range(file: &File, range: Range<u64>, buf: &mut Vec<u8>) -> io::Result<()> {
    let (start, before) = (range.start, buf.len());
    let len = usize::try_from(range.end.saturating_sub(start)).map_err(io::Error::other)?;
    buf.reserve_exact(len);
    let read = loop {
        let read = buf.len() - before;
        if read >= len {
            break Ok(());
        }
        match pread(file, spare_capacity(buf), start + read as u64) {
            Ok(0) => break Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => break Err(error.into()),
        }
    };
    // What was room for more than was asked for may have been filled too.
    buf.truncate(before + if read.is_ok() { len } else { 0 });
    read
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn exactly_the_range_is_appended() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"hello kraken").unwrap();
        let mut buf = Vec::with_capacity(100);
        buf.extend_from_slice(b"> ");
        append_range(&file, 6..9, &mut buf).unwrap();
        assert_eq!(buf, b"> kra");
        append_range(&file, 9..9, &mut buf).unwrap();
        let short = append_range(&file, 9..13, &mut buf).unwrap_err();
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(buf, b"> kra");
        append_range(&file, 9..12, &mut buf).unwrap();
        assert_eq!(buf, b"> kraken");
    }
}
