//! What every answer says beside its body: which pages may read it, and that nobody keeps it or guesses what it is.

use std::time::Duration;

use auralink_types::FieldError;
use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::map_response;
use axum::response::Response;
use tower_http::cors::{Any, CorsLayer};

/// Stands for every origin.
const EVERY: &str = "*";

/// How long a browser may remember what it was allowed.
const REMEMBERED: Duration = Duration::from_secs(600);

/// What a page may ask with. `*` would not stand for `Authorization` (Fetch standard, section 4.9), so each is named.
const ASKED_WITH: [HeaderName; 4] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
];

/// What a page may read of an answer's head.
const READ: [HeaderName; 4] = [
    header::ETAG,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
    header::ALLOW,
];

/// Lets pages of these origins call the routes, errors included, and answers their preflights. An origin is written as
/// browsers send it, `https://app.example` or `http://localhost:3000`; `*` is every one: who may ask what is settled by
/// the token, which no browser adds by itself.
pub fn open_to(routes: Router, origins: &[String]) -> Result<Router, FieldError> {
    Ok(routes.layer(cors(origins)?).layer(map_response(sealed)))
}

/// Whether [`open_to`] would take them.
pub fn check_origins(origins: &[String]) -> Result<(), FieldError> {
    cors(origins).map(|_| ())
}

fn cors(origins: &[String]) -> Result<CorsLayer, FieldError> {
    let layer = CorsLayer::new()
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers(ASKED_WITH)
        .expose_headers(READ)
        .max_age(REMEMBERED);
    if origins.iter().any(|origin| origin == EVERY) {
        return Ok(layer.allow_origin(Any));
    }
    let read = |(at, origin): (usize, &String)| {
        let problem = format!("must be an origin such as https://app.example, or *; got {origin:?}");
        HeaderValue::from_str(origin)
            .ok()
            .filter(|_| is_origin(origin))
            .ok_or_else(|| FieldError::new(format!("origins[{at}]"), problem))
    };
    let origins: Vec<HeaderValue> = origins.iter().enumerate().map(read).collect::<Result<_, _>>()?;
    Ok(layer.allow_origin(origins))
}

/// Scheme, host and perhaps port, as a browser writes them: what is written otherwise would never be met.
fn is_origin(text: &str) -> bool {
    let sound = |part: &str| {
        let of_one = |c: char| c.is_ascii_graphic() && !c.is_ascii_uppercase() && !"/?#@,*".contains(c);
        !part.is_empty() && part.chars().all(of_one)
    };
    text.split_once("://")
        .is_some_and(|(scheme, host)| sound(scheme) && sound(host))
}

/// An answer is for the one who asked, at that time, and of the type it says.
async fn sealed(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    let no_store = HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(no_store);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_that_no_browser_sends_is_refused_by_its_place_in_the_list() {
        let list = |origins: &[&str]| {
            origins
                .iter()
                .map(|origin| (*origin).to_owned())
                .collect::<Vec<_>>()
        };
        for good in [
            "https://app.example",
            "http://localhost:3000",
            "http://[::1]:8080",
            "capacitor://localhost",
            "*",
        ] {
            check_origins(&list(&[good])).unwrap();
        }
        check_origins(&[]).unwrap();
        for bad in [
            "app.example",
            "https://app.example/",
            "https://app.example/page",
            "https://App.example",
            "https://*.example",
            "https://a.example,https://b.example",
            "https://",
            "://a",
            "",
            "https://a\nb",
        ] {
            let error = check_origins(&list(&["https://good.example", bad])).unwrap_err();
            assert_eq!(error.field, "origins[1]", "{bad}");
        }
    }
}
