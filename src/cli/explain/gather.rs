//! What the store remembers of a record, joined with what the mapping says.

use std::path::PathBuf;

use serde::Serialize;

use super::{ExplainError, SHOWN};
use crate::api::mapping_version::{IdentityKey, IdentityRole, ObjectMapping, ProjectedName, Projection, TraitMapping};
use crate::api::sync_pipeline::Stream;
use crate::api::{CdpSinkSpec, MappingVersionSpec, SyncPipeline};
use crate::cli::files::Namespace;
use crate::identity::{KeyHash, Remembered, Secret, Verdict};
use crate::mapping::Plan;
use crate::state::{Erased, Ledger, Whereabouts};
use crate::worker::resolve_mapping;

/// A stream whose state is asked.
pub(super) struct Place<'n> {
    pub(super) namespace: &'n Namespace,
    pub(super) pipeline: &'n SyncPipeline,
    pub(super) stream: &'n Stream,
    /// `namespace/name` of the pipeline.
    pub(super) shown: String,
    /// The pipeline's folder of state.
    pub(super) state: PathBuf,
}

/// Why a record has the ids and the trait that it has at the CDP. Values are there as keyed hashes, unless they were revealed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Explanation {
    pub(super) pipeline: String,
    pub(super) stream: String,
    pub(super) sink: String,
    pub(super) object: String,
    pub(super) record: String,
    /// The version of the record that was last dealt with.
    pub(super) stamp: String,
    pub(super) deleted: bool,
    /// Whether only a suppression was delivered, without a trait or an external id.
    pub(super) suppressed: bool,
    /// The mapping and version that delivered it.
    pub(super) mapping: Option<String>,
    /// Whether that version is in the folder; otherwise the pipeline's present one says what keys and traits are.
    pub(super) mapping_is_there: bool,
    pub(super) delivered_at: Option<String>,
    pub(super) run: Option<String>,
    pub(super) dead_letter: Option<String>,
    /// How the erasure of a deleted record stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) erasure: Option<String>,
    pub(super) keys: Vec<KeyExplained>,
    pub(super) goes_on_as: Option<LinkExplained>,
    pub(super) stands_for: Vec<LinkExplained>,
    #[serde(rename = "trait", skip_serializing_if = "Option::is_none")]
    pub(super) trait_explained: Option<TraitExplained>,
}

/// One key, and the rule that chose or refused it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyExplained {
    pub(super) kind: String,
    pub(super) from: String,
    /// The verdict in one word.
    pub(super) verdict: String,
    /// Why, for a person.
    pub(super) why: String,
    /// The value's keyed hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hash: Option<String>,
    /// The value as the CRM has it now, where it is revealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<String>,
    /// Whether the revealed value is the one that was delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value_is_as_delivered: Option<bool>,
    /// The other records that have the value, or by which the CDP knows it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) others: Vec<OtherExplained>,
}

/// Another record with a tracked value.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OtherExplained {
    pub(super) record: String,
    /// Whether the CRM shows it with the value.
    pub(super) has_it_now: bool,
    /// Whether the CDP was told of the value at its last delivery.
    pub(super) delivered: bool,
    /// The run that told the CDP first.
    pub(super) since_run: Option<String>,
}

/// That a record goes on as another one, or another one as this.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LinkExplained {
    pub(super) record: String,
    pub(super) relation: String,
    pub(super) delivered_at: String,
    pub(super) run: Option<String>,
}

/// Where a trait comes from.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TraitExplained {
    #[serde(rename = "trait")]
    pub(super) name: String,
    /// The CRM field, or the CEL expression.
    pub(super) source: String,
    pub(super) transforms: Vec<String>,
    /// Whether it reaches the CDP, and why not.
    pub(super) why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<String>,
}

impl<'n> Place<'n> {
    pub(super) fn ledger(&self) -> Result<Option<Ledger>, ExplainError> {
        Ok(Ledger::open(&self.state, &self.stream.name)?)
    }

    pub(super) fn secret(&self) -> Result<Secret, ExplainError> {
        Ok(Secret::read(&self.state)?)
    }

    pub(super) fn sink(&self) -> Option<&'n CdpSinkSpec> {
        self.namespace
            .sinks
            .get(&self.pipeline.spec.sink_ref.name)
            .map(|sink| &sink.spec)
    }

    /// The mapping of this name and version or, where the folder lacks it, the pipeline's present one.
    pub(super) fn mapping(&self, delivered: Option<&str>) -> Option<(&'n MappingVersionSpec, bool)> {
        let mappings = || self.namespace.mappings.values();
        let named = |spec: &MappingVersionSpec| Some(&*format!("{} {}", spec.mapping, spec.version)) == delivered;
        if let Some(found) = mappings().find(|mapping| named(&mapping.spec)) {
            return Some((&found.spec, true));
        }
        let present = resolve_mapping(&self.pipeline.spec.mapping_ref, mappings()).ok()?;
        Some((&present.spec, false))
    }

    pub(super) fn plan(&self, mapping: &MappingVersionSpec, sink: &CdpSinkSpec) -> Result<Plan, ExplainError> {
        Plan::compile(mapping, &self.stream.object, sink).map_err(|errors| ExplainError::Mapping {
            mapping: format!("{} {}", mapping.mapping, mapping.version),
            errors: errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        })
    }

    /// The hash of a value, as the mapping's transforms leave it where the sink takes the kind.
    pub(super) fn hash(&self, kind: &str, value: &str) -> Result<KeyHash, ExplainError> {
        let secret = self.secret()?;
        let (Some((mapping, _)), Some(sink)) = (self.mapping(None), self.sink()) else {
            return Ok(secret.hash(kind, value));
        };
        let mut plan = self.plan(mapping, sink)?;
        let keys = plan.read_keys(&self.namespace.secrets());
        match (plan.key_value(kind, value), keys) {
            (Some(transformed), _) => Ok(secret.hash(kind, &transformed)),
            (None, Err(error)) => Err(error.into()),
            (None, Ok(())) => Ok(secret.hash(kind, value)),
        }
    }
}

/// How an erasure stands, in words.
fn erasure(Erased { requested, status }: Erased) -> String {
    match (requested, status) {
        (None, _) => "is due, and the CDP has not taken it on yet".to_owned(),
        (Some((regulation, at)), None) => format!("asked for {at}: regulation {regulation}, which has not ended"),
        (Some((regulation, at)), Some(status)) => {
            format!("asked for {at}: regulation {regulation}, which the CDP ended as {status}")
        }
    }
}

/// Joins what is remembered of a record with what the mapping says of its keys and of a trait.
pub(super) fn explain(
    place: &Place<'_>,
    ledger: &Ledger,
    found: Whereabouts,
    trait_name: Option<&str>,
) -> Result<Explanation, ExplainError> {
    let (run, mapping) = found.delivered_by.unzip();
    let spec = place.mapping(mapping.as_deref());
    let object = spec.and_then(|(spec, _)| spec.objects.iter().find(|object| object.object == place.stream.object));
    let mut keys = Vec::new();
    for (kind, from, remembered) in considered(object, &found.memory.keys) {
        keys.push(key(place, ledger, &found.record, object, (kind, from, remembered))?);
    }
    let trait_explained = match (trait_name, object, place.sink()) {
        (Some(name), Some(object), Some(sink)) => {
            let projections = spec.map(|(spec, _)| &spec.projections[..]).unwrap_or_default();
            Some(explain_trait(name, object, sink, projections))
        }
        _ => None,
    };
    Ok(Explanation {
        pipeline: place.shown.clone(),
        stream: place.stream.name.clone(),
        sink: place.pipeline.spec.sink_ref.name.clone(),
        object: place.stream.object.clone(),
        stamp: found.stamp.to_string(),
        deleted: found.deleted,
        suppressed: found.memory.suppressed || found.deleted || found.link.is_some(),
        mapping_is_there: spec.is_some_and(|(_, there)| there),
        mapping,
        delivered_at: found.delivered_at.map(|instant| instant.to_string()),
        run,
        erasure: found.erasure.map(erasure),
        dead_letter: found.dead_letter.map(|(path, rule)| format!("{path}: {rule}")),
        keys,
        goes_on_as: found.link.map(|link| LinkExplained {
            record: link.successor,
            relation: link.relation,
            delivered_at: link.at.to_string(),
            run: link.run,
        }),
        stands_for: found
            .links_here
            .into_iter()
            .map(|(record, link)| LinkExplained {
                record,
                relation: link.relation,
                delivered_at: link.at.to_string(),
                run: link.run,
            })
            .collect(),
        trait_explained,
        record: found.record,
    })
}

/// The mapping's keys in order of precedence, then the group's, each with what is remembered of it; then what is remembered of
/// keys that the mapping has no more.
fn considered<'a>(
    object: Option<&'a ObjectMapping>,
    remembered: &'a [Remembered],
) -> Vec<(&'a str, &'a str, Option<&'a Remembered>)> {
    let of = |kind: &str| remembered.iter().find(|key| key.kind == kind);
    let mut keys: Vec<_> = Vec::new();
    if let Some(object) = object {
        let own = object.identity.iter().map(|key| (&*key.kind, &*key.from));
        let group = object.group.iter().map(|group| (&*group.kind, &*group.from));
        let subject = object.subject.iter().map(|subject| (&*subject.kind, &*subject.from));
        keys.extend(
            own.chain(group)
                .chain(subject)
                .map(|(kind, from)| (kind, from, of(kind))),
        );
    }
    for key in remembered {
        if !keys.iter().any(|(kind, ..)| *kind == key.kind) {
            keys.push((&key.kind, "", Some(key)));
        }
    }
    keys
}

fn key(
    place: &Place<'_>,
    ledger: &Ledger,
    record: &str,
    object: Option<&ObjectMapping>,
    (kind, from, remembered): (&str, &str, Option<&Remembered>),
) -> Result<KeyExplained, ExplainError> {
    let rule = object.and_then(|object| object.identity.iter().find(|key| key.kind == kind));
    let (verdict, why) = match remembered {
        Some(key) => (key.verdict.reason().to_owned(), key.verdict.to_string()),
        None => ("NotTaken".to_owned(), not_taken(place.sink(), rule)),
    };
    let hash = remembered.and_then(|key| key.hash);
    let tracked = remembered.is_some_and(|key| key.tracked);
    let mut others = Vec::new();
    if let Some(hash) = hash.filter(|_| tracked) {
        let uses = ledger.uses(hash, SHOWN + 1)?;
        others.extend(
            uses.into_iter()
                .filter(|used| used.record != record)
                .map(|used| OtherExplained {
                    record: used.record,
                    has_it_now: used.holds,
                    delivered: used.active,
                    since_run: used.first_run,
                }),
        );
    }
    Ok(KeyExplained {
        kind: kind.to_owned(),
        from: from.to_owned(),
        verdict,
        why,
        hash: hash.map(|hash| hash.to_string()),
        value: None,
        value_is_as_delivered: None,
        others,
    })
}

/// Why nothing is remembered of a key.
fn not_taken(sink: Option<&CdpSinkSpec>, rule: Option<&IdentityKey>) -> String {
    let Some(sink) = sink else {
        return "the sink is not in the folder".to_owned();
    };
    let role = match rule.map(|rule| rule.role) {
        Some(IdentityRole::Informational) => "; informational, it identifies nobody by itself",
        _ => "",
    };
    format!(
        "refused: lower precedence; the sink's user id is {}, and it takes no other key of this kind{role}",
        sink.identity.user_id
    )
}

fn explain_trait(name: &str, object: &ObjectMapping, sink: &CdpSinkSpec, projections: &[Projection]) -> TraitExplained {
    let Some(rule) = object.traits.iter().find(|rule| rule.name == name) else {
        return TraitExplained {
            name: name.to_owned(),
            source: String::new(),
            transforms: Vec::new(),
            why: format!("the mapping has no trait {name:?} of object {}", object.object),
            value: None,
        };
    };
    let TraitMapping {
        from, cel, transforms, ..
    } = rule;
    let mut projections = projections.iter();
    let projection = projections.find(|one| Some(one.cdp) == sink.cdp() && one.entity == object.entity);
    let sent_as = projection.and_then(|one| one.traits.get(name));
    let why = if rule.classification > sink.max_classification {
        format!(
            "not delivered: it is {:?}, and the sink may hold {:?} at most",
            rule.classification, sink.max_classification
        )
    } else if sent_as == Some(&ProjectedName(None)) {
        "not delivered: the mapping leaves it out for this CDP (spec.projections)".to_owned()
    } else {
        let at = sent_as.and_then(|name| name.0.as_ref());
        let at = at.map_or_else(String::new, |name| format!(" at {name}"));
        format!(
            "delivered as {:?}{at}; null: {:?}, error: {:?}",
            rule.kind, rule.on_null, rule.on_error
        )
    };
    TraitExplained {
        name: name.to_owned(),
        source: match (from, cel) {
            (Some(field), _) => format!("{}.{field}", object.object),
            (None, Some(expression)) => format!("CEL: {expression}"),
            (None, None) => String::new(),
        },
        transforms: transforms
            .iter()
            .filter_map(|transform| serde_json::to_string(transform).ok())
            .collect(),
        why,
        value: None,
    }
}

/// The chosen id's kind, for a person.
pub(super) fn chosen(keys: &[KeyExplained]) -> Option<&KeyExplained> {
    keys.iter().find(|key| key.verdict == Verdict::UserId.reason())
}
