//! Answers as Meta writes them, and answers that never come.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use whatsapp_api::GraphError;
use whatsapp_api::errors::entry;
use whatsapp_api::send::{AcceptedMessage, Contact, SendResponse};

/// JSON that ends in the middle of the wamid.
const GARBAGE: &str = r#"{"messaging_product":"whatsapp","messages":[{"id":"wamid.HBg"#;
/// Where Meta sends those who asked for what there is not.
const GRAPH_DOCUMENTATION: &str = "https://developers.facebook.com/docs/graph-api";
/// Code of a path that leads nowhere.
const UNKNOWN_PATH: i64 = 2_500;
/// Subcode, beside code 100, of an object that there is not.
const NO_SUCH_OBJECT: i64 = 33;
/// Most characters of a path that an error repeats.
const MAX_ECHO_CHARS: usize = 200;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: i64,
    pub(crate) details: Cow<'static, str>,
    pub(crate) is_transient: Option<bool>,
    pub(crate) retry_after_s: Option<u32>,
    pub(crate) form: Form,
}

/// Which of the Graph API's forms an error has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// Of a message: the title of the code, and the details.
    #[default]
    Message,
    /// The Graph API's own: its words, and perhaps a subcode.
    Graph {
        kind: &'static str,
        message: String,
        subcode: Option<i64>,
    },
    /// Of a template that is not taken: what people are shown.
    Template {
        subcode: Option<i64>,
        title: &'static str,
    },
}

impl Refusal {
    /// A refusal that says nothing beyond its code.
    pub(crate) fn of(code: i64) -> Self {
        Self::because(code, "")
    }

    pub(crate) fn because(code: i64, details: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            details: details.into(),
            is_transient: None,
            retry_after_s: None,
            form: Form::Message,
        }
    }

    /// A template that Meta does not take; `words` are for the person who wrote it.
    pub(crate) fn of_template(subcode: Option<i64>, title: &'static str, words: impl Into<String>) -> Self {
        Self {
            form: Form::Template { subcode, title },
            ..Self::because(100, words.into())
        }
    }

    /// There is no such object, or not for this token, or it cannot do that: Meta does not tell which.
    pub(crate) fn no_such_object(method: &Method, id: &str) -> Self {
        let id: String = id.chars().take(MAX_ECHO_CHARS).collect();
        let message = format!(
            "Unsupported {} request. Object with ID '{id}' does not exist, cannot be loaded due to missing \
             permissions, or does not support this operation. Please read the Graph API documentation at \
             {GRAPH_DOCUMENTATION}",
            method.as_str().to_ascii_lowercase()
        );
        Self::graph(100, "GraphMethodException", message, Some(NO_SUCH_OBJECT))
    }

    /// There is nothing at this path, whoever asks.
    pub(crate) fn unknown_path(path: &str) -> Self {
        let path: String = path.chars().take(MAX_ECHO_CHARS).collect();
        Self::graph(
            UNKNOWN_PATH,
            "OAuthException",
            format!("Unknown path components: {path}"),
            None,
        )
    }

    /// A parameter of a management call that is wrong.
    pub(crate) fn parameter(message: impl Into<String>) -> Self {
        let message = format!("(#100) {}", message.into());
        Self::graph(100, "OAuthException", message, None)
    }

    fn graph(code: i64, kind: &'static str, message: String, subcode: Option<i64>) -> Self {
        Self {
            form: Form::Graph {
                kind,
                message,
                subcode,
            },
            ..Self::of(code)
        }
    }

    /// As Meta writes it about a message, with its title for the code.
    pub(crate) fn into_error(self) -> GraphError {
        let title = entry(self.code).map_or("Unknown error", |entry| entry.title);
        let details = if self.details.is_empty() {
            title
        } else {
            &*self.details
        };
        let mut error = GraphError::new(self.code, format!("(#{}) {title}", self.code)).with_details(details);
        error.fbtrace_id = Some("AMockTraceIdOfThisSize".into());
        error.is_transient = self.is_transient;
        error
    }

    fn status(&self) -> StatusCode {
        match self.code {
            190 => StatusCode::UNAUTHORIZED,
            3 | 10 | 200..=299 | 368 | 131_005 | 131_031 => StatusCode::FORBIDDEN,
            4 | 80_007 | 130_429 => StatusCode::TOO_MANY_REQUESTS,
            1 | 2 | 131_000 => StatusCode::INTERNAL_SERVER_ERROR,
            131_016 | 133_004 => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    fn into_json(self) -> Value {
        let details = self.details.clone();
        let form = self.form.clone();
        let mut error = self.into_error();
        match form {
            Form::Message => {}
            Form::Graph {
                kind,
                message,
                subcode,
            } => {
                error.kind = kind.into();
                error.message = message;
                error.error_subcode = subcode;
                error.error_data = None;
            }
            Form::Template { subcode, title } => {
                error.message = "Invalid parameter".into();
                error.error_subcode = subcode;
                error.error_data = None;
                error.is_transient = Some(false);
                let mut error = json!(error);
                error["error_user_title"] = title.into();
                error["error_user_msg"] = details.into();
                return json!({ "error": error });
            }
        }
        json!({ "error": error })
    }
}

impl IntoResponse for Refusal {
    /// The status is what Meta has been seen to use; clients must not rely on it.
    fn into_response(self) -> Response {
        let (status, retry_after_s) = (self.status(), self.retry_after_s);
        let mut response = (status, axum::Json(self.into_json())).into_response();
        if let Some(seconds) = retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// An acceptance; who is meant, as given and as Meta knows them.
pub(crate) fn accepted(contact: Contact, message_id: String, held: bool) -> Response {
    let status = if held {
        "held_for_quality_assessment"
    } else {
        "accepted"
    };
    axum::Json(SendResponse {
        messaging_product: "whatsapp".into(),
        contacts: vec![contact],
        messages: vec![AcceptedMessage {
            id: message_id,
            message_status: Some(status.into()),
        }],
    })
    .into_response()
}

/// HTTP 200 with something that cannot be read.
pub(crate) fn garbage() -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], GARBAGE).into_response()
}

/// No answer at all: the connection closes without a byte.
///
/// A handler cannot close its connection. But a body that fails before its first byte makes the server
/// drop the connection before the head, written just before it, is flushed: the client sees its connection
/// closed in the middle of waiting.
pub(crate) fn broken() -> Response {
    let failing =
        futures::stream::once(async { Err::<bytes::Bytes, _>("this connection is broken on purpose") });
    Response::new(Body::from_stream(failing))
}
