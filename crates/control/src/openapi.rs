//! The API's description: put together from the handlers, completed by what all of them have in common.

use std::collections::BTreeMap;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse as _;
use axum::routing::get;
use utoipa::OpenApi as _;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder};

use crate::problem::{KINDS, Problem};

/// Where the document is.
pub(crate) const DOCUMENT: &str = "/api/openapi.json";
/// Where it can be browsed.
pub(crate) const DOCS: &str = "/api/docs";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "AuraLink",
        description = "Configuration, figures, alerts, webhooks and experiments of AI compression (AIC).\n\n\
            Each request carries a LiveKit access token (`Authorization: Bearer`, HS256). The API key that signed it is \
            the tenant, `sub` is the user; a server's token (`roomList`, `roomCreate` or `roomAdmin`, without `room` and \
            `roomJoin`) is an operator's. A user sees what is their own, an operator their tenant; `roomAdmin` of one \
            room sees that room's calls, sessions and metrics. Refusals are problem bodies (RFC 9457).",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(Problem)),
    tags(
        (name = "configuration", description = "What AIC may do with a user's media"),
        (name = "figures", description = "What was saved, how it sounded, how long it took"),
        (name = "alerts", description = "What needs a look"),
        (name = "webhooks", description = "Events sent to other servers; operators only"),
        (name = "experiments", description = "A/B experiments; operators only"),
        (name = "privacy", description = "Audit log, export and deletion"),
        (name = "dashboard", description = "The same reads and the configuration under the dashboard's own address"),
        (name = "server", description = "The server itself"),
    )
)]
struct Base;

/// What the document starts from.
pub(crate) fn base() -> OpenApi {
    let mut document = Base::openapi();
    document.info.version = env!("CARGO_PKG_VERSION").into();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(
        "token",
        SecurityScheme::Http(
            Http::builder()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format("JWT")
                .build(),
        ),
    );
    document
}

/// Adds to each operation what every one can answer, and gives the dashboard's operations names of their own.
pub(crate) fn complete(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            // Without a tag for security the operation is open to everybody.
            if operation.security.is_some() {
                let has_body = operation.request_body.is_some();
                let has_id = path.contains('{');
                for (code, ..) in KINDS {
                    let can = match code {
                        400 | 401 | 403 | 429 | 503 => true,
                        404 => has_id,
                        408 | 413 | 415 => has_body,
                        _ => false,
                    };
                    if can {
                        refuse(operation, code);
                    }
                }
            }
            if path.starts_with(crate::DASHBOARD) {
                operation.operation_id = operation.operation_id.take().map(|id| format!("dashboard_{id}"));
                operation.tags = Some(vec!["dashboard".into()]);
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        item.get.as_mut(),
        item.put.as_mut(),
        item.post.as_mut(),
        item.patch.as_mut(),
        item.delete.as_mut(),
    ]
    .into_iter()
    .flatten()
}

fn refuse(operation: &mut Operation, code: u16) {
    let titles: Vec<&str> = KINDS
        .iter()
        .filter(|(known, ..)| *known == code)
        .map(|(_, _, title, _)| *title)
        .collect();
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    let mut response = ResponseBuilder::new()
        .description(titles.join(", or "))
        .content("application/problem+json", content);
    if matches!(code, 429 | 503) {
        let seconds = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .build();
        let wait = HeaderBuilder::new()
            .schema(Some(seconds))
            .description(Some("Seconds to wait"))
            .build();
        response = response.header("Retry-After", wait);
    }
    let responses: &mut BTreeMap<String, RefOr<utoipa::openapi::Response>> =
        &mut operation.responses.responses;
    responses.insert(code.to_string(), response.build().into());
}

/// The document as it is committed and served, with a line feed at its end.
pub(crate) fn text(document: &OpenApi) -> String {
    // A document made of strings and maps always serialises.
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// The document and the pages that show it; nothing in them comes from another host.
pub(crate) fn router(document: &OpenApi) -> Router {
    let text: axum::body::Bytes = text(document).into();
    let document =
        get(move || async move { ([(header::CONTENT_TYPE, "application/json")], text).into_response() });
    let viewer = utoipa_swagger_ui::SwaggerUi::new(DOCS)
        .config(utoipa_swagger_ui::Config::from(DOCUMENT).try_it_out_enabled(true));
    Router::new().route(DOCUMENT, document).merge(viewer)
}
