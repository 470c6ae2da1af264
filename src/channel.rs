//! stub
use std::sync::Arc;
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
/// stub
pub struct Channel(Arc<str>);
impl Channel {
    /// stub
    pub fn new(name: impl AsRef<str>) -> Result<Self, ()> {
        Ok(Self(name.as_ref().into()))
    }
}
#[derive(Debug)]
pub(crate) struct Channels(Vec<Channel>);
impl std::ops::Deref for Channels {
    type Target = [Channel];
    fn deref(&self) -> &[Channel] {
        &self.0
    }
}
impl Channels {
    pub(crate) fn collect<I: IntoIterator<Item: AsRef<str>>>(
        names: I,
        _limit: usize,
    ) -> Result<Self, ()> {
        Ok(Self(
            names
                .into_iter()
                .map(|n| Channel::new(n).unwrap())
                .collect(),
        ))
    }
}
impl std::fmt::Display for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl Channel {
    /// stub
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
