//! Plain HTTP/1.1 for a simulator, whose connections a fault can really break.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt as _;

/// On a response: nothing of it is sent, the connection is closed instead.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionDropped;

/// A simulator that listens. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct Server {
    pub addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Serves `router` on `addr`; port 0 takes a free one.
    pub async fn start(addr: SocketAddr, router: Router) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        Self::on(listener, router)
    }

    /// Serves `router` on a listener that is bound already.
    pub fn on(listener: TcpListener, router: Router) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        Ok(Self {
            addr,
            accepting: tokio::spawn(accept(listener, router)),
        })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The connections live in a set that this task owns: they end with it.
async fn accept(listener: TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, router.clone()));
                }
                Err(error) => tracing::warn!(%error, "a connection could not be accepted"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, router: Router) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move {
            let response = router
                .oneshot(request.map(Body::new))
                .await
                .unwrap_or_else(|never: Infallible| match never {});
            match response.extensions().get::<ConnectionDropped>() {
                Some(ConnectionDropped) => Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
                None => Ok(response),
            }
        }
    });
    // An error here is a connection that ended early: by a fault, or because the client went away.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
