//! `ferrygate run-now`: what it says, and with which exit code.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;

use serde_json::json;

/// Answers one request with a status and a body, and returns its first line and its body.
fn answers(status: &'static str, body: String) -> (String, thread::JoinHandle<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let answering = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut first, mut length) = (String::new(), 0);
        reader.read_line(&mut first).unwrap();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut asked = vec![0; length];
        reader.read_exact(&mut asked).unwrap();
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n");
        write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        (first, String::from_utf8(asked).unwrap())
    });
    (server, answering)
}

fn kubeconfig(folder: &Path, server: &str) {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": server}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "crm"}}],
        "users": [{"name": "me", "user": {}}],
    });
    fs::write(folder.join("kubeconfig"), config.to_string()).unwrap();
}

/// The exit code, what was printed, and what was said on standard error.
fn run_now(folder: &Path) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ferrygate"))
        .args(["run-now", "customers"])
        .env("KUBECONFIG", folder.join("kubeconfig"))
        .env_remove("KUBERNETES_SERVICE_HOST")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_pipeline_is_asked_in_the_context_s_namespace_by_its_annotation() {
    let folder = tempfile::tempdir().unwrap();
    let there = json!({
        "apiVersion": "ferrygate.io/v1alpha1", "kind": "SyncPipeline", "metadata": {"name": "customers"},
        "spec": {
            "sourceRef": {"name": "s"}, "sinkRef": {"name": "s"}, "mappingRef": {"name": "m", "version": "1.0.0"}, "streams": [],
        },
    });
    let (server, asked) = answers("200 OK", there.to_string());
    kubeconfig(folder.path(), &server);
    let (code, printed, said) = run_now(folder.path());
    let (first, body) = asked.join().unwrap();
    assert_eq!(code, Some(0), "{said}");
    assert!(printed.contains("crm/customers"), "{printed}");
    assert!(
        first.starts_with("PATCH /apis/ferrygate.io/v1alpha1/namespaces/crm/syncpipelines/customers"),
        "{first}"
    );
    assert!(body.contains("ferrygate.io/run-now"), "{body}");
}

#[test]
fn a_pipeline_that_is_not_there_is_for_a_person_to_mend() {
    let folder = tempfile::tempdir().unwrap();
    let words = "syncpipelines.ferrygate.io \"customers\" not found";
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404, "message": words,
    });
    let (server, asked) = answers("404 Not Found", status.to_string());
    kubeconfig(folder.path(), &server);
    let (code, _, said) = run_now(folder.path());
    asked.join().unwrap();
    assert_eq!((code, said.contains(words)), (Some(78), true), "{said}");
}

#[test]
fn without_a_cluster_the_kubeconfig_is_pointed_at() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, said) = run_now(folder.path());
    assert_eq!(
        (code, said.contains("kubeconfig"), said.contains("panicked")),
        (Some(75), true, false),
        "{said}"
    );
}
