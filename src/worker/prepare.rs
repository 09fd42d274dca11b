//! Everything that must be right before the first record is read.

use jiff::SignedDuration;

use super::RunSpec;
use super::stop::Stop;
use crate::api::common::Outcome;
use crate::api::mapping_version::LegalBasis;
use crate::api::sync_pipeline::{Deletes, Watermark};
use crate::mapping::{CompileError, Plan};
use crate::secrets::Secrets;
use crate::sink::Sink;
use crate::source::{Selection, Source};
use crate::state::{Origin, Remembered, Store};

/// A stream's store, open for this run.
pub(super) struct Opened {
    pub(super) store: Store,
    /// Whether it knew no record.
    pub(super) empty: bool,
    /// Whether the CDP may hold what it does not know of: the run before was cut off.
    pub(super) in_doubt: bool,
    /// What a person must know of it.
    pub(super) notes: Vec<String>,
}

/// Both sides, connected and checked.
pub(super) struct Connected {
    pub(super) source: Source,
    pub(super) sink: Sink,
}

/// Compiles the stream's part of the mapping; an error lists everything that is wrong with it.
pub(super) fn compile(spec: &RunSpec) -> Result<Plan, Stop> {
    Plan::compile(&spec.mapping, &spec.stream.object, &spec.sink).map_err(|errors| {
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
pub(super) fn open(spec: &RunSpec) -> Result<Opened, Stop> {
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
    store.name_purposes(purposes(spec));
    let in_doubt = store.begin_delivering()?;
    // Made lasting before anything is read, so that a run after a kill does not have to decide again.
    store.commit()?;
    Ok(Opened {
        store,
        empty,
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

/// Connects to both sides, and checks that the CRM has what the mapping names.
pub(super) async fn connect(spec: &RunSpec, plan: &Plan, secrets: &Secrets) -> Result<Connected, Stop> {
    let source = Source::connect(&spec.source, secrets).await?;
    let description = source.describe(&spec.stream.object).await?;
    plan.check_schema(&description).map_err(|errors| {
        Stop::new(
            Outcome::SchemaDrifted,
            format!(
                "mapping {} does not fit the CRM: {}",
                mapping_name(spec),
                listed(&errors)
            ),
        )
    })?;
    let sink = Sink::connect(&spec.sink, secrets).await?;
    Ok(Connected { source, sink })
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
        deleted: spec.stream.deletes == Deletes::Suppress,
    }
}

fn listed(errors: &[CompileError]) -> String {
    errors
        .iter()
        .map(CompileError::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
