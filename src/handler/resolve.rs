//! Resolves the argument of `EventStream::handler` to the channels of one request.

use super::IntoChannels;
use crate::{
    Channel, InvalidTemplate, Limits,
    channel::{ChannelTemplate, Channels, ChannelsError, Names},
    request::{Parameters, Rejection},
    trace,
};
use http::request::Parts;
use std::{borrow::Cow, fmt, marker::PhantomData, sync::Arc};

type Function = dyn Fn(&Parts, &Limits) -> Result<Channels, Rejection> + Send + Sync;

/// Names the channels of each request.
#[derive(Clone)]
pub struct Resolver(Kind);

#[derive(Clone)]
enum Kind {
    Templates(Arc<[ChannelTemplate]>),
    Function(Arc<Function>),
}

/// The argument of [`EventStream::handler`](crate::EventStream::handler): names of channels, in which
/// `{parameter}` and `<parameter>` stand for the route's parameters, or a function of the request's [`Parts`]
/// that returns [`IntoChannels`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name the channels of a handler",
    label = "expected names of channels, or a function `|parts: &Parts| ..` that returns them",
    note = "names are `&str`, `String`, `Cow<str>` or `Channel`, or an array, a slice or a `Vec` of them",
    note = "the function's argument needs its type written out: `|parts: &http::request::Parts| ..`",
    note = "for anything asynchronous, write a handler that calls `EventStream::respond`"
)]
pub trait IntoResolver<Marker> {
    #[doc(hidden)]
    fn into_resolver(self) -> Resolver;
}

/// Marks functions for [`IntoResolver`].
#[derive(Debug)]
pub struct ByFunction<C, M>(PhantomData<(C, M)>);

/// Marks names for [`IntoResolver`].
#[derive(Debug)]
pub struct ByName;

impl<F, C, M> IntoResolver<ByFunction<C, M>> for F
where
    F: Fn(&Parts) -> C + Send + Sync + 'static,
    C: IntoChannels<M>,
{
    fn into_resolver(self) -> Resolver {
        let function = move |parts: &Parts, limits: &Limits| {
            let names = self(parts).into_channels()?;
            Ok(limits.channels(names)?)
        };
        Resolver(Kind::Function(Arc::new(function)))
    }
}

macro_rules! templates {
    ($([$($generics:tt)*] $names:ty),+ $(,)?) => {$(
        impl<$($generics)*> IntoResolver<ByName> for $names {
            fn into_resolver(self) -> Resolver {
                Resolver::templates(self)
            }
        }
    )+};
}
templates!(
    [] &str, [] String, [] &String, [] Cow<'_, str>, [] Channel, [] &Channel, [] Box<str>, [] Arc<str>,
    [T: AsRef<str>] Vec<T>, [T: AsRef<str>] &[T], [T: AsRef<str>] &Vec<T>, [T: AsRef<str>] Box<[T]>,
    [T: AsRef<str>, const N: usize] [T; N], [T: AsRef<str>, const N: usize] &[T; N],
);

impl Resolver {
    fn templates(names: impl Names) -> Self {
        let names = names.into_names();
        let templates = names.map(|name| ChannelTemplate::new(name.as_ref()));
        let named = templates.filter(|template| !template.is_empty());
        Self(Kind::Templates(named.collect()))
    }

    /// Finds a mistake in the names that does not depend on the request, for the log.
    fn mistake(&self) -> Option<String> {
        let Kind::Templates(templates) = &self.0 else {
            return None;
        };
        if templates.is_empty() {
            return Some(ChannelsError::None.to_string());
        }
        let literals = templates
            .iter()
            .filter(|template| !template.has_parameters());
        let mut mistakes = literals.filter_map(|template| match template.expand(|_| None) {
            Ok(name) => Channel::new(name).err().map(|error| error.to_string()),
            Err(error) => Some(Rejection::from(error).to_string()),
        });
        mistakes.next()
    }

    /// Logs names for which every request will be refused.
    pub(crate) fn log_mistakes(&self) {
        if let Some(mistake) = self.mistake() {
            trace::event!(error, "a handler refuses every request: {mistake}");
            let _ = mistake;
        }
    }

    pub(crate) fn needs_parameters(&self) -> bool {
        match &self.0 {
            Kind::Templates(templates) => templates.iter().any(ChannelTemplate::has_parameters),
            Kind::Function(_) => false,
        }
    }

    /// Returns the channels of a request.
    pub(crate) fn resolve(
        &self,
        parts: &Parts,
        parameters: &Parameters,
        limits: &Limits,
    ) -> Result<Channels, Rejection> {
        match &self.0 {
            Kind::Templates(templates) => Ok(limits.channels(expand(templates, parameters)?)?),
            Kind::Function(function) => function(parts, limits),
        }
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
