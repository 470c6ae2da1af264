//! The trait [`IntoChannels`].

use crate::channel::Names;
use crate::request::Rejection;
use axum::response::IntoResponse;
use std::marker::PhantomData;

/// Converts into names of channels, or into a response instead.
///
/// [`EventStream::respond`](crate::EventStream::respond) and
/// [`EventStream::subscribe`](crate::EventStream::subscribe) take it, and a function for
/// [`EventStream::handler`](crate::EventStream::handler) returns it:
///
/// - a name: `&str`, `String`, `Cow<str>`, `Box<str>`, `Arc<str>` or [`Channel`](crate::Channel);
/// - several: an array, a slice, a `Vec`, `VecDeque`, `HashSet` or `BTreeSet` of names, or an iterator of
///   them;
/// - an `Option` of these, where `None` is no channel;
/// - a `Result` of these, whose error is the response.
///
/// Empty names are left out, and nothing is trimmed. `Marker` distinguishes iterators from other types. It is
/// inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name channels",
    label = "expected a name, several, an `Option` or a `Result` of them",
    note = "names are `&str`, `String`, `Cow<str>` or `Channel`, or a collection or an iterator of them",
    note = "the error of a `Result` must implement `axum::response::IntoResponse`",
    note = "a future must be awaited first, in a handler that calls `EventStream::respond`"
)]
pub trait IntoChannels<Marker = ()> {
    /// Returns the names.
    ///
    /// # Errors
    ///
    /// The response to send instead.
    fn into_channels(self) -> Result<impl Iterator<Item: AsRef<str>>, Rejection>;
}

/// Marks iterators, and an `Option` or a `Result` of them, for [`IntoChannels`].
#[derive(Debug)]
pub struct ByIterator<M = ()>(PhantomData<M>);

impl<N: Names> IntoChannels for N {
    fn into_channels(self) -> Result<impl Iterator<Item: AsRef<str>>, Rejection> {
        Ok(self.into_names())
    }
}

impl<I: Iterator<Item: AsRef<str>>> IntoChannels<ByIterator> for I {
    fn into_channels(self) -> Result<impl Iterator<Item: AsRef<str>>, Rejection> {
        Ok(self)
    }
}

impl<C: IntoChannels> IntoChannels for Option<C> {
    fn into_channels(self) -> Result<impl Iterator<Item: AsRef<str>>, Rejection> {
        optional(self)
    }
}

impl<C: IntoChannels, E: IntoResponse> IntoChannels for Result<C, E> {
    fn into_channels(self) -> Result<impl Iterator<Item: AsRef<str>>, Rejection> {
        fallible(self)
    }
}

impl<C, M> IntoChannels<ByIterator<ByIterator<M>>> for Option<C>
where
    C: IntoChannels<ByIterator<M>>,
{
    fn into_channels(self) -> Result<impl Iterator<Item: AsRef<str>>, Rejection> {
        optional(self)
    }
}

impl<C, E, M> IntoChannels<ByIterator<ByIterator<M>>> for Result<C, E>
where
    C: IntoChannels<ByIterator<M>>,
    E: IntoResponse,
{
    fn into_channels(self) -> Result<impl Iterator<Item: AsRef<str>>, Rejection> {
        fallible(self)
    }
}

fn optional<C, M>(channels: Option<C>) -> Result<impl Iterator<Item: AsRef<str>>, Rejection>
where
    C: IntoChannels<M>,
{
    let names = channels.map(C::into_channels).transpose()?;
    Ok(names.into_iter().flatten())
}

fn fallible<C, E, M>(channels: Result<C, E>) -> Result<impl Iterator<Item: AsRef<str>>, Rejection>
where
    C: IntoChannels<M>,
    E: IntoResponse,
{
    let response = |error: E| Rejection::response(error.into_response());
    channels.map_err(response)?.into_channels()
}
