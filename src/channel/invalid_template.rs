//! The error of a template that does not fit its route.

use crate::text::excerpt;
use std::borrow::Cow;

/// A mistake in a template that was given to [`EventStream::handler`](crate::EventStream::handler).
///
/// The message is one line that names the parameter or the brace. Every request to the route is answered with
/// status 500, so that no client is subscribed to a channel that the template does not mean.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidTemplate(Mistake);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Mistake {
    #[error("the route has no parameter {name}, which the channel template {template} names")]
    Missing { template: Box<str>, name: Box<str> },
    #[error("the channel template {template} has {error}")]
    Brace {
        template: Box<str>,
        error: BraceError,
    },
    #[error("the channel template {template} has {text} as literal text")]
    OldForm {
        template: Box<str>,
        text: Box<str>,
        name: Box<str>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BraceError {
    #[error("a `{{` without a `}}`")]
    Unclosed,
    #[error("a `}}` without a `{{`")]
    Unopened,
    #[error("braces without a name")]
    Nameless,
}

impl InvalidTemplate {
    pub(super) fn missing(template: &str, name: &str) -> Self {
        let (template, name) = (excerpt(template), excerpt(name));
        Self(Mistake::Missing { template, name })
    }

    pub(super) fn brace(template: &str, error: BraceError) -> Self {
        let template = excerpt(template);
        Self(Mistake::Brace { template, error })
    }

    /// `text` is `:name` or `*name`.
    pub(super) fn old_form(template: &str, text: &str) -> Self {
        let name = excerpt(&format!("{{{}}}", &text[1..]));
        let (template, text) = (excerpt(template), excerpt(text));
        Self(Mistake::OldForm {
            template,
            text,
            name,
        })
    }

    /// The fix, for the log.
    pub(crate) fn advice(&self) -> Cow<'static, str> {
        match &self.0 {
            Mistake::Missing { .. } => {
                "name a parameter of the route, or write `{{` and `}}` for literal braces".into()
            }
            Mistake::Brace { .. } => "write `{{` and `}}` for literal braces".into(),
            Mistake::OldForm { name, .. } => format!("write {name} for the parameter").into(),
        }
    }
}
