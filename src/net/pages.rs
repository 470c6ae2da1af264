//! A slab in pages. A single large block would be copied as it grows, and leave a hole in the heap.

use slab::Slab;
use std::{
    collections::BTreeSet,
    ops::{Index, IndexMut},
};

/// Number of values of a page, so that a page of sockets has some tens of kilobytes.
const PAGE: usize = 128;

#[derive(Debug)]
pub(super) struct Pages<T> {
    pages: Vec<Slab<T>>,
    /// Pages with vacant keys. Values go to the first of them, so that the last pages become empty.
    open: BTreeSet<usize>,
    len: usize,
}

impl<T> Pages<T> {
    pub(super) fn new() -> Self {
        Self {
            pages: Vec::new(),
            open: BTreeSet::new(),
            len: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the first occupied key that is at least `from`.
    pub(super) fn next(&self, from: usize) -> Option<usize> {
        let pages = self.pages.iter().enumerate().skip(from / PAGE);
        let mut filled = pages.filter(|(_, values)| !values.is_empty());
        filled.find_map(|(page, values)| {
            let first = from.saturating_sub(page * PAGE);
            let index = (first..PAGE).find(|index| values.contains(*index))?;
            Some(page * PAGE + index)
        })
    }

    /// Returns the key of the next inserted value.
    pub(super) fn vacant_key(&self) -> usize {
        match self.open.first() {
            Some(&page) => page * PAGE + self.pages[page].vacant_key(),
            None => self.pages.len() * PAGE,
        }
    }

    pub(super) fn insert(&mut self, value: T) {
        let page = self.open.first().copied().unwrap_or_else(|| self.add());
        let values = &mut self.pages[page];
        if values.is_empty() {
            values.reserve_exact(PAGE);
        }
        values.insert(value);
        self.len += 1;
        if values.len() == PAGE {
            self.open.remove(&page);
        }
    }

    fn add(&mut self) -> usize {
        let page = self.pages.len();
        self.pages.push(Slab::new());
        self.open.insert(page);
        page
    }

    pub(super) fn get_mut(&mut self, key: usize) -> Option<&mut T> {
        self.pages.get_mut(key / PAGE)?.get_mut(key % PAGE)
    }

    pub(super) fn remove(&mut self, key: usize) -> T {
        let page = key / PAGE;
        let values = &mut self.pages[page];
        if values.len() == PAGE {
            self.open.insert(page);
        }
        let value = values.remove(key % PAGE);
        if values.is_empty() {
            *values = Slab::new();
        }
        self.len -= 1;
        if self.len == 0 {
            *self = Self::new();
        }
        value
    }
}

impl<T> Index<usize> for Pages<T> {
    type Output = T;

    fn index(&self, key: usize) -> &T {
        &self.pages[key / PAGE][key % PAGE]
    }
}

impl<T> IndexMut<usize> for Pages<T> {
    fn index_mut(&mut self, key: usize) -> &mut T {
        &mut self.pages[key / PAGE][key % PAGE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn insert(pages: &mut Pages<u32>, value: u32) -> usize {
        let key = pages.vacant_key();
        pages.insert(value);
        key
    }

    fn keys(pages: &Pages<u32>) -> Vec<usize> {
        let next = |key: &usize| pages.next(key + 1);
        std::iter::successors(pages.next(0), next).collect()
    }

    #[test]
    fn an_empty_page_frees_its_memory_and_is_reused_first() {
        let mut pages = Pages::new();
        let keys: Vec<_> = (0..)
            .take(3 * PAGE)
            .map(|value| insert(&mut pages, value))
            .collect();
        keys[PAGE..2 * PAGE]
            .iter()
            .for_each(|key| _ = pages.remove(*key));
        pages.remove(keys[2 * PAGE]);
        assert_eq!(pages.pages[1].capacity(), 0);
        assert_eq!(insert(&mut pages, 7) / PAGE, 1);
    }

    proptest! {
        /// One step in four removes a value, the others insert one.
        #[test]
        fn pages_hold_the_same_values_as_a_map(steps in prop::collection::vec(any::<u32>(), 0..1000)) {
            let (mut pages, mut map) = (Pages::new(), BTreeMap::new());
            for step in steps {
                let chosen = map.keys().nth(step as usize % map.len().max(1)).copied();
                match chosen.filter(|_| step % 4 == 1) {
                    Some(key) => prop_assert_eq!(map.remove(&key), Some(pages.remove(key))),
                    None => prop_assert_eq!(map.insert(insert(&mut pages, step), step), None),
                }
            }
            prop_assert_eq!(keys(&pages), map.keys().copied().collect::<Vec<_>>());
            prop_assert!(map.iter().all(|(key, value)| pages[*key] == *value));
            prop_assert_eq!(pages.is_empty(), map.is_empty());
            for (key, value) in map {
                prop_assert_eq!((pages.remove(key), pages.get_mut(key)), (value, None));
            }
            prop_assert!(pages.is_empty() && pages.pages.is_empty());
        }
    }
}
