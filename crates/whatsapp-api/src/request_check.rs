//! What is wrong with a message whatever its template is: Meta would refuse it, so it is not even tried.

use crate::send::{MAX_CALLBACK_DATA_CHARS, MAX_TEXT_CHARS, MessageKind, MessageRequest};

/// Why a message is not even tried: Meta would refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestProblem {
    /// A text of the wrong length.
    #[error("a text message has 1 to {MAX_TEXT_CHARS} characters, not {0}")]
    TextLength(usize),
    /// Callback data that is too long.
    #[error("callback data has at most {MAX_CALLBACK_DATA_CHARS} characters, not {0}")]
    CallbackLength(usize),
    /// The marketing endpoint takes templates only.
    #[error("only a template message goes to the marketing endpoint")]
    MarketingText,
}

impl MessageRequest {
    /// Checks what is known before any template is: lengths, and the endpoint.
    pub fn check(&self) -> Result<(), RequestProblem> {
        if let Some(text) = &self.text {
            let chars = text.body.chars().count();
            if chars > MAX_TEXT_CHARS || text.body.trim().is_empty() {
                return Err(RequestProblem::TextLength(chars));
            }
        }
        let callback = self.biz_opaque_callback_data.as_deref().unwrap_or_default();
        let chars = callback.chars().count();
        if chars > MAX_CALLBACK_DATA_CHARS {
            return Err(RequestProblem::CallbackLength(chars));
        }
        if self.product_policy.is_some() && self.kind != MessageKind::Template {
            return Err(RequestProblem::MarketingText);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::send::ProductPolicy;

    #[test]
    fn lengths_and_the_endpoint_are_checked() {
        let check = |text: String| MessageRequest::text("+1", text, false).check();
        assert_eq!(check("á".repeat(MAX_TEXT_CHARS)), Ok(()));
        let long = MAX_TEXT_CHARS + 1;
        assert_eq!(check("á".repeat(long)), Err(RequestProblem::TextLength(long)));
        assert_eq!(check("  ".into()), Err(RequestProblem::TextLength(2)));
        let long = MAX_CALLBACK_DATA_CHARS + 1;
        let request = MessageRequest::text("+1", "x", false).with_callback_data("é".repeat(long));
        assert_eq!(request.check(), Err(RequestProblem::CallbackLength(long)));
        let marketing = MessageRequest::text("+1", "x", false).with_product_policy(ProductPolicy::Strict);
        assert_eq!(marketing.check(), Err(RequestProblem::MarketingText));
    }
}
