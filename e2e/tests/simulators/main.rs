//! The simulators hold to what their vendors publish.

mod bulk;
mod erasure;
mod faults;
mod oauth;
mod regulations;
mod replication;
mod rest;
mod segment;
mod soql;

use anyhow::{Context as _, Result};
use ferrygate_e2e::simulators::salesforce::seed::Seed;
use ferrygate_e2e::simulators::salesforce::{Config, Salesforce};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

/// An org, and someone logged in to it.
pub struct Org {
    pub simulator: Salesforce,
    pub http: reqwest::Client,
    pub token: String,
}

impl Org {
    pub async fn start(config: Config) -> Result<Self> {
        let simulator = Salesforce::start(config).await?;
        let mut org = Self {
            simulator,
            http: reqwest::Client::new(),
            token: String::new(),
        };
        org.log_in().await?;
        Ok(org)
    }

    /// With these many contacts, and an account for ten of them.
    pub async fn with_contacts(contacts: usize) -> Result<Self> {
        let org = Self::start(Config::default()).await?;
        org.simulator.seed(&Seed {
            contacts,
            ..Seed::default()
        });
        Ok(org)
    }

    pub async fn log_in(&mut self) -> Result<()> {
        let Config {
            client_id,
            client_secret,
            ..
        } = self.simulator.org.config.clone();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &client_id),
            ("client_secret", &client_secret),
        ];
        let url = format!("{}/services/oauth2/token", self.simulator.url());
        let granted: Value = self
            .http
            .post(url)
            .form(&form)
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        self.token = granted["access_token"].as_str().context("an access token")?.to_owned();
        Ok(())
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Response> {
        let url = format!("{}{path}", self.simulator.url());
        let mut request = self.http.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        Ok(request.send().await?)
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        Ok(self
            .send(Method::GET, path, None)
            .await?
            .error_for_status()?
            .json()
            .await?)
    }

    /// The status, and the body if there is one.
    pub async fn outcome(&self, method: Method, path: &str, body: Option<Value>) -> Result<(StatusCode, Value)> {
        let response = self.send(method, path, body).await?;
        let status = response.status();
        let text = response.text().await?;
        Ok((
            status,
            if text.is_empty() {
                Value::Null
            } else {
                serde_json::from_str(&text)?
            },
        ))
    }

    pub async fn query(&self, soql: &str) -> Result<Value> {
        let (status, answer) = self.outcome(Method::GET, &query_path(soql), None).await?;
        anyhow::ensure!(status.is_success(), "{soql}: {status} {answer}");
        Ok(answer)
    }

    /// The status, error code and last line of the message that the query is refused with.
    pub async fn refused(&self, soql: &str) -> Result<(u16, String, String)> {
        let (status, answer) = self.outcome(Method::GET, &query_path(soql), None).await?;
        let text = |name: &str| answer[0][name].as_str().unwrap_or_default().to_owned();
        Ok((
            status.as_u16(),
            text("errorCode"),
            text("message").lines().last().unwrap_or_default().to_owned(),
        ))
    }

    pub async fn control(&self, method: Method, path: &str, body: Value) -> Result<Value> {
        control(&self.http, &self.simulator.url(), method, path, body).await
    }

    /// Creates a contact with these fields; its id.
    pub async fn contact(&self, fields: Value) -> Result<String> {
        let changes = json!({"changes": [{"op": "create", "object": "Contact", "fields": fields}]});
        let made = self.control(Method::POST, "/_control/changes", changes).await?;
        Ok(made["ids"][0].as_str().context("an id")?.to_owned())
    }
}

pub async fn control(http: &reqwest::Client, url: &str, method: Method, path: &str, body: Value) -> Result<Value> {
    let mut request = http.request(method, format!("{url}{path}"));
    if !body.is_null() {
        request = request.json(&body);
    }
    let response = request.send().await?;
    let status = response.status();
    let text = response.text().await?;
    anyhow::ensure!(status.is_success(), "{path}: {status} {text}");
    Ok(if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text)?
    })
}

pub fn query_path(soql: &str) -> String {
    let mut path = url::form_urlencoded_query("q", soql);
    path.insert_str(0, "/services/data/v62.0/query?");
    path
}

mod url {
    pub fn form_urlencoded_query(name: &str, value: &str) -> String {
        let encoded: String = value.bytes().fold(String::new(), |mut encoded, byte| {
            if byte.is_ascii_alphanumeric() {
                encoded.push(char::from(byte))
            } else {
                encoded += &format!("%{byte:02X}")
            }
            encoded
        });
        format!("{name}={encoded}")
    }
}
