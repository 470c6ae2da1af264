//! The argument types for channel names: one name, or a collection.

use super::Channel;
use std::{
    borrow::Cow,
    collections::{BTreeSet, HashSet, VecDeque},
    iter,
    sync::Arc,
};

/// One name or a collection of names.
///
/// A list of types: an implementation for every `IntoIterator` would accept a `Result`, and take `Err` for no
/// name.
pub trait Names {
    /// Returns the names, in the order of the collection.
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
