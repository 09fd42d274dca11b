//! Condition types, and the one way to set a condition.
//!
//! Conditions follow the [Kubernetes API conventions](https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties)
//! and [kstatus](https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md).

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The resource does what its spec says.
pub const READY: &str = "Ready";
/// The resource is on its way to what its spec says.
pub const RECONCILING: &str = "Reconciling";
/// The resource won't get there until a person mends something.
pub const STALLED: &str = "Stalled";
/// The CRM accepted the credentials.
pub const AUTHENTICATED: &str = "Authenticated";
/// The objects that mappings name were described.
pub const SCHEMA_OBSERVED: &str = "SchemaObserved";
/// The mapping compiles.
pub const COMPILED: &str = "Compiled";
/// Every stream with an objective meets it.
pub const FRESH: &str = "Fresh";
/// The counts of the source and of what was delivered agree.
pub const RECONCILED: &str = "Reconciled";
/// No run is started, because the spec says so.
pub const SUSPENDED: &str = "Suspended";

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It can't be told.
    Unknown,
}

impl Status {
    /// The word that the API has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::True => "True",
            Status::False => "False",
            Status::Unknown => "Unknown",
        }
    }
}

/// What a condition says, before it is known whether that is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The condition's type.
    pub kind: &'static str,
    /// Whether it holds.
    pub status: Status,
    /// One CamelCase word of the documented list.
    pub reason: &'static str,
    /// What a person should know and do. It carries no clock.
    pub message: String,
}

impl Verdict {
    /// A verdict of the given type, status, reason and message.
    pub fn new(kind: &'static str, status: Status, reason: &'static str, message: impl Into<String>) -> Self {
        Verdict {
            kind,
            status,
            reason,
            message: message.into(),
        }
    }
}

/// The conditions that follow from verdicts: in the verdicts' order, `lastTransitionTime` kept where the status is what it
/// was before.
pub fn conditions(before: &[Condition], verdicts: Vec<Verdict>, generation: i64, now: Timestamp) -> Vec<Condition> {
    verdicts
        .into_iter()
        .map(|verdict| {
            let status = verdict.status.as_str();
            let last_transition_time = before
                .iter()
                .find(|condition| condition.type_ == verdict.kind && condition.status == status)
                .map_or_else(|| Time(now), |condition| condition.last_transition_time.clone());
            Condition {
                type_: verdict.kind.to_owned(),
                status: status.to_owned(),
                reason: verdict.reason.to_owned(),
                message: verdict.message,
                observed_generation: Some(generation),
                last_transition_time,
            }
        })
        .collect()
}

/// Whether the condition of a type is there and true.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    conditions
        .iter()
        .any(|condition| condition.type_ == kind && condition.status == "True")
}
