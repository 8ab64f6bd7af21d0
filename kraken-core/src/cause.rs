//! What is said, beside an answer, to whoever logs it.

use crate::error::chain;
use crate::{Error, ErrorKind};

/// Why a request was answered as it was, for the access log of whoever serves it: an extension of
/// every answer that refuses something.
///
/// It may name paths and hosts, which a client is often not to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    text: String,
    stands_for: Option<ErrorKind>,
}

impl Cause {
    /// `text` says why; the answer's status says how much that matters.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), stands_for: None }
    }

    /// The answer stands for a failure of `kind` though its status does not say so, as a 404 for
    /// what cannot be asked for.
    #[must_use]
    pub fn standing_for(mut self, kind: ErrorKind) -> Self {
        self.stands_for = Some(kind);
        self
    }

    /// Why, on one line.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The kind of the failure that the answer stands for though its status does not say so.
    pub fn stands_for(&self) -> Option<ErrorKind> {
        self.stands_for
    }
}

/// The error with all its causes. One of kind `NotFound` stands for the `Unavailable` below it, if
/// there is one: nobody knows whether the thing is there.
impl From<&Error> for Cause {
    fn from(error: &Error) -> Self {
        let cause = Self::new(error.to_string());
        let mut below = chain(error).filter_map(|error| error.downcast_ref::<Error>());
        if error.kind() == ErrorKind::NotFound && below.any(is_unavailable) {
            return cause.standing_for(ErrorKind::Unavailable);
        }
        cause
    }
}

impl From<String> for Cause {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Cause {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

fn is_unavailable(error: &Error) -> bool {
    error.kind() == ErrorKind::Unavailable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_found_stands_for_the_unavailable_below_it() {
        let away = || Error::new(ErrorKind::Unavailable, "the backend is away");
        let wrapped = |kind, error: Error| Error::new(kind, "tag x").with_source(error);
        for (error, stands_for) in [
            (wrapped(ErrorKind::NotFound, away()), Some(ErrorKind::Unavailable)),
            (
                wrapped(ErrorKind::NotFound, wrapped(ErrorKind::Internal, away())),
                Some(ErrorKind::Unavailable),
            ),
            (wrapped(ErrorKind::NotFound, Error::not_found("no such file")), None),
            (Error::not_found("tag x"), None),
            // Their status says it.
            (wrapped(ErrorKind::Internal, away()), None),
            (away(), None),
        ] {
            let cause = Cause::from(&error);
            assert_eq!((cause.text(), cause.stands_for()), (&*error.to_string(), stands_for));
        }
    }
}
