//! The way in which the controller calls the API server: counted by verb, resource and answer, and, where a call changes something,
//! only while this process leads.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tokio::time::timeout;
use tower::{BoxError, Layer, Service};

use super::leader::{ACT, Term};
use super::metrics::Metrics;

/// A client that acts by a term, and whose requests are counted.
///
/// # Errors
/// When the configuration can't be used.
pub fn client(config: Config, metrics: Arc<Metrics>, term: Term) -> Result<Client, kube::Error> {
    Ok(ClientBuilder::try_from(config)?
        .with_layer(&Acting { metrics, term })
        .build())
}

/// A request was not made, or its answer not waited for.
#[derive(Debug, thiserror::Error)]
enum NotDone {
    #[error("this process no longer leads")]
    NotLeading,
    #[error("the API server took longer than {} s for a write", ACT.as_secs())]
    TooSlow,
}

#[derive(Clone)]
struct Acting {
    metrics: Arc<Metrics>,
    term: Term,
}

impl<S> Layer<S> for Acting {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls {
            inner,
            acting: self.clone(),
        }
    }
}

struct Calls<S> {
    inner: S,
    acting: Acting,
}

impl<S, B> Service<Request<Body>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_write = request.method() != Method::GET;
        let verb = verb(request.method());
        let resource = resource(request.uri().path()).to_owned();
        let metrics = self.acting.metrics.clone();
        // Nothing is awaited between the look at the term and the sending.
        if is_write && !self.acting.term.is_current() {
            return Box::pin(std::future::ready(Err(NotDone::NotLeading.into())));
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = if is_write {
                timeout(ACT, answer)
                    .await
                    .unwrap_or_else(|_| Err(NotDone::TooSlow.into()))
            } else {
                answer.await
            };
            let code = answer.as_ref().ok().map(|answer| answer.status().as_u16());
            metrics.called(verb, &resource, code);
            answer
        })
    }
}

fn verb(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

/// The resource of a path: `/apis/GROUP/VERSION/namespaces/NAMESPACE/RESOURCE/NAME`, or `/api/VERSION/…` for the core group.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris>
fn resource(path: &str) -> &str {
    let mut parts = path.trim_matches('/').split('/');
    let before = if parts.next() == Some("apis") { 2 } else { 1 };
    let mut rest = parts.skip(before);
    match (rest.next(), rest.next(), rest.next()) {
        (Some("namespaces"), Some(_), Some(resource)) => resource,
        (Some(resource), ..) => resource,
        (None, ..) => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resource_of_a_request_is_known_by_its_path() {
        let cases = [
            (
                "/apis/ferrygate.io/v1alpha1/namespaces/crm/syncpipelines/people/status",
                "syncpipelines",
            ),
            ("/apis/batch/v1/namespaces/crm/jobs", "jobs"),
            (
                "/api/v1/namespaces/crm/persistentvolumeclaims/people-state",
                "persistentvolumeclaims",
            ),
            ("/api/v1/namespaces/crm", "namespaces"),
            ("/version", "other"),
        ];
        for (path, expected) in cases {
            assert_eq!(resource(path), expected, "{path}");
        }
    }
}
