//! The console: pages for people, in the program itself, so that nothing is to be built or installed
//! besides. They use the API as any other client does.
//!
//! Invariants: a page runs no script and loads nothing but what is here; its text becomes markup in
//! one place only, behind a sanitizer, which `trusted-types` holds it to.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use sha2::{Digest, Sha256};

use crate::problem::ApiError;
use crate::routes::{self, parameter};
use crate::trust::Ids;

const INDEX: &str = "index.html";
/// What is not there, if it is not.
const FILE: &str = "file";
const POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types dompurify";
/// Bytes of the hash that are a tag: enough to tell versions of one file apart.
const TAG_BYTES: usize = 12;

struct Asset {
    path: &'static str,
    content: &'static [u8],
    /// Of its content: another build has another, and a browser asks each time.
    tag: HeaderValue,
}

macro_rules! assets {
    ($($path:literal)*) => {
        [$(($path, include_bytes!(concat!("../console/", $path)).as_slice())),*]
    };
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let files = assets![
        "agent/markdown.js"
        "agent/show.js"
        "agent/turn.js"
        "api.js"
        "dom.js"
        "follow.js"
        "format.js"
        "icon.svg"
        "index.html"
        "keyboard.js"
        "main.js"
        "output/ansi.js"
        "output/lines.js"
        "output/pane.js"
        "output/panel.js"
        "output/player.js"
        "output/screen.js"
        "output/search.js"
        "styles/base.css"
        "styles/conversation.css"
        "styles/layout.css"
        "styles/output.css"
        "theme.js"
        "vendor/dompurify.mjs"
        "vendor/marked.mjs"
        "views/conversation.js"
        "views/exec-parts.js"
        "views/exec.js"
        "views/list.js"
        "views/project.js"
        "views/projects.js"
        "views/run.js"
        "views/session.js"
        "views/sign-in.js"
        "views/timeline.js"
    ];
    let assets = files.into_iter().map(|(path, content)| Asset {
        path,
        content,
        tag: tag(content),
    });
    assets.collect()
});

fn tag(content: &[u8]) -> HeaderValue {
    let mut tag = String::from("\"");
    for byte in &Sha256::digest(content)[..TAG_BYTES] {
        // Writing to a String cannot fail.
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""))
}

/// `GET /` and `GET /console`.
pub(crate) async fn redirect() -> Redirect {
    Redirect::temporary(routes::CONSOLE)
}

/// `GET /console/`.
pub(crate) async fn index(headers: HeaderMap) -> Result<Response, ApiError> {
    answer(INDEX, &headers)
}

/// The file that a path names, as in [`ASSETS`].
pub(crate) struct InConsole(String);

impl<S: Send + Sync> FromRequestParts<S> for InConsole {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let ids = Ids::of(parts).await?;
        let file: String = ids.get(parameter::FILE, FILE)?;
        let directory: Result<String, _> = ids.get(parameter::DIRECTORY, FILE);
        Ok(Self(match directory {
            Ok(directory) => format!("{directory}/{file}"),
            Err(_) => file,
        }))
    }
}

/// `GET /console/{file}` and `GET /console/{directory}/{file}`.
pub(crate) async fn file(
    InConsole(path): InConsole,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    answer(&path, &headers)
}

fn answer(path: &str, asked: &HeaderMap) -> Result<Response, ApiError> {
    let mut assets = ASSETS.iter();
    let asset = assets.find(|asset| asset.path == path);
    let asset = asset.ok_or(ApiError::NotFound(FILE))?;
    let known = asked.get(header::IF_NONE_MATCH);
    let mut response = if known.is_some_and(|known| matches(known, &asset.tag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        asset.content.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, asset.tag.clone());
    let all: [(HeaderName, &str); 6] = [
        (header::CONTENT_TYPE, kind(path)),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in all {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// Whether one of the tags of an `If-None-Match` is this one; proxies that compress weaken them.
fn matches(known: &HeaderValue, tag: &HeaderValue) -> bool {
    let mut tags = known.to_str().unwrap_or("").split(',').map(str::trim);
    tags.any(|known| known == "*" || known.trim_start_matches("W/").as_bytes() == tag.as_bytes())
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
#[path = "console_tests.rs"]
mod tests;
