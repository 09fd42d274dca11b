//! The same question, asked where the state is: a Job runs `ferrygate explain` beside the pipeline's volume.

use std::collections::BTreeMap;

use clap::ValueEnum;
use k8s_openapi::NamespaceResourceScope;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{ExplainArgs, Pair};
use crate::api::{CdpSink, CrmSource, MappingVersion, SyncPipeline};
use crate::cli::in_cluster::{self, Answer, Command, InClusterError};
use crate::controller::errand::{MANIFESTS_FOLDER, STATES_FOLDER};

/// Asks, and waits for the answer.
///
/// # Errors
/// Where there is none: the API server refuses, or the Job has not ended in time.
pub async fn ask(
    client: &Client,
    args: &ExplainArgs,
    pipeline: &str,
    shutdown: &CancellationToken,
) -> Result<Answer, InClusterError> {
    let namespace = args.namespace.as_deref().unwrap_or(client.default_namespace());
    let pipeline: SyncPipeline = Api::namespaced(client.clone(), namespace).get(pipeline).await?;
    let image = match &args.image {
        Some(image) => image.clone(),
        None => in_cluster::image(client).await?,
    };
    let (words, private) = question(args, &pipeline.name_any());
    let command = Command {
        purpose: "explain",
        words,
        manifests: manifests(client, &pipeline).await?,
        private,
        pipeline: &pipeline,
    };
    in_cluster::run(client, command, image, args.timeout.into(), shutdown).await
}

/// The words of the command, and what of them is nobody's but the asker's: which record, or whose value.
fn question(args: &ExplainArgs, pipeline: &str) -> (Vec<String>, BTreeMap<String, String>) {
    let output = args.output.to_possible_value();
    let output = output.as_ref().map_or("text", |value| value.get_name());
    let mut words = vec![
        "explain",
        "--files",
        MANIFESTS_FOLDER,
        "--state",
        STATES_FOLDER,
        "--pipeline",
        pipeline,
        "--output",
        output,
    ];
    words.extend(args.trait_name.iter().flat_map(|name| ["--trait", name]));
    let (flag, name, value) = match (&args.record, &args.identity) {
        (Some(Pair(object, id)), _) => ("--record", "RECORD", format!("{object}/{id}")),
        (None, Some(Pair(kind, value))) => ("--identity", "IDENTITY", format!("{kind}={value}")),
        (None, None) => return (words.into_iter().map(str::to_owned).collect(), BTreeMap::new()),
    };
    let reference = format!("$({name})");
    words.extend([flag, &reference]);
    let private = BTreeMap::from([(name.to_owned(), value)]);
    (words.into_iter().map(str::to_owned).collect(), private)
}

/// The pipeline, and what it refers to: all versions of its mapping, since records may have been delivered by any.
async fn manifests(client: &Client, pipeline: &SyncPipeline) -> Result<Vec<Value>, kube::Error> {
    let namespace = pipeline.namespace().unwrap_or_default();
    let sources: Api<CrmSource> = Api::namespaced(client.clone(), &namespace);
    let sinks: Api<CdpSink> = Api::namespaced(client.clone(), &namespace);
    let versions: Api<MappingVersion> = Api::namespaced(client.clone(), &namespace);
    let everything = ListParams::default();
    let (source, sink, versions) = futures::try_join!(
        sources.get_opt(&pipeline.spec.source_ref.name),
        sinks.get_opt(&pipeline.spec.sink_ref.name),
        versions.list(&everything)
    )?;
    let versions = versions.items.into_iter();
    let versions = versions.filter(|version| version.spec.mapping == pipeline.spec.mapping_ref.name);
    let mut all = vec![manifest(pipeline, &pipeline.spec)];
    all.extend(source.map(|source| manifest(&source, &source.spec)));
    all.extend(sink.map(|sink| manifest(&sink, &sink.spec)));
    all.extend(versions.map(|version| manifest(&version, &version.spec)));
    Ok(all)
}

/// A resource as a folder of manifests has it.
fn manifest<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(
    resource: &K,
    spec: &impl Serialize,
) -> Value {
    json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": resource.name_any(), "namespace": resource.namespace()},
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ExplainArgs,
    }

    fn asked(words: &[&str]) -> Result<(Vec<String>, BTreeMap<String, String>), String> {
        let line = Line::try_parse_from([&["explain"], words].concat()).map_err(|error| error.kind().to_string())?;
        Ok(question(&line.args, "people"))
    }

    #[test]
    fn whose_value_is_asked_for_stands_in_no_word() {
        let (words, private) = asked(&[
            "--pipeline",
            "people",
            "--identity",
            "email=ada@example.com",
            "--output",
            "json",
        ])
        .unwrap();
        assert_eq!(
            words.join(" "),
            "explain --files /etc/ferrygate/manifests --state /var/lib/ferrygate --pipeline people --output json --identity \
             $(IDENTITY)"
        );
        assert_eq!(
            private,
            BTreeMap::from([("IDENTITY".to_owned(), "email=ada@example.com".to_owned())])
        );
        let (words, private) = asked(&["--pipeline", "people", "--record", "Contact/003", "--trait", "email"]).unwrap();
        assert!(
            words.ends_with(&["--trait", "email", "--record", "$(RECORD)"].map(str::to_owned)),
            "{words:?}"
        );
        assert_eq!(private["RECORD"], "Contact/003");
    }

    #[test]
    fn values_are_revealed_on_the_asker_s_own_machine_alone() {
        let refused = asked(&["--pipeline", "people", "--record", "Contact/003", "--reveal"]);
        let without_pipeline = asked(&["--record", "Contact/003"]);
        assert!(refused.is_err() && without_pipeline.is_err());
    }
}
