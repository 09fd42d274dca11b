//! The commands for those who change a mapping, as they are called: what they print, and their exit codes.

use std::fs;
use std::path::Path;
use std::process::Command;

use axum::Router;
use axum::extract::Path as Route;
use axum::routing::get;
use serde_json::{Value, json};

/// A folder with the samples.
fn samples() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/samples");
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    folder
}

/// A version of the sample's mapping that has another type under a number that hides it.
fn with_misnumbered(folder: &Path) {
    let sample = fs::read_to_string(folder.join("mappingversion.yaml")).unwrap();
    let changed = sample
        .replace("2.1.0", "2.1.1")
        .replace("LTV__c, type: Decimal", "LTV__c, type: String");
    assert_ne!(changed, sample.replace("2.1.0", "2.1.1"));
    let with_audience = changed.replace(
        "      consent:",
        "      dependents: [{trait: lifetime_value, kind: Audience, name: Best customers, owner: '#lifecycle'}]\n      consent:",
    );
    fs::write(folder.join("next.yaml"), with_audience).unwrap();
}

/// The exit code, and what was printed.
fn ferrygate(arguments: &[&str], kubeconfig: Option<&Path>) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferrygate"));
    command.args(arguments).env_remove("KUBERNETES_SERVICE_HOST");
    if let Some(kubeconfig) = kubeconfig {
        command.env("KUBECONFIG", kubeconfig);
    }
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout) + &text(output.stderr))
}

#[test]
fn the_samples_are_valid_and_their_examples_hold() {
    let folder = samples();
    let files = folder.path().to_str().unwrap();
    assert_eq!(
        ferrygate(&["validate", "--files", files], None),
        (Some(0), "4 resources: 0 errors, 0 warnings\n".to_owned())
    );
    let (code, told) = ferrygate(&["test", "--files", files], None);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.ends_with("4 examples: 0 failed\n"), "{told}");
}

#[test]
fn a_change_that_breaks_under_a_number_that_hides_it_is_refused_and_its_audience_named() {
    let folder = samples();
    with_misnumbered(folder.path());
    let files = folder.path().to_str().unwrap();
    let (code, told) = ferrygate(&["validate", "--files", files], None);
    assert_eq!(code, Some(1), "{told}");
    let error = "next.yaml: MappingVersion customer-2.1.1: spec.version: 2.1.1 is too low for what changed since 2.1.0";
    assert!(told.contains(error), "{told}");
    let (code, told) = ferrygate(&["diff", "customer@2.1.0", "customer@2.1.1", "--files", files], None);
    assert_eq!(code, Some(4), "{told}");
    assert!(
        told.contains("objects[Contact].traits[lifetime_value].type: Decimal → String"),
        "{told}"
    );
    assert!(told.contains("#lifecycle: Audience \"Best customers\""), "{told}");
    // An example that held for 2.1.0 does not hold for the highest of its range.
    let (code, told) = ferrygate(&["test", "--files", files], None);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("- traits.lifetime_value: 1234.5"), "{told}");
}

#[test]
fn a_folder_without_examples_and_one_that_is_not_there_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let (code, told) = ferrygate(&["test", "--files", folder.path().to_str().unwrap()], None);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("there is no file that ends in .examples.yaml"), "{told}");
    let (code, told) = ferrygate(&["validate", "--files", "/nowhere"], None);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.starts_with("error: /nowhere: "), "{told}");
}

/// An API server with the samples' resources, and what its kubeconfig says.
async fn cluster(folder: &Path) -> std::path::PathBuf {
    let mut resources = Vec::new();
    for (plural, file) in [
        ("crmsources", "crmsource.yaml"),
        ("cdpsinks", "cdpsink.yaml"),
        ("mappingversions", "mappingversion.yaml"),
        ("syncpipelines", "syncpipeline.yaml"),
    ] {
        let text = fs::read_to_string(folder.join(file)).unwrap();
        let mut resource: Value = serde_saphyr::from_str(&text).unwrap();
        resource["metadata"]["namespace"] = json!("crm");
        if plural == "syncpipelines" {
            resource["status"] = json!({"mapping": {"name": "customer-2.1.0", "version": "2.1.0"}});
        }
        resources.push((plural, resource));
    }
    let list = move |Route(plural): Route<String>| async move {
        let items: Vec<Value> = resources
            .iter()
            .filter(|(kind, _)| *kind == plural)
            .map(|(_, resource)| resource.clone())
            .collect();
        axum::Json(json!({"apiVersion": "ferrygate.io/v1alpha1", "kind": "List", "metadata": {}, "items": items}))
    };
    let router = Router::new().route("/apis/ferrygate.io/v1alpha1/namespaces/crm/{plural}", get(list));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await });
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": server}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "crm"}}],
        "users": [{"name": "me", "user": {}}],
    });
    let path = folder.join("kubeconfig");
    fs::write(&path, config.to_string()).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_what_a_cluster_would_become_and_writes_nothing() {
    let folder = samples();
    let kubeconfig = cluster(folder.path()).await;
    let files = folder.path().to_str().unwrap().to_owned();
    let plan = |kubeconfig: std::path::PathBuf, files: String| {
        tokio::task::spawn_blocking(move || ferrygate(&["plan", "--files", &files], Some(&kubeconfig)))
    };
    assert_eq!(
        plan(kubeconfig.clone(), files.clone()).await.unwrap(),
        (Some(0), "namespace crm\n  nothing would change\n".to_owned())
    );
    with_misnumbered(folder.path());
    let (code, told) = plan(kubeconfig.clone(), files.clone()).await.unwrap();
    assert_eq!(code, Some(3), "{told}");
    for words in [
        "  + MappingVersion customer-2.1.1\n",
        "SyncPipeline customers: its range does not take MappingVersion customer-2.1.1, whose number hides what it changes",
        "#lifecycle: Audience \"Best customers\"",
    ] {
        assert!(told.contains(words), "{words:?} is not in {told}");
    }
}
