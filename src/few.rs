//! A slice that stores a single value inline, and any other number on the heap.
//!
//! Nearly every subscription has one channel. The idle connection of a detached stream takes 635 bytes, and 657
//! with `SmallVec`.

use std::{
    ops::{Deref, DerefMut},
    slice,
};

#[derive(Debug)]
pub(crate) enum Few<T> {
    One(T),
    Many(Box<[T]>),
}

impl<T> Few<T> {
    pub(crate) fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values.into_vec(),
        }
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::One(value) => slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::One(value) => slice::from_mut(value),
            Self::Many(values) => values,
        }
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut values = values.into_iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Self::One(value),
            (first, second) => Self::Many(first.into_iter().chain(second).chain(values).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_derefs_to_the_collected_values() {
        for count in 0..4 {
            let mut few: Few<u32> = (0..count).collect();
            few.iter_mut().for_each(|value| *value *= 2);
            let twice: Vec<_> = (0..count).map(|value| 2 * value).collect();
            assert_eq!(*few, *twice);
            assert_eq!(matches!(few, Few::One(_)), count == 1);
        }
    }

    #[test]
    fn a_value_with_a_niche_takes_no_extra_space() {
        type Value = (Box<u8>, [u64; 3]);
        assert_eq!(size_of::<Few<Value>>(), size_of::<Value>());
    }
}
