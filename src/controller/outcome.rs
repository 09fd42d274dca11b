//! How a run or a probe ended of which no worker reported anything.

use super::light::{LightPod, Stage};
use crate::api::common::{Outcome, exit};

/// What a failed Job says, by its Pods' exit codes; `reason` and `message` are the Job's own.
pub fn unreported<'a>(reason: &str, message: &str, pods: impl IntoIterator<Item = &'a LightPod>) -> (Outcome, String) {
    let ended = pods.into_iter().filter_map(|pod| match &pod.stage {
        Stage::Ended { exit_code, reason, at } => Some((*at, *exit_code, reason.as_str())),
        _ => None,
    });
    let last = ended.max_by_key(|(at, ..)| *at);
    if let Some((_, _, "OOMKilled")) = last {
        return (
            Outcome::ConfigurationInvalid,
            "the worker was killed because it used more memory than its limit; raise jobTemplate.resources.limits.memory"
                .to_owned(),
        );
    }
    let code = last.map(|(_, code, _)| code);
    let outcome = match code {
        Some(exit::CONFIGURATION) => Outcome::ConfigurationInvalid,
        Some(exit::PARKED) => Outcome::SourceThrottled,
        Some(exit::SUPERSEDED) => Outcome::Superseded,
        Some(exit::OUTAGE) => Outcome::SourceUnavailable,
        Some(exit::DEFECT | 101) => Outcome::InternalError,
        _ => Outcome::Interrupted,
    };
    let ended = code.map_or_else(
        || "its pod left no exit code".to_owned(),
        |code| format!("exit code {code}"),
    );
    (
        outcome,
        format!("the worker ended without a report ({ended}); the Job says {reason}: {message}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pod_s_exit_code_tells_how_a_run_ended() {
        let pod = |exit_code, reason: &str, second| LightPod {
            name: "p".into(),
            uid: "u".into(),
            job: "j".into(),
            stage: Stage::Ended {
                exit_code,
                reason: reason.into(),
                at: jiff::Timestamp::from_second(second).ok(),
            },
        };
        let cases = [
            (vec![], Outcome::Interrupted),
            (
                vec![pod(78, "Error", 1), pod(75, "Error", 2)],
                Outcome::SourceUnavailable,
            ),
            (
                vec![pod(78, "Error", 2), pod(75, "Error", 1)],
                Outcome::ConfigurationInvalid,
            ),
            (vec![pod(101, "Error", 1)], Outcome::InternalError),
            (vec![pod(137, "OOMKilled", 1)], Outcome::ConfigurationInvalid),
            (vec![pod(137, "Error", 1)], Outcome::Interrupted),
        ];
        for (pods, expected) in cases {
            assert_eq!(unreported("r", "m", &pods).0, expected, "{pods:?}");
        }
    }
}
