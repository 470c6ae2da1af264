//! Guides for common tasks: pages to read, without items to call.

/// Definitions of the links between pages. In the repository a page links to the file of another one, and
/// defines that link at its end. Markdown takes the first definition, which leads to a module here.
macro_rules! links {
    () => {
        "\
[authorization]: crate::recipes::authorization
[behind a proxy]: crate::recipes::authorization#behind-a-grip-proxy
[cors]: crate::recipes::cors
[event_source]: crate::recipes::frontends#eventsource
[fastly_fanout]: crate::recipes::fastly_fanout
[latest_value]: crate::recipes::latest_value
[many_channels]: crate::recipes::many_channels
[pushpin]: crate::recipes::pushpin
[react]: crate::recipes::frontends#react
[reverse_proxies]: crate::recipes::reverse_proxies
[several_instances]: crate::recipes::several_instances
[shutdown]: crate::recipes::shutdown
[state_first]: crate::recipes::state_first
[stats]: crate::Stats
[size]: https://github.com/axum-eventstream/axum-eventstream/blob/main/docs/performance.md#how-to-size-a-machine
"
    };
}

#[doc = links!()]
#[doc = include_str!("../docs/recipes/authorization.md")]
pub mod authorization {}

#[doc = links!()]
#[doc = include_str!("../docs/recipes/bans_and_expiry.md")]
pub mod bans_and_expiry {}

#[doc = links!()]
#[doc = include_str!("../docs/recipes/cors.md")]
pub mod cors {}

#[doc = links!()]
#[doc = include_str!("../docs/recipes/deployment.md")]
pub mod deployment {}

#[doc = links!()]
#[doc = include_str!("../docs/recipes/fastly_fanout.md")]
pub mod fastly_fanout {}

#[doc = include_str!("../docs/recipes/frontends.md")]
pub mod frontends {}

#[doc = include_str!("../docs/recipes/latest_value.md")]
pub mod latest_value {}

#[doc = links!()]
#[doc = include_str!("../docs/recipes/many_channels.md")]
pub mod many_channels {}

#[doc = include_str!("../docs/recipes/moving.md")]
pub mod moving {}

#[doc = links!()]
#[doc = include_str!("../docs/recipes/pushpin.md")]
pub mod pushpin {}

#[doc = links!()]
#[doc = include_str!("../docs/recipes/reverse_proxies.md")]
pub mod reverse_proxies {}

#[doc = links!()]
#[cfg_attr(feature = "nats", doc = "[nats]: crate::backplane::Nats\n")]
#[cfg_attr(
    feature = "redis",
    doc = "[backplane]: crate::backplane#rules-of-an-engine\n[redis]: crate::backplane::Redis\n"
)]
#[cfg_attr(
    feature = "redis",
    doc = include_str!("../docs/recipes/several_instances.md")
)]
#[cfg_attr(
    not(feature = "redis"),
    doc = "# Several instances\n\nThe page needs the feature `redis`."
)]
pub mod several_instances {}

#[doc = links!()]
#[doc = include_str!("../docs/recipes/shutdown.md")]
pub mod shutdown {}

#[doc = links!()]
#[doc = include_str!("../docs/recipes/state_first.md")]
pub mod state_first {}

#[doc = links!()]
#[doc = include_str!("../docs/recipes/typed_events.md")]
pub mod typed_events {}
