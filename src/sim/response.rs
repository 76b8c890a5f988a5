//! Scripted responses and their durations: the entries of a script.
//!
//! The typed form is a TOML table with many optional keys ([`ResponseEntry`]); the resolved form is a
//! [`SimResponse`] without contradictions. Tests build it with the functions below. `reply` turns it into
//! bytes.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde::Deserialize;

use crate::model::reading::Code;
use crate::units::Span;

/// One entry of a script.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "ResponseEntry")]
pub struct SimResponse {
    pub(super) what: ResponseKind,
    pub(super) http: StatusCode,
    pub(super) retry_after: Option<HeaderValue>,
    pub(super) delay: Duration,
    pub(super) short: bool,
    pub(super) huge: bool,
    pub(super) lasts: Lasts,
}

/// The content of a response.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ResponseKind {
    Status {
        status: i64,
        instances: BTreeMap<String, i64>,
        array: ArrayName,
    },
    Refusal(ErrorResponse),
    /// The body as written, as JSON.
    Raw(String),
    /// The body as written, as HTML: a page of a gateway.
    Page(String),
    /// The connection is closed before the first byte of a response.
    Cut,
    /// The request is read and never gets a response.
    Hang,
}

/// An error code and its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorResponse {
    /// A number of API 2.0 except 0, or a name of API 3.0; each API returns its own form.
    pub code: Code,
    /// The text of `message`.
    pub message: String,
}

impl ErrorResponse {
    /// A refusal with a number of API 2.0 or a name of API 3.0.
    pub fn new(code: impl Display, message: impl Into<String>) -> Self {
        Self { code: Code::read(&code.to_string()), message: message.into() }
    }
}

/// The name of the instance array in API 2.0: the documentation has both (docs/tencent-cloud-api.md §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ArrayName {
    /// As in the sample.
    #[default]
    InstanceIds,
    /// As in the field table.
    ResourceIds,
}

/// The end of an entry; the last entry of a script never ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Lasts {
    Times(u32),
    For(Duration),
}

impl SimResponse {
    fn new(what: ResponseKind) -> Self {
        Self {
            what,
            http: StatusCode::OK,
            retry_after: None,
            delay: Duration::ZERO,
            short: false,
            huge: false,
            lasts: Lasts::Times(1),
        }
    }

    /// The task's status, without instances.
    pub fn status(status: i64) -> Self {
        Self::new(ResponseKind::Status { status, instances: BTreeMap::new(), array: ArrayName::default() })
    }

    /// The task's status, and that of each of its instances.
    pub fn with_instances<'a>(status: i64, instances: impl IntoIterator<Item = (&'a str, i64)>) -> Self {
        let instances = instances.into_iter().map(|(id, status)| (id.to_owned(), status)).collect();
        Self::new(ResponseKind::Status { status, instances, array: ArrayName::default() })
    }

    /// An error of the API: a number of API 2.0 or a name of API 3.0; each API returns its own form.
    pub fn refusal(code: impl Display, message: &str) -> Self {
        Self::new(ResponseKind::Refusal(ErrorResponse::new(code, message)))
    }

    /// A body as written.
    pub fn raw(body: &str) -> Self {
        Self::new(ResponseKind::Raw(body.to_owned()))
    }

    /// A page of a gateway in place of a response. A status that cannot end an exchange (below 200, above
    /// 599) becomes 500.
    pub fn page(http: u16, body: &str) -> Self {
        Self {
            http: final_status(http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            ..Self::new(ResponseKind::Page(body.to_owned()))
        }
    }

    /// The connection is closed before the first byte of a response.
    pub fn cut() -> Self {
        Self::new(ResponseKind::Cut)
    }

    /// The request is read and never gets a response.
    pub fn hang() -> Self {
        Self::new(ResponseKind::Hang)
    }

    /// With this HTTP status in place of 200.
    pub fn http(mut self, http: u16) -> Self {
        self.http = final_status(http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self
    }

    /// With a `Retry-After` header; text that no header may hold is left out.
    pub fn retry_after(mut self, value: &str) -> Self {
        self.retry_after = HeaderValue::from_str(value).ok();
        self
    }

    /// So long after the request arrived.
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The body breaks off in the middle.
    pub fn short(mut self) -> Self {
        self.short = true;
        self
    }

    /// The body is padded to 2 MiB.
    pub fn huge(mut self) -> Self {
        self.huge = true;
        self
    }

    /// The number of polls; default 1.
    pub fn times(mut self, times: u32) -> Self {
        self.lasts = Lasts::Times(times);
        self
    }

    /// The duration, from the task's first poll or the end of the entry before.
    pub fn lasting(mut self, span: Duration) -> Self {
        self.lasts = Lasts::For(span);
        self
    }

    /// Details beside status and code.
    pub(super) fn words(&self) -> String {
        let Self { http, .. } = self;
        match &self.what {
            _ if self.short => "half of a response".to_owned(),
            _ if self.huge => "an oversized response".to_owned(),
            ResponseKind::Status { .. } if *http == StatusCode::OK => String::new(),
            ResponseKind::Status { .. } => format!("with HTTP {}", http.as_u16()),
            ResponseKind::Refusal(refusal) => refusal.message.clone(),
            ResponseKind::Raw(_) => format!("a body as it is in the scenario, with HTTP {}", http.as_u16()),
            ResponseKind::Page(_) => format!("a page, with HTTP {}", http.as_u16()),
            ResponseKind::Cut => "the connection is closed".to_owned(),
            ResponseKind::Hang => "nothing, ever".to_owned(),
        }
    }

    /// Whether a reader of this response knows that the task has finished.
    pub(super) fn ends_the_task(&self) -> bool {
        /// Success, failure, partial (docs/tencent-cloud-api.md §1).
        const ENDS: [i64; 3] = [1, 2, 3];
        let whole = self.http == StatusCode::OK && !self.short && !self.huge;
        matches!(&self.what, ResponseKind::Status { status, .. } if whole && ENDS.contains(status))
    }
}

impl ArrayName {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::InstanceIds => "instanceIds",
            Self::ResourceIds => "resourceIds",
        }
    }
}

/// An entry as it is typed.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ResponseEntry {
    status: Option<i64>,
    instances: Option<BTreeMap<String, i64>>,
    array: Option<ArrayName>,
    code: Option<Code>,
    message: Option<String>,
    raw: Option<String>,
    http: Option<u16>,
    body: Option<String>,
    cut: bool,
    hang: bool,
    retry_after: Option<String>,
    delay: Option<Span>,
    short: bool,
    huge: bool,
    times: Option<u32>,
    r#for: Option<Span>,
}

impl ResponseEntry {
    /// Takes the content, and checks that no key without a use for it is written.
    fn what(&mut self) -> Result<ResponseKind, &'static str> {
        let contents = [
            self.status.is_some(),
            self.code.is_some(),
            self.raw.is_some(),
            self.body.is_some(),
            self.cut,
            self.hang,
        ];
        if contents.into_iter().filter(|written| *written).count() > 1 {
            return Err("one of `status`, `code`, `raw`, `body`, `cut` and `hang`, not several");
        }
        if self.status.is_none() && (self.instances.is_some() || self.array.is_some()) {
            return Err("a `status` with `instances` and `array`");
        }
        if self.code.is_none() && self.message.is_some() {
            return Err("a `code` with `message`");
        }
        if self.http.is_none() && self.body.is_some() {
            return Err("an `http` status with `body`, or `raw` in its place");
        }
        if (self.cut || self.hang)
            && (self.http.is_some() || self.retry_after.is_some() || self.short || self.huge)
        {
            return Err("`cut` and `hang` without keys of a response");
        }
        if self.cut {
            return Ok(ResponseKind::Cut);
        }
        if self.hang {
            return Ok(ResponseKind::Hang);
        }
        if let Some(status) = self.status {
            let instances = self.instances.take().unwrap_or_default();
            return Ok(ResponseKind::Status { status, instances, array: self.array.unwrap_or_default() });
        }
        if let Some(code) = self.code.take() {
            return Ok(ResponseKind::Refusal(ErrorResponse {
                code,
                message: self.message.take().unwrap_or_default(),
            }));
        }
        match (self.raw.take(), self.http) {
            (Some(raw), _) => Ok(ResponseKind::Raw(raw)),
            (None, Some(_)) => Ok(ResponseKind::Page(self.body.take().unwrap_or_default())),
            // A tolerant reader could read half a body, or one that is too large, as a final state.
            (None, None) if self.short || self.huge => Ok(ResponseKind::Status {
                status: 1,
                instances: BTreeMap::new(),
                array: ArrayName::default(),
            }),
            (None, None) => {
                Err("a response: `status`, `code`, `raw`, `http`, `cut`, `hang`, `short` or `huge`")
            }
        }
    }
}

impl TryFrom<ResponseEntry> for SimResponse {
    type Error = &'static str;

    fn try_from(mut written: ResponseEntry) -> Result<Self, Self::Error> {
        let http = match written.http {
            None => StatusCode::OK,
            Some(http) => final_status(http).ok_or("an `http` status from 200 to 599")?,
        };
        let retry_after = written.retry_after.as_deref().map(HeaderValue::from_str).transpose();
        let lasts = match (written.times, written.r#for) {
            (Some(_), Some(_)) => return Err("`times` or `for`, not both"),
            (Some(0), None) => return Err("`times` of at least 1"),
            (Some(times), None) => Lasts::Times(times),
            (None, Some(Span(span))) => Lasts::For(span),
            (None, None) => Lasts::Times(1),
        };
        Ok(Self {
            what: written.what()?,
            http,
            retry_after: retry_after.map_err(|_| "a `retry_after` that a header can hold")?,
            delay: written.delay.map_or(Duration::ZERO, |Span(delay)| delay),
            short: written.short,
            huge: written.huge,
            lasts,
        })
    }
}

/// A status that ends an exchange.
fn final_status(http: u16) -> Option<StatusCode> {
    (200..600).contains(&http).then(|| StatusCode::from_u16(http).ok()).flatten()
}
