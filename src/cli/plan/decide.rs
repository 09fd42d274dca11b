//! What applying a folder's resources of one namespace would do: a pure function of both sides and the day.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use kube::{Resource, ResourceExt};
use semver::Version;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::sync_pipeline::Stream;
use crate::api::{MappingVersion, SyncPipeline};
use crate::cli::files::Namespace;
use crate::mapping::Plan as Compiled;
use crate::mapping::diff::{Comparison, compare, predecessor};
use crate::worker::{between, resolve_mapping, takeable_mappings};

/// What applying would do in one namespace.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// The namespace.
    pub namespace: String,
    /// The resources that would be made or changed, or that would stay though the folder lacks them.
    pub resources: Vec<Planned>,
    /// The pipelines that would take another mapping version.
    pub moves: Vec<Move>,
    /// The streams that would read everything again.
    pub restarts: Vec<Restart>,
    /// What would not work once it is applied.
    pub problems: Vec<String>,
}

/// What would become of a resource.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    /// Kind and name.
    pub resource: String,
    /// What would be done.
    pub action: Action,
    /// The fields that would change, each with what it was and is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Of a mapping version that would be made: what changed since the version before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_before: Option<Comparison>,
}

/// What would be done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Action {
    /// It is not there.
    Create,
    /// It is there, and other.
    Change,
    /// It would be changed, and may not be: a mapping version is immutable.
    Refused,
    /// It is there, and not in the folder. Applying leaves it; a tool that prunes deletes it.
    Leave,
}

/// A pipeline that would take another mapping version.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Move {
    /// The pipeline.
    pub pipeline: String,
    /// What changes with that.
    pub comparison: Comparison,
}

/// A stream that would read everything again.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Restart {
    /// The pipeline.
    pub pipeline: String,
    /// The stream.
    pub stream: String,
    /// Why.
    pub why: String,
}

impl Plan {
    /// Whether nothing would be done.
    pub fn is_empty(&self) -> bool {
        let left = |planned: &Planned| planned.action == Action::Leave;
        self.resources.iter().all(left) && self.moves.is_empty() && self.restarts.is_empty() && self.problems.is_empty()
    }

    /// Whether somebody should look twice: something is refused, breaks, or is read all over again.
    pub fn is_disruptive(&self) -> bool {
        use crate::mapping::diff::Effect;
        let lies = |comparison: &Comparison| comparison.misnumbered().is_some();
        let breaks = |comparison: &Comparison| comparison.effect() == Some(Effect::Breaking) || lies(comparison);
        self.resources
            .iter()
            .any(|one| one.action == Action::Refused || one.since_before.as_ref().is_some_and(lies))
            || self.moves.iter().any(|one| breaks(&one.comparison))
            || !self.restarts.is_empty()
            || !self.problems.is_empty()
    }
}

/// Decides what applying `desired` over `live` would do.
pub fn decide(namespace: &str, desired: &Namespace, live: &Namespace, today: Date) -> Plan {
    let mut plan = Plan {
        namespace: namespace.to_owned(),
        ..Plan::default()
    };
    let resources = &mut plan.resources;
    resources.extend(planned(
        &desired.sources,
        &live.sources,
        |one| json!(one.spec),
        Action::Change,
    ));
    resources.extend(planned(
        &desired.sinks,
        &live.sinks,
        |one| json!(one.spec),
        Action::Change,
    ));
    resources.extend(planned(
        &desired.mappings,
        &live.mappings,
        |one| json!(one.spec),
        Action::Refused,
    ));
    resources.extend(planned(
        &desired.pipelines,
        &live.pipelines,
        |one| json!(one.spec),
        Action::Change,
    ));
    let after = After { desired, live };
    for one in resources.iter_mut().filter(|one| one.action == Action::Create) {
        let name = one.resource.strip_prefix("MappingVersion ");
        let made = name.and_then(|name| desired.mappings.get(name));
        one.since_before = made.and_then(|made| after.since_before(made, today));
    }
    for pipeline in after.pipelines() {
        after.look_at(pipeline, today, &mut plan);
    }
    plan
}

/// The resources of one kind that differ, by name.
fn planned<K: Resource<DynamicType = ()>>(
    desired: &BTreeMap<String, K>,
    live: &BTreeMap<String, K>,
    spec: impl Fn(&K) -> Value,
    changed: Action,
) -> Vec<Planned> {
    let names: BTreeSet<&String> = desired.keys().chain(live.keys()).collect();
    let mut found = Vec::new();
    for name in names {
        let (action, fields) = match (desired.get(name), live.get(name)) {
            (Some(wanted), Some(there)) => {
                let mut fields = Vec::new();
                differences("spec", &spec(there), &spec(wanted), &mut fields);
                if fields.is_empty() {
                    continue;
                }
                (changed, fields)
            }
            (Some(_), None) => (Action::Create, Vec::new()),
            _ => (Action::Leave, Vec::new()),
        };
        found.push(Planned {
            resource: format!("{} {name}", K::kind(&())),
            action,
            fields,
            since_before: None,
        });
    }
    found
}

/// The fields that differ, elements of lists by their names where they have any.
fn differences(path: &str, before: &Value, after: &Value, into: &mut Vec<String>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                differences(&format!("{path}.{name}"), &before[name], &after[name], into);
            }
        }
        (Value::Array(old), Value::Array(new)) if named(old) && named(new) => {
            let name = |element: &Value| element["name"].as_str().unwrap_or_default().to_owned();
            let find =
                |list: &[Value], wanted: &str| list.iter().find(|one| name(one) == wanted).cloned().unwrap_or_default();
            let names: BTreeSet<String> = old.iter().chain(new).map(name).collect();
            for name in names {
                differences(&format!("{path}[{name}]"), &find(old, &name), &find(new, &name), into);
            }
        }
        (Value::Null, _) => into.push(format!("{path}: {after}")),
        (_, Value::Null) => into.push(format!("{path}: {before} → gone")),
        _ => into.push(format!("{path}: {before} → {after}")),
    }
}

fn named(list: &[Value]) -> bool {
    list.iter().all(|element| element["name"].is_string())
}

/// The namespace once the folder is applied: what is there and not in the folder stays.
struct After<'p> {
    desired: &'p Namespace,
    live: &'p Namespace,
}

impl<'p> After<'p> {
    fn pipelines(&self) -> impl Iterator<Item = &'p SyncPipeline> {
        both(&self.desired.pipelines, &self.live.pipelines)
    }

    /// The mapping versions: of one that can't be changed, what is there.
    fn mappings(&self) -> impl Iterator<Item = &'p MappingVersion> {
        both(&self.live.mappings, &self.desired.mappings)
    }

    fn since_before(&self, made: &MappingVersion, today: Date) -> Option<Comparison> {
        let number = Version::parse(&made.spec.version).ok()?;
        let siblings = self.mappings().filter(|other| other.spec.mapping == made.spec.mapping);
        let siblings = siblings.filter_map(|other| Some((Version::parse(&other.spec.version).ok()?, other)));
        let before = predecessor(&number, siblings)?;
        Some(compare(&before.spec, &made.spec, today))
    }

    fn look_at(&self, pipeline: &SyncPipeline, today: Date, plan: &mut Plan) {
        let name = pipeline.name_any();
        let before = self.live.pipelines.get(&name);
        let taken = before.and_then(|before| self.taken(before)).map(ResourceExt::name_any);
        match takeable_mappings(&pipeline.spec.mapping_ref, self.mappings(), taken.as_deref(), today) {
            Ok(fitting) => {
                let version = fitting.highest;
                plan.problems.extend(fitting.held.map(|(held, error)| {
                    format!(
                        "SyncPipeline {name}: its range does not take MappingVersion {}, whose number hides what it changes: {error}",
                        held.name_any()
                    )
                }));
                let errors = self.errors_of(pipeline, version);
                let serves = errors.is_empty();
                if !serves {
                    let words = format!(
                        "SyncPipeline {name}: MappingVersion {} does not serve this pipeline, which does not move to it: {}",
                        version.name_any(),
                        errors.into_iter().collect::<Vec<_>>().join("; ")
                    );
                    plan.problems.push(words);
                }
                let comparison = before
                    .and_then(|before| self.taken(before))
                    .filter(|taken| serves && taken.name_any() != version.name_any())
                    .map(|taken| compare(&taken.spec, &version.spec, today));
                plan.moves.extend(comparison.map(|comparison| Move {
                    pipeline: name.clone(),
                    comparison,
                }));
            }
            Err(error) => plan.problems.push(format!("SyncPipeline {name}: {error}")),
        }
        let streams = |of: &SyncPipeline| of.spec.streams.clone();
        let known = before.map(streams).unwrap_or_default();
        for stream in &pipeline.spec.streams {
            let why = match (before, known.iter().find(|known| known.name == stream.name)) {
                (None, _) => continue,
                (Some(_), None) => Some("the stream is new, and its first run reads everything".to_owned()),
                (Some(before), Some(known)) => self.starts_over((before, known), (pipeline, stream)),
            };
            plan.restarts.extend(why.map(|why| Restart {
                pipeline: name.clone(),
                stream: stream.name.clone(),
                why,
            }));
        }
    }

    /// What is wrong with a mapping version for a pipeline's sink and streams.
    fn errors_of(&self, pipeline: &SyncPipeline, version: &MappingVersion) -> BTreeSet<String> {
        let sink = &pipeline.spec.sink_ref.name;
        let Some(sink) = self.desired.sinks.get(sink).or_else(|| self.live.sinks.get(sink)) else {
            return BTreeSet::from([format!("spec.sinkRef.name: there is no CdpSink {sink:?}")]);
        };
        let streams = pipeline.spec.streams.iter();
        let errors = streams.filter_map(|stream| Compiled::compile(&version.spec, &stream.object, &sink.spec).err());
        errors.flatten().map(|error| error.to_string()).collect()
    }

    /// The version that a pipeline takes now: by its status, or as far as none is there, by what it refers to.
    fn taken(&self, pipeline: &SyncPipeline) -> Option<&'p MappingVersion> {
        let status = pipeline.status.as_ref().and_then(|status| status.mapping.as_ref());
        match status {
            Some(taken) => self.live.mappings.get(&taken.name),
            None => resolve_mapping(&pipeline.spec.mapping_ref, self.live.mappings.values()).ok(),
        }
    }

    /// Why what is known of a stream's records would no longer hold. What is not there can't be compared.
    fn starts_over(&self, before: (&SyncPipeline, &Stream), after: (&SyncPipeline, &Stream)) -> Option<String> {
        let ends = |of: &SyncPipeline, namespaces: [&'p Namespace; 2]| {
            let (source, sink) = (&of.spec.source_ref.name, &of.spec.sink_ref.name);
            let source = namespaces.iter().find_map(|namespace| namespace.sources.get(source))?;
            let sink = namespaces.iter().find_map(|namespace| namespace.sinks.get(sink))?;
            Some((source, sink))
        };
        let held = |(of, stream): (&SyncPipeline, &Stream), namespaces| {
            let (source, sink) = ends(of, namespaces)?;
            Some(between(
                &stream.object,
                (&source.name_any(), &source.spec),
                (&sink.name_any(), &sink.spec),
            ))
        };
        let was = held(before, [self.live, self.live])?;
        let is = held(after, [self.desired, self.live])?;
        (was != is).then(|| {
            format!("its state holds for {was}, and it would be {is}: all records are read and delivered again")
        })
    }
}

/// Those of the first map, and those of the second whose names the first lacks.
fn both<'m, K>(first: &'m BTreeMap<String, K>, second: &'m BTreeMap<String, K>) -> impl Iterator<Item = &'m K> {
    let others = second.iter().filter(|(name, _)| !first.contains_key(*name));
    first.values().chain(others.map(|(_, one)| one))
}
