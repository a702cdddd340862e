//! Where nobody needs a key, a browser on the same machine needs none either, whatever page is open
//! in it. So what is not addressed to this machine by one of its own names is refused (a page of
//! another site can make its own name mean 127.0.0.1), and so are orders of pages of other sites.
//!
//! A browser says both by itself and lets no page change it; other programs need not say anything.

use std::net::IpAddr;

use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Uri, header};

use super::Refusal;
use crate::cors::CorsOrigins;

/// Whether this may be answered without a key.
pub(super) fn check(parts: &Parts, cors: &CorsOrigins) -> Result<(), Refusal> {
    let headers = &parts.headers;
    let authority = match headers.get(header::HOST) {
        Some(host) => Authority::try_from(host.as_bytes()).map(Some),
        None => Ok(parts.uri.authority().cloned()),
    };
    let is_ours = match &authority {
        Ok(Some(authority)) => is_local(authority.host()),
        Ok(None) => true,
        Err(_) => false,
    };
    if !is_ours {
        return Err(Refusal::ForeignHost);
    }
    match headers.get(header::ORIGIN) {
        Some(origin) if !parts.method.is_safe() && !may_order(origin, cors) => {
            Err(Refusal::ForeignOrigin)
        }
        Some(_) | None => Ok(()),
    }
}

fn may_order(origin: &HeaderValue, cors: &CorsOrigins) -> bool {
    let site = Uri::try_from(origin.as_bytes()).ok();
    let is_ours = site.as_ref().and_then(Uri::host).is_some_and(is_local);
    is_ours || matches!(cors, CorsOrigins::Only(sites) if sites.contains(origin))
}

/// Names that mean this machine to every browser, whatever a name server says.
fn is_local(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let is_address = host
        .parse()
        .is_ok_and(|address: IpAddr| address.is_loopback());
    is_address || host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn checked(method: &str, host: &str, origin: Option<&str>, cors: &str) -> Result<(), Refusal> {
        let mut request = Request::builder()
            .method(method)
            .uri("/projects/demo/sessions");
        if !host.is_empty() {
            request = request.header(header::HOST, host);
        }
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        check(&parts, &cors.parse().unwrap())
    }

    #[test]
    fn names_of_this_machine() {
        for host in [
            "",
            "localhost",
            "LOCALHOST:8080",
            "app.localhost:1",
            "127.0.0.1:8080",
            "127.1.2.3",
            "[::1]:8080",
        ] {
            assert_eq!(checked("POST", host, None, "*"), Ok(()), "{host}");
        }
        for host in [
            "site.example",
            "site.example:8080",
            "127.0.0.1.site.example",
            "localhost.example",
            "10.0.0.1:8080",
            "[::2]",
            "a b",
        ] {
            for method in ["GET", "POST"] {
                let refused = checked(method, host, None, "*");
                assert_eq!(refused, Err(Refusal::ForeignHost), "{host}");
            }
        }
    }

    #[test]
    fn pages_of_other_sites_give_no_orders() {
        let host = "127.0.0.1:8080";
        for origin in [
            "http://localhost:3000",
            "http://127.0.0.1:8080",
            "http://[::1]",
        ] {
            assert_eq!(checked("POST", host, Some(origin), "*"), Ok(()), "{origin}");
        }
        let site = "https://site.example";
        for origin in [site, "null", "http://localhost.example", ""] {
            for method in ["POST", "DELETE"] {
                let refused = checked(method, host, Some(origin), "*");
                assert_eq!(refused, Err(Refusal::ForeignOrigin), "{origin}");
            }
            // They may read, as CORS says.
            assert_eq!(checked("GET", host, Some(origin), "*"), Ok(()));
        }
        // Unless they were named.
        assert_eq!(checked("POST", host, Some(site), site), Ok(()));
    }
}
