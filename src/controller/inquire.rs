//! Why a Job does not come to run, where neither its Pods nor its conditions say so: a quota, a Secret that a volume names.

use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, ListParams};

use super::act::{ActError, Context};
use super::key::Name;
use super::light::Cause;

/// Looks at the Events about a Job and its Pods, notes in the cache what the last warning says, and tells whether that is new.
///
/// # Errors
/// When the API server can't be asked.
pub async fn inquire(context: &Context, job: &Name) -> Result<bool, ActError> {
    let uids: Vec<String> = {
        let index = context.cache.lock();
        let of_pods = index.pods_of(job).map(|pod| pod.uid.clone());
        let of_job = index.job(job).map(|found| found.uid.clone());
        of_pods.chain(of_job).collect()
    };
    let events: Api<Event> = Api::namespaced(context.client.clone(), &job.namespace);
    let cause = last_warning(&events, &uids, &job.name).await?;
    Ok(context.cache.lock().set_cause(job.clone(), cause))
}

/// What the last warning says of any of the objects with these `uids`: a Job and its Pods.
///
/// # Errors
/// When the API server can't be asked.
pub async fn last_warning(events: &Api<Event>, uids: &[String], job: &str) -> Result<Option<Cause>, kube::Error> {
    let mut warnings = Vec::new();
    for uid in uids {
        let about = ListParams::default().fields(&format!("involvedObject.uid={uid},type=Warning"));
        warnings.extend(events.list(&about).await?.items);
    }
    Ok(last(&warnings, job))
}

fn last(warnings: &[Event], job: &str) -> Option<Cause> {
    let last = warnings.iter().max_by_key(|event| {
        let series = event
            .series
            .as_ref()
            .and_then(|series| series.last_observed_time.as_ref());
        let times = [
            event.last_timestamp.as_ref().map(|time| time.0),
            event.event_time.as_ref().map(|time| time.0),
            series.map(|time| time.0),
            event.metadata.creation_timestamp.as_ref().map(|time| time.0),
        ];
        times.into_iter().flatten().max()
    })?;
    Some(Cause {
        reason: last.reason.clone().unwrap_or_default(),
        message: without_suffixes(&last.message.clone().unwrap_or_default(), job),
    })
}

/// Each Pod that is tried has another random suffix, and the same trouble must read the same.
fn without_suffixes(message: &str, job: &str) -> String {
    const SUFFIX: usize = 5;
    let prefix = format!("{job}-");
    let mut parts = message.split(prefix.as_str());
    let mut told = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_suffix = part.len() >= SUFFIX && part.bytes().take(SUFFIX).all(|byte| byte.is_ascii_alphanumeric());
        told.push_str(&prefix);
        told.push_str(if is_suffix { "*" } else { "" });
        told.push_str(if is_suffix { &part[SUFFIX..] } else { part });
    }
    told
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_warning_tells_and_reads_the_same_for_each_pod_that_is_tried() {
        let event = |time: &str, message: &str| -> Event {
            serde_json::from_value(json!({
                "metadata": {}, "involvedObject": {}, "reason": "FailedCreate", "message": message, "lastTimestamp": time,
            }))
            .unwrap()
        };
        let words =
            |suffix: &str| format!("Error creating: pods \"people-1-{suffix}\" is forbidden: exceeded quota: pods");
        let warnings = [
            event("2026-05-04T08:00:09Z", &words("x7k2q")),
            event("2026-05-04T08:00:01Z", "old"),
        ];
        let cause = last(&warnings, "people-1").unwrap();
        assert_eq!(
            (cause.reason.as_str(), cause.message.as_str()),
            ("FailedCreate", words("*").as_str())
        );
        assert_eq!(without_suffixes("people-1-x", "people-1"), "people-1-x");
        assert_eq!(last(&[], "people-1"), None);
    }
}
