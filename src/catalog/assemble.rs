//! From the resources of a folder to the [`Catalog`].

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use kube::ResourceExt;
use semver::Version as Semver;

use super::contract;
use super::history;
use super::model::{Catalog, Fill, Mapping, Pipeline, Recipient, Standing, TraitHistory, Verdict, Version};
use super::names::{Folder, file_name};
use super::words::{further, sentence, written};
use crate::api::common::Cdp;
use crate::api::{CdpSink, MappingVersion, SyncPipeline};
use crate::worker::takeable_mappings;

/// The resources of one namespace.
#[derive(Clone, Debug, Default)]
pub struct Contracts<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// Its mapping versions.
    pub mappings: Vec<&'a MappingVersion>,
    /// Its sinks.
    pub sinks: Vec<&'a CdpSink>,
    /// Its pipelines.
    pub pipelines: Vec<&'a SyncPipeline>,
    /// Pipelines as a cluster has them, for what their status tells.
    pub statuses: Vec<&'a SyncPipeline>,
}

/// Why there can be no catalog.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// A version's number is none.
    #[error("MappingVersion {resource}: spec.version {version:?} is not a version like 2.1.0: {cause}")]
    NoVersion {
        /// `metadata.name` of the MappingVersion.
        resource: String,
        /// What was written.
        version: String,
        /// Why it is none.
        cause: String,
    },
    /// Two resources claim to be the same version.
    #[error(
        "mapping {mapping:?} has version {version} twice: in the MappingVersions {first:?} and {second:?}; remove one"
    )]
    Twice {
        /// The mapping's name.
        mapping: String,
        /// The version.
        version: String,
        /// One resource's name.
        first: String,
        /// The other's.
        second: String,
    },
}

impl Catalog {
    /// What the contracts of some namespaces say.
    ///
    /// # Errors
    /// Where the versions of a mapping can't be put into an order.
    pub fn of(namespaces: &[Contracts<'_>]) -> Result<Catalog, CatalogError> {
        let mut mappings = Vec::new();
        for contracts in namespaces {
            let mut by_name: BTreeMap<&str, Vec<&MappingVersion>> = BTreeMap::new();
            for version in &contracts.mappings {
                by_name.entry(&version.spec.mapping).or_default().push(version);
            }
            for (name, versions) in by_name {
                mappings.push(mapping(contracts, name, &versions)?);
            }
        }
        mappings.sort_by(|left, right| (&left.namespace, &left.name).cmp(&(&right.namespace, &right.name)));
        Ok(Catalog { mappings })
    }
}

fn mapping(contracts: &Contracts<'_>, name: &str, resources: &[&MappingVersion]) -> Result<Mapping, CatalogError> {
    let ordered = in_order(name, resources)?;
    let pipelines = pipelines(contracts, name);
    let highest_release = ordered.iter().rposition(|(number, _)| number.pre.is_empty());
    let shown = highest_release.unwrap_or(ordered.len() - 1);
    let mut versions: Vec<Version> = ordered
        .iter()
        .enumerate()
        .map(|(position, (number, resource))| Version {
            number: number.to_string(),
            resource: resource.name_any(),
            standing: if pipelines
                .iter()
                .any(|pipeline| pipeline.takes.as_deref() == Ok(&resource.spec.version))
            {
                Standing::Active
            } else if !number.pre.is_empty() {
                Standing::Draft
            } else if position >= shown {
                Standing::Proposed
            } else {
                Standing::Retired
            },
            owners: resource.spec.owners.clone(),
            review_by: resource.spec.review_by,
            release_notes: resource.spec.release_notes.clone(),
            changes: Vec::new(),
            entities: contract::entities(&resource.spec),
            further: further(
                &written(&resource.spec),
                &[
                    "mapping",
                    "version",
                    "owners",
                    "reviewBy",
                    "releaseNotes",
                    "enums",
                    "objects",
                    "projections",
                ],
            ),
        })
        .collect();
    for position in 1..versions.len() {
        versions[position].changes = history::changes(&versions[position - 1], &versions[position]);
    }
    let mut traits = history::traits(&versions, shown);
    versions.reverse();
    let current = versions.len() - 1 - shown;
    for history in &mut traits {
        history.shown = versions.len() - 1 - history.shown;
        history.recipients = recipients(history, &versions, &pipelines, &contracts.sinks);
        history.fill = fill(history, contracts, name, resources);
    }
    name_pages(&mut traits);
    Ok(Mapping {
        namespace: contracts.namespace.into(),
        name: name.into(),
        folder: format!("{}/{}", file_name(contracts.namespace), file_name(name)),
        versions,
        current,
        traits,
        pipelines,
    })
}

/// The versions, oldest first.
fn in_order<'a>(
    name: &str,
    resources: &[&'a MappingVersion],
) -> Result<Vec<(Semver, &'a MappingVersion)>, CatalogError> {
    let mut ordered = Vec::with_capacity(resources.len());
    for resource in resources {
        let number = Semver::parse(&resource.spec.version).map_err(|cause| CatalogError::NoVersion {
            resource: resource.name_any(),
            version: resource.spec.version.clone(),
            cause: cause.to_string(),
        })?;
        ordered.push((number, *resource));
    }
    ordered.sort_by(|(left, one), (right, other)| (left, one.name_any()).cmp(&(right, other.name_any())));
    match ordered.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(CatalogError::Twice {
            mapping: name.into(),
            version: pair[0].0.to_string(),
            first: pair[0].1.name_any(),
            second: pair[1].1.name_any(),
        }),
        None => Ok(ordered),
    }
}

fn pipelines(contracts: &Contracts<'_>, mapping: &str) -> Vec<Pipeline> {
    let mut pipelines: Vec<Pipeline> = contracts
        .pipelines
        .iter()
        .filter(|pipeline| pipeline.spec.mapping_ref.name == mapping)
        .map(|pipeline| Pipeline {
            name: pipeline.name_any(),
            source: pipeline.spec.source_ref.name.clone(),
            sink: pipeline.spec.sink_ref.name.clone(),
            asks: pipeline.spec.mapping_ref.version.clone(),
            // A catalog has no clock: what may be gone one day is taken for allowed.
            takes: takeable_mappings(
                &pipeline.spec.mapping_ref,
                contracts.mappings.iter().copied(),
                None,
                Date::MAX,
            )
            .map(|fitting| fitting.highest.spec.version.clone())
            .map_err(|unresolved| unresolved.to_string()),
            objects: pipeline
                .spec
                .streams
                .iter()
                .map(|stream| stream.object.clone())
                .collect(),
            freshness: pipeline
                .spec
                .streams
                .iter()
                .filter_map(|stream| Some((stream.object.clone(), stream.freshness.as_ref()?.objective.into())))
                .collect(),
            suspended: pipeline.spec.suspend,
        })
        .collect();
    pipelines.sort_by(|left, right| left.name.cmp(&right.name));
    pipelines
}

/// How full a trait is, by what the pipelines' runs have told.
fn fill(history: &TraitHistory, contracts: &Contracts<'_>, mapping: &str, resources: &[&MappingVersion]) -> Vec<Fill> {
    let mut all = Vec::new();
    let of_mapping = |pipeline: &&&SyncPipeline| pipeline.spec.mapping_ref.name == mapping;
    for pipeline in contracts.statuses.iter().filter(of_mapping) {
        for stream in pipeline.status.iter().flat_map(|status| &status.streams) {
            let told = || {
                let rates = stream.fill.as_ref()?;
                let object = &pipeline.spec.streams.iter().find(|one| one.name == stream.name)?.object;
                let version = resources.iter().find(|one| one.spec.version == rates.mapping_version)?;
                let mapped = version.spec.objects.iter().find(|one| one.object == *object)?;
                let is_of_entity = super::words::text(&written(&mapped.entity)) == history.entity;
                let place = mapped.traits.iter().position(|rule| rule.name == history.name)?;
                let rate = rates.per_mille.get(place).filter(|rate| is_of_entity && **rate >= 0)?;
                Some(Fill {
                    object: object.clone(),
                    pipeline: pipeline.name_any(),
                    version: rates.mapping_version.clone(),
                    records: rates.records,
                    per_mille: *rate,
                    day: rates.time.0.to_zoned(TimeZone::UTC).date(),
                })
            };
            all.extend(told());
        }
    }
    all.sort_by(|left, right| (&left.object, &left.pipeline).cmp(&(&right.object, &right.pipeline)));
    all
}

/// Who gets a trait: each pipeline that takes a version of the mapping and syncs an object that becomes the trait's entity.
fn recipients(
    history: &TraitHistory,
    versions: &[Version],
    pipelines: &[Pipeline],
    sinks: &[&CdpSink],
) -> Vec<Recipient> {
    let mut recipients = Vec::new();
    for pipeline in pipelines {
        let Ok(number) = &pipeline.takes else { continue };
        let Some(entity) = versions
            .iter()
            .find(|version| version.number == *number)
            .and_then(|version| version.entity(&history.entity))
        else {
            continue;
        };
        let syncs = |object: &str| pipeline.objects.iter().any(|synced| synced == object);
        let definition = entity
            .find(&history.name)
            .map(|found| found.definitions.iter().filter(|definition| syncs(&definition.object)));
        if !entity.objects.iter().any(|object| syncs(&object.name)) {
            continue;
        }
        let sink = sinks.iter().find(|sink| sink.name_any() == pipeline.sink);
        let cdp_name = sink.and_then(|sink| sink.spec.cdp()).map(Cdp::as_str);
        let called = entity
            .find(&history.name)
            .zip(cdp_name)
            .and_then(|(found, cdp)| found.names.get(cdp));
        let verdict = match (
            definition.map(|synced| synced.map(|one| one.classification).min()),
            sink,
        ) {
            (None, _) => Verdict::NotInVersion,
            // The streams sync another object of the entity, which has no such trait.
            (Some(None), _) => continue,
            (Some(_), None) => Verdict::Unknown,
            (Some(Some(least)), Some(sink)) if least > sink.spec.max_classification => {
                Verdict::Withheld(sink.spec.max_classification)
            }
            (Some(Some(_)), Some(_)) if called == Some(&None) => Verdict::LeftOut,
            (Some(Some(_)), Some(_)) => Verdict::Delivered,
        };
        recipients.push(Recipient {
            pipeline: pipeline.name.clone(),
            sink: pipeline.sink.clone(),
            cdp: sink.and_then(|sink| cdp(sink)),
            version: number.clone(),
            verdict,
            sent_as: called.cloned().flatten().filter(|name| *name != history.name),
            purposes: sink.map(|sink| sink.spec.consent.require.clone()).unwrap_or_default(),
        });
    }
    recipients
}

/// The CDP's name: that of the member of the spec which says how it is reached.
fn cdp(sink: &CdpSink) -> Option<String> {
    const SHARED: [&str; 5] = ["identity", "consent", "maxClassification", "limits", "jobTemplate"];
    let spec = written(&sink.spec);
    let mut members = spec.as_object()?.iter();
    members
        .find(|(name, value)| value.is_object() && !SHARED.contains(&name.as_str()))
        .map(|(name, _)| sentence(name))
}

fn name_pages(traits: &mut [TraitHistory]) {
    let mut folders: BTreeMap<String, Folder> = BTreeMap::new();
    for history in traits {
        let entity = file_name(&history.entity);
        let name = folders.entry(entity.clone()).or_default().name(&history.name);
        history.page = format!("{entity}/{name}");
    }
}
