//! Query jobs of the tests' org, by the published protocol. Their results come backwards: no order may be relied on.

use std::collections::BTreeMap;

use axum::http::Method;
use reqwest::Url;
use serde_json::{Value, json};

use super::org::{Inner, PAGE};

/// The jobs, and how the org deals with them.
pub struct Jobs {
    /// How many more may be made today.
    pub left: i64,
    /// The code and the message with which a new one is refused.
    pub refuses: Option<(&'static str, &'static str)>,
    /// The message with which one fails.
    pub fails: Option<&'static str>,
    /// How often one is asked about before it is complete.
    pub takes: usize,
    made: usize,
    known: BTreeMap<String, Job>,
}

impl Default for Jobs {
    fn default() -> Jobs {
        Jobs {
            left: 10_000,
            refuses: None,
            fails: None,
            takes: 1,
            made: 0,
            known: BTreeMap::new(),
        }
    }
}

impl Jobs {
    /// The names and states of those that the org keeps.
    pub fn kept(&self) -> Vec<String> {
        self.known
            .iter()
            .map(|(name, job)| format!("{name} {}", job.state))
            .collect()
    }

    /// Forgets all jobs.
    pub fn lose(&mut self) {
        self.known.clear();
    }
}

struct Job {
    state: &'static str,
    asked: usize,
    columns: Vec<String>,
    ids: Vec<String>,
}

type Answer = (u16, Vec<(&'static str, String)>, String);

pub fn answer(org: &mut Inner, method: &Method, url: &Url, body: &[u8]) -> Answer {
    let parts: Vec<&str> = url
        .path()
        .trim_start_matches("/services/data/v62.0/jobs/query")
        .split('/')
        .collect();
    match (method, parts.as_slice()) {
        (&Method::POST, [""]) => make(org, &serde_json::from_slice(body).unwrap()),
        (&Method::GET, ["", name]) => told(look(&mut org.jobs, name), name),
        (&Method::GET, ["", name, "results"]) => results(org, name, url),
        (&Method::PATCH, ["", name]) => {
            let job = org.jobs.known.get_mut(*name);
            told(
                job.map(|job| {
                    job.state = "Aborted";
                    (&*job, "")
                }),
                name,
            )
        }
        (&Method::DELETE, ["", name]) => match org.jobs.known.get(*name).map(|job| job.state) {
            None => refusal(404, "NOT_FOUND", "The requested resource does not exist"),
            Some("UploadComplete" | "InProgress") => refusal(
                400,
                "API_ERROR",
                "Error encountered when deleting the job because the job is not terminated",
            ),
            Some(_) => {
                org.jobs.known.remove(*name);
                (204, Vec::new(), String::new())
            }
        },
        other => panic!("no such request: {other:?}"),
    }
}

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    (
        status,
        Vec::new(),
        json!([{"errorCode": code, "message": message}]).to_string(),
    )
}

fn make(org: &mut Inner, asked: &Value) -> Answer {
    if let Some((code, message)) = org.jobs.refuses {
        return refusal(400, code, message);
    }
    let soql = asked["query"].as_str().unwrap();
    let columns = soql.trim_start_matches("SELECT ").split(" FROM ").next().unwrap();
    let mut ids = org.ids(soql, asked["operation"] == "queryAll");
    ids.reverse();
    org.jobs.made += 1;
    let name = format!("750{}", org.jobs.made);
    let job = Job {
        state: "UploadComplete",
        asked: 0,
        columns: columns.split(',').map(str::to_owned).collect(),
        ids,
    };
    let answer = told(Some((&job, "")), &name);
    org.jobs.known.insert(name, job);
    answer
}

fn look<'j>(jobs: &'j mut Jobs, name: &str) -> Option<(&'j Job, &'static str)> {
    let job = jobs.known.get_mut(name)?;
    job.asked += 1;
    if job.state == "UploadComplete" || job.state == "InProgress" {
        job.state = match (job.asked > jobs.takes, jobs.fails) {
            (false, _) => "InProgress",
            (true, None) => "JobComplete",
            (true, Some(_)) => "Failed",
        };
    }
    Some((job, jobs.fails.unwrap_or_default()))
}

fn told(job: Option<(&Job, &str)>, name: &str) -> Answer {
    let Some((job, error)) = job else {
        return refusal(404, "NOT_FOUND", "The requested resource does not exist");
    };
    let told = json!({"id": name, "state": job.state, "object": "Contact", "errorMessage": error});
    (200, Vec::new(), told.to_string())
}

fn results(org: &Inner, name: &str, url: &Url) -> Answer {
    let Some(job) = org.jobs.known.get(name) else {
        return refusal(404, "NOT_FOUND", "The requested resource does not exist");
    };
    assert_eq!(job.state, "JobComplete");
    let locator = url.query_pairs().find(|(name, _)| name == "locator");
    let start: usize = locator.map_or(0, |(_, locator)| locator.trim_start_matches("part+").parse().unwrap());
    let end = job.ids.len().min(start + PAGE);
    let mut text = job.columns.join(",") + "\n";
    for id in &job.ids[start..end] {
        let (stamp, id, deleted) = org.record(id);
        let cell = |column: &String| match column.as_str() {
            "LastName" => format!("\"name of {id}\""),
            "Id" => format!("\"{id}\""),
            "SystemModstamp" | "Since" => format!("\"{stamp}\""),
            "IsDeleted" => format!("\"{deleted}\""),
            "Score" => "\"7.5\"".to_owned(),
            other => panic!("no such field: {other}"),
        };
        let cells: Vec<String> = job.columns.iter().map(cell).collect();
        text += &(cells.join(",") + "\n");
    }
    let next = if end < job.ids.len() {
        format!("part+{end}")
    } else {
        "null".to_owned()
    };
    let headers = vec![
        ("sforce-numberofrecords", (end - start).to_string()),
        ("sforce-locator", next),
    ];
    (200, headers, text)
}
