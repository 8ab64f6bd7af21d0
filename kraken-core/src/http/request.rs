//! Requests: built by chained calls, checked when sent.

use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use super::Body;
use super::client::Scheme;
use crate::{Error, Result};

/// A request; what is wrong with its parts is reported when it is sent.
#[derive(Debug)]
pub struct Request {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    pub(super) head_timeout: Option<Duration>,
    pub(super) body_idle_timeout: Option<Duration>,
    target: Target,
    expected: Expected,
    invalid: Option<String>,
}

#[derive(Debug, Clone)]
enum Target {
    Url(String),
    Host { authority: String, path: String },
}

#[derive(Debug, Clone)]
enum Expected {
    Success,
    Listed(Vec<u16>),
    Any,
}

impl Request {
    /// A request for `url`, which names scheme, host and path: `http://host:port/path?query`.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self::with_target(method, Target::Url(url.into()))
    }

    /// A request for `path` (with query, escaped) at `authority` (`host:port`), by the scheme the
    /// client was configured with.
    pub fn to(method: Method, authority: impl Into<String>, path: impl Into<String>) -> Self {
        Self::with_target(method, Target::Host { authority: authority.into(), path: path.into() })
    }

    /// `GET url`.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::GET, url)
    }

    /// `HEAD url`.
    pub fn head(url: impl Into<String>) -> Self {
        Self::new(Method::HEAD, url)
    }

    /// `POST url`.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new(Method::POST, url)
    }

    /// `PUT url`.
    pub fn put(url: impl Into<String>) -> Self {
        Self::new(Method::PUT, url)
    }

    /// `PATCH url`.
    pub fn patch(url: impl Into<String>) -> Self {
        Self::new(Method::PATCH, url)
    }

    /// `DELETE url`.
    pub fn delete(url: impl Into<String>) -> Self {
        Self::new(Method::DELETE, url)
    }

    fn with_target(method: Method, target: Target) -> Self {
        Self {
            method,
            headers: HeaderMap::new(),
            body: Body::empty(),
            head_timeout: None,
            body_idle_timeout: None,
            target,
            expected: Expected::Success,
            invalid: None,
        }
    }

    /// Adds a header; one that is there already under this name is kept beside it.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        let name = name.as_ref();
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_ref())) {
            (Ok(name), Ok(value)) => {
                self.headers.append(name, value);
            }
            // The value may be a secret, so only the name is told.
            _ => self.invalid = Some(format!("header {name:?}")),
        }
        self
    }

    /// Adds all of `headers`.
    #[must_use]
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Exactly these statuses are answers, every other one is an error.
    ///
    /// Unless told otherwise every 2xx is an answer but 202, which means "ask again later".
    #[must_use]
    pub fn expect(mut self, statuses: &[u16]) -> Self {
        self.expected = Expected::Listed(statuses.to_vec());
        self
    }

    /// Every status is an answer.
    #[must_use]
    pub fn expect_any(mut self) -> Self {
        self.expected = Expected::Any;
        self
    }

    /// How long the other side may take for the response head, from the last chunk of the body it
    /// took; the client's configuration says so otherwise.
    #[must_use]
    pub fn head_timeout(mut self, timeout: Duration) -> Self {
        self.head_timeout = Some(timeout);
        self
    }

    /// How long the response body may be silent; the client's configuration says so otherwise.
    #[must_use]
    pub fn body_idle_timeout(mut self, timeout: Duration) -> Self {
        self.body_idle_timeout = Some(timeout);
        self
    }

    /// The same request once more, unless its body can be sent only once.
    pub fn try_clone(&self) -> Option<Self> {
        Some(Self {
            method: self.method.clone(),
            headers: self.headers.clone(),
            body: self.body.try_clone()?,
            head_timeout: self.head_timeout,
            body_idle_timeout: self.body_idle_timeout,
            target: self.target.clone(),
            expected: self.expected.clone(),
            invalid: self.invalid.clone(),
        })
    }

    pub(super) fn is_expected(&self, status: StatusCode) -> bool {
        match &self.expected {
            Expected::Success => status.is_success() && status != StatusCode::ACCEPTED,
            Expected::Listed(statuses) => statuses.contains(&status.as_u16()),
            Expected::Any => true,
        }
    }

    /// The absolute URL, if every part of the request is well formed.
    pub(super) fn uri(&self, scheme: Scheme) -> Result<Uri> {
        if let Some(invalid) = &self.invalid {
            return Err(Error::invalid(format!("{} request with invalid {invalid}", self.method)));
        }
        let url = match &self.target {
            Target::Url(url) => url.clone(),
            Target::Host { authority, path } => {
                let slash = if path.starts_with('/') { "" } else { "/" };
                format!("{}://{authority}{slash}{path}", scheme.as_str())
            }
        };
        let uri: Uri =
            url.parse().map_err(|e| Error::invalid(format!("parse url {url:?}")).with_source(e))?;
        if uri.scheme().is_none() || uri.host().is_none_or(str::is_empty) {
            return Err(Error::invalid(format!("url {url:?} names no scheme or no host")));
        }
        Ok(uri)
    }
}
