//! The routes, and the one document that describes them.

mod accounts;
mod daemon;
mod events;
mod tasks;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Info, OpenApi, SecurityRequirement};
use utoipa::{IntoResponses, PartialSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Interface;
use super::guard::{Peer, guard};
use super::problem::HttpError;
use super::wire::{HttpProblem, TaskInput};

/// The refusals of every route.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the document alone uses it")]
enum CommonRefusals {
    /// The request cannot be read.
    #[response(status = 400, content_type = "application/problem+json")]
    Bad(HttpProblem),
    /// A token is required, or is wrong.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(HttpProblem),
    /// Requests of pages of other origins are refused.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(HttpProblem),
    /// There is no such thing.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(HttpProblem),
    /// The path has no such method.
    #[response(status = 405, content_type = "application/problem+json")]
    NoSuchMethod(HttpProblem),
    /// The daemon is stopping, or waits for its store.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(HttpProblem),
}

/// The refusals of a request with a body, beside those of every route.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the document alone uses it")]
enum BodyRefusals {
    /// The body took too long.
    #[response(status = 408, content_type = "application/problem+json")]
    Slow(HttpProblem),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(HttpProblem),
    /// The body is not JSON.
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(HttpProblem),
    /// The content is wrong; nothing was changed.
    #[response(status = 422, content_type = "application/problem+json")]
    Wrong(HttpProblem),
}

/// The refusal of a command whose object is not in the right state.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the document alone uses it")]
enum Conflict {
    /// The task has ended, or is paused.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(HttpProblem),
}

fn described() -> OpenApiRouter<Interface> {
    OpenApiRouter::new()
        .routes(routes!(daemon::status))
        .routes(routes!(daemon::reload))
        .routes(routes!(daemon::healthz))
        .routes(routes!(daemon::readyz))
        .routes(routes!(daemon::openapi))
        .routes(routes!(tasks::list, tasks::add))
        .routes(routes!(tasks::slot))
        .routes(routes!(tasks::show))
        .routes(routes!(tasks::poll))
        .routes(routes!(tasks::cancel))
        .routes(routes!(tasks::pause))
        .routes(routes!(tasks::resume))
        .routes(routes!(tasks::extend))
        .routes(routes!(events::list))
        .routes(routes!(events::stream))
        .routes(routes!(events::test))
        .routes(routes!(events::show))
        .routes(routes!(events::redeliver))
        .routes(routes!(events::discard))
        .routes(routes!(accounts::accounts))
        .routes(routes!(accounts::pause_account))
        .routes(routes!(accounts::resume_account))
        .routes(routes!(accounts::retry_account))
        .routes(routes!(accounts::sinks))
        .routes(routes!(accounts::pause_sink))
        .routes(routes!(accounts::resume_sink))
        .routes(routes!(accounts::retry_sink))
}

/// The description of the interface: OpenAPI 3.1.
pub fn document() -> OpenApi {
    let (_, mut document) = described().split_for_parts();
    document.info = Info::new("opwatch", env!("CARGO_PKG_VERSION"));
    document.info.description =
        Some("The live control of a running opwatch, over its Unix socket or over TCP.".to_owned());
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let components = document.components.get_or_insert_default();
    components.schemas.insert("HttpProblem".to_owned(), HttpProblem::schema());
    components.schemas.insert("TaskInput".to_owned(), TaskInput::schema());
    components.security_schemes.insert("token".to_owned(), SecurityScheme::Http(bearer).into());
    // Either the Unix socket or loopback, or a token.
    document.security = Some(vec![
        SecurityRequirement::default(),
        SecurityRequirement::new::<_, [&str; 0], &str>("token", []),
    ]);
    document
}

/// The handlers of one connection.
pub fn router(interface: Interface, peer: Peer) -> Router {
    let (router, _) = described().split_for_parts();
    router
        .fallback(async || {
            HttpError::not_found("there is no such path; /openapi.json describes all").into_response()
        })
        .method_not_allowed_fallback(async || {
            HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "the path has no such method").into_response()
        })
        .layer(axum::middleware::from_fn_with_state(peer, guard))
        .with_state(interface)
}
