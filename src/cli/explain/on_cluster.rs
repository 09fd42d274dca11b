//! The same question, asked where the state is: a Job runs `ferrygate explain` beside the pipeline's volume.

use std::collections::BTreeMap;

use clap::ValueEnum;
use kube::Client;
use tokio_util::sync::CancellationToken;

use super::{ExplainArgs, Pair};
use crate::cli::in_cluster::{self, Answer, InClusterError, Question};

/// Asks, and waits for the answer.
///
/// # Errors
/// Where there is none: the API server refuses, or the Job has not ended in time.
pub async fn ask(
    client: &Client,
    args: &ExplainArgs,
    pipeline: &str,
    shutdown: &CancellationToken,
) -> Result<Answer, InClusterError> {
    let (words, private) = question(args);
    let question = Question {
        pipeline,
        purpose: "explain",
        words,
        private,
    };
    in_cluster::ask(client, &args.place.cluster, question, shutdown).await
}

/// The words of the command, and what of them is nobody's but the asker's: which record, or whose value.
fn question(args: &ExplainArgs) -> (Vec<String>, BTreeMap<String, String>) {
    let output = args.output.to_possible_value();
    let output = output.as_ref().map_or("text", |value| value.get_name());
    let mut words = vec!["explain", "--output", output];
    words.extend(args.trait_name.iter().flat_map(|name| ["--trait", name]));
    let (flag, name, value) = match (&args.record, &args.identity) {
        (Some(Pair(object, id)), _) => ("--record", "RECORD", format!("{object}/{id}")),
        (None, Some(Pair(kind, value))) => ("--identity", "IDENTITY", format!("{kind}={value}")),
        (None, None) => return (words.into_iter().map(str::to_owned).collect(), BTreeMap::new()),
    };
    let reference = format!("$({name})");
    words.extend([flag, &reference]);
    let private = BTreeMap::from([(name.to_owned(), value)]);
    (words.into_iter().map(str::to_owned).collect(), private)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ExplainArgs,
    }

    fn asked(words: &[&str]) -> Result<(Vec<String>, BTreeMap<String, String>), String> {
        let line = Line::try_parse_from([&["explain"], words].concat()).map_err(|error| error.kind().to_string())?;
        Ok(question(&line.args))
    }

    #[test]
    fn whose_value_is_asked_for_stands_in_no_word() {
        let (words, private) = asked(&[
            "--pipeline",
            "people",
            "--identity",
            "email=ada@example.com",
            "--output",
            "json",
        ])
        .unwrap();
        assert_eq!(words.join(" "), "explain --output json --identity $(IDENTITY)");
        assert_eq!(
            private,
            BTreeMap::from([("IDENTITY".to_owned(), "email=ada@example.com".to_owned())])
        );
        let (words, private) = asked(&["--pipeline", "people", "--record", "Contact/003", "--trait", "email"]).unwrap();
        assert!(
            words.ends_with(&["--trait", "email", "--record", "$(RECORD)"].map(str::to_owned)),
            "{words:?}"
        );
        assert_eq!(private["RECORD"], "Contact/003");
    }

    #[test]
    fn values_are_revealed_on_the_asker_s_own_machine_alone() {
        let refused = asked(&["--pipeline", "people", "--record", "Contact/003", "--reveal"]);
        let without_pipeline = asked(&["--record", "Contact/003"]);
        assert!(refused.is_err() && without_pipeline.is_err());
    }
}
