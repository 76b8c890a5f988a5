//! Errors of the interface as RFC 9457, and the readers of requests that make them.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use super::wire::HttpProblem;
use crate::live::command::CommandRefused;
use crate::store;

/// The largest body of a request: 5,000 tasks with long labels.
const LARGEST_BODY: usize = 8 << 20;
/// The longest wait for a body.
const BODY_TIME: Duration = Duration::from_secs(30);

/// An error of a request.
#[derive(Debug)]
pub struct HttpError {
    status: StatusCode,
    detail: String,
    errors: Vec<String>,
}

impl HttpError {
    /// An error with that status, reason and fix.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), errors: Vec::new() }
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// The request cannot be read.
    pub fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// The content of the request is wrong.
    pub fn refused(detail: impl Into<String>, errors: Vec<String>) -> Self {
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }

    /// A loop did not respond in time.
    pub fn busy() -> Self {
        let detail =
            "the daemon waits for its store, such as for a full disk; the command may be carried out later";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// The daemon ends.
    pub fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping")
    }
}

impl From<CommandRefused> for HttpError {
    fn from(refused: CommandRefused) -> Self {
        let status = match refused {
            CommandRefused::Unknown => StatusCode::NOT_FOUND,
            CommandRefused::Ended
            | CommandRefused::Paused
            | CommandRefused::AccountPaused
            | CommandRefused::OnHold => StatusCode::CONFLICT,
            CommandRefused::PauseRequested => StatusCode::TOO_MANY_REQUESTS,
            CommandRefused::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, refused.to_string())
    }
}

impl From<store::Error> for HttpError {
    fn from(error: store::Error) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, crate::problem::chain(&error))
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let Self { status, detail, errors } = self;
        let title = status.canonical_reason().unwrap_or("Error").to_owned();
        let problem =
            HttpProblem { r#type: "about:blank".to_owned(), title, status: status.as_u16(), detail, errors };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, Body::from(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A JSON body within the bounds.
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, _: &S) -> Result<Self, HttpError> {
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_json = content_type
            .and_then(|value| value.split(';').next())
            .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/json"));
        if !is_json {
            let detail = "send JSON with the header `Content-Type: application/json`";
            return Err(HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let body = tokio::time::timeout(BODY_TIME, to_bytes(request.into_body(), LARGEST_BODY)).await;
        let body = match body {
            Ok(Ok(body)) => body,
            Ok(Err(error)) if is_too_large(&error) => {
                let detail = format!("the body is larger than {} MiB; send less at once", LARGEST_BODY >> 20);
                return Err(HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
            }
            Ok(Err(_)) => return Err(HttpError::bad("the body ended early")),
            Err(_) => {
                return Err(HttpError::new(StatusCode::REQUEST_TIMEOUT, "the body took longer than 30s"));
            }
        };
        let mut reader = serde_json::Deserializer::from_slice(&body);
        let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let at = error.path().to_string();
            let place = if at == "." { String::new() } else { format!("{at}: ") };
            HttpError::bad(format!("{place}{}", error.inner()))
        })?;
        reader.end().map_err(|error| HttpError::bad(error.to_string()))?;
        Ok(Self(value))
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

/// The parameters of a query, in their order.
pub struct Parameters(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, HttpError> {
        let read = Query::try_from_uri(&parts.uri);
        let Query(pairs) = read.map_err(|error| HttpError::bad(error.to_string()))?;
        Ok(Self(pairs))
    }
}

impl Parameters {
    /// Removes the values of a parameter.
    pub fn all(&mut self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        self.0.retain_mut(|(key, value)| {
            let is_other = key != name;
            if !is_other {
                found.push(std::mem::take(value));
            }
            is_other
        });
        found
    }

    /// Removes the value of a parameter.
    ///
    /// # Errors
    /// When it is written twice.
    pub fn one(&mut self, name: &str) -> Result<Option<String>, HttpError> {
        let mut found = self.all(name);
        if found.len() > 1 {
            return Err(HttpError::bad(format!("`{name}` is written twice")));
        }
        Ok(found.pop())
    }

    /// Removes the value of a parameter, and reads it.
    ///
    /// # Errors
    /// When it is written twice, or is not of that form.
    pub fn read<T: std::str::FromStr>(&mut self, name: &str, form: &str) -> Result<Option<T>, HttpError> {
        let read =
            |value: String| value.parse().map_err(|_| HttpError::bad(format!("`{name}`: write {form}")));
        self.one(name)?.map(read).transpose()
    }

    /// # Errors
    /// When a parameter is left that no one read.
    pub fn end(self, known: &str) -> Result<(), HttpError> {
        match self.0.first() {
            Some((name, _)) => {
                Err(HttpError::bad(format!("there is no parameter `{name}`; the parameters are {known}")))
            }
            None => Ok(()),
        }
    }
}
