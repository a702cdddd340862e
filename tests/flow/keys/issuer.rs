//! Tokens of an issuer, on a real gateway.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdev_tests::Outcome;
use rdev_tests::client::Client;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{EVERYWHERE_WITHIN, closed, code, key_of, until};

/// Signs tokens, as an issuer does.
struct Issuer(Ed25519KeyPair);

impl Issuer {
    fn new() -> Outcome<Self> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let document = document.map_err(|error| error.to_string())?;
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref());
        Ok(Self(pair.map_err(|error| error.to_string())?))
    }

    fn keys(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": x}]})
    }

    /// For `anna`, who may read in the project of the tests, for so long.
    fn token(&self, life: Duration) -> String {
        let end = jiff::Timestamp::now().as_second() + life.as_secs().cast_signed();
        let claims = json!({"iss": ISSUER, "aud": "rdev", "sub": "anna", "exp": end,
            "rdev_scopes": ["read"], "rdev_projects": ["demo"]});
        let header = json!({"alg": "EdDSA", "kid": "one"});
        let [header, claims] =
            [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = format!("{header}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(self.0.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

const ISSUER: &str = "https://issuer.example";
/// The clock of an issuer may be so far ahead.
const LEEWAY: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_token_of_an_issuer_is_as_good_as_a_key_until_it_ends() -> Outcome<()> {
    let mut closed = closed().await?;
    let session = closed.client.session("box").await?;
    let body = json!({"type": "shell", "command": "sleep 60", "stream_id": "long"});
    closed.client.exec(&session, &body).await?;
    let issuer = Issuer::new()?;
    let jwks = closed.world.directory().join("jwks.json");
    std::fs::write(&jwks, issuer.keys().to_string())?;
    let port = rdev_embedded::draw_port()?;
    let gateway = closed.world.gateway_with(&[
        ("RDEV_LISTEN", format!("127.0.0.1:{port}")),
        ("RDEV_OIDC_ISSUER", ISSUER.to_owned()),
        ("RDEV_OIDC_AUDIENCE", "rdev".to_owned()),
        ("RDEV_OIDC_JWKS", jwks.display().to_string()),
    ])?;
    gateway.until_it_says("serving").await?;
    let without_key = Client::new(format!("http://127.0.0.1:{port}"), "demo");

    let client = without_key.with_key(&issuer.token(Duration::from_secs(600)))?;
    until(&client, 200).await?;
    let refused = client.of_project("theirs").get("/sessions").await?;
    assert_eq!(code(&refused), (404, "not_found".to_owned()));
    let refused = client.cancel(&session, "long").await?;
    assert_eq!(code(&refused), (403, "insufficient_scope".to_owned()));
    let stranger = Issuer::new()?.token(Duration::from_secs(600));
    let refused = without_key.with_key(&stranger)?.get("/sessions").await?;
    assert_eq!(code(&refused), (401, "invalid_credential".to_owned()));
    // Keys are taken as before.
    until(&without_key.with_key(key_of(&closed.admin)?)?, 200).await?;

    // A stream ends with the token, and so does one of a ticket that was made with it.
    let life = Duration::from_secs(2);
    let client = without_key.with_key(&issuer.token(life))?;
    let begin = Instant::now();
    let tickets = format!("/sessions/{session}/tickets");
    let ticket = client.post(&tickets, &json!({})).await?;
    assert_eq!(ticket.status, 201, "{}", ticket.text);
    let url = ticket.json()["url"].as_str().unwrap_or_default().to_owned();
    let below = url.strip_prefix("/projects/demo").ok_or("elsewhere")?;
    let mut streams = [
        client.events(&session, "long", None).await?,
        without_key.stream(below, None).await?,
    ];
    for stream in &mut streams {
        assert_eq!(stream.status, 200);
        stream.until("caught_up").await?;
    }
    for stream in streams {
        stream.rest().await?;
        let lasted = begin.elapsed();
        assert!(lasted < life + LEEWAY + EVERYWHERE_WITHIN, "{lasted:?}");
        assert!(lasted > LEEWAY, "{lasted:?}");
    }
    // Requests are judged by whole seconds, streams end at the moment.
    until(&client, 401).await
}
