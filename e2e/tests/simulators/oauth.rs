//! `POST /services/oauth2/token`

use anyhow::Result;
use ferrygate_e2e::simulators::keys::RsaKeyPair;
use ferrygate_e2e::simulators::salesforce::{Config, Salesforce};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

const CLIENT: &str = "3MVG9ferrygate.simulated";
const USER: &str = "integration@acme.example";

async fn ask(simulator: &Salesforce, form: &[(&str, &str)], basic: Option<(&str, &str)>) -> Result<(u16, Value)> {
    let mut request = reqwest::Client::new()
        .post(format!("{}/services/oauth2/token", simulator.url()))
        .form(form);
    if let Some((user, password)) = basic {
        request = request.basic_auth(user, Some(password));
    }
    let response = request.send().await?;
    Ok((response.status().as_u16(), response.json().await?))
}

fn assertion(pair: &RsaKeyPair, claims: &Value) -> Result<String> {
    let key = EncodingKey::from_rsa_pem(pair.private_pem.as_bytes())?;
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::RS256), claims, &key)?)
}

#[tokio::test]
async fn a_jwt_is_granted_a_session_or_refused_with_the_published_error() -> Result<()> {
    let (pair, other) = (RsaKeyPair::generate()?, RsaKeyPair::generate()?);
    let config = Config {
        public_key: Some(pair.public_pem.clone()),
        ..Config::default()
    };
    let simulator = Salesforce::start(config).await?;
    let url = simulator.url();
    let now = jiff::Timestamp::now().as_second();
    let login = "https://login.salesforce.com";
    let claims = |iss: &str, sub: &str, aud: &str, exp: i64| json!({"iss": iss, "sub": sub, "aud": aud, "exp": exp});
    let refusal = |error: &'static str, description: &'static str| Some((error, description));
    let cases = [
        (&pair, claims(CLIENT, USER, login, now + 180), None),
        (
            &pair,
            claims(CLIENT, USER, "https://test.salesforce.com", now + 180),
            None,
        ),
        (&pair, claims(CLIENT, USER, &url, now + 180), None),
        (
            &pair,
            claims(CLIENT, USER, "https://example.com", now + 180),
            refusal("invalid_grant", "audience is invalid"),
        ),
        (
            &pair,
            claims("other", USER, login, now + 180),
            refusal("invalid_client_id", "client identifier invalid"),
        ),
        (
            &pair,
            claims(CLIENT, "nobody@acme.example", login, now + 180),
            refusal("invalid_grant", "user hasn't approved this consumer"),
        ),
        (
            &pair,
            claims(CLIENT, USER, login, now - 1),
            refusal("invalid_grant", "expired authorization code"),
        ),
        (
            &pair,
            claims(CLIENT, USER, login, now + 3600),
            refusal("invalid_grant", "expired authorization code"),
        ),
        (
            &pair,
            json!({"iss": CLIENT, "sub": USER, "aud": login}),
            refusal("invalid_grant", "expired authorization code"),
        ),
        (
            &other,
            claims(CLIENT, USER, login, now + 180),
            refusal("invalid_grant", "invalid assertion"),
        ),
    ];
    for (pair, claims, expected) in cases {
        let assertion = assertion(pair, &claims)?;
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", assertion.as_str()),
        ];
        let (status, answer) = ask(&simulator, &form, None).await?;
        match expected {
            None => {
                assert_eq!(
                    (status, &answer["token_type"]),
                    (200, &json!("Bearer")),
                    "{claims} {answer}"
                );
                assert_eq!(answer["instance_url"], json!(url));
                let mut names: Vec<&String> = answer
                    .as_object()
                    .into_iter()
                    .flat_map(|answer| answer.keys())
                    .collect();
                names.sort();
                let published = [
                    "access_token",
                    "id",
                    "instance_url",
                    "issued_at",
                    "scope",
                    "signature",
                    "token_type",
                ];
                assert_eq!(names, published);
            }
            Some((error, description)) => {
                assert_eq!(
                    (status, answer),
                    (400, json!({"error": error, "error_description": description})),
                    "{claims}"
                );
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn client_credentials_come_in_the_body_or_by_basic_authentication() -> Result<()> {
    let simulator = Salesforce::start(Config::default()).await?;
    let secret = "simulated-consumer-secret";
    let grant = ("grant_type", "client_credentials");
    let in_body = [grant, ("client_id", CLIENT), ("client_secret", secret)];
    assert_eq!(ask(&simulator, &in_body, None).await?.0, 200);
    assert_eq!(ask(&simulator, &[grant], Some((CLIENT, secret))).await?.0, 200);
    let refusals = [
        (
            vec![grant, ("client_id", CLIENT), ("client_secret", "wrong")],
            "invalid_client",
        ),
        (
            vec![grant, ("client_id", "wrong"), ("client_secret", secret)],
            "invalid_client_id",
        ),
        (vec![grant], "invalid_client"),
        (vec![("grant_type", "magic")], "unsupported_grant_type"),
        (vec![], "unsupported_grant_type"),
    ];
    for (form, error) in refusals {
        let (status, answer) = ask(&simulator, &form, None).await?;
        assert_eq!((status, &answer["error"]), (400, &json!(error)), "{form:?}");
    }
    Ok(())
}
