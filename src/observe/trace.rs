//! `tracing` events, which expand to nothing without the feature.

macro_rules! event {
    ($level:ident, $($argument:tt)+) => {{
        #[cfg(feature = "tracing")]
        tracing::$level!($($argument)+);
    }};
}

pub(crate) use event;
