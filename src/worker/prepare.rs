//! Everything that must be right before the first record is read.

use jiff::{SignedDuration, Timestamp};

use super::stop::Stop;
use super::{RunSpec, erasable};
use crate::api::common::Outcome;
use crate::api::mapping_version::LegalBasis;
use crate::api::sync_pipeline::{Deletes, Watermark};
use crate::identity::Secret;
use crate::mapping::{CompileError, Plan};
use crate::secrets::Secrets;
use crate::sink::Sink;
use crate::source::{ObjectDescription, Selection, Source};
use crate::state::{Origin, Remembered, Store};

/// A stream's store, open for this run.
pub(super) struct Opened {
    pub(super) store: Store,
    /// Whether it knew no record.
    pub(super) empty: bool,
    /// Whether the identity map knows every value of the tracked keys; otherwise everything must be read.
    pub(super) knows_keys: bool,
    /// The tracked keys.
    pub(super) tracked: Vec<TrackedKey>,
    /// What makes the hashes of the identity map.
    pub(super) secret: Secret,
    /// Whether the CDP may hold what it does not know of: the run before was cut off.
    pub(super) in_doubt: bool,
    /// What a person must know of it.
    pub(super) notes: Vec<String>,
}

/// Both sides, connected.
pub(super) struct Connected {
    pub(super) source: Source,
    pub(super) sink: Sink,
    /// The object as the CRM describes it.
    pub(super) description: ObjectDescription,
}

/// Compiles the stream's part of the mapping, and reads the keys that it hashes with; an error lists everything that is wrong
/// with it.
pub(super) fn compile(spec: &RunSpec, secrets: &Secrets) -> Result<Plan, Stop> {
    let unerasable = erasable::of_stream(&spec.stream, &spec.mapping, &spec.sink);
    if !unerasable.is_empty() {
        return Err(Stop::new(
            Outcome::ConfigurationInvalid,
            format!("stream {}: deletes: {}", spec.stream.name, unerasable.join("; ")),
        ));
    }
    let mut plan = Plan::compile(&spec.mapping, &spec.stream.object, &spec.sink).map_err(|errors| {
        Stop::new(
            Outcome::ConfigurationInvalid,
            format!("mapping {} does not compile: {}", mapping_name(spec), listed(&errors)),
        )
    })?;
    read_keys(spec, &mut plan, secrets)?;
    Ok(plan)
}

fn read_keys(spec: &RunSpec, plan: &mut Plan, secrets: &Secrets) -> Result<(), Stop> {
    plan.read_keys(secrets).map_err(|error| {
        Stop::new(
            Outcome::ConfigurationInvalid,
            format!("mapping {}: {error}", mapping_name(spec)),
        )
    })
}

/// Compiles what the reading of a stream's keys needs, where they must be read before its records.
pub(super) fn compile_keys(spec: &RunSpec, plan: &Plan, secrets: &Secrets) -> Result<Option<Plan>, Stop> {
    if !plan.reads_keys_first() {
        return Ok(None);
    }
    let mut keys = compile_identities(spec)?;
    read_keys(spec, &mut keys, secrets)?;
    Ok(Some(keys))
}

/// Compiles what tells whose record it is, and what that goes on as. What hashes with a key makes nothing yet.
pub(super) fn compile_identities(spec: &RunSpec) -> Result<Plan, Stop> {
    let keys = Plan::compile_keys(&spec.mapping, &spec.stream.object, &spec.sink);
    // What a whole mapping compiles with, a part of it compiles with.
    keys.map_err(|errors| {
        Stop::new(
            Outcome::ConfigurationInvalid,
            format!("mapping {} does not compile: {}", mapping_name(spec), listed(&errors)),
        )
    })
}

/// The mapping and its version, as dead letters and messages name it.
pub(super) fn mapping_name(spec: &RunSpec) -> String {
    format!("{} {}", spec.mapping.mapping, spec.mapping.version)
}

/// Opens the stream's store, and decides where the run begins.
pub(super) fn open(spec: &RunSpec, mut tracked: Vec<TrackedKey>) -> Result<Opened, Stop> {
    let mapping = mapping_name(spec);
    let (mut store, remembered) = Store::open(&spec.opening(&mapping))?;
    let Remembered { origin, empty } = remembered;
    let mut notes = Vec::new();
    match (origin, &spec.published) {
        (Origin::Kept, _) => {}
        (Origin::New, Some(published)) => {
            notes.push(format!(
                "the state store was lost: the run goes on from the watermark in status, {published}; records before it \
                 are not known any more, and the counts of both sides are not compared"
            ));
            store.go_on_from(published.clone());
        }
        (Origin::New, None) if spec.ran_before => {
            notes.push(
                "no watermark is known, neither in the state store nor in status: every record is read".to_owned(),
            );
        }
        (Origin::New, None) => {}
        (Origin::Other(before), _) => {
            notes.push(format!(
                "the state was of {before}, and the stream is of {} now: it starts over",
                spec.between()
            ));
        }
    }
    let secret = Secret::read_or_make(&spec.state_directory)
        .map_err(|error| Stop::new(Outcome::StateUnavailable, error.to_string()))?;
    // Under another key the same values have other hashes: what the map knows says nothing then.
    let name = secret.hash("", "");
    tracked
        .iter_mut()
        .for_each(|key| key.definition = format!("{} {name}", key.definition));
    let knows_keys = store.track(tracked.iter().map(|key| (&*key.kind, &*key.definition)))?;
    let merges = spec
        .mapping
        .objects
        .iter()
        .any(|mapping| mapping.object == spec.stream.object && mapping.merged_into.is_some());
    if merges && spec.stream.deletes == Deletes::Ignore {
        notes.push(
            "the mapping says mergedInto, and the stream ignores deletes: it sees no merge; set deletes: Suppress"
                .to_owned(),
        );
    }
    store.name_purposes(purposes(spec));
    store.erase_deleted(spec.stream.deletes == Deletes::Erase, Timestamp::now())?;
    if store.erasures_left() > 0 {
        notes.push(format!(
            "{} deleted records were not erased yet where the stream went before; ask for their erasure there by hand",
            store.erasures_left()
        ));
    }
    let in_doubt = store.begin_delivering()?;
    // Made lasting before anything is read, so that a run after a kill does not have to decide again.
    store.commit()?;
    Ok(Opened {
        store,
        empty,
        knows_keys,
        tracked,
        secret,
        in_doubt,
        notes,
    })
}

/// The purposes of the stream's object, in the order in which a plan states them.
fn purposes(spec: &RunSpec) -> Vec<(String, LegalBasis)> {
    let object = spec
        .mapping
        .objects
        .iter()
        .find(|object| object.object == spec.stream.object);
    let consent = object.into_iter().flat_map(|object| &object.consent);
    consent
        .map(|consent| (consent.purpose.clone(), consent.legal_basis))
        .collect()
}

/// Connects to both sides, and has the object described.
pub(super) async fn connect(spec: &RunSpec, secrets: &Secrets) -> Result<Connected, Stop> {
    let source = Source::connect(&spec.source, secrets).await?;
    let description = source.describe(&spec.stream.object).await?;
    let sink = Sink::connect(&spec.sink, secrets).await?;
    Ok(Connected {
        source,
        sink,
        description,
    })
}

/// What the run reads.
pub(super) fn selection(spec: &RunSpec, plan: &Plan, watermark: Option<&Watermark>) -> Selection {
    let look_back =
        SignedDuration::try_from(std::time::Duration::from(spec.stream.look_back)).unwrap_or(SignedDuration::MAX);
    Selection {
        object: spec.stream.object.clone(),
        fields: plan.fields().to_vec(),
        // A look-back to before the beginning of time reads everything.
        from: watermark.and_then(|watermark| watermark.stamp.checked_sub(look_back).ok()),
        deleted: spec.stream.deletes != Deletes::Ignore,
    }
}

/// A key of which the identity map must know who has its values.
#[derive(Clone, Debug)]
pub(super) struct TrackedKey {
    pub(super) kind: String,
    /// So many records with one value make it nobody's.
    pub(super) shared_by: u32,
    /// What the value is made from.
    pub(super) definition: String,
}

/// The keys of which the identity map must know who has their values.
pub(super) fn tracked(plan: &Plan) -> Vec<TrackedKey> {
    let keys = plan.tracked_keys().map(|(kind, shared_by, definition)| TrackedKey {
        kind: kind.to_owned(),
        shared_by,
        definition: definition.to_owned(),
    });
    keys.collect()
}

fn listed(errors: &[CompileError]) -> String {
    errors
        .iter()
        .map(CompileError::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
