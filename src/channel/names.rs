//! Names of channels as a caller gives them: one, or several.

use std::iter;

/// Names of channels: what [`EventStream::subscribe`](crate::EventStream::subscribe) takes.
///
/// It is a name (`&str`, `String`, [`Channel`](crate::Channel)), or anything that iterates over names.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name channels",
    label = "expected a name, or several",
    note = "a name is a `&str`, a `String` or a `Channel`; several are anything that iterates over names"
)]
pub trait IntoNames<Marker> {
    #[doc(hidden)]
    fn into_names(self) -> impl Iterator<Item: AsRef<str>>;
}

/// Tells one name from several for [`IntoNames`].
#[derive(Debug)]
pub struct OneName;

/// Tells several names from one for [`IntoNames`].
#[derive(Debug)]
pub struct ManyNames;

impl<N: AsRef<str>> IntoNames<OneName> for N {
    fn into_names(self) -> impl Iterator<Item: AsRef<str>> {
        iter::once(self)
    }
}

impl<I: IntoIterator<Item: AsRef<str>>> IntoNames<ManyNames> for I {
    fn into_names(self) -> impl Iterator<Item: AsRef<str>> {
        self.into_iter()
    }
}
