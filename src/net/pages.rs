//! Values by key, kept in pages: no large block is grown, copied and left behind as a hole in the heap.

use slab::Slab;
use std::ops::{Index, IndexMut};

/// How many values a page has: some tens of kilobytes of sockets.
const PAGE: usize = 128;

#[derive(Debug)]
pub(super) struct Pages<T> {
    pages: Vec<Slab<T>>,
    /// The pages that have room.
    open: Vec<usize>,
    len: usize,
}

impl<T> Pages<T> {
    pub(super) fn new() -> Self {
        Self {
            pages: Vec::new(),
            open: Vec::new(),
            len: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All keys are below this.
    pub(super) fn keys(&self) -> usize {
        self.pages.len() * PAGE
    }

    /// The key of the value that is inserted next.
    pub(super) fn vacant_key(&self) -> usize {
        match self.open.last() {
            Some(&page) => page * PAGE + self.pages[page].vacant_key(),
            None => self.keys(),
        }
    }

    pub(super) fn insert(&mut self, value: T) {
        let page = self.open.last().copied().unwrap_or_else(|| self.add());
        let values = &mut self.pages[page];
        if values.is_empty() {
            values.reserve_exact(PAGE);
        }
        values.insert(value);
        self.len += 1;
        if values.len() == PAGE {
            self.open.pop();
        }
    }

    fn add(&mut self) -> usize {
        let page = self.pages.len();
        self.pages.push(Slab::new());
        self.open.push(page);
        page
    }

    pub(super) fn get_mut(&mut self, key: usize) -> Option<&mut T> {
        self.pages.get_mut(key / PAGE)?.get_mut(key % PAGE)
    }

    pub(super) fn remove(&mut self, key: usize) -> T {
        let page = key / PAGE;
        let values = &mut self.pages[page];
        if values.len() == PAGE {
            self.open.push(page);
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

    fn insert(pages: &mut Pages<usize>, value: usize) -> usize {
        let key = pages.vacant_key();
        pages.insert(value);
        key
    }

    #[test]
    fn a_value_is_found_by_the_key_it_was_promised() {
        let mut pages = Pages::new();
        let keys: Vec<_> = (0..3 * PAGE)
            .map(|value| insert(&mut pages, value))
            .collect();
        for (value, key) in keys.iter().enumerate() {
            assert_eq!(
                (pages[*key], pages.get_mut(*key).copied()),
                (value, Some(value))
            );
            assert!(*key < pages.keys());
        }
        assert_eq!(pages.get_mut(pages.keys()), None);
    }

    #[test]
    fn what_is_removed_makes_room_and_leaves_the_others_where_they_are() {
        let mut pages = Pages::new();
        let keys: Vec<_> = (0..3 * PAGE)
            .map(|value| insert(&mut pages, value))
            .collect();
        for value in [PAGE, 0, 3 * PAGE - 1] {
            assert_eq!(pages.remove(keys[value]), value);
            assert_eq!(pages.get_mut(keys[value]), None);
        }
        let again: Vec<_> = (0..3).map(|value| insert(&mut pages, value)).collect();
        assert!(again.iter().all(|key| keys.contains(key)), "{again:?}");
        assert_eq!((pages.keys(), pages[keys[1]]), (3 * PAGE, 1));
    }

    #[test]
    fn an_empty_page_has_no_memory_and_can_be_used_again() {
        let mut pages = Pages::new();
        let keys: Vec<_> = (0..2 * PAGE)
            .map(|value| insert(&mut pages, value))
            .collect();
        keys[..PAGE].iter().for_each(|key| _ = pages.remove(*key));
        assert_eq!((pages.pages[0].capacity(), pages.keys()), (0, 2 * PAGE));
        assert_eq!(insert(&mut pages, 7), keys[0]);
        keys[PAGE..].iter().for_each(|key| _ = pages.remove(*key));
        pages.remove(keys[0]);
        assert_eq!((pages.is_empty(), pages.keys()), (true, 0));
    }
}
