//! Counts the requests to the API server, by verb, resource and answer.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::{Layer, Service};

use super::metrics::Metrics;

/// A client whose requests are counted.
///
/// # Errors
/// When the configuration can't be used.
pub fn counted(config: Config, metrics: Arc<Metrics>) -> Result<Client, kube::Error> {
    Ok(ClientBuilder::try_from(config)?.with_layer(&Counting(metrics)).build())
}

struct Counting(Arc<Metrics>);

impl<S> Layer<S> for Counting {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            metrics: self.0.clone(),
        }
    }
}

struct Counted<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S, B> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let verb = verb(request.method());
        let resource = resource(request.uri().path()).to_owned();
        let metrics = self.metrics.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
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
