//! Condition types, the closed list of their reasons, and the one way to set a condition.
//!
//! Conditions follow the [Kubernetes API conventions](https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties)
//! and [kstatus](https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md). [`violations`] holds them to
//! that, in every test that makes a status.

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
/// The org has API requests left; the message says which runs hold the source's places where others wait for one.
pub const WITHIN_BUDGET: &str = "WithinBudget";
/// The mapping compiles.
pub const COMPILED: &str = "Compiled";
/// The version number says what changed since the version before.
pub const SEMVER_COMPLIANT: &str = "SemverCompliant";
/// The version fits the CRM's objects wherever a pipeline uses it.
pub const COMPATIBLE: &str = "Compatible";
/// The day by which the contract was to be reviewed has passed.
pub const REVIEW_DUE: &str = "ReviewDue";
/// The day has come from which on a deprecated trait may be left out.
pub const REMOVAL_DUE: &str = "RemovalDue";
/// A pipeline takes the version.
pub const IN_USE: &str = "InUse";
/// Every stream with an objective meets it.
pub const FRESH: &str = "Fresh";
/// Every stream with an objective for withdrawals of consent meets it.
pub const CONSENT_CURRENT: &str = "ConsentCurrent";
/// The counts of the source and of what was delivered agree.
pub const RECONCILED: &str = "Reconciled";
/// The mapping fits the CRM's objects as they are described.
pub const SCHEMA_ALIGNED: &str = "SchemaAligned";
/// No run is started, because the spec says so.
pub const SUSPENDED: &str = "Suspended";

macro_rules! reasons {
    ($($(#[doc = $words:literal])+ $name:ident,)+) => {
        /// Why a condition is as it is: the closed list, which `docs/conditions.md` explains.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[doc = $words])+ $name,)+
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Reason] = &[$(Reason::$name),+];

            /// The CamelCase word that a condition or an Event shows.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Reason::$name => stringify!($name),)+
                }
            }
        }
    };
}

reasons! {
    /// All is well.
    Succeeded,
    /// The first probe of this generation has not ended.
    Probing,
    /// The first run has not ended.
    FirstRun,
    /// `suspend` is true.
    Suspended,
    /// `suspend` is not true.
    NotSuspended,
    /// The resource can't be read by this version of the controller.
    Undecodable,
    /// The namespace has no ServiceAccount for workers.
    WorkerServiceAccountMissing,
    /// A pod does not start.
    PodNotStarting,
    /// The API server refused the Job of a run or a probe.
    JobRefused,
    /// `sourceRef` names nothing.
    SourceNotFound,
    /// `sinkRef` names nothing.
    SinkNotFound,
    /// `mappingRef` comes to nothing.
    MappingNotFound,
    /// The mapping does not fit the sink or a stream's object.
    MappingInvalid,
    /// A schedule can't be followed.
    InvalidSchedule,
    /// The source was never found well, or waits for a person.
    SourceNotReady,
    /// The sink was never found well, or waits for a person.
    SinkNotReady,
    /// A run was ended from outside.
    Interrupted,
    /// The CRM refused the credentials.
    AuthenticationFailed,
    /// A resource, a Secret's key or a mapping is wrong.
    ConfigurationInvalid,
    /// The CRM no longer has a field or an object that the mapping names.
    SchemaDrifted,
    /// The CRM's request quota, or the share of it that a run may use, is used up.
    SourceThrottled,
    /// The CRM is away.
    SourceUnavailable,
    /// The CDP is away.
    SinkUnavailable,
    /// The CDP refused the credentials or the whole request.
    SinkRefused,
    /// The state store can't be read or written.
    StateUnavailable,
    /// Another run has taken the place.
    Superseded,
    /// A defect of Ferrygate.
    InternalError,
    /// Every objective is met.
    ObjectiveMet,
    /// An objective is missed.
    ObjectiveMissed,
    /// No stream has an objective.
    NoObjective,
    /// The counts agree.
    CountsAgree,
    /// The counts differ.
    CountsDiffer,
    /// Not every stream has been counted.
    NotCounted,
    /// The mapping fits the CRM's objects, and nothing that it reads has changed.
    Aligned,
    /// Something that the mapping reads has changed in the CRM, or does not fit it.
    SchemaChanged,
    /// Not every object has been described.
    NotDescribed,
    /// The mapping compiles.
    Compiled,
    /// The mapping does not compile.
    CompileFailed,
    /// There is no version before this one.
    FirstVersion,
    /// The version number fits what changed.
    NumberFits,
    /// The version number is too low for what changed.
    NumberTooLow,
    /// Another resource claims to be the same version.
    VersionTwice,
    /// The version fits the objects of every source that it is used with.
    FitsEverySource,
    /// The version does not fit an object of a source that it is used with.
    SourceDiffers,
    /// The day of `reviewBy` has passed.
    ReviewOverdue,
    /// The day of `reviewBy` is to come.
    ReviewNotDue,
    /// The contract names no day for its review.
    NoReviewDate,
    /// A deprecated trait may be left out.
    RemovalOverdue,
    /// No deprecated trait may be left out.
    NothingToRemove,
    /// A pipeline takes the version.
    InUse,
    /// No pipeline takes the version.
    Unused,
    /// Runs of this source start as soon as they are due.
    PlacesFree,
    /// Runs wait until others of this source have ended.
    PlacesTaken,
    /// The org has no API requests left.
    BudgetExhausted,
}

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
    /// True or False.
    pub fn of(holds: bool) -> Status {
        if holds { Status::True } else { Status::False }
    }

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
    /// Why.
    pub reason: Reason,
    /// What a person should know and do. It carries no clock.
    pub message: String,
}

impl Verdict {
    /// A verdict of the given type, status, reason and message.
    pub fn new(kind: &'static str, status: Status, reason: Reason, message: impl Into<String>) -> Self {
        Verdict {
            kind,
            status,
            reason,
            message: message.into(),
        }
    }
}

/// How a resource stands: exactly one of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does what its spec says.
    Ready,
    /// It is on its way, or waits for what passes by itself.
    Reconciling,
    /// It waits for a person.
    Stalled,
}

impl Standing {
    /// Of a resource that is not ready: whether it waits for a person.
    pub fn unready(needs_a_person: bool) -> Standing {
        if needs_a_person {
            Standing::Stalled
        } else {
            Standing::Reconciling
        }
    }

    /// `Ready`, `Reconciling` and `Stalled`, which so never contradict one another.
    pub fn verdicts(self, reason: Reason, message: impl Into<String>) -> Vec<Verdict> {
        let message = message.into();
        [
            (READY, Standing::Ready),
            (RECONCILING, Standing::Reconciling),
            (STALLED, Standing::Stalled),
        ]
        .map(|(kind, standing)| Verdict::new(kind, Status::of(self == standing), reason, message.clone()))
        .into()
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
                reason: verdict.reason.as_str().to_owned(),
                message: verdict.message.chars().take(LONGEST_MESSAGE).collect(),
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

/// How the conditions of a resource break the rules that they are to follow: none where all is well. `before` are those that
/// the resource had before, of which `lastTransitionTime` must be kept.
pub fn violations(before: &[Condition], after: &[Condition], generation: i64) -> Vec<String> {
    let mut broken = Vec::new();
    let holding: Vec<_> = [READY, RECONCILING, STALLED]
        .into_iter()
        .filter(|kind| is_true(after, kind))
        .collect();
    if holding.len() != 1 {
        broken.push(format!(
            "of Ready, Reconciling and Stalled one must be True, not {holding:?}"
        ));
    }
    for (place, condition) in after.iter().enumerate() {
        let kind = &condition.type_;
        let mut is_broken = |rule: &str| broken.push(format!("{kind}: {rule}"));
        if after[..place].iter().any(|earlier| earlier.type_ == *kind) {
            is_broken("is there twice");
        }
        if !["True", "False", "Unknown"].contains(&condition.status.as_str()) {
            is_broken("its status is no status");
        }
        if !Reason::ALL.iter().any(|reason| reason.as_str() == condition.reason) {
            is_broken("its reason is not in the documented list");
        }
        if condition.message.is_empty() {
            is_broken("it says nothing");
        }
        if condition.message.chars().count() > LONGEST_MESSAGE {
            is_broken("its message is longer than the API server takes");
        }
        if condition
            .observed_generation
            .is_none_or(|observed| observed > generation)
        {
            is_broken("its observedGeneration is ahead of the resource");
        }
        let kept = before
            .iter()
            .find(|earlier| earlier.type_ == *kind && earlier.status == condition.status);
        if kept.is_some_and(|earlier| earlier.last_transition_time != condition.last_transition_time) {
            is_broken("its lastTransitionTime moved without a transition");
        }
    }
    broken
}

/// The longest message that the schema of a condition takes, in characters.
/// <https://pkg.go.dev/k8s.io/apimachinery/pkg/apis/meta/v1#Condition>
const LONGEST_MESSAGE: usize = 32_768;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn every_reason_is_documented() {
        let documented = include_str!("../../docs/conditions.md");
        let missing: Vec<_> = Reason::ALL
            .iter()
            .filter(|reason| !documented.contains(&format!("`{}`", reason.as_str())))
            .collect();
        assert_eq!(missing, Vec::<&Reason>::new());
    }

    #[test]
    fn a_resource_has_one_standing_and_its_transition_time_moves_with_the_status_only() {
        let first = conditions(&[], Standing::Ready.verdicts(Reason::Succeeded, "well"), 1, at(1));
        let same = conditions(&first, Standing::Ready.verdicts(Reason::Suspended, "rests"), 2, at(2));
        let other = conditions(
            &same,
            Standing::unready(true).verdicts(Reason::SinkRefused, "no"),
            2,
            at(3),
        );
        let told = |conditions: &[Condition]| {
            conditions
                .iter()
                .map(|each| (each.status == "True", each.last_transition_time.0.as_second()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            [told(&first), told(&same), told(&other)],
            [
                vec![(true, 1), (false, 1), (false, 1)],
                vec![(true, 1), (false, 1), (false, 1)],
                vec![(false, 3), (false, 1), (true, 3)],
            ]
        );
        assert_eq!(violations(&first, &same, 2), Vec::<String>::new());
        assert_eq!(violations(&same, &other, 2), Vec::<String>::new());
    }

    #[test]
    fn what_breaks_a_rule_is_told() {
        let well = conditions(&[], Standing::Ready.verdicts(Reason::Succeeded, "well"), 2, at(1));
        type Break = fn(&mut Vec<Condition>);
        let cases: [(Break, usize); 8] = [
            (|these| these[1].status = "True".into(), 1),
            (|these| these[0].status = "Maybe".into(), 2),
            (|these| these[0].reason = "Unheard".into(), 1),
            (|these| these[0].message.clear(), 1),
            (|these| these[0].message = "x".repeat(40_000), 1),
            (|these| these[0].observed_generation = Some(3), 1),
            (|these| these[0].last_transition_time = Time(at(9)), 1),
            (|these| these.push(these[0].clone()), 1),
        ];
        for (number, (change, expected)) in cases.into_iter().enumerate() {
            let mut these = well.clone();
            change(&mut these);
            let told = violations(&well, &these, 2);
            assert_eq!(told.len(), expected, "case {number}: {told:?}");
        }
    }
}
