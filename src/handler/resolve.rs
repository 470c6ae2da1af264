//! From what a user gives `EventStream::handler` to the channels of one request.

use super::{Rejection, parameters::Parameters};
use crate::{
    Channel, InvalidTemplate, Limits,
    channel::{ChannelTemplate, Channels},
};
use axum::response::IntoResponse;
use http::request::Parts;
use std::{borrow::Cow, fmt, sync::Arc};

/// Names of channels, or a response instead: what a function given to
/// [`EventStream::handler`](crate::EventStream::handler) returns, and what
/// [`EventStream::respond`](crate::EventStream::respond) takes.
///
/// It is a name, several in an array, a slice or a `Vec`, an `Option` of these (`None` is no channel),
/// or a `Result` of them whose error is the response.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name channels",
    label = "expected a name, several, an `Option` or a `Result` of them",
    note = "names are `&str`, `String`, `Cow<str>` or `Channel`, or an array, a slice or a `Vec` of them",
    note = "a future must be awaited first, in a handler that calls `EventStream::respond`"
)]
pub trait IntoChannels {
    /// The names.
    ///
    /// # Errors
    ///
    /// The response to give instead.
    fn into_channels(self) -> Result<Vec<String>, Rejection>;
}

macro_rules! one_name {
    ($($name:ty),+) => {$(
        impl IntoChannels for $name {
            fn into_channels(self) -> Result<Vec<String>, Rejection> {
                Ok(vec![<$name as AsRef<str>>::as_ref(&self).to_owned()])
            }
        }
    )+};
}
one_name!(&str, String, &String, Cow<'_, str>, Channel, &Channel);

macro_rules! many_names {
    ($([$($generics:tt)*] $names:ty),+ $(,)?) => {$(
        impl<T: AsRef<str>, $($generics)*> IntoChannels for $names {
            fn into_channels(self) -> Result<Vec<String>, Rejection> {
                Ok(self.iter().map(|name| name.as_ref().to_owned()).collect())
            }
        }
    )+};
}
many_names!([] Vec<T>, [] &[T], [] &Vec<T>, [const N: usize] [T; N], [const N: usize] &[T; N]);

impl<C: IntoChannels> IntoChannels for Option<C> {
    fn into_channels(self) -> Result<Vec<String>, Rejection> {
        self.map_or_else(|| Ok(Vec::new()), C::into_channels)
    }
}

impl<C: IntoChannels, E: IntoResponse> IntoChannels for Result<C, E> {
    fn into_channels(self) -> Result<Vec<String>, Rejection> {
        let response = |error: E| Rejection::response(error.into_response());
        self.map_err(response)?.into_channels()
    }
}

type Function = dyn Fn(&Parts) -> Result<Vec<String>, Rejection> + Send + Sync;

/// How a handler comes to its channels.
#[derive(Clone)]
pub struct Resolver(Kind);

#[derive(Clone)]
enum Kind {
    Templates(Arc<[ChannelTemplate]>),
    Function(Arc<Function>),
}

/// What [`EventStream::handler`](crate::EventStream::handler) takes: names of channels, in which
/// `{parameter}` and `<parameter>` stand for the route's parameters, or a function of the request's
/// [`Parts`] that returns [`IntoChannels`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which channels a handler is for",
    label = "expected names of channels, or a function `|parts: &Parts| ..` that returns them",
    note = "names are `&str`, `String`, `Cow<str>` or `Channel`, or an array, a slice or a `Vec` of them",
    note = "the function's argument needs its type written out: `|parts: &http::request::Parts| ..`",
    note = "for anything asynchronous, write a handler that calls `EventStream::respond`"
)]
pub trait IntoResolver<Marker> {
    #[doc(hidden)]
    fn into_resolver(self) -> Resolver;
}

/// Tells functions from names for [`IntoResolver`].
#[derive(Debug)]
pub struct ByFunction<C>(std::marker::PhantomData<C>);

/// Tells names from functions for [`IntoResolver`].
#[derive(Debug)]
pub struct ByName;

impl<F, C> IntoResolver<ByFunction<C>> for F
where
    F: Fn(&Parts) -> C + Send + Sync + 'static,
    C: IntoChannels,
{
    fn into_resolver(self) -> Resolver {
        let function = move |parts: &Parts| self(parts).into_channels();
        Resolver(Kind::Function(Arc::new(function)))
    }
}

macro_rules! templates {
    ($([$($generics:tt)*] $names:ty),+ $(,)?) => {$(
        impl<$($generics)*> IntoResolver<ByName> for $names {
            fn into_resolver(self) -> Resolver {
                // Names alone are never a response.
                Resolver::templates(&self.into_channels().unwrap_or_default())
            }
        }
    )+};
}
templates!(
    [] &str, [] String, [] &String, [] Cow<'_, str>, [] Channel, [] &Channel,
    [T: AsRef<str>] Vec<T>, [T: AsRef<str>] &[T], [T: AsRef<str>] &Vec<T>,
    [T: AsRef<str>, const N: usize] [T; N], [T: AsRef<str>, const N: usize] &[T; N],
);

impl Resolver {
    fn templates(names: &[String]) -> Self {
        let templates = names.iter().map(|name| ChannelTemplate::new(name));
        let named = templates.filter(|template| !template.is_empty());
        Self(Kind::Templates(named.collect()))
    }

    pub(crate) fn needs_parameters(&self) -> bool {
        match &self.0 {
            Kind::Templates(templates) => templates.iter().any(ChannelTemplate::has_parameters),
            Kind::Function(_) => false,
        }
    }

    /// The channels of a request.
    pub(crate) fn resolve(
        &self,
        parts: &Parts,
        parameters: &Parameters,
        limits: &Limits,
    ) -> Result<Channels, Rejection> {
        let channels = match &self.0 {
            Kind::Templates(templates) => limits.channels(expand(templates, parameters)?),
            Kind::Function(function) => limits.channels(function(parts)?),
        };
        Ok(channels?)
    }
}

fn expand<'a>(
    templates: &'a [ChannelTemplate],
    parameters: &'a Parameters,
) -> Result<Vec<Cow<'a, str>>, InvalidTemplate> {
    let value = |name: &str| parameters.get(name);
    let expanded = templates.iter().map(|template| template.expand(value));
    expanded.collect()
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Templates(_) => "Resolver::Templates",
            Kind::Function(_) => "Resolver::Function",
        })
    }
}
