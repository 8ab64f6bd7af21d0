//! Escaping of one path segment.

/// `segment` escaped for use as one segment of a URL's path, byte for byte as Go's
/// `url.PathEscape` does it: a slash becomes `%2F`, a colon stays.
pub fn escape_segment(segment: &str) -> String {
    const HEX: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let mut escaped = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if stays(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.push(HEX[usize::from(byte >> 4)]);
            escaped.push(HEX[usize::from(byte & 15)]);
        }
    }
    escaped
}

fn stays(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b'=' | b':' | b'@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_as_go_does() {
        let cases = [
            ("library/ubuntu:22.04", "library%2Fubuntu:22.04"),
            ("a b?c;d,e", "a%20b%3Fc%3Bd%2Ce"),
            ("$&+=:@-_.~", "$&+=:@-_.~"),
            ("!*'()#%[]", "%21%2A%27%28%29%23%25%5B%5D"),
            ("é", "%C3%A9"),
            ("", ""),
        ];
        for (plain, escaped) in cases {
            assert_eq!(escape_segment(plain), escaped);
        }
    }
}
