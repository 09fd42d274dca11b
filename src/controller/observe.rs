//! What was made for a resource, as the cache has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::cache::Index;
use super::jobs::SERVICE_ACCOUNT;
use super::key::Key;
use super::light::{Cause, LightJob, LightPod, Stage};
use super::template;
use crate::api::JobTemplate;

/// How long after its creation a Job is to have a Pod whose container was started. After that its Events are looked at.
const STARTS_WITHIN: SignedDuration = SignedDuration::from_secs(10);
/// How often the Events of a Job that does not start are looked at.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// The Jobs and the Pods that were made for one resource.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// The Jobs, by name.
    pub jobs: BTreeMap<String, Arc<LightJob>>,
    /// Their Pods.
    pub pods: Vec<Arc<LightPod>>,
    /// Why Jobs do not come to run, as far as it was asked for.
    pub causes: BTreeMap<String, Cause>,
    /// The ServiceAccount that its workers are to run as, where it is missing.
    pub missing_account: Option<String>,
}

impl Made {
    /// What was made for the resource of that uid. What another of the same name left is not of ours. `expected` are Jobs that
    /// may have been refused, so that only their causes are there.
    pub fn of(
        index: &Index,
        owner: &Key,
        uid: Option<&str>,
        template: Option<&JobTemplate>,
        expected: impl IntoIterator<Item = String>,
    ) -> Made {
        let account = template::service_account(template);
        let is_missing = !index.has_service_account(&owner.name.beside(account));
        let ours = index.jobs_of(owner).filter(|job| job.is_of(uid));
        let jobs: BTreeMap<_, _> = ours.map(|job| (job.name.clone(), job.clone())).collect();
        let pods = jobs
            .keys()
            .flat_map(|job| index.pods_of(&owner.name.beside(job)).cloned().collect::<Vec<_>>());
        let pods = pods.collect();
        let causes = jobs.keys().cloned().chain(expected);
        let causes = causes.filter_map(|job| Some((job.clone(), index.cause(&owner.name.beside(&job))?.clone())));
        Made {
            pods,
            causes: causes.collect(),
            missing_account: is_missing.then(|| account.to_owned()),
            jobs,
        }
    }

    /// The Pods of a Job that have not succeeded.
    pub fn pods_of<'a>(&'a self, job: &'a str) -> impl Iterator<Item = &'a LightPod> {
        self.pods.iter().map(Arc::as_ref).filter(move |pod| pod.job == job)
    }

    /// How the start of a Job that is under way stands.
    pub fn start_of(&self, job: &LightJob, now: Timestamp) -> Start {
        if self
            .pods_of(&job.name)
            .any(|pod| !matches!(pod.stage, Stage::Waiting(_)))
        {
            return Start::Made;
        }
        // What hinders a pod in its first seconds passes more often than not.
        if let Some(due) = starts_by(job).filter(|due| *due > now) {
            return Start::Awaited(Some(due));
        }
        let told = self.pods_of(&job.name).find_map(|pod| match &pod.stage {
            Stage::Waiting(cause) => cause.clone(),
            _ => None,
        });
        if let Some(cause) = told {
            return Start::Hindered(cause, None);
        }
        let look_again = now.checked_add(LOOK_AGAIN).ok();
        match self.causes.get(&job.name) {
            Some(cause) => Start::Hindered(cause.clone(), look_again),
            None => Start::Awaited(look_again),
        }
    }

    /// Whether the Events of a Job that is under way should be looked at.
    pub fn is_to_be_looked_into(&self, job: &LightJob, now: Timestamp) -> bool {
        let quiet = |pod: &LightPod| pod.stage == Stage::Waiting(None);
        starts_by(job).is_none_or(|due| due <= now) && self.pods_of(&job.name).all(quiet)
    }
}

/// By when a Job is to have started a container.
fn starts_by(job: &LightJob) -> Option<Timestamp> {
    job.created?.checked_add(STARTS_WITHIN).ok()
}

/// How the start of a Job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// A container was started.
    Made,
    /// It will be, or its Events are looked at by then.
    Awaited(Option<Timestamp>),
    /// Something hinders it; its Events are looked at again by then.
    Hindered(Cause, Option<Timestamp>),
}

/// What to do where the ServiceAccount of the workers is missing.
pub fn missing_service_account(namespace: &str, account: &str) -> String {
    if account == SERVICE_ACCOUNT {
        format!(
            "namespace {namespace} has no ServiceAccount {account}; make it with `kubectl apply -n {namespace} -k \
             config/tenant`, or name the namespace in the chart's tenantNamespaces"
        )
    } else {
        format!(
            "namespace {namespace} has no ServiceAccount {account}, which jobTemplate.serviceAccountName names; make it, and bind it \
             to the ClusterRole ferrygate-worker"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::light::Standing;
    use super::*;

    #[test]
    fn the_events_of_a_job_are_looked_at_once_nobody_else_tells_why_it_does_not_start() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let job = LightJob {
            name: "j".into(),
            uid: "u".into(),
            owner: None,
            created: Some(at(100)),
            stream: None,
            run: None,
            standing: Standing::Active,
        };
        let cause = Cause {
            reason: "FailedMount".into(),
            message: "secret \"ca\" not found".into(),
        };
        let pod = |stage| {
            vec![Arc::new(LightPod {
                name: "p".into(),
                uid: "v".into(),
                job: "j".into(),
                stage,
            })]
        };
        let known = BTreeMap::from([("j".to_owned(), cause.clone())]);
        let none = BTreeMap::new();
        let cases = [
            ("just made", vec![], &none, 105, Start::Awaited(Some(at(110))), false),
            ("no pod", vec![], &none, 110, Start::Awaited(Some(at(140))), true),
            (
                "a quiet pod",
                pod(Stage::Waiting(None)),
                &known,
                120,
                Start::Hindered(cause.clone(), Some(at(150))),
                true,
            ),
            (
                "the kubelet tells",
                pod(Stage::Waiting(Some(cause.clone()))),
                &none,
                120,
                Start::Hindered(cause, None),
                false,
            ),
            ("it runs", pod(Stage::Running), &known, 120, Start::Made, false),
        ];
        for (title, pods, causes, now, start, look) in cases {
            let made = Made {
                pods,
                causes: causes.clone(),
                ..Made::default()
            };
            let got = (made.start_of(&job, at(now)), made.is_to_be_looked_into(&job, at(now)));
            assert_eq!(got, (start, look), "{title}");
        }
    }
}
