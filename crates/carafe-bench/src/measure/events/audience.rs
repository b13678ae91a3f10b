//! Topics with few subscribers.

use super::setting::Setting;

/// Connections that publish.
const PUBLISHERS: usize = 64;

#[derive(Clone, Copy)]
pub(super) struct Audience {
    topics: usize,
    /// Subscribers of each topic.
    pub(super) subscribers: usize,
}

impl Audience {
    pub(super) fn one_to_one(setting: &Setting) -> Self {
        Self { topics: setting.bench.connections(2_000), subscribers: 1 }
    }

    pub(super) fn ten(setting: &Setting) -> Self {
        Self { topics: setting.bench.connections(1_000), subscribers: 10 }
    }

    pub(super) fn name(self) -> String {
        let Self { topics, subscribers } = self;
        let subscribers = if subscribers == 1 { "one subscriber" } else { "ten subscribers" };
        format!("{topics} topics with {subscribers} each")
    }

    /// The options of a load for as long as `seconds`, twice: the first time warms the server up.
    pub(super) fn load(self, setting: &Setting, seconds: u64) -> String {
        let Self { topics, subscribers } = self;
        format!(
            "-c {} --topics {topics} --publishers {PUBLISHERS} --duration {}s --rounds 2",
            topics * subscribers,
            setting.bench.seconds(seconds)
        )
    }
}
