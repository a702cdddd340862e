//! Tokens: what is believed, what is not, and what the claims come to.

use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "rdev";

/// Of a key that was thrown away when it had signed the token below, which ends in the year 3000.
const RSA_MODULUS: &str = "1FV97XxesWQQOm7IYANFn3EdDJGCl7q6I6ESHeYmpn9BH_WPNOGOxyjIqxhswAoWA18XTo05m1REcOqakX0NlnZ4\
    dOOq50_zWSPNGGhSgU1IW3Sg8-uMeW-DA1O9k7rcIvd2-Rg6Fi0AFuwWv3tcnzhYw3q7i1EKidxmUT4jsVEFHgaz\
    c5meTowaERO8tmMKq5iZ_gc6zpK8jmPerUbHODSvQ5C6JZNQ_z8oT5YvLRHGfyThX05PDeY0biAFVvwOdogEbja_\
    itNB2jhKiMQyEoAUpgEcs1HzXXhTEMU-zLQr2feR7t57cz0H35PAycGut5JQn22nTX1yVdXotJWIRw";
/// Signed by openssl.
const RSA_TOKEN: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwiYXVkIjo\
    icmRldiIsInN1YiI6ImEiLCJleHAiOjMyNTAzNjgwMDAwfQ.ufJcVpF687Qt4An_XnNvTueZFsbVgkOGZ2Tg8vDP\
    ckv2baK2k9P3yv9nKLSWnw1SsU-_n8HyoBUfj6txcDPhkIsTzIELXAE-tNO9w9dW210uIVnO_XyKC0QdHswJ436v\
    1aavEl2u3keW5GfHcuTeOgk1DY_g6dKzBRdXZyCZv_OjoDAA-4_vyb9ch6BBaSEFsnmIHNVwzwGlBHcl35QjeEqm\
    tro2UPceikxgFDwFQ6tOBiTH4UTQbh7kl_hVh8-QNDAtO2cYTpa93fHEFcKKA1b0HteWOwI9UEco6WGTv2_dFoew\
    HWvZjVKKWhN28rjBfo1e1rcNlqoEuFgff5KLRg";

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Somebody who signs tokens.
struct Signer {
    kid: &'static str,
    pair: Ed25519KeyPair,
}

impl Signer {
    fn new(kid: &'static str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        Self { kid, pair }
    }

    fn jwk(&self) -> Value {
        let x = encoded(self.pair.public_key());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "use": "sig", "x": x})
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": self.kid});
        self.sign_as(&header, claims)
    }

    fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let message = format!(
            "{}.{}",
            encoded(header.to_string()),
            encoded(claims.to_string())
        );
        let signature = encoded(self.pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

fn claims() -> Value {
    let now = Timestamp::now().as_second();
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "exp": now + 600, "iat": now,
        "scope": "openid rdev:read exec", "roles": {"projects": ["demo", "web", "No Project"]}})
}

fn changed(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

/// An issuer whose keys are in this file.
fn oidc(jwks: JwksSource) -> Oidc {
    let issuer = Issuer {
        name: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        jwks,
        scopes_claim: "scope".to_owned(),
        projects_claim: "/roles/projects".to_owned(),
    };
    let allowance = Allowance {
        rate: 1,
        burst: 1,
        streams: 1,
    };
    Oidc::new(issuer, allowance)
}

fn in_file(name: &str, keys: &[Value]) -> JwksSource {
    let path = std::env::temp_dir().join(format!("rdev-jwks-{}-{name}", std::process::id()));
    std::fs::write(&path, json!({ "keys": keys }).to_string()).unwrap();
    JwksSource::File(path)
}

async fn code(oidc: &Oidc, token: &str) -> &'static str {
    match oidc.caller(token, Client::default()).await {
        Ok(_) => "let in",
        Err(error) => error.code(),
    }
}

#[tokio::test]
async fn claims_say_what_may_be_done() {
    let signer = Signer::new("one");
    let oidc = oidc(in_file("claims", &[signer.jwk()]));
    let caller = oidc
        .caller(&signer.sign(&claims()), Client::default())
        .await;
    let caller = caller.unwrap();
    assert_eq!(caller.name, "oidc:anna");
    assert!(caller.has(Scope::Read) && caller.has(Scope::Exec) && !caller.has(Scope::Admin));
    assert!(caller.is_in(&"web".parse().unwrap()) && !caller.is_in(&"other".parse().unwrap()));
    assert!(caller.lease.can_end());
    // Whoever says nothing may do nothing.
    let silent = changed("scope", Value::Null);
    let caller = oidc.caller(&signer.sign(&silent), Client::default()).await;
    assert!(!caller.unwrap().has(Scope::Read));
}

#[tokio::test]
async fn what_is_not_believed() {
    let (signer, stranger) = (Signer::new("one"), Signer::new("one"));
    let oidc = oidc(in_file("wrong", &[signer.jwk()]));
    assert_eq!(code(&oidc, &signer.sign(&claims())).await, "let in");
    let now = Timestamp::now().as_second();
    for wrong in [
        changed("iss", json!("https://other.example")),
        changed("aud", json!("other")),
        changed("exp", json!(now - 60)),
        changed("exp", Value::Null),
        changed("exp", json!((now + 600).to_string())),
        changed("nbf", json!(now + 60)),
        changed("sub", Value::Null),
        changed("sub", json!("")),
        changed("sub", json!("x".repeat(SUBJECT_MAX_BYTES + 1))),
        changed("sub", json!("anna\nsomebody else")),
    ] {
        let found = code(&oidc, &signer.sign(&wrong)).await;
        assert_eq!(found, "invalid_credential", "{wrong}");
    }
    let unsigned = encoded(json!({"alg": "none"}).to_string());
    let unsigned = format!("{unsigned}.{}.", encoded(claims().to_string()));
    // The public key as the secret of another algorithm.
    let swapped = json!({"alg": "HS256", "kid": "one"});
    let unknown = json!({"alg": "EdDSA", "kid": "two"});
    let extended = json!({"alg": "EdDSA", "kid": "one", "crit": ["x"], "x": 1});
    for wrong in [
        stranger.sign(&claims()),
        signer.sign_as(&swapped, &claims()),
        signer.sign_as(&json!({"alg": "ES256", "kid": "one"}), &claims()),
        signer.sign_as(&unknown, &claims()),
        signer.sign_as(&extended, &claims()),
        unsigned,
        "a.b.c".to_owned(),
        String::new(),
    ] {
        assert_eq!(code(&oidc, &wrong).await, "invalid_credential", "{wrong}");
    }
}

#[tokio::test]
async fn a_key_is_for_the_algorithm_that_it_names() {
    let signer = Signer::new("one");
    for (own, found) in [("EdDSA", "let in"), ("ES256", "invalid_credential")] {
        let mut key = signer.jwk();
        key["alg"] = json!(own);
        let oidc = oidc(in_file(own, &[key]));
        assert_eq!(code(&oidc, &signer.sign(&claims())).await, found, "{own}");
    }
}

#[tokio::test]
async fn an_end_may_be_later_than_any_clock() {
    let signer = Signer::new("one");
    let oidc = oidc(in_file("late", &[signer.jwk()]));
    let late = changed("exp", json!(1_000_000_000_000_000_000_u64));
    assert_eq!(code(&oidc, &signer.sign(&late)).await, "let in");
}

#[tokio::test]
async fn ecdsa_and_rsa_are_believed_too() {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let ec = json!({"kty": "EC", "crv": "P-256", "kid": "ec", "x": encoded(x), "y": encoded(y)});
    let rsa = json!({"kty": "RSA", "kid": "rsa", "e": "AQAB", "n": RSA_MODULUS});
    let oidc = oidc(in_file("others", &[ec, rsa]));
    let header = encoded(json!({"alg": "ES256", "kid": "ec"}).to_string());
    let message = format!("{header}.{}", encoded(claims().to_string()));
    let signature = pair.sign(&random, message.as_bytes()).unwrap();
    let token = format!("{message}.{}", encoded(signature));
    assert_eq!(code(&oidc, &token).await, "let in");
    assert_eq!(code(&oidc, RSA_TOKEN).await, "let in");
    let (message, signature) = RSA_TOKEN.rsplit_once('.').unwrap();
    let forged = format!("{message}.A{}", &signature[1..]);
    assert_eq!(code(&oidc, &forged).await, "invalid_credential");
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_found_and_a_withdrawn_one_forgotten() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let oidc = oidc(in_file("rotated", &[old.jwk()]));
    assert_eq!(code(&oidc, &old.sign(&claims())).await, "let in");
    in_file("rotated", &[new.jwk()]);
    // Not at every token that names what is not known.
    assert_eq!(
        code(&oidc, &new.sign(&claims())).await,
        "invalid_credential"
    );
    tokio::time::advance(REFRESH_INTERVAL_MIN).await;
    assert_eq!(code(&oidc, &new.sign(&claims())).await, "let in");
    assert_eq!(
        code(&oidc, &old.sign(&claims())).await,
        "invalid_credential"
    );
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_away_is_believed_for_a_day() {
    let signer = Signer::new("one");
    let source = in_file("away", &[signer.jwk()]);
    let oidc = oidc(source.clone());
    let token = signer.sign(&claims());
    assert_eq!(code(&oidc, &token).await, "let in");
    if let JwksSource::File(path) = source {
        std::fs::remove_file(path).unwrap();
    }
    tokio::time::advance(TRUSTED_FOR - Duration::from_secs(1)).await;
    assert_eq!(code(&oidc, &token).await, "let in");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(code(&oidc, &token).await, "issuer_unavailable");
}

#[tokio::test]
async fn keys_are_read_from_an_address() {
    let signer = Signer::new("one");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let body = json!({ "keys": [signer.jwk()] }).to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await.unwrap();
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let source = format!("http://{address}/keys").parse().unwrap();
    assert_eq!(code(&oidc(source), &signer.sign(&claims())).await, "let in");
}
