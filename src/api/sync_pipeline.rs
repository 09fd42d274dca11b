//! `SyncPipeline`: a source, a sink, a mapping, and the streams that flow between them.

use std::fmt;
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::core::Duration;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{LocalReference, Outcome};
use super::job_template::{JobTemplate, quantity};
pub use super::observations::{FillRates, SchemaChange, StreamSchema};

/// The annotation of a pipeline by which a person accepts an object as the CRM describes it: the `schema.hash` of one or several
/// streams, joined by commas.
pub const ACCEPT_SCHEMA: &str = "ferrygate.io/accept-schema";

/// The annotation of a pipeline that asks for a run of each of its streams, beside their schedules: any text that differs from
/// the last one. `ferrygate run-now` writes the instant.
pub const RUN_NOW: &str = "ferrygate.io/run-now";

/// A source, a sink, a mapping, and the streams that flow between them.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ferrygate.io",
    version = "v1alpha1",
    kind = "SyncPipeline",
    plural = "syncpipelines",
    shortname = "sync",
    category = "ferrygate",
    namespaced,
    status = "SyncPipelineStatus",
    derive = "PartialEq",
    doc = "A CRM source, a CDP sink, a mapping, and the streams that flow between them.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Fresh",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Fresh\")].status"
    ),
    printcolumn(
        name = "Reconciled",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Reconciled\")].status"
    ),
    printcolumn(name = "Mapping", type_ = "string", json_path = ".status.mapping.version"),
    printcolumn(name = "Last Run", type_ = "date", json_path = ".status.lastRunTime"),
    printcolumn(name = "Dead Letters", type_ = "integer", json_path = ".status.deadLetters"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(cel)]
pub struct SyncPipelineSpec {
    /// The CRM.
    pub source_ref: LocalReference,
    /// The CDP.
    pub sink_ref: LocalReference,
    /// The contract between them.
    pub mapping_ref: MappingReference,
    /// What is synced: a CRM object a stream.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
    )]
    pub streams: Vec<Stream>,
    /// What becomes of runs when the CRM's schema changes under the mapping.
    #[serde(default)]
    pub schema: SchemaPolicy,
    /// Where the state of the syncs is kept.
    #[serde(default)]
    pub state: State,
    /// What the runs' Jobs need beside what every worker has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_template: Option<JobTemplate>,
    /// No run is started while this is true; one under way is let end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// A mapping and which of its versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MappingReference {
    /// The mapping's name: `spec.mapping` of its versions.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// An exact version, `2.1.0`, or a range, `~2.1`, of which the highest that exists is taken.
    #[schemars(length(min = 1, max = 63))]
    pub version: String,
}

/// One CRM object on its way to the CDP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stream {
    /// The stream's name, which its runs and its state carry.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The CRM object's API name, for example `Contact`.
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[A-Za-z][A-Za-z0-9_]*$"))]
    pub object: String,
    /// How the records are read.
    #[serde(default)]
    pub mode: Mode,
    /// When a run starts.
    pub schedule: Schedule,
    /// How old the CDP's picture may grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freshness: Option<Freshness>,
    /// How old a withdrawal of consent may grow that the CDP does not know of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<ConsentObjective>,
    /// Which runs start first where the source has no place for all.
    #[serde(default, skip_serializing_if = "Lane::is_standard")]
    pub lane: Lane,
    /// What becomes of a record that was deleted in the CRM.
    #[serde(default)]
    pub deletes: Deletes,
    /// How far behind its watermark a run begins to read, for transactions that committed late; what was delivered
    /// already is recognised and not sent again. Where the CRM tells when its oldest open transaction began (Salesforce does, for
    /// objects that can be replicated), the watermark waits for it, and this is a second net.
    #[serde(default = "default_look_back")]
    #[schemars(length(max = 32), regex(pattern = super::common::DURATION))]
    pub look_back: Duration,
    /// No run of this stream is started while this is true; one under way is let end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

fn default_look_back() -> Duration {
    std::time::Duration::from_secs(300).into()
}

/// How a stream's records are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// What changed since the watermark; the first run reads everything.
    #[default]
    Incremental,
}

/// Which runs start first where the source has no place for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Lane {
    /// The run starts that is nearest to missing its objective.
    #[default]
    Standard,
    /// For withdrawals of consent: runs start before all of the standard lane.
    Suppression,
}

impl Lane {
    fn is_standard(&self) -> bool {
        *self == Lane::Standard
    }
}

/// When a run starts: exactly one of `every` and `cron`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("has(self.every) != has(self.cron)").message("schedule must name exactly one of every, cron"),
    validation = Rule::new("!has(self.timeZone) || has(self.cron)").message("timeZone goes with cron"),
    validation = Rule::new("!has(self.every) || duration(self.every) >= duration('1s')")
        .message("every must be at least 1s"),
    validation = Rule::new("!has(self.every) || !self.every.matches('[.]|ms')")
        .message("every must be in whole seconds and without fractions, for example 90s"),
    validation = Rule::new("!has(self.startingDeadline) || duration(self.startingDeadline) >= duration('10s')")
        .message("startingDeadline must be at least 10s: a shorter one might skip every slot")
)]
pub struct Schedule {
    /// The interval, for example `5m`, in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = super::common::DURATION))]
    pub every: Option<Duration>,
    /// Five fields: minute, hour, day of month, month, day of week.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub cron: Option<String>,
    /// How late a run may start: a slot that could not be started for so long is skipped. Without it, the last of the slots
    /// that were missed makes one late run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = super::common::DURATION))]
    pub starting_deadline: Option<Duration>,
    /// The IANA time zone of `cron`, by default `Etc/UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub time_zone: Option<String>,
}

/// How old the CDP's picture may grow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("duration(self.objective) > duration('0s')").message("freshness.objective must be positive")
)]
pub struct Freshness {
    /// The stream is fresh while what it delivered is complete up to an instant no longer ago than this.
    #[schemars(length(max = 32), regex(pattern = super::common::DURATION))]
    pub objective: Duration,
}

/// How old a withdrawal of consent may grow that the CDP does not know of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("duration(self.objective) > duration('0s')").message("consent.objective must be positive")
)]
pub struct ConsentObjective {
    /// The condition `ConsentCurrent` holds while everything that the CRM knew, up to an instant no longer ago than this, was
    /// delivered, withdrawals among it. It takes no account of dead letters.
    #[schemars(length(max = 32), regex(pattern = super::common::DURATION))]
    pub objective: Duration,
}

/// What becomes of a record that was deleted in the CRM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Deletes {
    /// Nothing: the CDP keeps the profile as it was.
    #[default]
    Ignore,
    /// A suppression is delivered: every purpose denied, and no trait.
    Suppress,
    /// A suppression is delivered, and then the CDP is asked, by its own privacy API, to erase the person.
    Erase,
}

/// What becomes of runs when the CRM's schema changes under the mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchemaPolicy {
    /// What a change of a field that the mapping reads does, where it may matter: its type, the values that a picklist offers, a
    /// shorter text. A field that is gone stops every run.
    #[serde(default)]
    pub on_change: OnSchemaChange,
}

/// What a change of the CRM's schema does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnSchemaChange {
    /// Runs go on, and `SchemaAligned` says what changed.
    #[default]
    Alert,
    /// Runs deliver nothing, and keep their place, until a mapping version takes the change up, or it is accepted.
    Hold,
}

/// Where the state of the syncs is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// SQLite on a volume of the pipeline's own.
    #[serde(default)]
    pub volume: StateVolume,
}

/// A volume claim of the pipeline's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StateVolume {
    /// How large the claim is, by default `1Gi`.
    #[serde(default = "default_volume_size")]
    #[schemars(schema_with = "quantity")]
    pub size: Quantity,
    /// The claim's storage class, by default the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
    /// What becomes of the claim when the pipeline is deleted. A change of it takes effect on the claim that is there.
    #[serde(default)]
    pub when_deleted: WhenDeleted,
}

/// What becomes of a pipeline's state when the pipeline is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenDeleted {
    /// It is deleted with it.
    #[default]
    Delete,
    /// It stays, and a pipeline that is made again under the same name goes on from it.
    Retain,
}

fn default_volume_size() -> Quantity {
    Quantity("1Gi".into())
}

impl Default for StateVolume {
    fn default() -> Self {
        StateVolume {
            size: default_volume_size(),
            storage_class_name: None,
            when_deleted: WhenDeleted::default(),
        }
    }
}

/// What is known of a pipeline. A run's worker writes what it did into its stream, and only while `activeRun` names it; the
/// controller writes the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = super::common::unseen()))]
pub struct SyncPipelineStatus {
    /// The generation that the conditions speak of; -1 until a controller has seen the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = super::common::UNSEEN))]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled`, `Fresh`, `ConsentCurrent`, `Reconciled`, `SchemaAligned`, `Suspended`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The mapping version that runs take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<ResolvedMapping>,
    /// A higher version in the range of `mappingRef` that runs do not take, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<MappingCandidate>,
    /// When a run of any stream last ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run_time: Option<Time>,
    /// How many dead letters the streams hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<i64>,
    /// The streams, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub streams: Vec<StreamStatus>,
}

/// The mapping version that a reference came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedMapping {
    /// `metadata.name` of the MappingVersion.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// A mapping version in the range of a reference that runs do not take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MappingCandidate {
    /// `metadata.name` of the MappingVersion.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Why it is not let in.
    pub message: String,
}

/// What is known of one stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamStatus {
    /// The stream's name.
    pub name: String,
    /// The run under way. Only its worker may write into this stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_run: Option<ActiveRun>,
    /// Up to which record everything was delivered: its stamp and its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Watermark>,
    /// The CDP's picture is complete up to this instant of the CRM's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete_as_of: Option<Time>,
    /// When a run last succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success_time: Option<Time>,
    /// When the next run starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_run_time: Option<Time>,
    /// No run starts before this instant: the CRM's quota is used up until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked_until: Option<Time>,
    /// How many runs failed since the last one that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consecutive_failures: Option<i32>,
    /// Slots for which no run started: the controller was away, the stream was suspended or parked, or a run took too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<SkippedSlots>,
    /// What the annotation `ferrygate.io/run-now` held when a run was last started for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_request: Option<String>,
    /// How many dead letters the stream holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<i64>,
    /// The erasures of deleted records that are not done yet. There for a stream with `deletes: Erase`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erasures: Option<Erasures>,
    /// The records of the run under way or, where none is, of the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// How the last run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<LastRun>,
    /// How many records the CRM and the delivered state had when they were last counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconciliation: Option<Reconciliation>,
    /// The object as the last run saw it described, against the mapping and what it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<StreamSchema>,
    /// How many of the records of a run had a value for each trait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<FillRates>,
}

/// Erasures of deleted records that are not done yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Erasures {
    /// Records whose erasure the CDP has not taken on yet: the next run asks for it.
    pub waiting: i64,
    /// Records whose erasure the CDP has taken on, and not said yet how that ended.
    pub running: i64,
}

/// The run under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActiveRun {
    /// The run's name, which is its Job's.
    pub name: String,
    /// The number of this run among the stream's, which grows from run to run; the first has the second of its start, so that it
    /// grows also where the status was lost. It fences the state store: a lower one can't write any more.
    pub epoch: i64,
    /// The instant of the schedule that this run is for.
    pub slot_time: Time,
    /// When the controller started it.
    pub start_time: Time,
    /// What the worker reported at its end. The controller moves it to `lastRun` once the Job has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<RunReport>,
}

/// Instants of a schedule for which no run started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SkippedSlots {
    /// How many since the stream was made.
    pub count: i64,
    /// The last of them.
    pub last_slot_time: Time,
}

/// What a worker reported at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunReport {
    /// How the worker ended.
    pub outcome: Outcome,
    /// What happened and what to do, for a person.
    pub message: String,
}

/// How the last run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastRun {
    /// The run's name, which was its Job's.
    pub name: String,
    /// The run's number among the stream's.
    pub epoch: i64,
    /// The instant of the schedule that it was for.
    pub slot_time: Time,
    /// When it ended.
    pub completion_time: Time,
    /// How it ended.
    pub outcome: Outcome,
    /// What happened and what to do, for a person.
    pub message: String,
}

/// Records of a run, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Read from the CRM. The sum of the others, once the run has ended.
    pub read: i64,
    /// Delivered and acknowledged.
    pub delivered: i64,
    /// Not sent, because nothing that this CDP holds has changed.
    pub unchanged: i64,
    /// Delivered as a suppression: a consent is missing, or the record was deleted; or not sent, because its consent ended
    /// while it waited, so that the next run suppresses it.
    pub suppressed: i64,
    /// Put into the dead letters.
    pub rejected: i64,
}

/// A count of both sides at the end of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reconciliation {
    /// How many records the CRM had.
    pub source_count: i64,
    /// How many records were delivered, suppressed or put into the dead letters, deleted ones not counted.
    pub delivered_count: i64,
    /// How many records changed in the CRM while the run went on: by so many the counts may differ.
    pub changed_meanwhile: i64,
    /// When they were counted.
    pub time: Time,
}

/// A place in a stream: the modification stamp and the id of a record. Everything up to it, and including it, was
/// acknowledged by the sink or put into the dead letters. Written `2026-05-04T08:41:07.000Z 003Qy00000AbCdE`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watermark {
    /// The record's modification stamp, by the CRM's clock.
    pub stamp: jiff::Timestamp,
    /// The record's id, which orders records of one stamp.
    pub id: String,
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} {}", self.stamp, self.id)
    }
}

/// A text that is no watermark.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no watermark: it must be an RFC 3339 instant, a space, and a record id")]
pub struct InvalidWatermark(String);

impl FromStr for Watermark {
    type Err = InvalidWatermark;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidWatermark(text.to_owned());
        let (stamp, id) = text.split_once(' ').ok_or_else(invalid)?;
        let stamp = stamp.parse().map_err(|_| invalid())?;
        if id.is_empty() {
            return Err(invalid());
        }
        Ok(Watermark {
            stamp,
            id: id.to_owned(),
        })
    }
}

impl Serialize for Watermark {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Watermark {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Watermark {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Watermark".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}
