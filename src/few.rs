//! One value in place, or any other number behind a pointer: nearly always there is one.

use std::{
    ops::{Deref, DerefMut},
    slice,
};

#[derive(Debug)]
pub(crate) enum Few<T> {
    One(T),
    Many(Box<[T]>),
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
    fn it_is_a_slice_of_what_it_is_made_of() {
        for count in 0..4 {
            let mut few: Few<u32> = (0..count).collect();
            few.iter_mut().for_each(|value| *value *= 2);
            let twice: Vec<_> = (0..count).map(|value| 2 * value).collect();
            assert_eq!(*few, *twice);
            assert_eq!(matches!(few, Few::One(_)), count == 1);
        }
    }

    #[test]
    fn one_value_with_a_pointer_takes_no_more_room_than_by_itself() {
        type Value = (Box<u8>, [u64; 3]);
        assert_eq!(size_of::<Few<Value>>(), size_of::<Value>());
    }
}
