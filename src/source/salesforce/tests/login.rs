//! Both flows of OAuth, and what their refusals say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Form, State};
use axum::http::{Response, header};
use axum::routing::post;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use super::{KEYS, PATIENCE, Salesforce, secrets, spec};
use crate::api::common::Outcome;

type Answers = Box<dyn FnMut(&HashMap<String, String>) -> (u16, Value) + Send>;

#[derive(Clone)]
struct Endpoint {
    answers: Arc<Mutex<Answers>>,
    ahead: SignedDuration,
}

/// A token endpoint whose clock is ahead of ours.
async fn endpoint(
    ahead: SignedDuration,
    answers: impl FnMut(&HashMap<String, String>) -> (u16, Value) + Send + 'static,
) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let state = Endpoint {
        answers: Arc::new(Mutex::new(Box::new(answers))),
        ahead,
    };
    let router = Router::new()
        .route("/services/oauth2/token", post(token))
        .with_state(state);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn token(State(endpoint): State<Endpoint>, Form(form): Form<HashMap<String, String>>) -> Response<Body> {
    let (status, body) = (endpoint.answers.lock().unwrap())(&form);
    let now = std::time::SystemTime::from(Timestamp::now() + endpoint.ahead);
    Response::builder()
        .status(status)
        .header(header::DATE, httpdate::fmt_http_date(now))
        .body(Body::from(body.to_string()))
        .unwrap()
}

fn good() -> (u16, Value) {
    (200, json!({"access_token": "t", "instance_url": "http://127.0.0.1:1"}))
}

fn jwt_bearer(spec: &mut Value) {
    let secret = |key: &str| json!({"secretKeyRef": {"name": "org", "key": key}});
    spec["salesforce"]["auth"] = json!({"jwtBearer": {
        "username": "integration@acme.example", "clientId": secret("clientId"), "privateKey": secret("privateKey"),
    }});
}

/// What the org checks: the signature, the audience, and that the assertion expires within three minutes of its clock.
fn check_assertion(form: &HashMap<String, String>, now: Timestamp) -> (u16, Value) {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&["https://login.salesforce.com"]);
    validation.validate_exp = false;
    let key = DecodingKey::from_rsa_pem(KEYS[1].as_bytes()).unwrap();
    let claims = jsonwebtoken::decode::<Value>(&form["assertion"], &key, &validation)
        .unwrap()
        .claims;
    assert_eq!(
        (&form["grant_type"], &claims["iss"], &claims["sub"]),
        (
            &"urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned(),
            &json!("the-id"),
            &json!("integration@acme.example")
        )
    );
    let life = claims["exp"].as_i64().unwrap() - now.as_second();
    if (1..=180).contains(&life) {
        good()
    } else {
        (
            400,
            json!({"error": "invalid_grant", "error_description": "expired authorization code"}),
        )
    }
}

#[tokio::test]
async fn an_assertion_is_signed_and_lives_by_the_orgs_clock_however_far_ours_is_off() {
    for ahead in [0, 3600, -3600] {
        let ahead = SignedDuration::from_secs(ahead);
        let url = endpoint(ahead, move |form| check_assertion(form, Timestamp::now() + ahead)).await;
        let connected = Salesforce::connect_with(&spec(&url, jwt_bearer), &secrets(), PATIENCE).await;
        assert!(connected.is_ok(), "{ahead}: {connected:?}");
    }
}

#[tokio::test]
async fn client_credentials_are_sent_in_the_form_and_passing_errors_are_tried_again() {
    let forms = Arc::new(Mutex::new(Vec::new()));
    let (seen, mut answers) = (forms.clone(), vec![good(), (503, Value::Null), (429, Value::Null)]);
    let url = endpoint(SignedDuration::ZERO, move |form| {
        seen.lock().unwrap().push(form.clone());
        answers.pop().unwrap()
    })
    .await;
    let source = Salesforce::connect_with(&spec(&url, |_| {}), &secrets(), PATIENCE)
        .await
        .unwrap();
    assert_eq!(
        format!("{source:?}").matches("the-").count(),
        0,
        "no credential is printed"
    );
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "the-id"),
        ("client_secret", "the-secret"),
    ];
    let form: HashMap<String, String> = form.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(*forms.lock().unwrap(), vec![form; 3]);
}

#[tokio::test]
async fn a_refused_login_says_what_to_check_and_repeats_nothing_that_was_sent() {
    let error = |error: &str, description: &str| json!({"error": error, "error_description": description});
    let general = "check the consumer key, the secret or the private key, the user, and the connected app's policies";
    let cases = [
        (
            (400, error("invalid_grant", "user hasn't approved this consumer")),
            Outcome::AuthenticationFailed,
            "the org refuses the login (400 invalid_grant: user hasn't approved this consumer); pre-authorise the integration user \
             in the connected app's policies"
                .to_owned(),
        ),
        (
            (401, error("invalid_client", "invalid client credentials")),
            Outcome::AuthenticationFailed,
            "the org refuses the login (401 invalid_client: invalid client credentials); check the consumer key and the consumer \
             secret in the Secret"
                .to_owned(),
        ),
        (
            (400, error("invalid_grant", "no such secret: the-secret")),
            Outcome::AuthenticationFailed,
            format!("the org refuses the login (400 invalid_grant); {general}"),
        ),
        (
            (403, error("the secret!", "")),
            Outcome::AuthenticationFailed,
            format!("the org refuses the login (403); {general}"),
        ),
        (
            (200, json!({"access_token": "t", "instance_url": "ftp://acme.example"})),
            Outcome::ConfigurationInvalid,
            "the instance_url that the token endpoint answered must begin with https://".to_owned(),
        ),
        (
            (503, Value::Null),
            Outcome::SourceUnavailable,
            "login: no good answer in 5 tries; the last: the token endpoint answered 503".to_owned(),
        ),
    ];
    for (answer, outcome, message) in cases {
        let url = endpoint(SignedDuration::ZERO, move |_| answer.clone()).await;
        let error = Salesforce::connect_with(&spec(&url, |_| {}), &secrets(), PATIENCE)
            .await
            .unwrap_err();
        assert_eq!((error.outcome, error.message), (outcome, message));
    }
}

#[tokio::test]
async fn a_wrong_resource_is_told_before_any_request() {
    let set = |pointer: &'static str, value: Value| {
        move |spec: &mut Value| {
            jwt_bearer(spec);
            *spec.pointer_mut(pointer).unwrap() = value;
        }
    };
    let cases = [
        (
            set("/salesforce/allowPlaintext", json!(false)),
            "instanceUrl must begin with https://; http:// needs allowPlaintext: true",
        ),
        (
            set("/salesforce/auth", json!({})),
            "auth must name exactly one of jwtBearer, clientCredentials",
        ),
        (
            set("/salesforce/auth/jwtBearer/privateKey/secretKeyRef/key", json!("noKey")),
            "key \"noKey\" of Secret \"org\" is not an RSA private key in PEM form (-----BEGIN PRIVATE KEY----- or -----BEGIN RSA \
             PRIVATE KEY-----, without a passphrase)",
        ),
        (
            set("/salesforce/auth/jwtBearer/clientId/secretKeyRef/key", json!("absent")),
            "Secret \"org\" has no key \"absent\", or does not exist; create it in this namespace, for example with `kubectl create \
             secret generic org --from-file=absent=FILE`",
        ),
    ];
    for (change, message) in cases {
        let spec = spec("http://127.0.0.1:1", change);
        let error = Salesforce::connect_with(&spec, &secrets(), PATIENCE).await.unwrap_err();
        assert_eq!(
            (error.outcome, error.message.as_str()),
            (Outcome::ConfigurationInvalid, message)
        );
    }
}

#[tokio::test]
async fn an_org_that_is_not_there_is_an_outage() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let spec = spec(&format!("http://{free}"), |_| {});
    let error = Salesforce::connect_with(&spec, &secrets(), PATIENCE).await.unwrap_err();
    let expected = format!("login: no good answer in 5 tries; the last: http://{free}: ");
    assert!(
        error.message.starts_with(&expected) && error.message.contains("refused"),
        "{error}"
    );
    assert_eq!(error.outcome, Outcome::SourceUnavailable);
}
