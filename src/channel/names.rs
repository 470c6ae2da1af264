//! Names of channels as a caller gives them: one, or several.

use super::Channel;
use std::{
    borrow::Cow,
    collections::{BTreeSet, HashSet, VecDeque},
    iter,
    sync::Arc,
};

/// One name or a collection of names.
///
/// It is a list of types, since a rule for every `IntoIterator` would take an `Err` for no name at all.
pub trait Names {
    /// The names, in the order of the collection.
    fn into_names(self) -> impl Iterator<Item: AsRef<str>>;
}

macro_rules! one_name {
    ($($name:ty),+ $(,)?) => {$(
        impl Names for $name {
            fn into_names(self) -> impl Iterator<Item: AsRef<str>> {
                iter::once(self)
            }
        }
    )+};
}
one_name!(
    &str,
    &&str,
    String,
    &String,
    Cow<'_, str>,
    &Cow<'_, str>,
    Channel,
    &Channel,
    Box<str>,
    &Box<str>,
    Arc<str>,
    &Arc<str>,
);

macro_rules! many_names {
    ($([$($generics:tt)*] $names:ty),+ $(,)?) => {$(
        impl<T: AsRef<str>, $($generics)*> Names for $names {
            fn into_names(self) -> impl Iterator<Item: AsRef<str>> {
                self.into_iter()
            }
        }
    )+};
}
many_names!(
    [] Vec<T>, [] &Vec<T>, [] &[T], [] Box<[T]>, [const N: usize] [T; N], [const N: usize] &[T; N],
    [S] HashSet<T, S>, [S] &HashSet<T, S>, [] BTreeSet<T>, [] &BTreeSet<T>, [] VecDeque<T>,
    [] &VecDeque<T>,
);
