//! The parameters of a route.

use super::Rejection;
use axum::extract::{FromRequestParts, RawPathParams, rejection::RawPathParamsRejection};
use http::request::Parts;
use std::fmt;

/// Percent-decoded. Empty where no router has matched a pattern, as in a fallback.
#[derive(Default)]
pub(crate) struct Parameters {
    matched: Option<RawPathParams>,
    #[cfg(feature = "axum-07")]
    matched_by_07: Option<axum07::extract::RawPathParams>,
}

impl Parameters {
    pub(crate) async fn of(parts: &mut Parts) -> Result<Self, Rejection> {
        let mut parameters = Self::default();
        match RawPathParams::from_request_parts(parts, &()).await {
            Ok(matched) => parameters.matched = Some(matched),
            #[cfg(feature = "axum-07")]
            Err(RawPathParamsRejection::MissingPathParams(_)) => {
                parameters.matched_by_07 = crate::axum07::parameters(parts).await?;
            }
            #[cfg(not(feature = "axum-07"))]
            Err(RawPathParamsRejection::MissingPathParams(_)) => {}
            Err(error) => return Err(Rejection::InvalidPath(error.body_text())),
        }
        Ok(parameters)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.iter().find(|(parameter, _)| *parameter == name);
        found.map(|(_, value)| value)
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let matched = self.matched.iter().flat_map(RawPathParams::iter);
        #[cfg(feature = "axum-07")]
        let matched = {
            let by_07 = self.matched_by_07.iter();
            matched.chain(by_07.flat_map(axum07::extract::RawPathParams::iter))
        };
        matched
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
