//! When a source or a sink is probed, and what its probes say: the same for both.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::act::Notice;
use super::light::{Cause, LightJob, Standing as JobStanding};
use super::observe::{Made, Start, missing_service_account};
use super::outcome::unreported;
use crate::api::common::{Outcome, ProbeResult};
use crate::api::conditions::{Reason, Standing, Verdict};

/// How long after a failed probe the next one starts.
const RETRY: SignedDuration = SignedDuration::from_secs(60);

/// What is decided of a resource's probes.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The probe under way.
    pub active: Option<String>,
    /// The last finished one.
    pub result: Option<ProbeResult>,
    /// The probe's Job is to be created.
    pub create: bool,
    /// When to decide again, at the latest.
    pub wake: Option<Timestamp>,
    /// What a person must know.
    pub notice: Option<Notice>,
    /// Why the probe's pod does not start.
    pub not_starting: Option<Cause>,
    /// A Job that does not come to run, whose Events may tell why.
    pub look_into: Option<String>,
}

/// What is to be decided on.
pub struct Question<'a> {
    /// The probe under way, by the status.
    pub active: Option<&'a str>,
    /// The last finished one, by the status.
    pub result: Option<&'a ProbeResult>,
    /// `metadata.generation`.
    pub generation: i64,
    /// Whether what is to be described is what was described.
    pub complete: bool,
    /// The time between probes that succeed.
    pub every: SignedDuration,
    /// No probe is started.
    pub suspended: bool,
    /// The Jobs and Pods.
    pub made: &'a Made,
    /// A name for a probe that becomes due now.
    pub name: &'a (dyn Fn(Timestamp) -> String + Sync),
    /// The clock.
    pub now: Timestamp,
}

/// Decides.
pub fn decide(question: &Question<'_>) -> Decision {
    let mut decision = Decision {
        active: question.active.map(str::to_owned),
        result: question.result.cloned(),
        create: false,
        wake: None,
        notice: None,
        not_starting: None,
        look_into: None,
    };
    if let Some(active) = question.active {
        match question.made.jobs.get(active) {
            // The status names a probe whose Job is not there: the controller ended between the two, or another removed it.
            None => {
                decision.create = question.made.missing_account.is_none();
                decision.not_starting = question.made.causes.get(active).cloned();
            }
            Some(job) if job.is_active() => {
                match question.made.start_of(job, question.now) {
                    Start::Made => {}
                    Start::Awaited(by) => decision.wake = by,
                    Start::Hindered(cause, by) => {
                        decision.not_starting = Some(cause);
                        decision.wake = by;
                    }
                }
                if question.made.is_to_be_looked_into(job, question.now) {
                    decision.look_into = Some(active.to_owned());
                }
            }
            Some(job) => collect(&mut decision, question, active, job),
        }
    }
    if decision.active.is_none() && !question.suspended && question.made.missing_account.is_none() {
        let due = due(decision.result.as_ref(), question);
        if due <= question.now {
            decision.active = Some((question.name)(question.now));
            decision.create = true;
        } else {
            decision.wake = Some(due);
        }
    }
    decision
}

fn collect(decision: &mut Decision, question: &Question<'_>, active: &str, ended: &LightJob) {
    decision.active = None;
    let reported = question.result.is_some_and(|result| result.run == active);
    if !reported {
        let (outcome, message) = match &ended.standing {
            JobStanding::Failed { reason, message, .. } => unreported(reason, message, question.made.pods_of(active)),
            _ => (Outcome::InternalError, "the probe ended without a result".to_owned()),
        };
        decision.result = Some(ProbeResult {
            run: active.to_owned(),
            observed_generation: question.generation,
            time: Time(question.now),
            outcome,
            message,
        });
    }
    if let Some(result) = decision
        .result
        .as_ref()
        .filter(|result| result.outcome != Outcome::Succeeded)
    {
        decision.notice = Some(Notice {
            warning: true,
            reason: result.outcome.reason().as_str(),
            message: result.message.clone(),
        });
    }
}

fn due(result: Option<&ProbeResult>, question: &Question<'_>) -> Timestamp {
    let Some(result) = result.filter(|result| result.observed_generation == question.generation) else {
        return question.now;
    };
    let pause = if result.outcome != Outcome::Succeeded {
        RETRY
    } else if question.complete {
        question.every
    } else {
        SignedDuration::ZERO
    };
    result.time.0.checked_add(pause).unwrap_or(question.now)
}

/// `Ready`, `Reconciling` and `Stalled`, from what is known of the probes.
pub fn verdicts(decision: &Decision, question: &Question<'_>, namespace: &str) -> Vec<Verdict> {
    let current = decision
        .result
        .as_ref()
        .filter(|result| result.observed_generation == question.generation);
    let (standing, reason, message) = if let Some(account) = &question.made.missing_account {
        (
            Standing::Stalled,
            Reason::WorkerServiceAccountMissing,
            missing_service_account(namespace, account),
        )
    } else if let Some(cause) = &decision.not_starting {
        let (reason, message) = not_starting("the probe", cause);
        (Standing::Reconciling, reason, message)
    } else {
        match current {
            Some(result) if result.outcome == Outcome::Succeeded => {
                (Standing::Ready, Reason::Succeeded, result.message.clone())
            }
            Some(result) => (
                Standing::unready(needs_a_person(result.outcome)),
                result.outcome.reason(),
                result.message.clone(),
            ),
            None if question.suspended => (
                Standing::Reconciling,
                Reason::Suspended,
                "spec.suspend is true, and it was never probed".into(),
            ),
            None => (
                Standing::Reconciling,
                Reason::Probing,
                "the first probe of this generation is under way".to_owned(),
            ),
        }
    };
    standing.verdicts(reason, message)
}

/// What is said of a Job that does not come to run; `whose` says whose it is.
pub fn not_starting(whose: &str, cause: &Cause) -> (Reason, String) {
    let Cause { reason, message } = cause;
    if reason == Reason::JobRefused.as_str() {
        (
            Reason::JobRefused,
            format!("the Job of {whose} was not made: {message}"),
        )
    } else {
        let words = format!("the pod of {whose} does not start: {reason}: {message}");
        (Reason::PodNotStarting, words)
    }
}

/// Whether trying again can't help until a person has mended something.
pub fn needs_a_person(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::AuthenticationFailed
            | Outcome::ConfigurationInvalid
            | Outcome::SchemaDrifted
            | Outcome::SinkRefused
            | Outcome::InternalError
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn result(outcome: Outcome, generation: i64, second: i64) -> ProbeResult {
        ProbeResult {
            run: "old".into(),
            observed_generation: generation,
            time: Time(at(second)),
            outcome,
            message: "words".into(),
        }
    }

    #[test]
    fn a_probe_starts_when_it_is_due() {
        let cases = [
            ("never probed", None, true, 1000, (true, None)),
            (
                "another generation",
                Some(result(Outcome::Succeeded, 1, 990)),
                true,
                1000,
                (true, None),
            ),
            (
                "fresh",
                Some(result(Outcome::Succeeded, 2, 990)),
                true,
                1000,
                (false, Some(at(990 + 3600))),
            ),
            (
                "old",
                Some(result(Outcome::Succeeded, 2, 990)),
                true,
                990 + 3600,
                (true, None),
            ),
            (
                "another object is named",
                Some(result(Outcome::Succeeded, 2, 990)),
                false,
                1000,
                (true, None),
            ),
            (
                "failed just now",
                Some(result(Outcome::SourceUnavailable, 2, 990)),
                true,
                1000,
                (false, Some(at(1050))),
            ),
            (
                "failed a minute ago",
                Some(result(Outcome::SourceUnavailable, 2, 990)),
                true,
                1050,
                (true, None),
            ),
        ];
        for (title, result, complete, now, expected) in cases {
            let made = Made::default();
            let decision = decide(&Question {
                active: None,
                result: result.as_ref(),
                generation: 2,
                complete,
                every: SignedDuration::from_hours(1),
                suspended: false,
                made: &made,
                name: &|_| "new".to_owned(),
                now: at(now),
            });
            assert_eq!((decision.create, decision.wake), expected, "{title}");
        }
    }
}
