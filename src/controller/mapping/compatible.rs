//! `Compatible`: whether a version fits every source that it is used with, by what the runs of its pipelines report. The controller
//! itself sees no CRM.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::LISTED;
use crate::api::SyncPipeline;
use crate::api::conditions::{COMPATIBLE, Reason, Status, Verdict, is_true};

/// What the runs of a pipeline report of a version against the objects of its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Use {
    pipeline: String,
    source: String,
    /// The streams whose objects the version does not fit, each with what does not.
    apart: Vec<(String, String)>,
    /// Whether each of its streams has had a run with the version that saw the object described.
    seen: bool,
}

impl Use {
    /// What a pipeline's status tells of a version.
    pub fn of(pipeline: &SyncPipeline, version: &str) -> Use {
        let mut one = Use {
            pipeline: pipeline.name_any(),
            source: pipeline.spec.source_ref.name.clone(),
            apart: Vec::new(),
            seen: true,
        };
        let status = pipeline
            .status
            .as_ref()
            .map(|status| &status.streams[..])
            .unwrap_or_default();
        for stream in &pipeline.spec.streams {
            let known = status.iter().find(|known| known.name == stream.name);
            let schema = known.and_then(|known| known.schema.as_ref());
            match schema.filter(|schema| schema.mapping_version == version) {
                None => one.seen = false,
                Some(schema) if !schema.is_aligned() => one.apart.push((stream.name.clone(), schema.words())),
                Some(_) => {}
            }
        }
        one
    }
}

/// What is said of a version that these pipelines take; `before` are its conditions until now.
pub(super) fn compatible(uses: &[Use], before: &[Condition]) -> Verdict {
    let verdict = |status, reason, message| Verdict::new(COMPATIBLE, status, reason, message);
    if uses.is_empty() {
        return if is_true(before, COMPATIBLE) {
            let message = "it fitted every source that it was used with; no pipeline takes it now".to_owned();
            verdict(Status::True, Reason::FitsEverySource, message)
        } else {
            let message = "no pipeline takes it: the first run of one tells whether it fits the source".to_owned();
            verdict(Status::Unknown, Reason::Unused, message)
        };
    }
    let apart = uses.iter().flat_map(|one| {
        let told = |(stream, words): &(String, String)| {
            format!(
                "pipeline {}, source {}, stream {stream}: {words}",
                one.pipeline, one.source
            )
        };
        one.apart.iter().map(told)
    });
    // How many more there are is not said: each that comes or goes would be a write.
    let apart = first(apart, ". ", "; and more");
    if !apart.is_empty() {
        return verdict(Status::False, Reason::SourceDiffers, apart);
    }
    let unseen = first(
        uses.iter().filter(|one| !one.seen).map(|one| one.pipeline.clone()),
        ", ",
        " and more",
    );
    if !unseen.is_empty() {
        let message = format!(
            "not every stream has had a run with this version that saw its object described; pipelines: {unseen}"
        );
        return verdict(Status::Unknown, Reason::NotDescribed, message);
    }
    let sources: BTreeSet<&str> = uses.iter().map(|one| one.source.as_str()).collect();
    let sources = first(sources.into_iter().map(str::to_owned), ", ", " and more");
    let message = format!("it fits every source that it is used with: {sources}");
    verdict(Status::True, Reason::FitsEverySource, message)
}

/// The first of them, and that there are more.
fn first(mut all: impl Iterator<Item = String>, separator: &str, more: &str) -> String {
    let shown: Vec<_> = all.by_ref().take(LISTED).collect();
    let more = if all.next().is_some() { more } else { "" };
    format!("{}{more}", shown.join(separator))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::conditions::conditions;

    /// A pipeline of two streams, with what each has told of its schema.
    fn pipeline(name: &str, contacts: Value, leads: Value) -> SyncPipeline {
        let stream = |name: &str, object: &str| json!({"name": name, "object": object, "schedule": {"every": "5m"}});
        let told = |name: &str, schema: &Value| match schema {
            Value::Null => json!({"name": name}),
            schema => json!({"name": name, "schema": schema}),
        };
        serde_json::from_value(json!({
            "apiVersion": "ferrygate.io/v1alpha1", "kind": "SyncPipeline", "metadata": {"name": name},
            "spec": {
                "sourceRef": {"name": format!("org-of-{name}")}, "sinkRef": {"name": "cdp"},
                "mappingRef": {"name": "customer", "version": "~1"},
                "streams": [stream("contacts", "Contact"), stream("leads", "Lead")],
            },
            "status": {"streams": [told("leads", &leads), told("contacts", &contacts)]},
        }))
        .unwrap()
    }

    fn fits(version: &str) -> Value {
        json!({"hash": "h", "mappingVersion": version})
    }

    fn fits_not(version: &str) -> Value {
        json!({"hash": "h", "mappingVersion": version, "findings": ["spec.objects[0].traits[0].type: no"]})
    }

    fn told(pipelines: &[SyncPipeline], before: &[Condition]) -> String {
        let uses: Vec<_> = pipelines.iter().map(|pipeline| Use::of(pipeline, "1.0.0")).collect();
        let verdict = compatible(&uses, before);
        format!(
            "{} {}: {}",
            verdict.status.as_str(),
            verdict.reason.as_str(),
            verdict.message
        )
    }

    #[test]
    fn a_version_is_compatible_if_every_stream_that_uses_it_says_so_under_this_very_version() {
        let unseen = "Unknown NotDescribed: not every stream has had a run with this version that saw its object described; \
                      pipelines: ";
        let apart =
            "False SourceDiffers: pipeline b, source org-of-b, stream leads: spec.objects[0].traits[0].type: no";
        let well = || pipeline("a", fits("1.0.0"), fits("1.0.0"));
        let cases = [
            (
                vec![well()],
                "True FitsEverySource: it fits every source that it is used with: org-of-a".to_owned(),
            ),
            (
                vec![well(), pipeline("b", fits("1.0.0"), Value::Null)],
                format!("{unseen}b"),
            ),
            (
                vec![well(), pipeline("b", fits("1.0.0"), fits("0.9.0"))],
                format!("{unseen}b"),
            ),
            (
                vec![well(), pipeline("b", fits("1.0.0"), fits_not("0.9.0"))],
                format!("{unseen}b"),
            ),
            (
                vec![well(), pipeline("b", Value::Null, fits_not("1.0.0"))],
                apart.to_owned(),
            ),
            (
                vec![],
                "Unknown Unused: no pipeline takes it: the first run of one tells whether it fits the source"
                    .to_owned(),
            ),
        ];
        for (pipelines, expected) in cases {
            assert_eq!(told(&pipelines, &[]), expected);
        }
    }

    #[test]
    fn what_fitted_is_still_said_when_no_pipeline_takes_it_any_more() {
        let before = |pipeline: SyncPipeline| {
            let verdict = compatible(&[Use::of(&pipeline, "1.0.0")], &[]);
            conditions(&[], vec![verdict], 1, jiff::Timestamp::UNIX_EPOCH)
        };
        let fitted = before(pipeline("a", fits("1.0.0"), fits("1.0.0")));
        assert!(told(&[], &fitted).starts_with("True FitsEverySource: it fitted every source"));
        let apart = before(pipeline("a", fits("1.0.0"), fits_not("1.0.0")));
        assert!(told(&[], &apart).starts_with("Unknown Unused"));
    }

    #[test]
    fn the_message_stays_short_and_does_not_change_with_every_pipeline_more() {
        let many = |count: usize| {
            let pipelines: Vec<_> = (0..count)
                .map(|place| pipeline(&format!("p{place:03}"), fits_not("1.0.0"), fits("1.0.0")))
                .collect();
            told(&pipelines, &[])
        };
        assert_eq!(many(21), many(500));
        assert!(many(21).ends_with("; and more"), "{}", many(21));
    }
}
