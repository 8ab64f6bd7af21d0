//! The service: one request in, one answer out.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Method, Request, Response, StatusCode};

use crate::backend::{Backend, Manifests, Tags, Uploads};
use crate::body::{self, Body, Upload};
use crate::failure::Failure;
use crate::response::{API_VERSION, API_VERSION_2, response};
use crate::route::{self, Route};
use crate::{blobs, manifests, tags, uploads};

/// The OCI distribution API over a [`Backend`], as a `tower` and a `hyper` service.
///
/// It is cheap to clone, always ready, and never fails: refusals are answers, with a
/// [`Cause`](kraken_core::Cause) beside them. A failure after the answer has begun is an error
/// of the answer's body, at which a server breaks the connection.
pub struct Registry<B: ?Sized> {
    backend: Arc<B>,
}

/// The answer on its way.
pub type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<B: Backend> Registry<B> {
    /// A registry over `backend`.
    pub fn new(backend: B) -> Self {
        Self { backend: Arc::new(backend) }
    }
}

impl<B: Backend + ?Sized> Registry<B> {
    /// A registry over a backend that others hold too.
    pub fn from_arc(backend: Arc<B>) -> Self {
        Self { backend }
    }

    /// Answers one request.
    pub async fn answer<ReqBody>(&self, request: Request<ReqBody>) -> Response<Body>
    where
        ReqBody: http_body::Body<Data = Bytes> + Send + 'static,
        ReqBody::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let is_head = head.method == Method::HEAD;
        let answer = self.dispatch(head, Upload::new(body)).await;
        let mut response = answer.unwrap_or_else(Failure::into_response);
        if is_head {
            *response.body_mut() = body::empty();
        }
        response.headers_mut().insert(API_VERSION, API_VERSION_2);
        response
    }

    async fn dispatch(
        &self,
        head: http::request::Parts,
        body: Upload,
    ) -> Result<Response<Body>, Failure> {
        let backend = &*self.backend;
        match route::parse(&head.method, head.uri.path(), head.uri.query())? {
            Route::Ping => Ok(ping()),
            Route::ReadBlob { repository, digest } => {
                blobs::read(backend.blobs(), &repository, &digest, &head).await
            }
            Route::StartUpload { repository, algorithm } => {
                uploads::start(writable(backend)?, &repository, algorithm).await
            }
            Route::UploadWhole { repository, digest } => {
                uploads::whole(writable(backend)?, &repository, &digest, body).await
            }
            Route::Mount { repository, digest, from } => {
                uploads::mount(writable(backend)?, &repository, &digest, from.as_ref()).await
            }
            Route::UploadStatus { repository, id } => {
                uploads::Session::new(writable(backend)?, repository, id).status().await
            }
            Route::AppendUpload { repository, id } => {
                let session = uploads::Session::new(writable(backend)?, repository, id);
                session.append(&head.headers, body).await
            }
            Route::FinishUpload { repository, id, digest } => {
                let session = uploads::Session::new(writable(backend)?, repository, id);
                session.finish(&head.headers, body, &digest).await
            }
            Route::CancelUpload { repository, id } => {
                uploads::Session::new(writable(backend)?, repository, id).cancel().await
            }
            Route::ReadManifest { repository, reference } => {
                manifests::read(backend.manifests(), &repository, &reference, &head).await
            }
            Route::WriteManifest { repository, reference, tags } => {
                let manifests = writable_manifests(backend)?;
                manifests::write(manifests, &repository, &reference, &tags, &head, body).await
            }
            Route::ListTags { repository, limit, last } => {
                tags::list(listable(backend)?, &repository, limit, last.as_deref()).await
            }
        }
    }
}

impl<B: ?Sized> Clone for Registry<B> {
    fn clone(&self) -> Self {
        Self { backend: Arc::clone(&self.backend) }
    }
}

impl<B: ?Sized> fmt::Debug for Registry<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registry")
    }
}

impl<B, ReqBody> tower_service::Service<Request<ReqBody>> for Registry<B>
where
    B: Backend + ?Sized,
    ReqBody: http_body::Body<Data = Bytes> + Send + 'static,
    ReqBody::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> ResponseFuture {
        let registry = self.clone();
        Box::pin(async move { Ok(registry.answer(request).await) })
    }
}

impl<B, ReqBody> hyper::service::Service<Request<ReqBody>> for Registry<B>
where
    B: Backend + ?Sized,
    ReqBody: http_body::Body<Data = Bytes> + Send + 'static,
    ReqBody::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<ReqBody>) -> ResponseFuture {
        let registry = self.clone();
        Box::pin(async move { Ok(registry.answer(request).await) })
    }
}

fn writable<B: Backend + ?Sized>(backend: &B) -> Result<&dyn Uploads, Failure> {
    backend.uploads().ok_or_else(|| Failure::unsupported("this registry takes no uploads", ""))
}

fn writable_manifests<B: Backend + ?Sized>(backend: &B) -> Result<&dyn Manifests, Failure> {
    let refusal = || Failure::unsupported("this registry takes no manifests", "GET, HEAD");
    backend.uploads().map(|_| backend.manifests()).ok_or_else(refusal)
}

fn listable<B: Backend + ?Sized>(backend: &B) -> Result<&dyn Tags, Failure> {
    backend.tags().ok_or_else(|| Failure::unsupported("this registry lists no tags", ""))
}

fn ping() -> Response<Body> {
    let json = Bytes::from_static(b"{}");
    let headers = [
        (http::header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8")),
        (CONTENT_LENGTH, HeaderValue::from(json.len())),
    ];
    response(StatusCode::OK, headers, body::full(json))
}
